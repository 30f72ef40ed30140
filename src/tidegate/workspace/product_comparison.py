"""Compares two products, or two folders of products, for people who ask what has changed."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tidegate.errors import ConfigurationError, StorageError, UsageError
from tidegate.quality.comparison import Rules
from tidegate.quality.datasets import is_dataset
from tidegate.quality.product_changes import Changes
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import from_json, to_json
from tidegate.workspace.session import Session

FIND_CHANGES = "tidegate.quality.product_changes.find_changes"
"""The function that a worker calls."""

_SECONDS = 600.0
_ZARR = ".zarr"

What = Literal["changed", "only in the first", "only in the second", "unreadable"]


@dataclass(frozen=True)
class FileDifference:
    """A file that is not the same in two folders."""

    file: str
    """Its path below both folders."""
    what: What
    """How it differs."""
    changes: Changes | None = None
    """What has changed, if both are datasets."""
    error: str = ""
    """Why it could not be compared."""


@dataclass(frozen=True)
class FolderComparison:
    """How two folders of products differ."""

    files: int = 0
    """How many files there are in one of them or in both."""
    equal: int = 0
    """How many are the same in both: values and attributes, except those that say when it was
    made; of files that are no datasets, all bytes."""
    differences: tuple[FileDifference, ...] = field(default=())
    """All others, by name."""

    @property
    def unreadable(self) -> int:
        """How many could not be compared."""
        return sum(one.what == "unreadable" for one in self.differences)


class ProductComparer:
    """Compares files in a worker process of the pipelines' environment; a context manager.

    Raises:
        PythonEnvironmentError: no worker can be started.
    """

    def __init__(self, session: Session) -> None:
        self._worker = WorkerProcess(*session.interpreter(), credentials=False)

    def __enter__(self) -> ProductComparer:
        return self

    def __exit__(self, *about: object) -> None:
        self._worker.close()

    def compare_files(self, first: Path, second: Path, rules: Rules) -> Changes:
        """What is different in the second file; raises TidegateError if one cannot be read."""
        arguments: Mapping[str, Any] = {
            "first": str(first),
            "second": str(second),
            "rules": to_json(rules),
        }
        return from_json(Changes, self._worker.call(FIND_CHANGES, arguments, _SECONDS))

    def compare_folders(
        self,
        first: Path,
        second: Path,
        rules: Rules,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> FolderComparison:
        """What is different in the second folder; ``progress`` gets the files done and all."""
        names = sorted({*product_names(first), *product_names(second)})
        found: list[FileDifference] = []
        for number, name in enumerate(names):
            progress(number, len(names))
            difference = self._compare(name, first / name, second / name, rules)
            if difference is not None:
                found.append(difference)
        progress(len(names), len(names))
        return FolderComparison(len(names), len(names) - len(found), tuple(found))

    def _compare(self, name: str, first: Path, second: Path, rules: Rules) -> FileDifference | None:
        if not first.exists():
            return FileDifference(name, "only in the second")
        if not second.exists():
            return FileDifference(name, "only in the first")
        try:
            if first.samefile(second) or _same_bytes(first, second):
                return None
            if not is_dataset(name):
                return FileDifference(name, "changed")
            changes = self.compare_files(first, second, rules)
        except (OSError, ConfigurationError, StorageError) as error:
            return FileDifference(name, "unreadable", error=str(error))
        return None if changes.equal else FileDifference(name, "changed", changes)


def _same_bytes(first: Path, second: Path) -> bool:
    return first.is_file() and second.is_file() and filecmp.cmp(first, second, shallow=False)


def product_names(folder: Path) -> Iterator[str]:
    """The paths of the files below a folder; a zarr folder counts as one. Hidden ones are left out.

    Raises:
        StorageError: the folder cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise StorageError(
            f"cannot read {folder}", why=error.strerror or str(error), next="make it readable"
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and entry.suffix != _ZARR:
            yield from (f"{entry.name}/{name}" for name in product_names(entry))
        else:
            yield entry.name


def open_named(session: Session, ledger: Ledger, name: str) -> AbstractContextManager[Path]:
    """A file or folder by its path, or the present product of a key.

    Raises:
        UsageError: there is neither.
        StorageError: the product cannot be fetched.
    """
    path = Path(name).absolute()  # a worker has another working directory
    if path.exists():
        return nullcontext(path)
    product = ledger.product(name)
    if product is None:
        raise UsageError(
            f"there is no file or product {name}",
            next="write the path of a file, or the key of a product (`tidegate products --full`)",
        )
    return session.product_file(product)


def open_pair(
    session: Session, ledger: Ledger, first: str, second: str, until: ExitStack
) -> tuple[Path, Path]:
    """Two files, or two folders, until ``until`` is closed.

    Raises:
        UsageError: one of them does not exist, or one is a file and the other a folder.
    """
    one, other = (until.enter_context(open_named(session, ledger, n)) for n in (first, second))
    if is_folder(one) != is_folder(other):
        raise UsageError(
            f"{first} and {second} cannot be compared",
            why="one of them is a folder, and the other is a file",
            next="name two files, or two folders",
        )
    return one, other


def is_folder(path: Path) -> bool:
    """Whether it is a folder of products, and not a product that is a folder."""
    return path.is_dir() and path.suffix != _ZARR
