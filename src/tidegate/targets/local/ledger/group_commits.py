"""Several threads' changes of the ledger in one transaction.

A transaction costs as much as some small changes, and while one goes on, other threads wait. So the
changes that wait are carried out together, by one of the threads that brought them, and each thread
gets its result once the transaction is committed. Nobody waits for a group to grow: a change that
comes alone is a transaction of its own, at once.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")

Change = Callable[[sqlite3.Connection], T]
"""Reads and writes within a transaction, and changes nothing but the database."""
MOST = 50
"""At most so many changes are in one transaction: other processes want to write, too."""


class _Waiting:
    """A change that waits to be carried out."""

    def __init__(self, change: Change[Any]) -> None:
        self.change = change
        self.result: Any = None
        self.error: Exception | None = None
        self.ended = False
        self.leads = False
        """Whether its thread is the one to carry out what waits."""
        self.turn = threading.Lock()
        """Held until the change has ended, or its thread leads."""
        self.turn.acquire()


class GroupCommits:
    """Carries out changes, each as if it were a transaction of its own."""

    def __init__(
        self, transaction: Callable[[], AbstractContextManager[sqlite3.Connection]]
    ) -> None:
        """``transaction()`` commits at the end of its block; an exception undoes all of it."""
        self._transaction = transaction
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._led = False

    def write(self, change: Change[T]) -> T:
        """The result of ``change(connection)``, once it is committed; raises what it raises.

        ``change`` is called again if the transaction of its group was undone.
        """
        mine = _Waiting(change)
        try:
            with self._lock:
                self._waiting.append(mine)
                if not self._led:
                    self._led = mine.leads = True
            if not mine.leads:
                mine.turn.acquire()
            if not mine.ended:
                self._lead(mine)
        except BaseException:  # Ctrl-C
            self._leave(mine)
            raise
        if mine.error is not None:
            raise mine.error
        result: T = mine.result
        return result

    def _lead(self, mine: _Waiting) -> None:
        """Carry out what waits, ``mine`` first; then one of those that came later leads."""
        with self._lock:
            group, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            self._carry_out(group)
        finally:
            others = [waiting for waiting in group if waiting is not mine]
            with self._lock:  # some have not ended if this thread was interrupted
                self._waiting[:0] = [waiting for waiting in others if not waiting.ended]
                self._pass_on(mine)
            for waiting in others:
                if waiting.ended:
                    waiting.turn.release()

    def _leave(self, mine: _Waiting) -> None:
        with self._lock:
            mine.ended = True  # so that it is not put back into the list
            if mine in self._waiting:
                self._waiting.remove(mine)
            if mine.leads:
                self._pass_on(mine)

    def _pass_on(self, mine: _Waiting) -> None:
        """Let another thread lead, if there is one that waits. The lock is held."""
        mine.leads = False
        self._led = bool(self._waiting)
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].turn.release()

    def _carry_out(self, group: Sequence[_Waiting]) -> None:
        if len(group) > 1 and self._carry_out_together(group):
            return
        for waiting in group:
            try:
                with self._transaction() as db:
                    waiting.result = waiting.change(db)
            except Exception as error:
                waiting.error = error
            waiting.ended = True

    def _carry_out_together(self, group: Sequence[_Waiting]) -> bool:
        """Whether all could be carried out; if one fails, none is, since it is no other's fault."""
        try:
            with self._transaction() as db:
                results = [waiting.change(db) for waiting in group]
        except Exception:
            return False
        for waiting, result in zip(group, results):
            waiting.result, waiting.ended = result, True
        return True
