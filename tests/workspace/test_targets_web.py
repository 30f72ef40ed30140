"""The dashboard of a branch on AWS, on the emulator."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from tidegate.web.actions import Actions
from tidegate.web.app import Dashboard, create_app
from tidegate.web.options import WebOptions
from tidegate.web.pages import ENDPOINTS
from tidegate.web.security import Guard
from tidegate.web.site import Site
from tidegate.workspace.session import TargetOptions

pytestmark = pytest.mark.slow
KEY = "lidar/humboldt/a b+c.sta"


def test_every_page_shows_a_branch_on_aws(branch):
    branch.arrive(KEY)
    site = Site(TargetOptions(branch.folder, "aws"))
    try:
        app = create_app(Dashboard(site, Guard(WebOptions()), Actions(site)))
        client = TestClient(app, "http://127.0.0.1", raise_server_exceptions=False)
        for endpoint in ENDPOINTS.values():
            if "{" not in endpoint.path and endpoint.name != "day":
                page = client.get(endpoint.path)
                assert page.status_code == 200, (endpoint.path, page.text)
        (state, _) = client.get("/api/overview").json()["configs"]
        assert (state["last_outcome"], state["open_failures"]) == ("succeeded", 0)
        (run,) = client.get("/api/runs").json()["runs"]
        shown = client.get(f"/api/runs/{run['key']}").json()
        assert shown["about"] == KEY
        for product in run["products"]:
            assert client.get(f"/products/{quote(product['key'])}").status_code == 200
            content = client.get(f"/files/{quote(product['key'])}").content
            assert len(content) == product["size"]
        assert client.get("/metrics").status_code == 200
    finally:
        site.close()
