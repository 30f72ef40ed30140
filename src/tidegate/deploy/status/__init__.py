"""What is deployed of a branch, and how it goes: the page of facts and links.

    look(branch)      asks AWS for all of it at once, and changes nothing
    model.py          what it tells; ``as_data`` is that as JSON
    deployed.py       stacks, pipeline, builds, images, releases
    running.py        functions, queues, schedules, alarms, and the ledger's runs
    stored.py         buckets, and how much is in them
    costing.py        what it costs a month, from the runs on record

What AWS does not tell is an ``Unknown`` with the reason, and the rest is shown all the same.
"""

from __future__ import annotations

from tidegate.deploy.status.looking import look
from tidegate.deploy.status.model import Status, Unknown, as_data
from tidegate.deploy.status.running import MOST_FAILURES

__all__ = ["MOST_FAILURES", "Status", "Unknown", "as_data", "look"]
