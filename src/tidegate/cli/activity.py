"""What ``tidegate up`` prints of its runs.

A run gets a line of its own if it failed, or if its file has arrived while the service runs and few
others wait. Of all others, a progress line says how far they are, and one line for each config says
what came of them when nothing waits any more.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from rich.live import Live
from rich.text import Text

from tidegate.cli import view
from tidegate.cli.view import View, plain
from tidegate.runtime.runs import RunRecord
from tidegate.runtime.wording import quantity
from tidegate.workspace import commands

FEW = 5
"""With more runs waiting than this, those that succeed get no line of their own."""
_EVERY = 60.0
_SETTLED = 2


@dataclass
class _Group:
    """The runs of one config that are not printed one by one."""

    records: int = 0
    states: Counter[str] = field(default_factory=Counter)
    warned: int = 0
    last: RunRecord | None = None
    begin: datetime | None = None
    end: datetime | None = None

    def add(self, record: RunRecord) -> None:
        self.records += 1
        self.states[record.state] += 1
        self.warned += record.state == "succeeded" and bool(record.warnings or record.plots_failed)
        self.last = record
        if (window := record.run.window) is not None:
            self.begin = min(self.begin or window.begin, window.begin)
            self.end = max(self.end or window.end, window.end)

    def line(self, width: int) -> str:
        """What came of them; of a single one, its own line."""
        assert self.last is not None
        if self.records == 1:
            return view.record_line(self.last, width)
        ok = self.states["succeeded"]
        words = [f"[green]{ok:,} ok[/]"] if ok else []
        words += [f"[yellow]{self.warned:,} of them with warnings[/]"] if self.warned else []
        for state in ("empty", "failed", "superseded"):
            if count := self.states[state]:
                words.append(f"[{view.COLOURS[state]}]{count:,} {state}[/]")
        at = self.last.finished or self.last.started
        return (
            f"{at.astimezone(timezone.utc):%H:%M:%S}  [bold]{plain(self.last.run.config)}[/]"
            f"  {self._about()}: {', '.join(words)}"
        )

    def _about(self) -> str:
        if self.begin is None or self.end is None:
            noun = "file" if self.last and len(self.last.run.inputs) == 1 else "run"
            return quantity(self.records, noun)
        last = self.end - timedelta(microseconds=1)
        days = f"{self.begin:%Y-%m-%d}"
        if last.date() != self.begin.date():
            days += f" to {last:%d}" if _same_month(self.begin, last) else f" to {last:%Y-%m-%d}"
        return f"{quantity(self.records, 'window')} {days}"


def _same_month(one: datetime, other: datetime) -> bool:
    return (one.year, one.month) == (other.year, other.month)


class Activity:
    """Prints runs as they end. Its methods are called one at a time, from any thread."""

    def __init__(self, out: View, *, verbose: bool = False) -> None:
        self._out = out
        self._verbose = verbose
        self._started = datetime.now(timezone.utc)
        self._groups: dict[str, _Group] = {}
        self._waiting = FEW + 1  # files that are there at the start are a backlog, until it is seen
        self._idle = 0
        self._counts: Counter[str] = Counter()
        self._since = self._said = time.monotonic()
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep a progress line at the end of a terminal; print what is left at the end."""
        try:
            if self._out.err.is_terminal and not self._out.as_json:
                self._live = Live(
                    console=self._out.err, get_renderable=self._progress, transient=True
                )
                with self._live:
                    yield
            else:
                yield
        finally:
            self._live = None
            self._flush()

    def record(self, record: RunRecord) -> None:
        """A run has ended, or will be tried again."""
        if self._out.as_json:
            sys.stdout.write(commands.json_line(view.run_data(record)))
            sys.stdout.flush()
            return
        self._counts["failed" if record.state == "failed" else "done"] += (
            record.finished is not None
        )
        fails = record.state in ("failed", "retrying") or bool(record.plots_failed)
        shown = self._verbose or fails or self._is_live(record)
        if shown:
            self._out.line(view.record_line(record, self._out.columns))
        if not self._verbose and (fails or not shown) and record.state != "retrying":
            self._groups.setdefault(record.run.config, _Group()).add(record)

    def waiting(self, count: int) -> None:
        """So many runs wait or go on."""
        self._waiting = count
        self._idle = 0 if count else self._idle + 1
        if self._idle >= _SETTLED:
            self._flush()
        elif count > FEW and self._live is None and time.monotonic() - self._said > _EVERY:
            self._said = time.monotonic()
            if not self._out.as_json:
                self._out.note(self._progress().plain)

    def _is_live(self, record: RunRecord) -> bool:
        """Whether its newest file was written since the start, and few others wait."""
        times = [i.modified for i in record.run.inputs if i.modified is not None]
        return self._waiting <= FEW and bool(times) and max(times) >= self._started

    def _flush(self) -> None:
        groups, self._groups = self._groups, {}
        for group in groups.values():
            # A single one that failed has its line already.
            if group.records > 1 or not group.states["failed"]:
                self._out.line(group.line(self._out.columns))
        self._counts.clear()
        self._since = self._said = time.monotonic()

    def _progress(self) -> Text:
        """How far the waiting runs are; empty if few wait."""
        done, failed = self._counts["done"], self._counts["failed"]
        if self._waiting <= FEW or not done + failed:
            return Text("")
        rate = (done + failed) / max(time.monotonic() - self._since, 0.001)
        text = f"{done:,} done, {failed:,} failed, {self._waiting:,} waiting"
        if done + failed > FEW:  # the first ones wait for the workers to start
            left = timedelta(seconds=round(self._waiting / rate))
            text += f"; {rate * 60:,.0f} a minute, about {left} left"
        return Text(text, no_wrap=True, overflow="ellipsis")
