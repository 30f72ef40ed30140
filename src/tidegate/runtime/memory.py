"""How much memory a process and its children use: from /proc, or where there is none, from ``ps``.

Not psutil: the runtime imports the standard library only, and every system without /proc (macOS)
has ``ps``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_HAS_PROC = Path("/proc/self/statm").exists()
_PATIENCE = 10.0
_LONGEST = 1 << 20


def resident_memory(pid: int, *, children: bool = True) -> float:
    """Resident memory of a process (and its children), MB; 0 where it is not known."""
    if not _HAS_PROC:
        return memory_by_ps(pid, children=children)
    total = 0
    for one in descendants(pid) if children else [pid]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(_read(f"/proc/{one}/statm").split()[1]) * _PAGE
    return total / 2**20


def _read(path: str) -> bytes:
    """A short file. ``Path`` would take five times as long, and workers are looked at often."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LONGEST)
    finally:
        os.close(descriptor)


def memory_by_ps(pid: int, *, children: bool = True) -> float:
    """As ``resident_memory``, from the table of processes that ``ps`` prints."""
    started, sizes = _table()
    found = _below(pid, started) if children else [pid]
    return sum(sizes.get(one, 0) for one in found) / 1024


def descendants(pid: int) -> list[int]:
    """A process and all that it has started, as far as they are known; the process is the first."""
    if not _HAS_PROC:
        return _below(pid, _table()[0])
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError, ValueError):
            for thread in os.listdir(f"/proc/{one}/task"):
                found += map(int, _read(f"/proc/{one}/task/{thread}/children").split())
    return found


def _below(pid: int, started: dict[int, list[int]]) -> list[int]:
    found = [pid]
    for one in found:
        found += started.get(one, [])
    return found


def _table() -> tuple[dict[int, list[int]], dict[int, int]]:
    """The children of each process, and how much memory each has, in kB; empty without ``ps``."""
    command = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "rss="]
    started: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return started, sizes
    for line in done.stdout.splitlines():
        one, parent, kilobytes = (int(word) for word in line.split()[:3])
        started.setdefault(parent, []).append(one)
        sizes[one] = kilobytes
    return started, sizes
