"""Is all well for a deployment? Each finding says what is, and what to do about it.

    examine(asked)    all findings: of this machine, of the config, of the account
    finding.py        what a finding is
    here.py           this machine: tools, and the state of the repositories
    account.py        whose credentials these are, and what they may do
    limits.py         quotas, and names
    holding.py        buckets and the ledger
    github.py         the connection to GitHub

Nothing is changed, and nothing that goes wrong ends the examination: what cannot be found out is a
finding as well.
"""

from __future__ import annotations

from tidegate.deploy.doctor.examination import Asked, examine
from tidegate.deploy.doctor.finding import Finding, State

__all__ = ["Asked", "Finding", "State", "examine"]
