"""Large files are hashed on threads of their own, the smaller ones first, and hold up no others."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tidegate.runtime.manifest import Config
from tidegate.targets.local.inputs import RawFile

HUGE = 1 << 30
"""Files of this size and more, in bytes, leave one thread to smaller ones."""


@dataclass(frozen=True, order=True)
class LargeFiles:
    """Files that are hashed, and whose runs are queued, together."""

    size: int
    """Bytes, all together."""
    number: int
    """How many came before."""
    files: Sequence[RawFile] = field(compare=False)
    """The files."""
    new: Sequence[Config] = field(compare=False, default=())
    """Configs that have seen none of them."""
    priority: int = field(compare=False, default=0)
    """The priority of their runs."""


class LargeFileQueue:
    """Two threads that call ``take`` with large files, the smaller ones first.

    One of them takes no huge files.
    """

    def __init__(
        self, take: Callable[[LargeFiles], None], taken: Callable[[LargeFiles], None]
    ) -> None:
        """``taken`` is called when they can be put again. Both raise nothing."""
        self._take = take
        self._taken = taken
        self._changed = threading.Condition()
        self._waiting: list[LargeFiles] = []
        self._keys: set[str] = set()
        self._numbers = itertools.count()
        self._closed = False
        self._threads: list[threading.Thread] = []

    def put(self, files: Sequence[RawFile], new: Sequence[Config], priority: int) -> None:
        """Take these files together, except for those that are waited for or taken now."""
        with self._changed:
            if self._closed:
                return
            if not self._threads:
                self._start()
            files = [file for file in files if file.key not in self._keys]
            if files:
                self._keys.update(file.key for file in files)
                size, number = sum(file.size for file in files), next(self._numbers)
                heapq.heappush(self._waiting, LargeFiles(size, number, files, new, priority))
                self._changed.notify_all()

    def busy(self) -> bool:
        """Whether files wait, or are taken now."""
        return bool(self._keys)

    def close(self, seconds: float) -> None:
        """Take no more files; wait so long for those that are taken now."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(seconds)

    def _start(self) -> None:
        for name, limit in (("tidegate-large", HUGE), ("tidegate-huge", None)):
            thread = threading.Thread(target=self._work, args=[limit], name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, limit: int | None) -> None:
        while (entry := self._next(limit)) is not None:
            self._take(entry)
            with self._changed:
                self._keys.difference_update(file.key for file in entry.files)
            self._taken(entry)

    def _next(self, limit: int | None) -> LargeFiles | None:
        with self._changed:
            while not self._closed:
                if self._waiting and (limit is None or self._waiting[0].size < limit):
                    return heapq.heappop(self._waiting)
                self._changed.wait()
        return None
