"""(c) The control process with 100,000 processed files on record: start, memory, idle."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil

from benchmarks import workspaces
from benchmarks.report import Figure, median
from benchmarks.running import Running
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import Input, Product, QualitySummary, Run, RunRecord
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.ledger.claims import claim_run, finish_run
from tidegate.targets.local.ledger.seen_files import write_seen
from tidegate.targets.local.sightings import batched
from tidegate.workspace.folder import Workspace

FILES = 100_000
READY, MEMORY, IDLE = 5.0, 150.0, 1.0
"""Targets: s, MB, % of one core."""
CONFIG = "lidar/humboldt"
VAP = "lidar_vap/humboldt"
DATASTREAM = "humboldt.buoy_z05-lidar-10m.a1"
_BEGAN = datetime(2000, 1, 1, tzinfo=timezone.utc)
_PERIOD = timedelta(minutes=10)
_SETTLED = timedelta(hours=1)
_VARIABLES = ("wind_speed", "wind_direction", "vertical_wind", "cnr", "data_availability")


def measure(folder: Path, quick: bool) -> list[Figure]:
    """Start the service over the same workspace several times."""
    files, seconds = (200, 1.0) if quick else (FILES, 20.0)
    workspace = workspaces.make(folder, "off", vap=True)
    fill(workspace, files)
    with Running(workspace, "--once") as first:
        first.rest()  # Tsdat has been asked about the configs once
    starts: list[float] = []
    resident: list[float] = []
    peak: list[float] = []
    idle: list[float] = []
    for _ in range(1 if quick else 5):
        ready, process_figures = _start(workspace, seconds)
        starts.append(ready)
        for values, value in zip((resident, peak, idle), process_figures):
            values.append(value)
    title = f"{files} files on record"
    return [
        median("c", f"{title}: ready after", starts, "s", at_most=READY),
        median("c", f"{title}: resident memory", resident, "MB", at_most=MEMORY),
        median("c", "  the most while it started", peak, "MB"),
        median("c", f"{title}: idle, of one core", idle, "%", at_most=IDLE),
    ]


def _start(workspace: Workspace, seconds: float) -> tuple[float, tuple[float, float, float]]:
    """When a service is ready, and its memory (MB), its peak (MB) and its idle load (%)."""
    with SqliteLedger(workspace.ledger) as ledger:
        # A schedule is looked at once all that is there has been taken in, and not before.
        ledger.set_state(f"due/{VAP}", (datetime.now(timezone.utc) - _SETTLED * 3).isoformat())
        before = ledger.state(f"due/{VAP}")
        with Running(workspace, workers=2) as service:
            while ledger.state(f"due/{VAP}") == before:
                if service.process.poll() is not None:
                    service.next()
                time.sleep(0.01)
            ready = time.time() - service.began
            process = psutil.Process(service.process.pid)
            time.sleep(1.0)
            times, began = process.cpu_times(), time.monotonic()
            time.sleep(seconds)
            spent, took = process.cpu_times(), time.monotonic() - began
            used = spent.user + spent.system - times.user - times.system
            memory = process.memory_info().rss / 2**20
            return ready, (memory, _peak(service.process.pid), 100 * used / took)


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


# --- a workspace as the service would have left it ------------------------------------------------


def fill(workspace: Workspace, files: int) -> None:
    """Raw files, their products and the ledger, as if the service had processed so many."""
    _write_raw_files(workspace, files)
    inputs = FolderInputs(workspace.input)
    with SqliteLedger(workspace.ledger) as ledger:
        number = 0
        for batch in batched(inputs.scan(), 1000):
            rows = [inputs.hash_file(found) for found in batch]
            records = [_record(row, number + n) for n, row in enumerate(rows)]
            for record in records:
                _write_products(workspace, record)
            _write_to_ledger(ledger, rows, records)
            number += len(batch)
        _, cursor = ledger.changes(DATASTREAM, "")
        ledger.set_state(f"cursors/{VAP}", dumps({DATASTREAM: cursor}))


def _write_to_ledger(
    ledger: SqliteLedger, rows: Sequence[SeenFile], records: Sequence[RunRecord]
) -> None:
    """What ``claim`` and ``finish`` leave, of many runs in one transaction."""
    with ledger.database.writing() as db:
        write_seen(db, rows)
        for record in records:
            run, owner, now = record.run, record.owner, record.started
            lease, release = timedelta(hours=1), record.release
            claim_run(db, run, owner=owner, lease=lease, now=now, release=release)
            finish_run(db, record)


def _write_raw_files(workspace: Workspace, files: int) -> None:
    folder = workspace.input / "lidar/humboldt"
    folder.mkdir(parents=True)
    for number in range(files):
        (folder / f"lidar.z05.00.{_times(number)[0]:%Y%m%d.%H%M%S}.sta.7z").write_text(str(number))


def _write_products(workspace: Workspace, record: RunRecord) -> None:
    for product in record.products:
        place = workspace.output / product.key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("x" * product.size)


def _record(row: SeenFile, number: int) -> RunRecord:
    run = Run(CONFIG, inputs=(Input(row.key, row.sha256, row.size),), arrived=_BEGAN)
    now, key = _BEGAN + _PERIOD * number, run.key
    return RunRecord(
        run,
        "succeeded",
        1,
        now,
        owner="bench",
        release="bench",
        finished=now + timedelta(seconds=1),
        products=tuple(_products(key, number)),
        seconds={"stage": 0.001, "load": 0.005, "run": 0.2, "sum up": 0.001, "publish": 0.004},
        peak_memory=250.0,
        log=f"logs/{CONFIG}/{now:%Y%m}/{key[:16]}-1.jsonl",
    )


def _products(run: str, number: int) -> Iterator[Product]:
    begin, end = _times(number)
    folder = f"storage/root/data/humboldt/{DATASTREAM}"
    quality = tuple(QualitySummary(name, 12, 0, 0) for name in _VARIABLES)
    yield Product(
        f"{folder}/{DATASTREAM}.{begin:%Y%m%d.%H%M%S}.nc",
        "data",
        1,
        hashlib.sha256(b"x").hexdigest(),
        datastream=DATASTREAM,
        begin=begin,
        end=end,
        dimensions={"time": 1, "height": 12},
        quality=quality,
        run=run,
        config=CONFIG,
        made=begin,
    )


def _times(number: int) -> tuple[datetime, datetime]:
    begin = _BEGAN + _PERIOD * number
    return begin, begin + _PERIOD
