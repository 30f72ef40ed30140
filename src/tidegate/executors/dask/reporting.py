"""Called in a Dask worker: carries a run out, and sends the answer at once.

The answer is an event, which the scheduler passes on to the control process. As the result of a
task it would have to be asked for, first from the scheduler and then from the worker: that took
more processor time of the control process than the rest of the run.
"""

from __future__ import annotations

from distributed import get_worker

from tidegate.executors.dask import remote

TOPIC = "tidegate-answers"
"""Dask's name for these events. The scheduler keeps the latest of them, for all of its clients."""


def carry_out_and_report(text: str, key: str) -> str:
    """Carry out the request in a text; the answer is sent under ``key``, and returned."""
    answer = remote.carry_out(text)
    get_worker().log_event(TOPIC, [key, answer])
    return answer
