"""Adoption by itself: names, times, whose a file is, and what goes on record."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tidegate.errors import StorageError
from tidegate.runtime.events import FileArrived, ScheduleDue
from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.protocols import Target
from tidegate.runtime.publish import STORE, publish
from tidegate.runtime.runs import Input, Product, Run
from tidegate.runtime.scope import Scope
from tidegate.runtime.select import select
from tidegate.runtime.summary import Summary
from tidegate.runtime.testing import MemoryInputs, MemoryLedger, MemoryOutputs
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.workspace.adoption import recording
from tidegate.workspace.adoption.product_names import begin_from_name, template_pattern
from tidegate.workspace.adoption.raw_files import RawFiles
from tidegate.workspace.adoption.recording import Adoption
from tidegate.workspace.adoption.survey import Survey, survey
from tidegate.workspace.local_session import FolderProductFiles
from tidegate.workspace.rerun import to_reprocess

STREAM, OTHER = "humboldt.lidar.a1", "morro.lidar.a1"
DATA = "{datastream}.{yyyy}{mm}{dd}.{HH}{MM}{SS}.{extension}"
PLOT = "{datastream}.{yyyy}{mm}{dd}.{HH}{MM}{SS}.{title}.{extension}"
TSDAT = Pipeline(
    "Class",
    data_path="data/{location_id}/{datastream}",
    data_filename=DATA,
    plot_path="ancillary/{location_id}/{datastream}",
    plot_filename=PLOT,
)
HUMBOLDT = Config(
    "lidar", "humboldt", "Ingest", "S3", "h.yaml", input_path="lidar/humboldt/",
    tsdat=replace(TSDAT, datastream=STREAM),
)  # fmt: skip
MORRO = Config(
    "lidar", "morro", "Ingest", "S3", "m.yaml", input_path="lidar/morro/",
    tsdat=replace(TSDAT, datastream=OTHER),
)  # fmt: skip
VAP = Config(
    "wind", "humboldt", "VAP", "Cron", "v.yaml", schedule="0 * * * *", window="day",
    tsdat=replace(TSDAT, datastream="humboldt.wind.c1", datastreams=(STREAM,)),
)  # fmt: skip
MANIFEST = Manifest((HUMBOLDT, MORRO, VAP))
NOW = datetime(2023, 1, 1, tzinfo=timezone.utc)


def day(n: int, hour: int = 0) -> datetime:
    return datetime(2022, 4, n, hour, tzinfo=timezone.utc)


def data_key(begin: datetime, stream: str = STREAM) -> str:
    site = stream.split(".")[0]
    return f"storage/root/data/{site}/{stream}/{stream}.{begin:%Y%m%d.%H%M%S}.nc"


def plot_key(begin: datetime, title: str = "wind", stream: str = STREAM) -> str:
    site = stream.split(".")[0]
    return f"storage/root/ancillary/{site}/{stream}/{stream}.{begin:%Y%m%d.%H%M%S}.{title}.png"


class Folder:
    """A folder of outputs with files in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = FolderProductFiles(root)

    def write(self, *keys: str) -> None:
        for key in keys:
            place = self.root / key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"content of {key}")
            os.utime(place, (1_650_000_000, 1_650_000_000))

    def survey(self, ledger, **wish) -> Survey:
        on_record = {product.key for product in ledger.products()}
        return survey(MANIFEST, self.store, on_record, **wish)

    def adopt(self, ledger, *, read=None, raw=None, **wish) -> Adoption:
        adoption = Adoption(MANIFEST, ledger, self.store, read, raw)
        adoption.run(self.survey(ledger, **wish))
        return adoption


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "output")


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request, tmp_path):
    if request.param == "memory":
        yield MemoryLedger()
    else:
        with SqliteLedger(tmp_path / "ledger.db") as ledger:
            yield ledger


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "name", "begin"),
    [
        (DATA, f"{STREAM}.20220405.123456.nc", "2022-04-05T12:34:56"),
        ("{datastream}.{date_time}.{extension}", f"{STREAM}.20220405.123456.nc",
         "2022-04-05T12:34:56"),
        ("{datastream}.{start_date}.{start_time}.{ext}", f"{STREAM}.20220405.123456.nc",
         "2022-04-05T12:34:56"),
        ("{datastream}.{date}.nc", f"{STREAM}.20220405.nc", "2022-04-05T00:00:00"),
        ("{year}/{month}/{day}/{datastream}.{time}.nc", f"2022/04/05/{STREAM}.123456.nc",
         "2022-04-05T12:34:56"),
        ("{location_id}/{year}/{datastream}.{year}{month}.nc", f"humboldt/2022/{STREAM}.202204.nc",
         "2022-04-01T00:00:00"),
        ("{location_id}.{dataset_name}[-{qualifier}].{data_level}.{date_time}.nc",
         f"{STREAM}.20220405.123456.nc", "2022-04-05T12:34:56"),
    ],
)  # fmt: skip
def test_a_name_tells_when_its_file_begins(template, name, begin):
    match = template_pattern(template).match(name)
    assert match is not None
    assert begin_from_name(match.groupdict()) == datetime.fromisoformat(begin + "+00:00")


