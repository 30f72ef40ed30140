"""Inputs into a clean work folder, and the task that a worker is given."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tidegate.errors import StorageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.publish import STORE
from tidegate.runtime.records import utc
from tidegate.runtime.runs import RunRecord
from tidegate.runtime.target import Target
from tidegate.runtime.task import Task

INPUTS = "in"
"""The folder inside a work folder where raw files are staged under their keys."""


@contextmanager
def work_folder(root: Path, record: RunRecord) -> Iterator[Path]:
    """A folder of this attempt's own, gone when the attempt has ended."""
    work = root / f"{record.key[:16]}-{record.attempt}-{record.owner[-8:]}"
    shutil.rmtree(work, ignore_errors=True)
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
        shutil.rmtree(work, ignore_errors=True)


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
        for ref in run.products:
            place = _place(work / STORE, ref.key)
            with _told_as_storage(ref.key):
                target.outputs.fetch(ref, place)
        arguments = (tsdat_time(run.window.begin), tsdat_time(run.window.end))
    elif run.inputs:
        places = [_place(work / INPUTS, input.key) for input in run.inputs]
        for input, place in zip(run.inputs, places):
            with _told_as_storage(input.key):
                target.inputs.fetch(input, place)
        arguments = tuple(str(place) for place in places)
    return Task(run, config, arguments, str(work), release=record.release)


def tsdat_time(moment: datetime) -> str:
    """A time as Tsdat's ``StorageRetriever`` reads it: ``20220405.120000``."""
    return f"{utc(moment):%Y%m%d.%H%M%S}"


def _place(root: Path, key: str) -> Path:
    place = root / key.lstrip("/")
    if root not in place.parents or ".." in place.parts:
        raise StorageError(f"{key!r} would leave the work folder", next="rename the file")
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
