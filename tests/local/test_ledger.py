"""The SQLite ledger beyond the contract: its file, several processes, damage, query plans."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tidegate.errors import LedgerError, StorageError
from tidegate.runtime.records import dumps
from tidegate.runtime.runs import Input, Product, Run, RunRecord, State, Window
from tidegate.targets.local.ledger import SeenFile, SqliteLedger, changes, products, runs, schema
from tidegate.targets.local.queue import SqliteQueue

T0 = datetime(2022, 4, 5, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
CONFIG = "lidar/humboldt"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".tidegate" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    with SqliteLedger(path) as ledger:
        yield ledger


def ingest(name: str = "a", version: str = "1", config: str = CONFIG) -> Run:
    return Run(config, inputs=(Input(name, version, 1),))


def carry_out(
    ledger: SqliteLedger,
    run: Run,
    state: State = "succeeded",
    *,
    now: datetime = T0,
    took: float = 2.0,
    products: tuple[Product, ...] = (),
) -> RunRecord:
    claim = ledger.claim(run, owner="me", lease=HOUR, now=now, release="")
    assert claim.record is not None
    made = tuple(replace(p, run=run.key) for p in products)
    end = now + timedelta(seconds=took)
    ended = replace(claim.record, state=state, finished=end, products=made)
    ledger.finish(ended)
    return ended


def data(key: str, begin: datetime = T0, length: timedelta = HOUR) -> Product:
    return Product(key, "data", 1, "f", datastream="s", begin=begin, end=begin + length)


# The file.


def test_what_was_written_is_there_after_opening_again(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        record = carry_out(ledger, ingest(), products=(data("p"),))
    with SqliteLedger(path) as ledger:
        assert ledger.record(record.key) == record
        assert ledger.product("p") == record.products[0]
    assert os.listdir(path.parent) == ["ledger.db"]


def test_settings(ledger: SqliteLedger, path: Path) -> None:
    with ledger.database.writing() as db:
        told = [
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert told == ["wal", 1, 1, 60_000]
    with pytest.raises(LedgerError), ledger.database.reading() as db:
        db.execute("DELETE FROM runs")


def test_a_ledger_of_version_1_is_migrated(path: Path) -> None:
    old = RunRecord(ingest(), "succeeded", 1, T0, owner="me", finished=T0 + 3 * HOUR)
    running = RunRecord(ingest("b"), "running", 1, T0 + HOUR, owner="me")
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
        for n, record in enumerate((old, running), start=1):
            db.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, 'me', 1, ?, NULL, ?)",
                (n, record.key, CONFIG, record.state, _micros(record.started), dumps(record)),
            )
            db.execute(
                "INSERT INTO subjects VALUES (?, ?, '1', 1, ?)",
                (CONFIG, record.run.inputs[0].key, n),
            )
        db.commit()
    with SqliteLedger(path) as ledger:
        assert list(ledger.records()) == [running, old]
        assert (
            ledger.history.average_seconds(CONFIG) == 3 * 3600
        )  # a column that version 1 did not have
        assert ledger.untaken(CONFIG, old.run.inputs) == []
        assert SqliteQueue(ledger).put([ingest("c")], T0) == 1
        carry_out(ledger, ingest("c"))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
        migrated = _schema(db)
    fresh = path.with_name("fresh.db")
    SqliteLedger(fresh).close()
    with closing(sqlite3.connect(fresh)) as db:
        assert _schema(db) == migrated


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteLedger(path) as ledger:
        record = carry_out(ledger, ingest())

    def broken(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (x)")
        db.execute("DROP TABLE runs")
        db.execute("nonsense")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        with pytest.raises(LedgerError):
            SqliteLedger(path)
    with SqliteLedger(path) as ledger:
        assert ledger.record(record.key) == record


def test_a_newer_ledger_is_refused(path: Path) -> None:
    SqliteLedger(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="upgrade Tidegate"):
        SqliteLedger(path)
    assert path.read_bytes() == before


def _filled(path: Path) -> bytes:
    with SqliteLedger(path) as ledger:
        for n in range(300):
            carry_out(ledger, ingest(f"f{n}"), products=(data(f"p{n}"),))
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["noise", "short noise", "text", "truncated", "empty", "header"])
def test_a_damaged_file_is_told_and_left(path: Path, damage: str) -> None:
    whole = _filled(path)
    content = {
        "noise": os.urandom(50_000),
        "short noise": os.urandom(50),
        "text": b"this is no ledger\n" * 1000,
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "header": b"\0" * 100 + whole[100:],
    }[damage]
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="ledger") as caught:
        SqliteLedger(path)
    assert "moved" in str(caught.value) or "move it away" in str(caught.value)
    assert path.read_bytes() == content


def test_damage_that_shows_up_later_is_told(path: Path) -> None:
    whole = bytearray(_filled(path))
    whole[8192:] = os.urandom(len(whole) - 8192)
    path.write_bytes(whole)
    with pytest.raises(LedgerError, match="damaged"), SqliteLedger(path) as ledger:
        list(ledger.records())
    with pytest.raises(LedgerError, match="damaged"), SqliteLedger(path) as ledger:
        [carry_out(ledger, ingest(f"new{n}")) for n in range(300)]


def test_an_entry_that_is_no_record_is_told(ledger: SqliteLedger) -> None:
    record = carry_out(ledger, ingest())
    with ledger.database.writing() as db:
        db.execute("UPDATE runs SET record = '{}'")
    with pytest.raises(LedgerError, match="not a RunRecord"):
        ledger.record(record.key)
    with pytest.raises(LedgerError, match="not a RunRecord"):
        ledger.claim(record.run, owner="me", lease=HOUR, now=T0, release="")


def test_other_things_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(LedgerError, match="folder"):
        SqliteLedger(path)
    path.rmdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(LedgerError, match="not a ledger of Tidegate"):
        SqliteLedger(path)
    path.unlink()
    path.symlink_to(path.parent / "none" / "ledger.db")
    with pytest.raises(LedgerError, match="cannot be opened"):
        SqliteLedger(path)


def test_a_log_without_its_ledger_is_not_replayed_into_a_new_one(path: Path) -> None:
    path.parent.mkdir()
    log = path.with_name("ledger.db-wal")
    log.write_bytes(b"old")
    with pytest.raises(LedgerError, match=r"move ledger\.db-wal away"):
        SqliteLedger(path)
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_an_unreadable_file_is_told(path: Path) -> None:
    SqliteLedger(path).close()
    path.chmod(0)
    with pytest.raises(LedgerError, match="cannot be opened"):
        SqliteLedger(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot make the ledger"):
        SqliteLedger(tmp_path / "file" / "ledger.db")


def test_using_it_after_close_is_our_own_error(path: Path) -> None:
    ledger = SqliteLedger(path)
    ledger.record("x")
    ledger.close()
    with pytest.raises(sqlite3.ProgrammingError):
        ledger.record("x")
    with pytest.raises(sqlite3.ProgrammingError):
        ledger.set_state("a", "b")
    ledger.close()


# A full disk.


def test_a_full_disk_is_told_and_nothing_is_half_done(ledger: SqliteLedger, path: Path) -> None:
    kept = carry_out(ledger, ingest("kept"), products=(data("p"),))
    with ledger.database.writing() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 4}")
    run = ingest("big")
    claim = ledger.claim(run, owner="me", lease=HOUR, now=T0, release="")
    assert claim.record is not None
    many = tuple(replace(data(f"many/{n}"), run=run.key) for n in range(1000))
    with pytest.raises(StorageError, match="full"):
        ledger.finish(replace(claim.record, state="succeeded", products=(*many, data("p"))))
    assert ledger.record(run.key) == claim.record
    assert [p.key for p in ledger.products()] == ["p"]
    assert ledger.product("p") == kept.products[0]
    with ledger.database.writing() as db:
        db.execute("PRAGMA max_page_count = 100000")
    ledger.finish(replace(claim.record, state="succeeded", products=many))
    assert len(list(ledger.products())) == 1001


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    path = small_disk / "ledger.db"
    with SqliteLedger(path) as ledger:
        written = 0

        def write() -> None:
            nonlocal written
            while True:
                carry_out(ledger, ingest(f"f{written}"), products=(data(f"p{written}"),))
                written += 1

        with pytest.raises(StorageError, match="cannot be written"):
            write()
        assert sum(1 for _ in ledger.records(states=("succeeded",))) == written
        assert sum(1 for _ in ledger.products()) == written
        (small_disk / "ballast").unlink()
        carry_out(ledger, ingest("one more"), products=(data("one more"),))
    with SqliteLedger(path) as ledger, ledger.database.reading() as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# Threads and processes.

WORK = """
import sys
from datetime import datetime, timedelta, timezone
from dataclasses import replace
from pathlib import Path
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.runtime.runs import Input, Product, Run
now = datetime.now(timezone.utc)
granted = 0
with SqliteLedger(Path(sys.argv[1])) as ledger:
    for n in range(int(sys.argv[3])):
        run = Run("c", inputs=(Input(f"f{n}", "1", 1),))
        claim = ledger.claim(run, owner=sys.argv[2], lease=timedelta(hours=1), now=now, release="")
        if claim.granted:
            granted += 1
            product = Product(f"p{n}", "data", 1, "f", datastream="s", begin=now, end=now)
            ledger.intend(run.key, owner=sys.argv[2], attempt=1, products=[product.key])
            ledger.finish(replace(claim.record, state="succeeded", products=(product,)))
        list(ledger.records(limit=5))