@pytest.mark.parametrize(
    "name",
    [f"{STREAM}.20220405.nc", f"{STREAM}.20220405.123456.nc.part", "readme.txt",
     f"{STREAM}.20220405.123456.wind.png", f"a/{STREAM}.20220405.123456.nc"],
)  # fmt: skip
def test_other_names_do_not_fit(name):
    assert template_pattern("{datastream}.{date_time}.{extension}").match(name) is None


def test_a_value_that_stands_twice_is_the_same():
    assert template_pattern("{location_id}/{location_id}.x.nc").match("a/a.x.nc")
    assert not template_pattern("{location_id}/{location_id}.x.nc").match("a/b.x.nc")


def test_a_date_that_is_none_is_no_time():
    assert begin_from_name({"date_time": "20221305.000000"}) is None
    assert begin_from_name({"location_id": "x"}) is None


# --- what lies there -------------------------------------------------------------------------


def test_data_and_plots_are_told_apart_and_the_rest_is_told_of(folder, ledger):
    folder.write(data_key(day(1)), plot_key(day(1)), data_key(day(1), OTHER))
    folder.write("storage/root/notes.md", "storage/root/data/humboldt/old/x.nc", "elsewhere/y.nc")
    survey = folder.survey(ledger)
    found = {c.file.key: (c.config, c.kind, c.datastream) for c in survey.candidates}
    assert found == {
        data_key(day(1)): ("lidar/humboldt", "data", STREAM),
        plot_key(day(1)): ("lidar/humboldt", "ancillary", STREAM),
        data_key(day(1), OTHER): ("lidar/morro", "data", OTHER),
    }
    assert survey.unknown == 2
    assert "storage/root/notes.md" in survey.examples


def test_a_file_ends_before_the_next_begins_and_is_as_long_as_most(folder, ledger):
    begins = [day(1), day(2), day(3), day(20)]
    folder.write(*map(data_key, begins))
    folder.adopt(ledger)
    ends = {p.begin: p.end for p in ledger.products()}
    instant = timedelta(microseconds=1)
    assert ends == {begin: begin + timedelta(days=1) - instant for begin in begins}


def test_a_single_file_is_at_least_where_it_begins(folder, ledger):
    folder.write(data_key(day(1, 5)))
    folder.adopt(ledger)
    (product,) = ledger.products()
    assert (product.begin, product.end) == (day(1, 5), day(1, 5))


