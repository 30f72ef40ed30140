"""A static copy of the dashboard: the same pages as files, for a web server or a bucket.

It begins at the pages of the navigation and follows their links, as far back as a number of days:
runs that started in them, days, plots and products with data in them. A link to anything else
leads to a page that says that it is not in the copy. Data files are not copied, plots are.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

from tidegate.errors import StorageError, TidegateError, UsageError
from tidegate.web.endpoints import Parameters, midnight
from tidegate.web.pages import ENDPOINTS
from tidegate.web.pages.products import PLOTS, is_plot
from tidegate.web.rendering import STATIC, render, render_message
from tidegate.web.site import Site

MARK = ".tidegate-export"
"""A file that says that a folder has a copy, which may be replaced."""

_ELSEWHERE = "not-in-this-copy.html"
_MOST_PAGES = 50_000
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,120}")
_FOLLOWED = ("begin", "end", "before", "datastream", "day", "beside", "config", "state", "key")


@dataclass(frozen=True)
class Place:
    """A page or file of the copy."""

    name: str
    """The endpoint, or a name in ``links.FILES``."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Its parameters."""

    @property
    def path(self) -> str:
        """Its path in the copy: from the values of its parameters; two places never share one."""
        if self.name == "overview":
            return "index.html"
        values = dict(self.parameters)
        if self.name == "static":
            return f"static/{values['name']}"
        if self.name == "image":
            return f"plots/files/{'/'.join(map(_segment, values['key'].split('/')))}"
        if not values:
            return f"{self.name}.html"
        parts = [_segment(f"{n}-{v}" if n != "key" else v) for n, v in sorted(values.items())]
        return f"{self.name}/{'/'.join(parts)}.html"


def _segment(text: str) -> str:
    """A part of a path: the text if it is a harmless name, else a part of it with a hash."""
    if _SAFE.fullmatch(text):
        return text
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text)[-60:].strip("-")
    ending = posixpath.splitext(text)[1].lower()
    ending = ending if ending in PLOTS else ""
    return (
        f"{plain}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}{ending}"
    )


@dataclass
class ExportLinks:
    """Relative addresses; notes which places the pages lead to."""

    wanted: Callable[[Place], bool]
    """Whether a place is in the copy."""
    here: str = ""
    """The path of the page that is written now."""
    found: list[Place] = field(default_factory=list)
    """The places that it leads to."""

    def __call__(self, name: str, /, **parameters: object) -> str:
        """See ``links.Links``."""
        values = {n: str(v) for n, v in parameters.items() if v not in (None, "")}
        place = Place(name, tuple(sorted(values.items())))
        if not self.wanted(place):
            return self.relative(_ELSEWHERE)
        self.found.append(place)
        return self.relative(place.path)

    def relative(self, path: str) -> str:
        """The address of a path from the page that is written now."""
        return quote(posixpath.relpath(path, posixpath.dirname(self.here) or "."))


