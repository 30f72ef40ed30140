"""Record files that were made elsewhere in the ledger, under runs that stand for their making.

    found = survey(...)             the files that can be adopted
    Adoption(...).run(found)        record them, up to 500 products at a time

The files are only read. Files that are in the ledger already are skipped, so an adoption that was
interrupted can be repeated. Works with any target's ledger.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from itertools import groupby
from pathlib import Path

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import ClaimLost, Ledger
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import ADOPTED, ADOPTER, Input, Product, Run, RunRecord
from tidegate.runtime.summary import Summary
from tidegate.workspace.adoption.raw_files import RawFiles
from tidegate.workspace.adoption.survey import Candidate, Survey, same_time
from tidegate.workspace.product_files import ProductFiles

BATCH = 500
"""The number of products that are recorded in one step."""

_LEASE = timedelta(minutes=10)
_AT_ONCE = 8
_COUNTED_AS_DONE = "present before Tidegate; counted as done by `tidegate adopt --inputs`"

Read = Callable[[Path], Summary | None]
"""Opens a data file and summarizes it; None if it cannot be read."""


@dataclass
class _Group:
    """Files with the same begin: a data file and its plots."""

    products: list[Product] = field(default_factory=list)
    inputs: tuple[Input, ...] = ()
    """The raw files that they were made from; empty if not known."""


@dataclass
class Adoption:
    """Records the files that a survey found."""

    manifest: Manifest
    """The configs."""
    ledger: Ledger
    """The ledger to record them in."""
    store: ProductFiles
    """The storage of the files."""
    read: Read | None = None
    """Opens a data file and summarizes it; None: use what the names say."""
    raw: RawFiles | None = None
    """Finds the raw files that products name as their inputs."""
    advance: Callable[[int], None] = lambda count: None
    """Called with the number of files done since the last call."""
    adopted: int = 0
    """How many products this adoption recorded."""
    matched: set[tuple[str, str]] = field(default_factory=set)
    """Config and key of raw files that count as done because products name them."""
    unread: list[str] = field(default_factory=list)
    """Keys of data files that could not be read and were recorded by their names."""
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def run(self, found: Survey) -> None:
        """Record all candidates."""
        self._end_interrupted()
        for batch in _batches(found.candidates):
            self._adopt(batch)

    def count_as_done(self, config: Config, files: Iterable[Input]) -> int:
        """Record raw files that no run has processed as done; returns how many."""
        done = 0
        for file in self.ledger.untaken(config.id, files):
            run = Run(config.id, inputs=(file,))
            now = datetime.now(timezone.utc)
            done += self._record(run, (), now, warnings=(_COUNTED_AS_DONE,))
            self.advance(1)
        return done

    def _end_interrupted(self) -> None:
        """End the runs that a killed adoption claimed and did not finish."""
        for record in list(self.ledger.records(states=("running",))):
            if record.owner == ADOPTER:
                now = datetime.now(timezone.utc)
                self._finish(replace(record, state="superseded", finished=now))

    def _adopt(self, batch: Sequence[Candidate]) -> None:
        """Record one batch: a run for each set of known inputs, one run for all the rest."""
        rest: list[Product] = []
        by_inputs: dict[tuple[Input, ...], list[Product]] = defaultdict(list)
        examined = self._examine(batch)
        for _, candidates in groupby(batch, same_time):
            group = self._group({candidate: examined[candidate] for candidate in candidates})
            if group.inputs:
                by_inputs[group.inputs] += group.products
            else:
                rest += group.products
        config = batch[0].config
        for inputs, products in by_inputs.items():
            self._adopt_run(Run(config, inputs=inputs), products)
            self.matched.update((config, file.key) for file in inputs)
        if rest:
            self._adopt_run(_substitute_run(config, rest), rest)

    def _examine(
        self, batch: Sequence[Candidate]
    ) -> dict[Candidate, tuple[Product, Summary | None]]:
        """Each file as a product, with its summary if it was read.

        Several at the same time: on AWS, downloading them takes most of the time.
        """
        examined: dict[Candidate, tuple[Product, Summary | None]] = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            futures = {candidate: pool.submit(self._product, candidate) for candidate in batch}
            try:
                for candidate, future in futures.items():
                    examined[candidate] = future.result()
                    if examined[candidate][1] is None and self._is_read(candidate):
                        self.unread.append(candidate.file.key)
                    self.advance(1)
                return examined
            finally:  # after an error or Ctrl-C, do not wait for all the others
                pool.shutdown(cancel_futures=True)

    def _group(self, examined: Mapping[Candidate, tuple[Product, Summary | None]]) -> _Group:
        group, inputs = _Group(), set[tuple[Input, ...]]()
        times: Summary | None = None
        for candidate, (product, summary) in examined.items():
            if summary is not None:
                times = summary
                if self.raw is not None and summary.inputs:
                    inputs.add(self.raw.find(candidate.config, summary.inputs))
            elif times is not None and candidate.kind == "ancillary":
                product = replace(product, begin=times.begin, end=times.end)
            group.products.append(product)
        if len(inputs) == 1:
            group.inputs = inputs.pop()
        return group

    def _is_read(self, candidate: Candidate) -> bool:
        return self.read is not None and candidate.kind == "data"

    def _product(self, candidate: Candidate) -> tuple[Product, Summary | None]:
        file, summary = candidate.file, None
        if self.read is not None and self._is_read(candidate):
            with self.store.copy(file) as path:
                with self._reading:  # there is one worker process
                    summary = self.read(path)
                size, version = content_hash(path)
        else:
            size, version = self.store.identify(file)
        product = Product(
            file.key,
            candidate.kind,
            size,
            version,
            candidate.datastream,
            candidate.begin,
            candidate.end,
            config=candidate.config,
            made=file.modified,
        )
        if summary is None:
            return product, None
        summarized = replace(
            product,
            datastream=summary.datastream or product.datastream,
            begin=summary.begin or product.begin,
            end=summary.end or product.end,
            dimensions=summary.dimensions,
            quality=summary.quality,
        )
        return summarized, summary

    def _adopt_run(self, run: Run, products: Sequence[Product]) -> None:
        # A run of the service may have made some of them since they were listed.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            recorded = list(pool.map(lambda p: self.ledger.product(p.key), products))
        new = [product for product, record in zip(products, recorded) if record is None]
        made = max((p.made for p in products if p.made), default=datetime.now(timezone.utc))
        if new and self._record(run, new, made):
            self.adopted += len(new)

    def _record(
        self, run: Run, products: Sequence[Product], made: datetime, warnings: Sequence[str] = ()
    ) -> bool:
        """Claim a run and finish it, dated to when its products were made.

        If an adoption recorded the same run before, its products are kept: the products of a raw
        file may come in several batches.
        """
        before = self.ledger.record(run.key)
        if before is not None and before.owner != ADOPTER:
            if not products:
                return False
            run, before = _substitute_run(run.config, products), None  # that was a real run
        now = datetime.now(timezone.utc)
        again = replace(run, again=before is not None)
        claim = self.ledger.claim(again, owner=ADOPTER, lease=_LEASE, now=now, release="")
        if not claim.granted or claim.record is None:
            return False
        own = self.ledger.made_by(run.key) if before else []
        own += [replace(p, run=run.key) for p in products]
        return self._finish(
            replace(
                claim.record,
                run=run,
                state="succeeded" if products else "empty",
                started=made,
                finished=made,
                products=tuple(own),
                warnings=tuple(warnings),
            )
        )

    def _finish(self, record: RunRecord) -> bool:
        try:
            self.ledger.finish(record)
        except ClaimLost:  # another adoption records it
            return False
        return True


def _substitute_run(config: str, products: Sequence[Product]) -> Run:
    """A run that stands for the unknown runs which made these products."""
    lines = "\n".join(f"{p.key}\0{p.sha256}" for p in products)
    digest = hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    name = products[0].key.rsplit("/", 1)[-1]
    more = f" and {len(products) - 1} more" if len(products) > 1 else ""
    return Run(config, arguments=(ADOPTED, f"{name}{more}", digest))


def _batches(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """Up to ``BATCH`` candidates of one config; a data file and its plots stay together."""
    batch: list[Candidate] = []
    for _, files in groupby(candidates, same_time):
        group = list(files)
        if batch and (batch[0].config != group[0].config or len(batch) + len(group) > BATCH):
            yield batch
            batch = []
        batch += group
    if batch:
        yield batch
