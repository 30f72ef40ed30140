"""What a target supplies: inputs, outputs and a ledger; and a double of each in memory.

``local`` and ``aws`` implement these three; one set of contract tests (``tests/contract``) runs on
all of them. The doubles ship with the code so that anything above can be tested in milliseconds.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from tidegate.errors import InputChanged, StorageError
from tidegate.runtime.runs import SETTLED, Input, Product, ProductRef, Run, RunRecord, State


class Inputs(Protocol):
    """Where raw files are. Never written to."""

    def fetch(self, input: Input, destination: Path) -> None:
        """Copy that very version to ``destination``; raises InputChanged when it is not there."""

    def replaced(self, input: Input) -> bool:
        """Whether another version lies under that key now; a file that is gone is not replaced."""

    def list(self, prefix: str) -> Iterable[Input]:
        """The files under a key prefix that count as arrived."""


class Outputs(Protocol):
    """Where products go. A reader never sees half a product."""

    def publish(self, products: Sequence[tuple[Product, Path]]) -> None:
        """Put each file or folder under its key, data first, replacing what is there.

        Raises StorageError (the disk is full, the folder is read-only); then a second attempt puts
        right whatever the first has left.
        """

    def fetch(self, ref: ProductRef, destination: Path) -> None:
        """Copy that very version to ``destination``; raises InputChanged when it is not there."""

    def remove(self, keys: Iterable[str]) -> None:
        """Take away products that a later run has replaced; a missing one is no error."""


@dataclass(frozen=True)
class Claim:
    """The answer to a claim."""

    granted: bool
    """Whether the caller owns the run now."""
    reason: Literal["new", "done", "failed", "busy"] = "new"
    """If not granted: done or failed before, or busy with another owner."""
    record: RunRecord | None = None
    """The record as it stands: the caller's, if granted."""
    left: tuple[str, ...] = ()
    """Product keys that an earlier attempt may have published without finishing."""


class ClaimLost(Exception):
    """Another owner has taken the run over: nothing that this one says counts any more."""


@dataclass(frozen=True)
class Span:
    """Times that a change touched, both inclusive."""

    begin: datetime
    """The first time."""
    end: datetime
    """The last time."""