print(granted)
"""


@pytest.mark.functional
def test_several_processes_make_and_use_one_ledger(path: Path) -> None:
    count = 150
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(path), f"owner{n}", str(count)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum(int(answer) for answer in answers) == count
    with SqliteLedger(path) as ledger:
        assert ledger.counts() == {"c": {"succeeded": count}}
        assert sum(1 for _ in ledger.products()) == count


@pytest.mark.functional
def test_a_process_that_dies_in_a_transaction_holds_nobody_up(path: Path) -> None:
    SqliteLedger(path).close()
    code = """
import os, signal, sys
from pathlib import Path
from tidegate.targets.local.ledger import SqliteLedger
ledger = SqliteLedger(Path(sys.argv[1]))
with ledger.database.writing() as db:
    db.execute("INSERT INTO state VALUES ('half', 'done')")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    with SqliteLedger(path) as ledger:
        began = time.monotonic()
        assert ledger.state("half") is None
        ledger.set_state("half", "whole")
        assert time.monotonic() - began < 5


def test_version_tells_that_another_one_wrote(ledger: SqliteLedger, path: Path) -> None:
    before = ledger.database.version()
    ledger.set_state("a", "1")
    ledger.record("x")
    assert ledger.database.version() == before
    with SqliteLedger(path) as other:
        assert ledger.database.version() == before
        other.set_state("a", "2")
        assert ledger.database.version() != before


