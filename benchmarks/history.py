"""Two years of history as a station makes it, straight into a ledger: for tests and benchmarks.

Thirty datastreams with one file a day, an hour or some minutes; outages from hours to weeks, bad
days, files with few samples, late files, files that fail and are replaced later, failures that stay
open, a datastream that began late, one that has stopped, and a variable that is always empty. The
same seed gives the same history.

    python -m benchmarks.history FOLDER --runs 100000 --days 730
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import islice, takewhile
from pathlib import Path
from typing import cast

from tidegate.runtime.ledger_rules import changed_spans
from tidegate.runtime.runs import (
    FailedTest,
    Failure,
    Input,
    Product,
    QualitySummary,
    Run,
    RunRecord,
)
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.ledger.changes import write_changes
from tidegate.targets.local.ledger.products import write_product
from tidegate.targets.local.ledger.runs import insert_run

END = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""The history ends before this day by default."""

_SITES = ("morro", "humboldt", "sgp", "nwtc", "pensacola")
_INSTRUMENTS = ("buoy_z06-waves", "lidar_z05", "met", "ceil", "radar", "ecor")
_VARIABLES = ("temperature", "pressure", "wind_speed")
_BATCH = 2000


@dataclass(frozen=True)
class Stream:
    """One datastream, and how it behaves."""

    datastream: str
    """Its name."""
    config: str
    """The config that makes it."""
    per_day: int
    """Files a day when all is well."""
    first: int = 0
    """The day on which it begins."""
    last: int | None = None
    """The day after which there is no data any more."""
    empty: bool = False
    """Whether it has a variable that is always empty."""


