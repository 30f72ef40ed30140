"""Finds the files that make a run of several files fail: the run is split into halves.

A scheduled ingest runs all new files together. Where that run fails because of its files, one half
of them is run, and then the other; a half that fails is split again. In the end each file that
fails by itself has a failed run of its own, and the good files are run together once more, since
their products may depend on which files are run together.

The parts follow each other through the queue (``next_part``). A run that was split is superseded by
its parts: if the search is cut off, the schedule's next time takes the files that are left.
"""

from __future__ import annotations

from dataclasses import replace

from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import SETTLED, FailureKind, Input, Run, RunRecord, Search

_SPLIT: tuple[FailureKind, ...] = ("bad-input", "timeout", "out-of-memory")
_NEXT = "nothing: the files that fail by themselves get failed runs of their own"


def split(record: RunRecord, config: Config) -> RunRecord:
    """The record of a run that has just ended: superseded, if its files are run in halves now.

    A run that a person asked for is not split: it is what was asked for.
    """
    run, failure = record.run, record.failure
    if record.state != "failed" or failure is None or failure.kind not in _SPLIT:
        return record
    last = run.search is not None and run.search.last
    if config.trigger != "Cron" or config.group_by or len(run.inputs) < 2 or run.again or last:
        return record
    message = f"its files are run in parts now: {failure.message}"
    failure = replace(failure, message=message, next=_NEXT)
    return replace(record, state="superseded", failure=failure)


def next_part(record: RunRecord, ledger: Ledger) -> Run | None:
    """The run that comes after a run that has ended, in a search; None if there is none."""
    run = record.run
    if run.again or (run.search is None and not _was_split(record)):
        return None
    search = run.search or Search()
    if search.last:
        return None
    search = _after(search, record)
    while search.left:
        inputs, search = search.left[0], replace(search, left=search.left[1:])
        part = replace(run, inputs=inputs, search=search)
        before = ledger.record(part.key)
        if before is None or before.state not in (*SETTLED, "failed"):
            return part
        search = _after(search, before)  # this part was run in an earlier search
    if search.together and search.parts > 1:
        good = tuple(sorted(search.good, key=lambda file: file.key))
        return replace(run, inputs=good, search=Search(last=True))
    return None


def files_of(run: Run) -> tuple[Input, ...]:
    """A run's files, and those of the parts that come after it."""
    if run.search is None:
        return run.files
    return run.files + run.search.good + tuple(i for part in run.search.left for i in part)


def _was_split(record: RunRecord) -> bool:
    failed = record.failure is not None and record.failure.kind in _SPLIT
    return record.state == "superseded" and failed and len(record.run.inputs) > 1


def _after(search: Search, record: RunRecord) -> Search:
    """The search after one of its parts has ended."""
    inputs = record.run.inputs
    if record.state in SETTLED:
        return replace(search, good=search.good + inputs, parts=search.parts + 1)
    if not _was_split(record):  # it failed by itself, or a file was replaced
        return search
    # Files that together take too much memory or time are left apart.
    together = search.together and record.failure is not None and record.failure.kind == "bad-input"
    half = (len(inputs) + 1) // 2
    left = (inputs[:half], inputs[half:], *search.left)
    return replace(search, left=left, together=together)
