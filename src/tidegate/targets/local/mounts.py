"""Folders on network file systems, where changes made on other machines cause no events."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

_NETWORK = re.compile(
    r"9p|afs|beegfs|ceph|cifs|coda|drvfs|fuse|fuse\..*|gfs2?|gpfs|lustre|ncpfs|nfs4?|ocfs2"
    r"|orangefs|panfs|prl_fs|pvfs2|smb3|smbfs|vboxsf|virtiofs|wekafs"
)
"""Linux's names of file systems to which others write without an event on this machine. Those that
run in a process (FUSE) are among them: sshfs, s3fs and rclone are of that kind."""
_LOCAL_FUSE = frozenset(("fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.mergerfs"))


def is_network(kind: str) -> bool:
    """Whether that type of file system, as Linux calls it, sends no events for all changes."""
    return _NETWORK.fullmatch(kind) is not None and kind not in _LOCAL_FUSE


def network_folders(root: Path, mounts: Path = MOUNTS) -> dict[Path, str]:
    """The network file systems that a folder is on, or that are mounted below it.

    Returns the type of each, by its path: ``root`` itself, or a mount point below it. Empty where
    the system has no list of mounts (only Linux has).
    """
    try:
        text = mounts.read_bytes()
    except OSError:
        return {}
    root = Path(os.path.realpath(root))
    kinds = dict(_mounts(text))  # the last of several on one folder is the one that is seen
    own = max((path for path in kinds if root.is_relative_to(path)), default=None, key=_depth)
    found = {path: kind for path, kind in kinds.items() if root in path.parents}
    if own is not None:
        found[root] = kinds[own]
    return {path: kind for path, kind in sorted(found.items()) if is_network(kind)}


def _mounts(text: bytes) -> list[tuple[Path, str]]:
    """Mount point and type of each line of mountinfo, see proc(5)."""
    found = []
    for line in text.splitlines():
        before, separator, after = line.partition(b" - ")
        fields = before.split(b" ")
        if separator and len(fields) > 4:
            found.append((Path(_unescape(fields[4])), after.split(b" ")[0].decode("ascii")))
    return found


def _unescape(field: bytes) -> str:
    """Blanks, tabs, line ends and backslashes are written as octal numbers."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), field))


def _depth(path: Path) -> int:
    return len(path.parts)
