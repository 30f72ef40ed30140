"""The ledger of a workspace: one SQLite file that many threads and several processes share.

Each process has one connection that writes, behind a lock, and a few that read. Every change is one
``BEGIN IMMEDIATE`` transaction, so what two owners do at once is done one after the other; readers
never wait for writers (WAL). Nothing is held in memory but pages of a bounded cache, and no cursor
stays open between two steps of an iterator: a slow consumer holds nobody up.

Do not use one across a ``fork``: SQLite connections do not survive it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from tidegate.errors import LedgerError, StorageError, TidegateError
from tidegate.runtime.ledger_rules import decide_claim, ended
from tidegate.runtime.protocols import Claim, ClaimLost, Span
from tidegate.runtime.records import dumps, loads
from tidegate.runtime.runs import (
    ADOPTER,
    FINISHED,
    SETTLED,
    Input,
    Product,
    Run,
    RunRecord,
    State,
)

T = TypeVar("T")

APPLICATION_ID = 0x54494445
"""``TIDE``: tells a ledger from any other SQLite file."""

BUSY_SECONDS = 60.0
"""How long one process waits for another one's transaction."""

_STATES: tuple[State, ...] = get_args(State)
_PAGE = 200
_BATCH = 300  # rows a statement; three variables each stay below SQLite's old limit of 999
_AFTER_ALL = 1 << 62
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

_SCALE_BITS = 3
_SCALES = 21
"""Products are indexed by the scale of their length, powers of eight in microseconds, up to
8**20, which is more than all of datetime's range. To find what overlaps a window, each scale needs
a look back by its own length only; so one product that covers a year costs one step, where a
common look-back by the longest would make every query read a year."""

_VERSION_1 = (
    """
    CREATE TABLE runs (
        id      INTEGER PRIMARY KEY,
        key     TEXT    NOT NULL UNIQUE,
        config  TEXT    NOT NULL,
        state   TEXT    NOT NULL,
        owner   TEXT    NOT NULL,
        attempt INTEGER NOT NULL,
        started INTEGER NOT NULL,  -- times are microseconds since 1970, UTC
        lease   INTEGER,           -- until when a running one is its owner's
        record  TEXT    NOT NULL   -- the RunRecord as canonical JSON
    )
    """,
    "CREATE INDEX runs_by_state ON runs (state, started, key)",
    "CREATE INDEX runs_by_config ON runs (config, state, started, key)",
    """
    CREATE TABLE subjects (
        config  TEXT    NOT NULL,
        subject         NOT NULL,
        version         NOT NULL,
        size    INTEGER NOT NULL,  -- -1 when the subject is not a file
        run     INTEGER NOT NULL,  -- runs.id
        PRIMARY KEY (config, subject, version, size, run)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE products (
        key                NOT NULL PRIMARY KEY,
        kind       TEXT    NOT NULL,
        datastream         NOT NULL,
        config     TEXT    NOT NULL,
        run        TEXT    NOT NULL,
        scale      INTEGER,        -- NULL when it has no times
        "begin"    INTEGER,
        "end"      INTEGER,
        product    TEXT    NOT NULL
    )
    """,
    "CREATE INDEX products_by_datastream ON products (datastream, key)",
    "CREATE INDEX products_by_config ON products (config, key)",
    "CREATE INDEX products_by_run ON products (run, key)",
    """CREATE INDEX products_by_time ON products (datastream, kind, scale, "begin")""",
    """
    CREATE TABLE changes (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        datastream         NOT NULL,
        "begin"    INTEGER NOT NULL,
        "end"      INTEGER NOT NULL
    )
    """,
    "CREATE INDEX changes_by_datastream ON changes (datastream, id)",
    "CREATE TABLE state (name NOT NULL PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
)

