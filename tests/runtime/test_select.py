"""Which runs an event calls for: the rules of DESIGN, section 5, one by one."""

from dataclasses import replace
from datetime import timedelta

import pytest
from runtime_doubles import INGEST, NOON, Bench, at, product, vap

from tidegate.errors import InputChanged
from tidegate.runtime.dispatch import backoff
from tidegate.runtime.events import FileArrived, Requested, ScheduleDue
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Failure, Run, Window
from tidegate.runtime.select import MOST_WINDOWS, select, takes, under
from tidegate.runtime.task import Outcome

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CRON = replace(INGEST, trigger="Cron", schedule="0 * * * *")


def fails(kind="bad-input"):
    """A stand-in for Tsdat that fails."""
    return lambda task: Outcome(failure=Failure(kind, "no"))


def begins(selection):
    """The begins of the selected windows, in short."""
    return [f"{run.window.begin:%m-%d %H}" for run in selection.runs]


# --- files ---------------------------------------------------------------------------------------


def test_a_new_file_is_one_run(bench):
    event = FileArrived(bench.inputs.put("lidar/humboldt/x/a.csv", b"1"), NOON)
    (run,) = select([INGEST], event, bench.ledger).runs
    assert (run.config, run.inputs, run.arrived) == (INGEST.id, (event.input,), NOON)
    assert not run.again


@pytest.mark.parametrize(
    ("prefix", "key", "fits"),
    [
        ("lidar/", "lidar/a", True),
        ("lidar/", "lidar/x/y/a", True),
        ("lidar/", "lidar2/a", False),
        ("lidar/", "a/lidar/a", False),
        ("lidar/", "lidar/", False),
        ("lidar/", "lidar/x/", False),
        ("lidar/", "Lidar/a", False),
        ("", "a", True),
    ],
)
def test_a_path_is_a_folder(prefix, key, fits):
    assert under(prefix, key) is fits
    assert takes(replace(INGEST, input_path=prefix), key) is fits


def test_a_file_that_no_config_wants_is_no_run(bench):
    assert not bench.arrive("elsewhere/a.csv")
    assert not takes(CRON, "lidar/humboldt/a.csv")
    assert not takes(replace(INGEST, input_path=None), "lidar/humboldt/a.csv")


def test_a_duplicate_event_is_free(bench):
    assert [r.state for r in bench.arrive()] == ["succeeded"]
    assert bench.arrive() == []
    bench.now += DAY
    assert bench.arrive() == []
    assert len(bench.tasks) == 1


def test_new_content_runs_again_and_replaces(bench):
    (first,) = bench.arrive(content=b"1")
    (second,) = bench.arrive(content=b"2")
    assert first.key != second.key
    assert bench.ledger.product("out.nc").run == second.key
    assert bench.published() == {"out.nc": f"out.nc of {second.key}"}


def test_content_that_comes_back_runs_again(bench):
    """What is published is of the second version, so the first, though done, is due."""
    (first,) = bench.arrive(content=b"1")
    bench.now += HOUR
    bench.arrive(content=b"2")
    bench.now += HOUR
    (third,) = bench.arrive(content=b"1")
    assert (third.key, third.attempt) == (first.key, 2)
    assert bench.published() == {"out.nc": f"out.nc of {first.key}"}
    bench.now += HOUR
    assert bench.arrive(content=b"1") == []


def test_a_late_duplicate_of_an_old_version_changes_nothing(bench):
    """S3 tells at least once and in any order."""
    event = FileArrived(bench.inputs.put("lidar/humboldt/a.csv", b"1"), NOON)
    bench.arrive(content=b"1")
    bench.now += HOUR
    (second,) = bench.arrive(content=b"2")
    for run in select([INGEST], event, bench.ledger).runs:
        assert bench.execute(run).state == "superseded"
    assert bench.published() == {"out.nc": f"out.nc of {second.key}"}
    assert bench.ledger.product("out.nc").run == second.key


def test_a_failed_file_is_not_run_again_by_itself(bench):
    bench.perform = fails()
    assert [r.state for r in bench.arrive()] == ["failed"]
    assert bench.arrive() == []


def test_a_file_that_is_to_be_retried_is_run(bench):
    bench.perform = fails("transient")
    assert [r.state for r in bench.arrive()] == ["retrying"]
    bench.perform = bench.writes("out.nc")
    assert bench.arrive() == []  # it waits for its next try
    bench.now += backoff(1)
    assert [(r.state, r.tries) for r in bench.arrive()] == [("succeeded", 2)]


