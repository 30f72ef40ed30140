"""VAPs: schedules that really fire, and windows as on this machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from e2e_cloud import Cloud, eventually
from e2e_repository import PRODUCTS, csv, load_make_raw
from e2e_same import (
    Arrival,
    Deployed,
    Local,
    Put,
    Tick,
    assert_same,
    assert_same_products,
    story,
)

CONFIGS = ("tiny/windows", "tiny_due/windows")
DUE = Tick("tiny_due/windows")


def test_the_deployed_schedule_fires(cloud: Cloud) -> None:
    """It fires each minute, from the deployment on; its file was put there then."""

    def look() -> bool:
        return any(r.state == "succeeded" for r in cloud.records("tiny_now/ticks"))

    eventually(look, lambda: cloud.records("tiny_now/ticks"))
    [record] = cloud.records("tiny_now/ticks")
    assert record.run.window is not None
    assert str(record.run.window) == "2022-04-01 to 2022-04-02"
    [ref] = record.run.products
    assert ref.key.startswith("storage/root/data/ticks/ticks.tiny.a1/")
    [product] = cloud.ledger.products(config="tiny_now/ticks")
    assert product.datastream == "ticks.tinyvap.c1"
    cloud.s3.head_object(Bucket=PRODUCTS, Key=product.key)


def test_late_and_replaced_inputs(cloud: Cloud, new_local: Callable[..., Local]) -> None:
    day1, day2, day3 = (f"2022-04-0{n}T00:00:00" for n in (1, 2, 3))
    arrivals: list[Arrival] = [
        Put("tiny/windows/1.csv", csv(day1)),
        Put("tiny/windows/3.csv", csv(day3)),
        DUE,
        Put("tiny/windows/2.csv", csv(day2)),  # late
        Put("tiny/windows/1.csv", csv(day1, [7, 8, 9])),  # replaced
        DUE,
        DUE,  # nothing has changed
    ]
    sides = new_local(), Deployed(cloud, CONFIGS)
    for side in sides:
        for arrival in arrivals:
            side.arrive(arrival)
    windows = [
        (str(record.run.window), record.state) for record in cloud.records("tiny_due/windows")
    ]
    assert sorted(windows) == [
        ("2022-04-01 to 2022-04-02", "succeeded"),
        ("2022-04-01 to 2022-04-02", "superseded"),
        ("2022-04-02 to 2022-04-03", "succeeded"),
        ("2022-04-03 to 2022-04-04", "succeeded"),
    ]
    assert_same(*sides, CONFIGS)


def test_the_examples_vap(cloud: Cloud, new_local: Callable[..., Local], tmp_path: Path) -> None:
    """Two hours of a lidar become two hours of wind at hub height, as on this machine."""
    make_raw, out, day = load_make_raw(), tmp_path / "raw", date(2020, 11, 20)
    path = next(make_raw.make_files(out, make_raw.SITES["humboldt"], day, 7, minutes_per_file=120))
    key = path.relative_to(out).as_posix()
    local, vap = new_local(), "lidar_vap/humboldt"
    deployed = Deployed(cloud, ("lidar/humboldt", vap), fires=True)
    for side in (local, deployed):
        side.arrive(Put(key, path.read_bytes()))
        side.arrive(Tick(vap))
    windows = {s for record in local.ledger().records(config=vap) for s in record.run.subjects}
    assert len(windows) == 1  # a day
    assert story(local.ledger(), [vap]) == story(deployed.ledger(), [vap], windows)
    made = deployed.outputs()
    assert_same_products(local.outputs(), {key: made[key] for key in local.outputs()})