_VERSION_2 = (
    "ALTER TABLE runs ADD COLUMN finished INTEGER",
    """
    CREATE TABLE queue (
        seq        INTEGER PRIMARY KEY AUTOINCREMENT,
        key        TEXT    NOT NULL,
        config     TEXT    NOT NULL,
        priority   INTEGER NOT NULL,
        not_before INTEGER NOT NULL,
        asked      INTEGER NOT NULL,  -- when it was queued or postponed, by the clock of then
        again      INTEGER NOT NULL,
        taken      INTEGER NOT NULL,
        run        TEXT    NOT NULL   -- the Run as canonical JSON
    )
    """,
    "CREATE UNIQUE INDEX queue_by_key ON queue (key, taken)",
    "CREATE INDEX queue_by_turn ON queue (taken, config, priority, not_before, seq)",
    "CREATE INDEX queue_by_time ON queue (taken, not_before)",
    "CREATE INDEX queue_by_asked ON queue (asked)",
    """
    CREATE TABLE queue_subjects (
        config  TEXT    NOT NULL,
        subject         NOT NULL,
        seq     INTEGER NOT NULL REFERENCES queue (seq) ON DELETE CASCADE,
        PRIMARY KEY (config, subject, seq)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX queue_subjects_by_seq ON queue_subjects (seq)",
    """
    CREATE TABLE seen (
        key              NOT NULL PRIMARY KEY,
        size     INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        inode    INTEGER NOT NULL,
        sha256   BLOB    NOT NULL
    ) WITHOUT ROWID
    """,
)


def _to_version_1(db: sqlite3.Connection) -> None:
    for statement in _VERSION_1:
        db.execute(statement)


def _to_version_2(db: sqlite3.Connection) -> None:
    for statement in _VERSION_2:
        db.execute(statement)
    last = 0
    while rows := db.execute(
        "SELECT id, record FROM runs WHERE id > ? ORDER BY id LIMIT ?", (last, _PAGE)
    ).fetchall():
        finished = [(_micros(loads(RunRecord, text).finished), id) for id, text in rows]
        db.executemany("UPDATE runs SET finished = ? WHERE id = ?", finished)
        last = rows[-1][0]


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_to_version_1, _to_version_2)
"""Step n makes version n of version n - 1, in one transaction; a released step never changes."""


class Seen(NamedTuple):
    """A raw file whose content was hashed, and what its inode said of it then."""

    key: str
    """Its path below the inputs' root."""
    size: int
    """Bytes."""
    mtime_ns: int
    """When its content was last written."""
    ctime_ns: int
    """When its inode last changed."""
    inode: int
    """Which inode it was."""
    sha256: str
    """Of its content, in hexadecimal."""


class SqliteLedger:
    """``runtime.protocols.Ledger`` in one SQLite file; made when it is not there.

    Raises:
        LedgerError: the file is not a ledger, is damaged, is of a newer Tidegate, or cannot be
            opened or written. It is left as it is.
        StorageError: a passing reason, such as a full disk; the ledger stays consistent, and what
            was asked for was not done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._idle_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        _create_if_missing(path)
        with self._explained():
            self._writer = self._connect()
            try:
                self._migrate()
            except BaseException:
                self._writer.close()
                raise

    def close(self) -> None:
        """Close all connections; the last process to do so folds the log into the file."""
        with self._lock, self._idle_lock:
            self._closed = True
            for db in (*self._idle, self._writer):
                db.close()
            self._idle.clear()

    def __enter__(self) -> SqliteLedger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Connections and transactions: for this module and its siblings.

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that may write: all of it is kept, or nothing."""
        with self._lock, self._explained():
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads; fetch all of a statement's rows before giving it back."""
        with self._explained():
            db = self._take_idle()
            try:
                yield db
            except BaseException:
                db.close()
                raise
            self._put_back(db)

    def _take_idle(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the ledger is closed")
            if self._idle:
                return self._idle.pop()
        db = self._connect()
        db.execute("PRAGMA query_only = 1")
        return db

    def _put_back(self, db: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._closed:
                self._idle.append(db)
                return
        db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = 1")
            db.execute("PRAGMA journal_size_limit = 16777216")
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):  # ours to mend, not the file's
            raise
        except sqlite3.Error as error:
            raise _explain(self.path, error) from error

    def _migrate(self) -> None:
        db = self._writer
        if _pragma(db, "application_id") != APPLICATION_ID:
            raise LedgerError(
                f"{self.path} is a database, but not a ledger of Tidegate's",
                next="it is left as it is; move it away, or start in another folder",
            )
        if _pragma(db, "user_version") < len(MIGRATIONS):
            with self.writing():
                _apply_migrations(db)
        version = _pragma(db, "user_version")
        if version > len(MIGRATIONS):
            raise LedgerError(
                f"{self.path} was written by a newer Tidegate",
                why=f"it is of schema version {version}; this one knows up to {len(MIGRATIONS)}",
                next="upgrade Tidegate; the ledger is left as it is",
            )

    # The contract: claims.

    def claim(
        self, run: Run, *, owner: str, lease: timedelta, now: datetime, release: str
    ) -> Claim:
        key = run.key
        with self.writing() as db:
            row = db.execute("SELECT id, record, lease FROM runs WHERE key = ?", (key,)).fetchone()
            id, text, until = row or (None, None, None)
            before = None if text is None else self._load(RunRecord, text)
            claim = decide_claim(run, before, _moment(until), owner=owner, now=now, release=release)
            if claim.granted and claim.record is not None:
                _write_record(db, id, key, claim.record, lease=now + lease)
            return claim

    def intend(self, key: str, *, owner: str, attempt: int, products: Sequence[str]) -> None:
        with self.writing() as db:
            id, record = self._own(db, key, owner, attempt)
            both = tuple(dict.fromkeys((*record.publishing, *products)))
            text = dumps(replace(record, publishing=both))
            db.execute("UPDATE runs SET record = ? WHERE id = ?", (text, id))

    def finish(self, record: RunRecord) -> None:
        key = record.key
        with self.writing() as db:
            id, stored = self._own(db, key, record.owner, record.attempt)
            _write_record(db, id, key, ended(record, stored), lease=None)
            for earlier in record.replaces:
                self._supersede(db, earlier)
            for retired in record.retired:
                _note_change(db, retired)
                db.execute("DELETE FROM products WHERE key = ?", (_sql(retired),))
            for product in record.products:
                _note_change(db, product.key)
                _write_product(db, product)
                _note_change(db, product.key)
            if record.state in FINISHED:
                # A waiting request to run it again stays; a waiting first request is answered.
                db.execute("DELETE FROM queue WHERE key = ? AND (taken = 1 OR again = 0)", (key,))

    def _supersede(self, db: sqlite3.Connection, key: str) -> None:
        row = db.execute("SELECT id, record FROM runs WHERE key = ?", (key,)).fetchone()
        if row is not None:
            before = self._load(RunRecord, row[1])
            if before.state in SETTLED:
                _write_record(db, row[0], key, replace(before, state="superseded"), lease=None)

    def _own(
        self, db: sqlite3.Connection, key: str, owner: str, attempt: int
    ) -> tuple[int, RunRecord]:
        row = db.execute(
            """
            SELECT id, record FROM runs
            WHERE key = ? AND state = 'running' AND owner = ? AND attempt = ?
            """,
            (key, _sql(owner), attempt),
        ).fetchone()
        if row is None:
            raise ClaimLost(key)
        return row[0], self._load(RunRecord, row[1])

    # The contract: runs.

    def record(self, key: str) -> RunRecord | None:
        rows = self._rows("SELECT record FROM runs WHERE key = ?", (_sql(key),))
        return self._load(RunRecord, rows[0][0]) if rows else None

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        found: dict[str, State] = {}
        for batch in _batches(keys):
            marks = ",".join("?" * len(batch))
            found.update(self._rows(f"SELECT key, state FROM runs WHERE key IN ({marks})", batch))
        return found

    def records(
        self,
        *,
        config: str | None = None,
        states: Sequence[State] = (),
        prefix: str = "",
        limit: int | None = None,
    ) -> Iterator[RunRecord]:
        statement, given = records_statement(config, states, prefix)
        started, key = _AFTER_ALL, ""
        left = _AFTER_ALL if limit is None else limit
        while left > 0:
            page = min(left, _PAGE)
            rows = self._rows(statement, {**given, "started": started, "key": key, "page": page})
            for row in rows:
                yield self._load(RunRecord, row[2])
            if len(rows) < page:
                return
            started, key, _ = rows[-1]
            left -= page

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        rows = self._rows(ABOUT, (config, _sql(subject)))
        records = (self._load(RunRecord, text) for (text,) in rows)
        return [record for record in records if record.key != but]

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        untaken: list[Input] = []
        for batch in _batches(inputs):
            asked = ",".join(f"({n},?,?,?)" for n in range(len(batch)))
            given = [_sql(part) for i in batch for part in (i.key, i.version, i.size)]
            rows = self._rows(UNTAKEN.format(asked=asked), (*given, config))
            taken = {n for (n,) in rows}
            untaken += [input for n, input in enumerate(batch) if n not in taken]
        return untaken

    # The contract: products.

    def products(
        self,
        *,
        datastream: str | None = None,
        config: str | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Product]:
        statement, given = products_statement(
            datastream=datastream, config=config, begin=begin, end=end
        )
        after: Any = -1  # SQLite sorts numbers before all text
        left = _AFTER_ALL if limit is None else limit
        while left > 0:
            page = min(left, _PAGE)
            rows = self._rows(statement, {**given, "after": after, "page": page})
            for row in rows:
                yield self._load(Product, row[1])
            if len(rows) < page:
                return
            after = rows[-1][0]
            left -= page

    def overlapping(self, datastream: str, begin: datetime, end: datetime) -> list[Product]:
        given = {"datastream": _sql(datastream), "begin": _micros(begin), "end": _micros(end)}
        return [self._load(Product, text) for (text,) in self._rows(OVERLAPPING, given)]

    def product(self, key: str) -> Product | None:
        rows = self._rows("SELECT product FROM products WHERE key = ?", (_sql(key),))
        return self._load(Product, rows[0][0]) if rows else None

    def products_at(self, keys: Iterable[str]) -> dict[str, Product]:
        found = {key: self.product(key) for key in dict.fromkeys(keys)}
        return {key: product for key, product in found.items() if product is not None}

    def made_by(self, key: str) -> list[Product]:
        rows = self._rows("SELECT product FROM products WHERE run = ? ORDER BY key", (_sql(key),))
        return [self._load(Product, text) for (text,) in rows]

    def changes(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        rows = self._rows(CHANGES, (_sql(datastream), int(cursor or 0)))
        spans = [Span(_at(begin), _at(end)) for _, begin, end in rows]
        return spans, str(rows[-1][0]) if rows else cursor

    # The contract: small values.

    def state(self, name: str) -> str | None:
        rows = self._rows("SELECT value FROM state WHERE name = ?", (_sql(name),))
        return _str(rows[0][0]) if rows else None

    def set_state(self, name: str, value: str) -> None:
        with self.writing() as db:
            write_state(db, [(name, value)])

    # Beyond the contract: what a local service needs.

    def abandon(self, owner_prefix: str = "") -> int:
        """Let the leases of all owners whose name begins so run out; says how many there were.

        For a service that starts: it holds the workspace's lock, so nobody else can be at work.
        """
        with self.writing() as db:
            return db.execute(
                """
                UPDATE runs SET lease = NULL
                WHERE state = 'running' AND lease IS NOT NULL AND substr(owner, 1, ?) = ?
                """,
                (len(owner_prefix), _sql(owner_prefix)),
            ).rowcount

    def version(self) -> int:
        """A number that is another one whenever another process, or ledger object, has written."""
        with self._lock, self._explained():
            return _pragma(self._writer, "data_version")

    def counts(self) -> dict[str, dict[State, int]]:
        """How many runs each config has in each state."""
        counts: dict[str, dict[State, int]] = {}
        statement = "SELECT config, state, count(*) FROM runs GROUP BY config, state"
        for config, state, count in self._rows(statement):
            counts.setdefault(config, {})[state] = count
        return counts

    def average_seconds(self, config: str, runs: int = 50) -> float | None:
        """How long the latest successful runs of a config took on average; None when none is."""
        rows = self._rows(
            """
            SELECT avg(max(finished - started, 0)) / 1e6 FROM (
                SELECT started, finished FROM runs
                WHERE config = ? AND state = 'succeeded' AND owner <> ?
                ORDER BY started DESC LIMIT ?
            )
            """,
            (config, ADOPTER, runs),
        )
        return rows[0][0] if rows else None

    def seen(self, prefix: str = "") -> Iterator[Seen]:
        """What was noted of files whose keys begin so, a page at a time."""
        # Keys that are not UTF-8 are stored as bytes, which sort after all text.
        for start in dict.fromkeys((_sql(prefix), prefix.encode("utf-8", "surrogatepass"))):
            yield from self._seen_from(start)

    def _seen_from(self, prefix: Any) -> Iterator[Seen]:
        after, operator = prefix, ">="
        while rows := self._rows(
            f"SELECT * FROM seen WHERE key {operator} ? ORDER BY key LIMIT 1000", (after,)
        ):
            for row in rows:
                if type(row[0]) is not type(prefix) or not row[0].startswith(prefix):
                    return
                yield _seen(row)
            after, operator = rows[-1][0], ">"

    def seen_at(self, keys: Iterable[str]) -> dict[str, Seen]:
        """What was noted of files by their keys."""
        found = {}
        for batch in _batches(keys):
            marks = ",".join("?" * len(batch))
            statement = f"SELECT * FROM seen WHERE key IN ({marks})"
            for row in self._rows(statement, [_sql(key) for key in batch]):
                noted = _seen(row)
                found[noted.key] = noted
        return found

    def note_seen(self, rows: Iterable[Seen]) -> None:
        """Note files that were hashed, in one transaction."""
        rows = list(rows)  # hashing, if it happens in there, must not hold up other writers
        with self.writing() as db:
            write_seen(db, rows)

    def forget_seen(self, keys: Iterable[str]) -> None:
        """Forget what was noted of those files."""
        gone = [(_sql(key),) for key in keys]
        with self.writing() as db:
            db.executemany("DELETE FROM seen WHERE key = ?", gone)

    def prune(self, before: datetime) -> int:
        """Forget runs that ended before then and that nothing refers to; says how many.

        A run is kept while a present product is its, and while no later run is about all that it
        is about: else its files would count as new.
        """
        pruned, last = 0, 0
        while True:
            rows = self._rows(PRUNABLE, (last, _micros(before), _PAGE))
            if not rows:
                return pruned
            last = rows[-1][0]
            with self.writing() as db:
                for id, text in rows:
                    pruned += _prune(db, id, self._load(RunRecord, text))

    def _rows(self, statement: str, given: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        with self.reading() as db:
            return db.execute(statement, given).fetchall()

    def _load(self, cls: type[T], text: str) -> T:
        try:
            return loads(cls, text)
        except ValueError as error:
            raise _damaged(self.path, f"an entry is not a {cls.__name__}: {error}") from error


ABOUT = """
    SELECT record FROM runs
    WHERE id IN (SELECT run FROM subjects WHERE config = ? AND subject = ?)
    ORDER BY started DESC, key DESC
"""

UNTAKEN = """
    WITH asked (n, subject, version, size) AS (VALUES {asked})
    SELECT asked.n
    FROM asked
    CROSS JOIN subjects ON subjects.config = ? AND subjects.subject = asked.subject
        AND subjects.version = asked.version AND subjects.size = asked.size
    CROSS JOIN runs ON runs.id = subjects.run
    WHERE runs.state <> 'superseded'
"""

CHANGES = """
    SELECT id, "begin", "end" FROM changes WHERE datastream = ? AND id > ? ORDER BY id
"""

PRUNABLE = """
    SELECT id, record FROM runs
    WHERE id > ? AND finished < ? AND state NOT IN ('running', 'retrying')
        AND NOT EXISTS (SELECT 1 FROM products WHERE products.run = runs.key)
    ORDER BY id LIMIT ?
"""


def _time_lanes(kinds: Sequence[str]) -> str:
    """What to look for in ``products_by_time``: kind, scale, and how far to look back."""
    lanes = (f"('{k}',{s},{1 << _SCALE_BITS * s})" for k in kinds for s in range(_SCALES))
    return f"lanes (kind, scale, back) AS (VALUES {','.join(lanes)})"


_IN_TIME = """
    FROM lanes CROSS JOIN products INDEXED BY products_by_time
        ON products.datastream = :datastream
        AND products.kind = lanes.kind AND products.scale = lanes.scale
        AND products."begin" >= :begin - lanes.back AND products."begin" < :end
        AND products."end" >= :begin
"""

OVERLAPPING = f"""
    WITH {_time_lanes(["data"])}
    SELECT products.product {_IN_TIME} ORDER BY products."begin", products.key
"""


def records_statement(
    config: str | None, states: Sequence[State], prefix: str
) -> tuple[str, dict[str, Any]]:
    """The statement for a page of ``records``, and its fixed parameters.

    One arm for each state, which SQLite merges: each follows an index, the latest first, so that a
    page costs the same however many runs are on record.
    """
    arms = dict.fromkeys(states or _STATES)
    given: dict[str, Any] = {f"state{n}": state for n, state in enumerate(arms)}
    if config is not None:
        given["config"] = config
    columns = "SELECT started, key, record FROM runs"
    order = "ORDER BY started DESC, key DESC LIMIT :page"
    if prefix:  # the unary pluses keep SQLite on the index of the keys
        given |= {"prefix": prefix, "beyond": prefix + "\U0010ffff"}
        named = ",".join(f":state{n}" for n in range(len(arms)))
        where = f"key >= :prefix AND key < :beyond AND +state IN ({named})"
        where += " AND (+started, +key) < (:started, :key)"
        where += " AND +config = :config" if config is not None else ""
        return f"{columns} WHERE {where} {order}", given
    where = "(started, key) < (:started, :key)"
    where += " AND config = :config" if config is not None else ""
    selects = (f"{columns} WHERE {where} AND state = :state{n}" for n in range(len(arms)))
    return f"{' UNION ALL '.join(selects)} {order}", given


def products_statement(
    *,
    datastream: str | None,
    config: str | None,
    begin: datetime | None,
    end: datetime | None,
) -> tuple[str, dict[str, Any]]:
    """The statement for a page of ``products``, and its fixed parameters."""
    given: dict[str, Any] = {"config": config, "datastream": _sql(datastream)}
    timed = begin is not None or end is not None
    given["begin"] = -_AFTER_ALL // 2 if begin is None else _micros(begin)
    given["end"] = _AFTER_ALL if end is None else _micros(end)
    where = ["products.key > :after"]
    source = "FROM products"
    if timed and datastream is not None:
        source = _IN_TIME
    elif timed:
        where.append("""products.scale IS NOT NULL""")
        where.append("""products."begin" < :end AND products."end" >= :begin""")
    if config is not None:
        where.append("products.config = :config")
    if datastream is not None:
        where.append("products.datastream = :datastream")
    lanes = f"WITH {_time_lanes(['data', 'ancillary'])}" if source is _IN_TIME else ""
    statement = f"{lanes} SELECT products.key, products.product {source}"
    return f"{statement} WHERE {' AND '.join(where)} ORDER BY products.key LIMIT :page", given


def write_state(db: sqlite3.Connection, values: Iterable[tuple[str, str]]) -> None:
    """Keep small values, within the caller's transaction."""
    rows = [(_sql(name), _sql(value)) for name, value in values]
    db.executemany("INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)", rows)


def write_seen(db: sqlite3.Connection, rows: Iterable[Seen]) -> None:
    """Note files that were hashed, within the caller's transaction."""
    db.executemany(
        "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?)",
        [(_sql(row.key), *row[1:5], bytes.fromhex(row.sha256)) for row in rows],
    )


def _seen(row: Sequence[Any]) -> Seen:
    return Seen(_str(row[0]), row[1], row[2], row[3], row[4], row[5].hex())


def _write_record(
    db: sqlite3.Connection, id: int | None, key: str, record: RunRecord, *, lease: datetime | None
) -> None:
    values = {
        "id": id,
        "key": key,
        "config": record.run.config,
        "state": record.state,
        "owner": _sql(record.owner),
        "attempt": record.attempt,
        "started": _micros(record.started),
        "finished": _micros(record.finished),
        "lease": _micros(lease),
        "record": dumps(record),
    }
    if id is not None:
        db.execute(
            """
            UPDATE runs SET state = :state, owner = :owner, attempt = :attempt,
                started = :started, finished = :finished, lease = :lease, record = :record
            WHERE id = :id
            """,
            values,
        )
        return
    id = db.execute(
        """
        INSERT INTO runs (key, config, state, owner, attempt, started, finished, lease, record)
        VALUES (:key, :config, :state, :owner, :attempt, :started, :finished, :lease, :record)
        """,
        values,
    ).lastrowid
    db.executemany(
        "INSERT OR IGNORE INTO subjects (config, subject, version, size, run) VALUES (?,?,?,?,?)",
        [(record.run.config, *subject, id) for subject in _subjects(record.run)],
    )


def _subjects(run: Run) -> list[tuple[str | bytes, str | bytes, int]]:
    """What a run is about, as rows of ``subjects``."""
    if run.window is None and run.inputs:
        return [(_sql(i.key), _sql(i.version), i.size) for i in run.inputs]
    return [(_sql(subject), "", -1) for subject in run.subjects]


def _write_product(db: sqlite3.Connection, product: Product) -> None:
    begin, end = _micros(product.begin), _micros(product.end)
    scale = None
    if begin is not None and end is not None:
        bits = max(end - begin, 0).bit_length()
        scale = (bits + _SCALE_BITS - 1) // _SCALE_BITS
    db.execute(
        "INSERT OR REPLACE INTO products VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            _sql(product.key),
            product.kind,
            _sql(product.datastream),
            product.config,
            product.run,
            scale,
            begin,
            end,
            dumps(product),
        ),
    )


def _note_change(db: sqlite3.Connection, key: str) -> None:
    """Tell those who follow a product's datastream that its present times are touched."""
    db.execute(
        """
        INSERT INTO changes (datastream, "begin", "end")
        SELECT datastream, "begin", "end" FROM products
        WHERE key = ? AND kind = 'data' AND scale IS NOT NULL
        """,
        (_sql(key),),
    )


def _prune(db: sqlite3.Connection, id: int, record: RunRecord) -> bool:
    config, subjects = record.run.config, _subjects(record.run)
    for subject, _, _ in subjects:
        later = db.execute(
            """
            SELECT 1 FROM subjects JOIN runs ON runs.id = subjects.run
            WHERE subjects.config = ? AND subject = ? AND runs.id <> ? AND started > ? LIMIT 1
            """,
            (config, subject, id, _micros(record.started)),
        ).fetchone()
        if later is None:
            return False
    db.executemany(
        "DELETE FROM subjects WHERE config=? AND subject=? AND version=? AND size=? AND run=?",
        [(config, *subject, id) for subject in subjects],
    )
    db.execute("DELETE FROM runs WHERE id = ?", (id,))
    return bool(subjects)


def _create_if_missing(path: Path) -> None:
    """Make an empty ledger under another name and link it into place, whole.

    So a ledger without content is always a damaged one, never one that was being made.
    """
    if path.is_dir():
        raise LedgerError(
            f"{path} is a folder, and the ledger should be there", next="move it away"
        )
    if os.path.lexists(path):
        return
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and not path.exists():
        raise LedgerError(
            f"{path} is missing, but its log {log.name} is there",
            why="a new ledger with the log of an old one would be corrupt",
            next=f"put {path.name} back, or move {log.name} away as well",
        )
    new = path.with_name(f"{path.name}.new-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("BEGIN IMMEDIATE")
            _apply_migrations(db)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = WAL")
        _link(new, path)
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except OSError as error:
        raise LedgerError(
            f"cannot make the ledger {path}",
            why=str(error),
            next="make its folder writable, and see that its disk has room",
        ) from error
    finally:
        for leftover in (new, Path(f"{new}-journal"), Path(f"{new}-wal"), Path(f"{new}-shm")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)


def _link(new: Path, path: Path) -> None:
    try:
        os.link(new, path)
    except FileExistsError:  # another process was first
        return
    except OSError:  # a file system without links
        if not path.exists():
            os.rename(new, path)


def _apply_migrations(db: sqlite3.Connection) -> None:
    """Bring a ledger up to date, within the caller's transaction."""
    for version in range(_pragma(db, "user_version"), len(MIGRATIONS)):
        MIGRATIONS[version](db)
        db.execute(f"PRAGMA user_version = {version + 1}")


def _explain(path: Path, error: sqlite3.Error) -> TidegateError:
    """What SQLite's error means for a person; StorageError where waiting or making room helps."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    why = f"SQLite says: {error} ({name})"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StorageError(
            f"the ledger {path} cannot be written",
            why=why,
            next="see that its disk has room and works; the ledger is as it was before",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            f"the ledger {path} is held by another process",
            why=why,
            next="look for a process that hangs, or for a disk that does",
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return LedgerError(
            f"the ledger {path} cannot be opened for writing",
            why=why,
            next="make it, its -wal and -shm files and their folder readable and writable",
        )
    return _damaged(path, why)


def _damaged(path: Path, why: str) -> LedgerError:
    return LedgerError(
        f"the ledger {path} is damaged, or not a ledger",
        why=why,
        next=(
            "nothing was changed or moved; put back a copy of it, or move it away together with "
            f"{path.name}-wal and {path.name}-shm: then Tidegate starts a new one, and runs again "
            "what lies in the input folder"
        ),
    )


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _sql(value: Any) -> Any:
    """A value as SQLite takes it: text that is not UTF-8 (a file's name may be) as bytes."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")
    return value


def _str(value: str | bytes) -> str:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def _micros(moment: datetime | None) -> Any:
    """Microseconds since 1970; exact, where a float is not."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else _at(micros)


def _at(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
