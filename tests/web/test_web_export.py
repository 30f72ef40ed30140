"""The static copy: complete, without a link that leads nowhere, and never outside of its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from web_dashboard import Web
from web_history import INGEST, NOW, PNG, STREAM

from tidegate.errors import UsageError
from tidegate.runtime.runs import Product
from tidegate.web.export import export_site
from tidegate.web.site import Site
from tidegate.workspace.session import TargetOptions

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def export(web: Web, tmp_path: Path) -> Callable[[], Path]:
    """A function: write the copy."""

    def write() -> Path:
        folder = tmp_path / "public"
        site = Site(TargetOptions(web.root), read_only=True, wait_for_all=True, now=lambda: NOW)
        try:
            assert export_site(site, folder, days=7) > 20
        finally:
            site.close()
        return folder

    return write


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"a": "href", "img": "src", "link": "href", "script": "src"}
        self.found += [value or "" for name, value in attrs if names.get(tag) == name]


def links_of(page: Path) -> list[str]:
    """The addresses in a page."""
    parser = _Links()
    parser.feed(page.read_text("utf-8"))
    return parser.found


def test_every_page_is_there_and_every_link_leads_to_one(
    web: Web, export: Callable[[], Path]
) -> None:
    begin = NOW - timedelta(hours=2)
    key = f"../{EVIL}/{EVIL}?#%.png"
    made = Product(key, "ancillary", 1, "d" * 64, EVIL, begin, NOW)
    record = web.history.ledger.claim(
        web.history.run(INGEST, EVIL), owner="t", lease=timedelta(1), now=NOW, release=""
    ).record
    assert record is not None
    web.history.ledger.finish(
        replace(record, state="succeeded", finished=NOW, products=(replace(made, run=record.key),))
    )
    folder = export()
    pages = sorted(folder.rglob("*.html"))
    for page in pages:
        text = page.read_text("utf-8")
        assert EVIL not in text
        assert 'method="post"' not in text
        for link in links_of(page):
            parts = urlsplit(link)
            assert not parts.scheme
            assert not parts.netloc
            if parts.path:
                target = (page.parent / unquote(parts.path)).resolve()
                assert target.is_relative_to(folder)
                # The picture of the product above does not exist.
                assert target.is_file() or target.suffix == ".png", f"{page}: {link}"
    names = {page.relative_to(folder).as_posix() for page in pages}
    assert {"index.html", "runs.html", "availability.html", f"run/{record.key}.html"} <= names
    assert any(name.startswith(f"availability/datastream-{STREAM}") for name in names)
    assert [path.read_bytes() for path in folder.rglob("*.wind.png")] == [PNG] * 6


def test_what_is_old_goes_and_other_folders_are_left_alone(
    export: Callable[[], Path], tmp_path: Path
) -> None:
    folder = export()
    (folder / "old.html").write_text("x")
    (folder / "run" / "old").mkdir()
    assert export() == folder
    assert not (folder / "old.html").exists()
    assert not (folder / "run" / "old").exists()
    assert (folder / "index.html").exists()
    (folder / ".tidegate-export").unlink()
    with pytest.raises(UsageError):
        export()
    assert (folder / "index.html").exists()
