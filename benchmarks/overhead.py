"""(a) From a raw file's arrival to its published product, less plain ``pipeline.run`` on it."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import workspaces
from benchmarks.plain import PlainTsdat
from benchmarks.report import Figure, median
from benchmarks.running import Running, arrive
from tidegate.runtime.runs import RunRecord
from tidegate.targets.local.ledger import SqliteLedger

TARGET = 30.0
"""The overhead may be so much, in the median, ms."""
_CONFIG = "lidar/humboldt"
_LOOK = 0.002
_RUN = "run, beyond plain"


@dataclass(frozen=True)
class Pair:
    """One file, through plain Tsdat and through a running service."""

    plain: float
    """How long plain ``pipeline.run`` took, s."""
    arrived: float
    """When the file was renamed into place, s since 1970."""
    recorded: float
    """When its run was on record as succeeded, s since 1970; its products are in place by then."""
    record: RunRecord
    """What is on record."""

    @property
    def overhead(self) -> float:
        """How much longer the service took, s."""
        return self.recorded - self.arrived - self.plain

    @property
    def phases(self) -> dict[str, float]:
        """Where the overhead went, s; they add up to it."""
        record, seconds = self.record, self.record.seconds
        assert record.run.arrived is not None
        assert record.finished is not None
        noticed, claimed = record.run.arrived.timestamp(), record.started.timestamp()
        finished = record.finished.timestamp()
        inside = ("stage", "load", "run", "sum up", "publish")
        return {
            "watch, hash": noticed - self.arrived,
            "select, queue, take": claimed - noticed,
            "claim": finished - claimed - seconds["total"],
            "stage": seconds["stage"],
            "load (copy config, make pipeline)": seconds["load"],
            _RUN: seconds["run"] - self.plain,
            "sum up": seconds["sum up"],
            "publish, fsync": seconds["publish"],
            "protocol, log": seconds["total"] - sum(seconds[n] for n in inside),
            "record": self.recorded - finished,
        }


def measure(folder: Path, quick: bool) -> list[Figure]:
    """The overhead without plots and with them, and where it goes."""
    figures: list[Figure] = []
    plots: workspaces.Plots
    for plots in ("on",) if quick else ("off", "on"):
        pairs = _pairs(folder / plots, plots, *((0, 1) if quick else (5, 60)))
        figures += _figures(pairs, f"plots {plots}")
    return figures


def _figures(pairs: Sequence[Pair], how: str) -> list[Figure]:
    plain = [1e3 * pair.plain for pair in pairs]
    ours = [1e3 * (pair.recorded - pair.arrived) for pair in pairs]
    overhead = [1e3 * pair.overhead for pair in pairs]
    # When others use the machine, the two runs differ by more than the overhead, either way.
    around = [1e3 * (pair.overhead - pair.phases[_RUN]) for pair in pairs]
    figures = [
        median("a", f"overhead, {how}", overhead, "ms", at_most=TARGET),
        median("a", f"  plain pipeline.run, {how}", plain, "ms"),
        median("a", f"  arrival to published and recorded, {how}", ours, "ms"),
        median("a", f"  overhead around the run itself, {how}", around, "ms"),
        Figure("a", f"  ratio, {how}", statistics.median(ours) / statistics.median(plain), ""),
    ]
    for phase in pairs[0].phases:
        values = [1e3 * pair.phases[phase] for pair in pairs]
        figures.append(median("a", f"    {phase}", values, "ms"))
    return figures


def _pairs(folder: Path, plots: workspaces.Plots, warm_up: int, count: int) -> list[Pair]:
    workspace = workspaces.make(_made(folder / "workspace"), plots)
    raw = folder / "raw"
    files = workspaces.raw_files(raw, warm_up + count)
    pairs: list[Pair] = []
    with (
        PlainTsdat(workspace.root / "pipelines", folder / "plain") as plain,
        Running(workspace) as service,
        SqliteLedger(workspace.ledger) as ledger,
    ):
        for number, file in enumerate(files):
            copy = folder / "plain-raw" / file.relative_to(raw)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            # Turn and turn about, so that neither always comes second.
            first = plain.run(workspaces.HUMBOLDT, copy) if number % 2 else None
            arrived = arrive(workspace, file, raw)
            at = recorded(ledger, file.relative_to(raw).as_posix())
            record = service.next().record
            run = first or plain.run(workspaces.HUMBOLDT, copy)
            for product in record.products:
                if not (workspace.output / product.key).exists():
                    raise RuntimeError(f"{product.key} is on record and not there")
            pairs.append(Pair(run.seconds, arrived, at, record))
    return pairs[warm_up:]


def recorded(ledger: SqliteLedger, key: str) -> float:
    """When a file's run is on record as succeeded, s since 1970.

    Looks seldom enough not to be in the way: the figure is too large by a millisecond, if anything.
    """
    seen, deadline = -1, time.monotonic() + 120.0
    while time.monotonic() < deadline:
        version = ledger.database.version()
        if version != seen:
            seen = version
            if any(record.state == "succeeded" for record in ledger.about(_CONFIG, key)):
                return time.time()
        time.sleep(_LOOK)
    raise RuntimeError(f"{key} is not on record")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
