"""What is in a product, read by a worker process for the pages."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from web_dashboard import Web
from web_history import INGEST, NOW, PNG

from tidegate.runtime.runs import Product


@pytest.mark.functional
def test_content_and_quick_look_of_a_product(web: Web) -> None:
    made = [
        Product(f"root/{name}", "data", 1, "f" * 64, "s.a1", NOW, NOW + timedelta(hours=1))
        for name in ("good.nc", "broken.nc")
    ]
    web.history.write(web.history.run(INGEST, "new"), NOW, products=made)
    evil = "<script>alert(1)</script>"
    time = np.arange(5).astype("datetime64[s]").astype("datetime64[ns]")
    dataset = xr.Dataset({"speed": ("time", np.arange(5.0))}, {"time": time}, {"title": evil})
    dataset.to_netcdf(web.root / "output" / "root" / "good.nc")

    client = web.client(python=sys.executable)
    data = client.get("/api/contents/root/good.nc").json()
    assert data["attributes"] == {"title": evil}
    assert {variable["name"] for variable in data["variables"]} == {"time", "speed"}
    assert "<script>alert" not in client.get("/contents/root/good.nc").text
    picture = client.get("/quicklook/root/good.nc", params={"variable": "speed"})
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(PNG[:8])
    compared = {"first": "root/good.nc", "second": "root/good.nc"}
    assert client.get("/api/compare", params=compared).json()["equal"]
    for path in ("/contents/root/broken.nc", "/quicklook/root/good.nc?variable=none"):
        answer = client.get(path, headers={"accept": "application/json"})
        assert answer.status_code == 404
        assert answer.json()["next"]


@pytest.mark.functional
def test_what_changed_since_a_copy_and_between_two_products(web: Web, tmp_path: Path) -> None:
    """A dashboard with ``--earlier``: values, flags and attributes, and a picture."""
    keys, copy = ("root/s.a1.20261126.nc", "root/s.a1.20261128.nc"), tmp_path / "before"
    evil = "<script>alert(1)</script>"
    made = []
    for day, key in zip((26, 28), keys, strict=True):
        begin = NOW.replace(day=day, hour=0)
        made.append(Product(key, "data", 1, str(day) * 32, "s.a1", begin, begin))
    web.history.write(web.history.run(INGEST, "new"), NOW, products=made)
    for folder, step in ((copy, 0.0), (web.root / "output", 0.5)):
        for day, key in zip((26, 28), keys, strict=True):
            time = np.datetime64(f"2026-11-{day}", "ns") + np.arange(5) * np.timedelta64(1, "h")
            speed = ("time", np.arange(5.0) + step * (day == 28))
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            attributes = {"title": evil if step else "old"}
            xr.Dataset({"speed": speed}, {"time": time}, attributes).to_netcdf(path)

    client = web.client(python=sys.executable, earlier=copy)
    assert "What changed" in client.get(f"/products/{keys[1]}").text
    asked = {"first": keys[1], "earlier": "yes"}
    data = client.get("/api/compare", params=asked).json()
    (speed,) = data["changes"]["variables"]
    assert (speed["values"]["count"], speed["values"]["mean"]) == (5, 0.5)
    page = client.get("/compare", params=asked).text
    assert "<script>alert" not in page
    assert "earlier version" in page
    picture = client.get("/compare/difference.png", params={**asked, "variable": "speed"})
    assert picture.content.startswith(PNG[:8])

    days = {"datastream": "s.a1", "day": "2026-11-26", "other_day": "2026-11-28"}
    data = client.get("/api/compare", params=days).json()
    assert (data["first"], data["second"]) == keys
    assert data["changes"]["days_apart"] == 2
    assert client.get("/compare", params={**days, "day": "2020-01-01"}).status_code == 200
