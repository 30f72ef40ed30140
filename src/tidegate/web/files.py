"""Files as they are: products to download, plots to show, logs."""

from __future__ import annotations

import mimetypes
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from tidegate.runtime.runs import Product
from tidegate.web.endpoints import LONGEST
from tidegate.web.links import FILES
from tidegate.web.pages.products import PLOTS, find_product
from tidegate.web.pages.runs import find_run
from tidegate.web.security import DATA_POLICY
from tidegate.web.site import Site

Handler = Callable[[Request], Response]
_CHUNK = 1 << 18


def routes(site: Site) -> dict[str, Handler]:
    """The handlers of files, by path."""

    def file(request: Request) -> Response:
        product = find_product(site, str(request.path_params["key"]))
        return _send(site, product, attachment=True)

    def image(request: Request) -> Response:
        product = find_product(site, str(request.path_params["key"]))
        return _send(site, product, attachment=not product.key.lower().endswith(PLOTS))

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

    return {
        FILES["file"]: file,
        FILES["image"]: image,
        FILES["log"]: log,
        FILES["quicklook"]: quick_look,
    }


def _send(site: Site, product: Product, *, attachment: bool) -> Response:
    """A product: a file, or a folder as one archive."""
    name = product.key.rsplit("/", 1)[-1]
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
