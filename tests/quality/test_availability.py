"""How much of each day is there: from a ledger's products to days, hours, gaps and variables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import pytest

from tidegate.errors import LedgerError
from tidegate.quality.availability import Series, availability
from tidegate.quality.variables import by_variable
from tidegate.runtime.day_summaries import Unwritten, refresh
from tidegate.runtime.runs import FailedTest, Input, Product, QualitySummary, Run
from tidegate.runtime.testing import MemoryLedger

T0 = datetime(2024, 3, 1, tzinfo=timezone.utc)
STREAM = "morro.buoy.a1"
DAYS = (date(2024, 3, 1), date(2024, 3, 11))
NOW = T0 + timedelta(days=10)


def product(begin: float, end: float, times: int = 1, **more: object) -> Product:
    """Data from hour ``begin`` to hour ``end`` after T0."""
    moments = [T0 + timedelta(hours=hours) for hours in (begin, end)]
    given = Product(f"{begin:08.3f}.nc", "data", 1, "f" * 64, STREAM, *moments, {"time": times})
    return replace(given, config="buoy/morro", **more)  # type: ignore[arg-type]


def add(ledger: MemoryLedger, products: Iterable[Product], retired: tuple[str, ...] = ()) -> None:
    """Put products on record, as a run does."""
    products = tuple(products)
    run = Run("buoy/morro", tuple(Input(made.key, "1", 1) for made in products), again=True)
    claim = ledger.claim(run, owner="me", lease=timedelta(hours=1), now=NOW, release="")
    assert claim.record is not None
    ledger.finish(replace(claim.record, state="succeeded", products=products, retired=retired))


def look(ledger: MemoryLedger, now: datetime = NOW, **more: object) -> Series:
    (series,) = availability(ledger, *DAYS, now=now, **more)  # type: ignore[arg-type]
    return series


def shares(series: Series) -> list[float | None]:
    return [cell.available and round(cell.available, 2) for cell in series.cells]


def ledger_with(products: Iterable[Product]) -> MemoryLedger:
    ledger = MemoryLedger()
    add(ledger, products)
    return ledger


def daily(days: Iterable[int]) -> Iterator[Product]:
    return (product(24 * day, 24 * day + 23 + 5 / 6, 144) for day in days)


@pytest.mark.parametrize(
    "products",
    [
        list(daily(range(10))),
        [product(n / 6, n / 6) for n in range(6 * 240)],
        [product(n, n + 1 / 3, 1200) for n in range(240)],
        [product(6 * n, 6 * n + 6 - 1 / 60, 360) for n in range(40)],
        [product(0, 240 - 1, 240)],
    ],
    ids=["a file a day", "snapshots", "bursts of 20 min", "four files a day", "one file"],
)
def test_data_as_usual_is_complete(products: list[Product]) -> None:
    series = look(ledger_with(products))
    assert shares(series) == [1.0] * 10
    assert series.gaps == ()
    assert sum(cell.products for cell in series.cells) == len(products)


def test_days_without_a_file_are_a_gap() -> None:
    series = look(ledger_with(daily([0, 1, 2, 5, 6, 7, 8, 9])))
    assert shares(series) == [1, 1, 1, 0, 0, 1, 1, 1, 1, 1]
    (gap,) = series.gaps
    assert (gap.begin, gap.end) == (T0 + timedelta(days=3), T0 + timedelta(days=5))
    assert not gap.ongoing


def test_a_file_that_ends_early_is_a_part_of_its_day() -> None:
    products = [*daily([0, 1, 2]), product(72, 78, 37), *daily(range(4, 10))]
    series = look(ledger_with(products))
    assert shares(series)[3] == pytest.approx(0.26)
    assert series.gaps[0].begin == T0 + timedelta(hours=78, minutes=10)


def test_missing_snapshots_of_a_day() -> None:
    series = look(ledger_with(product(n / 6, n / 6) for n in range(1440) if not 300 < n < 313))
    assert shares(series)[2] == pytest.approx(1 - 2 / 24, abs=0.01)
    assert series.gaps[0].end - series.gaps[0].begin == timedelta(hours=2)


def test_fewer_samples_than_usual_count_for_less() -> None:
    products = [*daily(range(5)), product(120, 143 + 5 / 6, 72), *daily(range(6, 10))]
    series = look(ledger_with(products))
    assert shares(series)[5] == pytest.approx(0.5, abs=0.02)


def test_very_many_gaps_are_added_up() -> None:
    """Every other stretch of ten minutes is missing, on one day of ten."""
    minutes = [m for m in range(14400) if not 1440 <= m < 2880 or m // 10 % 2 == 0]
    series = look(ledger_with(product(m / 60, m / 60) for m in minutes))
    assert shares(series)[1] == pytest.approx(0.5, abs=0.02)
    assert shares(series)[0] == shares(series)[2] == 1.0
    assert len(series.gaps) < 60


def test_nothing_is_expected_before_the_first_data_and_after_now() -> None:
    half = T0 + timedelta(days=7, hours=12)
    series = look(ledger_with([product(n, n) for n in range(36, 7 * 24 + 12)]), half)
    assert shares(series) == [None, 1, 1, 1, 1, 1, 1, 1, None, None]
    assert series.cells[1].expected == series.cells[7].expected == 12 * 3600
    assert (series.begin, series.end) == (T0 + timedelta(hours=36), half - timedelta(hours=1))


def test_data_that_stopped_is_a_gap_that_goes_on() -> None:
    series = look(ledger_with(daily(range(4))))
    assert shares(series) == [1] * 4 + [0] * 6
    assert [(gap.begin, gap.end, gap.ongoing) for gap in series.gaps] == [
        (T0 + timedelta(days=4), NOW, True)
    ]


def test_expect_every_tells_where_the_data_cannot() -> None:
    ledger = ledger_with([product(0, 0)])
    assert shares(look(ledger))[0] == 0.0
    assert shares(look(ledger, expect_every={"buoy/morro": 86400.0}))[0] == 1.0


def test_an_outage_longer_than_the_period_is_seen_whole() -> None:
    months = ledger_with([*daily(range(-90, -60)), *daily(range(50, 60))])
    series = look(months)
    assert shares(series) == [0.0] * 10
    assert series.gaps[0].begin == T0 - timedelta(days=60)


def test_hours() -> None:
    products = [product(h, h + 59 / 60, 60, quality=CHECKED) for h in range(240) if h != 30]
    hours = look(ledger_with(products), by="hour").cells
    assert len(hours) == 240
    assert [n for n, cell in enumerate(hours) if (cell.available or 0) < 0.99] == [30]
    assert hours[29].passed == pytest.approx(0.9)
    assert hours[30].passed is None


CHECKED = (
    QualitySummary("wind", 60, 6, 2, (FailedTest("too large", "Bad", 6),)),
    QualitySummary("waves", 60, 6, 0),
)


def test_variables_and_tests() -> None:
    products = [product(24 * d, 24 * d + 23, 24, quality=CHECKED) for d in (0, 1, 3)]
    valid = {"wind": 0.9, "text": 0.0}
    found = by_variable(ledger_with([replace(p, valid=valid) for p in products]), STREAM, *DAYS)
    wind, text, waves = found
    assert (wind.variable, text.variable, waves.variable) == ("wind", "text", "waves")
    assert [day.samples for day in wind.days] == [60, 60, 0, 60, 0, 0, 0, 0, 0, 0]
    assert wind.total.bad == 18
    assert wind.total.valid == pytest.approx(0.9)
    assert wind.tests == {"too large": 18}
    assert text.total.passed is None


def test_what_was_replaced_or_removed_is_looked_at_again() -> None:
    ledger = ledger_with(daily(range(10)))
    assert shares(look(ledger)) == [1.0] * 10
    add(ledger, [product(48, 54, 37)])  # the third day again, with less
    assert shares(look(ledger))[2] == pytest.approx(0.26)
    ended = product(96, 96 + 23 + 5 / 6, 144)
    add(ledger, [product(240, 263, 24)], retired=(ended.key,))
    assert shares(look(ledger))[4] == 0.0


def test_days_in_steps_are_the_same_as_days_at_once() -> None:
    """Late files, in any order, looked at after each: nothing depends on who looked when."""
    products = [product(7 * n, 7 * n + 5, 301, quality=CHECKED) for n in range(30)]
    at_once = refresh(ledger_with(products), STREAM)
    ledger = MemoryLedger()
    for n in range(30):
        add(ledger, [products[n * 7 % 30]])
        refresh(ledger, STREAM)
    assert refresh(ledger, STREAM).days == at_once.days


def test_a_look_without_changes_writes_nothing() -> None:
    ledger = ledger_with(daily(range(3)))
    look(ledger)
    written: list[str] = []
    ledger.set_state = lambda name, value: written.append(name)  # type: ignore[method-assign]
    look(ledger)
    assert written == []


def test_a_reader_who_may_not_write_keeps_the_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not begin at the first product each time, and knows why."""
    ledger, unwritten = ledger_with(daily(range(3))), Unwritten()

    def denied(name: str, value: str) -> None:
        raise LedgerError("cannot write", next="allow it")

    monkeypatch.setattr(ledger, "set_state", denied)
    assert len(refresh(ledger, STREAM, unwritten).days) == 3
    assert unwritten.error is not None
    cursors: list[str] = []
    changes = ledger.changes

    def seen(datastream: str, cursor: str) -> object:
        cursors.append(cursor)
        return changes(datastream, cursor)

    monkeypatch.setattr(ledger, "changes", seen)
    add(ledger, daily([3]))
    assert len(refresh(ledger, STREAM, unwritten).days) == 4
    assert "" not in cursors
    monkeypatch.undo()
    add(ledger, daily([4]))
    assert len(refresh(ledger, STREAM, unwritten).days) == 5
    assert unwritten == Unwritten()


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:00:00+00:00"])
def test_wrong_times_are_left_aside(moment: str) -> None:
    ledger, odd = ledger_with(daily(range(10))), datetime.fromisoformat(moment)
    add(ledger, [replace(product(0, 1), key="odd.nc", begin=odd, end=odd)])
    add(ledger, [replace(product(0, 1), key="all.nc", begin=T0 - timedelta(days=300000))])
    assert shares(look(ledger)) == [1.0] * 10