def test_a_datastream_that_no_config_names_is_left_until_someone_says_whose(folder, ledger):
    folder.write(data_key(day(1), "humboldt.special.b1"), data_key(day(1)))
    survey = folder.survey(ledger)
    assert [c.datastream for c in survey.candidates] == [STREAM]
    (source,) = survey.unclaimed
    assert source.datastream == "humboldt.special.b1"
    assert "lidar/humboldt" in source.configs
    assert not folder.survey(ledger, config="lidar/morro").candidates
    folder.adopt(ledger, config="lidar/morro", datastream="humboldt.special.b1")
    (product,) = ledger.products()
    assert (product.config, product.datastream) == ("lidar/morro", "humboldt.special.b1")


def test_only_what_is_wished(folder, ledger):
    folder.write(data_key(day(1)), data_key(day(1), OTHER))
    folder.adopt(ledger, config="lidar/morro")
    assert [p.config for p in ledger.products()] == ["lidar/morro"]
    assert not folder.survey(ledger, datastream=OTHER).candidates


# --- on record -------------------------------------------------------------------------------


def test_products_are_on_record_as_of_when_they_were_made(folder, ledger):
    folder.write(data_key(day(1)), plot_key(day(1)))
    adoption = folder.adopt(ledger)
    assert adoption.adopted == 2
    (record,) = ledger.records()
    assert record.state == "succeeded"
    assert record.run.adopted
    assert record.finished == datetime.fromtimestamp(1_650_000_000, timezone.utc)
    assert ledger.made_by(record.key) == sorted(record.products, key=lambda p: p.key)
    product = ledger.product(data_key(day(1)))
    outputs = MemoryOutputs(folder.root)
    outputs.fetch(product.ref, folder.root.parent / "copy")
    assert product.made == record.finished


def test_a_second_adoption_does_nothing(folder, ledger):
    folder.write(data_key(day(1)), plot_key(day(1)))
    folder.adopt(ledger)
    before = list(ledger.records())
    survey = folder.survey(ledger)
    assert (survey.candidates, survey.recorded) == ([], 2)
    assert folder.adopt(ledger).adopted == 0
    assert list(ledger.records()) == before


def test_what_is_on_record_is_left_alone(folder, ledger):
    folder.write(data_key(day(1)), data_key(day(2)))
    run = Run("lidar/humboldt", inputs=(Input("lidar/humboldt/a", "1", 1),))
    claim = ledger.claim(run, owner="me", lease=timedelta(hours=1), now=NOW, release="r")
    own = Product(data_key(day(1)), "data", 1, "0" * 64, STREAM, day(1), day(2), run=run.key)
    ledger.finish(replace(claim.record, state="succeeded", finished=NOW, products=(own,)))
    folder.adopt(ledger)
    assert ledger.product(own.key) == own
    assert ledger.product(data_key(day(2))).run != run.key


def test_a_vap_finds_what_was_adopted(folder, ledger):
    folder.write(data_key(day(1)), data_key(day(2)), data_key(day(3)))
    folder.adopt(ledger)
    runs = select(MANIFEST.configs, ScheduleDue("wind/humboldt", NOW), ledger).runs
    assert [run.window.begin for run in runs] == [day(1), day(2), day(3)]
    assert [ref.key for ref in runs[1].products] == [data_key(day(2)), data_key(day(3))]


def test_an_adoption_that_dies_goes_on(folder, ledger, monkeypatch):
    monkeypatch.setattr(recording, "BATCH", 4)
    keys = [key for n in range(1, 11) for key in (data_key(day(n)), plot_key(day(n)))]
    folder.write(*keys)
    finish, calls = ledger.finish, []

    def dying(record):
        calls.append(record)
        if len(calls) == 3:
            raise KeyboardInterrupt
        finish(record)

    monkeypatch.setattr(ledger, "finish", dying)
    with pytest.raises(KeyboardInterrupt):
        folder.adopt(ledger)
    monkeypatch.setattr(ledger, "finish", finish)
    assert len(list(ledger.products())) == 8
    assert len(list(ledger.records(states=("running",)))) == 1
    assert folder.adopt(ledger).adopted == 12
    assert {product.key for product in ledger.products()} == set(keys)
    assert not list(ledger.records(states=("running", "superseded")))


