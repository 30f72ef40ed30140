"""(o) A service over a million files on record, folders of 100,000 files, and a burst of 10,000."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import psutil

from benchmarks import history, workspaces
from benchmarks.report import Figure, median
from benchmarks.running import Running
from tidegate.runtime.runs import Input, Product, Run, RunRecord
from tidegate.targets.local.inputs import to_raw_file
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.look import read_look
from tidegate.targets.local.queue import SqliteQueue
from tidegate.workspace.folder import Workspace

T = TypeVar("T")

READY, MEMORY, IDLE = 5.0, 150.0, 1.0
"""Targets: s, MB, % of one core."""
_CONFIG, _OTHER = "lidar/humboldt", "lidar/morro"
_DATASTREAM = "humboldt.buoy_z05-lidar-10m.a1"
_BEGAN = datetime(2000, 1, 1, tzinfo=timezone.utc)
_PERIOD, _TOOK = timedelta(minutes=1), timedelta(seconds=1)
_TABLES = ("runs", "subjects", "products", "changes")
_BATCH = 5000
_MOST_LINKS = 30_000
_EMPTY = hashlib.sha256(b"").hexdigest()
_PATIENCE = 1800.0


@dataclass(frozen=True)
class Size:
    """How large a workspace is."""

    files: int
    """Raw files on record, each with a run and a product."""
    folder: int
    """How many of them are in one folder."""
    burst: int
    """How many arrive within a second."""
    idle: float
    """For how long the idle service is watched, s."""


FULL = Size(1_000_000, 100_000, 10_000, 360.0)
QUICK = Size(600, 300, 40, 1.0)


def measure(folder: Path, quick: bool) -> list[Figure]:
    """Fill one workspace, then start services over it."""
    size = QUICK if quick else FULL
    workspace = workspaces.make(folder, "off")
    raw = workspaces.raw_files(folder / "raw", 3, sites=("morro",), minutes=10)
    with Running(workspace, "--once") as first:
        first.rest()  # Tsdat has been asked about the configs once
    fill(workspace, size)
    arriving = iter(raw)
    starts = [_start(workspace, arriving, size, idle=False) for _ in range(1 if quick else 3)]
    after_kill = _start(workspace, arriving, size, idle=False, kill_before=True)
    last = _start(workspace, arriving, size, idle=True)
    title = f"{size.files:,} files on record, {size.folder:,} in each folder"
    return [
        median("o", f"{title}: takes new files after", [s.ready for s in starts], "s",
               at_most=READY),
        Figure("o", "  the same after it was killed", after_kill.ready, "s", at_most=READY),
        median("o", "  all files looked through after", [s.looked for s in starts], "s"),
        Figure("o", "  most memory, a sweep included", last.peak, "MB", at_most=MEMORY),
        Figure("o", "  idle, a sweep included, of one core", last.idle, "%", at_most=IDLE),
        *_burst(workspace, arriving, size),
    ]  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What one start took."""

    ready: float
    """From the start of the process until the first new file was being run, s."""
    looked: float
    """From the start of the process until all files were looked through, s."""
    peak: float
    """The most memory of the control process, MB."""
    idle: float
    """Processor time of the control process while there was nothing to do, % of one core."""


def _start(
    workspace: Workspace,
    arriving: Iterator[Path],
    size: Size,
    *,
    idle: bool,
    kill_before: bool = False,
) -> Start:
    """Start a service and let new files arrive, one each half second, until one is run."""
    if kill_before:
        with Running(workspace) as killed:
            time.sleep(4.0)
            killed.process.send_signal(signal.SIGKILL)
            killed.process.wait()
    before = time.time()
    with Running(workspace) as service, SqliteLedger(workspace.ledger) as ledger:
        with _delivering(workspace, arriving):
            record = _until(lambda: next(iter(_new_runs(ledger, before)), None), service)
        looked = _until(lambda: _looked(ledger, before), service)
        process = psutil.Process(service.process.pid)
        share = 0.0
        if idle:
            _until(lambda: SqliteQueue(ledger).count() == 0, service)
            time.sleep(2.0)
            used, began = sum(process.cpu_times()[:2]), time.monotonic()
            time.sleep(size.idle)
            share = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began)
        return Start(
            record.started.timestamp() - service.began,
            looked - service.began,
            _peak(service.process.pid),
            100 * share,
        )


