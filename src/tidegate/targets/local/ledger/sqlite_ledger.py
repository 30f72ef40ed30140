"""``SqliteLedger``: each method is one transaction over the functions of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from tidegate.runtime.protocols import Claim, Span
from tidegate.runtime.runs import Input, Product, Run, RunRecord, State
from tidegate.targets.local.ledger import changes, claims, products, runs, state
from tidegate.targets.local.ledger.database import Database
from tidegate.targets.local.ledger.history import History
from tidegate.targets.local.ledger.jobs import Jobs
from tidegate.targets.local.ledger.pruning import prune_runs
from tidegate.targets.local.ledger.seen_files import SeenFiles


class SqliteLedger:
    """``runtime.protocols.Ledger`` in one SQLite file, and what a local service needs beside it.

    Raises:
        LedgerError: the file is not a ledger, is damaged, was written by a newer Tidegate, or
            cannot be opened or written. It is left as it is.
        StorageError: a temporary reason, such as a full disk. The ledger stays consistent, and the
            failed step has changed nothing.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        """The file; for the queue, which shares its transactions."""
        self.seen_files = SeenFiles(self.database)
        """The raw files that were hashed."""
        self.jobs = Jobs(self.database)
        """Jobs, and those of their runs that have not ended."""
        self.history = History(self.database)
        """Answers about many runs at once."""

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> SqliteLedger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # The protocol: claims.

    def claim(
        self, run: Run, *, owner: str, lease: timedelta, now: datetime, release: str
    ) -> Claim:
        return self.database.write(
            lambda db: claims.claim_run(db, run, owner=owner, lease=lease, now=now, release=release)
        )

    def intend(self, key: str, *, owner: str, attempt: int, products: Sequence[str]) -> None:
        self.database.write(
            lambda db: claims.note_publishing(
                db, key, owner=owner, attempt=attempt, products=products
            )
        )

    def finish(self, record: RunRecord) -> None:
        self.database.write(lambda db: claims.finish_run(db, record))

    # The protocol: runs.

    def record(self, key: str) -> RunRecord | None:
        with self.database.reading() as db:
            stored = runs.read_run(db, key)
        return stored.record if stored else None

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        keys = list(keys)  # an iterator may use the ledger itself
        with self.database.reading() as db:
            return runs.read_states(db, keys)

    def records(
        self,
        *,
        config: str | None = None,
        states: Sequence[State] = (),
        prefix: str = "",
        before: datetime | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[RunRecord]:
        return runs.read_records(
            self.database,
            config=config,
            states=states,
            prefix=prefix,
            before=before,
            since=since,
            limit=limit,
        )

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        with self.database.reading() as db:
            return runs.read_runs_about(db, config, subject, but=but)

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        inputs = list(inputs)
        with self.database.reading() as db:
            return runs.find_untaken(db, config, inputs)

    # The protocol: products.

    def products(
        self,
        *,
        datastream: str | None = None,
        config: str | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Product]:
        return products.read_products(
            self.database, datastream=datastream, config=config, begin=begin, end=end, limit=limit
        )

    def overlapping(self, datastream: str, begin: datetime, end: datetime) -> list[Product]:
        with self.database.reading() as db:
            return products.read_overlapping(db, datastream, begin, end)

    def product(self, key: str) -> Product | None:
        with self.database.reading() as db:
            return products.read_product(db, key)

    def products_at(self, keys: Iterable[str]) -> dict[str, Product]:
        keys = list(keys)
        with self.database.reading() as db:
            return products.read_products_at(db, keys)

    def made_by(self, key: str) -> list[Product]:
        with self.database.reading() as db:
            return products.read_products_of_run(db, key)

    def datastreams(self) -> list[str]:
        with self.database.reading() as db:
            return products.read_datastreams(db)

    def changes(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        with self.database.reading() as db:
            return changes.read_changes(db, datastream, cursor)

    # The protocol: small values.

    def state(self, name: str) -> str | None:
        with self.database.reading() as db:
            return state.read_state(db, name)

    def set_state(self, name: str, value: str) -> None:
        self.database.write(lambda db: state.write_state(db, [(name, value)]))

    def change_state(self, name: str, change: Callable[[str | None], str]) -> None:
        with self.database.writing() as db:
            state.write_state(db, [(name, change(state.read_state(db, name)))])

    # For the local service and its commands.

    def abandon(self, owner_prefix: str = "") -> int:
        """End the leases of all owners with that prefix; returns how many runs there were.

        For a service that starts: it holds the lock of the workspace, so nobody else is at work.
        """
        with self.database.writing() as db:
            return claims.end_leases(db, owner_prefix)

    def counts(self) -> dict[str, dict[State, int]]:
        """How many runs each config has in each state."""
        with self.database.reading() as db:
            return runs.count_runs(db)

    def prune(self, before: datetime, stopped: Callable[[], bool] = lambda: False) -> int:
        """Forget runs that ended before then and that nothing needs; returns how many.

        It ends early once ``stopped()`` is true.

        A run is kept while one of its products is present, and until later runs exist about each
        of its subjects.
        """
        return prune_runs(self.database, before, stopped)
