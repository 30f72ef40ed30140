"""The same arrivals on this machine and on AWS, and what must be the same then."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

import xarray as xr
from aws_bench import Bench
from e2e_cloud import Cloud, created, eventually

from tidegate.runtime.manifest import Manifest
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.protocols import Executor, Ledger
from tidegate.runtime.runs import Product, RunRecord
from tidegate.runtime.select import takes
from tidegate.targets.aws.messages import scheduled
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.schedule import last_due
from tidegate.targets.local.service import Service
from tidegate.workspace.folder import Workspace

MONTH = timedelta(days=32)
_WORK = re.compile(r"/[^\s'\"]*/(?=in/)")


@dataclass(frozen=True)
class Put:
    """A raw file arrives, or is replaced."""

    key: str
    """Where."""
    content: str | bytes
    """What is in it."""
    told: int = 1
    """How often it is told of; a folder tells once."""

    @property
    def data(self) -> bytes:
        """The content as bytes."""
        return self.content.encode() if isinstance(self.content, str) else self.content


@dataclass(frozen=True)
class Tick:
    """The schedule of a VAP is due."""

    config: str
    """Its id."""


Arrival = Put | Tick


class Side(Protocol):
    """One target that things arrive at, one after the other."""

    def arrive(self, arrival: Arrival) -> None:
        """Let one thing arrive, and come to rest."""

    def ledger(self) -> Ledger:
        """The record of it all."""

    def outputs(self) -> Mapping[str, bytes]:
        """All products, by key."""


class Lasting(WorkerProcess):
    """A worker that many functions and services use in turn: Tsdat is imported once."""

    def close(self) -> None:
        """Stay; ``kill`` ends it."""

    def launch(self) -> None:
        """Be there: one that stays is not replaced when it has done much."""
        if self.pid is None:
            super().launch()


def only(manifest: Manifest, configs: Sequence[str]) -> Manifest:
    """A manifest with these configs alone; with all where none is named."""
    if not configs:
        return manifest
    return replace(manifest, configs=tuple(manifest.config(id) for id in configs))


class Clock:
    """Each tick takes it on until all schedules are due once more."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def __call__(self) -> datetime:
        """The time that it is."""
        return datetime.now(timezone.utc) + self._ahead

    def tick(self) -> None:
        """Be due again."""
        self._ahead += MONTH


class Local:
    """A workspace; each arrival is taken in by a service of its own (``tidegate up --once``)."""

    def __init__(
        self, root: Path, manifest: Manifest, new_executor: Callable[[], Executor]
    ) -> None:
        self._workspace = Workspace(root)
        self._workspace.prepare()
        self._manifest = manifest
        self._new_executor = new_executor
        self._now = Clock()
        self._arrived = 0
        self._ledger: SqliteLedger | None = None

    def arrive(self, arrival: Arrival) -> None:
        """Let one thing arrive, and come to rest."""
        if isinstance(arrival, Put):
            self.put(arrival)
            self.take_in()
        else:
            self._now.tick()
            self.take_in(arrival.config)

    def take_in(self, *due: str) -> None:
        """Run the ingests of all files that are there, and of the VAPs those that are due."""
        configs = [c for c in self._manifest.configs if c.kind == "Ingest" or c.id in due]
        manifest = replace(self._manifest, configs=tuple(configs))
        places = self._workspace.places
        Service(places, manifest, self._new_executor(), now=self._now).once()

    def put(self, arrival: Put) -> None:
        """Deliver a file; nobody looks yet."""
        self._arrived += 1
        place = self._workspace.input / arrival.key
        place.parent.mkdir(parents=True, exist_ok=True)
        part = self._workspace.state / "delivery"
        part.write_bytes(arrival.data)
        os.utime(part, (1_700_000_000 + self._arrived,) * 2)  # it need not settle
        part.rename(place)

    def ledger(self) -> SqliteLedger:
        """The workspace's ledger, which ``close`` closes."""
        self._ledger = self._ledger or SqliteLedger(self._workspace.ledger)
        return self._ledger

    def close(self) -> None:
        """Nothing more arrives."""
        if self._ledger is not None:
            self._ledger.close()

    def outputs(self) -> Mapping[str, bytes]:
        """All that lies in ``output/``."""
        root = self._workspace.output
        files = [path for path in root.rglob("*") if path.is_file()]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


class Functions:
    """Functions in this very process, fed from real queues: the deployment without its loops."""

    def __init__(self, benches: Mapping[str, Bench], now: Clock) -> None:
        self._benches = benches
        self._now = now
        self._any = next(iter(benches.values()))

    def arrive(self, arrival: Arrival) -> None:
        """Let one thing arrive, and come to rest."""
        if isinstance(arrival, Tick):
            self._now.tick()
            bench = self._benches[arrival.config]
            due = last_due(bench.config.schedule or "", self._now())
            bench.send(scheduled(arrival.config, due.isoformat()))
            bench.drain()
            return
        input = self._any.put(arrival.key, arrival.data)
        for bench in self._benches.values():
            if takes(bench.config, arrival.key):
                bench.send(*[bench.created(input, at=self._now())] * arrival.told)
                bench.drain()
                assert (bench.hidden(), bench.dead) == (0, [])

    def ledger(self) -> Ledger:
        """The table that they share."""
        return self._any.ledger

    def outputs(self) -> Mapping[str, bytes]:
        """All that lies in the output bucket, logs aside."""
        s3, bucket = self._any.clients.s3, self._any.settings.output_bucket
        return {
            key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in self._any.outputs()
        }