def test_configs_that_share_or_contain_a_path_each_run(tmp_path):
    inner = replace(INGEST, name="inner", input_path="lidar/humboldt/x/")
    twin = replace(INGEST, name="twin")
    bench = Bench(tmp_path, INGEST, inner, twin)
    bench.perform = lambda task: Outcome()
    assert [r.run.config for r in bench.arrive("lidar/humboldt/a.csv")] == [INGEST.id, twin.id]
    records = bench.arrive("lidar/humboldt/x/a.csv")
    assert [r.run.config for r in records] == [INGEST.id, inner.id, twin.id]


def test_a_request_is_taken_as_it_is(bench):
    run = Run(INGEST.id, inputs=(bench.inputs.put("lidar/humboldt/a", b""),), again=True)
    assert select([INGEST], Requested((run,), NOON), bench.ledger).runs == (run,)


# --- scheduled ingests ---------------------------------------------------------------------------


def files(bench):
    """What lies under the path now."""
    return tuple(bench.inputs.list(""))


def test_a_scheduled_ingest_takes_all_untaken_files_in_one_run(tmp_path):
    bench = Bench(tmp_path, CRON)
    for key in ("lidar/humboldt/b", "lidar/humboldt/a", "lidar/morro/c", "lidar/humboldt/x/d"):
        bench.inputs.put(key, key.encode())
    (record,) = bench.due(CRON, files=files(bench))
    keys = [i.key for i in record.run.inputs]
    assert keys == ["lidar/humboldt/a", "lidar/humboldt/b", "lidar/humboldt/x/d"]
    assert bench.due(CRON, files=files(bench)) == []
    bench.inputs.put("lidar/humboldt/b", b"new content")
    bench.inputs.put("lidar/humboldt/e", b"new file")
    (record,) = bench.due(CRON, files=files(bench))
    assert [i.key for i in record.run.inputs] == ["lidar/humboldt/b", "lidar/humboldt/e"]


@pytest.mark.parametrize("state", ["failed", "retrying"])
def test_files_of_a_run_that_did_not_succeed_are_taken(tmp_path, state):
    bench = Bench(tmp_path, CRON)
    bench.perform = fails("transient" if state == "retrying" else "bad-input")
    bench.inputs.put("lidar/humboldt/a", b"")
    (record,) = bench.due(CRON, files=files(bench))
    assert record.state == state
    assert bench.due(CRON, files=files(bench)) == []


def test_files_of_a_superseded_run_are_not_taken(tmp_path):
    bench = Bench(tmp_path, CRON)
    bench.inputs.put("lidar/humboldt/a", b"1")
    bench.inputs.put("lidar/humboldt/b", b"1")
    seen = files(bench)
    bench.inputs.put("lidar/humboldt/b", b"2")
    assert [r.state for r in bench.due(CRON, files=seen)] == ["superseded"]
    (record,) = bench.due(CRON, files=files(bench))
    assert (record.state, len(record.run.inputs)) == ("succeeded", 2)


def test_nothing_due_for_no_files_or_an_unknown_config(bench):
    for config in (CRON.id, "no/such"):
        assert select([CRON], ScheduleDue(config, NOON), bench.ledger).runs == ()


def test_inputs_that_are_not_files(tmp_path):
    texts = ("{begin:%Y%m}", "46022", "{end:%Y-%m-%dT%H}", "{time:%H%M}")
    config = replace(CRON, input_path=None, inputs=texts, window="month")
    bench = Bench(tmp_path, config)
    (record,) = bench.due(config)
    assert record.run.arguments == ("202203", "46022", "2022-04-01T00", "1200")
    assert bench.tasks[0].arguments == record.run.arguments
    assert bench.due(config) == []  # the same tick, told twice


def test_inputs_that_never_change_run_each_time_the_schedule_is_due(tmp_path):
    config = replace(CRON, input_path=None, inputs=("46022",))
    bench = Bench(tmp_path, config)
    keys = []
    for hour in range(3):
        bench.now = NOON + hour * HOUR
        bench.perform = bench.writes(f"buoy.{hour}.nc", "latest.nc")
        (record,) = bench.due(config)
        keys.append(record.key)
        assert record.warnings == ()
        assert record.retired == ()
    assert len(set(keys)) == 3
    assert sorted(bench.published()) == ["buoy.0.nc", "buoy.1.nc", "buoy.2.nc", "latest.nc"]


