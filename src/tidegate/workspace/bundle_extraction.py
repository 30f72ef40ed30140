"""Unpacks a failure bundle into a workspace of its own: ``run --from-bundle``.

A bundle comes from somebody else. Everything is checked before the first file is written: no name
leads out of the folder, nothing is a link, and the sum of all sizes fits on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

from tidegate.errors import UsageError
from tidegate.runtime.records import from_json
from tidegate.runtime.runs import Run, RunRecord
from tidegate.workspace import rerun
from tidegate.workspace.failure_bundle import FORMAT, INPUT, RECORD
from tidegate.workspace.session import Session

_MOST_FILES = 100_000
_FORBIDDEN = (".tidegate", ".git", ".venv")
"""Folders that Tidegate or git would take for their own."""


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle."""

    folder: Path
    """The workspace that it is in."""
    record: RunRecord
    """The run, as it ended on the other machine."""
    problems: tuple[str, ...]
    """What is missing in it, in sentences."""

    def runs(self, opened: Session, now: datetime) -> list[Run]:
        """The same run with the files of this workspace."""
        run = self.record.run
        if run.window is not None or not run.inputs:
            return [rerun.requested(run, now)]
        files = [str(self.folder / INPUT / input.key) for input in run.inputs]
        return opened.file_runs(files, config=run.config, clump=True, all=False)


def unpack(file: Path, folder: Path) -> Bundle:
    """Unpack a bundle into a new or empty folder.

    Raises:
        UsageError: it is no bundle, it is not safe to unpack, or the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is not empty", next="name another folder with --workspace, or move it away"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            _check(file, folder, members)
            data = json.loads(archive.read(RECORD))
            if data["format"] != FORMAT:
                raise UsageError(
                    f"{file} was made by a newer Tidegate", next="upgrade Tidegate to read it"
                )
            record = from_json(RunRecord, data["record"])
            problems = tuple(map(str, data["problems"]))
            for info in members:
                place = folder / info.filename
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, place.open("xb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, NotImplementedError) as error:
        raise UsageError(
            f"{file} is not a failure bundle",
            why=str(error),
            next="make one with `tidegate show RUN --failure-bundle FILE.zip`",
        ) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: it is encrypted
        raise UsageError(f"cannot unpack {file}", why=str(error), next="copy it again") from error
    _set_times(folder, record)
    return Bundle(folder, record, problems)


def _check(file: Path, folder: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Raise UsageError for the first thing that no bundle contains."""
    seen: set[str] = set()
    for info in members:
        name = info.filename
        path = PurePosixPath(name)
        why = ""
        if _leads_out(name):
            why = f"{name!r} leads out of the folder"
        elif path.parts[0] in _FORBIDDEN:
            why = f"{name!r} is in a folder that no bundle contains"
        elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            why = f"{name!r} is not a plain file"
        elif str(path).casefold() in seen:
            why = f"{name!r} is in it twice"
        seen.add(str(path).casefold())
        if why:
            raise _unsafe(file, why)
    if len(members) > _MOST_FILES:
        raise _unsafe(file, f"it has {len(members)} files")
    size = sum(info.file_size for info in members)
    parent = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(parent).free
    if size > 0.9 * free:
        raise _unsafe(file, f"it needs {size} bytes, and {free} are free in {parent}")


def _leads_out(name: str) -> bool:
    """Whether a name leads, or could lead on another system, out of the folder."""
    path = PurePosixPath(name)
    odd = not path.parts or path.is_absolute() or "\\" in name or ":" in path.parts[0]
    return odd or ".." in path.parts


def _unsafe(file: Path, why: str) -> UsageError:
    return UsageError(
        f"{file} is not unpacked",
        why=why,
        next="ask who sent it for a new one; nothing was written",
    )


def _set_times(folder: Path, record: RunRecord) -> None:
    """Give raw files their times: which of two is the later one depends on that."""
    for input in record.run.files:
        place = folder / INPUT / input.key
        if input.modified is not None and place.is_file():
            seconds = input.modified.astimezone(timezone.utc).timestamp()
            os.utime(place, (seconds, seconds))
