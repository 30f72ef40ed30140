"""What a job would take: counted from the files, and from what past runs took."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tidegate.cli.job_view import estimate_lines
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.runs import Failure, Product, Run
from tidegate.runtime.scope import Scope
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.job_planning import Planner
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.sightings import Sightings
from tidegate.workspace.job_estimate import JobEstimate, estimate_job

NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
LIDAR = Config("lidar", "one", "Ingest", "S3", "a.yaml", input_path="lidar/one/")
BUOY = Config("buoy", "one", "Ingest", "S3", "b.yaml", input_path="buoy/one/")
QUIET = Config("quiet", "one", "Ingest", "S3", "c.yaml", input_path="quiet/one/")
MANIFEST = Manifest((LIDAR, BUOY, QUIET))


class History:
    """Files, and what came of those that were run."""

    def __init__(self, root: Path, ledger: SqliteLedger) -> None:
        self._root, self._ledger = root, ledger
        self._clock = NOW - 100 * DAY
        inputs = FolderInputs(root)
        self._sightings = Sightings(inputs, MANIFEST.configs, ledger, print)
        self._planner = Planner(MANIFEST, ledger, inputs, self._sightings, root / "output")

    def files(self, config: Config, count: int) -> list[Run]:
        """The runs of so many files that are there."""
        folder = self._root / str(config.input_path)
        folder.mkdir(parents=True)
        for n in range(count):
            file = folder / f"{n:03}.csv"
            file.write_text(f"{config.id} {n}")
            os.utime(file, (1_700_000_000, 1_700_000_000))  # it need not settle
        return [Run(config.id, inputs=(file,)) for file in self._sightings.list(config)]

    def ran(self, run: Run, took: float, sizes: tuple[int, ...]) -> None:
        """It was run, and made products of these sizes; without any, it failed."""
        self._clock += DAY
        claim = self._ledger.claim(run, owner="me", lease=DAY, now=self._clock, release="1").record
        assert claim is not None
        products = tuple(
            Product(
                f"{run.key}-{n}.nc",
                "data",
                size,
                f"{n}",
                "x",
                NOW,
                NOW,
                run=run.key,
                config=run.config,
            )
            for n, size in enumerate(sizes)
        )
        failure = None if products else Failure("bad-input", "no")
        self._ledger.finish(
            replace(
                claim,
                state="succeeded" if products else "failed",
                finished=self._clock + took * SECOND,
                products=products,
                failure=failure,
            )
        )

    def estimate(self, *configs: Config) -> JobEstimate:
        """What a job over these configs takes."""
        scopes = [Scope(config) for config in configs]
        return estimate_job(
            scopes, NOW, self._ledger, self._planner, self._root, lambda count: None
        )


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        yield History(tmp_path, ledger)


def test_runs_time_and_disk_from_past_runs(history: History) -> None:
    lidar, buoy = history.files(LIDAR, 10), history.files(BUOY, 40)
    for n, run in enumerate(lidar[:4]):
        history.ran(run, 10.0 + 2 * n, (1000, 200 * n))  # 13 s and 1,300 bytes in the average
    history.ran(lidar[4], 999.0, ())
    for run in buoy[:25]:
        history.ran(run, 2.0, (50,))
    found = history.estimate(LIDAR, BUOY)
    assert found.expected == {LIDAR.id: 10, BUOY.id: 40}
    assert [(one.repeated, one.seconds, one.size) for one in found.configs] == [
        (4, 13.0, 1300.0),
        (25, 2.0, 50.0),
    ]
    assert found.time(1) == timedelta(seconds=10 * 13 + 40 * 2)
    assert found.time(3) == timedelta(seconds=70)
    assert found.time(1000) == timedelta(seconds=round(210 / 50))  # no more than there are runs
    assert found.size == 10 * 1300 + 40 * 50
    assert found.more == 6 * 1300 + 15 * 50
    assert found.free is not None
    said = "\n".join(estimate_lines(found, 3))
    for word in ("10 runs", "40 runs", "50 runs", "0:01:10", "3 workers"):
        assert word in said
    assert "make room" not in said
    assert "make room" in "\n".join(estimate_lines(replace(found, free=8549), 3))


def test_only_the_latest_runs_count(history: History) -> None:
    runs = history.files(LIDAR, 60)
    for n, run in enumerate(runs):
        history.ran(run, 500.0 if n < 10 else 1.0, (9_000_000 if n < 10 else 10,))
    found = history.estimate(LIDAR)
    assert (found.time(1), found.size, found.more) == (timedelta(seconds=60), 600.0, 0.0)


def test_what_is_not_known_is_not_guessed(history: History) -> None:
    lidar = history.files(LIDAR, 3)
    history.files(BUOY, 2)
    history.ran(lidar[0], 4.0, (100,))
    unknown = history.estimate(LIDAR, BUOY)
    assert (unknown.runs, unknown.time(1), unknown.size, unknown.more) == (5, None, None, None)
    assert "no run on record" in "\n".join(estimate_lines(unknown, 1))
    # A config with nothing to do makes nothing unknown.
    assert history.estimate(LIDAR, QUIET).time(1) == timedelta(seconds=12)
