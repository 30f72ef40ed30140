"""``tidegate new site``: a further config of a pipeline that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from tidegate.errors import UsageError
from tidegate.scaffold import changes
from tidegate.scaffold.changes import Change
from tidegate.scaffold.config_entry import Entry, add_entry
from tidegate.scaffold.yaml_text import scalar
from tidegate.workspace.folder import CONFIG, Workspace
from tidegate.workspace.loading import load_without_tsdat

SITE = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class SitePlan:
    """What would be written."""

    file: str
    """The new config file, relative to the repository."""
    input_path: str
    """The folder below ``input/`` in which its files arrive; empty for a VAP."""
    changes: tuple[Change, ...]
    """The files."""


def plan_site(
    workspace: Workspace, pipeline: str, site: str, input_path: str | None = None
) -> SitePlan:
    """Plan a config of ``pipeline`` for another site; nothing is written.

    Raises:
        UsageError: there is no such pipeline, it has that site already, or its file is unusual.
    """
    if not SITE.fullmatch(site):
        raise UsageError(
            f"{site!r} cannot be a location_id", next="use letters, digits and underscores"
        )
    loaded = load_without_tsdat(workspace)
    known = [config for config in loaded.manifest.configs if config.pipeline == pipeline]
    if not known:
        names = sorted({config.pipeline for config in loaded.manifest.configs})
        raise UsageError(
            f"there is no pipeline {pipeline!r}",
            next=f"name one of: {', '.join(names)}" if names else "`tidegate new ingest` adds one",
        )
    first = known[0]
    source = loaded.repository / first.config_file
    try:
        text = source.read_text("utf-8")
        content = yaml.safe_load(text)
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(
            f"{source} cannot be read", why=str(error), next="see with `tidegate check`"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("dataset"), dict):
        raise UsageError(
            f"{source} has no dataset section",
            next="copy it by hand, and add the entry to pipelines_config.yml",
        )
    ingest = first.kind == "Ingest"
    place = (input_path or f"{pipeline}/{site}").strip("/") + "/" if ingest else ""
    file = str(PurePosixPath(first.config_file).with_name(f"pipeline_{site}.yaml"))
    new = "\n".join(_config_text(content, site, place, first.input_path or "")) + "\n"
    keys: dict[str, Any] = {"input_bucket_path": place} if ingest else {}
    entry = Entry(pipeline, first.kind, site, {**keys, "config_file_path": file})
    config = workspace.config.read_text("utf-8")
    planned = changes.plan(loaded.repository, {file: new})
    planned += changes.plan(workspace.root, {CONFIG: add_entry(config, entry)})
    return SitePlan(file, place, tuple(planned))


def _config_text(content: Mapping[str, Any], site: str, place: str, before: str) -> Iterator[str]:
    """The first config's file with the site's location and triggers."""
    dataset = dict(content["dataset"])
    overrides = {**dataset.get("overrides", {}), "/attrs/location_id": site}
    for key, value in content.items():
        if key == "triggers" and place:
            suffix = _suffix(value, before)
            yield f"# Files that arrive in input/{place}"
            yield "triggers:"
            yield f"  - .*{re.escape(place)}.*{suffix}"
        elif key == "dataset":
            yield "dataset:"
            yield f"  path: {scalar(dataset['path'])}"
            yield "  overrides:"
            for path, text in overrides.items():
                yield f"    {path}: {scalar(text)}"
        else:
            shown = yaml.safe_dump({key: value}, sort_keys=False, width=100)
            yield from shown.rstrip("\n").split("\n")
        yield ""


def _suffix(triggers: Any, before: str) -> str:
    """The end of a trigger after the folder's name, such as ``\\.csv$``."""
    first = str(triggers[0]) if isinstance(triggers, list) and triggers else ""
    for folder in (re.escape(before), before):
        if folder and folder in first:
            return first.split(folder, 1)[1].lstrip(".*")
    return r"\.[^.]+$"
