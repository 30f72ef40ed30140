"""Which files the service takes in, when, and what a file that comes again does."""

import itertools
import os
import time

import pytest
from service_workspace import VAP, config, csv, eventually, ingest, make, product

pytestmark = pytest.mark.slow

CONFIG = config(
    ingest("one"),
    ingest("two", "tiny/both/"),
    ingest("three", "tiny/both/"),
    ingest("four", "tiny/"),
    ingest("slow", "slow/", concurrency=1),
    ingest("quiet", "quiet/", expect_every=1),
    defaults="settle: 2",
)
NAMES = [
    "with space.csv",
    "a+b.csv",
    "100%25.csv",
    'it\'s "quoted".csv',
    "new\nline.csv",
    "größe 東京.csv",
    b"not-utf8-\xff\xfe.csv",
    "back\\slash[bold].csv",
    "-w.csv",
    "deep/er/and/deeper/x.csv",
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A service that runs over a workspace which had a file in it when it was started."""
    place = make(tmp_path_factory.mktemp("arrivals") / "workspace", CONFIG)
    place.put("quiet/before.csv", csv("2021-01-01T00:00:00"))
    place.age()
    with place.up(workers=2) as service:
        place.service = service
        yield place
        eventually(lambda: not place.queued())
    place.assert_whole()


def test_what_was_there_at_the_start_is_taken_in(running):
    assert running.ended("quiet/before.csv").state == "succeeded"
    running.service.says("before.csv  succeeded")


def test_strange_names(running):
    for number, name in enumerate(NAMES, start=1):
        key = b"slow/" + name if isinstance(name, bytes) else f"slow/{name}"
        running.put(key, csv(f"2022-06-{number:02}T00:00:00"))
    for number, name in enumerate(NAMES, start=1):
        record = running.ended("slow/" + os.fsdecode(name))
        assert record.state == "succeeded"
        assert product("slow", f"2022-06-{number:02}") in {p.key for p in record.products}


def test_a_file_renamed_into_place_is_taken_at_once(running):
    running.put("tiny/first.csv", csv("2022-07-03T00:00:00"))  # in a folder that is known by then
    running.ended("tiny/first.csv")
    running.put("tiny/settles.csv", csv("2022-07-04T00:00:00"), rename=False)
    running.put("tiny/at-once.csv", csv("2022-07-01T00:00:00"))
    settled = running.ended("tiny/settles.csv")
    assert running.ended("tiny/at-once.csv").started < settled.started


def test_a_file_that_is_being_written_is_taken_once_it_has_settled(running):
    place = running.put("tiny/growing.csv", csv("2022-07-02T00:00:00"), rename=False)
    for minute in range(8):
        time.sleep(0.4)
        assert running.record("tiny/growing.csv") is None
        with place.open("a") as file:
            file.write(f"2022-07-02T01:0{minute}:00,{minute}\n")
    written = time.time()
    record = running.ended("tiny/growing.csv")
    assert record.attempt == 1
    assert record.started.timestamp() - written > 1.8
    assert record.run.inputs[0].size == place.stat().st_size
    assert [r.run.inputs[0].size for r in running.records() if "growing" in r.run.title] == [
        place.stat().st_size
    ]


def test_what_does_not_count_is_left_alone(running):
    outside = running.root / "outside.csv"
    outside.write_text(csv("2022-08-01T00:00:00"))
    (running.input / "tiny/link.csv").symlink_to(outside)
    for name in (".hidden.csv", "x.part", "x.tmp", "x.csv~", ".folder/x.csv"):
        running.put(f"tiny/{name}", csv("2022-08-02T00:00:00"))
    running.put("nobody/x.csv", csv("2022-08-03T00:00:00"))
    # Written in place: when it has settled, all that came before it has, too.
    running.put("tiny/marker.csv", csv("2022-08-04T00:00:00"), rename=False)
    running.ended("tiny/marker.csv")
    taken = {record.run.title for record in running.records()}
    assert not [t for t in taken if "link" in t or ("x." in t.split("/")[-1] and "deep" not in t)]
    assert not [t for t in taken if "hidden" in t]
    (running.input / "tiny/link.csv").unlink()


def test_two_configs_share_a_path_and_a_third_lies_above(running):
    running.put("tiny/both/x.csv", csv("2022-09-01T00:00:00"))
    for site in ("two", "three", "four"):
        record = running.ended("tiny/both/x.csv", config=f"tiny/{site}")
        assert product(site, "2022-09-01") in {p.key for p in record.products}
    assert running.record("tiny/both/x.csv", "tiny/one") is None


def test_a_file_that_comes_again_replaces_its_products(running):
    running.put("slow/again.csv", csv("2022-10-01T00:00:00", (1, 2)))
    first = running.ended("slow/again.csv")
    old = {p.key for p in first.products}
    assert old <= set(running.outputs())

    # The same content: nothing is to be done, and a file behind it in the queue shows that it was
    # looked at.
    running.put("slow/again.csv", csv("2022-10-01T00:00:00", (1, 2)))
    running.put("slow/behind.csv", csv("2022-10-02T00:00:00"))
    running.ended("slow/behind.csv")
    assert running.record("slow/again.csv") == first

    # Other content, and with it another name: the old product goes.
    running.put("slow/again.csv", csv("2022-10-01T06:00:00", (3, 4)))
    second = eventually(lambda: (r := running.ended("slow/again.csv")) and r.key != first.key and r)
    assert set(second.retired) == old
    assert not old & set(running.outputs())
    assert {p.key for p in second.products} <= set(running.outputs())

    # And back: what was done once is done again, as its products are gone.
    running.put("slow/again.csv", csv("2022-10-01T00:00:00", (1, 2)))
    third = running.ended("slow/again.csv", attempt=2)
    assert third.key == first.key
    assert {p.key for p in third.products} == old <= set(running.outputs())


def test_a_file_that_is_replaced_while_it_is_processed_ends_with_the_newest(running):
    running.put("slow/hasty.csv", csv("2022-11-01T00:00:00", (1,), ask="slow 1.5"))
    eventually(lambda: running.record("slow/hasty.csv"))
    running.put("slow/hasty.csv", csv("2022-11-02T00:00:00", (2,)))
    record = running.ended("slow/hasty.csv", "succeeded")
    eventually(lambda: not running.queued())
    assert product("slow", "2022-11-02") in {p.key for p in record.products}
    assert product("slow", "2022-11-01") not in running.outputs()
    [old] = [r for r in running.records() if r.run.title == record.run.title and r != record]
    assert (old.state, old.products) == ("superseded", ())
    assert "replaced while it was being processed" in old.failure.message


def test_concurrency_bounds_one_config_and_not_the_others(running):
    for n in range(3):
        running.put(f"slow/c{n}.csv", csv(f"2022-12-01T0{n}:00:00", ask="slow 0.6"))
    running.put("tiny/between.csv", csv("2022-12-02T00:00:00"))
    spans = [running.ended(f"slow/c{n}.csv") for n in range(3)]
    spans.sort(key=lambda record: record.started)
    for before, after in itertools.pairwise(spans):
        assert before.finished <= after.started
    assert running.ended("tiny/between.csv").finished < spans[-1].finished


def test_silence_is_told_once_and_so_is_its_end(running):
    running.service.says("tiny/quiet is stale: no new data since")
    running.put("quiet/after.csv", csv("2021-01-02T00:00:00"))
    running.service.says("tiny/quiet is no longer stale")


def test_plots_that_fail_do_not_take_the_data_with_them(running):
    running.put("tiny/noplot.csv", csv("2022-12-03T00:00:00", (-99, 1)))
    record = running.ended("tiny/noplot.csv")
    assert record.outcome == "succeeded, plots failed"
    assert product("four", "2022-12-03") in running.outputs()
    running.service.says("succeeded, plots failed")


def test_a_vap_follows_its_ingest_and_a_scheduled_ingest_takes_all_together(tmp_path):
    cron = """\
- name: clumped
  type: Ingest
  trigger: Cron
  schedule: "* * * * *"
  configs:
    site:
      input_bucket_path: clumped/
      config_file_path: pipelines/tiny/config/pipeline_clumped.yaml
"""
    place = make(tmp_path / "workspace", config(ingest("one"), rest=VAP + cron))
    for day in (1, 2):
        place.put(f"tiny/one/{day}.csv", csv(f"2022-04-0{day}T12:00:00"))
        place.put(f"clumped/{day}.csv", csv(f"2022-04-0{day}T12:00:00"))
    place.age()
    place.once()
    windows = sorted(record.run.title for record in place.records("tiny_vap/one"))
    assert windows == ["2022-04-01 to 2022-04-02", "2022-04-02 to 2022-04-03"]
    assert product("one", "2022-04-01T12:00:00", dataset="tinyvap.c1") in place.outputs()
    [clumped] = place.records("clumped/site")
    assert [input.key for input in clumped.run.inputs] == ["clumped/1.csv", "clumped/2.csv"]

    # A late file: its window alone is run again, when the schedule is due again.
    place.put("tiny/one/3.csv", csv("2022-04-02T18:00:00"))
    place.put("clumped/3.csv", csv("2022-04-02T18:00:00"))
    place.age()
    eventually(lambda: time.time() % 60 < 50)
    ran = {record.key for record in place.records()}
    with place.ledger() as ledger:  # as if the last due time had been long ago
        for name in ("tiny_vap/one", "clumped/site"):
            ledger.set_state(f"due/{name}", "2026-01-01T00:00:00+00:00")
    place.once()
    new = sorted(r.run.title for r in place.records() if r.key not in ran)
    assert new == ["2022-04-02 to 2022-04-03", "clumped/3.csv", "tiny/one/3.csv"]
    ran = {record.key for record in place.records()}
    place.once()
    assert {record.key for record in place.records()} == ran
    place.assert_whole()
