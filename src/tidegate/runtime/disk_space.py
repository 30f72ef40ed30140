"""Whether a run failed because the disk is full: such runs wait, and are no one's fault."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tidegate.runtime.runs import Failure

_FULL = "the disk is full: "
_SPACE = 4_000_000
_INODES = 10
_SAID = ("no space left", "disk quota exceeded", "disk is full")
_VAGUE = ("HDF error", "NetCDF", "Unable to", "cannot stage", "cannot make", "cannot write")


def explain_full_disk(failure: Failure, folder: Path) -> Failure:
    """The failure, as a transient one about the disk if that is what it comes from.

    The libraries below netCDF do not say that a disk is full ("NetCDF: HDF error", or that
    permission is denied for a new file): the free space of ``folder``, where it works, does, as
    long as what the run has written is still there.
    """
    if is_full_disk(failure):
        return failure
    clear = any(words in failure.message.lower() for words in _SAID)
    denied = "Permission denied" in failure.message and str(folder) in failure.message
    vague = denied or any(words in failure.message for words in _VAGUE)
    low = _is_low(folder)
    if not clear and not (vague and low):
        return failure
    disk = f"the disk of {folder.parent}" if low or not failure.next else "that disk"
    return replace(
        failure,
        kind="transient",
        message=_FULL + failure.message,
        next=f"free some space on {disk}; the run is then tried again by itself",
    )


def is_full_disk(failure: Failure | None) -> bool:
    """Whether a failure comes from a full disk."""
    return failure is not None and failure.message.startswith(_FULL)


def _is_low(folder: Path) -> bool:
    """Whether there is next to no space, or there are next to no inodes, on a folder's disk."""
    with suppress(OSError):
        disk = os.statvfs(folder)
        few = disk.f_files > 0 and disk.f_favail < _INODES
        return few or disk.f_bavail * disk.f_frsize < _SPACE
    return False
