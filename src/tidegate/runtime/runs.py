"""Runs, their records and products, and windows; and the key that identifies a run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Literal

from tidegate.runtime.records import check_aware, dumps, to_json, utc

State = Literal["running", "retrying", "succeeded", "empty", "failed", "superseded"]
"""running: claimed. retrying: failed for a reason that may pass, will be tried again. succeeded:
its products are published. empty: ended without any product. failed: see its failure. superseded:
an input changed before the run could publish, or a later run about the same inputs has replaced
what it published, or its files are run in parts (``split``)."""

Compared = Literal["", "new", "equal", "changed", "unknown"]
"""How the data of a run differs from the products that it replaces. new: it replaces none. equal:
values and attributes are the same. unknown: the content of the older product is not on record. "":
it made no data, or was not compared."""

FINISHED: tuple[State, ...] = ("succeeded", "empty", "failed", "superseded")
SETTLED: tuple[State, ...] = ("succeeded", "empty")

ADOPTED = "adopted"
"""The first argument of runs that Tidegate never carried out: ``tidegate adopt`` records the
products of an earlier deployment under such runs."""
WITHDRAWN = "inputs withdrawn"
"""The first argument of a run over a window that has no inputs any more."""
ADOPTER = "tidegate adopt"
"""The owner of adopted runs. It is the same each time, so that an adoption takes over the claims of
one that was interrupted."""

FailureKind = Literal[
    "bad-input", "transient", "timeout", "out-of-memory", "configuration", "environment"
]


@dataclass(frozen=True)
class Input:
    """A raw file at one version."""

    key: str
    """Its path below the inputs' root, with ``/``: ``lidar/humboldt/lidar.z05.00.….sta.7z``."""
    version: str
    """Identifies the content: a sha256, or S3's ETag."""
    size: int
    """Bytes."""
    modified: datetime | None = field(default=None, compare=False)
    """When the file was last written; None in records of before this was noted. Says which of two
    files is the later one, not which version of a file this is."""

    def __post_init__(self) -> None:
        check_aware(self)


@dataclass(frozen=True)
class Window:
    """A half-open UTC interval [begin, end)."""

    begin: datetime
    """The first instant that belongs to it."""
    end: datetime
    """The first instant that does not."""

    def __post_init__(self) -> None:
        check_aware(self)
        # Always in UTC: begin and end become parts of subjects and names.
        object.__setattr__(self, "begin", utc(self.begin))
        object.__setattr__(self, "end", utc(self.end))
        if self.end <= self.begin:
            raise ValueError(f"a window must end after it begins: {self.begin} to {self.end}")

    def __str__(self) -> str:
        begin, end = self.begin.astimezone(timezone.utc), self.end.astimezone(timezone.utc)
        if f"{begin:%H%M%S}{end:%H%M%S}" == "0" * 12:
            return f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}"
        if begin.date() == end.date():
            return f"{begin:%Y-%m-%d %H:%M} to {end:%H:%M}"
        return f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class ProductRef:
    """A product at one version: an input of a VAP's run."""

    key: str
    """The product's key."""
    version: str
    """Its sha256."""


@dataclass(frozen=True)
class Search:
    """How far the search for the files that make a run of several files fail has got.

    The parts of that run are run one after the other; each has here what comes after it.
    """

    left: tuple[tuple[Input, ...], ...] = ()
    """The parts that are run after this one."""
    good: tuple[Input, ...] = ()
    """The files of the parts that have succeeded."""
    parts: int = 0
    """How many parts these were."""
    together: bool = True
    """Whether the good files are run together at the end."""
    last: bool = False
    """Whether this is that run at the end; it is not split again."""


