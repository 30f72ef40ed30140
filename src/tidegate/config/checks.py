"""Problems of values that contradict each other in pipelines_config.yml.

Works on the data, not on the model, so that these problems are reported together with those of
single values. A value with a reported problem is ``INVALID`` in the data and is not checked again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

from tidegate.config.problems import Finding, KeyPath

Line = Callable[[KeyPath], int]


DYNAMIC_REFERENCE = "{{resolve:"
"""How CloudFormation's dynamic references begin."""


def check(data: dict[str, Any], line: Line) -> Iterator[Finding]:
    """All findings; ``line`` gives the line of a value."""
    yield from _dynamic_references(data, ())
    yield from _folders(data)
    if isinstance(data.get("defaults"), dict):
        yield from _companions(data["defaults"], ("defaults",))
    pipelines = data.get("pipelines")
    if not isinstance(pipelines, list):
        return
    yield from _names(pipelines, line)
    for number, pipeline in enumerate(pipelines):
        if isinstance(pipeline, dict):
            yield from _trigger(pipeline, ("pipelines", number))
            yield from _settings(pipeline, pipeline, ("pipelines", number))
            for path, config in _configs(pipeline, number):
                yield from _settings(pipeline, config, path)
                yield from _inputs(data, pipeline, config, path)


def _dynamic_references(value: object, path: KeyPath) -> Iterator[Finding]:
    """CloudFormation would replace these by a secret, with the rights of who deploys.

    Source: CloudFormation User Guide, "Get values stored in other services using dynamic
    references".
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _dynamic_references(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _dynamic_references(inner, (*path, number))
    elif isinstance(value, str) and DYNAMIC_REFERENCE in value:
        what = f"'{path[-1]}' has '{DYNAMIC_REFERENCE}' in it, which CloudFormation would replace"
        yield Finding(path, what, "remove it; let the pipeline read secrets when it runs")


def _folders(data: dict[str, Any]) -> Iterator[Finding]:
    """Products in the input folder would arrive as raw files, and the other way round."""
    names = [data.get(key, key) for key in ("input", "output")]
    if not all(isinstance(name, str) for name in names):
        return
    paths = [PurePath(os.path.normpath(str(name))) for name in names]
    for path, other in (paths, paths[::-1]):
        if path == other or path in other.parents:
            key = "output" if "output" in data else "input"
            what = f"'input' is {names[0]!r} and 'output' is {names[1]!r}: one is inside the other"
            yield Finding((key,), what, "name two folders that lie beside each other")
            return


def _configs(pipeline: dict[str, Any], number: int) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    configs = pipeline.get("configs")
    for name, config in configs.items() if isinstance(configs, dict) else ():
        if isinstance(config, dict):
            yield ("pipelines", number, "configs", name), config


def _names(pipelines: list[Any], line: Line) -> Iterator[Finding]:
    """Names must be unique: they name queues, functions and records."""
    names: dict[str, int] = {}
    ids: dict[str, tuple[str, int]] = {}
    for number, pipeline in enumerate(pipelines):
        name = pipeline.get("name") if isinstance(pipeline, dict) else None
        if not isinstance(name, str):
            continue
        path: KeyPath = ("pipelines", number, "name")
        if name in names:
            what = f"the name '{name}' is used twice, first in line {names[name]}"
            fix = "give this one another name, or put its configs into the first one"
            yield Finding(path, what, fix)
            continue
        names[name] = line(path)
        for place, _ in _configs(pipeline, number):
            joined, id = f"{name}-{place[-1]}", f"{name}/{place[-1]}"
            if joined in ids:
                other, where = ids[joined]
                what = f"'{id}' and '{other}' (line {where}) have the same name in AWS, '{joined}'"
                yield Finding(place, what, "give one of them another name")
            else:
                ids[joined] = (id, line(place))


def _trigger(pipeline: dict[str, Any], path: KeyPath) -> Iterator[Finding]:
    kind, trigger = pipeline.get("type"), pipeline.get("trigger")
    name = _display_name(pipeline, path)
    if kind == "VAP" and trigger == "S3":
        what = f"{name} is a VAP: it runs on a schedule, not when files arrive"
        fix = "write 'trigger: Cron'" + (
            " and 'schedule: Hourly'" if "schedule" not in pipeline else ""
        )
        yield Finding((*path, "trigger"), what, fix)
    elif trigger == "Cron" and "schedule" not in pipeline:
        what = f"{name} is Cron-triggered, but has no 'schedule'"
        fix = "write 'schedule: Hourly', Daily, Weekly, Monthly or a cron expression"
        yield Finding((*path, "trigger"), what, fix)


def _settings(pipeline: dict[str, Any], holder: dict[str, Any], path: KeyPath) -> Iterator[Finding]:
    """Settings that only one kind of pipeline may have."""
    kind, trigger = pipeline.get("type"), pipeline.get("trigger")
    name = _display_name(pipeline, path)
    for key in ("window", "since"):
        if key in holder and kind == "Ingest":
            what = f"'{key}' is for VAPs; {name} is an ingest, which runs on raw files"
            yield Finding((*path, key), what, "remove it")
    for key in ("companions", "group_by"):
        if key in holder and kind == "VAP":
            what = f"'{key}' is for ingests; {name} is a VAP, which runs on windows of time"
            yield Finding((*path, key), what, "remove it")
    yield from _companions(holder, path)
    if "inputs" in holder and kind == "VAP":
        what = f"'inputs' is for ingests; {name} is a VAP, which runs on windows of time"
        yield Finding((*path, "inputs"), what, "remove it")
    elif "inputs" in holder and trigger == "S3":
        what = f"'inputs' is for Cron-triggered ingests; {name} runs when files arrive"
        fix = "remove it, or write 'trigger: Cron' and a 'schedule:'"
        yield Finding((*path, "inputs"), what, fix)


def _companions(holder: dict[str, Any], path: KeyPath) -> Iterator[Finding]:
    """A companion's name can only repeat what a ``*`` of the pattern stands for."""
    companions = holder.get("companions")
    for pattern, names in companions.items() if isinstance(companions, dict) else ():
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str) and name.count("*") > str(pattern).count("*"):
                what = f"the companion {name!r} has more '*' than the pattern {pattern!r}"
                fix = "each '*' stands for what the same '*' of the pattern stands for"
                yield Finding((*path, "companions"), what, fix)


