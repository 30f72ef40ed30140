"""The dashboard of a branch on AWS, on the emulator."""

from __future__ import annotations

import json
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest
import yaml
from aws_bench import NOON, raises
from playwright.sync_api import expect
from starlette.testclient import TestClient
from web_browser import PATIENCE, Visit, chromium

from tidegate.errors import RunTimeout
from tidegate.runtime.runs import Failure, Run, Window
from tidegate.web.actions import Actions
from tidegate.web.app import Dashboard, create_app
from tidegate.web.options import WebOptions
from tidegate.web.pages import ENDPOINTS
from tidegate.web.security import Guard
from tidegate.web.serving import WebServer
from tidegate.web.site import Site
from tidegate.workspace.session import TargetOptions

pytestmark = pytest.mark.slow
KEY = "lidar/humboldt/a b+c.sta"


@contextmanager
def dashboard(branch):
    """A reader of the branch's dashboard, and what its forms must have."""
    site = Site(TargetOptions(branch.folder, "aws"))
    guard, actions = Guard(WebOptions()), Actions(site)
    actions.start()
    try:
        app = create_app(Dashboard(site, guard, actions))
        client = TestClient(
            app, "http://127.0.0.1", raise_server_exceptions=False, follow_redirects=False
        )
        yield client, {"csrf": guard.csrf, "who": "Ada"}
    finally:
        actions.close()
        site.close()


def test_every_page_shows_a_branch_on_aws(branch):
    branch.arrive(KEY)
    with dashboard(branch) as (client, _):
        for endpoint in ENDPOINTS.values():
            if "{" not in endpoint.path and endpoint.name not in ("compare", "day"):
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


def test_every_page_in_a_browser_and_a_retry_by_its_button(branch, tmp_path):
    bench = branch.benches["lidar/humboldt"]
    bench.worker.behaviour = raises(RunTimeout("the run was stopped after 900 s"), 1)
    branch.arrive(KEY)
    branch.arrive("lidar/humboldt/good.sta", b"good")
    target = TargetOptions(branch.folder, "aws")
    with chromium() as browser, WebServer(target, WebOptions()) as server, branch.working():
        visit = Visit(browser, server.url, tmp_path)
        for endpoint in ENDPOINTS.values():
            if endpoint.heading:
                visit.page.goto(endpoint.path)
                visit.check(f"aws-{endpoint.name}")
        visit.page.goto("/runs?state=open")
        visit.page.get_by_role("row").nth(1).get_by_role("link").last.click()
        visit.page.get_by_role("heading", name="Why it failed").wait_for()
        visit.check("aws-run")
        visit.page.get_by_label("Your name").fill("Ada")
        visit.page.get_by_role("button", name="Retry").click()
        state = visit.page.locator(".lead .state")
        expect(state).to_contain_text("succeeded", timeout=PATIENCE)
        expect(visit.page.get_by_role("heading", name="Why it failed")).to_have_count(0)
    assert visit.problems == []


def test_buttons_on_aws(branch):
    """Functions carry out what was asked for: a failed run is retried, another is acknowledged."""
    bench = branch.benches["lidar/humboldt"]
    bench.worker.behaviour = raises(RunTimeout("the run was stopped after 900 s"), 2)
    branch.arrive("lidar/humboldt/a.sta")
    branch.arrive("lidar/humboldt/b.sta", b"other")
    with dashboard(branch) as (client, form), branch.working():

        def open_runs():
            return client.get("/api/runs", params={"state": "open"}).json()["runs"]

        first, second = open_runs()
        assert client.post(f"/runs/{first['key']}/acknowledge", data=form).status_code == 303
        assert [run["key"] for run in open_runs()] == [second["key"]]
        assert client.post(f"/runs/{second['key']}/retry", data=form).status_code == 303

        def shown():
            return client.get(f"/api/runs/{second['key']}").json()

        eventually(lambda: (shown()["state"], shown()["attempt"]) == ("succeeded", 2))
        eventually(
            lambda: all(
                one["state"] == "done" for one in client.get("/api/requests").json()["requests"]
            )
        )
        (state, _) = client.get("/api/overview").json()["configs"]
        assert state["open_failures"] == 0


def test_failure_bundles_from_aws(branch, tmp_path):
    """Raw files and products come from the buckets, at the versions that the runs read."""
    bench = branch.benches["lidar/humboldt"]
    bench.worker.behaviour = raises(RunTimeout("the run was stopped after 900 s"), 1)
    branch.arrive(KEY, b"raw content")
    branch.arrive("lidar/humboldt/good.sta", b"good")
    ingest, failed = branch.ledger.records()
    file = tmp_path / "ingest.zip"
    branch.tidegate("show", failed.key[:10], "--failure-bundle", str(file))
    with zipfile.ZipFile(file) as archive:
        assert archive.read(f"input/{KEY}") == b"raw content"
        assert json.loads(archive.read("bundle.json"))["record"]["state"] == "failed"
        assert b"was stopped" in archive.read("log.jsonl")

    product = next(p for p in ingest.products if p.kind == "data")
    window = Window(NOON.replace(hour=0), NOON.replace(hour=0) + timedelta(days=1))
    run = Run("wind/humboldt", window=window, products=(product.ref,))
    lease = timedelta(minutes=5)
    claim = branch.ledger.claim(run, owner="test", lease=lease, now=NOON, release="r")
    failed = replace(
        claim.record, state="failed", finished=NOON, failure=Failure("bad-input", "no wind")
    )
    branch.ledger.finish(failed)
    file = tmp_path / "vap.zip"
    branch.tidegate("show", run.key[:10], "--failure-bundle", str(file))
    with zipfile.ZipFile(file) as archive:
        assert len(archive.read(f"output/{product.key}")) == product.size
        packed = yaml.safe_load(archive.read("pipelines_config.yml"))
    assert [entry["name"] for entry in packed["pipelines"]] == ["wind"]
    assert "input_bucket_name" not in packed


def eventually(is_so):
    """Wait until it is so; functions and requests are at work in threads."""
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.1)
