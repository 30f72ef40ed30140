"""Which runs an event calls for. Reads the ledger, changes nothing."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase

from tidegate.runtime.events import Event, FileArrived, ScheduleDue
from tidegate.runtime.ledger_rules import overlaps
from tidegate.runtime.manifest import Config, Pipeline
from tidegate.runtime.protocols import MOST_CHANGES, Ledger
from tidegate.runtime.related_files import has_related, related_run, related_runs
from tidegate.runtime.runs import SETTLED, Product, Run, Window, window_at, windows_over
from tidegate.runtime.scheduled_files import Room, in_batches, new_files
from tidegate.runtime.temporary_names import is_temporary
from tidegate.runtime.withdrawal import withdrawn_run

_FIRST_PAUSE = timedelta(minutes=10)
_LONGEST_PAUSE = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)
_ANY = datetime.min.replace(tzinfo=timezone.utc)
MOST_WINDOWS = 1000
"""Windows that are selected at once: the inputs of all of them are in memory at the same time."""
_LEFT = "windows left"
"""The name of the windows that are selected next, beside the cursors of datastreams."""
_CLOCK = "clock"
"""The name of the cursor of a VAP without known inputs."""


@dataclass(frozen=True)
class Selection:
    """The runs that an event calls for, and what to store once they are queued."""

    runs: tuple[Run, ...]
    """The runs, the oldest first."""
    state: tuple[tuple[str, str], ...] = ()
    """Names and values for ``Ledger.set_state``, after the runs are queued or done."""
    more: bool = False
    """Whether the same event calls for further runs, once this state is known."""


def select(
    configs: Sequence[Config],
    event: Event,
    ledger: Ledger,
    *,
    now: datetime | None = None,
    room: Room | None = None,
    known: Mapping[str, str] = {},
    lost: Callable[[Run], bool] = lambda run: False,
    held: Callable[[Config, Window], bool] = lambda config, window: False,
) -> Selection:
    """The runs that ``event`` calls for, without those that are done.

    A file that arrives once more is run again if what was made of it is ``lost``.
    Of many windows, some: ``Selection.more`` says so. ``known`` is state from selections before
    this one that may not be in the ledger yet.

    ``now`` decides which failed windows may be tried again: the event's own time may be long past.
    ``room`` is what one run of a scheduled ingest takes at most. Windows that are ``held``, because
    a job is going to make them, stay due.
    """
    if isinstance(event, FileArrived):
        runs = [
            run
            for config in configs
            if event.config in ("", config.id) and takes(config, event.input.key)
            for run in arrival_runs(config, event, now or event.at)
        ]
        states = ledger.states(run.key for run in runs)
        again = [
            replace(run, again=True) for run in runs if states.get(run.key) in SETTLED and lost(run)
        ]
        new = [run for run in runs if states.get(run.key) not in (*SETTLED, "failed")]
        return Selection((*new, *again))
    if isinstance(event, ScheduleDue):
        config = next((c for c in configs if c.id == event.config), None)
        if config is None:
            return Selection(())
        if config.kind == "VAP":
            return _due_windows(config, event, ledger, now or event.at, known, held)
        runs = list(_scheduled_ingest(config, event, ledger, now or event.at, room or Room()))
        return Selection(tuple(_again(runs, ledger) if config.input_path else _open(runs, ledger)))
    return Selection(event.runs)


def arrival_runs(config: Config, event: FileArrived, now: datetime) -> list[Run]:
    """The runs of a config that takes the file that arrived, whether they are done or not."""
    if not has_related(config):
        return [Run(config.id, inputs=(event.input,), arrived=event.at)]
    present = [file for file in event.files if is_input(config, file.key)]
    return related_runs(config, [event.input], present, event.at, now=now)


def takes(config: Config, key: str) -> bool:
    """Whether a file that arrives under ``key`` starts a run of ``config``, or is a companion."""
    return config.trigger == "S3" and is_input(config, key)


def counts(key: str) -> bool:
    """Whether a file of that name counts as arrived for any config: not if it is temporary."""
    return not is_temporary(key)


def is_ignored(config: Config, key: str) -> bool:
    """Whether the config's ``ignore`` leaves out a file below its input path.

    A pattern with a ``/`` is compared with the path below the input path, others with the name.
    """
    below = key[len(config.input_path or "") :]
    name = key.rpartition("/")[2]
    return any(fnmatchcase(below if "/" in p else name, p) for p in config.ignore)


def is_input(config: Config, key: str) -> bool:
    """Whether a file of that key is one of the config's raw files."""
    path = config.input_path
    return path is not None and under(path, key) and counts(key) and not is_ignored(config, key)