@dataclass
class Export:
    """One copy."""

    site: Site
    """What is copied."""
    folder: Path
    """Where it goes."""
    since: datetime
    """How far back it goes."""
    written: set[str] = field(default_factory=set)
    """The paths that were written."""

    def write(self, progress: Callable[[int], object] = lambda count: None) -> int:
        """Write all pages; returns how many. ``progress`` is called with the number so far."""
        links = ExportLinks(self._is_wanted)
        queue = deque(Place(e.name) for e in ENDPOINTS.values() if e.heading)
        for path in STATIC.iterdir():
            self.put(f"static/{path.name}", path.read_bytes())
        title = "This is not in the copy"
        lines = {"why": f"It goes back to {self.since:%Y-%m-%d}, and has no data files."}
        self.put(_ELSEWHERE, render_message(title, lines, links, self.site.title))
        seen, pages = set(queue), 0
        while queue and pages < _MOST_PAGES:
            place = queue.popleft()
            links.here, links.found = place.path, []
            if place.name == "image":
                self._copy(place)
                continue
            if place.name == "static":
                continue
            self.put(place.path, self._page(place, links))
            pages += 1
            progress(pages)
            new = [found for found in dict.fromkeys(links.found) if found not in seen]
            seen.update(new)
            queue.extend(new)
        return pages

    def _is_wanted(self, place: Place) -> bool:
        """Whether a place is in the copy: of a kind that is copied, and not too old."""
        values = dict(place.parameters)
        if place.name in ("static", "image"):
            return True
        if place.name not in ENDPOINTS or place.name in ("content", "compare"):
            return False
        if place.name == "availability" and len(values) > 1 and "datastream" not in values:
            return False
        days = [values[name] for name in ("day", "beside", "end") if name in values]
        if any(self._is_old(day) or day > f"{self.site.now():%Y-%m-%d}" for day in days):
            return False
        before = values.get("before")
        if before and datetime.fromisoformat(before) < self.since:
            return False
        return set(values) <= set(_FOLLOWED) and self._is_recent(place.name, values.get("key", ""))

    def _is_old(self, day: str) -> bool:
        return midnight(date.fromisoformat(day)) + timedelta(days=1) <= self.since

    def _is_recent(self, name: str, key: str) -> bool:
        if name == "run":
            record = self.site.ledger.record(key)
            return record is not None and record.started >= self.since
        if name == "product":
            product = self.site.ledger.product(key)
            last = (product.end or product.made) if product else None
            return last is not None and last >= self.since
        return True

    def _page(self, place: Place, links: ExportLinks) -> bytes:
        """A page as HTML; one that says why where it cannot be shown (any more)."""
        parameters = Parameters({}, dict(place.parameters))
        try:
            page = ENDPOINTS[place.name].view(self.site, parameters)
        except (UsageError, StorageError) as error:
            lines = {"why": error.why, "next": error.next}
            return render_message(error.what, lines, links, self.site.title)
        return render(
            replace(page, refresh=0.0),
            self.site,
            links,
            ENDPOINTS,
            here=place.name,
            parameters=parameters,
            static=True,
        )

    def _copy(self, place: Place) -> None:
        """A plot; one that is gone is left out."""
        product = self.site.ledger.product(dict(place.parameters)["key"])
        if product is None or not is_plot(product):
            return
        try:
            with self.site.session.product_file(product) as path:
                if path.is_file():
                    self.put(place.path, path.read_bytes())
        except TidegateError:
            return

    def put(self, path: str, content: bytes) -> None:
        """Write a file; a reader of the folder sees the old one or the new one."""
        place = self.folder / path
        part = place.with_name(f".{place.name}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            part.replace(place)
        except OSError as error:
            raise StorageError(
                f"cannot write {place}",
                why=error.strerror or str(error),
                next="make room or give permission, then export again",
            ) from error
        self.written.add(path)


def export_site(
    site: Site,
    folder: Path,
    *,
    days: int,
    progress: Callable[[int], object] = lambda count: None,
) -> int:
    """Write a static copy of the dashboard; files of an earlier copy that are old are removed.

    Returns how many pages there are.

    Raises:
        UsageError: the folder has other files.
        StorageError: it cannot be written.
    """
    mark = folder / MARK
    if folder.is_dir() and any(folder.iterdir()) and not mark.exists():
        raise UsageError(
            f"{folder} is not empty, and has no earlier export",
            next="name an empty or a new folder: old files in it would be deleted",
        )
    today = site.now().astimezone(timezone.utc).date()
    export = Export(site, folder, midnight(today - timedelta(days=days - 1)))
    export.put(MARK, b"The files here are made by `tidegate web --export`, and replaced by it.\n")
    pages = export.write(progress)
    _remove_others(folder, export.written)
    return pages


def _remove_others(folder: Path, kept: set[str]) -> None:
    for place, folders, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(place, name)
            if path.relative_to(folder).as_posix() not in kept:
                path.unlink(missing_ok=True)
        for name in folders:
            path = Path(place, name)
            if not path.is_symlink() and not any(path.iterdir()):
                shutil.rmtree(path)
