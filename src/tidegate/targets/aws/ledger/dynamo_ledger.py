"""``DynamoLedger``: the protocol over the parts of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from tidegate.runtime.protocols import Claim, Span
from tidegate.runtime.runs import Input, Product, Run, RunRecord, State
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger.backlog import Backlog
from tidegate.targets.aws.ledger.changes import Changes
from tidegate.targets.aws.ledger.claims import Claims
from tidegate.targets.aws.ledger.finishing import Finishing
from tidegate.targets.aws.ledger.long_values import LongValues
from tidegate.targets.aws.ledger.product_items import ProductItems
from tidegate.targets.aws.ledger.products import Products
from tidegate.targets.aws.ledger.recent_reads import RecentReads
from tidegate.targets.aws.ledger.run_items import RunItems
from tidegate.targets.aws.ledger.runs import Runs
from tidegate.targets.aws.ledger.shelves import Shelves
from tidegate.targets.aws.ledger.state import StateValues
from tidegate.targets.aws.ledger.table import Table


class DynamoLedger:
    """``runtime.protocols.Ledger`` in one DynamoDB table; safe to use from several threads.

    ``keep_runs`` is how long a run is kept after it ended, None for ever. Its products stay, and
    its inputs still count as taken.

    Raises:
        StorageError: a temporary reason; what was asked for may or may not have been done.
        LedgerError: the table or a permission is missing, or an item cannot be read.
    """

    def __init__(
        self, table: str, clients: Clients | None = None, *, keep_runs: timedelta | None = None
    ) -> None:
        self.table = table
        self._table = Table(table, clients or Clients())
        values = LongValues(self._table)
        recent = RecentReads()
        shelves = Shelves(self._table)
        product_items = ProductItems(self._table)
        self._run_items = RunItems(self._table, values, keep_runs)
        self._runs = Runs(self._table, self._run_items, recent)
        self._claims = Claims(self._table, values, self._run_items, recent)
        self._finishing = Finishing(
            self._table, values, self._run_items, self._claims, product_items, shelves, recent
        )
        self._products = Products(self._table, product_items, self._run_items, shelves, recent)
        self._changes = Changes(self._table, shelves)
        self._state = StateValues(self._table, values)
        self.backlog = Backlog(self._table, values)

    # Claims.

    def claim(
        self, run: Run, *, owner: str, lease: timedelta, now: datetime, release: str
    ) -> Claim:
        """See ``Ledger.claim``."""
        return self._claims.claim(run, owner=owner, lease=lease, now=now, release=release)

    def intend(self, key: str, *, owner: str, attempt: int, products: Sequence[str]) -> None:
        """See ``Ledger.intend``."""
        self._claims.note_publishing(key, owner=owner, attempt=attempt, products=products)

    def finish(self, record: RunRecord) -> None:
        """See ``Ledger.finish``."""
        self._finishing.finish(record)

    # Runs.

    def record(self, key: str) -> RunRecord | None:
        """See ``Ledger.record``."""
        run = self._run_items.read(key)
        return run.record if run else None

    def lease(self, key: str) -> datetime | None:
        """Until when the run belongs to its owner, if it is running."""
        run = self._run_items.read(key)
        return run.lease if run and run.record.state == "running" else None

    def states(self, keys: Iterable[str]) -> dict[str, State]:
        """See ``Ledger.states``."""
        return self._runs.states(keys)

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
        """See ``Ledger.records``; a run that changes at the same time may be left out."""
        return self._runs.records(
            config=config, states=states, prefix=prefix, before=before, since=since, limit=limit
        )

    def about(self, config: str, subject: str, *, but: str = "") -> list[RunRecord]:
        """See ``Ledger.about``."""
        return self._runs.about(config, subject, but=but)

    def untaken(self, config: str, inputs: Iterable[Input]) -> list[Input]:
        """See ``Ledger.untaken``."""
        return self._runs.untaken(config, inputs)

    # Products.

    def products(
        self,
        *,
        datastream: str | None = None,
        config: str | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Product]:
        """See ``Ledger.products``."""
        return self._products.read_all(
            datastream=datastream, config=config, begin=begin, end=end, limit=limit
        )

    def overlapping(self, datastream: str, begin: datetime, end: datetime) -> list[Product]:
        """See ``Ledger.overlapping``."""
        return self._products.read_overlapping(datastream, begin, end)

    def product(self, key: str) -> Product | None:
        """See ``Ledger.product``."""
        return self._products.read(key)

    def products_at(self, keys: Iterable[str]) -> dict[str, Product]:
        """See ``Ledger.products_at``."""
        return self._products.read_at(keys)

    def made_by(self, key: str) -> list[Product]:
        """See ``Ledger.made_by``."""
        return self._products.read_made_by(key)

    # Changes and small values.

    def datastreams(self) -> list[str]:
        """See ``Ledger.datastreams``."""
        return self._products.read_datastreams()

    def changes(self, datastream: str, cursor: str) -> tuple[list[Span], str]:
        """See ``Ledger.changes``."""
        return self._changes.read(datastream, cursor)

    def state(self, name: str) -> str | None:
        """See ``Ledger.state``."""
        return self._state.read(name)

    def set_state(self, name: str, value: str, keep: timedelta | None = None) -> None:
        """See ``Ledger.set_state``; DynamoDB may delete the value after ``keep``."""
        self._state.write(name, value, keep)

    def change_state(self, name: str, change: Callable[[str | None], str]) -> None:
        """See ``Ledger.change_state``."""
        self._state.change(name, change)
