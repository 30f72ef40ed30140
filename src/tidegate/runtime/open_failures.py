"""Which failures still need attention: the one definition that all commands use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import RunRecord


def is_open(record: RunRecord, about: Sequence[RunRecord]) -> bool:
    """Whether a failure is open, given the other runs about one of its files, or its window.

    It is closed by a later run about the same that succeeded. A later run that failed takes its
    place: there is one open failure for each file or window.
    """
    return record.state == "failed" and not _has_later(record, about, "failed")


def has_open_plots(record: RunRecord, about: Sequence[RunRecord]) -> bool:
    """Whether the plots of a run failed, and no later run about the same has succeeded."""
    return bool(record.plots_failed) and not _has_later(record, about)


def open_failures(ledger: Ledger, config: str | None = None) -> Iterator[RunRecord]:
    """The open failures of a config, or of all, the latest first."""
    for record in ledger.records(config=config, states=("failed",)):
        if any(is_open(record, about) for about in _others(ledger, record)):
            yield record


def open_plots(ledger: Ledger, config: str | None = None) -> Iterator[RunRecord]:
    """The runs that succeeded except for their plots, the latest first. Reads all runs."""
    for record in ledger.records(config=config, states=("succeeded",)):
        if record.plots_failed and any(has_open_plots(record, a) for a in _others(ledger, record)):
            yield record


def _has_later(record: RunRecord, about: Sequence[RunRecord], *more: str) -> bool:
    return any(
        other.started > record.started and other.state in ("succeeded", "empty", *more)
        for other in about
        if other.key != record.key
    )


def _others(ledger: Ledger, record: RunRecord) -> Iterator[Sequence[RunRecord]]:
    """For each of a run's subjects, the other runs about it."""
    for subject in record.run.subjects or ("",):
        yield ledger.about(record.run.config, subject, but=record.key)
