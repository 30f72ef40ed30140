"""Jobs on record: chosen, queued, paused, counted; nothing is lost or counted twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tidegate.runtime.jobs import Job, JobCounts, stages_of, time_left
from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.runs import Failure, Input, Product, Run, State, Window
from tidegate.runtime.scope import Scope
from tidegate.targets.local import inputs as inputs_module
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.job_planning import Planner
from tidegate.targets.local.job_queue import JOB, JobQueue
from tidegate.targets.local.job_runner import JobRunner, JobSurroundings
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.listener import Listener, StorageTrouble
from tidegate.targets.local.queue import SqliteQueue
from tidegate.targets.local.sightings import Sightings

T0 = datetime(2026, 4, 5, tzinfo=timezone.utc)
DAY = timedelta(days=1)
INGEST = Config(
    "lidar", "one", "Ingest", "S3", "a", input_path="lidar/one/", ignore=("*.log",),
    tsdat=Pipeline("x", datastream="one.a1"),
)  # fmt: skip
VAP = Config(
    "vap", "one", "VAP", "Cron", "b", window="day",
    tsdat=Pipeline("x", datastreams=("one.a1",), datastream="one.c1"),
)  # fmt: skip
SECOND = replace(
    VAP, pipeline="second", tsdat=Pipeline("x", datastreams=("one.c1",), datastream="one.d1")
)
OTHER = replace(
    INGEST, name="two", input_path="lidar/two/", tsdat=Pipeline("x", datastream="two.a1")
)
MANIFEST = Manifest((SECOND, VAP, INGEST, OTHER))


class Bench:
    """A ledger, a folder of files, and a runner that is driven by hand."""

    def __init__(self, root: Path, ledger: SqliteLedger) -> None:
        self.root, self.ledger = root, ledger
        self.queue = SqliteQueue(ledger)
        self.jobs = JobQueue(ledger)
        self.now = T0
        (root / "input").mkdir()
        self.restart()

    def restart(self) -> None:
        inputs = FolderInputs(self.root / "input")
        sightings = Sightings(inputs, MANIFEST.configs, self.ledger, print)
        self.planner = Planner(MANIFEST, self.ledger, inputs, sightings, self.root / "output")
        trouble = StorageTrouble(Listener())
        parts = MANIFEST, self.ledger, self.planner, 1, lambda: self.now, trouble, lambda: None
        self.runner = JobRunner(JobSurroundings(*parts))

    def files(self, count: int, config: Config = INGEST) -> None:
        for n in range(count):
            file = self.root / f"input/{config.input_path}{T0 - (count - n) * DAY:%Y%m%d}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{n}")
            os.utime(file, (1_700_000_000, 1_700_000_000))  # it need not settle

    def start(self, *stages: tuple[str, ...], **more: object) -> Job:
        given = {"holds": (VAP.id,), **more}
        job = Job("abc123", self.now, stages, **given)  # type: ignore[arg-type]
        self.ledger.jobs.add(job)
        return job

    def job(self) -> Job:
        job = self.ledger.jobs.get("abc123")
        assert job is not None
        return job

    def carry_out(self, count: int, state: State = "succeeded") -> list[str]:
        """Take runs from the queue, and end them, each with a product of its day."""
        done = []
        for _ in range(count):
            self.now += timedelta(seconds=1)
            queued = self.queue.take(self.now)
            if queued is None:
                break
            claim = self.ledger.claim(
                queued.run, owner="me", lease=DAY, now=self.now, release="new"
            )
            assert claim.record is not None
            failure = Failure("bad-input", "no") if state == "failed" else None
            product = self.product(queued.run)
            products = () if failure else (product,)
            self.ledger.finish(
                replace(
                    claim.record,
                    state=state,
                    finished=self.now,
                    failure=failure,
                    products=products,
                )
            )
            done.append(queued.run.title)
        return done

    def product(self, run: Run) -> Product:
        begin = run.window.begin if run.window else T0
        if run.inputs:
            begin = datetime.strptime(run.inputs[0].key[-12:-4], "%Y%m%d").replace(
                tzinfo=timezone.utc
            )
        config = MANIFEST.config(run.config)
        name = config.tsdat.datastream if config.tsdat else ""
        key = f"{name}/{begin:%Y%m%d}.nc"
        version = f"{self.now:%s%f}"
        end = begin + timedelta(hours=23)
        return Product(
            key, "data", 10, version, name, begin, end, run=run.key, config=config.id, made=self.now
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        yield Bench(tmp_path, ledger)


def test_a_job_of_two_stages_with_restarts_does_each_run_once(bench: Bench) -> None:
    bench.files(130)
    bench.start((INGEST.id,), (VAP.id,), (SECOND.id,))
    done: list[str] = []
    for _ in range(300):
        bench.restart()  # a new process each time, which knows only what is on record
        bench.runner.step()
        assert bench.queue.count() <= 50
        done += bench.carry_out(7)
        if bench.job().state == "done":
            break
    assert bench.job().counts == JobCounts(planned=390, succeeded=390)
    assert bench.job().state == "done"
    assert bench.queue.count() == 0
    assert len(set(done)) == 130 + 130  # two VAPs have the same days
    kinds = [record.run.config for record in list(bench.ledger.records())[::-1]]
    assert kinds == [INGEST.id] * 130 + [VAP.id] * 130 + [SECOND.id] * 130


@pytest.mark.parametrize("restarts", [False, True])
def test_each_config_of_a_stage_has_its_turn(bench: Bench, restarts: bool) -> None:
    bench.files(3)
    bench.files(2, OTHER)
    bench.start((INGEST.id, OTHER.id), (VAP.id,))
    done: list[str] = []
    for _ in range(30):
        if restarts:
            bench.restart()
        bench.runner.step()
        done += bench.carry_out(2)
    assert bench.job().state == "done"
    assert bench.job().counts == JobCounts(planned=8, succeeded=8)
    assert {title for title in done if "lidar/two/" in title} == {
        f"lidar/two/{T0 - (2 - n) * DAY:%Y%m%d}.csv" for n in range(2)
    }


def test_what_arrives_goes_first_and_outlives_the_job(bench: Bench) -> None:
    bench.files(20)
    bench.start((INGEST.id,))
    bench.runner.step()
    late = Run(INGEST.id, inputs=(Input("lidar/one/20260501.csv", "1", 1),))
    bench.queue.put([late], bench.now)
    assert bench.carry_out(1) == ["lidar/one/20260501.csv"]
    # A file that the job has queued arrives too: it goes first, and a pause leaves it alone.
    last = list(bench.queue.pending())[-1].run
    bench.queue.put([replace(last, again=False)], bench.now)
    bench.jobs.pause("abc123", bench.now)
    assert [entry.run.key for entry in bench.queue.pending()] == [last.key]
    assert bench.carry_out(5) == [last.title]
    bench.runner.step()
    assert bench.job().counts.succeeded == 1
    bench.jobs.resume("abc123", bench.now)
    bench.runner.step()
    assert len(bench.carry_out(50)) == 19


def test_a_run_that_two_jobs_want_is_done_once_and_counts_for_both(bench: Bench) -> None:
    bench.files(4)
    bench.start((INGEST.id,))
    bench.runner.step()
    bench.carry_out(1)
    bench.now += timedelta(minutes=1)
    bench.ledger.jobs.add(Job("second", bench.now, ((INGEST.id,),)))
    for _ in range(6):
        bench.runner.step()
        bench.carry_out(10)
    jobs = [bench.job(), bench.ledger.jobs.get("second")]
    assert [job and (job.state, job.counts.succeeded, job.counts.dropped) for job in jobs] == [
        ("done", 4, 0),
        ("done", 4, 0),
    ]
    assert sum(record.attempt for record in bench.ledger.records()) == 4 + 1


def test_cancelled_a_job_leaves_nothing_in_the_queue(bench: Bench) -> None:
    bench.files(20)
    bench.start((INGEST.id,), limit=3)
    bench.runner.step()
    assert {entry.priority for entry in bench.queue.pending()} == {JOB}
    assert bench.queue.count() == 3
    bench.carry_out(1, "failed")
    bench.runner.step()
    assert bench.job().counts.failed == {"bad-input": 1}
    assert "no" in bench.job().counts.examples["bad-input"]
    assert bench.queue.count() == 3
    job = bench.jobs.cancel("abc123", bench.now)
    assert job is not None
    assert job.state == "cancelled"
    assert bench.queue.count() == 0
    assert bench.ledger.jobs.left("abc123") == (0, 0)
    assert bench.jobs.resume("abc123", bench.now) == job  # it stays as it is
    bench.runner.step()
    assert bench.queue.count() == 0


def test_a_config_that_is_gone_pauses_the_job(bench: Bench) -> None:
    bench.start(("lidar/gone",))
    bench.runner.step()
    assert bench.job().state == "paused"
    assert "lidar/gone" in bench.job().message


def test_what_is_missing_failed_or_stale_is_chosen(bench: Bench) -> None:
    bench.files(6)
    bench.start((INGEST.id,))
    bench.runner.step()
    bench.carry_out(2)
    bench.carry_out(1, "failed")
    lost = bench.root / "output/one.a1"
    lost.mkdir(parents=True)
    (lost / f"{T0 - 6 * DAY:%Y%m%d}.nc").touch()  # the other product is not there any more

    def found(**more: object) -> list[str]:
        scope = Scope(INGEST, **more)  # type: ignore[arg-type]
        batches = list(bench.planner.batches(scope, T0))
        return [run.title[-6:-4] for batch in batches for run in batch.runs]

    assert found(only="missing") == ["31", "01", "02", "03", "04"]
    assert found(only="failed") == ["01"]
    assert found(only="stale") == ["30", "31"]
    assert found(only=None, begin=T0 - 3 * DAY, end=T0 - DAY) == ["02", "03"]


def test_files_are_listed_in_order_from_any_key_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a.csv", "a/1", "a/2", "a/b/1", "a0", "b/1", "b/2", "b.csv", "é/1", ".x/1"]
    for name in names:
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    os_link = tmp_path / "in" / "b" / "loop"
    os_link.symlink_to(tmp_path / "in")
    expected = sorted(f"in/{name}" for name in names if name[0] != ".")
    inputs = FolderInputs(tmp_path)
    for size in (50_000, 2, 1):
        monkeypatch.setattr(inputs_module, "_SLICE", size)
        assert [file.key for file in inputs.scan_in_order("in/")] == expected
        for n, key in enumerate(expected):
            assert [f.key for f in inputs.scan_in_order("in/", key)] == expected[n + 1 :]
    assert [f.key for f in inputs.scan_in_order("in/a")] == [k for k in expected if "in/a" in k]


def test_stages_follow_what_reads_what(bench: Bench) -> None:
    assert stages_of(MANIFEST, bench.ledger, [INGEST.id]) == (((INGEST.id,),), (SECOND.id, VAP.id))
    stages, vaps = stages_of(MANIFEST, bench.ledger, [INGEST.id], with_vaps=True)
    assert stages == ((INGEST.id,), (VAP.id,), (SECOND.id,))
    assert vaps == (SECOND.id, VAP.id)
    assert stages_of(MANIFEST, bench.ledger, [SECOND.id, INGEST.id])[0] == ((SECOND.id, INGEST.id),)


def test_which_windows_are_held(bench: Bench) -> None:
    job = bench.start((INGEST.id,), begin=T0 - 10 * DAY)
    bench.runner.look()

    def held(config: Config, days: int) -> bool:
        return bench.runner.is_held(config, Window(T0 + days * DAY, T0 + (days + 1) * DAY))

    assert [held(VAP, days) for days in (-12, -11, -10, -1, 0)] == [False, False, True, True, False]
    assert not held(SECOND, -5)
    bench.jobs.cancel(job.id, bench.now)
    bench.runner.look()
    assert not held(VAP, -5)


def test_the_time_that_is_left() -> None:
    job = Job("a", T0, (("x",),), expected={"x": 100}, worked=50.0)
    assert time_left(replace(job, counts=JobCounts(succeeded=2))) is None
    counts = JobCounts(succeeded=15, failed={"timeout": 5}, empty=5)
    assert time_left(replace(job, counts=counts)) == timedelta(seconds=150)
    assert time_left(replace(job, counts=counts, state="paused")) is None