def test_a_real_run_replaces_what_was_adopted_without_a_warning(folder, ledger, tmp_path):
    folder.write(data_key(day(1)))
    folder.adopt(ledger)
    run = Run("lidar/humboldt", inputs=(Input("lidar/humboldt/a", "1", 1),))
    claim = ledger.claim(run, owner="me", lease=timedelta(hours=1), now=NOW, release="r")
    target = Target(MemoryInputs(), MemoryOutputs(folder.root), ledger)
    made = tmp_path / "work" / STORE / data_key(day(1))
    made.parent.mkdir(parents=True)
    made.write_text("new")
    new = Product(data_key(day(1)), "data", 3, "1" * 64, STREAM, day(1), day(1, 23))
    record = publish(target, claim.record, [new], tmp_path / "work", NOW)
    ledger.finish(replace(record, state="succeeded", finished=NOW))
    assert record.warnings == ()
    assert ledger.product(new.key).run == run.key


def test_nobody_carries_an_adopted_run_out(folder, ledger):
    folder.write(data_key(day(1)))
    folder.adopt(ledger)
    cron = Config("lidar", "humboldt", "Ingest", "Cron", "h.yaml", inputs=("x",))
    assert to_reprocess(Scope(cron), ledger, "", list, NOW) == []


# --- read ------------------------------------------------------------------------------------


def reading(**inputs: tuple[str, ...]):
    """Stands in for a worker: files by the day they begin, and what they were made from."""

    def read(path: Path) -> Summary | None:
        stamp = path.name.split(".")[3]
        if stamp not in inputs and f"d{stamp}" not in inputs:
            return None
        begin = datetime.strptime(stamp, "%Y%m%d").replace(hour=1, tzinfo=timezone.utc)
        stream = ".".join(path.name.split(".")[:3])
        end = begin + timedelta(hours=5)
        return Summary(stream, begin, end, {"time": 6}, inputs=inputs[f"d{stamp}"])

    return read


def raw(*files: str) -> RawFiles:
    found = [Input(key, f"version of {key}", 1) for key in files]
    return RawFiles(
        MANIFEST, lambda config: [f for f in found if f.key.startswith(config.input_path)]
    )


def test_what_is_read_has_its_true_times(folder, ledger):
    folder.write(data_key(day(1)), plot_key(day(1)), data_key(day(2)))
    adoption = folder.adopt(ledger, read=reading(d20220401=()))
    product = ledger.product(data_key(day(1)))
    assert (product.begin, product.end) == (day(1, 1), day(1, 6))
    assert product.dimensions == {"time": 6}
    assert ledger.product(plot_key(day(1))).end == day(1, 6)
    assert adoption.unread == [data_key(day(2))]


class Remote(FolderProductFiles):
    """A folder from which copies come only when four are asked for at the same time."""

    four = threading.Barrier(4, timeout=60)

    @contextmanager
    def copy(self, found):
        self.four.wait()
        with super().copy(found) as path:
            yield path


def test_several_files_are_fetched_at_once_and_opened_one_by_one(folder, ledger):
    folder.store = Remote(folder.root)
    folder.write(*(data_key(day(n)) for n in range(1, 9)))
    one = threading.Lock()

    def read(path):
        assert one.acquire(blocking=False)  # there is one worker, for all files
        time.sleep(0.01)
        one.release()
        return reading(**{f"d{path.name.split('.')[3]}": ()})(path)

    told = []
    adoption = Adoption(MANIFEST, ledger, folder.store, read, advance=told.append)
    adoption.run(folder.survey(ledger))
    assert (adoption.adopted, adoption.unread, sum(told)) == (8, [], 8)
    assert {p.dimensions["time"] for p in ledger.products()} == {6}