# --- scheduled VAPs ------------------------------------------------------------------------------


@pytest.fixture
def daily(tmp_path):
    """A VAP by the day whose schedule comes by every hour."""
    return Bench(tmp_path, vap())


def files_of_days(first, count, **more):
    """A product a day, from after its first ten minutes to before its last."""
    days = [at(first) + day * DAY for day in range(count)]
    rest = HOUR / 6
    return [product(f"{d:%Y%m%d}.nc", d + rest, d + DAY - rest, **more) for d in days]


def look(bench, config=None, now=None):
    """What is due, without doing it."""
    event = ScheduleDue((config or vap()).id, now or bench.now)
    return select([config or vap()], event, bench.ledger)


def test_the_first_run_covers_all_there_is(daily):
    daily.add(*files_of_days("2021-04-01", 370))
    selection = look(daily)
    assert len(selection.runs) == 370
    assert begins(selection)[0] == "04-01 00"
    assert all(len(run.products) == 1 and run.arrived == NOON for run in selection.runs)


@pytest.mark.slow
def test_a_first_run_over_sixty_days_of_hours_and_ten_minute_files(daily):
    begin = at("2021-01-01")
    daily.change(
        product(f"{i}.nc", begin + i * HOUR / 6, begin + (i + 1) * HOUR / 6)
        for i in range(60 * 144)
    )
    event, known, runs, more = ScheduleDue(vap().id, daily.now), {}, [], True
    while more:
        selection = select([vap(window="hour")], event, daily.ledger, known=known)
        assert len(selection.runs) <= MOST_WINDOWS
        known.update(selection.state)
        runs += selection.runs
        more = selection.more
    assert len({run.key for run in runs}) == len(runs) == 60 * 24 + 1
    assert len(runs[5].products) == 8


def test_many_windows_are_selected_in_parts(daily, monkeypatch):
    """So that memory is bounded; what is left is kept, and a lost part is selected later."""
    monkeypatch.setattr("tidegate.runtime.select.MOST_WINDOWS", 4)
    daily.add(*files_of_days("2022-03-01", 10))
    first = look(daily)
    assert (begins(first), first.more) == (["03-01 00", "03-02 00", "03-03 00", "03-04 00"], True)
    daily.queue.put(first.runs, NOON, state=first.state)  # and the process dies
    records = daily.due(vap())
    assert [record.run.window.begin.day for record in records] == list(range(1, 11))
    last = look(daily)
    assert (last.runs, last.more, "left" in str(last.state)) == ((), False, False)


def test_many_changes_are_read_in_parts(daily, monkeypatch):
    """With enough windows for one part, no further changes are read for now."""
    real, asked = type(daily.ledger).changes, []

    def three(ledger, datastream, cursor):
        spans, _ = real(ledger, datastream, cursor)
        asked.append(cursor)
        return spans[:3], str(int(cursor or 0) + len(spans[:3]))

    monkeypatch.setattr(type(daily.ledger), "changes", three)
    monkeypatch.setattr("tidegate.runtime.select.MOST_CHANGES", 3)
    monkeypatch.setattr("tidegate.runtime.select.MOST_WINDOWS", 4)
    daily.add(*files_of_days("2022-03-01", 10))
    parts, known, more = [], {}, True
    while more:
        selection = select([vap()], ScheduleDue(vap().id, NOON), daily.ledger, known=known)
        known.update(selection.state)
        parts.append((len(selection.runs), len(asked)))
        more = selection.more
    assert parts == [(4, 2), (4, 3), (2, 4)]  # each part reads three changes at a time


def test_since(daily):
    daily.add(*files_of_days("2022-03-01", 10))
    assert begins(look(daily, vap(since=at("2022-03-08")))) == ["03-08 00", "03-09 00", "03-10 00"]
    # A window that begins before it is not run, since it could not be whole.
    assert begins(look(daily, vap(since=at("2022-03-08T01:00")))) == ["03-09 00", "03-10 00"]
    assert begins(look(daily, vap(since=at("2023-01-01")))) == []


