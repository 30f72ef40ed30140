"""Keeps the summaries of days up to date while a service runs, so that pages need not wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.errors import LedgerError, StorageError
from tidegate.runtime.day_summaries import refresh
from tidegate.targets.local.ledger import SqliteLedger

logger = logging.getLogger(__name__)

EVERY = 60.0
"""How long after the start and between two times, s."""
_PAUSE = 0.2  # s; between datastreams, so that runs are not held up


@contextmanager
def keeping_days(file: Path, every: float = EVERY) -> Iterator[None]:
    """Bring all summaries in a ledger's file up to date regularly, until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(
        target=_work, args=(file, every, stop), name="tidegate-days", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _work(file: Path, every: float, stop: threading.Event) -> None:
    while not stop.wait(every):
        if not file.exists():  # it would be created
            continue
        try:
            with SqliteLedger(file) as ledger:
                for name in ledger.datastreams():
                    if stop.wait(_PAUSE):
                        return
                    refresh(ledger, name)
        except (LedgerError, StorageError) as error:  # the service itself says what is wrong
            logger.warning("the summaries of days are not up to date: %s", error)
