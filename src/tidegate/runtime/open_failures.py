"""Which failures still need attention: the one definition that all commands use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import check_aware, from_json, to_json
from tidegate.runtime.runs import RunRecord

_STATE = "acknowledged"
_KEPT = 2000


@dataclass(frozen=True)
class Acknowledgement:
    """A person has seen a failure, and nothing needs to be done about it."""

    who: str
    """Who said so."""
    when: datetime
    """When. A later attempt that fails is open again."""

    def __post_init__(self) -> None:
        check_aware(self)


def is_open(record: RunRecord, about: Sequence[RunRecord]) -> bool:
    """Whether a failure is open, given the other runs about one of its files, or its window.

    It is closed by a later run about the same that succeeded. A later run that failed takes its
    place: there is one open failure for each file or window. (``open_failures`` also leaves out
    those that were acknowledged.)
    """
    return record.state == "failed" and not _has_later(record, about, "failed")


def has_open_plots(record: RunRecord, about: Sequence[RunRecord]) -> bool:
    """Whether the plots of a run failed, and no later run about the same has succeeded."""
    return bool(record.plots_failed) and not _has_later(record, about)


def open_failures(ledger: Ledger, config: str | None = None) -> Iterator[RunRecord]:
    """The open failures of a config, or of all, the latest first."""
    known = acknowledged(ledger)
    yield from only_open(ledger, ledger.records(config=config, states=("failed",)), known)


def only_open(
    ledger: Ledger, failed: Iterator[RunRecord], known: Mapping[str, Acknowledgement]
) -> Iterator[RunRecord]:
    """Those of the ``failed`` runs that are open; ``known`` is what ``acknowledged`` returns."""
    for record in failed:
        noted = known.get(record.key)
        if noted is not None and record.started <= noted.when:
            continue
        if any(is_open(record, about) for about in _others(ledger, record)):
            yield record


def acknowledged(ledger: Ledger) -> dict[str, Acknowledgement]:
    """The acknowledged failures, by the keys of their runs."""
    return _from_text(ledger.state(_STATE))


def acknowledge(ledger: Ledger, key: str, who: str, when: datetime) -> None:
    """Note that the failure of a run is known: it is no longer open. Keeps the latest 2,000."""

    def add(text: str | None) -> str:
        known = {**_from_text(text), key: Acknowledgement(who, when)}
        latest = sorted(known.items(), key=lambda item: item[1].when)[-_KEPT:]
        return json.dumps({key: to_json(noted) for key, noted in latest})

    ledger.change_state(_STATE, add)


def _from_text(text: str | None) -> dict[str, Acknowledgement]:
    found = json.loads(text or "{}")
    return {key: from_json(Acknowledgement, data) for key, data in found.items()}


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
