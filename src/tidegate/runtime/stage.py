"""Copies a run's inputs into a clean work folder, and makes the task for a worker."""

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
_FOLDERS = (INPUTS, STORE, "tmp")


def remove(folder: Path) -> None:
    """Remove a folder and everything in it, as far as that is possible."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def work_folder(
    root: Path, record: RunRecord, discard: Callable[[Path], None] = remove
) -> Iterator[Path]:
    """A folder for this attempt alone; it is removed when the attempt has ended."""
    work = root / f"{record.key[:16]}-{record.attempt}-{record.owner[-8:]}"
    try:
        with _making(work):
            try:
                work.mkdir(parents=True)
            except FileExistsError:
                remove(work)
                work.mkdir(exist_ok=True)
            for name in _FOLDERS:
                os.mkdir(work / name)
        yield work
    finally:
        discard(work)


def empty_work_folder(work: Path) -> None:
    """Make the folders of a work folder again; the log stays.

    Raises:
        StorageError: they cannot be made.
    """
    with _making(work):
        for name in _FOLDERS:
            remove(work / name)
            (work / name).mkdir(parents=True)


@contextmanager
def _making(work: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot make the work folder {work}",
            why=str(error),
            next="free some space, or make the folder writable; the run is tried again",
        ) from error


def stage(target: Target, config: Config, record: RunRecord, work: Path) -> Task:
    """Copy what the run needs into ``work``; returns the task, with the pipeline's arguments.

    Raw files keep their names and folders, since readers parse both. A VAP's inputs are put where
    plain Tsdat storage finds them: under the storage root, by their keys.

    Raises:
        InputChanged: an input was removed, or replaced by another version.
        StorageError: an input cannot be read, or the disk is full.
    """
    run = record.run
    arguments = run.arguments
    if run.window is not None:
        refs = [(ref, _place(work / STORE, ref.key)) for ref in run.products]
        _fetch(target.outputs, refs)
        arguments = (tsdat_time(run.window.begin), tsdat_time(run.window.end))
    elif run.inputs:
        places = [_place(work / INPUTS, file.key) for file in run.files]
        _fetch(target.inputs, list(zip(run.files, places)))
        arguments = tuple(str(place) for place in places[: len(run.inputs)])
    return Task(run, config, arguments, str(work), release=record.release)


def tsdat_time(moment: datetime) -> str:
    """A time as Tsdat's ``StorageRetriever`` reads it: ``20220405.120000``."""
    return f"{utc(moment):%Y%m%d.%H%M%S}"


def _fetch(source: Inputs | Outputs, wanted: Sequence[tuple[Any, Path]]) -> None:
    what = wanted[0][0].key if len(wanted) == 1 else f"{len(wanted)} files"
    with _storage_errors(what):
        source.fetch_all(wanted)


def _place(root: Path, key: str) -> Path:
    """Where a file is staged: under its key, since readers parse its name and folders.

    Raises:
        ConfigurationError: the name is too long for any file system.
        StorageError: its folder cannot be made.
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
    with _storage_errors(key):
        place.parent.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def _storage_errors(key: str) -> Iterator[None]:
    """A full disk, or a name that the file system rejects, becomes a StorageError."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot stage {key!r}", why=str(error)) from error