@dataclass(frozen=True)
class Run:
    """One execution of one config over named inputs or over a window."""

    config: str
    """The config's id, ``pipeline/config``."""
    inputs: tuple[Input, ...] = ()
    """An ingest's raw files, by key."""
    companions: tuple[Input, ...] = ()
    """Files that are staged beside the inputs, for a reader that opens them; by key."""
    window: Window | None = None
    """A VAP's window."""
    products: tuple[ProductRef, ...] = ()
    """The products in a VAP's window and its padding, when the run was selected."""
    arguments: tuple[str, ...] = ()
    """The pipeline's arguments, if its inputs are not files."""
    due: datetime | None = None
    """When the schedule was due, if the inputs are not files: each due time is a new run."""
    arrived: datetime | None = None
    """When the event that started it happened; not part of the key."""
    again: bool = False
    """Run it even if it was run, or failed, before; not part of the key."""
    search: Search | None = None
    """If it is a part of a run that failed: what comes after it; not part of the key."""

    def __post_init__(self) -> None:
        check_aware(self)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The names of its inputs, or its window, without versions.

        A later run with the same subjects replaces its products.
        """
        if self.window is not None:
            return (f"{self.window.begin.isoformat()}/{self.window.end.isoformat()}",)
        if self.due is not None:
            return (f"{utc(self.due).isoformat()} {' '.join(self.arguments)}",)
        return tuple(i.key for i in self.inputs) or self.arguments

    @property
    def files(self) -> tuple[Input, ...]:
        """All raw files that it depends on: its inputs, then their companions."""
        return self.inputs + self.companions

    @property
    def arrival(self) -> tuple[datetime, str] | None:
        """The file time and key of its latest input; None where these are not known.

        Of two runs that make a product of the same name, the one with the greater value wins.
        """
        times = [(i.modified, i.key) for i in self.inputs if i.modified is not None]
        return max(times) if times and len(times) == len(self.inputs) else None

    @property
    def adopted(self) -> bool:
        """Whether it stands for products that were adopted: there is nothing to carry out."""
        return self.arguments[:1] == (ADOPTED,) and self.due is None and not self.inputs

    @property
    def withdrawn(self) -> bool:
        """Whether its window has no inputs any more: the pipeline is not called."""
        return self.window is not None and self.arguments[:1] == (WITHDRAWN,)

    @cached_property
    def key(self) -> str:
        """sha256, in hexadecimal, of the config's id and all inputs; the release is not part of it.

        The same key means that there is nothing new to do.
        """
        identity: dict[str, object] = {
            "config": self.config,
            "inputs": sorted([i.key, i.version, i.size] for i in self.inputs),
            "window": to_json(self.window),
            "products": sorted([p.key, p.version] for p in self.products),
            "arguments": list(self.arguments),
        }
        if self.companions:
            identity["companions"] = sorted([i.key, i.version, i.size] for i in self.companions)
        if self.due is not None:
            identity["due"] = to_json(self.due)
        return hashlib.sha256(dumps(identity).encode()).hexdigest()

    @property
    def title(self) -> str:
        """The inputs or the window, in a few words for a person."""
        if self.window is not None:
            return str(self.window)
        if self.inputs:
            more = f" and {len(self.inputs) - 1} more" if len(self.inputs) > 1 else ""
            return self.inputs[0].key + more
        return ", ".join(self.arguments)


@dataclass(frozen=True)
class FailedTest:
    """One test of a ``qc_`` variable, and how many values failed it."""

    meaning: str
    """What the test found, in the words of ``flag_meanings``."""
    assessment: str
    """``Bad`` or ``Indeterminate``, as in ``flag_assessments``."""
    failed: int
    """How many values failed it."""


@dataclass(frozen=True)
class QualitySummary:
    """What the ``qc_`` variable of one variable says about its samples."""

    variable: str
    """The variable that was checked (without ``qc_``)."""
    samples: int
    """How many samples it has."""
    bad: int
    """How many failed a test that is assessed Bad."""
    indeterminate: int
    """How many failed only tests that are assessed Indeterminate."""
    tests: tuple[FailedTest, ...] = ()
    """The tests with a meaning that some values failed."""


@dataclass(frozen=True)
class Product:
    """A published data file or plot."""

    key: str
    """Its path below the outputs' root; the same on every target."""
    kind: Literal["data", "ancillary"]
    """data: written by ``save_data``. ancillary: plots and everything else."""
    size: int
    """Bytes; of a folder, of all files in it."""
    sha256: str
    """Of the content; of a folder, of its files' paths and sha256, in order. Of an adopted object
    in S3 that nobody has read yet, its ETag after ``etag:``."""
    datastream: str = ""
    """The datastream that was written; not always the one in the config."""
    begin: datetime | None = None
    """The first time in it."""
    end: datetime | None = None
    """The last time in it (a sample, so inclusive)."""
    dimensions: Mapping[str, int] = field(default_factory=dict)
    """The length of each dimension."""
    quality: tuple[QualitySummary, ...] = ()
    """A summary for each variable with a ``qc_`` variable."""
    valid: Mapping[str, float] = field(default_factory=dict)
    """The share of values that are not missing, 0 to 1, of each variable without ``qc_``."""
    empty: tuple[str, ...] = ()
    """The retrieved variables without any valid value; not those that were always empty before."""
    content: str = ""
    """A digest of its values and attributes, without those that say when it was made; "" if it is
    not known, as of adopted products."""
    withdrawn: bool = False
    """Whether all inputs that it was made of are gone (``on_withdrawn: mark``)."""
    run: str = ""
    """The key of the run that made it."""
    config: str = ""
    """The config that made it."""
    made: datetime | None = None
    """When it was published."""

    def __post_init__(self) -> None:
        check_aware(self)

    @property
    def ref(self) -> ProductRef:
        """The product at its present version."""
        return ProductRef(self.key, self.sha256)


