"""One run that leaves nothing behind but its products, in a folder of their own.

It is carried out by ``runtime.execute``, as every run: only the ledger is in memory, and
the outputs are that folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from tidegate.errors import StorageError, TidegateError, UsageError
from tidegate.quality.content import Content
from tidegate.quality.datasets import is_dataset
from tidegate.runtime.context import Context
from tidegate.runtime.execute import execute
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.protocols import Inputs, Outputs, QueuedRun, Target
from tidegate.runtime.records import from_json
from tidegate.runtime.runs import Product, ProductRef, Run, RunRecord
from tidegate.runtime.testing import InlineExecutor, MemoryLedger, MemoryOutputs

DESCRIBE = "tidegate.quality.content.describe_product"
_NEXT = "correct the code, the config or the file"
_PATH = "outputs"
_MARK = ".tidegate-trial"


@dataclass(frozen=True)
class TrialProduct:
    """A product of a trial."""

    product: Product
    """What would be put on record."""
    file: Path
    """Where it lies now."""
    content: Content | None = None
    """What it holds; None for a plot, and for what cannot be read."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.product.key.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Trial:
    """What became of one run that was tried."""

    record: RunRecord
    """What would be on record: state, failure, warnings, time and memory."""
    products: tuple[TrialProduct, ...] = ()
    """What it made, data first."""
    log: tuple[str, ...] = ()
    """The lines of its log."""

    @property
    def succeeded(self) -> bool:
        """Whether it made a product, and all of its plots."""
        return self.record.state == "succeeded" and not self.record.plots_failed


class TrialOutputs:
    """Reads products from ``source`` and writes to a folder of its own."""

    def __init__(self, root: Path, source: Outputs | None = None) -> None:
        self._own = MemoryOutputs(root)
        self._source = source
        self._made: set[str] = set()

    def publish(self, products: Sequence[tuple[Product, Path]]) -> None:
        """As ``Outputs.publish``."""
        self._own.publish(products)
        self._made.update(product.key for product, _ in products)

    def fetch(self, ref: ProductRef, destination: Path) -> None:
        """As ``Outputs.fetch``."""
        source = self._own if ref.key in self._made or self._source is None else self._source
        source.fetch(ref, destination)

    def fetch_all(self, wanted: Sequence[tuple[ProductRef, Path]]) -> None:
        """As ``Outputs.fetch_all``."""
        for ref, destination in wanted:
            self.fetch(ref, destination)

    def remove(self, keys: Iterable[str]) -> None:
        """As ``Outputs.remove``, of its own folder only."""
        self._own.remove(key for key in keys if key in self._made)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """As ``Outputs.missing``, of its own folder only."""
        return self._own.missing(keys)

    def set_aside(self, keys: Iterable[str]) -> str:
        """As ``Outputs.set_aside``, of its own folder only."""
        return self._own.set_aside(key for key in keys if key in self._made)


def try_run(
    worker: WorkerProcess,
    config: Config,
    run: Run,
    inputs: Inputs,
    folder: Path,
    source: Outputs | None = None,
) -> Trial:
    """Carry a run out in ``folder``, and say what each product holds.

    ``source`` is where a VAP's inputs are read from. Never raises for what the pipeline does.
    """
    logs: list[str] = []

    def keep_log(record: RunRecord, log: Path) -> str:
        logs.extend(log.read_text("utf-8", "replace").splitlines())
        return ""

    # A passing reason is shown at once: whoever tries a pipeline sits in front of it.
    config = replace(config, retries=0)
    context = Context(
        Manifest((config,)),
        Target(inputs, TrialOutputs(folder / _PATH, source), MemoryLedger()),
        InlineExecutor(worker.perform),
        owner="trial",
        work=folder / "work",
        keep_log=keep_log,
    )
    record = execute(QueuedRun(run), context)
    assert isinstance(record, RunRecord), "a ledger of its own grants every claim"
    products = tuple(
        TrialProduct(product, folder / _PATH / product.key, _describe(worker, folder, product))
        for product in record.products
    )
    return Trial(_for_a_trial(record), products, tuple(logs))


def _for_a_trial(record: RunRecord) -> RunRecord:
    """What to do next is about the code at hand, not about a run on record."""
    failure = record.failure
    if failure is None or failure.kind not in ("bad-input", "transient"):
        return record
    return replace(record, failure=replace(failure, next=_NEXT))


def _describe(worker: WorkerProcess, folder: Path, product: Product) -> Content | None:
    if product.kind != "data" or not is_dataset(product.key):
        return None
    try:
        return from_json(
            Content, worker.call(DESCRIBE, {"path": str(folder / _PATH / product.key)})
        )
    except (TidegateError, ValueError):  # the product is what counts
        return None


def empty_folder(folder: Path) -> Path:
    """Make a folder, or remove what an earlier trial left in it.

    Raises:
        UsageError: it holds something else.
        StorageError: it cannot be made.
    """
    mark = folder / _MARK
    try:
        if folder.exists() and any(folder.iterdir()) and not mark.exists():
            raise UsageError(
                f"{folder} is not empty, and not from an earlier trial",
                next="name a folder that does not exist yet",
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise StorageError(
            f"cannot make the folder {folder}",
            why=error.strerror or str(error),
            next="free some space, or name another folder with --output",
        ) from error
    return folder


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(timezone.utc)
