"""The state of a branch on AWS: facts and links, collected with read-only requests.

    collect_status(branch)   asks AWS for everything at once
    model.py                 the records; ``as_data`` makes JSON of them
    deployed.py              stacks, pipeline, builds, images, releases
    running.py               functions, queues, schedules, alarms, and the runs in the ledger
    buckets.py               buckets, and how much is in them
    cost.py                  the monthly cost, from the recorded runs

A part that AWS does not answer is an ``Unknown`` with the reason; the others are still shown.
"""

from __future__ import annotations

from tidegate.deploy.status.collect import collect_status
from tidegate.deploy.status.model import Status, Unknown, as_data
from tidegate.deploy.status.running import MOST_FAILURES

__all__ = ["MOST_FAILURES", "Status", "Unknown", "as_data", "collect_status"]
