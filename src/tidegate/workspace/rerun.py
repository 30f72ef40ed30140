"""Which runs a person asks for: to retry, to reprocess, or to run files.

Works on any target's ledger; does not carry out runs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from tidegate.errors import UsageError
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.open_failures import open_failures, open_plots
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.related_files import has_related, related_run, related_runs
from tidegate.runtime.runs import SETTLED, Input, Run, RunRecord, Window, windows_over
from tidegate.runtime.scope import PastRun, Scope, is_wanted, is_within, past_run, span_of
from tidegate.runtime.select import takes, window_runs

_ASKED_AT_ONCE = 1000
_LISTED = 4


def find_record(ledger: Ledger, prefix: str) -> RunRecord:
    """The one record whose key begins with ``prefix``.

    Raises:
        UsageError: there is none, or several.
    """
    if not re.fullmatch(r"[0-9a-f]+", prefix):
        raise UsageError(
            f"{prefix!r} does not name a run",
            next="give the first digits of its key, as `tidegate runs` shows them",
        )
    found = list(ledger.records(prefix=prefix, limit=_LISTED + 1))
    if not found:
        raise UsageError(f"no run begins with {prefix}", next="`tidegate runs` lists them")
    if len(found) > 1:
        keys = {one.key for one in found}
        enough = next(n for n in range(65) if len({key[:n] for key in keys}) == len(keys))
        shown = [f"{one.key[:enough]} ({one.run.title})" for one in found[:_LISTED]]
        shown += ["…"] if len(found) > _LISTED else []
        raise UsageError(
            f"the keys of several runs begin with {prefix}",
            why="\n".join(shown),
            next="give more digits",
        )
    return found[0]


def to_retry(
    manifest: Manifest,
    ledger: Ledger,
    keys: Sequence[str],
    now: datetime,
    *,
    plots: bool = False,
) -> list[Run]:
    """The runs of those keys; without keys, those with open failures, or with failed ``plots``."""
    records = [find_record(ledger, key) for key in keys]
    if not keys:
        records = list(open_plots(ledger) if plots else open_failures(ledger))[::-1]
    ids = {config.id for config in manifest.configs}
    runs: list[Run] = []
    for record in records:
        if record.run.config not in ids:
            if keys:
                raise UsageError(
                    f"the run is of {record.run.config}, which is no longer in the config",
                    next="add it to pipelines_config.yml to run it again",
                )
            continue
        if record.run.window is not None:  # with the products that are there today
            config = manifest.config(record.run.config)
            present = window_runs(config, [record.run.window], ledger) or [record.run]
            runs += [requested(run, now) for run in present]
        else:
            runs.append(requested(record.run, now))
    return list({run.key: run for run in runs}.values())


def requested(run: Run, now: datetime) -> Run:
    """The same run, to be carried out even if it was carried out before."""
    return replace(run, again=True, arrived=now, search=None)


def file_runs(
    files: Iterable[tuple[Input, Sequence[Config]]],
    *,
    clump: bool,
    now: datetime,
    present: Callable[[Config], Iterable[Input]] = lambda config: (),
) -> list[Run]:
    """The runs of raw files, each with the configs that it is for.

    Each file gets a run of its own, with the files that belong to it, of all that are ``present``;
    with ``clump``, all files of one config get one together, with their companions.
    """
    by_config: dict[str, tuple[Config, list[Input]]] = {}
    for input, configs in files:
        for config in configs:
            by_config.setdefault(config.id, (config, []))[1].append(input)
    runs = []
    for id, (config, inputs) in by_config.items():
        if has_related(config):
            others = present(config)
            if clump:
                runs.append(related_run(config, inputs, {f.key: f for f in others}, now))
            else:
                runs += related_runs(config, inputs, others, now)
            continue
        groups = [inputs] if clump else [[input] for input in inputs]
        runs += [Run(id, inputs=tuple(sorted(group, key=lambda i: i.key))) for group in groups]
    return [requested(run, now) for run in runs]


def named_config(manifest: Manifest, id: str) -> Config:
    """The config of that id; raises UsageError, listing what there is."""
    try:
        return manifest.config(id)
    except KeyError:
        known = ", ".join(config.id for config in manifest.configs)
        raise UsageError(f"there is no config {id}", next=f"configs: {known}") from None


def named_configs(manifest: Manifest, name: str) -> list[Config]:
    """The config of that id, or all configs of the pipeline of that name; raises UsageError."""
    of_pipeline = [config for config in manifest.configs if config.pipeline == name]
    return of_pipeline or [named_config(manifest, name)]


def check_config(manifest: Manifest, ledger: Ledger, id: str | None) -> None:
    """Raise UsageError if there is no such config, and no run of one that has been removed."""
    if id is not None and not any(True for _ in ledger.records(config=id, limit=1)):
        named_config(manifest, id)


def check_datastream(name: str, known: Sequence[str]) -> None:
    """Raise UsageError, with names that are alike, if a datastream is not among the known ones."""
    if name in known:
        return
    close = difflib.get_close_matches(name, known, 3, 0.3) or list(known[:3])
    raise UsageError(
        f"there are no products of a datastream {name!r}",
        next=f"there are products of {', '.join(close)}" if close else "run a pipeline first",
    )


def window_run(
    manifest: Manifest,
    ledger: Ledger,
    names: Sequence[str],
    period: tuple[str | None, str | None],
    now: datetime,
) -> list[Run]:
    """The run of a VAP over one window.

    Raises:
        UsageError: it does not name one VAP and a window.
    """
    begin, end = period
    if len(names) != 1 or begin is None or end is None:
        raise UsageError(
            "a VAP's run needs its config, --begin and --end",
            next="tidegate run lidar_vap/humboldt --begin 20220405 --end 20220406",
        )
    config = named_config(manifest, names[0])
    if config.kind != "VAP":
        raise UsageError(f"{config.id} is not a VAP", next="give it files: tidegate run FILE")
    try:
        window = Window(parse_time(begin), parse_time(end))
    except ValueError as error:
        raise UsageError(str(error), next="--end must be later than --begin") from error
    runs = window_runs(config, [window], ledger) or [Run(config.id, window=window)]
    return [requested(run, now) for run in runs]


def to_reprocess(
    scope: Scope,
    ledger: Ledger,
    release: str,
    files: Callable[[], Iterable[Input]],
    now: datetime,
) -> list[Run]:
    """The runs that ``scope`` covers, in the order of their data."""
    if scope.config.kind == "VAP":
        found = _windows(scope, ledger, release)
    elif scope.config.inputs:
        found = _recorded(scope, ledger, release)
    else:
        found = _files(scope, ledger, release, files(), now)
    return [requested(run, now) for run in found]


def _windows(scope: Scope, ledger: Ledger, release: str) -> list[Run]:
    config = scope.config
    streams = config.tsdat.datastreams if config.tsdat else ()
    far = datetime(1, 1, 2, tzinfo=timezone.utc), datetime(9999, 12, 30, tzinfo=timezone.utc)
    begin, end = scope.begin or config.since or far[0], scope.end or far[1]
    if not streams:
        return _recorded(scope, ledger, release)
    windows: set[Window] = set()
    for name in streams:
        for product in ledger.overlapping(name, begin, end):
            if product.begin and product.end:
                last = min(product.end, end - timedelta(microseconds=1))
                windows.update(
                    windows_over(config.window or "day", max(product.begin, begin), last)
                )
    runs = window_runs(config, windows, ledger)
    if scope.only is None:
        return runs
    return [run for run in runs if is_wanted(scope, _latest(ledger, run), run, release)]


def _recorded(scope: Scope, ledger: Ledger, release: str) -> list[Run]:
    """Runs whose subjects only the ledger knows: windows by the clock, strings."""
    latest: dict[tuple[str, ...], RunRecord] = {}
    for record in ledger.records(config=scope.config.id):
        if not record.run.adopted:
            latest.setdefault(record.run.subjects, record)
    return [
        record.run
        for record in sorted(latest.values(), key=lambda record: record.started)
        if is_within(scope, span_of(past_run(record), record.run))
        and is_wanted(scope, past_run(record), record.run, release)
    ]


def _files(
    scope: Scope, ledger: Ledger, release: str, files: Iterable[Input], now: datetime
) -> list[Run]:
    chosen = []
    ordered = sorted(files, key=lambda file: file.key)
    expired: set[Input] = set()
    related = has_related(scope.config)
    if scope.only == "missing" and not related:
        ordered, expired = _unfinished(scope, ledger, ordered)
    runs = [Run(scope.config.id, inputs=(file,)) for file in ordered]
    if related:
        runs = related_runs(scope.config, ordered, ordered, None)
    all_are_wanted = scope.only is None and scope.begin is None and scope.end is None
    for run in runs:
        # On AWS, this is a request for each file.
        past = None if all_are_wanted else _latest(ledger, run)
        if past is None and run.inputs[0] in expired:
            continue
        span = span_of(past, run)
        if is_within(scope, span) and is_wanted(scope, past, run, release):
            chosen.append((span[0] if span else None, run))
    chosen.sort(key=lambda item: (item[0] is None, item[0] or now, item[1].title))
    return [run for _, run in chosen]


def _unfinished(
    scope: Scope, ledger: Ledger, files: Sequence[Input]
) -> tuple[list[Input], set[Input]]:
    """The files without those that have a run of their own that succeeded, as most have.

    Many are asked for at once: one at a time, a million take hours. Also those that were taken, but
    by no run of their own that is on record: if there is no other run about them, the record of
    their run has expired (``keep_runs``).
    """
    found: list[Input] = []
    taken: set[Input] = set()
    for n in range(0, len(files), _ASKED_AT_ONCE):
        some = files[n : n + _ASKED_AT_ONCE]
        part = {Run(scope.config.id, inputs=(file,)).key: file for file in some}
        states = ledger.states(part)
        done = {key for key, state in states.items() if state in SETTLED and key not in scope.lost}
        left = [file for key, file in part.items() if key not in done]
        unknown = [file for key, file in part.items() if key not in states]
        found += left
        taken |= set(unknown) - set(ledger.untaken(scope.config.id, unknown))
    return found, taken


def _latest(ledger: Ledger, run: Run) -> PastRun | None:
    """The latest run about the same, whatever version of it."""
    return past_run(next(iter(ledger.about(run.config, run.subjects[0])), None))


def config_of_file(manifest: Manifest, key: str | None, path: str, *, all: bool) -> list[Config]:
    """The configs that a file is for: by its folder below the inputs, else by Tsdat's triggers.

    Raises:
        UsageError: there is none; or there are several, and not ``all`` are wanted.
    """
    fitting = [config for config in manifest.configs if key is not None and _below(config, key)]
    if not fitting:
        fitting = [
            config
            for config in manifest.configs
            if config.kind == "Ingest"
            and any(_matches(t, path) for t in (config.tsdat.triggers if config.tsdat else ()))
        ]
    names = ", ".join(config.id for config in fitting)
    if not fitting:
        candidates = ", ".join(c.id for c in manifest.configs if c.kind == "Ingest") or "none"
        raise UsageError(
            f"no config is for {path}",
            why="it is under no config's input_bucket_path, and no pipeline's triggers match it",
            next=f"name one with --config: {candidates}",
        )
    if len(fitting) > 1 and not all:
        raise UsageError(
            f"several configs are for {path}: {names}",
            next="choose one with --config, or run all with --multidispatch",
        )
    return fitting


def _below(config: Config, key: str) -> bool:
    scheduled = config.kind == "Ingest" and config.input_path and key.startswith(config.input_path)
    return takes(config, key) or bool(scheduled)


def _matches(trigger: str, path: str) -> bool:
    return re.match(trigger, path) is not None


def parse_time(text: str) -> datetime:
    """A UTC time as people and Tsdat write it: 20220405, 20220405.120000, 2022-04-05T12:00.

    Raises:
        UsageError: it is none of these.
    """
    for form in ("%Y%m%d.%H%M%S", "%Y%m%d.%H%M", "%Y%m%d"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=timezone.utc)
        except ValueError:
            continue
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time", next="write 20220405, 20220405.120000 or 2022-04-05T12:00"
        ) from None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment
