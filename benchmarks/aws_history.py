"""(e) A VAP's inputs of one day, with a short, a long and a very long history on record.

Tidegate asks its ledger, stages what it names, and lets Tsdat's plain ``FileSystem`` read it;
plain Tsdat lets its ``FileSystemS3`` list the bucket and fetch. Both must get the same dataset.
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import workspaces
from benchmarks.emulator import Emulator, Traffic, emulator
from benchmarks.plain import PlainTsdat
from benchmarks.report import Figure, median
from tidegate.runtime.manifest import Config, Pipeline
from tidegate.runtime.protocols import Target
from tidegate.runtime.publish import STORE, content_hash
from tidegate.runtime.runs import Product, Run, RunRecord, Window
from tidegate.runtime.select import window_runs
from tidegate.runtime.stage import stage, work_folder
from tidegate.runtime.summary import summarize_file
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.s3 import S3Inputs, S3Outputs

HISTORIES = (100, 10_000, 50_000)
TEN_TIMES = 10_000
"""With so many products on record, finding a day's is to be ten times faster."""
DATASTREAM = "humboldt.buoy_z05-lidar-10m.a1"
FOLDER = f"storage/root/data/humboldt/{DATASTREAM}"
VAP = Config(
    "lidar_vap", "humboldt", "VAP", "Cron", "pipelines/lidar_vap/config/pipeline.yaml",
    schedule="0 2 * * *", window="day", tsdat=Pipeline("", datastreams=(DATASTREAM,)),
)  # fmt: skip
_DAY = datetime.strptime(workspaces.FIRST_DAY, "%Y%m%d").replace(tzinfo=timezone.utc)
_WINDOW = Window(_DAY, _DAY + timedelta(days=1))
_HOUR = timedelta(hours=1)
_A_RUN = 400
"""Products of the history are put on record by runs that made so many each."""


@dataclass(frozen=True)
class Look:
    """One fetch of a day's inputs."""

    find: float
    """How long it took to find out which files are needed, s."""
    whole: float
    """How long it took to find, fetch and open them, s."""
    find_requests: int
    """Requests to find them."""
    s3_requests: int
    """Requests to S3 for all of it."""
    dataset: Any
    """What Tsdat would work on."""


def measure(folder: Path, quick: bool) -> list[Figure]:
    """The same day again and again, while the history before it grows."""
    histories, looks = ((30, 60), 2) if quick else (HISTORIES, 9)
    day = _a_day(folder, minutes=360 if quick else 60)
    figures: list[Figure] = []
    counts: list[int] = []
    with emulator(folder / "emulator") as aws:
        bucket, ledger = aws.bucket(), DynamoLedger(aws.table(), aws.clients)
        _upload(aws, bucket, [(product.key, path.read_bytes()) for product, path in day])
        _put_on_record(ledger, [product for product, _ in day])
        there = len(day)
        ours = _Ours(aws, bucket, ledger, folder / "work")
        plain = _Plain(bucket)
        for history in histories:
            new = list(_history(there, history))
            _upload(aws, bucket, [(product.key, b"x") for product in new])
            _put_on_record(ledger, new)
            there = history
            pairs = list(_pairs(ours, plain, looks))
            counts.append(pairs[0][0].find_requests)
            figures += _figures(pairs, history, len(day))
    grown = Figure(
        "e", f"requests to find, {there} on record less {histories[0]}",
        counts[-1] - counts[0], "", at_most=0,
    )  # fmt: skip
    return [*figures, grown]


def _figures(pairs: Sequence[tuple[Look, Look]], history: int, files: int) -> list[Figure]:
    ours, plain = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    title = f"{history} on record"
    ratios = [p.find / o.find for o, p in pairs]
    wholes = [p.whole / o.whole for o, p in pairs]
    target = 10.0 if history == TEN_TIMES else None
    return [
        median("e", f"{title}: find a day's {files}, plain's time to ours", ratios, "",
               at_least=target),
        median("e", "  find, plain", [1e3 * look.find for look in plain], "ms"),
        median("e", "  find, ours", [1e3 * look.find for look in ours], "ms"),
        Figure("e", "  requests to find, plain (S3)", _most(plain, "find_requests"), ""),
        Figure("e", "  requests to find, ours (DynamoDB)", _most(ours, "find_requests"), ""),
        median("e", "  find, fetch and open, plain's time to ours", wholes, ""),
        median("e", "  find, fetch and open, plain", [1e3 * look.whole for look in plain], "ms"),
        median("e", "  find, fetch and open, ours", [1e3 * look.whole for look in ours], "ms"),
        Figure("e", "  requests to S3 in all, plain", _most(plain, "s3_requests"), ""),
        Figure("e", "  requests to S3 in all, ours", _most(ours, "s3_requests"), ""),
    ]  # fmt: skip


def _most(looks: Sequence[Look], name: str) -> float:
    return float(statistics.median(getattr(look, name) for look in looks))


def _pairs(ours: _Ours, plain: _Plain, count: int) -> Iterator[tuple[Look, Look]]:
    for number in range(count + 1):
        if number % 2:  # turn and turn about
            first, second = plain.look(), ours.look()
            pair = second, first
        else:
            pair = ours.look(), plain.look()
        if not pair[0].dataset.identical(pair[1].dataset):
            raise RuntimeError("the two have fetched different data")
        if number:  # the first opens connections
            yield pair


class _Ours:
    """What the function does for a window: find, stage, and what Tsdat then does with it."""

    def __init__(self, aws: Emulator, bucket: str, ledger: DynamoLedger, work: Path) -> None:
        self._ledger, self._work = ledger, work
        outputs = S3Outputs(bucket, aws.clients)
        self._target = Target(S3Inputs(bucket, aws.clients), outputs, ledger)
        self._traffic = Traffic()
        for client in (aws.clients.s3, aws.clients.dynamodb):
            self._traffic.watch(client.meta.events)

    def look(self) -> Look:
        """Once."""
        self._traffic.clear()
        began = time.perf_counter()
        (run,) = window_runs(VAP, [_WINDOW], self._ledger)
        found, requests = time.perf_counter() - began, self._traffic.count("")
        record = RunRecord(run, "running", 1, _DAY, owner="bench")
        with work_folder(self._work, record) as work:
            stage(self._target, VAP, record, work)
            dataset = _storage("FileSystem", work / STORE / "storage/root").fetch_data(*_asked())
            dataset = dataset.load()
            whole = time.perf_counter() - began
        return Look(found, whole, requests, self._traffic.count("s3"), dataset)


class _Plain:
    """Tsdat's own storage on S3."""

    def __init__(self, bucket: str) -> None:
        self._storage = _storage("FileSystemS3", Path("storage/root"), bucket=bucket)
        self._traffic = Traffic()
        self._traffic.watch(self._storage._session.events)

    def look(self) -> Look:
        """Once to find, and once more to find, fetch and open: it does not do the one alone."""
        self._traffic.clear()
        began = time.perf_counter()
        self._storage._find_data(*_asked())
        found, requests = time.perf_counter() - began, self._traffic.count("")
        self._traffic.clear()
        began = time.perf_counter()
        dataset = self._storage.fetch_data(*_asked()).load()
        return Look(
            found, time.perf_counter() - began, requests, self._traffic.count("s3"), dataset
        )


def _storage(classname: str, root: Path, **parameters: str) -> Any:
    from tsdat.io import storage

    return getattr(storage, classname)(parameters={"storage_root": root, **parameters})


def _asked() -> tuple[datetime, datetime, str]:
    """Begin, end and datastream as Tsdat's retriever asks for them: times without a zone."""
    return _WINDOW.begin.replace(tzinfo=None), _WINDOW.end.replace(tzinfo=None), DATASTREAM


# --- a day of real products, and what came before it ----------------------------------------------


def _a_day(folder: Path, minutes: int) -> list[tuple[Product, Path]]:
    """The products of one day, by plain Tsdat from real raw files."""
    (folder / "workspace").mkdir(parents=True)
    workspace = workspaces.make(folder / "workspace", "off")
    files = workspaces.raw_files(folder / "raw", 1, minutes=minutes)
    root = folder / "day"
    with PlainTsdat(workspace.root / "pipelines", root) as plain:
        plain.run_all((workspaces.HUMBOLDT, file) for file in files)
    day = []
    for path in sorted(root.rglob("*.nc")):
        summary = summarize_file(path)
        if summary is None or summary.begin is None or summary.end is None:
            raise RuntimeError(f"{path} cannot be read")
        size, sha256 = content_hash(path)
        day.append((_product(path.name, size, sha256, summary.begin, summary.end), path))
    shutil.rmtree(workspace.root)
    return day


def _history(there: int, wanted: int) -> Iterator[Product]:
    """Hourly products before the day, each further back than the last, until so many are there."""
    for number in range(there, wanted):
        begin = _DAY - _HOUR * number
        name = f"{DATASTREAM}.{begin:%Y%m%d.%H%M%S}.nc"
        sha256 = hashlib.sha256(b"x").hexdigest()
        yield _product(name, 1, sha256, begin, begin + timedelta(minutes=50))


def _product(name: str, size: int, sha256: str, begin: datetime, end: datetime) -> Product:
    return Product(
        f"{FOLDER}/{name}", "data", size, sha256, datastream=DATASTREAM, begin=begin, end=end,
        config="lidar/humboldt", made=_DAY,
    )  # fmt: skip


def _upload(aws: Emulator, bucket: str, objects: Sequence[tuple[str, bytes]]) -> None:
    def put(item: tuple[str, bytes]) -> None:
        aws.clients.s3.put_object(Bucket=bucket, Key=item[0], Body=item[1])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, objects))


def _put_on_record(ledger: DynamoLedger, products: Sequence[Product]) -> None:
    """As runs would have left it."""
    left = iter(products)
    while some := list(islice(left, _A_RUN)):
        run = Run("lidar/humboldt", arguments=(some[0].key,))
        claim = ledger.claim(run, owner="bench", lease=_HOUR, now=_DAY, release="bench")
        if claim.record is None or not claim.granted:
            raise RuntimeError("the history cannot be put on record")
        made = tuple(product for product in some)
        ledger.finish(
            RunRecord(
                run,
                "succeeded",
                claim.record.attempt,
                _DAY,
                owner="bench",
                finished=_DAY,
                products=made,
            )
        )
