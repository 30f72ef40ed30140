"""Files as they are: products to download, plots to show, logs."""

from __future__ import annotations

import csv
import io
import mimetypes
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from tidegate.quality.availability import Series
from tidegate.runtime.runs import Product
from tidegate.web.endpoints import LONGEST, NotFound, Parameters
from tidegate.web.links import FILES
from tidegate.web.pages.availability import WAIT, chosen_span, days_of, series_of
from tidegate.web.pages.compare import chosen_versions
from tidegate.web.pages.products import find_product, is_plot
from tidegate.web.pages.runs import find_run
from tidegate.web.security import DATA_POLICY
from tidegate.web.site import Site
from tidegate.web.texts import file_name

Handler = Callable[[Request], Response]
_CHUNK = 1 << 18


def routes(site: Site) -> dict[str, Handler]:
    """The handlers of files, by path."""

    def file(request: Request) -> Response:
        product = find_product(site, str(request.path_params["key"]))
        return _send(site, product, attachment=True)

    def image(request: Request) -> Response:
        product = find_product(site, str(request.path_params["key"]))
        return _send(site, product, attachment=not is_plot(product))

    def log(request: Request) -> Response:
        record = find_run(site, str(request.path_params["key"]))
        text = "".join(f"{line}\n" for line in site.session.log(record))
        headers = _headers(f"{record.key[:10]}.jsonl", attachment=True)
        content = text.encode("utf-8", "backslashreplace")
        return Response(content, headers=headers, media_type="application/x-ndjson")

    def quick_look(request: Request) -> Response:
        product = find_product(site, str(request.path_params["key"]))
        picture = site.reader.picture(product, request.query_params.get("variable", "")[:LONGEST])
        return Response(
            picture.png, headers=_headers("look.png", attachment=False), media_type="image/png"
        )

    def gaps(request: Request) -> Response:
        rows = [
            (gap.begin.isoformat(), gap.end.isoformat(), int(gap.ongoing))
            for gap in _series(request, site).gaps
        ]
        return _csv("gaps.csv", ("begin", "end", "ongoing"), rows)

    def days(request: Request) -> Response:
        rows = [
            (
                cell.begin.date().isoformat(),
                *("" if n is None else f"{n:.4f}" for n in (cell.available, cell.passed)),
                *(cell.products, cell.samples, cell.bad, cell.indeterminate),
            )
            for cell in _series(request, site).cells
        ]
        return _csv("days.csv", _DAY_COLUMNS, rows)

    return {
        FILES["difference"]: lambda request: _difference(request, site),
        FILES["gaps"]: gaps,
        FILES["days"]: days,
        FILES["file"]: file,
        FILES["image"]: image,
        FILES["log"]: log,
        FILES["quicklook"]: quick_look,
    }


def _difference(request: Request, site: Site) -> Response:
    """A picture of two products and of the difference."""
    parameters = Parameters({}, dict(request.query_params))
    pair = chosen_versions(site, parameters)
    picture = site.reader.difference(*pair, parameters.text("variable"))
    headers = _headers("difference.png", attachment=False)
    return Response(picture.png, headers=headers, media_type="image/png")


_DAY_COLUMNS = ("day", "available", "passed", "products", "samples", "bad", "indeterminate")


def _series(request: Request, site: Site) -> Series:
    """The series that a request asks for; raises NotFound without ``datastream``."""
    parameters = Parameters({}, dict(request.query_params))
    name = parameters.text("datastream")
    if not name:
        raise NotFound("`datastream` is missing", next="choose a datastream first")
    days = days_of(site, WAIT) or []
    first, last = chosen_span(site, parameters, days, name)
    (series,) = series_of(site, days, first, last + timedelta(days=1), name)
    return series


def _csv(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return Response(text.getvalue(), headers=_headers(name, attachment=True), media_type="text/csv")


def _send(site: Site, product: Product, *, attachment: bool) -> Response:
    """A product: a file, or a folder as one archive."""
    name = file_name(product.key)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    stack = ExitStack()
    try:
        path = stack.enter_context(site.session.product_file(product))
        if path.is_dir():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-"))
            archive = Path(folder, "product.zip")
            _pack(path, archive)
            path, name, kind, attachment = archive, f"{name}.zip", "application/zip", True
        headers = _headers(name, attachment=attachment)
        if site.target.target == "local" and path.suffix != ".zip":
            return FileResponse(path, headers=headers, media_type=kind)
        headers["content-length"] = str(path.stat().st_size)
        return StreamingResponse(_read(path, stack.pop_all()), headers=headers, media_type=kind)
    finally:
        stack.close()


def _headers(name: str, *, attachment: bool) -> dict[str, str]:
    how = "attachment" if attachment else "inline"
    quoted = quote(name.encode("utf-8", "surrogateescape"), safe="")
    return {
        "content-disposition": f"{how}; filename*=utf-8''{quoted}",
        "content-security-policy": DATA_POLICY,
    }


def _read(path: Path, until_read: ExitStack) -> Iterator[bytes]:
    """The content of a file; then it is no longer needed."""
    with until_read, path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _pack(folder: Path, archive: Path) -> None:
    """Put a folder into an archive; links are left out."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for place, _, names in os.walk(folder):
            for name in names:
                path = Path(place, name)
                if path.is_file() and not path.is_symlink():
                    target.write(path, Path(folder.name) / path.relative_to(folder))