def test_no_change_means_nothing(daily):
    daily.add(*files_of_days("2022-03-01", 3))
    assert len(daily.due(vap())) == 3
    for _ in range(3):
        daily.now += HOUR
        assert daily.due(vap()) == []
        assert look(daily).state == ()  # and nothing to write down any more


def test_a_late_file_runs_its_window_alone(daily):
    days = files_of_days("2022-03-01", 5)
    daily.add(*days[:2], *days[3:])
    assert len(daily.due(vap())) == 4
    daily.add(days[2])
    assert begins(look(daily)) == ["03-03 00"]
    assert len(daily.due(vap())) == 1
    assert daily.due(vap()) == []


def test_a_replaced_file_runs_the_windows_of_both_its_spans(daily):
    daily.add(
        product("a.nc", at("2022-03-01"), at("2022-03-02T01:00")), *files_of_days("2022-03-01", 9)
    )
    daily.due(vap())
    daily.add(product("a.nc", at("2022-03-07T00:30"), at("2022-03-07T01:00"), content="new"))
    assert begins(look(daily)) == ["03-01 00", "03-02 00", "03-07 00"]


def test_a_product_replaced_by_one_of_the_same_span(daily):
    daily.add(*files_of_days("2022-03-01", 3))
    before = look(daily).runs[1].key
    daily.due(vap())
    daily.add(*files_of_days("2022-03-02", 1, content="new"))
    (run,) = look(daily).runs
    assert run.window.begin == at("2022-03-02")
    assert run.key != before


def test_a_product_that_comes_back_as_it_was_runs_its_window_again(daily):
    for content, due in (("1", True), ("2", True), ("1", True), ("1", False)):
        daily.now += HOUR
        daily.add(*files_of_days("2022-03-01", 1, content=content))
        assert bool(daily.due(vap())) is due


def test_a_retired_product_runs_its_windows_without_it(daily):
    daily.add(
        product("a.nc", at("2022-03-01"), at("2022-03-01T01:00")), *files_of_days("2022-03-01", 2)
    )
    daily.due(vap())
    daily.change(retired=["a.nc"])
    (run,) = look(daily).runs
    assert [p.key for p in run.products] == ["20220301.nc"]
    daily.change(retired=["20220301.nc"])
    (run,) = look(daily).runs  # it has no inputs any more: its product is withdrawn
    assert run.withdrawn


def test_three_days_of_downtime(daily):
    days = files_of_days("2022-03-01", 6)
    daily.add(*days[:3])
    daily.due(vap())
    daily.add(*days[3:])
    daily.now += 3 * DAY
    assert begins(look(daily)) == ["03-04 00", "03-05 00", "03-06 00"]


def test_what_is_selected_but_not_done_is_selected_again(daily):
    daily.add(*files_of_days("2022-03-01", 2))
    assert look(daily).runs == look(daily).runs != ()


def test_an_hourly_schedule_brings_the_day_up_to_date(daily):
    for hour in range(3):
        daily.now += HOUR
        daily.add(product(f"{hour}.nc", NOON + hour * HOUR, NOON + (hour + 1) * HOUR))
        (record,) = daily.due(vap())
        assert str(record.run.window) == "2022-04-05 to 2022-04-06"
        assert len(record.run.products) == hour + 1
    assert len(daily.published()) == 3 + 1


def test_the_padding_before(daily):
    config = vap(pad_before=86400.0)
    daily.add(*files_of_days("2022-03-01", 3))
    runs = look(daily, config).runs
    assert [[p.key[6:8] for p in run.products] for run in runs] == [
        ["01"],
        ["01", "02"],
        ["02", "03"],
    ]
    handled = Bench(daily.context.work / "padded", config)
    handled.add(*files_of_days("2022-03-01", 3))
    handled.due(config)
    handled.add(*files_of_days("2022-03-02", 1, content="new"))
    # The day after looks back to it; the day after that does not.
    assert begins(look(handled, config)) == ["03-02 00", "03-03 00"]


def test_the_padding_after(daily):
    config = vap(pad_after=3600.0)
    bench = Bench(daily.context.work / "padded", config)
    bench.add(*files_of_days("2022-03-01", 3))
    runs = look(bench, config).runs
    assert [[p.key[6:8] for p in run.products] for run in runs] == [
        ["01", "02"],
        ["02", "03"],
        ["03"],
    ]
    bench.due(config)
    bench.add(*files_of_days("2022-03-02", 1, content="new"))
    assert begins(look(bench, config)) == ["03-01 00", "03-02 00"]


