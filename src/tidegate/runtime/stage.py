"""Inputs into a clean work folder, and the task that a worker is given."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tidegate.errors import ConfigurationError, StorageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.protocols import Inputs, Outputs, Target
from tidegate.runtime.publish import STORE
from tidegate.runtime.records import utc
from tidegate.runtime.runs import RunRecord
from tidegate.runtime.task import Task

_LONGEST_NAME = 255

INPUTS = "in"
"""The folder inside a work folder where raw files are staged under their keys."""


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that is possible."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def work_folder(
    root: Path, record: RunRecord, discard: Callable[[Path], None] = remove
) -> Iterator[Path]:
    """A folder of this attempt's own, gone when the attempt has ended."""
    work = root / f"{record.key[:16]}-{record.attempt}-{record.owner[-8:]}"
    remove(work)
    try:
        for name in (INPUTS, STORE, "tmp"):
            (work / name).mkdir(parents=True)
    except OSError as error:
        raise StorageError(
            f"cannot make the work folder {work}",
            why=str(error),
            next="free some space, or make the folder writable; the run is tried again",
        ) from error
    try:
        yield work
    finally:
        discard(work)


def stage(target: Target, config: Config, record: RunRecord, work: Path) -> Task:
    """Copy what the run needs into ``work`` and say what the pipeline is to be given.

    Raw files keep their names and their folders, since readers parse both. A VAP's inputs go where
    plain Tsdat storage finds them: under the storage root, by their keys.

    Raises:
        InputChanged: an input is gone, or another version is there by now.
        StorageError: an input cannot be read, or the disk is full.
    """
    run = record.run
    arguments = run.arguments
    if run.window is not None:
        refs = [(ref, _place(work / STORE, ref.key)) for ref in run.products]
        _fetch(target.outputs, refs)
        arguments = (tsdat_time(run.window.begin), tsdat_time(run.window.end))
    elif run.inputs:
        places = [_place(work / INPUTS, input.key) for input in run.inputs]
        _fetch(target.inputs, list(zip(run.inputs, places)))
        arguments = tuple(str(place) for place in places)
    return Task(run, config, arguments, str(work), release=record.release)


def tsdat_time(moment: datetime) -> str:
    """A time as Tsdat's ``StorageRetriever`` reads it: ``20220405.120000``."""
    return f"{utc(moment):%Y%m%d.%H%M%S}"


def _fetch(source: Inputs | Outputs, wanted: Sequence[tuple[Any, Path]]) -> None:
    """Fetch all; at once where the target can, since in a bucket each one is a wait."""
    together = getattr(source, "fetch_all", None)
    if together is not None:
        with _told_as_storage(f"{len(wanted)} files"):
            together(wanted)
        return
    for item, place in wanted:
        with _told_as_storage(item.key):
            source.fetch(item, place)


def _place(root: Path, key: str) -> Path:
    """Where a file is staged: under its key, so that readers find its name and folders in it.

    Raises:
        ConfigurationError: no file system has room for such a name.
        StorageError: the place cannot be made.
    """
    place = root / key.lstrip("/")
    if root not in place.parents or ".." in place.parts:
        raise StorageError(f"{key!r} would leave the work folder", next="rename the file")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in place.parts):
        raise ConfigurationError(
            f"a part of the name {key!r} is longer than {_LONGEST_NAME} bytes",
            why="no file system takes such a name, and readers need the name as it is",
            next="store the file under a shorter name",
        )
    with _told_as_storage(key):
        place.parent.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def _told_as_storage(key: str) -> Iterator[None]:
    """A full disk, or a name that is too long for it, is no fault of the program's."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot stage {key!r}", why=str(error)) from error
