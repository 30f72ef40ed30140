"""Collects what a run writes to the file descriptors 1 and 2, within a limit.

The process that started the worker reads it from a pipe, so it is limited while the run goes on, it
survives the death of the worker, and no lock that the worker holds can stop it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tidegate.runtime.log import LEFT_OUT

FIRST_PART = 512 * 1024
"""This many bytes from the start of the output are kept."""
LAST_PART = 512 * 1024
"""This many bytes from its end are kept."""
_BLOCK = 1 << 20
_READS = 64


class RunOutput:
    """The first and the last part of a run's output, and how much there was between them."""

    def __init__(self) -> None:
        self._first = bytearray()
        self._last = bytearray()
        self.dropped = 0
        """How many bytes between the two parts were not kept."""

    def add(self, block: bytes) -> None:
        """Add what was written next."""
        space = FIRST_PART - len(self._first)
        if space > 0:
            self._first += block[:space]
            block = block[space:]
        self._last += block
        if len(self._last) > LAST_PART + _BLOCK:  # not each time: deleting moves the rest
            self._shorten()

    def _shorten(self) -> None:
        excess = len(self._last) - LAST_PART
        if excess > 0:
            del self._last[:excess]
            self.dropped += excess

    def read(self, pipe: int) -> bool:
        """Read once from a pipe that does not block; False if it has ended."""
        try:
            block = os.read(pipe, _BLOCK)
        except BlockingIOError:
            return True
        self.add(block)
        return bool(block)

    def drain(self, pipe: int) -> None:
        """Read what is in the pipe now; not more, since something may go on writing to it."""
        for _ in range(_READS):
            try:
                block = os.read(pipe, _BLOCK)
            except BlockingIOError:
                return
            if not block:
                return
            self.add(block)

    def content(self) -> bytes:
        """All that is kept, with a line that says how much was left out, if any was."""
        self._shorten()
        if not self.dropped:
            return bytes(self._first + self._last)
        note = f"\n[{self.dropped} bytes {LEFT_OUT}\n"
        return bytes(self._first) + note.encode() + bytes(self._last)

    def write_to(self, path: Path) -> None:
        """Write what is kept to a file; none if there is nothing, or the disk is full."""
        content = self.content()
        if content:
            with suppress(OSError):
                path.write_bytes(content)