@pytest.mark.parametrize("count", [1, 2])
def test_what_begins_at_a_windows_end_is_an_input_of_it(daily, count):
    """Tsdat takes the end as inclusive; and whether more windows are due makes no difference."""
    first = product("first.nc", at("2022-03-01T05:00"), at("2022-03-01T06:00"))
    next_ = product("next.nc", at("2022-03-02"), at("2022-03-02T01:00"))
    daily.add(first, next_)
    if count == 2:
        runs = look(daily).runs
    else:
        daily.due(vap())
        daily.add(replace(first, sha256="new"))
        runs = look(daily).runs
    assert len(runs) == count
    assert [p.key for p in runs[0].products] == ["first.nc", "next.nc"]


def test_a_change_at_a_windows_end_runs_that_window_too(daily):
    daily.add(product("first.nc", at("2022-03-01T05:00"), at("2022-03-01T06:00")))
    daily.due(vap())
    daily.add(product("next.nc", at("2022-03-02"), at("2022-03-02T01:00")))
    assert begins(look(daily)) == ["03-01 00", "03-02 00"]


def test_a_windows_key_does_not_depend_on_what_else_is_due(daily):
    daily.add(*files_of_days("2022-03-01", 5), product("x.nc", at("2022-03-03"), at("2022-03-04")))
    together = {run.window.begin: run.key for run in look(daily).runs}
    for day in range(5):
        config = vap(since=at("2022-03-01") + day * DAY)
        alone = look(daily, config).runs[0]
        assert together[alone.window.begin] == alone.key


def test_several_datastreams(tmp_path):
    config = vap(datastreams=("a.b", "c.d"))
    bench = Bench(tmp_path, config)
    bench.add(product("a.nc", at("2022-03-01"), at("2022-03-01T01:00")))
    bench.add(product("c.nc", at("2022-03-01"), at("2022-03-01T02:00"), datastream="c.d"))
    bench.add(product("e.nc", at("2022-03-09"), at("2022-03-09T02:00"), datastream="e.f"))
    (record,) = bench.due(config)
    assert {p.key for p in record.run.products} == {"a.nc", "c.nc"}
    bench.add(product("c2.nc", at("2022-03-01"), at("2022-03-01T02:00"), datastream="c.d"))
    (record,) = bench.due(config)
    assert len(record.run.products) == 3


def test_the_vaps_own_products_do_not_set_it_off(daily):
    daily.perform = lambda task: replace(
        daily.writes("vap.nc")(task),
        products=(replace(daily.writes("vap.nc")(task).products[0], datastream="vap.c1"),),
    )
    daily.add(*files_of_days("2022-03-01", 1))
    assert len(daily.due(vap())) == 1
    assert daily.due(vap()) == []


def test_a_failed_window_is_tried_again_with_growing_pauses(daily):
    daily.add(*files_of_days("2022-03-01", 2))
    daily.perform = fails()
    assert [r.state for r in daily.due(vap())] == ["failed", "failed"]
    waits = []
    for _ in range(10):
        waited = timedelta()
        while not (records := daily.due(vap())):
            waited += timedelta(minutes=5)
            daily.now += timedelta(minutes=5)
        assert len(records) == 2
        waits.append(waited)
    minutes = [w / timedelta(minutes=1) for w in waits]
    assert minutes == [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]
    daily.perform = daily.writes("vap.nc")
    daily.now += DAY
    assert [r.state for r in daily.due(vap())] == ["succeeded", "succeeded"]
    daily.now += DAY
    assert daily.due(vap()) == []


def test_a_failed_window_whose_input_changed_is_run_at_once(daily):
    daily.add(*files_of_days("2022-03-01", 1))
    daily.perform = fails()
    daily.due(vap())
    assert daily.due(vap()) == []
    daily.add(*files_of_days("2022-03-01", 1, content="new"))
    daily.perform = daily.writes("vap.nc")
    assert [r.state for r in daily.due(vap())] == ["succeeded"]
    daily.now += DAY
    assert daily.due(vap()) == []  # the failure of the old version is of no interest


