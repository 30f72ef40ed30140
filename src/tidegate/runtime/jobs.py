"""Jobs: work of hours or days over many runs, such as reprocessing ten years.

A job is on record with what it does, how far it has got, and what came of it. Its runs are planned
some at a time, so that a job of a million runs needs no list of them. Pure: targets store jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import check_aware
from tidegate.runtime.runs import RunRecord, Window
from tidegate.runtime.scope import Only, Scope

JobState = Literal["running", "paused", "cancelled", "done"]
"""running: its runs are carried out, as long as a service (or its command) is at work. paused: no
more runs are started until it is resumed. cancelled: it was ended early. done: all runs ended."""

OPEN: tuple[JobState, ...] = ("running", "paused")
_FEW = 5
_LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class JobCounts:
    """What came of the runs of a job."""

    planned: int = 0
    """How many runs were chosen so far."""
    succeeded: int = 0
    """How many succeeded."""
    empty: int = 0
    """How many ended without a product."""
    equal: int = 0
    """How many of those that succeeded made the same data as before."""
    changed: int = 0
    """How many of those that succeeded made other data than before."""
    new: int = 0
    """How many of those that succeeded made products that were not there before."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """How many failed, by the kind of failure."""
    superseded: int = 0
    """How many did nothing, because their input had changed or was gone: a later run has it."""
    dropped: int = 0
    """How many left the queue without a record, because their config is gone."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """For each kind of failure, the key of a run and its message."""

    @property
    def failures(self) -> int:
        """How many failed."""
        return sum(self.failed.values())

    @property
    def ended(self) -> int:
        """How many have ended."""
        return self.succeeded + self.empty + self.failures + self.superseded + self.dropped


@dataclass(frozen=True)
class Job:
    """One job: what it does, how far it is, and what came of it."""

    id: str
    """Six hexadecimal digits."""
    asked: datetime
    """When it was asked for."""
    stages: tuple[tuple[str, ...], ...]
    """The ids of its configs; all runs of a stage end before the next stage begins."""
    begin: datetime | None = None
    """Only data from this time on."""
    end: datetime | None = None
    """Only data before this time."""
    only: Only | None = None
    """Only what is missing, stale or failed."""
    limit: int | None = None
    """How many of its runs go on at once, at most; None: as many as there are workers."""
    who: str = ""
    """Who asked, where that is known."""
    executor: Mapping[str, str] = field(default_factory=dict)
    """What the command line said about the executor, by the name of the option."""
    holds: tuple[str, ...] = ()
    """The ids of VAPs that read what it makes: their schedules leave its windows out meanwhile."""
    expected: Mapping[str, int] = field(default_factory=dict)
    """For each config, how many runs there were to do when it was asked for."""
    state: JobState = "running"
    """Its state."""
    stage: int = 0
    """The number of the stage that is at work, from 0."""
    position: int = 0
    """The number of the config in that stage from which runs are being chosen."""
    cursor: str = ""
    """How far in that config they are chosen."""
    counts: JobCounts = field(default_factory=JobCounts)
    """What came of its runs so far."""
    worked: float = 0.0
    """How long it has been at work, without pauses, s."""
    finished: datetime | None = None
    """When it was done or cancelled."""
    message: str = ""
    """What a person should know, such as why it was paused."""

    def __post_init__(self) -> None:
        check_aware(self)

    @property
    def configs(self) -> tuple[str, ...]:
        """The ids of all its configs."""
        return tuple(id for stage in self.stages for id in stage)

    @property
    def total(self) -> int:
        """How many runs it has, as far as that is known."""
        if self.state == "done":
            return self.counts.planned
        return max(sum(self.expected.values()), self.counts.planned)

    @property
    def left(self) -> int:
        """How many runs have not ended."""
        return self.total - self.counts.ended

    @property
    def next_config(self) -> str | None:
        """The config from which runs are chosen next; None where the stage has none left."""
        if self.stage >= len(self.stages) or self.position >= len(self.stages[self.stage]):
            return None
        return self.stages[self.stage][self.position]

    def is_held(self, config: str, window: Window) -> bool:
        """Whether a schedule leaves out this window of a VAP, because the job's runs change it.

        Windows that had not ended when the job was asked for are never held.
        """
        if self.state not in OPEN or config not in self.holds:
            return False
        end = min(self.end, self.asked) if self.end else self.asked
        return window.end <= end and (self.begin is None or window.end > self.begin)


def scope_of(job: Job, config: Config) -> Scope:
    """What the job does with one of its configs."""
    later = job.stage > 0 and config.kind == "VAP"
    return Scope(config, job.begin, job.end, job.only, inputs_changed=later)


def with_end(counts: JobCounts, record: RunRecord | None) -> JobCounts:
    """The counts once a run has ended; None: it left the queue without a record."""
    if record is None:
        return replace(counts, dropped=counts.dropped + 1)
    if record.state == "failed":
        failure = record.failure
        kind = failure.kind if failure else "transient"
        failed = {**counts.failed, kind: counts.failed.get(kind, 0) + 1}
        examples = dict(counts.examples)
        if kind not in examples and failure is not None:
            examples[kind] = f"{record.key[:7]}: {failure.message}"[:_LONGEST_MESSAGE]
        return replace(counts, failed=failed, examples=examples)
    if record.state == "succeeded":
        return replace(
            counts,
            succeeded=counts.succeeded + 1,
            equal=counts.equal + (record.compared == "equal"),
            changed=counts.changed + (record.compared == "changed"),
            new=counts.new + (record.compared == "new"),
        )
    if record.state == "empty":
        return replace(counts, empty=counts.empty + 1)
    return replace(counts, superseded=counts.superseded + 1)


def time_left(job: Job) -> timedelta | None:
    """How long the rest takes at the job's own speed so far; None while that is not known."""
    if job.state != "running" or job.counts.ended < _FEW or job.worked <= 0:
        return None
    return timedelta(seconds=round(job.left * job.worked / job.counts.ended))


def stages_of(
    manifest: Manifest, ledger: Ledger, ids: Sequence[str], *, with_vaps: bool = False
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Configs in stages, each after what it reads; and all VAPs that read what they make.

    ``with_vaps`` adds these VAPs to the stages.
    """
    reads = _readers(manifest, ledger)
    affected = set(ids)
    while more := {id for id, sources in reads.items() if sources & affected} - affected:
        affected |= more
    chosen = [c.id for c in manifest.configs if c.id in (affected if with_vaps else set(ids))]
    vaps = tuple(c.id for c in manifest.configs if c.id in affected and c.kind == "VAP")
    stages: list[tuple[str, ...]] = []
    left = set(chosen)
    while left:
        ready = {id for id in left if not reads.get(id, set()) & (left - {id})} or left
        stages.append(tuple(id for id in chosen if id in ready))
        left -= ready
    return tuple(stages), vaps


def _readers(manifest: Manifest, ledger: Ledger) -> dict[str, set[str]]:
    """For each VAP, the configs that make what it reads."""
    makers: dict[str, set[str]] = {}
    for config in manifest.configs:
        if config.tsdat is not None and config.tsdat.datastream:
            makers.setdefault(config.tsdat.datastream, set()).add(config.id)
    found: dict[str, set[str]] = {}
    for config in manifest.configs:
        names = config.tsdat.datastreams if config.kind == "VAP" and config.tsdat else ()
        for name in names:
            sources = found.setdefault(config.id, set())
            sources |= makers.get(name, set())
            # A pipeline may name its datastream at run time: then the record says who makes it.
            sources |= {p.config for p in ledger.products(datastream=name, limit=1)}
    return found