def streams(runs: int, days: int, count: int = 30) -> list[Stream]:
    """Datastreams that give about so many runs in so many days: a third of them daily."""
    daily = max(count // 3, 1)
    per_day = max(round((runs / days - daily) / max(count - daily, 1)), 1)
    found = []
    for n in range(count):
        site = _SITES[n % len(_SITES)]
        instrument = _INSTRUMENTS[n // len(_SITES) % len(_INSTRUMENTS)]
        number = n // (len(_SITES) * len(_INSTRUMENTS))
        name = f"{instrument}{number or ''}"
        found.append(
            Stream(
                f"{site}.{name}.a1",
                f"{name}/{site}",
                1 if n < daily else per_day,
                first=days // 4 if n == 3 else 0,
                last=days - days // 10 - 1 if n == 5 else None,
                empty=n == 7,
            )
        )
    return found


def history(
    wanted: Sequence[Stream],
    days: int,
    end: datetime = END,
    seed: int = 1,
    *,
    until: datetime | None = None,
) -> Iterator[RunRecord]:
    """The runs of these datastreams over the days before ``end``, in the order of their starts.

    Late files arrive after ``end``; with ``until``, only those are there that ran before it.
    """
    found = _history(wanted, days, end, seed)
    return found if until is None else takewhile(lambda record: record.started < until, found)


def _history(wanted: Sequence[Stream], days: int, end: datetime, seed: int) -> Iterator[RunRecord]:
    plans = [_Plan(stream, days, random.Random(f"{seed} {stream.datastream}")) for stream in wanted]
    late: list[RunRecord] = []
    for day in range(days):
        midnight = end - timedelta(days=days - day)
        today = [record for plan in plans for record in plan.day(day, midnight)]
        limit = midnight + timedelta(days=1)
        late += today
        late.sort(key=lambda record: record.started)
        ready = [record for record in late if record.started < limit]
        late = late[len(ready) :]
        yield from ready
    yield from late


class _Plan:
    """Decides what happens to one datastream on each day."""

    def __init__(self, stream: Stream, days: int, chance: random.Random) -> None:
        self._stream = stream
        self._chance = chance
        self._out: set[int] = set()
        day = 0
        while day < days:  # an outage every two months
            day += int(chance.expovariate(1 / 60)) + 1
            self._out.update(range(day, day + int(chance.expovariate(1 / 3)) + 1))

    def day(self, day: int, midnight: datetime) -> Iterator[RunRecord]:
        stream, chance = self._stream, self._chance
        if day < stream.first or (stream.last is not None and day > stream.last):
            return
        if day in self._out:
            return
        bad = chance.random() < 0.03
        late = timedelta(days=chance.randint(1, 20)) if chance.random() < 0.02 else timedelta()
        length = timedelta(days=1) / stream.per_day
        for n in range(stream.per_day):
            if stream.per_day > 1 and chance.random() < 0.01:
                continue  # a file is missing
            begin = midnight + n * length
            arrived = begin + length + timedelta(minutes=chance.randint(1, 9)) + late
            yield from self._runs(begin, length, arrived, bad=bad)

    def _runs(
        self, begin: datetime, length: timedelta, arrived: datetime, *, bad: bool
    ) -> Iterator[RunRecord]:
        chance = self._chance
        if chance.random() < 0.005:
            failed = self._record(begin, arrived, b"broken")
            message = "the file has no column 'temperature'"
            failure = Failure("bad-input", message, "hooks.py:12", "correct the file")
            yield replace(failed, state="failed", failure=failure)
            if chance.random() < 0.5:
                return  # nobody has replaced the file
            arrived += timedelta(hours=chance.randint(1, 48))
        record = self._record(begin, arrived, b"good")
        share = 1.0 if chance.random() > 0.01 else chance.random()
        product = self._product(record, begin, length * share, bad=bad)
        warnings = (f"{product.key}: no valid value in salinity",) if product.empty else ()
        yield replace(record, state="succeeded", products=(product,), warnings=warnings)

    def _record(self, begin: datetime, arrived: datetime, content: bytes) -> RunRecord:
        stream, took = self._stream, 1.0 + self._chance.random()
        name = f"{stream.config}/{stream.datastream}.00.{begin:%Y%m%d.%H%M%S}.csv"
        version = hashlib.sha256(name.encode() + content).hexdigest()
        started = arrived + timedelta(seconds=5)
        run = Run(stream.config, (Input(name, version, 20000, arrived),), arrived=arrived)
        return RunRecord(
            run,
            "running",
            1,
            started,
            owner="history",
            finished=started + timedelta(seconds=took),
            release="r1",
            seconds={"load": 0.1, "run": round(took, 4), "total": round(took + 0.2, 4)},
            peak_memory=320.0,
        )

    def _product(
        self, record: RunRecord, begin: datetime, length: timedelta, *, bad: bool
    ) -> Product:
        stream, chance = self._stream, self._chance
        times = max(int(length / timedelta(minutes=1)), 1)
        name = f"{stream.datastream}.{begin:%Y%m%d.%H%M%S}.nc"
        quality = []
        for variable in _VARIABLES:
            wrong = int(times * (chance.uniform(0.2, 0.9) if bad else chance.uniform(0, 0.01)))
            tests = (FailedTest("Value is greater than fail_max.", "Bad", wrong),) if wrong else ()
            quality.append(QualitySummary(variable, times, wrong, times // 100, tests))
        valid = dict.fromkeys(_VARIABLES, 1.0)
        return Product(
            f"storage/root/{stream.datastream}/{begin:%Y/%m}/{name}",
            "data",
            60000,
            hashlib.sha256(name.encode()).hexdigest(),
            stream.datastream,
            begin,
            begin + (times - 1) * timedelta(minutes=1),
            {"time": times},
            tuple(quality),
            valid={**valid, "salinity": 0.0} if stream.empty else valid,
            empty=("salinity",) if stream.empty else (),
            run=record.key,
            config=stream.config,
            made=record.finished,
        )


def write(ledger: SqliteLedger, records: Iterable[RunRecord]) -> int:
    """Put runs that have ended on record, many in each transaction; returns how many."""
    count = 0
    iterator = iter(records)
    while batch := list(islice(iterator, _BATCH)):
        with ledger.database.writing() as db:
            for record in batch:
                insert_run(db, record, cast(datetime, None))  # a run that has ended has no lease
                for product in record.products:
                    write_product(db, product)
                    write_changes(db, changed_spans(None, product))
        count += len(batch)
    return count


def write_workspace(root: Path, wanted: Iterable[Stream]) -> None:
    """A workspace whose config has the configs of these datastreams; it is only to be looked at."""
    lines = ["repository: pipelines", "pipelines:"]
    by_pipeline: dict[str, list[str]] = {}
    for stream in wanted:
        pipeline, _, name = stream.config.partition("/")
        by_pipeline.setdefault(pipeline, []).append(name)
    for pipeline, names in by_pipeline.items():
        file = f"pipelines/{pipeline}/config/pipeline.yaml"
        (root / "pipelines" / file).parent.mkdir(parents=True, exist_ok=True)
        (root / "pipelines" / file).write_text("classname: pipelines.Pipeline\n")
        lines += [f"- name: {pipeline}", "  type: Ingest", "  trigger: S3", "  configs:"]
        for name in names:
            lines += [
                f"    {name}:",
                f"      input_bucket_path: {pipeline}/{name}/",
                f"      config_file_path: {file}",
                "      expect_every: 3d",
            ]
    (root / "pipelines_config.yml").write_text("\n".join(lines) + "\n")
    (root / "input").mkdir(exist_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a workspace with a ledger and a history that ends today."""
    parser = argparse.ArgumentParser("python -m benchmarks.history", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the workspace to make")
    parser.add_argument("--runs", type=int, default=20000, help="about how many runs")
    parser.add_argument("--days", type=int, default=730)
    given = parser.parse_args(arguments)
    now = datetime.now(timezone.utc)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = streams(given.runs, given.days)
    given.folder.mkdir(parents=True, exist_ok=True)
    write_workspace(given.folder, wanted)
    with SqliteLedger(given.folder / ".tidegate" / "ledger.db") as ledger:
        made = write(ledger, history(wanted, given.days, today, until=now))
    sys.stdout.write(f"{made} runs\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