def test_pauses_go_by_the_time_it_is_and_not_by_the_time_that_was_due(daily):
    """``up --once`` asks about the same due time, and a queue may tell of it twice."""
    daily.add(*files_of_days("2022-03-01", 1))
    daily.perform = fails()
    due = ScheduleDue(vap().id, daily.now)
    daily.now += 3 * DAY
    assert [r.state for r in daily.handle(due)] == ["failed"]
    assert daily.handle(due) == []
    daily.now += HOUR
    assert [r.attempt for r in daily.handle(due)] == [2]


def test_a_clock_that_was_set_back_holds_no_failed_window_up(daily):
    daily.add(*files_of_days("2022-03-01", 1))
    daily.perform = fails()
    daily.due(vap())
    daily.now -= 30 * DAY
    assert len(daily.due(vap())) == 1


def test_a_superseded_window_is_run_with_what_is_there_now(daily):
    """The product that a window holds is replaced between its selection and its staging."""
    daily.add(*files_of_days("2022-03-01", 1))
    (old,) = look(daily).runs

    def replaced(ref, place):
        daily.add(*(replace(p, sha256="new") for p in files_of_days("2022-03-01", 1)))
        raise InputChanged("replaced")

    daily.outputs.fetch = replaced
    (record,) = daily.due(vap())
    assert record.state == "superseded"
    daily.now += HOUR
    daily.outputs.fetch = lambda ref, place: place.write_text("")
    (record,) = daily.due(vap())
    assert record.state == "succeeded"
    assert record.key != old.key


def test_hours_around_a_gap(daily):
    config = vap(window="hour")
    daily.add(product("a.nc", at("2022-03-01T00:10"), at("2022-03-01T01:10")))
    daily.add(product("b.nc", at("2022-03-01T05:10"), at("2022-03-01T05:20")))
    assert begins(look(daily, config)) == ["03-01 00", "03-01 01", "03-01 05"]


# --- VAPs whose inputs Tsdat does not name -------------------------------------------------------


@pytest.fixture
def clock(tmp_path):
    """A VAP that goes by the clock."""
    return Bench(tmp_path, vap(datastreams=()))


def test_by_the_clock_each_window_runs_once_it_has_ended(clock):
    config = vap(datastreams=())
    (record,) = clock.due(config)
    assert record.run.window == Window(at("2022-04-04"), at("2022-04-05"))
    assert clock.due(config) == []
    clock.now += 3 * DAY
    assert [r.run.window.begin.day for r in clock.due(config)] == [5, 6, 7]
    clock.now -= 9 * DAY  # a clock that was set back
    assert clock.due(config) == []
    clock.now += 10 * DAY
    assert [r.run.window.begin.day for r in clock.due(config)] == [8]


def test_by_the_clock_since(clock):
    config = vap(datastreams=(), since=at("2022-03-31T12:00"))
    clock.context = replace(
        clock.context, manifest=replace(clock.context.manifest, configs=(config,))
    )
    days = [r.run.window.begin.day for r in clock.due(config)]
    assert days == [1, 2, 3, 4]
    assert clock.due(config) == []


def test_by_the_clock_a_failed_window_is_tried_again(clock):
    config = vap(datastreams=())
    clock.perform = fails()
    assert [r.state for r in clock.due(config)] == ["failed"]
    assert clock.due(config) == []
    clock.perform = clock.writes("vap.nc")
    clock.now += HOUR
    assert [(r.state, r.attempt) for r in clock.due(config)] == [("succeeded", 2)]
    assert clock.due(config) == []


def test_a_vap_that_tsdat_was_not_asked_about_goes_by_the_clock(tmp_path):
    config = Config("wind", "x", "VAP", "Cron", "p.yaml", schedule="0 2 * * *")
    bench = Bench(tmp_path, config)
    assert len(bench.due(config)) == 1


def test_windows_that_a_job_is_going_to_make_stay_due(daily):
    daily.add(*files_of_days("2022-03-01", 4))
    event = ScheduleDue(vap().id, daily.now)
    first = select([vap()], event, daily.ledger, held=lambda _, window: window.begin.day in (2, 3))
    assert (begins(first), first.more) == (["03-01 00", "03-04 00"], False)
    daily.queue.put(first.runs, NOON, state=first.state)
    records = daily.due(vap())
    assert [record.run.window.begin.day for record in records] == [1, 4, 2, 3]
    assert daily.due(vap()) == []
