"""Which notices go into which message, and when: grouped, limited in rate, silent at night; pure.

The first notice of a quiet time waits for ``GATHER``, so that a hundred files that fail together
make one message. After a message, the next one waits until ``every`` has passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from tidegate.runtime.notices.notice import KINDS, Notice

GATHER = timedelta(seconds=30)
"""How long the first notice waits for others."""
_SHOWN = 5
_KEPT = 1000
_WORDS = {
    "failure": ("failed run", "failed runs"),
    "silence": ("stale config", "stale configs"),
    "recovery": ("recovery", "recoveries"),
    "disk": ("disk problem", "disk problems"),
    "empty": ("product with empty variables", "products with empty variables"),
}


@dataclass(frozen=True)
class Message:
    """What is sent."""

    title: str
    """One line."""
    body: str
    """Plain text."""


@dataclass
class Digest:
    """The notices that wait for one group of recipients."""

    place: str
    """The workspace or branch, for the title."""
    every: timedelta
    """The shortest time between two messages."""
    quiet: tuple[time, time] | None = None
    """Send nothing between these times of day, UTC; a night may pass midnight."""
    link: str = ""
    """Where to see it all: an address or a command."""
    waiting: list[Notice] = field(default_factory=list)
    """The notices that were not sent yet; the oldest are dropped beyond a thousand."""
    dropped: Counter[str] = field(default_factory=Counter)
    """How many of each kind were dropped, so that the counts stay right."""
    last_sent: datetime | None = None
    """When the last message was sent."""

    def add(self, notice: Notice) -> None:
        """Take a notice in."""
        self.waiting.append(notice)
        if len(self.waiting) > _KEPT:
            self.dropped[self.waiting.pop(0).kind] += 1

    def forget(self, config: str, subject: str) -> bool:
        """Drop the failure of a subject that has worked since; returns whether it was waiting.

        A failure that was not sent needs no message that it is over.
        """
        before = len(self.waiting)
        self.waiting = [
            notice
            for notice in self.waiting
            if not (
                notice.config == config
                and notice.subject == subject
                and notice.kind in ("failure", "silence")
            )
        ]
        return len(self.waiting) < before

    def drop_closed(self, is_open: Callable[[str], bool]) -> None:
        """Drop failures that are no longer open, by the keys of their runs."""
        self.waiting = [n for n in self.waiting if n.kind != "failure" or is_open(n.run)]

    def due(self, now: datetime, gather: timedelta = GATHER) -> bool:
        """Whether a message should be sent now; ``gather`` is how long the first notice waits."""
        if not self.waiting or self._is_quiet(now):
            return False
        if now - self.waiting[0].at < gather and len(self.waiting) < _KEPT:
            return False
        return self.last_sent is None or now - self.last_sent >= self.every

    def message(self) -> Message:
        """The message about all that waits."""
        return compose(self.waiting, self.dropped, self.place, self.link)

    def sent(self, now: datetime) -> None:
        """Note that the message was sent."""
        self.waiting, self.dropped, self.last_sent = [], Counter(), now

    def _is_quiet(self, now: datetime) -> bool:
        if self.quiet is None:
            return False
        begin, end = self.quiet
        moment = now.time().replace(tzinfo=None)
        return begin <= moment < end if begin <= end else moment >= begin or moment < end


def compose(
    notices: Sequence[Notice], dropped: Counter[str] | None, place: str, link: str = ""
) -> Message:
    """One message about all these notices: counts in the title, then the first of each kind."""
    counts: Counter[str] = Counter(notice.kind for notice in notices)
    counts.update(dropped or {})
    present = [kind for kind in KINDS if counts[kind]]
    parts = [f"{counts[kind]} {_WORDS[kind][counts[kind] != 1]}" for kind in present]
    configs = sorted({notice.config for notice in notices if notice.config})
    where = configs[0] if len(configs) == 1 else place
    lines: list[str] = []
    for kind in present:
        of_kind = [notice for notice in notices if notice.kind == kind]
        for notice in of_kind[:_SHOWN]:
            about = f"{notice.config}: " if notice.config else ""
            lines.append(f"{notice.at:%Y-%m-%d %H:%M} UTC  {about}{notice.text}")
        more = counts[kind] - len(of_kind[:_SHOWN])
        if more > 0:
            lines.append(f"… and {more} more {_WORDS[kind][more != 1]}")
    if link:
        lines += ["", link]
    return Message(f"Tidegate, {where}: {', '.join(parts)}", "\n".join(lines))