def _new_runs(ledger: SqliteLedger, since: float) -> Iterator[RunRecord]:
    return ledger.records(config=_OTHER, since=datetime.fromtimestamp(since, timezone.utc))


def _looked(ledger: SqliteLedger, since: float) -> float | None:
    """When the look of the service that started after ``since`` ended, s since 1970."""
    look = read_look(ledger)
    if look is None or look.ended is None or look.began.timestamp() < since:
        return None
    return look.ended.timestamp()


class _delivering:
    """Lets a file arrive each half second, in a thread of its own, until the block ends."""

    def __init__(self, workspace: Workspace, files: Iterator[Path]) -> None:
        self._workspace = workspace
        self._files = files
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        folder = self._workspace.input / _OTHER
        folder.mkdir(parents=True, exist_ok=True)
        while not self._over.is_set():
            file = next(self._files)
            file.rename(folder / file.name)
            self._over.wait(0.5)


# --- a burst --------------------------------------------------------------------------------------


def _burst(workspace: Workspace, arriving: Iterator[Path], size: Size) -> list[Figure]:
    """So many files within a second, and one of another config in the middle of it."""
    waiting = workspace.root / "burst"
    waiting.mkdir()
    for number in range(size.burst):
        (waiting / f"burst.{number:06}.sta.7z").write_text(str(number))
    place = workspace.input / _CONFIG / "burst"
    place.mkdir()
    live = next(arriving)
    with Running(workspace) as service, SqliteLedger(workspace.ledger) as ledger:
        _until(lambda: _looked(ledger, service.began), service)
        time.sleep(2.0)
        began = time.time()
        for number, file in enumerate(waiting.iterdir()):
            if number == size.burst // 2:
                between = time.time()
                live.rename(workspace.input / _OTHER / live.name)
            os.rename(file, place / file.name)
        delivered = time.time()
        _until(lambda: len(_burst_runs(ledger)) >= size.burst, service, pause=1.0)
        _until(lambda: _runs(ledger, _OTHER, live.name), service, pause=1.0)
        peak = _peak(service.process.pid)
        service.process.kill()
        service.process.wait()
    with SqliteLedger(workspace.ledger) as ledger:
        runs = _burst_runs(ledger)
        (other,) = _runs(ledger, _OTHER, live.name)
    files = {run.inputs[0].key for run in runs}
    wrong = abs(len(files) - size.burst) + len(runs) - len(files)
    last = max(_arrived(run) for run in runs)
    title = f"{size.burst:,} files in {delivered - began:.2g} s"
    return [
        Figure("o", f"{title}: all are queued after", last - began, "s"),
        Figure("o", "  lost or doubled", wrong, "", at_most=0),
        Figure("o", "  a file of another config is queued after", _arrived(other) - between, "s"),
        Figure("o", "  most memory", peak, "MB"),
    ]


def _burst_runs(ledger: SqliteLedger) -> list[Run]:
    return _runs(ledger, _CONFIG, "burst")


def _runs(ledger: SqliteLedger, config: str, part: str) -> list[Run]:
    """The runs of files with that in their key: those that wait, go on or have ended."""
    since = datetime.now(timezone.utc) - timedelta(hours=1)
    found = {entry.run.key: entry.run for entry in SqliteQueue(ledger).pending(config)}
    found.update((r.key, r.run) for r in ledger.records(config=config, since=since))
    return [run for run in found.values() if part in run.inputs[0].key]


def _arrived(run: Run) -> float:
    assert run.arrived is not None
    return run.arrived.timestamp()


def _until(look: Callable[[], T | None], service: Running, pause: float = 0.05) -> T:
    deadline = time.monotonic() + _PATIENCE
    while not (found := look()):
        if service.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the service has ended, or does nothing")
        time.sleep(pause)
    return found


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


# --- a workspace as a service would have left it --------------------------------------------------