@dataclass(frozen=True)
class Failure:
    """Why a run did not succeed."""

    kind: FailureKind
    """Only transient failures are tried again without a request."""
    message: str
    """What happened, in one line."""
    where: str = ""
    """``file:line`` of the innermost frame in the pipelines repository, where there is one."""
    next: str = ""
    """What to do about it."""


@dataclass(frozen=True)
class RunRecord:
    """The state and result of a run: the ledger's main entry."""

    run: Run
    """The run."""
    state: State
    """Its state."""
    attempt: int
    """1 for the first attempt; a retry or a reprocess is a new attempt under the same key."""
    started: datetime
    """When this attempt began."""
    tries: int = 1
    """1 and the number of transient failures since the last request; limited by ``retries``."""
    owner: str = ""
    """Who claimed it."""
    publishing: tuple[str, ...] = ()
    """The product keys that this attempt, or one before it that died, was about to publish."""
    finished: datetime | None = None
    """When this attempt ended."""
    release: str = ""
    """The content hash of the code and config that it ran with."""
    failure: Failure | None = None
    """Why it failed."""
    plots_failed: str = ""
    """Why the plots failed, if only they did; the data is published."""
    warnings: tuple[str, ...] = ()
    """What a person should know although the run succeeded."""
    products: tuple[Product, ...] = ()
    """What it published."""
    replaces: tuple[str, ...] = ()
    """Keys of the earlier runs that this one replaces."""
    compared: Compared = ""
    """How its data differs from what it replaces."""
    retired: tuple[str, ...] = ()
    """Keys of products of replaced runs that this one removed."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each phase took, s."""
    peak_memory: float = 0.0
    """The most memory that the run's process used, MB."""
    log: str = ""
    """Where its log is."""

    def __post_init__(self) -> None:
        check_aware(self)

    @property
    def key(self) -> str:
        """The run's key."""
        return self.run.key

    @property
    def outcome(self) -> str:
        """The state, as a person should read it."""
        if self.plots_failed:
            return "succeeded, plots failed"
        if self.state == "succeeded" and self.warnings:
            return "succeeded with warnings"
        return self.state


_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parse_window(text: str) -> timedelta | Literal["week", "month"]:
    """The length of a window: hour, day, week, month, or such as ``30min``, ``6h``, ``2d``.

    Raises:
        ValueError: ``text`` is none of these.
    """
    if text in ("week", "month"):
        return text  # type: ignore[return-value]
    if text in ("hour", "day"):
        return _UNITS[text[0]]
    match = re.fullmatch(r"([1-9]\d{0,3})(min|h|d)", text)
    if match is None:
        raise ValueError(f"{text!r} is not hour, day, week, month, or such as 30min, 6h, 2d")
    return int(match[1]) * _UNITS[match[2]]


def window_at(length: str, moment: datetime) -> Window:
    """The window of that length, aligned in UTC (weeks from Sunday), that ``moment`` lies in."""
    step = parse_window(length)
    day = moment.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    if step == "month":
        begin = day.replace(day=1)
        return Window(begin, (begin + timedelta(days=32)).replace(day=1))
    if step == "week":
        begin = day - timedelta(days=day.isoweekday() % 7)
        return Window(begin, begin + timedelta(days=7))
    assert isinstance(step, timedelta)
    begin = _EPOCH + (moment - _EPOCH) // step * step
    return Window(begin, begin + step)


def windows_over(length: str, begin: datetime, end: datetime) -> Iterator[Window]:
    """The aligned windows that contain at least one instant of [begin, end], oldest first."""
    window = window_at(length, begin)
    while window.begin <= end:
        yield window
        window = window_at(length, window.end)
