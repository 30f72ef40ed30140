"""Figures with their targets, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One thing that was measured."""

    benchmark: str
    """The letter of the benchmark, as in ``python -m benchmarks a``."""
    what: str
    """What was measured, in a few words."""
    value: float
    """The figure; the median where it was measured several times."""
    unit: str
    """Its unit, "" for a ratio."""
    at_most: float | None = None
    """The target, where less is better."""
    at_least: float | None = None
    """The target, where more is better."""
    spread: tuple[float, float] | None = None
    """The quartiles, or the least and the most where there are only a few."""
    count: int = 1
    """How many measurements it comes from."""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None

    @property
    def target(self) -> str:
        """The target as a person writes it."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else ""

    def __str__(self) -> str:
        return "  ".join(cell for cell in self.cells() if cell)

    def cells(self) -> tuple[str, ...]:
        """The figure as a row of the table."""
        spread = f"{short(self.spread[0])} to {short(self.spread[1])}" if self.spread else ""
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        count = f"n={self.count}" if self.count > 1 else ""
        value = f"{short(self.value)} {self.unit}".strip()
        return (self.benchmark, self.what, value, spread, count, self.target, verdict)


def median(
    benchmark: str,
    what: str,
    values: Sequence[float],
    unit: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    """The median of several measurements, with its spread."""
    spread = (min(values), max(values))
    if len(values) >= 8:
        quartiles = statistics.quantiles(values, n=4)
        spread = (quartiles[0], quartiles[2])
    middle = statistics.median(values)
    return Figure(benchmark, what, middle, unit, at_most, at_least, spread, len(values))


def short(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """All figures, one a line, with the target beside each that has one."""
    titles = ("", "what", "median", "spread", "", "target", "")
    rows = [titles, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows)
    return "\n".join([machine(), "", *(line.rstrip() for line in lines)])


def as_json(figures: Sequence[Figure]) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "date": _today(),
        "machine": machine(),
        "figures": [{**vars(figure), "met": figure.met} for figure in figures],
    }


def machine() -> str:
    """What was measured on, and with what."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("tidegate", "tsdat", "xarray"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{_today()}: {os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, load {load:.1f}; "
        f"Python {platform.python_version()}, {versions}"
    )


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