def fill(workspace: Workspace, size: Size) -> None:
    """Empty raw files with a run and a product each; nothing of it is read again.

    The products are links to a few files: only their names count here. The rows of the ledger are
    made from those of the first run by replacing text: to make each run would take an hour.
    """
    numbers = iter(range(1, size.files))
    inputs, outputs, linked = workspace.input, workspace.output, workspace.root / "one.nc"
    with SqliteLedger(workspace.ledger) as ledger:
        first = _raw_file(inputs, 0, size)
        record = _record(first)
        _link(linked, outputs / record.products[0].key, 0)
        ledger.seen_files.add([first])
        history.write(ledger, [record])
        with ledger.database.writing() as db:
            first_rows = {name: _first_row(db, name) for name in _TABLES}
        while batch := list(islice(numbers, _BATCH)):
            rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _TABLES}
            files = []
            for number in batch:
                files.append(_raw_file(inputs, number, size))
                _link(linked, outputs / _product_key(number), number)
                texts = _texts(number, size, record.key)
                for name, row in first_rows.items():
                    rows[name].append(_later_row(row, texts, number))
            ledger.seen_files.add(files)
            with ledger.database.writing() as db:
                for name, given in rows.items():
                    marks = ",".join("?" * len(given[0]))
                    db.executemany(f"INSERT INTO {name} VALUES ({marks})", given)


def _first_row(db: sqlite3.Connection, table: str) -> dict[str, Any]:
    found = db.execute(f"SELECT * FROM {table}")
    return dict(zip([column[0] for column in found.description], found.fetchone()))


def _texts(number: int, size: Size, first: str) -> list[tuple[str, str]]:
    """What to replace in the texts of the first run, which has this key."""
    times = [
        ((_begin(0) + later).isoformat(), (_begin(number) + later).isoformat())
        for later in (_PERIOD, _TOOK, timedelta())
    ]
    return [
        *times,
        (_raw_key(0, size), _raw_key(number, size)),
        (first, hashlib.sha256(str(number).encode()).hexdigest()),
        (_product_key(0), _product_key(number)),
    ]


def _later_row(
    row: Mapping[str, Any], texts: Sequence[tuple[str, str]], number: int
) -> tuple[Any, ...]:
    made = []
    for column, value in row.items():
        if isinstance(value, str):
            for before, after in texts:
                value = value.replace(before, after)
        elif column in ("started", "finished", "begin", "end"):
            value += number * int(_PERIOD.total_seconds()) * 1_000_000
        elif column in ("id", "run"):
            value += number
        made.append(value)
    return tuple(made)


def _raw_key(number: int, size: Size) -> str:
    return f"{_CONFIG}/{number // size.folder:02}/{number:07}.sta.7z"


def _raw_file(inputs: Path, number: int, size: Size) -> SeenFile:
    key = _raw_key(number, size)
    path = inputs / key
    if number % size.folder == 0:
        path.parent.mkdir(parents=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
    return SeenFile(*to_raw_file(key, path.stat()), _EMPTY)


def _link(source: Path, place: Path, number: int) -> None:
    if number % _MOST_LINKS == 0:
        source.unlink(missing_ok=True)
        source.write_bytes(b"x")
    try:
        os.link(source, place)
    except FileNotFoundError:
        place.parent.mkdir(parents=True)
        os.link(source, place)


def _begin(number: int) -> datetime:
    return _BEGAN + _PERIOD * number


def _product_key(number: int) -> str:
    begin = _begin(number)
    name = f"{_DATASTREAM}.{begin:%Y%m%d.%H%M%S}.nc"
    return f"storage/root/data/humboldt/{_DATASTREAM}/{begin:%Y/%m/%d}/{name}"


def _record(file: SeenFile) -> RunRecord:
    """The run of the first file."""
    run = Run(_CONFIG, inputs=(Input(file.key, file.sha256, file.size),), arrived=_BEGAN)
    product = Product(
        _product_key(0),
        "data",
        1,
        hashlib.sha256(b"x").hexdigest(),
        datastream=_DATASTREAM,
        begin=_BEGAN,
        end=_BEGAN + _PERIOD,
        dimensions={"time": 1},
        run=run.key,
        config=_CONFIG,
        made=_BEGAN,
    )
    return RunRecord(
        run,
        "succeeded",
        1,
        _BEGAN,
        owner="bench",
        release="bench",
        finished=_BEGAN + _TOOK,
        products=(product,),
        seconds={"run": 0.2, "total": 0.3},
        peak_memory=250.0,
    )
