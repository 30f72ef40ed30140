"""Keeps summaries up to date while a service runs, so that pages need not wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from tidegate.errors import LedgerError, StorageError
from tidegate.runtime.day_summaries import refresh
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.workspace.summary_refresh import SummaryRefresh

logger = logging.getLogger(__name__)

EVERY = 60.0
"""How long after the start and between two times, s."""
_PAUSE = 0.2  # s; between datastreams, so that runs are not held up


@contextmanager
def keeping_summaries(
    file: Path, configs: Callable[[], Sequence[str]], every: float = EVERY
) -> Iterator[None]:
    """Bring the summaries of days and of configs up to date regularly, until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(
        target=_work, args=(file, configs, every, stop), name="tidegate-summaries", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _work(
    file: Path, configs: Callable[[], Sequence[str]], every: float, stop: threading.Event
) -> None:
    while not stop.wait(every):
        if not file.exists():  # it would be created
            continue
        try:
            with SqliteLedger(file) as ledger:
                SummaryRefresh(ledger)(configs(), datetime.now(timezone.utc))
                for name in ledger.datastreams():
                    if stop.wait(_PAUSE):
                        return
                    refresh(ledger, name)
        except (LedgerError, StorageError) as error:  # the service itself says what is wrong
            logger.warning("the summaries are not up to date: %s", error)