def under(prefix: str, key: str) -> bool:
    """Whether ``key`` is a file below the folder ``prefix`` (which ends in ``/``, or is empty)."""
    return key.startswith(prefix) and key != prefix and not key.endswith("/")


def _open(runs: Iterable[Run], ledger: Ledger) -> list[Run]:
    """Those that have not been done and have not failed for good."""
    runs = list(runs)
    states = ledger.states(run.key for run in runs)
    return [run for run in runs if states.get(run.key) not in (*SETTLED, "failed")]


def _scheduled_ingest(
    config: Config, event: ScheduleDue, ledger: Ledger, now: datetime, room: Room
) -> Iterator[Run]:
    if config.inputs:
        # The period that has just ended: its data can be complete, that of the next cannot.
        period = window_at(config.window or "day", event.at)
        period = window_at(config.window or "day", period.begin - _INSTANT)
        yield Run(
            config.id,
            arguments=tuple(render(text, period, event.at) for text in config.inputs),
            due=event.at,  # a new run each time, even if the strings stay the same
            arrived=event.at,
        )
        return
    if config.input_path is None:
        return
    files = [file for file in event.files if is_input(config, file.key)]
    waiting = set(event.waiting)
    new = [file for file in new_files(config, files, ledger) if file not in waiting]
    if not has_related(config):
        for batch in in_batches(config, new, room):
            yield Run(config.id, inputs=batch, arrived=event.at)
        return
    due = related_runs(config, new, files, event.at, now=now)
    if config.group_by:
        yield from due
        return
    present = {file.key: file for file in files}
    for batch in in_batches(config, [run.inputs[0] for run in due], room):
        yield related_run(config, batch, present, event.at)


def render(text: str, period: Window, due: datetime) -> str:
    """One of a config's ``inputs`` with the run's times in it, as in ``"{begin:%Y%m}"``."""
    return text.format(begin=period.begin, end=period.end, time=due)


def _due_windows(
    config: Config,
    event: ScheduleDue,
    ledger: Ledger,
    now: datetime,
    known: Mapping[str, str],
    held: Callable[[Config, Window], bool],
) -> Selection:
    pipeline = config.tsdat or Pipeline("")
    if not pipeline.datastreams:
        return _windows_by_clock(config, event, ledger, now)
    name = f"cursors/{config.id}"
    before: dict[str, str] = json.loads(known.get(name) or ledger.state(name) or "{}")
    after = {stream: before[stream] for stream in pipeline.datastreams if stream in before}
    windows = set(_read_windows(config, before.get(_LEFT, "[]")))
    for datastream in pipeline.datastreams:
        # With enough windows for now, further changes are read with the next part.
        while len(windows) <= MOST_WINDOWS:
            spans, after[datastream] = ledger.changes(datastream, after.get(datastream, ""))
            for span in spans:
                windows.update(_touched(config, pipeline, span.begin, span.end))
            if len(spans) < MOST_CHANGES:
                break
    failed = _failed_windows(config, now, ledger)
    failed = {key: window for key, window in failed.items() if not held(config, window)}
    later = {window for window in windows if held(config, window)}
    ordered = sorted(windows - later, key=lambda window: window.begin)
    ordered, left = ordered[:MOST_WINDOWS], ordered[MOST_WINDOWS:]
    if left or later:
        kept = sorted({*left, *later}, key=lambda window: window.begin)
        after[_LEFT] = _write_windows(kept)
    # What failed is tried again with the last part: it must not be due again with each part.
    chosen = {*ordered, *(() if left else failed.values())}
    runs = window_runs(config, chosen, ledger, arrived=event.at)
    due = _again([run for run in runs if run.key in failed], ledger)
    due += _open((run for run in runs if run.key not in failed), ledger)
    due.sort(key=_begins)
    # Most often nothing has changed, and then there is nothing to store either.
    state = ((name, json.dumps(after, sort_keys=True)),) if after != before else ()
    return Selection(tuple(due), state, bool(left))


def _write_windows(windows: Sequence[Window]) -> str:
    """Windows in order as JSON: the begin and end of each group without gaps."""
    groups = [(group[0].begin, group[-1].end) for group in _neighbours(windows)]
    return json.dumps([[begin.isoformat(), end.isoformat()] for begin, end in groups])


def _read_windows(config: Config, text: str) -> Iterator[Window]:
    for begin, end in json.loads(text):
        last = datetime.fromisoformat(end) - _INSTANT
        yield from windows_over(config.window or "day", datetime.fromisoformat(begin), last)


def _again(runs: Sequence[Run], ledger: Ledger) -> list[Run]:
    """Runs that failed or were superseded, as runs to try again now."""
    states = ledger.states(run.key for run in runs)
    return [replace(run, again=states.get(run.key) == "failed") for run in runs]


