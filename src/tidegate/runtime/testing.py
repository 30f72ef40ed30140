"""In-memory doubles of the protocols, for tests that take milliseconds."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tidegate.errors import InputChanged, StorageError
from tidegate.runtime.ledger_rules import (
    add_publishing,
    changed_spans,
    decide_claim,
    finish_changes,
    is_claimed_by,
    matches,
    overlaps,
    start_and_key,
    superseded,
)
from tidegate.runtime.protocols import Claim, ClaimLost, Interrupted, QueuedRun, Span
from tidegate.runtime.runs import Input, Product, ProductRef, Run, RunRecord, State
from tidegate.runtime.task import Limits, Outcome, Task


class MemoryInputs:
    """Inputs in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, key: str, content: bytes) -> Input:
        """Store a file; returns it with its version."""
        self.files[key] = content
        return self._input(key)

    def _input(self, key: str) -> Input:
        content = self.files[key]
        return Input(key, hashlib.sha256(content).hexdigest(), len(content))

    def fetch(self, input: Input, destination: Path) -> None:
        if input.key not in self.files or self._input(input.key) != input:
            raise InputChanged(f"{input.key} was replaced or removed before it could be read")
        destination.write_bytes(self.files[input.key])

    def fetch_all(self, wanted: Sequence[tuple[Input, Path]]) -> None:
        for input, destination in wanted:
            self.fetch(input, destination)

    def replaced(self, input: Input) -> bool:
        return input.key in self.files and self._input(input.key) != input

    def list(self, prefix: str) -> Iterable[Input]:
        return [self._input(key) for key in sorted(self.files) if key.startswith(prefix)]


class MemoryOutputs:
    """Outputs in a folder that nobody else reads: files by key, without atomicity."""

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

    def fetch_all(self, wanted: Sequence[tuple[ProductRef, Path]]) -> None:
        for ref, destination in wanted:
            self.fetch(ref, destination)

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

    def missing(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if not (self.root / key).exists()]

    def set_aside(self, keys: Iterable[str]) -> str:
        aside = self.root.with_name("withdrawn")
        for key in keys:
            if (self.root / key).exists():
                (aside / key).parent.mkdir(parents=True, exist_ok=True)
                (self.root / key).replace(aside / key)
        return str(aside)


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
            record = self._claimed(key, owner, attempt)
            self._records[key] = add_publishing(record, products)

    def finish(self, record: RunRecord) -> None:
        with self._lock:
            stored = self._claimed(record.key, record.owner, record.attempt)
            changes = finish_changes(record, stored)
            self._records[record.key] = changes.record
            self._leases.pop(record.key, None)
            for key in changes.replaced:
                before = self._records.get(key)
                after = superseded(before) if before is not None else None
                if after is not None:
                    self._records[key] = after
            for key, product in changes.products.items():
                self._changes += changed_spans(self._products.pop(key, None), product)
                if product is not None:
                    self._products[key] = product

    def _claimed(self, key: str, owner: str, attempt: int) -> RunRecord:
        record = self._records.get(key)
        if record is None or not is_claimed_by(record, owner, attempt):
            raise ClaimLost(key)
        return record

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
        before: datetime | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[RunRecord]:
        found = [
            record
            for record in list(self._records.values())
            if matches(record, config=config, states=states, prefix=prefix)
            and (before is None or record.started < before)
            and (since is None or record.started >= since)
        ]
        found.sort(key=start_and_key, reverse=True)
        yield from found[:limit]

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        records = self.records(config=config)
        return [r for r in records if subject in r.run.subjects and r.key != but]

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        taken = {
            input
            for record in list(self._records.values())
            if record.run.config == config and record.state != "superseded"
            for input in record.run.files
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

    def datastreams(self) -> list[str]:
        return sorted({p.datastream for p in self._products.values() if p.datastream})

    def changes(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        changes = self._changes[int(cursor or 0) :]
        spans = [span for name, span in changes if name == datastream]
        return spans, str(int(cursor or 0) + len(changes))

    def state(self, name: str) -> str | None:
        return self._state.get(name)

    def set_state(self, name: str, value: str) -> None:
        self._state[name] = value

    def change_state(self, name: str, change: Callable[[str | None], str]) -> None:
        with self._lock:
            self._state[name] = change(self._state.get(name))


@dataclass
class _Entry:
    """One entry of ``MemoryQueue``."""

    run: Run
    number: int
    priority: int
    due: datetime
    taken: bool = False


class MemoryQueue:
    """The queue's contract in its plainest form: a list under one lock.

    Two runs of one config about the same subject are never taken at the same time.
    """

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._entries: list[_Entry] = []

    def put(
        self,
        runs: Sequence[Run],
        now: datetime,
        *,
        priority: int = 0,
        state: Sequence[tuple[str, str]] = (),
    ) -> int:
        with self._lock:
            count = sum(self._put(run, now, priority) for run in runs)
            for name, value in state:
                self._ledger.set_state(name, value)
            return count

    def _put(self, run: Run, now: datetime, priority: int) -> bool:
        waiting = [e for e in self._entries if e.run.key == run.key and not e.taken]
        if run.again and waiting:
            self._entries.remove(waiting[0])
        elif waiting or (not run.again and not self._is_open(run, now)):
            return False
        self._entries.append(_Entry(run, next(self._numbers), priority, now))
        return True

    def _is_open(self, run: Run, now: datetime) -> bool:
        record = self._ledger.record(run.key)
        if any(entry.run.key == run.key for entry in self._entries):
            return False
        return record is None or record.state in ("retrying", "running", "superseded")

    def take(self, now: datetime) -> QueuedRun | None:
        with self._lock:
            free = [e for e in self._entries if not e.taken and e.due <= now]
            free = [entry for entry in free if not self._is_blocked(entry)]
            if not free:
                return None
            entry = min(free, key=lambda e: (-e.priority, e.due, e.number))
            entry.taken = True
            return QueuedRun(entry.run)

    def _is_blocked(self, entry: _Entry) -> bool:
        """Whether another run about the same is at work, or was queued earlier."""
        subjects = {(entry.run.config, subject) for subject in entry.run.subjects}
        return any(
            (other.taken or other.number < entry.number)
            and subjects & {(other.run.config, subject) for subject in other.run.subjects}
            for other in self._entries
            if other is not entry
        )

    def postpone(self, run: Run, until: datetime, now: datetime) -> None:
        with self._lock:
            for entry in self._taken(run):
                entry.taken, entry.due = False, until

    def drop(self, run: Run, *, given_up: bool = False) -> None:
        with self._lock:
            for entry in self._taken(run):
                self._entries.remove(entry)

    def _taken(self, run: Run) -> list[_Entry]:
        return [e for e in self._entries if e.run.key == run.key and e.taken]

    def count(self) -> int:
        return len(self._entries)


class InlineExecutor:
    """Carries tasks out in this process, in the thread that calls; so it cannot stop a run."""

    slots = capacity = 1

    def __init__(self, perform: Callable[[Task], Outcome]) -> None:
        self._perform = perform
        self._interrupted = False

    def expect(self, runs: int) -> None:
        pass

    def start(self) -> None:
        pass

    def perform(self, task: Task, limits: Limits) -> Outcome:
        if self._interrupted:
            raise Interrupted
        return self._perform(task)

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self.interrupt()
