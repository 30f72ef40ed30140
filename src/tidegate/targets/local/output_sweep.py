"""Puts the outputs right after a service was killed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.outputs import FolderOutputs

logger = logging.getLogger(__name__)

_STATE = "outputs/at work"
_YES, _NO = "yes", "no"
_TICK = 0.1


class OutputSweep:
    """Deals with what a killed service left half published.

    What could do harm is put right before the first run: a folder that was being replaced, which is
    neither in its place nor deleted. The ledger knows the keys, since they are noted before
    anything is published. Hidden files that only take space are looked for in a thread. Both are
    done only if the service before did not end by itself, or its own sweep did not.
    """

    def __init__(self, outputs: FolderOutputs, ledger: SqliteLedger) -> None:
        self._outputs = outputs
        self._ledger = ledger
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._done = False

    def start(self) -> None:
        """Do what must be done before the first run, and start the rest."""
        self._done = self._ledger.state(_STATE) == _NO
        if self._done:
            self._ledger.set_state(_STATE, _YES)
            return
        for record in self._ledger.records(states=("running", "retrying")):
            self._outputs.restore(record.publishing)
        self._thread = threading.Thread(target=self._work, name="tidegate-sweep", daemon=True)
        self._thread.start()

    def wait(self, interrupted: Callable[[], bool]) -> None:
        """Wait until all folders have been looked through, or until ``interrupted()``."""
        while self._thread is not None and self._thread.is_alive() and not interrupted():
            self._thread.join(_TICK)

    def close(self, *, at_work: bool) -> None:
        """End the thread; if runs are still ``at_work``, the next service looks again."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._done and not at_work:
            self._ledger.set_state(_STATE, _NO)

    def _work(self) -> None:
        try:
            self._outputs.sweep(self._stopping.is_set)
        except OSError as error:  # such as a folder that cannot be written: the next start tries it
            logger.warning("the outputs were not swept: %s", error, extra={"action": "sweep"})
            return
        self._done = not self._stopping.is_set()