def test_a_file_that_cannot_be_fetched_ends_it_and_the_next_adoption_goes_on(folder, ledger):
    class Broken(FolderProductFiles):
        def copy(self, found):
            if found.key == data_key(day(5)):
                raise StorageError("S3 cannot be reached")
            return super().copy(found)

    folder.write(*(data_key(day(n)) for n in range(1, 9)))
    named = {f"d2022040{n}": () for n in range(1, 9)}
    folder.store = Broken(folder.root)
    with pytest.raises(StorageError, match="cannot be reached"):
        folder.adopt(ledger, read=reading(**named))
    folder.store = FolderProductFiles(folder.root)
    folder.adopt(ledger, read=reading(**named))
    assert len(list(ledger.products())) == 8


def test_raw_files_that_products_name_count_as_done(folder, ledger):
    folder.write(data_key(day(1)), plot_key(day(1)), data_key(day(2)), data_key(day(3)))
    named = {
        "d20220401": ("/somewhere/lidar/humboldt/a.sta",),
        "d20220402": ("/tmp/xyz/b.sta",),
        "d20220403": ("s3://bucket/lidar/humboldt/gone.sta",),
    }
    files = raw("lidar/humboldt/a.sta", "lidar/humboldt/x/b.sta", "lidar/humboldt/new.sta")
    adoption = folder.adopt(ledger, read=reading(**named), raw=files)
    assert adoption.matched == {
        ("lidar/humboldt", "lidar/humboldt/a.sta"), ("lidar/humboldt", "lidar/humboldt/x/b.sta")
    }  # fmt: skip
    known = files._files(HUMBOLDT)
    left = [
        file.key for file in known if select(MANIFEST.configs, FileArrived(file, NOW), ledger).runs
    ]
    assert left == ["lidar/humboldt/new.sta"]
    assert [file.key for file in ledger.untaken("lidar/humboldt", known)] == left
    (record,) = ledger.about("lidar/humboldt", "lidar/humboldt/a.sta")
    assert {product.key for product in record.products} == {data_key(day(1)), plot_key(day(1))}


def test_one_raw_file_may_have_products_of_several_times(folder, ledger, monkeypatch):
    monkeypatch.setattr(recording, "BATCH", 1)
    folder.write(data_key(day(1)), data_key(day(2)))
    named = dict.fromkeys(("d20220401", "d20220402"), ("lidar/humboldt/a.sta",))
    folder.adopt(ledger, read=reading(**named), raw=raw("lidar/humboldt/a.sta"))
    (record,) = ledger.about("lidar/humboldt", "lidar/humboldt/a.sta")
    assert {product.key for product in record.products} == {data_key(day(1)), data_key(day(2))}
    assert {product.run for product in ledger.products()} == {record.key}


def test_a_name_that_several_raw_files_have_names_none(folder, ledger):
    folder.write(data_key(day(1)))
    files = raw("lidar/humboldt/x/a.sta", "lidar/humboldt/y/a.sta")
    adoption = folder.adopt(ledger, read=reading(d20220401=("a.sta",)), raw=files)
    assert adoption.matched == set()
    assert adoption.adopted == 1


def test_raw_files_are_taken_when_someone_says_so(ledger, folder):
    files = [Input(f"lidar/humboldt/{n}", "1", 1) for n in range(3)]
    adoption = Adoption(MANIFEST, ledger, folder.store)
    assert adoption.count_as_done(HUMBOLDT, files) == 3
    assert adoption.count_as_done(HUMBOLDT, files) == 0
    assert ledger.untaken(HUMBOLDT.id, files) == []
    event = FileArrived(files[0], NOW)
    assert select(MANIFEST.configs, event, ledger).runs == ()
    changed = FileArrived(replace(files[0], version="2"), NOW)
    assert len(select(MANIFEST.configs, changed, ledger).runs) == 1
