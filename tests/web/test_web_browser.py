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
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from web_history import HistoryWriter

from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import Failure, Input, Run
from tidegate.web.options import WebOptions
from tidegate.web.serving import WebServer
from tidegate.workspace.session import TargetOptions

pytestmark = pytest.mark.functional

TINY = Path(__file__).parents[1] / "service" / "tiny"
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
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
PATIENCE = 120_000
"""ms; a worker imports Tsdat, which takes long on a busy machine."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: scripts/test_packages.sh installs it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


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


class Visit:
    """A page of the browser that notes what should not happen."""

    def __init__(self, browser: Browser, address: str, folder: Path, **options: object) -> None:
        context = browser.new_context(base_url=address, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        self.page: Page = context.new_page()
        self.folder = folder
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._said)
        self.page.on("request", lambda request: self._asked(request.url, address))

    def _said(self, message: object) -> None:
        if getattr(message, "type", "") == "error":
            self.problems.append(str(getattr(message, "text", "")))

    def _asked(self, url: str, address: str) -> None:
        if not url.startswith(address):
            self.problems.append(f"asked for {url}")

    def check(self, name: str) -> None:
        """Check that everybody can use the page as it is now, and keep a picture of it."""
        found = Axe().run(self.page)
        self.problems += [f"{name}: {v['id']}: {v['help']}" for v in found.response["violations"]]
        width = self.page.viewport_size["width"]  # type: ignore[index]
        if self.page.evaluate("document.documentElement.scrollWidth") > width:
            self.problems.append(f"{name} is wider than the window")
        self.page.screenshot(path=self.folder / f"{name}-{width}.png", full_page=True)


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