def test_iterators_hold_nothing_open(ledger: SqliteLedger) -> None:
    """A consumer may write, ask and stop in the middle, and see what was written meanwhile."""
    for n in range(450):
        carry_out(ledger, ingest(f"{n}"), now=T0 + n * HOUR)
    records = ledger.records()
    first = next(records)
    run = Run(CONFIG, inputs=first.run.inputs, again=True)
    carry_out(ledger, run, "failed", now=T0 + 999 * HOUR)
    assert ledger.states([run.key]) == {run.key: "failed"}
    assert sum(1 for _ in records) == 449
    threads = [threading.Thread(target=lambda: list(ledger.records())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.database._idle) <= 9


# What a service needs.


def test_abandon_ends_leases(ledger: SqliteLedger) -> None:
    for n, owner in enumerate(["svc-1", "svc-1", "cli"]):
        ledger.claim(ingest(f"{n}"), owner=owner, lease=HOUR, now=T0, release="")
    assert ledger.abandon("svc") == 2
    assert ledger.abandon("svc") == 0

    def granted(name: str) -> bool:
        return ledger.claim(ingest(name), owner="x", lease=HOUR, now=T0, release="").granted

    assert (granted("0"), granted("2")) == (True, False)
    assert ledger.abandon() == 2
    assert granted("2")


def test_counts_and_average(ledger: SqliteLedger) -> None:
    assert ledger.counts() == {}
    assert ledger.history.average_seconds(CONFIG) is None
    for n in range(4):
        carry_out(ledger, ingest(f"{n}"), now=T0 + n * HOUR, took=n)
    carry_out(ledger, ingest("bad"), "failed", took=1000)
    carry_out(ledger, ingest("x", config="x/y"), "empty")
    assert ledger.counts() == {CONFIG: {"succeeded": 4, "failed": 1}, "x/y": {"empty": 1}}
    assert ledger.history.average_seconds(CONFIG) == 1.5
    assert ledger.history.average_seconds(CONFIG, latest=2) == 2.5


def seen(key: str, n: int = 1) -> SeenFile:
    return SeenFile(key, n, n * 10**9, n * 10**9 + 1, 2**63 - 1, f"{n:064x}")


def test_seen_files(ledger: SqliteLedger) -> None:
    names = ["a/x", "a/é", "a/\udcff", "ab", "b/x", "\udcff/y", "a/\U0010ffff"]
    ledger.seen_files.add(seen(name) for name in names)
    ledger.seen_files.add([seen("b/x", 2)])
    assert {row.key for row in ledger.seen_files.below()} == set(names)
    assert {row.key for row in ledger.seen_files.below("a/")} == {
        "a/x",
        "a/é",
        "a/\udcff",
        "a/\U0010ffff",
    }
    assert list(ledger.seen_files.below("b/")) == [seen("b/x", 2)]
    assert list(ledger.seen_files.below("\udcff/")) == [seen("\udcff/y")]
    assert list(ledger.seen_files.below("c")) == []
    assert ledger.seen_files.at(["a/\udcff", "none"]) == {"a/\udcff": seen("a/\udcff")}
    ledger.seen_files.forget(["a/\udcff", "none", "ab"])
    assert ledger.seen_files.at(["a/\udcff", "ab"]) == {}
    ledger.seen_files.add(seen(f"many/{n:04}") for n in range(2500))
    assert [row.key for row in ledger.seen_files.below("many/")] == [
        f"many/{n:04}" for n in range(2500)
    ]


def test_prune_keeps_what_is_referred_to_and_what_is_latest(ledger: SqliteLedger) -> None:
    window = Window(T0, T0 + HOUR)
    old = carry_out(ledger, ingest("a", "1"))
    latest = carry_out(ledger, ingest("a", "2"), "empty", now=T0 + HOUR)
    failed = carry_out(ledger, ingest("b", "1"), "failed")
    with_product = carry_out(ledger, ingest("c", "1"), products=(data("p"),))
    carry_out(ledger, ingest("c", "2"), now=T0 + HOUR)
    vap = carry_out(ledger, Run("v", window=window, products=(data("p").ref,)))
    carry_out(ledger, Run("v", window=window), now=T0 + HOUR)
    recent = carry_out(ledger, ingest("d", "1"), now=T0 + 50 * HOUR)
    carry_out(ledger, ingest("d", "2"), now=T0 + 51 * HOUR)
    both = Run(CONFIG, inputs=(Input("a", "0", 1), Input("alone", "0", 1)))
    carry_out(ledger, both)
    assert ledger.prune(T0 + 10 * HOUR) == 2
    assert ledger.prune(T0 + 10 * HOUR) == 0
    assert ledger.record(old.key) is None
    assert ledger.record(vap.key) is None
    assert ledger.untaken(CONFIG, old.run.inputs) == list(old.run.inputs)
    for record in (latest, failed, with_product, recent):
        assert ledger.record(record.key) == record
    assert ledger.record(both.key) is not None


# Plans: what a query costs as the history grows.


def plan(ledger: SqliteLedger, statement: str, given: Any) -> str:
    with ledger.database.reading() as db:
        rows = db.execute(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()
    return "\n".join(row[3] for row in rows)


def without_scans(steps: str) -> bool:
    return not any(
        step.startswith("SCAN")
        and "scales" not in step
        and "asked" not in step
        and "CONSTANT" not in step
        for step in steps.splitlines()
    )


@pytest.mark.parametrize("config", [None, CONFIG])
@pytest.mark.parametrize("states", [(), ("failed",), ("failed", "succeeded")])
def test_records_follow_an_index_in_order(
    ledger: SqliteLedger, config: str | None, states: tuple[State, ...]
) -> None:
    statement, given = runs.records_statement(config, states, "")
    steps = plan(ledger, statement, {**given, "since": 0, "started": 0, "key": "", "page": 1})
    assert without_scans(steps)
    assert "TEMP B-TREE" not in steps
    times = "started>? AND (started,key)<"
    assert (f"runs_by_config (config=? AND state=? AND {times}" in steps) == (config is not None)
    assert (f"runs_by_state (state=? AND {times}" in steps) == (config is None)


def test_a_prefix_follows_the_index_of_keys(ledger: SqliteLedger) -> None:
    statement, given = runs.records_statement(CONFIG, ("failed",), "ab")
    steps = plan(ledger, statement, {**given, "since": 0, "started": 0, "key": "", "page": 1})
    assert "(key>? AND key<?)" in steps


def test_overlapping_seeks_once_a_scale(ledger: SqliteLedger) -> None:
    steps = plan(ledger, products.OVERLAPPING, {"datastream": "s", "begin": 0, "end": 1})
    wanted = "SEARCH products USING INDEX products_by_time"
    assert f"{wanted} (datastream=? AND kind=? AND scale=? AND begin>? AND begin<?)" in steps
    assert without_scans(steps)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"datastream": "s"}, "products_by_datastream (datastream=? AND key>?)"),
        ({"config": "c"}, "products_by_config (config=? AND key>?)"),
        ({"datastream": "s", "begin": T0}, "products_by_time (datastream=? AND kind=?"),
        ({}, "sqlite_autoindex_products_1 (key>?)"),
    ],
)
def test_products_follow_an_index(
    ledger: SqliteLedger, query: dict[str, object], index: str
) -> None:
    asked = {"datastream": None, "config": None, "begin": None, "end": None, **query}
    statement, given = products.products_statement(**asked)  # type: ignore[arg-type]
    steps = plan(ledger, statement, {**given, "after": -1, "page": 1})
    assert index in steps
    assert without_scans(steps)


