"""Debian's Chromium, and a page in it that notes what should not happen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 120_000
"""ms; a worker imports Tsdat, which takes long on a busy machine."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed: scripts/test_packages.sh installs it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield started
        started.close()


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
        """Check that everybody can use the page as it is now, on paper too, and keep a picture."""
        found = Axe().run(self.page)
        self.problems += [f"{name}: {v['id']}: {v['help']}" for v in found.response["violations"]]
        width = self.page.viewport_size["width"]  # type: ignore[index]
        if self.page.evaluate("document.documentElement.scrollWidth") > width:
            self.problems.append(f"{name} is wider than the window")
        self.page.screenshot(path=self.folder / f"{name}-{width}.png", full_page=True)
        self.page.emulate_media(media="print")
        if self.page.get_by_role("navigation").is_visible():
            self.problems.append(f"{name} is printed with its navigation")
        cut_off = self.page.evaluate(
            "[...document.querySelectorAll('.wide, .log')]"
            ".filter((one) => getComputedStyle(one).overflowX !== 'visible').length"
        )
        if cut_off:
            self.problems.append(f"{name} is printed with {cut_off} parts that scroll")
        self.page.emulate_media(media="null")
