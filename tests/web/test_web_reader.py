"""What is in a product, read by a worker process for the pages."""

from __future__ import annotations

import sys
from datetime import timedelta

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
    for path in ("/contents/root/broken.nc", "/quicklook/root/good.nc?variable=none"):
        answer = client.get(path, headers={"accept": "application/json"})
        assert answer.status_code == 404
        assert answer.json()["next"]