class Ledger(Protocol):
    """The durable record of inputs, runs and products."""

    def claim(
        self, run: Run, *, owner: str, lease: timedelta, now: datetime, release: str
    ) -> Claim:
        """Make the run the caller's until ``now + lease``, by one conditional write.

        Granted when there is no record, when ``run.again``, when the record is retrying or
        superseded, or when it is running and its lease has run out or is the caller's own.
        ``attempt`` counts on in each case; ``tries`` is 1 for a first attempt and for ``again``,
        one more for a retrying run, and as it was for one whose lease ran out (its owner died,
        which says nothing of the run).
        """

    def intend(self, key: str, *, owner: str, attempt: int, products: Sequence[str]) -> None:
        """Note what is about to be published; raises ClaimLost when the claim is another's."""

    def finish(self, record: RunRecord) -> None:
        """End an attempt: its record, its products, what it retired, all in one step.

        Products become the present version of their keys; retired keys are forgotten; each change
        of a data product is noted for ``changes``, with the spans of the new version and of the
        one that it replaces or that is retired. Settled runs in ``replaces`` become superseded, so
        that their inputs are run again should they come back. Raises ClaimLost when the claim
        (owner and attempt) is another's.
        """

    def record(self, key: str) -> RunRecord | None:
        """What became of the run with that key."""

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        """The states of those runs that have a record."""

    def records(
        self,
        *,
        config: str | None = None,
        states: Sequence[State] = (),
        prefix: str = "",
        limit: int | None = None,
    ) -> Iterator[RunRecord]:
        """Records, the latest started first; ``prefix`` is how the run's key begins."""

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        """The runs of that config about one subject (``Run.subjects``), the latest first.

        The one with the key ``but`` is left out.
        """

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        """Those inputs that no run of that config has at that version; superseded runs aside."""

    def products(
        self,
        *,
        datastream: str | None = None,
        config: str | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Product]:
        """Present products, by key; with times, those that overlap [begin, end)."""

    def overlapping(self, datastream: str, begin: datetime, end: datetime) -> list[Product]:
        """The present data products of a datastream that overlap [begin, end), by begin, then key.

        The cost follows the answer, not the number of products on record.
        """

    def product(self, key: str) -> Product | None:
        """The present product of that key."""

    def products_at(self, keys: Iterable[str]) -> dict[str, Product]:
        """The present products of those keys, by key; those that there are."""

    def made_by(self, key: str) -> list[Product]:
        """The present products that the run with that key made."""

    def changes(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        """What changed in a datastream since ``cursor`` ("": ever), and the cursor to go on from.

        A change may be told twice, but none is left out.
        """

    def state(self, name: str) -> str | None:
        """A small durable value, such as the cursors of a config."""

    def set_state(self, name: str, value: str) -> None:
        """Keep a small durable value."""


@dataclass(frozen=True)
class Target:
    """One place where runs happen."""

    inputs: Inputs
    """Where raw files are."""
    outputs: Outputs
    """Where products go."""
    ledger: Ledger
    """The record of it all."""


def overlaps(product: Product, begin: datetime | None, end: datetime | None) -> bool:
    """Whether a product's times, both inclusive, touch [begin, end); without times, never."""
    if product.begin is None or product.end is None:
        return begin is None and end is None
    return (end is None or product.begin < end) and (begin is None or product.end >= begin)


def decide_claim(
    run: Run,
    before: RunRecord | None,
    lease_until: datetime | None,
    *,
    owner: str,
    now: datetime,
    release: str,
) -> Claim:
    """The rule of ``Ledger.claim``, given what is on record: the same for every ledger."""
    if before is not None and not run.again:
        if before.state in SETTLED:
            return Claim(False, "done", before)
        if before.state == "failed":
            return Claim(False, "failed", before)
    held = before is not None and before.state == "running" and lease_until and lease_until > now
    if held and before is not None and before.owner != owner:
        return Claim(False, "busy", before)
    tries = 1
    if before is not None and before.state in ("running", "retrying") and not _fresh(run, before):
        tries = before.tries + (before.state == "retrying")
    record = RunRecord(
        run=run,
        state="running",
        attempt=before.attempt + 1 if before else 1,
        tries=tries,
        started=now,
        owner=owner,
        release=release,
    )
    left = before.publishing if before is not None else ()
    return Claim(True, "new", replace(record, publishing=left), left)


def ended(record: RunRecord, stored: RunRecord) -> RunRecord:
    """The record to keep at ``Ledger.finish``, given what is on record: the same for every ledger.

    An attempt that did not get to the end may have published some of what it set out to: those
    keys stay on record, for the next claim to tell as ``left``.
    """
    if record.state in SETTLED:
        return record
    both = tuple(dict.fromkeys((*record.publishing, *stored.publishing)))
    return replace(record, publishing=both)


def _fresh(run: Run, before: RunRecord) -> bool:
    """Whether ``again`` is a new request, and not the same one going on after a failure."""
    return run.again and run.arrived != before.run.arrived


class MemoryInputs:
    """Inputs in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, key: str, content: bytes) -> Input:
        """Store a file and say at which version it is."""
        self.files[key] = content
        return self._input(key)

    def _input(self, key: str) -> Input:
        content = self.files[key]
        return Input(key, hashlib.sha256(content).hexdigest(), len(content))

    def fetch(self, input: Input, destination: Path) -> None:
        if input.key not in self.files or self._input(input.key) != input:
            raise InputChanged(f"{input.key} was replaced or removed before it could be read")
        destination.write_bytes(self.files[input.key])

    def replaced(self, input: Input) -> bool:
        return input.key in self.files and self._input(input.key) != input

    def list(self, prefix: str) -> Iterable[Input]:
        return [self._input(key) for key in sorted(self.files) if key.startswith(prefix)]


class MemoryOutputs:
    """Outputs in a folder that nobody else looks at: files by key, without atomicity."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._versions: dict[str, str] = {}

    def publish(self, products: Sequence[tuple[Product, Path]]) -> None:
        for product, path in products:
            place = self.root / product.key
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir() and place.is_dir():
                    shutil.rmtree(place)
                _copy(path, place)
                self._versions[product.key] = product.sha256
            except OSError as error:
                raise StorageError(f"cannot publish {product.key}: {error}") from error

    def fetch(self, ref: ProductRef, destination: Path) -> None:
        place = self.root / ref.key
        if not place.exists() or self._version(ref.key) != ref.version:
            raise InputChanged(f"{ref.key} was replaced or removed before it could be read")
        _copy(place, destination)

    def _version(self, key: str) -> str | None:
        """A file's by its content; a folder's as it was published."""
        place = self.root / key
        if place.is_dir():
            return self._versions.get(key)
        return hashlib.sha256(place.read_bytes()).hexdigest()

    def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            place = self.root / key
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, destination)
    else:
        shutil.copyfile(source, destination)