def _inputs(
    data: dict[str, Any], pipeline: dict[str, Any], config: dict[str, Any], path: KeyPath
) -> Iterator[Finding]:
    """An ingest needs input: files or texts."""
    kind, trigger = pipeline.get("type"), pipeline.get("trigger")
    if kind != "Ingest":
        return
    name = _display_name(pipeline, path)
    has_path = "input_bucket_path" in config
    if trigger == "S3" and not has_path:
        what = f"{name} runs when files arrive (trigger: S3), but has no 'input_bucket_path'"
        yield Finding(path, what, f"write 'input_bucket_path: {_folder(pipeline, path)}'")
    if trigger != "Cron":
        return
    if has_path and "inputs" in config:
        what = f"{name} has both 'input_bucket_path' and 'inputs'"
        fix = "keep one: 'input_bucket_path' for files, or 'inputs' for texts"
        yield Finding((*path, "inputs"), what, fix)
    defaults = data.get("defaults")
    holders = [config, pipeline, *([defaults] if isinstance(defaults, dict) else [])]
    if not has_path and not any("inputs" in holder for holder in holders):
        what = f"{name} has neither 'input_bucket_path' nor 'inputs': it has nothing to run on"
        folder = _folder(pipeline, path)
        fix = f"write 'input_bucket_path: {folder}', or 'inputs:' with a list of texts"
        yield Finding(path, what, fix)


def _display_name(pipeline: dict[str, Any], path: KeyPath) -> str:
    name = pipeline.get("name")
    if not isinstance(name, str):
        name = f"{path[1] + 1}" if isinstance(path[1], int) else ""
    return f"config '{name}/{path[3]}'" if len(path) > 3 else f"pipeline '{name}'"


def _folder(pipeline: dict[str, Any], path: KeyPath) -> str:
    name = pipeline.get("name")
    return f"{name if isinstance(name, str) else 'lidar'}/{path[3]}/"
