"""How much of each variable of a datastream is valid, and passed its checks, by day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone

from tidegate.runtime.protocols import Ledger
from tidegate.runtime.runs import Product


@dataclass(frozen=True)
class VariableDay:
    """One variable on one day."""

    day: date
    """The day, UTC."""
    samples: int = 0
    """How many values were checked."""
    bad: int = 0
    """How many of them failed a test that is assessed Bad."""
    indeterminate: int = 0
    """How many failed only tests that are assessed Indeterminate."""
    valid: float | None = None
    """The share of values that are not missing, 0 to 1, on average over the products of the day;
    None where there is none."""

    @property
    def passed(self) -> float | None:
        """The part of the checked values that is not bad, 0 to 1; None where none was checked."""
        return 1.0 - self.bad / self.samples if self.samples else None


@dataclass(frozen=True)
class VariableSeries:
    """One variable of a datastream over a period."""

    variable: str
    """Its name."""
    days: tuple[VariableDay, ...]
    """Each day of the period, in order."""
    tests: Mapping[str, int] = field(default_factory=dict)
    """How many values failed each test, by its meaning (``flag_meanings``)."""

    @property
    def total(self) -> VariableDay:
        """The whole period."""
        valid = [day.valid for day in self.days if day.valid is not None]
        return VariableDay(
            self.days[0].day,
            sum(day.samples for day in self.days),
            sum(day.bad for day in self.days),
            sum(day.indeterminate for day in self.days),
            sum(valid) / len(valid) if valid else None,
        )


def by_variable(ledger: Ledger, datastream: str, begin: date, end: date) -> list[VariableSeries]:
    """The variables of a datastream over the days [begin, end), as ``variables_of`` has them.

    The cost depends on the number of products.
    """
    products = ledger.overlapping(datastream, _midnight(begin), _midnight(end))
    return variables_of(products, begin, end)


def variables_of(products: Iterable[Product], begin: date, end: date) -> list[VariableSeries]:
    """The variables of products over the days [begin, end), in the order of the products; pure.

    A product counts for the day on which it begins.
    """
    sums: dict[str, dict[date, list[float]]] = {}
    tests: dict[str, dict[str, int]] = {}
    for product in products:
        assert product.begin is not None
        day = max(product.begin.date(), begin)
        for name, share in product.valid.items():
            row = sums.setdefault(name, {}).setdefault(day, [0, 0, 0, 0, 0])
            row[3] += share
            row[4] += 1
        for checked in product.quality:
            row = sums.setdefault(checked.variable, {}).setdefault(day, [0, 0, 0, 0, 0])
            row[0] += checked.samples
            row[1] += checked.bad
            row[2] += checked.indeterminate
            failed = tests.setdefault(checked.variable, {})
            for test in checked.tests:
                failed[test.meaning] = failed.get(test.meaning, 0) + test.failed
    listed = [begin + timedelta(days=n) for n in range((end - begin).days)]
    return [
        VariableSeries(
            name, tuple(_variable_day(day, days.get(day)) for day in listed), tests.get(name, {})
        )
        for name, days in sums.items()
    ]


def _variable_day(day: date, row: Sequence[float] | None) -> VariableDay:
    if row is None:
        return VariableDay(day)
    samples, bad, indeterminate, valid, products = row
    return VariableDay(
        day, int(samples), int(bad), int(indeterminate), valid / products if products else None
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), timezone.utc)
