"""The dashboard in a real browser: from a failed run to a green one, by keyboard, on a phone."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from benchmarks.history import history, streams, write, write_workspace
from playwright.sync_api import Browser, expect
from web_browser import PATIENCE, Visit, chromium
from web_history import HistoryWriter, make_workspace

from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import Failure, Input, Run
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.web.options import WebOptions
from tidegate.web.pages import ENDPOINTS
from tidegate.web.serving import WebServer
from tidegate.workspace.session import TargetOptions

pytestmark = pytest.mark.functional

TINY = Path(__file__).parents[1] / "service" / "tiny"
CONFIG = """\
repository: pipelines
pipelines:
  - name: tiny
    type: Ingest
    trigger: S3
    configs:
      site:
        input_bucket_path: tiny/site/
        config_file_path: pipelines/tiny/config/pipeline.yaml
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with chromium() as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    """A dashboard over a workspace with one run, which failed for a reason that has passed."""
    root = tmp_path / "station"
    shutil.copytree(TINY, root / "pipelines")
    (root / "pipelines_config.yml").write_text(CONFIG)
    raw = root / "input" / "tiny" / "site" / "a.csv"
    raw.parent.mkdir(parents=True)
    times = [datetime(2022, 4, 5, tzinfo=timezone.utc) + timedelta(hours=n) for n in range(24)]
    rows = [f"{time:%Y-%m-%dT%H:%M:%S},{number}" for number, time in enumerate(times)]
    raw.write_text("\n".join(["time,x", *rows]) + "\n")
    size, version = content_hash(raw)
    history = HistoryWriter(root)
    run = Run("tiny/site", inputs=(Input("tiny/site/a.csv", version, size),))
    failure = Failure("transient", "the network is down", "pipelines/tiny/readers.py:9")
    when = datetime.now(timezone.utc) - timedelta(minutes=5)
    history.write(replace(run, arrived=when), when, "failed", failure=failure)
    history.ledger.close()
    with WebServer(TargetOptions(root), WebOptions(), python=sys.executable) as started:
        yield started


def test_from_a_failed_run_to_a_green_one(
    browser: Browser, server: WebServer, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("TIDEGATE_SCREENSHOTS", tmp_path / "screenshots"))
    folder.mkdir(exist_ok=True)
    visit = Visit(browser, server.url, folder, color_scheme="light")
    page = visit.page
    page.goto("/")
    visit.check("overview")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.get_by_role("link", name="1", exact=True).click()
    visit.check("runs")
    page.get_by_role("row").nth(1).get_by_role("link").last.click()
    expect(page.get_by_text("the network is down").first).to_be_visible()
    visit.check("run")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".lead .state")).to_contain_text("succeeded", timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Why it failed")).to_have_count(0)
    expect(page.get_by_text("Ada (127.0.0.1)")).to_be_visible()

    page.get_by_role("link", name=".nc").first.click()
    picture = page.locator(".look img")
    picture.evaluate("image => image.decode()")  # raises if it is no picture
    visit.check("product")

    phone = Visit(
        browser,
        server.url,
        folder,
        color_scheme="dark",
        viewport={"width": 390, "height": 800},
    )
    for name in ("overview", "availability", "runs", "products", "plots", "requests"):
        phone.page.goto("/" if name == "overview" else f"/{name}")
        phone.check(name)
    phone.page.goto("/plots?day=2022-04-05")
    phone.page.keyboard.press("ArrowLeft")
    phone.page.wait_for_url("**/plots?*day=2022-04-04*")
    assert visit.problems + phone.problems == []


@pytest.fixture(scope="module")
def two_years(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A dashboard over two years of three datastreams."""
    root, days = tmp_path_factory.mktemp("years") / "station", 730
    root.mkdir()
    wanted = streams(3 * days, days, 3)
    write_workspace(root, wanted)
    now = datetime.now(timezone.utc)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with SqliteLedger(root / ".tidegate" / "ledger.db") as ledger:
        write(ledger, history(wanted, days, midnight, until=now))
    with WebServer(TargetOptions(root), WebOptions(), python=sys.executable) as started:
        yield started


def test_every_page_of_two_years_of_history(
    browser: Browser, two_years: WebServer, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("TIDEGATE_SCREENSHOTS", tmp_path / "screenshots"))
    folder.mkdir(exist_ok=True)
    visit = Visit(browser, two_years.url, folder, color_scheme="dark")
    page = visit.page
    page.goto("/")
    page.locator("tbody svg.strip").first.wait_for()
    visit.check("years-overview")
    page.get_by_role("navigation").get_by_role("link", name="Availability").click()
    visit.check("years-availability")
    page.locator("table.strips tbody a").first.click()
    visit.check("years-calendar")
    page.locator("table.calendar tbody th a").nth(1).click()
    expect(page.get_by_role("heading", name="Variables")).to_be_visible()
    visit.check("years-month")
    page.locator("table.calendar td.a5 a").first.click()
    visit.check("years-day")
    page.goto("/runs?state=failed")
    visit.check("years-failed")
    page.get_by_role("row").nth(1).get_by_role("link").last.click()
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    visit.check("years-run")
    for name in ("products", "plots", "releases"):
        page.goto(f"/{name}")
        visit.check(f"years-{name}")
    phone = Visit(browser, two_years.url, folder, viewport={"width": 390, "height": 800})
    for name in ("availability", "runs"):
        phone.page.goto(f"/{name}")
        phone.check(f"years-{name}")
        inside = ".wide table.strips, .wide table.stack"
        assert phone.page.locator(inside).first.evaluate(
            "table => table.scrollWidth <= table.parentElement.clientWidth"
        )
    assert visit.problems + phone.problems == []


def test_every_page_of_an_empty_workspace(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "screenshots"
    folder.mkdir()
    root = make_workspace(tmp_path / "station")
    with WebServer(TargetOptions(root), WebOptions(), python=sys.executable) as server:
        visit = Visit(browser, server.url, folder)
        for endpoint in ENDPOINTS.values():
            if endpoint.heading:
                visit.page.goto(endpoint.path)
                visit.check(endpoint.name)
    assert visit.problems == []
