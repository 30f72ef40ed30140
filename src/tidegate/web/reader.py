"""Reads products for pages, in a worker process of the pipelines' environment."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.errors import (
    ConfigurationError,
    InputChanged,
    StorageError,
    TidegateError,
    UsageError,
)
from tidegate.quality.content import Content
from tidegate.quality.product_changes import Changes
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.records import from_json
from tidegate.runtime.runs import Product
from tidegate.targets.local.files import existing_file
from tidegate.web.endpoints import NotFound
from tidegate.workspace.session import Session

_SECONDS = 60.0
"""How long one reading may take; longer ones are stopped."""
_LONGEST_WAIT = 90.0
"""How long a page waits for its turn and its reading."""
_IDLE = 600.0
"""After so long without a request the worker is ended."""
_KEPT = 200


@dataclass(frozen=True)
class Picture:
    """A picture of a variable."""

    png: bytes
    """The file."""
    text: str
    """What it shows, in words."""


@dataclass(frozen=True)
class Version:
    """A product as it is now, or as it is in a copy of the products."""

    product: Product
    """The product on record."""
    folder: Path | None = None
    """The copy; None: as it is now."""

    def open(self, session: Session) -> AbstractContextManager[Path]:
        """Its file; raises InputChanged if there is none."""
        if self.folder is None:
            return session.product_file(self.product)
        return nullcontext(existing_file(self.folder, self.product.key))

    @property
    def exists(self) -> bool:
        """Whether there is a file in the copy."""
        try:
            return bool(self.identity)
        except (InputChanged, OSError):
            return False

    @property
    def identity(self) -> tuple[str, ...]:
        """Different for other content."""
        if self.folder is None:
            return self.product.key, self.product.sha256
        status = existing_file(self.folder, self.product.key).stat()
        return self.product.key, str(status.st_size), str(status.st_mtime_ns)


class ProductReader:
    """Reads products one after the other; what was read is kept for the next readers.

    One thread starts the worker and calls it, since a worker ends with the thread that started it.
    """

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session
        self._queue: queue.Queue[tuple[str, Mapping[str, Any], Future[Any]] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], Any] = OrderedDict()

    def close(self) -> None:
        """End the worker."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(10.0)

    def content(self, product: Product) -> Content:
        """The attributes and variables of a product, with the quality tests of each.

        Raises:
            NotFound: the file cannot be read as a dataset.
            TidegateError: it is not there, or no worker can be started.
        """
        identity = ("content", product.key, product.sha256)
        found: Content = self._keep(identity, lambda: self._describe(product))
        return found

    def picture(self, product: Product, variable: str) -> Picture:
        """A quick look at a variable; raises as ``content`` does."""
        identity = ("picture", product.key, product.sha256, variable)
        found: Picture = self._keep(identity, lambda: self._draw(product, variable))
        return found

    def changes(self, first: Version, second: Version) -> Changes:
        """What is different in the second product; raises as ``content`` does."""
        identity = ("changes", *first.identity, *second.identity)
        found: Changes = self._keep(identity, lambda: self._find_changes(first, second))
        return found

    def difference(self, first: Version, second: Version, variable: str) -> Picture:
        """A picture of a variable in both, and of the difference; raises as ``content`` does."""
        identity = ("difference", *first.identity, *second.identity, variable)
        found: Picture = self._keep(identity, lambda: self._draw_both(first, second, variable))
        return found

    def _find_changes(self, first: Version, second: Version) -> Changes:
        with first.open(self._session()) as one, second.open(self._session()) as other:
            arguments = {"first": str(one), "second": str(other), "rules": {}}
            found = self._call("product_changes.find_changes", arguments)
        return from_json(Changes, found)

    def _draw_both(self, first: Version, second: Version, variable: str) -> Picture:
        with (
            first.open(self._session()) as one,
            second.open(self._session()) as other,
            tempfile.TemporaryDirectory(prefix="tidegate-") as folder,
        ):
            picture = Path(folder, "difference.png")
            arguments = {
                "first": str(one),
                "second": str(other),
                "variable": variable,
                "names": version_names(first, second),
                "destination": str(picture),
            }
            found = self._call("difference_plot.draw_difference", arguments)
            return Picture(picture.read_bytes(), str(found["text"]))

    def _describe(self, product: Product) -> Content:
        with self._session().product_file(product) as path:
            found = self._call("content.describe_product", {"path": str(path)})
        return from_json(Content, found)

    def _draw(self, product: Product, variable: str) -> Picture:
        with (
            self._session().product_file(product) as path,
            tempfile.TemporaryDirectory(prefix="tidegate-") as folder,
        ):
            picture = Path(folder, "look.png")
            found = self._call(
                "quick_look.draw_quick_look",
                {"path": str(path), "variable": variable, "destination": str(picture)},
            )
            return Picture(picture.read_bytes(), str(found["text"]))

    def _keep(self, identity: tuple[str, ...], make: Callable[[], Any]) -> Any:
        with self._lock:
            if identity in self._kept:
                self._kept.move_to_end(identity)
                return self._kept[identity]
        made = make()
        with self._lock:
            self._kept[identity] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made

    def _call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, name="tidegate-reader", daemon=True
                )
                self._thread.start()
        answer: Future[Any] = Future()
        self._queue.put((f"tidegate.quality.{function}", arguments, answer))
        try:
            return answer.result(_LONGEST_WAIT)
        except NotInTime:
            answer.cancel()
            raise StorageError(
                "the product was not read in time",
                why="other products are read before it, or it is very large",
                next="try again in a minute, or download it",
            ) from None

    def _work(self) -> None:
        worker: WorkerProcess | None = None
        try:
            while True:
                try:
                    item = self._queue.get(timeout=_IDLE)
                except queue.Empty:
                    if worker is not None:
                        worker.close()
                        worker = None
                    continue
                if item is None:
                    return
                function, arguments, answer = item
                if not answer.set_running_or_notify_cancel():
                    continue
                try:
                    if worker is None:
                        worker = WorkerProcess(*self._session().interpreter())
                        worker.start()
                    answer.set_result(worker.call(function, arguments, _SECONDS))
                except BaseException as error:
                    answer.set_exception(_explained(error, worker))
        finally:
            if worker is not None:
                worker.close()


def version_names(first: Version, second: Version) -> tuple[str, str]:
    """What to call two versions: by their file names, unless these are the same."""
    names = [version.product.key.rsplit("/", 1)[-1] for version in (first, second)]
    if first.product.key == second.product.key:
        names = [f"{name} ({_age(v)})" for name, v in zip(names, (first, second), strict=True)]
    return f"first: {names[0]}", f"second: {names[1]}"


def _age(version: Version) -> str:
    return "now" if version.folder is None else "earlier"


def _explained(error: BaseException, worker: WorkerProcess | None) -> BaseException:
    """An error of the function in the worker is about the file, not about Tidegate."""
    if worker is None or not isinstance(error, TidegateError):
        return error
    if type(error) not in (ConfigurationError, UsageError):
        return error
    return NotFound(
        "this cannot be shown", why=error.what, next="choose another variable, or download the file"
    )
