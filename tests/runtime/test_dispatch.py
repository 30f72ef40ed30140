"""One arrival, from event to ledger, with a stand-in for Tsdat."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from runtime_doubles import INGEST, NOON, Bench, Broken, at, product, vap

from tidegate.errors import (
    ConfigurationError,
    InputChanged,
    PythonEnvironmentError,
    RunOutOfMemory,
    RunTimeout,
    StorageError,
    WorkerLost,
)
from tidegate.runtime.dispatch import Dispatcher, backoff
from tidegate.runtime.events import FileArrived, Requested
from tidegate.runtime.protocols import ClaimLost, Target
from tidegate.runtime.runs import Failure, Input, Run
from tidegate.runtime.stage import stage, tsdat_time
from tidegate.runtime.task import Outcome

LEASE = timedelta(minutes=17)
KEY = "lidar/humboldt/a.csv"


def fails(kind, message="no"):
    """A stand-in for Tsdat that tells of a failure."""
    return lambda task: Outcome(failure=Failure(kind, message, "p.py:3", "do this"))


def raises(error):
    """A stand-in for a worker that ends."""

    def perform(task):
        raise error

    return perform


def lines(bench):
    """The last log."""
    return [json.loads(line) for line in bench.logs[-1].splitlines()]


def with_outputs(bench, outputs):
    """Give the bench other outputs."""
    bench.outputs = outputs
    target = Target(bench.inputs, outputs, bench.ledger)
    bench.context = replace(bench.context, target=target)


# --- what a run leaves ---------------------------------------------------------------------------


def test_a_run_that_succeeds(bench):
    bench.perform = bench.writes(
        "a.nc", "sub/b.nc", warnings=("mind this",), peak_memory=12.5, seconds={"run": 0.25}
    )
    (record,) = bench.arrive()
    assert (record.state, record.outcome) == ("succeeded", "succeeded with warnings")
    assert (record.attempt, record.tries, record.owner, record.failure) == (1, 1, "owner-1", None)
    assert (record.started, record.finished, record.release) == (NOON, NOON, "release 1")
    assert (record.warnings, record.peak_memory) == (("mind this",), 12.5)
    assert set(record.seconds) == {"stage", "run", "publish", "total"}
    assert record.log == f"logs/{record.key}"
    assert [(p.key, p.run, p.config, p.made) for p in record.products] == [
        ("a.nc", record.key, INGEST.id, NOON),
        ("sub/b.nc", record.key, INGEST.id, NOON),
    ]
    assert bench.ledger.record(record.key) == record
    assert [p.key for p in bench.ledger.products()] == ["a.nc", "sub/b.nc"]
    assert sorted(bench.published()) == ["a.nc", "sub/b.nc"]


def test_the_task_is_staged_in_a_clean_folder_that_is_gone_afterwards(bench):
    def perform(task):
        work = Path(task.work)
        (argument,) = task.arguments
        assert argument == str(work / "in" / KEY)
        assert Path(argument).read_bytes() == b"1"
        assert list((work / "store").iterdir()) == list((work / "tmp").iterdir()) == []
        assert (task.config, task.release) == (INGEST, "release 1")
        return Outcome()

    bench.perform = perform
    bench.arrive()
    assert list(bench.context.work.iterdir()) == []


def test_no_products_is_empty(bench):
    bench.perform = lambda task: Outcome()
    assert [(r.state, r.products) for r in bench.arrive()] == [("empty", ())]
    assert bench.arrive() == []


def test_only_the_plots_failed(bench):
    bench.perform = bench.writes("a.nc", plots_failed="ValueError: no colours")
    (record,) = bench.arrive()
    assert (record.state, record.outcome) == ("succeeded", "succeeded, plots failed")
    assert list(bench.published()) == ["a.nc"]


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bad-input", "timeout", "out-of-memory", "configuration"])
def test_a_failure_that_is_told_is_final(bench, kind):
    bench.perform = fails(kind)
    (record,) = bench.arrive()
    assert (record.state, record.failure) == ("failed", Failure(kind, "no", "p.py:3", "do this"))
    assert bench.published() == {}
    assert (lines(bench)[-1]["level"], lines(bench)[-1]["message"]) == ("ERROR", "no")


@pytest.mark.parametrize(
    ("error", "kind", "state"),
    [
        (RunTimeout("stopped", next="raise it"), "timeout", "failed"),
        (RunOutOfMemory("stopped", next="raise it"), "out-of-memory", "failed"),
        (ConfigurationError("stopped", next="raise it"), "configuration", "failed"),
        (WorkerLost("stopped", next="raise it"), "transient", "retrying"),
        (PythonEnvironmentError("stopped", next="raise it"), "transient", "retrying"),
    ],
)
def test_a_worker_that_ends(bench, error, kind, state):
    bench.perform = raises(error)
    (record,) = bench.arrive()
    assert (record.state, record.failure) == (state, Failure(kind, "stopped", next="raise it"))
    assert [line["action"] for line in lines(bench)] == ["worker", "failed"]


def test_a_failure_on_a_used_worker_counts_once_a_fresh_one_confirms_it(bench):
    def perform(task):
        Path(task.arguments[0]).unlink()
        Path(task.work, "store", "half.nc").write_text("half")
        if task.fresh:
            return bench.writes("a.nc")(task)
        return Outcome(failure=Failure("bad-input", "no"), used_worker=True)

    bench.perform = perform
    (record,) = bench.arrive()
    assert (record.state, record.failure, record.warnings) == ("succeeded", None, ())
    assert (record.attempt, record.tries) == (1, 1)
    assert [task.fresh for task in bench.tasks] == [False, True]
    assert list(bench.published()) == ["a.nc"]
    assert [line["level"] for line in lines(bench)] == ["WARNING"]


def test_a_confirmed_failure_is_not_confirmed_for_each_file(bench):
    bench.perform = lambda task: Outcome(
        failure=Failure("bad-input", "no"), used_worker=not task.fresh
    )
    states = [bench.arrive(f"lidar/humboldt/{name}.csv")[0].state for name in "abc"]
    assert states == ["failed"] * 3
    assert [task.fresh for task in bench.tasks] == [False, True, False, False]


def test_a_series_of_bad_files_is_confirmed_three_times(bench):
    """Their messages name the files; what fails elsewhere, or in another way, is confirmed."""
    shown = [(name, "r.py:7", "ValueError") for name in "abcde"]
    shown += [("f", "r.py:8", "ValueError"), ("g", "r.py:7", "OSError"), ("h", "", "ValueError")]
    for name, where, exception in shown:
        failure = Failure("bad-input", f"{exception}: cannot read {name}.csv", where)
        bench.perform = lambda task, failure=failure: Outcome(
            failure=failure, used_worker=not task.fresh
        )
        assert bench.arrive(f"lidar/humboldt/{name}.csv")[0].failure == failure
    files = [Path(task.arguments[0]).stem for task in bench.tasks if task.fresh]
    assert files == ["a", "b", "c", "f", "g", "h"]


@pytest.mark.parametrize("kind", ["transient", "timeout", "out-of-memory"])
def test_other_failures_need_no_fresh_worker(bench, kind):
    bench.perform = lambda task: Outcome(failure=Failure(kind, "no"), used_worker=True)
    bench.arrive()
    assert len(bench.tasks) == 1


@pytest.mark.parametrize(
    ("change", "states"),
    [
        ({"1.csv": None}, ["superseded", "succeeded"]),
        ({"1.hdr": None}, ["superseded", "succeeded"]),
        ({"1.csv": None, "2.csv": None}, ["superseded"]),
        ({"1.csv": b"another version, which arrives by itself"}, ["superseded"]),
    ],
)
def test_files_that_belong_together_are_run_without_those_that_are_gone(tmp_path, change, states):
    config = replace(INGEST, group_by="folder", companions={"*.csv": ("*.hdr",)})
    bench = Bench(tmp_path, config)
    folder = config.input_path
    files = [bench.inputs.put(folder + name, b"1") for name in ("1.csv", "1.hdr", "2.csv")]
    dispatcher, records = Dispatcher(bench.context, bench.queue), []
    dispatcher.submit(FileArrived(files[0], bench.now, config.id, tuple(files)))
    for name, content in change.items():
        if content is None:
            del bench.inputs.files[folder + name]
        else:
            bench.inputs.put(folder + name, content)
    while (queued := bench.queue.take(bench.now)) is not None:
        records.append(dispatcher.work(queued))
    assert [record.state for record in records] == states
    if len(records) > 1:
        assert {file.key for file in records[-1].run.files} == set(bench.inputs.files)


@pytest.mark.parametrize("outcome", ["succeeds", "fails"])
def test_a_run_during_which_its_code_changed_is_run_again(bench, outcome):
    changed = []
    bench.context = replace(bench.context, code_changed=lambda config: config.id in changed)

    def perform(task):
        changed.append(INGEST.id)
        return (bench.writes("a.nc") if outcome == "succeeds" else fails("bad-input"))(task)

    bench.perform = perform
    (record,) = bench.arrive()
    assert (record.state, record.failure.kind) == ("retrying", "transient")
    assert bench.published() == {}
    changed.clear()
    bench.perform = bench.writes("a.nc")
    assert bench.execute(record.run).state == "succeeded"


def test_code_that_changes_in_each_run_holds_nothing_up(tmp_path):
    bench = Bench(tmp_path, replace(INGEST, retries=0))
    bench.context = replace(bench.context, code_changed=lambda config: True)
    (record,) = bench.arrive()
    while record.state == "retrying":
        record = bench.execute(record.run)
    assert (record.outcome, record.attempt) == ("succeeded with warnings", 4)


def test_a_passing_failure_is_retried_until_retries_is_used_up(bench):
    bench.perform = fails("transient")
    (record,) = bench.arrive()
    seen = [(record.state, record.attempt, record.tries)]
    while record.state == "retrying":
        record = bench.execute(record.run)
        seen.append((record.state, record.attempt, record.tries))
    assert seen == [("retrying", 1, 1), ("retrying", 2, 2), ("failed", 3, 3)]
    assert bench.execute(record.run) is None


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_retries_of_the_config(tmp_path, retries):
    bench = Bench(tmp_path, replace(INGEST, retries=retries))
    bench.perform = fails("transient")
    (record,) = bench.arrive()
    while record.state == "retrying":
        record = bench.execute(record.run)
    assert len(bench.tasks) == retries + 1


def test_a_request_starts_the_count_anew_and_its_own_retries_go_on(bench):
    bench.perform = fails("transient")
    (record,) = bench.arrive()
    while record.state == "retrying":
        record = bench.execute(record.run)
    again = replace(record.run, again=True, arrived=NOON + LEASE)
    states = []
    for _ in range(3):
        (record,) = bench.handle(Requested((again,), NOON))
        states.append((record.state, record.attempt, record.tries))
    assert states == [("retrying", 4, 1), ("retrying", 5, 2), ("failed", 6, 3)]


def test_backoff_grows_up_to_a_quarter_of_an_hour():
    seconds = [backoff(tries).total_seconds() for tries in (1, 2, 3, 4, 5, 50)]
    assert seconds == [5, 20, 80, 320, 900, 900]


def test_a_file_that_comes_again_is_run_again_if_its_product_is_gone(bench):
    bench.arrive()
    assert bench.arrive() == []
    (bench.outputs.root / "out.nc").unlink()
    (record,) = bench.arrive()
    assert (record.state, record.attempt) == ("succeeded", 2)
    assert list(bench.published()) == ["out.nc"]


def test_one_bad_file_does_not_hold_up_another(bench):
    bench.perform = fails("bad-input")
    bench.arrive("lidar/humboldt/bad.csv")
    bench.perform = bench.writes("a.nc")
    assert [r.state for r in bench.arrive()] == ["succeeded"]


# --- inputs that change --------------------------------------------------------------------------


def test_an_input_that_was_replaced_before_staging(bench):
    old = bench.inputs.put(KEY, b"1")
    bench.inputs.put(KEY, b"2")
    record = bench.execute(Run(INGEST.id, inputs=(old,)))
    assert record.state == "superseded"
    assert "replaced" in record.failure.message
    assert bench.tasks == []


def test_an_input_that_is_gone_before_staging(bench):
    old = bench.inputs.put(KEY, b"1")
    del bench.inputs.files[KEY]
    assert bench.execute(Run(INGEST.id, inputs=(old,))).state == "superseded"


@pytest.mark.parametrize(("change", "state"), [("replace", "superseded"), ("delete", "succeeded")])
def test_an_input_that_changes_during_the_run(bench, change, state):
    """What was made of a replaced file is not published; a file that was taken away was good."""

    def perform(task):
        bench.inputs.files[KEY] = b"2"
        if change == "delete":
            del bench.inputs.files[KEY]
        return bench.writes("a.nc")(task)

    bench.perform = perform
    (record,) = bench.arrive()
    assert record.state == state
    assert bool(bench.published()) is (state == "succeeded")


# --- claims --------------------------------------------------------------------------------------


def claim(bench, run, owner="another", now=NOON):
    """Another owner claims a run."""
    return bench.ledger.claim(run, owner=owner, lease=LEASE, now=now, release="")


def test_a_run_that_another_has_is_left_to_it(bench):
    run = Run(INGEST.id, inputs=(bench.inputs.put(KEY, b"1"),))
    claim(bench, run)
    assert bench.arrive() == []
    assert bench.tasks == []


def test_a_run_whose_owner_died_is_taken_over(bench):
    run = Run(INGEST.id, inputs=(bench.inputs.put(KEY, b"1"),))
    claim(bench, run)
    bench.now = NOON + LEASE + timedelta(seconds=1)
    (record,) = bench.arrive()
    # That its owner died says nothing of the run: it does not count as a try.
    assert (record.state, record.attempt, record.tries) == ("succeeded", 2, 1)


def test_the_lease_lasts_for_longer_than_the_timeout(tmp_path):
    bench = Bench(tmp_path, replace(INGEST, timeout=60))
    run = Run(INGEST.id, inputs=(bench.inputs.put(KEY, b"1"),))
    granted = []

    def perform(task):
        for seconds in (61, 179, 181):
            granted.append(claim(bench, run, now=NOON + timedelta(seconds=seconds)).granted)
        return Outcome()

    bench.perform = perform
    bench.arrive()
    assert granted == [False, False, True]


def test_who_lost_its_claim_publishes_nothing_and_says_nothing(bench):
    other = []

    def perform(task):
        other.append(claim(bench, task.run, now=NOON + LEASE * 2))
        return bench.writes("a.nc")(task)

    bench.perform = perform
    assert bench.arrive() == []
    assert other[0].granted
    assert bench.published() == {}
    assert bench.ledger.record(other[0].record.key) == other[0].record
    assert list(bench.context.work.iterdir()) == []


def test_who_loses_its_claim_while_publishing_says_nothing(bench):
    publish = bench.outputs.publish

    def slow(products):
        publish(products)
        claim(bench, bench.tasks[0].run, now=NOON + LEASE * 2)

    bench.outputs.publish = slow
    assert bench.arrive() == []
    assert bench.ledger.record(bench.tasks[0].run.key).owner == "another"


# --- products that replace others ----------------------------------------------------------------


def test_products_of_a_superseded_version_are_retired(bench):
    bench.perform = bench.writes("x.1.nc", "x.2.nc", "plot.png")
    bench.arrive(content=b"1")
    bench.now += LEASE
    bench.perform = bench.writes("x.2.nc", "x.3.nc")
    (record,) = bench.arrive(content=b"2")
    assert record.retired == ("plot.png", "x.1.nc")
    assert sorted(bench.published()) == ["x.2.nc", "x.3.nc"]
    assert [p.key for p in bench.ledger.products()] == ["x.2.nc", "x.3.nc"]


def test_a_new_attempt_that_makes_less_retires_the_rest(bench):
    bench.perform = bench.writes("a.nc", "b.nc")
    (record,) = bench.arrive()
    bench.perform = bench.writes("a.nc")
    record = bench.execute(replace(record.run, again=True, arrived=NOON + LEASE))
    assert (record.retired, list(bench.published())) == (("b.nc",), ["a.nc"])


def test_a_new_version_without_products_takes_the_old_ones_away(bench):
    bench.arrive(content=b"1")
    bench.perform = lambda task: Outcome()
    (record,) = bench.arrive(content=b"2")
    assert (record.state, record.retired) == ("empty", ("out.nc",))
    assert bench.published() == {}


def test_a_new_version_that_fails_leaves_the_old_products(bench):
    bench.arrive(content=b"1")
    bench.perform = fails("bad-input")
    bench.arrive(content=b"2")
    assert list(bench.published()) == ["out.nc"]


def test_a_run_of_all_files_replaces_those_of_each(bench):
    """A scheduled run may take one file; a later one the file and its neighbours, in any order."""
    one, two = (bench.inputs.put(f"lidar/humboldt/{n}", n.encode()) for n in "ab")
    for name, inputs in (("a.nc", (one,)), ("b.nc", (two,))):
        bench.perform = bench.writes(name)
        bench.execute(Run(INGEST.id, inputs=inputs))
    bench.perform = bench.writes("both.nc")
    record = bench.execute(Run(INGEST.id, inputs=(one, two)))
    assert record.retired == ("a.nc", "b.nc")


def test_a_run_of_one_file_does_not_replace_that_of_many(bench):
    one, two = (bench.inputs.put(f"lidar/humboldt/{n}", n.encode()) for n in "ab")
    bench.perform = bench.writes("both.nc")
    bench.execute(Run(INGEST.id, inputs=(one, two)))
    bench.perform = bench.writes("a.nc")
    assert bench.execute(Run(INGEST.id, inputs=(one,))).retired == ()


def test_two_inputs_that_give_the_same_product_are_warned_of(bench):
    bench.arrive("lidar/humboldt/a.csv", b"1")
    (record,) = bench.arrive("lidar/humboldt/b.csv", b"2")
    (warning,) = record.warnings
    assert "out.nc replaces the product that lidar/humboldt made from" in warning
    assert "lidar/humboldt/a.csv" in warning
    # It is the second's now: a new version of the first without it must not take it away.
    bench.perform = bench.writes("other.nc")
    (record,) = bench.arrive("lidar/humboldt/a.csv", b"3")
    assert (record.retired, record.warnings) == ((), ())
    assert sorted(bench.published()) == ["other.nc", "out.nc"]


def test_a_new_version_of_the_same_input_is_not_warned_of(bench):
    bench.arrive(content=b"1")
    assert bench.arrive(content=b"2")[0].warnings == ()


# --- when publishing fails -----------------------------------------------------------------------


def test_a_key_that_a_dead_attempt_left_is_put_right(bench):
    """It published two of three and died; the next attempt makes other files."""
    run = Run(INGEST.id, inputs=(bench.inputs.put(KEY, b"1"),))
    dead = claim(bench, run).record
    left = ["old/a.nc", "old/b.nc"]
    bench.ledger.intend(run.key, owner="another", attempt=dead.attempt, products=left)
    place = bench.outputs.root / "old/a.nc"
    place.parent.mkdir(parents=True)
    place.write_text("half of a set")
    bench.now += LEASE * 2
    (record,) = bench.arrive()
    assert record.retired == ("old/a.nc", "old/b.nc")
    assert list(bench.published()) == ["out.nc"]
    assert record.publishing == ()


def test_a_disk_that_is_full_half_way(bench, tmp_path):
    with_outputs(bench, Broken(tmp_path / "small", room=1))
    bench.perform = bench.writes("a.nc", "b.nc")
    (record,) = bench.arrive()
    assert (record.state, record.failure.kind) == ("retrying", "transient")
    assert "the disk is full" in record.failure.message
    assert set(record.publishing) == {"a.nc", "b.nc"}
    assert record.products == ()
    assert list(bench.ledger.products()) == []
    bench.outputs.room = 10
    bench.perform = bench.writes("c.nc")
    record = bench.execute(record.run)
    assert (record.state, record.retired, record.publishing) == ("succeeded", ("a.nc", "b.nc"), ())
    assert list(bench.published()) == ["c.nc"]


def test_what_was_left_is_not_forgotten_by_an_attempt_that_fails(bench, tmp_path):
    with_outputs(bench, Broken(tmp_path / "small", room=1))
    bench.perform = bench.writes("a.nc", "b.nc")
    (record,) = bench.arrive()
    bench.perform = fails("bad-input")
    record = bench.execute(record.run)
    assert (record.state, set(record.publishing)) == ("failed", {"a.nc", "b.nc"})
    bench.outputs.room = 10
    bench.perform = bench.writes("c.nc")
    record = bench.execute(replace(record.run, again=True, arrived=NOON + LEASE))
    assert record.retired == ("a.nc", "b.nc")


def test_inputs_that_cannot_be_read_are_tried_again(bench):
    bench.inputs.fetch = raises_always(StorageError("no route to host", next="look at the net"))
    (record,) = bench.arrive()
    assert (record.state, record.failure.kind) == ("retrying", "transient")
    assert (record.failure.message, record.failure.next) == ("no route to host", "look at the net")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("bad name")])
def test_what_staging_meets_is_fails(bench, error):
    bench.inputs.fetch = raises_always(error)
    (record,) = bench.arrive()
    assert (record.state, record.failure.kind) == ("retrying", "transient")
    assert KEY in record.failure.message
    assert str(error) in record.failure.message


def raises_always(error):
    """A method that fails."""

    def method(*args):
        raise error

    return method


def test_no_room_for_a_work_folder(bench, tmp_path):
    (tmp_path / "work").write_text("a file is in the way")
    (record,) = bench.arrive()
    assert (record.state, record.failure.kind) == ("retrying", "transient")
    assert "cannot make the work folder" in record.failure.message


def test_a_log_that_cannot_be_kept_does_not_undo_the_run(bench):
    bench.context = replace(bench.context, keep_log=raises_always(OSError(28, "No space left")))
    (record,) = bench.arrive()
    assert (record.state, record.log) == ("succeeded", "")
    assert "the log could not be kept" in record.warnings[0]
    assert bench.ledger.record(record.key) == record


def test_the_log_has_what_the_run_and_its_processes_wrote(bench):
    def perform(task):
        Path(task.work, "output.txt").write_bytes(b"from C\xff\n\n  \nlast")
        return Outcome(failure=Failure("bad-input", "no"))

    bench.perform = perform
    bench.arrive()
    assert [(line["action"], line["message"]) for line in lines(bench)] == [
        ("failed", "no"),
        ("output", "from C\ufffd"),
        ("output", "last"),
    ]
    assert {line["pipeline"] + "/" + line["config"] for line in lines(bench)} == {INGEST.id}


# --- staging -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/../x", "x\0y"])
def test_a_key_that_would_leave_the_work_folder(bench, key):
    bench.inputs.files[key] = b""
    record = bench.execute(Run(INGEST.id, inputs=(bench.inputs._input(key),)))
    assert (record.state, record.failure.kind) == ("retrying", "transient")
    assert bench.tasks == []


def test_a_key_that_begins_with_a_slash_stays_in_the_work_folder(bench):
    """S3 has such keys."""
    bench.execute(Run(INGEST.id, inputs=(bench.inputs.put("/etc/passwd", b"mine"),)))
    (task,) = bench.tasks
    assert task.arguments == (f"{task.work}/in/etc/passwd",)


@pytest.mark.parametrize(
    "name", ["a b+c%20.csv", 'it\'s "x".csv', "new\nline", "ünï ☃.csv", "a;$(x)`y`", "n" * 255]
)
def test_names_stay_as_they_are(bench, name):
    bench.arrive(f"lidar/humboldt/{name}")
    assert [Path(a).name for a in bench.tasks[0].arguments] == [name]


def test_a_name_that_no_disk_takes(bench):
    (record,) = bench.arrive("lidar/humboldt/" + "n" * 900)
    assert (record.state, record.failure.kind) == ("failed", "configuration")
    assert "longer than 255 bytes" in record.failure.message


def test_a_vap_is_given_its_window_and_its_inputs(tmp_path):
    bench = Bench(tmp_path, vap())
    bench.add(product("storage/root/data/a.nc", at("2022-04-05T01:00"), at("2022-04-05T02:00")))
    seen = []

    def perform(task):
        store = Path(task.work, "store")
        seen.extend(p.relative_to(store).as_posix() for p in store.rglob("*.nc"))
        return Outcome()

    bench.perform = perform
    (record,) = bench.due(vap())
    assert record.state == "empty"
    assert seen == ["storage/root/data/a.nc"]
    assert bench.tasks[0].arguments == ("20220405.000000", "20220406.000000")


def test_times_are_given_in_utc():
    from zoneinfo import ZoneInfo

    moment = at("2022-04-05T12:00")
    assert tsdat_time(moment.astimezone(ZoneInfo("Asia/Tokyo"))) == "20220405.120000"


def test_a_product_that_someone_changed_or_took_away_is_told_of(tmp_path):
    bench = Bench(tmp_path, vap())
    bench.add(product("a.nc", at("2022-04-05T01:00"), at("2022-04-05T02:00")))
    (bench.outputs.root / "a.nc").write_text("other content")
    bench.perform = lambda task: Outcome()
    (record,) = bench.due(vap())
    assert record.state == "failed"  # nothing will run by itself to bring it back
    assert record.failure.kind == "bad-input"
    assert "a.nc" in record.failure.message
    assert "reprocess" in record.failure.next
    with pytest.raises(InputChanged):
        stage(bench.context.target, vap(), record, tmp_path)


def test_unknown_config(bench):
    with pytest.raises(KeyError):
        bench.execute(Run("no/such", inputs=(Input("a", "b", 1),)))


def test_claim_lost_names_the_run():
    assert str(ClaimLost("abc")) == "abc"


def test_content_that_comes_back_is_run_again_and_has_the_last_word(tmp_path):
    """A, then B, then A once more under one name: the products are A's again."""
    bench = Bench(tmp_path)
    bench.perform = lambda task: bench.writes(f"{task.run.inputs[0].version[:6]}.nc")(task)
    (first,) = bench.arrive(content=b"a")
    (second,) = bench.arrive(content=b"b")
    assert bench.ledger.record(first.key).state == "superseded"
    assert second.replaces == (first.key,)
    (third,) = bench.arrive(content=b"a")
    assert (third.key, third.attempt, third.state) == (first.key, 2, "succeeded")
    assert bench.ledger.record(second.key).state == "superseded"
    assert list(bench.published()) == [first.products[0].key]
    assert bench.arrive(content=b"a") == []
