"""Read pipelines_config.yml into its model, or find all its problems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tidegate.config import values
from tidegate.config.checks import check
from tidegate.config.dask_settings import DaskSettings
from tidegate.config.models import (
    NUMBERS,
    AwsKeys,
    ConfigEntry,
    PipelineEntry,
    PipelinesConfig,
    Settings,
)
from tidegate.config.notify_settings import NotifySettings
from tidegate.config.problems import ConfigProblems, Finding, KeyPath, Problem, in_order
from tidegate.config.repository import check_files
from tidegate.config.source import INVALID, load

FILE_NAME = "pipelines_config.yml"


@dataclass(frozen=True)
class ConfigFile:
    """A config file that was read: its model, or its problems."""

    file: str
    """The path of the file, as it was given."""
    model: PipelinesConfig | None
    """The validated content; None if there are problems."""
    problems: tuple[Problem, ...] = ()
    """All problems, by line."""
    repository: Path | None = None
    """The root of the pipelines repository, if it was found."""
    lines: MappingProxyType[KeyPath, int] = field(default_factory=lambda: MappingProxyType({}))
    """The line of each value."""

    def line(self, *path: str | int) -> int:
        """The line of a value, as in ``line("pipelines", 0, "name")``, or of its nearest parent."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def require(self) -> PipelinesConfig:
        """The model.

        Raises:
            ConfigProblems: the file has problems.
        """
        if self.model is None:
            raise ConfigProblems(self.file, self.problems)
        return self.model


def read(path: Path, *, repository: Path | None = None, files: bool = True) -> ConfigFile:
    """Read ``path`` and find all its problems; never raises because of the file's content.

    ``repository`` is the root of the pipelines repository, instead of the one that the file names.
    ``files=False`` does not check whether Tsdat's config files exist, for a machine without the
    pipelines repository.
    """
    path = Path(path)
    source = load(path, _is_typed, _is_optional)
    if source.fatal is not None:
        return ConfigFile(str(path), None, (source.fatal,))
    findings = list(source.findings)
    model, wrong = _validate(source.data)
    findings += wrong
    findings += check(source.data, source.line)
    root = repository
    if files:
        root, missing = check_files(source.data, path.parent, repository)
        findings += missing
    problems = in_order(source.problem(finding) for finding in findings)
    return ConfigFile(
        str(path), None if problems else model, problems, root, MappingProxyType(source.lines)
    )


_OPTIONAL = {
    name
    for model in (PipelinesConfig, PipelineEntry, ConfigEntry)
    for name, field in model.model_fields.items()
    if not field.is_required()
}


def _is_typed(path: KeyPath) -> bool:
    return path[-1] in NUMBERS and "environment" not in path if path else False


def _is_optional(path: KeyPath) -> bool:
    """Keys that may have no value, as in the templates of Tsdat's deployment recipe."""
    return path[-1] in _OPTIONAL and "environment" not in path


def _validate(data: dict[str, Any]) -> tuple[PipelinesConfig | None, list[Finding]]:
    """The model, or what pydantic finds; replaces the values with problems in ``data``."""
    try:
        return PipelinesConfig.model_validate(data), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    findings: list[Finding] = []
    # Unknown keys first: a misspelt key must not also count as a missing one.
    for unknown in (e for e in errors if e["type"] == "extra_forbidden"):
        findings.append(_unknown_key(data, unknown["loc"]))
    for detail in errors:
        if detail["type"] != "extra_forbidden":
            findings += _finding(data, detail)
    return None, findings


def _finding(data: dict[str, Any], detail: ErrorDetails) -> Iterator[Finding]:
    path, kind, value = detail["loc"], detail["type"], detail["input"]
    if value is INVALID:
        return
    if kind == "missing":
        if _at(data, path) is not INVALID:
            yield _missing(data, path)
        return
    is_key = path[-1] == "[key]"
    path = path[:-1] if is_key else path
    name = next((str(part) for part in reversed(path) if isinstance(part, str)), "the file")
    what, fix = _describe(detail, name)
    if is_key:
        yield Finding(path, f"{_kind_of_key(path)}'s name {what}", fix or "write a name")
        return
    _put(data, path, INVALID)
    subject = "a pipeline" if path[:-1] == ("pipelines",) else f"'{name}'"
    yield Finding(path, f"{subject} {what}", fix or _example(path, name))


def _describe(detail: ErrorDetails, name: str) -> tuple[str, str]:
    kind, value = detail["type"], detail["input"]
    if kind == "value_error":
        error = detail["ctx"]["error"]
        if isinstance(error, values.InvalidValue):
            return error.what, error.fix
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be keys with values, not {values.show(value)}", ""
    if kind == "list_type":
        return f"must be a list, not {values.show(value)}", "write each item as '- …'"
    if kind == "too_short":
        return "is empty", ""
    return f"cannot be {values.show(value)}", ""  # no other kind comes from these models