def test_look_ups_follow_an_index(ledger: SqliteLedger) -> None:
    asked = "(0,?,?,?),(1,?,?,?)"
    untaken = plan(ledger, runs.UNTAKEN.format(asked=asked), ["x"] * 7)
    assert (
        "SEARCH subjects USING PRIMARY KEY (config=? AND subject=? AND version=? AND size=?)"
        in untaken
    )
    about = plan(ledger, runs.ABOUT, ("c", "s"))
    assert "SEARCH subjects USING PRIMARY KEY (config=? AND subject=?)" in about
    changed = plan(ledger, changes.CHANGES, ("s", 0))
    assert "changes_by_datastream (datastream=? AND id>?)" in changed
    assert all(without_scans(steps) for steps in (untaken, about, changed))


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**6


def _schema(db: sqlite3.Connection) -> set[tuple[str, str]]:
    """What there is, and its columns; the order of a table's columns may differ."""
    found = set()
    for kind, name in db.execute("SELECT type, name FROM sqlite_master").fetchall():
        columns = db.execute(f"PRAGMA {kind}_info({name})").fetchall()
        found |= {(name, column[1] if kind == "table" else column[2]) for column in columns}
    return found


VERSION_1 = f"""
PRAGMA application_id = {schema.APPLICATION_ID};
PRAGMA user_version = 1;
CREATE TABLE runs (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, config TEXT NOT NULL,
    state TEXT NOT NULL, owner TEXT NOT NULL, attempt INTEGER NOT NULL, started INTEGER NOT NULL,
    lease INTEGER, record TEXT NOT NULL);
CREATE INDEX runs_by_state ON runs (state, started, key);
CREATE INDEX runs_by_config ON runs (config, state, started, key);
CREATE TABLE subjects (config TEXT NOT NULL, subject NOT NULL, version NOT NULL,
    size INTEGER NOT NULL, run INTEGER NOT NULL,
    PRIMARY KEY (config, subject, version, size, run)) WITHOUT ROWID;
CREATE TABLE products (key NOT NULL PRIMARY KEY, kind TEXT NOT NULL, datastream NOT NULL,
    config TEXT NOT NULL, run TEXT NOT NULL, scale INTEGER, "begin" INTEGER, "end" INTEGER,
    product TEXT NOT NULL);
CREATE INDEX products_by_datastream ON products (datastream, key);
CREATE INDEX products_by_config ON products (config, key);
CREATE INDEX products_by_run ON products (run, key);
CREATE INDEX products_by_time ON products (datastream, kind, scale, "begin");
CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, datastream NOT NULL,
    "begin" INTEGER NOT NULL, "end" INTEGER NOT NULL);
CREATE INDEX changes_by_datastream ON changes (datastream, id);
CREATE TABLE state (name NOT NULL PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
"""
