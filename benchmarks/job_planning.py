"""(n) Choosing the runs of a job over ten years of files: time and memory; no run is done."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from benchmarks.report import Figure
from tidegate.runtime.jobs import Job, scope_of
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.runs import Input, Product, Run, RunRecord
from tidegate.targets.local.inputs import FolderInputs, to_raw_file
from tidegate.targets.local.job_planning import Planner
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.ledger.products import write_product
from tidegate.targets.local.ledger.runs import insert_run
from tidegate.targets.local.ledger.seen_files import write_seen
from tidegate.targets.local.sightings import Sightings, batched

SIZES = (100_000, 1_000_000)
MEMORY = 150.0
"""Target: MB, however many runs there are."""
_CONFIG = Config("lidar", "humboldt", "Ingest", "S3", "a.yaml", input_path="lidar/humboldt/")
_MANIFEST = Manifest((_CONFIG,))
_BEGAN = datetime(2015, 1, 1, tzinfo=timezone.utc)
_NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
_YEARS = timedelta(days=3650)


def measure(folder: Path, quick: bool) -> list[Figure]:
    """Count, as before the question, and choose all runs, as the service does."""
    figures: list[Figure] = []
    for size in (500,) if quick else SIZES:
        place = folder / str(size)
        fill(place, size)
        for only in ("", "missing"):
            command = [sys.executable, "-m", "benchmarks.job_planning", str(place), only]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            what = f"{size:,} files, {'only missing' if only else 'all'}"
            figures += [
                Figure("n", f"{what}: to count them", found["count"], "s"),
                Figure("n", f"{what}: to choose them", found["choose"], "s"),
                Figure("n", f"{what}: memory", found["memory"], "MB", at_most=MEMORY),
            ]
    return figures


def fill(root: Path, size: int) -> None:
    """So many files over ten years, a folder for each month, all processed before."""
    step = _YEARS / size
    with SqliteLedger(root / "ledger.db") as ledger:
        for numbers in batched(range(size), 5000):
            with ledger.database.writing() as db:
                for number in numbers:
                    begin = _BEGAN + number * step
                    row = _file(root / "input", begin)
                    run = Run(_CONFIG.id, inputs=(Input(row.key, row.sha256, row.size),))
                    product = _product(run, begin, begin + step)
                    record = RunRecord(
                        run, "succeeded", 1, begin, owner="x", release="a", finished=begin,
                        products=(product,),
                    )  # fmt: skip
                    write_seen(db, [row])
                    insert_run(db, record, begin)
                    write_product(db, product)
                    place = root / "output" / product.key
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.touch()


def _file(root: Path, begin: datetime) -> SeenFile:
    key = f"lidar/humboldt/{begin:%Y%m}/lidar.z05.00.{begin:%Y%m%d.%H%M%S}.csv"
    place = root / key
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    os.utime(place, (begin.timestamp(), begin.timestamp()))
    file = to_raw_file(key, place.stat())
    return SeenFile(*file, hashlib.sha256(key.encode()).hexdigest())


def _product(run: Run, begin: datetime, end: datetime) -> Product:
    key = f"data/{begin:%Y%m}/lidar.a1.{begin:%Y%m%d.%H%M%S}.nc"
    return Product(
        key, "data", 1, run.key, "lidar.a1", begin, end, run=run.key, config=_CONFIG.id, made=end
    )


def choose(root: Path, only: str) -> Iterator[tuple[str, float]]:
    """Each figure, in a process of its own."""
    with SqliteLedger(root / "ledger.db") as ledger:
        inputs = FolderInputs(root / "input")
        sightings = Sightings(inputs, (_CONFIG,), ledger, print)
        planner = Planner(_MANIFEST, ledger, inputs, sightings, root / "output")
        id = f"{only}job"
        job = Job(id, _NOW, ((_CONFIG.id,),), only="missing" if only else None)
        scope, began = scope_of(job, _CONFIG), time.monotonic()
        count = sum(len(batch.runs) for batch in planner.batches(scope, _NOW, read=False))
        yield "count", time.monotonic() - began
        ledger.jobs.add(job)
        began = time.monotonic()
        for batch in planner.batches(scope, _NOW):
            then = replace(job, cursor=batch.cursor)
            assert ledger.jobs.choose(job, then, batch.runs)
            job = then
            with ledger.database.writing() as db:  # as if they had ended
                db.execute("DELETE FROM job_runs WHERE job = ?", (id,))
        yield "choose", time.monotonic() - began
        done = ledger.jobs.get(id)
        assert done is not None
        assert done.counts.planned == count
        yield "runs", count
    lines = Path("/proc/self/status").read_text().splitlines()
    yield "memory", next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    print(json.dumps(dict(choose(Path(sys.argv[1]), sys.argv[2]))))
