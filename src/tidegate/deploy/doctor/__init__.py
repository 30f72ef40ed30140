"""Checks whether a deployment can work; each finding says what is wrong and what to do.

    examine(options)   all findings: about this machine, the config and the account
    finding.py         what a finding is
    this_machine.py    tools, and the state of the repositories
    account.py         the credentials and their permissions
    limits.py          quotas and names
    data_stores.py     buckets and the ledger table
    github.py          the connection to GitHub

Nothing is changed. An error in a check does not end the others: it is a finding too.
"""

from __future__ import annotations

from tidegate.deploy.doctor.examination import DoctorOptions, examine
from tidegate.deploy.doctor.finding import Finding, State

__all__ = ["DoctorOptions", "Finding", "State", "examine"]