class MemoryLedger:
    """The ledger's contract in its plainest form: dictionaries under one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, RunRecord] = {}
        self._leases: dict[str, datetime] = {}
        self._products: dict[str, Product] = {}
        self._changes: list[tuple[str, Span]] = []
        self._state: dict[str, str] = {}

    def claim(
        self, run: Run, *, owner: str, lease: timedelta, now: datetime, release: str
    ) -> Claim:
        with self._lock:
            before, until = self._records.get(run.key), self._leases.get(run.key)
            claim = decide_claim(run, before, until, owner=owner, now=now, release=release)
            if claim.granted and claim.record is not None:
                self._records[run.key] = claim.record
                self._leases[run.key] = now + lease
            return claim

    def intend(self, key: str, *, owner: str, attempt: int, products: Sequence[str]) -> None:
        with self._lock:
            record = self._own(key, owner, attempt)
            both = tuple(dict.fromkeys((*record.publishing, *products)))
            self._records[key] = replace(record, publishing=both)

    def finish(self, record: RunRecord) -> None:
        with self._lock:
            stored = self._own(record.key, record.owner, record.attempt)
            self._records[record.key] = ended(record, stored)
            self._leases.pop(record.key, None)
            for key in record.replaces:
                before = self._records.get(key)
                if before is not None and before.state in SETTLED:
                    self._records[key] = replace(before, state="superseded")
            for key in record.retired:
                self._note(self._products.pop(key, None))
            for product in record.products:
                self._note(self._products.get(product.key))
                self._note(product)
                self._products[product.key] = product

    def _own(self, key: str, owner: str, attempt: int) -> RunRecord:
        record = self._records.get(key)
        if record is None or (record.state, record.owner, record.attempt) != (
            "running",
            owner,
            attempt,
        ):
            raise ClaimLost(key)
        return record

    def _note(self, product: Product | None) -> None:
        if product and product.kind == "data" and product.begin and product.end:
            self._changes.append((product.datastream, Span(product.begin, product.end)))

    def record(self, key: str) -> RunRecord | None:
        return self._records.get(key)

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        return {key: self._records[key].state for key in keys if key in self._records}

    def records(
        self,
        *,
        config: str | None = None,
        states: Sequence[State] = (),
        prefix: str = "",
        limit: int | None = None,
    ) -> Iterator[RunRecord]:
        found = [
            record
            for record in list(self._records.values())
            if (config is None or record.run.config == config)
            and (not states or record.state in states)
            and record.key.startswith(prefix)
        ]
        found.sort(key=lambda record: (record.started, record.key), reverse=True)
        yield from found[:limit]

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        records = self.records(config=config)
        return [r for r in records if subject in r.run.subjects and r.key != but]

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        taken = {
            input
            for record in list(self._records.values())
            if record.run.config == config and record.state != "superseded"
            for input in record.run.inputs
        }
        return [input for input in inputs if input not in taken]

    def products(
        self,
        *,
        datastream: str | None = None,
        config: str | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Product]:
        found = [
            product
            for key, product in sorted(self._products.items())
            if (datastream is None or product.datastream == datastream)
            and (config is None or product.config == config)
            and overlaps(product, begin, end)
        ]
        yield from found[:limit]

    def overlapping(self, datastream: str, begin: datetime, end: datetime) -> list[Product]:
        found = [
            product
            for product in self.products(datastream=datastream, begin=begin, end=end)
            if product.kind == "data"
        ]
        return sorted(found, key=lambda product: (product.begin, product.key))

    def product(self, key: str) -> Product | None:
        return self._products.get(key)

    def products_at(self, keys: Iterable[str]) -> dict[str, Product]:
        return {key: self._products[key] for key in keys if key in self._products}

    def made_by(self, key: str) -> list[Product]:
        return [product for product in self.products() if product.run == key]

    def changes(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        changes = self._changes[int(cursor or 0) :]
        spans = [span for name, span in changes if name == datastream]
        return spans, str(int(cursor or 0) + len(changes))

    def state(self, name: str) -> str | None:
        return self._state.get(name)

    def set_state(self, name: str, value: str) -> None:
        self._state[name] = value
