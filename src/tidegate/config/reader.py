"""From pipelines_config.yml to its model, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tidegate.config import values
from tidegate.config.checks import check
from tidegate.config.models import (
    NUMBERS,
    AwsKeys,
    ConfigEntry,
    PipelineEntry,
    PipelinesConfig,
    Settings,
)
from tidegate.config.problems import Finding, Problem, Where, in_order
from tidegate.config.repository import check_files
from tidegate.config.source import INVALID, load
from tidegate.errors import ConfigurationError

FILE_NAME = "pipelines_config.yml"


@dataclass(frozen=True)
class Reading:
    """A file that was read: its model, or the problems that it has."""

    file: str
    """The file, as the person named it."""
    model: PipelinesConfig | None
    """The validated content; None when there is any problem."""
    problems: tuple[Problem, ...] = ()
    """All that is wrong, by line."""
    repository: Path | None = None
    """The root of the pipelines repository, when it was found."""
    lines: MappingProxyType[Where, int] = field(default_factory=lambda: MappingProxyType({}))
    """The line of each value."""

    def line(self, *path: str | int) -> int:
        """The line of a value, as in ``line("pipelines", 0, "name")``, or of what is around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def require(self) -> PipelinesConfig:
        """The model.

        Raises:
            ConfigurationError: there are problems; it lists them all.
        """
        if self.model is None:
            raise problems_error(self.file, self.problems)
        return self.model


def problems_error(file: str, problems: Iterable[Problem]) -> ConfigurationError:
    """One error that lists all problems of a file."""
    found = list(problems)
    count = "a problem" if len(found) == 1 else f"{len(found)} problems"
    listed = "\n".join(map(str, found))
    return ConfigurationError(f"{file} has {count}", why=listed, next="Mend and try again.")


def read(path: Path, *, repository: Path | None = None, files: bool = True) -> Reading:
    """Read ``path`` and find all its problems at once; never raises for what the file holds.

    ``repository`` is the root of the pipelines repository, where the file does not tell or where
    another one is meant. ``files=False`` leaves out whether config files exist, for a machine that
    does not have the repository.
    """
    path = Path(path)
    source = load(path, _is_typed, _is_optional)
    if source.fatal is not None:
        return Reading(str(path), None, (source.fatal,))
    findings = list(source.findings)
    model, wrong = _validate(source.data)
    findings += wrong
    findings += check(source.data, source.line)
    root = repository
    if files:
        root, missing = check_files(source.data, path.parent, repository)
        findings += missing
    problems = in_order(source.problem(finding) for finding in findings)
    return Reading(
        str(path), None if problems else model, problems, root, MappingProxyType(source.lines)
    )


_OPTIONAL = {
    name
    for model in (PipelinesConfig, PipelineEntry, ConfigEntry)
    for name, field in model.model_fields.items()
    if not field.is_required()
}


def _is_typed(path: Where) -> bool:
    return path[-1] in NUMBERS and "environment" not in path if path else False


def _is_optional(path: Where) -> bool:
    """Keys that older templates carry along without a value."""
    return path[-1] in _OPTIONAL and "environment" not in path


def _validate(data: dict[str, Any]) -> tuple[PipelinesConfig | None, list[Finding]]:
    """The model, and what pydantic finds; ``data`` keeps only what it does not complain about."""
    try:
        return PipelinesConfig.model_validate(data), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    findings: list[Finding] = []
    # Unknown keys first: a key written wrong must not count as a missing one as well.
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
    what, fix = _words(detail, name)
    if is_key:
        yield Finding(path, f"{_kind_of_key(path)}'s name {what}", fix or "write a name")
        return
    _put(data, path, INVALID)
    subject = "a pipeline" if path[:-1] == ("pipelines",) else f"'{name}'"
    yield Finding(path, f"{subject} {what}", fix or _example(path, name))


def _words(detail: ErrorDetails, name: str) -> tuple[str, str]:
    kind, value = detail["type"], detail["input"]
    if kind == "value_error":
        error = detail["ctx"]["error"]
        if isinstance(error, values.Wrong):
            return error.what, error.fix
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be keys with values, not {values.show(value)}", ""
    if kind == "list_type":
        return f"must be a list, not {values.show(value)}", "write each item as '- …'"
    if kind == "too_short":
        return "is empty", ""
    return f"cannot be {values.show(value)}", ""  # no other kind comes from these models


def _missing(data: dict[str, Any], path: Where) -> Finding:
    key = str(path[-1])
    return Finding(path[:-1], f"{place(data, path[:-1])} has no '{key}'", _example(path, key))


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


def _unknown_key(data: dict[str, Any], path: Where) -> Finding:
    """An unknown key, what was meant by it, and ``data`` as if that had been written."""
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
        return Finding(path, what, f"take it out; known here are {', '.join(known)}")
    if isinstance(holder, dict) and meant in holder:
        return Finding(path, what, f"take it out: '{meant}' is there already")
    if isinstance(holder, dict):
        holder[meant] = INVALID
    return Finding(path, what, f"write '{meant}'")


def _model_at(path: Where) -> type[BaseModel]:
    """The model of the mapping at ``path``."""
    if not path:
        return PipelinesConfig
    if path[0] == "defaults":
        return Settings
    if path[0] == "branches":
        return AwsKeys
    return ConfigEntry if "configs" in path[2:3] else PipelineEntry


def place(data: dict[str, Any], path: Where) -> str:
    """What stands at ``path``, in words: ``pipeline 'lidar'``, ``config 'lidar/humboldt'``."""
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


def _in_place(data: dict[str, Any], path: Where) -> str:
    return f"in {place(data, path)}" if path else "at the top"


def _kind_of_key(path: Where) -> str:
    if "environment" in path[:-1]:
        return "a variable"
    return "a branch" if path[0] == "branches" else "a config"


def _example(path: Where, key: str) -> str:
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


def _at(data: Any, path: Where) -> Any:
    for part in path:
        if isinstance(data, dict):
            data = data.get(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _put(data: dict[str, Any], path: Where, value: object) -> None:
    holder = _at(data, path[:-1])
    if isinstance(holder, dict) and str(path[-1]) in holder:
        holder[str(path[-1])] = value
    elif isinstance(holder, list) and isinstance(path[-1], int):
        holder[path[-1]] = value
