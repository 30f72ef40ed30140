"""A service looks through the files that are there in the background: new arrivals go first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from intake_bench import LONG, Arrivals, ingest, make

from tidegate.runtime.runs import Input, Run
from tidegate.targets.local import intake as intake_module
from tidegate.targets.local import look as look_module
from tidegate.targets.local.arrivals import Arrivals as Keys
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.look import Look, LookProgress, read_look
from tidegate.targets.local.output_sweep import OutputSweep
from tidegate.targets.local.outputs import HIDDEN, FolderOutputs
from tidegate.targets.local.watch import Watcher

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def arrivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arrivals]:
    """Ten files that were there before, of which two are looked at at a time."""
    monkeypatch.setattr(intake_module, "BATCH", 2)
    monkeypatch.setattr("tidegate.targets.local.sightings.BATCH", 2)
    made = make(tmp_path, ingest(), ingest("two", "two/"))
    for number in range(10):
        made.put(f"one/{number}")
    yield made
    made.intake.close()
    made.ledger.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with SqliteLedger(tmp_path / "ledger.db") as opened:
        yield opened


def test_what_arrives_is_queued_before_the_look_ends(
    arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[list[str], Look | None]] = []
    all_queued = threading.Event()
    monkeypatch.setattr(look_module, "_EVERY", 0.0)

    def queued() -> None:
        looks.append((arrivals.queued(), read_look(arrivals.ledger)))
        if len(looks[-1][0]) == 11:
            all_queued.set()

    with Watcher(arrivals.inputs.root, arrived=arrivals.intake.arrived) as watcher:
        arrivals.put("two/new")
        arrivals.intake.arrived(["two/new"])
        arrivals.intake.start(watcher, queued)
        assert all_queued.wait(LONG)
    first, look = looks[0]
    assert first == ["two/new"]
    assert look is not None
    assert (look.files, look.ended) == (2, None)
    last = read_look(arrivals.ledger)
    assert last is not None
    assert last.files == 11
    assert last.ended is not None
    assert sorted(arrivals.queued()) == sorted(["two/new", *(f"one/{n}" for n in range(10))])


def test_one_that_was_stopped_in_the_middle_is_taken_once_more(
    arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = LookProgress.add

    def stop(self: LookProgress, files: int, new: int) -> None:
        add(self, files, new)
        arrivals.intake.stop()

    with monkeypatch.context() as patch:
        patch.setattr(LookProgress, "add", stop)
        arrivals.intake.take_all()
    assert arrivals.queued() == []
    arrivals.intake._stopping.clear()
    arrivals.intake.take_all()
    assert len(arrivals.queued()) == 10


def test_configs_take_turns_when_thousands_arrive() -> None:
    keys = Keys(lambda key: key.partition("/")[0])
    keys.put([f"one/{n}" for n in range(5)])
    keys.put(["two/0"])
    taken = [keys.take(2, 0.0) for _ in range(5)]
    assert taken == [["one/0", "one/1"], ["two/0"], ["one/2", "one/3"], ["one/4"], []]


def test_how_many_files_to_expect_is_known_from_the_last_look(ledger: SqliteLedger) -> None:
    first = LookProgress(ledger, lambda: NOW)
    first.add(7, 3)
    first.end()
    assert read_look(ledger) == Look(NOW, files=7, new=3, ended=NOW)
    LookProgress(ledger, lambda: NOW).add(2, 0)  # killed in the middle
    LookProgress(ledger, lambda: NOW)
    assert read_look(ledger) == Look(NOW, expected=7)


# The outputs after a kill.


def _put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def _die_while_publishing(ledger: SqliteLedger, key: str) -> None:
    """What the ledger knows of a run whose service was killed as it published that product."""
    run = Run("p/one", (Input("a", "1", 1),))
    claim = ledger.claim(run, owner="it", lease=timedelta(), now=NOW, release="r")
    assert claim.record is not None
    ledger.intend(run.key, owner="it", attempt=claim.record.attempt, products=[key])


def test_a_folder_that_was_being_replaced_is_put_back_before_the_first_run(
    ledger: SqliteLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = FolderOutputs(tmp_path / "output", tmp_path / "work")
    away = outputs.root / f"x/{HIDDEN}dead-old-1" / "z.zarr" / "c"
    half, elsewhere = outputs.root / f"x/{HIDDEN}dead-new-1", outputs.root / f"y/{HIDDEN}dead-new-2"
    for path in (away, half, elsewhere):
        _put(path)
    _die_while_publishing(ledger, "x/z.zarr")
    monkeypatch.setattr(outputs, "sweep", lambda stopped: 0)  # what is done later
    sweep = OutputSweep(outputs, ledger)
    sweep.start()
    assert (outputs.root / "x/z.zarr/c").read_text() == "x"
    sweep.close(at_work=True)
    monkeypatch.undo()
    again = OutputSweep(outputs, ledger)
    again.start()
    again.wait(lambda: False)
    again.close(at_work=False)
    assert [path.name for path in outputs.root.rglob("*") if path.is_file()] == ["c"]


def test_all_folders_are_read_only_after_a_service_that_was_killed(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    outputs = FolderOutputs(tmp_path / "output", tmp_path / "work")

    def serve(*, at_work: bool = False, killed: bool = False) -> bool:
        """Whether a service sweeps the outputs."""
        left = _put(outputs.root / f"x/{HIDDEN}dead-new-1")
        sweep = OutputSweep(outputs, ledger)
        sweep.start()
        sweep.wait(lambda: False)
        if not killed:
            sweep.close(at_work=at_work)
        return not left.exists()

    assert serve()  # the first one ever: another version of Tidegate may have been killed
    assert [serve(), serve(killed=True)] == [False, False]
    assert [serve(at_work=True), serve(), serve()] == [True, True, False]
