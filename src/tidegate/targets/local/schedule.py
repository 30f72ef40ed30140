"""Which schedules are due: cron expressions in UTC. The caller passes the time in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from cronsim import CronSim, CronSimError

from tidegate.errors import ConfigurationError
from tidegate.runtime.events import ScheduleDue
from tidegate.runtime.manifest import Config
from tidegate.runtime.records import utc

MOST_AT_ONCE = 1000
"""How many missed due times of one config ``Schedule.due`` returns at once."""
_INSTANT = timedelta(microseconds=1)


def next_due(expression: str, after: datetime) -> datetime:
    """The first due time after ``after``, UTC.

    Raises:
        ConfigurationError: it is not a cron expression, or is never due again.
    """
    return _first(expression, utc(after), reverse=False)


def last_due(expression: str, now: datetime) -> datetime:
    """The latest due time that is not after ``now``, UTC; raises what ``next_due`` raises."""
    return _first(expression, utc(now) + _INSTANT, reverse=True)


def due_between(
    expression: str, after: datetime, until: datetime, limit: int | None = None
) -> list[datetime]:
    """The due times in (after, until], the oldest first and at most ``limit`` of them, UTC."""
    times: list[datetime] = []
    time = utc(after)
    while limit is None or len(times) < limit:
        time = next_due(expression, time)
        if time > utc(until):
            break
        times.append(time)
    return times


def _first(expression: str, moment: datetime, *, reverse: bool) -> datetime:
    try:
        return utc(next(CronSim(expression, moment, reverse=reverse)))
    except CronSimError as error:
        why = str(error)
    except (StopIteration, OverflowError, ValueError):
        why = "no such time comes within 50 years"
    raise ConfigurationError(
        f"the schedule {expression!r} can never be due",
        why=why,
        next="write five fields: minute, hour, day of month, month, day of week, as in `0 2 * * *`",
    )


class State(Protocol):
    """The part of a ledger that a schedule needs."""

    def state(self, name: str) -> str | None:
        """A small durable value."""

    def set_state(self, name: str, value: str) -> None:
        """Store a small durable value."""


class Schedule:
    """The schedules of all configs that have one, and the last due time that each has handled.

    What is due stays due until it is ``handled``. After a downtime a VAP, and an ingest of files,
    get one event, at the latest due time that was missed: their runs cover all that was missed. An
    ingest of ``inputs`` gets one event for each due time, because each stands for its own period.

    When the clock is set back, nothing is due at once, and no due time comes twice. If it is set
    back by more than a period, the schedule goes on from the new time, and says so; otherwise it
    would do nothing until the clock has caught up.
    """

    def __init__(
        self,
        configs: Iterable[Config],
        ledger: State,
        *,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._configs = {
            config.id: (config, config.schedule)
            for config in configs
            if config.trigger == "Cron" and config.schedule is not None
        }
        self._ledger = ledger
        self._say = say
        # While the clock is between these, a config is not due: no need to read the ledger.
        self._quiet: dict[str, tuple[datetime, datetime]] = {}

    def due(self, now: datetime) -> list[ScheduleDue]:
        """What is due and has not been handled; for one config the oldest first.

        A config that was never handled is due now, at its latest due time.
        """
        now = utc(now)
        events: list[ScheduleDue] = []
        for config, expression in self._configs.values():
            begin, end = self._quiet.get(config.id, (now, now))
            if begin <= now < end:
                continue
            self._follow_clock(config.id, expression, now)
            times = self._missed(config, expression, now)
            if len(times) > MOST_AT_ONCE:
                times = times[:MOST_AT_ONCE]
                self._say(
                    f"{config.id} has missed more than {MOST_AT_ONCE} due times, from "
                    f"{times[0]:%Y-%m-%d %H:%M} on; the oldest {MOST_AT_ONCE} come first"
                )
            events += [ScheduleDue(config.id, at) for at in times]
            if not times:
                self._quiet[config.id] = (now, self._next(config.id, expression, now))
        return events

    def handled(self, event: ScheduleDue) -> None:
        """Note that an event, and all earlier ones of the same config, are done."""
        self._quiet.pop(event.config, None)
        before = self._handled(event.config)
        if before is None or event.at > before:
            self._keep(event.config, event.at)

    def upcoming(self, now: datetime) -> dict[str, datetime]:
        """For each config when it is due next; in the past if it is due already."""
        now = utc(now)
        times: dict[str, datetime] = {}
        for config, expression in self._configs.values():
            missed = self._missed(config, expression, now)
            times[config.id] = missed[0] if missed else self._next(config.id, expression, now)
        return times

    def _follow_clock(self, config: str, expression: str, now: datetime) -> None:
        """If the last handled time is more than a period ahead, go on from now."""
        handled = self._handled(config)
        done = self._done(config, expression, now)
        if handled is not None and done is not None and done != handled:
            self._say(
                f"{config}: the clock was set back, its last due time was {handled:%Y-%m-%d %H:%M} "
                f"and now it is {now:%Y-%m-%d %H:%M}; its schedule goes on from now"
            )
            self._keep(config, done)

    def _missed(self, config: Config, expression: str, now: datetime) -> Sequence[datetime]:
        done, latest = self._done(config.id, expression, now), last_due(expression, now)
        if done is None:
            return [latest]
        if latest <= done:
            return []
        if not config.inputs:
            return [latest]
        return due_between(expression, done, now, MOST_AT_ONCE + 1)

    def _next(self, config: str, expression: str, now: datetime) -> datetime:
        return next_due(expression, max(now, self._done(config, expression, now) or now))

    def _done(self, config: str, expression: str, now: datetime) -> datetime | None:
        """The last due time that is handled: the stored one, unless the clock was set back."""
        handled = self._handled(config)
        if handled is not None and next_due(expression, now) < handled:
            return last_due(expression, now)
        return handled

    def _handled(self, config: str) -> datetime | None:
        text = self._ledger.state(f"due/{config}")
        try:
            return utc(datetime.fromisoformat(text)) if text else None
        except ValueError:
            return None

    def _keep(self, config: str, at: datetime) -> None:
        self._ledger.set_state(f"due/{config}", utc(at).isoformat())