class Deployed:
    """The deployment: objects, events, queues, schedules and functions, all of it.

    To have a schedule fire takes ten seconds: unless ``fires``, its message is sent without it.
    """

    def __init__(self, cloud: Cloud, configs: Sequence[str], *, fires: bool = False) -> None:
        self._cloud = cloud
        self._configs = configs
        self._fires = fires

    def arrive(self, arrival: Arrival) -> None:
        """Let one thing arrive, and come to rest."""
        cloud = self._cloud
        if isinstance(arrival, Tick) and not self._fires:
            cloud.send(arrival.config, scheduled(arrival.config))
        elif isinstance(arrival, Tick):
            before = cloud.told(arrival.config)
            cloud.fire(arrival.config)
            eventually(lambda: cloud.told(arrival.config) > before)
        else:
            [config] = [c for c in self._cloud.session.manifest.configs if takes(c, arrival.key)]
            before = cloud.told(config.id)
            input = cloud.put(arrival.key, arrival.data)
            eventually(lambda: cloud.told(config.id) > before)
            # One that is told of while the run goes on would wait for as long as it may take.
            cloud.rest(*self._configs)
            cloud.send(config.id, *[created(input)] * (arrival.told - 1))
        cloud.rest(*self._configs)

    def ledger(self) -> Ledger:
        """The branch's table."""
        return self._cloud.ledger

    def outputs(self) -> Mapping[str, bytes]:
        """What these configs have in the output bucket."""
        keys = {p.key for id in self._configs for p in self._cloud.ledger.products(config=id)}
        return {key: data for key, data in self._cloud.outputs("storage/").items() if key in keys}


# What must be the same.


def assert_same(one: Side, other: Side, configs: Sequence[str]) -> None:
    """The same products; and, times and places aside, the same ledger."""
    assert story(one.ledger(), configs) == story(other.ledger(), configs)
    assert_same_products(one.outputs(), other.outputs())
    for side in (one, other):
        on_record = {p.key for id in configs for p in side.ledger().products(config=id)}
        assert set(side.outputs()) == on_record


def assert_same_products(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> None:
    """The same keys; what is netCDF is the same but for its history, all else byte by byte."""
    assert sorted(one) == sorted(other)
    for key, data in one.items():
        if key.endswith(".nc"):
            assert_same_dataset(data, other[key])
        else:
            assert data == other[key], key


def assert_same_dataset(one: bytes, other: bytes) -> None:
    """Variables, attributes and encodings."""
    with tempfile.TemporaryDirectory() as folder:
        datasets = []
        for name, data in (("one", one), ("other", other)):
            path = Path(folder, f"{name}.nc")
            path.write_bytes(data)
            # As it is stored: fill values, scales and units of time stay attributes.
            with xr.open_dataset(path, decode_cf=False) as dataset:
                datasets.append(dataset.load())
        first, second = datasets
        for dataset in datasets:
            dataset.attrs.pop("history", None)
        xr.testing.assert_identical(first, second)
        for name in first.variables:
            assert _encoding(first[name]) == _encoding(second[name]), name


def _encoding(variable: xr.DataArray) -> dict[str, Any]:
    return {k: v for k, v in variable.encoding.items() if k != "source"}


def story(
    ledger: Ledger, configs: Iterable[str], about: Collection[str] | None = None
) -> dict[str, Any]:
    """What a ledger says of these configs: runs by what they are about, in order; and products.

    ``about`` are the only subjects to tell of: on AWS, other tests have had other things arrive.
    """
    told: dict[str, Any] = {}
    for id in configs:
        keys = set()
        for record in reversed(list(ledger.records(config=id))):
            if about is None or set(record.run.subjects) & set(about):
                told.setdefault(f"{id} {record.run.subjects}", []).append(_run(record))
                keys.add(record.key)
        told[f"{id} products"] = [_product(p) for p in ledger.products(config=id) if p.run in keys]
    return told


def _run(record: RunRecord) -> dict[str, Any]:
    failure = record.failure
    return {
        "inputs": [(input.key, input.size) for input in record.run.inputs],
        "products in": [ref.key for ref in record.run.products],
        "arguments": record.run.arguments,
        "state": (record.state, record.attempt, record.tries),
        "release": record.release,
        "failure": failure and (failure.kind, _placeless(failure.message), failure.next),
        "where": failure and failure.where,
        "plots": _placeless(record.plots_failed),
        "warnings": tuple(map(_placeless, record.warnings)),
        "products": [_product(product) for product in record.products],
        "left": (record.publishing, record.retired, len(record.replaces)),
    }


def _product(product: Product) -> tuple[Any, ...]:
    content = product.sha256 if product.kind == "ancillary" else ""
    times = (product.begin, product.end)
    sizes = tuple(product.dimensions.items())
    return (product.key, product.kind, product.datastream, times, sizes, product.quality, content)


def _placeless(text: str) -> str:
    return _WORK.sub("", text)
