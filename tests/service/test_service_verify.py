"""``tidegate verify``: the products in storage and those on record."""

from __future__ import annotations

import shutil

import pytest
from service_workspace import csv, eventually, product

pytestmark = pytest.mark.slow


def test_what_differs_is_listed_and_repaired(place):
    days = ("2022-04-01", "2022-04-02", "2022-04-03")
    for number, day in enumerate(days):
        place.put(f"tiny/one/{number}.csv", csv(f"{day}T00:00:00"))
    place.age()
    place.once()
    assert place.run("verify", "--json").json["differences"] == []

    missing, changed, kept = (place.output / product("one", f"{day}T00:00:00") for day in days)
    missing.unlink()
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    unknown = kept.with_name(kept.name.replace("20220403", "20220404"))
    shutil.copy(kept, unknown)
    found = place.run("verify", "--json")
    assert found.code == 1
    kinds = {one["key"].rpartition("/")[2]: one["kind"] for one in found.json["differences"]}
    assert kinds == {missing.name: "missing", changed.name: "changed", unknown.name: "unknown"}

    again = place.tidegate("reprocess", "tiny/one", "--only", "missing", "--dry-run", "--json")
    assert [run["about"] for run in again.json] == ["tiny/one/0.csv"]

    repaired = place.tidegate("verify", "--repair", "--json")
    assert repaired.json["differences"] == []
    assert repaired.json["products"] == 7
    place.assert_whole()


def test_a_ledger_that_is_deleted_or_outputs_that_are_gone_stop_the_service(place):
    place.put("tiny/one/first.csv", csv())
    place.age()
    place.once()
    place.output.rename(place.root / "elsewhere")
    done = place.once(code=5)
    assert "verify" in done.err
    assert not place.output.exists() or not any(place.output.rglob("*.nc"))
    shutil.rmtree(place.output, ignore_errors=True)
    (place.root / "elsewhere").rename(place.output)

    service = place.start()
    service.ready()
    ledger = place.root / ".tidegate/ledger.db"
    ledger.unlink()
    eventually(lambda: service.code is not None)
    assert service.code == 5
    (saved,) = ledger.parent.glob("ledger-saved-*.db")
    service.close()
    saved.rename(ledger)
    place.once()
    place.assert_whole()
