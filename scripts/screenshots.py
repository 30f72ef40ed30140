"""Makes the pictures of the dashboard in docs/images: ``make screenshots``.

A workspace with two years of history, shown by the real dashboard in Debian's Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import xarray as xr
from benchmarks.history import Stream, history, streams, write, write_workspace
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tidegate.runtime.day_summaries import refresh_all
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import FailedTest, Product, QualitySummary
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.ledger.products import write_product
from tidegate.web.options import WebOptions
from tidegate.web.serving import WebServer
from tidegate.workspace.session import TargetOptions

IMAGES = Path(__file__).parents[1] / "docs" / "images"
STREAM = "morro.met.a1"
_RUNS, _DAYS = 20_000, 730
_LARGEST = 150_000
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def make_workspace(root: Path, runs: int = _RUNS, days: int = _DAYS) -> Product:
    """Two years of 30 datastreams, and the file of one product, which is returned."""
    wanted: list[Stream] = streams(runs, days)
    root.mkdir(parents=True)
    write_workspace(root, wanted)
    now = datetime.now(timezone.utc)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with SqliteLedger(root / ".tidegate" / "ledger.db") as ledger:
        write(ledger, history(wanted, days, today, until=now))
        newest = today - timedelta(days=1)
        found = next(ledger.products(datastream=STREAM, begin=newest - timedelta(days=20)))
        product = _make_file(found, root / "output" / found.key)
        with ledger.database.writing() as db:
            write_product(db, product)
        refresh_all(ledger)
    return product


def _make_file(product: Product, path: Path) -> Product:
    """A day of temperatures; some of them are above the limit."""
    assert product.begin is not None
    minutes = np.arange(product.dimensions["time"])
    chance = np.random.default_rng(1)
    values = (
        14 - 6 * np.cos(2 * np.pi * (minutes - 180) / 1440) + chance.normal(0, 0.25, minutes.size)
    )
    values[800:815] += 25
    bad = values > 30
    start = np.datetime64(product.begin.replace(tzinfo=None), "ns")
    flags = {
        "standard_name": "quality_flag",
        "flag_masks": [1],
        "flag_meanings": ["Value is greater than fail_max."],
        "flag_assessments": ["Bad"],
    }
    dataset = xr.Dataset(
        {
            "temperature": (
                "time",
                values,
                {"units": "degC", "ancillary_variables": "qc_temperature"},
            ),
            "qc_temperature": ("time", bad.astype("int32"), flags),
        },
        {"time": start + minutes.astype("timedelta64[m]")},
    )
    path.parent.mkdir(parents=True)
    dataset.to_netcdf(path)
    size, sha256 = content_hash(path)
    failed = FailedTest("Value is greater than fail_max.", "Bad", int(bad.sum()))
    quality = QualitySummary("temperature", minutes.size, int(bad.sum()), 0, (failed,))
    others = tuple(q for q in product.quality if q.variable != "temperature")
    return replace(product, size=size, sha256=sha256, quality=(quality, *others))


def take(browser: Browser, address: str, product: Product, folder: Path) -> None:
    """The three pictures, in light and at twice the size."""
    pages = {
        "dashboard-overview": ("/", 820),
        "dashboard-availability": (f"/availability?datastream={STREAM}", 700),
        "dashboard-product": (f"/products/{product.key}", 800),
    }
    for name, (path, height) in pages.items():
        page = browser.new_page(
            base_url=address, viewport={"width": 1280, "height": height}, color_scheme="light"
        )
        page.goto(path)
        page.wait_for_selector(".strip" if path == "/" else "main", timeout=120_000)
        if name == "dashboard-product":
            page.locator(".look img").evaluate("image => image.decode()")
        _save(page.screenshot(), folder / f"{name}.png")
        page.close()


def _save(content: bytes, path: Path) -> None:
    """A picture with at most 256 colours: a third of the bytes, and text stays sharp."""
    with Image.open(io.BytesIO(content)) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
        few.save(path, optimize=True)
    if path.stat().st_size > _LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {_LARGEST}")


def main() -> None:
    """Make the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed: sh scripts/test_packages.sh")
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        root = Path(folder) / "station"
        product = make_workspace(root)
        target = TargetOptions(root)
        with (
            WebServer(target, WebOptions(), python=sys.executable) as server,
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
            take(browser, server.url, product, IMAGES)
            browser.close()


if __name__ == "__main__":
    main()
