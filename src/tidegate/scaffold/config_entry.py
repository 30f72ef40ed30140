"""A new entry in pipelines_config.yml: as text, so that comments and order stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tidegate.errors import ConfigurationError, UsageError
from tidegate.scaffold.config_check import check_config
from tidegate.scaffold.yaml_text import scalar
from tidegate.workspace.folder import CONFIG


@dataclass(frozen=True)
class Entry:
    """One config of one pipeline, as it stands in pipelines_config.yml."""

    pipeline: str
    """The pipeline's name."""
    kind: str
    """Ingest or VAP."""
    config: str
    """The config's name."""
    keys: Mapping[str, Any]
    """The keys of the config."""
    schedule: str = ""
    """When it runs; empty for an ingest that runs as files arrive."""
    settings: Mapping[str, Any] | None = None
    """Further keys of the pipeline."""


def add_entry(text: str, entry: Entry) -> str:
    """The text of pipelines_config.yml with the entry in it; unchanged where it is there already.

    Raises:
        ConfigurationError: the file is not as expected, or would not be valid with the entry.
        UsageError: there is another entry of that name.
    """
    root = _root(text)
    pipelines = _child(root, "pipelines")
    if pipelines is None:
        changed = text.rstrip("\n") + "\n\npipelines:\n" + "\n".join(_pipeline(entry, "")) + "\n"
        check_config(changed)
        return changed
    existing = _named(pipelines, entry.pipeline)
    if existing is not None:
        changed = _with_config(text, existing, entry)
    elif not pipelines.value:
        lines = text.splitlines()
        number = pipelines.start_mark.line
        head = lines[number][: pipelines.start_mark.column].rstrip()
        tail = lines[number][pipelines.end_mark.column :].rstrip()
        lines[number : number + 1] = [head + tail, *_pipeline(entry, "")]
        changed = "\n".join(lines) + "\n"
    else:
        if pipelines.flow_style:
            raise ConfigurationError(
                f"{CONFIG} has its pipelines in brackets, [...]",
                next="write them as a list with dashes, or add the entry by hand",
            )
        blank = " " * pipelines.start_mark.column
        changed = _insert(text, _last_line(pipelines) + 1, _pipeline(entry, blank))
    check_config(changed)
    return changed


def _with_config(text: str, pipeline: Any, entry: Entry) -> str:
    configs = _child(pipeline, "configs")
    kind = _child(pipeline, "type")
    if configs is None or kind is None or configs.flow_style or kind.value != entry.kind:
        raise UsageError(
            f"{CONFIG} has a pipeline {entry.pipeline!r} already, and it is not such a one",
            next="choose another name",
        )
    there = _child(configs, entry.config)
    if there is not None:
        same = yaml.safe_load(yaml.serialize(there)) == dict(entry.keys)
        if same:
            return text
        raise UsageError(
            f"{CONFIG} has a config {entry.pipeline}/{entry.config} already",
            next="choose another name, or change that entry by hand",
        )
    blank = " " * configs.start_mark.column
    return _insert(text, _last_line(configs) + 1, _config(entry, blank))


def _pipeline(entry: Entry, blank: str) -> list[str]:
    lines = [
        f"{blank}- name: {scalar(entry.pipeline)}",
        f"{blank}  type: {entry.kind}",
        f"{blank}  trigger: {'Cron' if entry.schedule else 'S3'}",
    ]
    if entry.schedule:
        lines.append(f"{blank}  schedule: {scalar(entry.schedule)}")
    lines += [f"{blank}  {key}: {scalar(value)}" for key, value in (entry.settings or {}).items()]
    return [*lines, f"{blank}  configs:", *_config(entry, f"{blank}    ")]


def _config(entry: Entry, blank: str) -> list[str]:
    keys = [f"{blank}  {key}: {scalar(value)}" for key, value in entry.keys.items()]
    return [f"{blank}{scalar(entry.config)}:", *keys]


def _insert(text: str, line: int, added: Sequence[str]) -> str:
    lines = text.splitlines()
    lines[line:line] = added
    return "\n".join(lines) + "\n"


def _root(text: str) -> Any:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"{CONFIG} is not YAML", why=str(error), next="see with `tidegate check`"
        ) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigurationError(f"{CONFIG} is not a mapping", next="see with `tidegate check`")
    return root


def _child(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _named(pipelines: Any, name: str) -> Any:
    items = pipelines.value if isinstance(pipelines, yaml.SequenceNode) else []
    for item in items:
        found = _child(item, "name")
        if found is not None and found.value == name:
            return item
    return None


def _last_line(node: Any) -> int:
    """The last line with something of a node on it; comments after it belong to what follows."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return max(_last_line(part) for pair in node.value for part in pair)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return max(_last_line(item) for item in node.value)
    ended: int = node.end_mark.line
    return ended - 1 if node.end_mark.column == 0 and ended > node.start_mark.line else ended