def _missing(data: dict[str, Any], path: KeyPath) -> Finding:
    key = str(path[-1])
    return Finding(path[:-1], f"{_place(data, path[:-1])} has no '{key}'", _example(path, key))


_RENAMED = {
    "pipelines_to_deploy": "pipelines",
    "input_dir": "input_bucket_path",
    "input_prefix": "input_bucket_path",
    "pipelines_repo": "pipelines_repo_name",
    "aws_build_repo": "aws_repo_name",
}
_LEVELS: tuple[tuple[type[BaseModel], str], ...] = (
    (ConfigEntry, "in a config, below 'configs:'"),
    (PipelineEntry, "in the pipeline, beside 'configs:'"),
    (PipelinesConfig, "at the top of the file"),
)


def _unknown_key(data: dict[str, Any], path: KeyPath) -> Finding:
    """A finding with the key that was probably meant; changes ``data`` as if it were written."""
    key, known = str(path[-1]), list(_model_at(path[:-1]).model_fields)
    holder = _at(data, path[:-1])
    if isinstance(holder, dict):
        holder.pop(key, None)
    what = f"unknown key '{key}' {_in_place(data, path[:-1])}"
    meant = _RENAMED.get(key)
    meant = meant if meant in known else values.nearest(key, known)
    elsewhere = next((where for model, where in _LEVELS if key in model.model_fields), None)
    if len(path) == 1 and key in Settings.model_fields:
        elsewhere = "below 'defaults:', or in a pipeline"
    if elsewhere is not None:
        return Finding(path, what, f"write it {elsewhere}")
    if meant is None:
        return Finding(path, what, f"remove it; known keys here: {', '.join(known)}")
    if isinstance(holder, dict) and meant in holder:
        return Finding(path, what, f"remove it: '{meant}' exists already")
    if isinstance(holder, dict):
        holder[meant] = INVALID
    return Finding(path, what, f"write '{meant}'")


def _model_at(path: KeyPath) -> type[BaseModel]:
    """The model of the mapping at ``path``."""
    if not path:
        return PipelinesConfig
    if path[-1] == "notify":
        return NotifySettings
    if path == ("dask",):
        return DaskSettings
    if path[0] == "defaults":
        return Settings
    if path[0] == "branches":
        return AwsKeys
    return ConfigEntry if "configs" in path[2:3] else PipelineEntry


def _place(data: dict[str, Any], path: KeyPath) -> str:
    """The name of the part of the file at ``path``, such as ``config 'lidar/humboldt'``."""
    if not path:
        return "the file"
    if path[0] == "branches" and len(path) > 1:
        return f"branch '{path[1]}'"
    if path[0] != "pipelines" or len(path) < 2:
        return f"'{path[0]}'"
    entry = _at(data, path[:2])
    name = entry.get("name") if isinstance(entry, dict) else None
    number = path[1] + 1 if isinstance(path[1], int) else path[1]
    if len(path) > 3:
        return f"config '{name if isinstance(name, str) else number}/{path[3]}'"
    return f"pipeline '{name}'" if isinstance(name, str) else f"pipeline {number}"


def _in_place(data: dict[str, Any], path: KeyPath) -> str:
    return f"in {_place(data, path)}" if path else "at the top"


def _kind_of_key(path: KeyPath) -> str:
    if "environment" in path[:-1]:
        return "a variable"
    return "a branch" if path[0] == "branches" else "a config"


def _example(path: KeyPath, key: str) -> str:
    for model in (_model_at(path[:-1]), PipelinesConfig, PipelineEntry, ConfigEntry):
        field = model.model_fields.get(key)
        if field is not None and field.examples:
            return f"write, for example, {_written(key, field.examples[0])}"
    return "write a value"


def _written(key: str, example: Any) -> str:
    if key == "pipelines":
        return "'pipelines:' and below it '- name: lidar' with 'type', 'trigger' and 'configs'"
    if isinstance(example, dict):
        inner = next(iter(example))
        value = example[inner]
        if isinstance(value, dict):
            keys = " and ".join(f"'{name}'" for name in value)
            return f"'{key}:' and below it '{inner}:' with {keys}"
        return f"'{key}:' and below it '{inner}: {value}'"
    if isinstance(example, list):
        return f"'{key}:' and below it '- \"{example[0]}\"'"
    if isinstance(example, bool):
        example = str(example).lower()
    return f"'{key}: {example}'"


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(data, dict):
            data = data.get(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _put(data: dict[str, Any], path: KeyPath, value: object) -> None:
    holder = _at(data, path[:-1])
    if isinstance(holder, dict) and str(path[-1]) in holder:
        holder[str(path[-1])] = value
    elif isinstance(holder, list) and isinstance(path[-1], int):
        holder[path[-1]] = value