def _begins(run: Run) -> datetime:
    assert run.window is not None
    return run.window.begin


def window_runs(
    config: Config, windows: Iterable[Window], ledger: Ledger, *, arrived: datetime | None = None
) -> list[Run]:
    """A run for each of those windows that holds any input, with those inputs, in order.

    A window that has inputs only in its padding is left out. If a window has none any more, but
    products of earlier ones, its run withdraws them.
    """
    pipeline = config.tsdat or Pipeline("")
    before, after = timedelta(seconds=pipeline.pad_before), timedelta(seconds=pipeline.pad_after)
    runs: list[Run] = []
    for group in _neighbours(sorted(windows, key=lambda window: window.begin)):
        begin, end = group[0].begin - before, group[-1].end + after + _INSTANT
        products = [
            p for name in pipeline.datastreams for p in ledger.overlapping(name, begin, end)
        ]
        # Tsdat takes both ends of what it fetches as inclusive.
        spans = [(w.begin - before, w.end + after + _INSTANT) for w in group]
        for window, held in zip(group, _held(products, spans)):
            if any(overlaps(p, window.begin, window.end) for p in held):
                refs = tuple(p.ref for p in held)
                runs.append(Run(config.id, window=window, products=refs, arrived=arrived))
            elif withdrawal := withdrawn_run(config.id, window, ledger, arrived):
                runs.append(withdrawal)
    return runs


def _held(
    products: Sequence[Product], spans: Sequence[tuple[datetime, datetime]]
) -> Iterator[list[Product]]:
    """For each span, the products that overlap it. The spans must be in order.

    One pass over all products is enough then; comparing each product with each span would be half
    a billion comparisons for a year of hourly windows over ten-minute files.
    """
    waiting = deque(sorted(products, key=lambda p: (p.begin or _ANY, p.key)))
    held: list[Product] = []
    for begin, end in spans:
        while waiting and overlaps(waiting[0], None, end):
            held.append(waiting.popleft())
        held = [p for p in held if overlaps(p, begin, None)]
        yield held


def _touched(
    config: Config, pipeline: Pipeline, begin: datetime, end: datetime
) -> Iterator[Window]:
    """The windows that a change of [begin, end] affects, in themselves or in their padding."""
    begin -= timedelta(seconds=pipeline.pad_after) + _INSTANT  # what begins at a window's end, too
    end += timedelta(seconds=pipeline.pad_before)
    if config.since is not None:
        begin = max(begin, config.since)
    if begin <= end:
        for window in windows_over(config.window or "day", begin, end):
            if config.since is None or window.begin >= config.since:
                yield window


def _failed_windows(config: Config, now: datetime, ledger: Ledger) -> dict[str, Window]:
    """The keys and windows of failed runs that may be tried again now.

    The pause doubles with each attempt, up to a day: a window that cannot succeed must not cost a
    run each time the schedule is due.
    """
    due: dict[str, Window] = {}
    for record in ledger.records(config=config.id, states=("failed",)):
        window = record.run.window
        pause = min(_FIRST_PAUSE * 2 ** min(record.attempt - 1, 10), _LONGEST_PAUSE)
        ended = record.finished or record.started
        # A clock that was set back must not delay a window: then the end is in the future.
        if window is not None and (ended + pause <= now or ended > now):
            due[record.key] = window
    return due


def _windows_by_clock(
    config: Config, event: ScheduleDue, ledger: Ledger, now: datetime
) -> Selection:
    """For a VAP without known input datastreams: each window, once it has ended.

    Windows that ended while nothing was running are included.
    """
    length, name = config.window or "day", f"cursors/{config.id}"
    last = window_at(length, window_at(length, event.at).begin - _INSTANT)
    done = json.loads(ledger.state(name) or "{}").get(_CLOCK)
    begin = datetime.fromisoformat(done) if done else config.since or last.begin
    runs = [
        Run(config.id, window=window, arrived=event.at)
        for window in windows_over(length, begin, last.begin)
        if window.begin >= begin
    ]
    failed = _failed_windows(config, now, ledger).values()
    again = [Run(config.id, window=window, arrived=event.at) for window in failed]
    due = sorted(_open(runs, ledger) + _again(again, ledger), key=_begins)
    after = max(begin, last.end)  # if the clock was set back, nothing is due twice
    return Selection(tuple(due), ((name, json.dumps({_CLOCK: after.isoformat()})),))


def _neighbours(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Groups of windows that follow each other without a gap: one query for each group."""
    group: list[Window] = []
    for window in windows:
        if group and window.begin > group[-1].end:
            yield group
            group = []
        group.append(window)
    if group:
        yield group
