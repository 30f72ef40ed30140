"""A run in one zip file, to reproduce it on another machine: ``show --failure-bundle``.

It has the run's record and versions (``bundle.json``), the raw files (``input/``) or the products
that a VAP read (``output/``), the files of the pipeline and its environment, a config file with
this one config, and the log.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from tidegate import __version__
from tidegate.errors import InputChanged, UsageError
from tidegate.runtime.protocols import Inputs, Outputs
from tidegate.runtime.records import to_json
from tidegate.runtime.runs import Run, RunRecord
from tidegate.workspace.environment import complete_environments
from tidegate.workspace.folder import CONFIG
from tidegate.workspace.repository import pipeline_files, shared_files
from tidegate.workspace.session import Session

RECORD, LOG, README = "bundle.json", "log.jsonl", "README.txt"
FORMAT = 1
INPUT, OUTPUT = "input", "output"

_KEPT_KEYS = ("python", "exclude_newer", "defaults")
"""Keys of the config file that a run on another machine needs; the others may be private."""


@dataclass(frozen=True)
class Contents:
    """What was written into a bundle."""

    files: Mapping[str, int]
    """How many files of each sort: raw files, products, code."""
    size: int
    """The size of the zip file, bytes."""
    problems: tuple[str, ...]
    """What could not be put into it, in sentences."""


def write_bundle(opened: Session, record: RunRecord, config_file: Path, target: Path) -> Contents:
    """Write all that a run needs into a new zip file.

    Raises:
        UsageError: the file exists, or the run's config is not in the config file any more.
        StorageError: the inputs cannot be read.
    """
    if target.exists():
        raise UsageError(f"{target} exists", next="give another name, or move it away")
    repository = opened.repository()
    model, keys = _reduced(config_file, record.run.config)
    problems: list[str] = []
    part = target.with_name(f"{target.name}.part")
    counts: dict[str, int] = {}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="tidegate-") as folder,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            problems += _fetch(*opened.stores(record.run), record.run, Path(folder))
            for place in (INPUT, OUTPUT):
                counts[place] = _add(archive, Path(folder), place, problems)
            code = list(_code(repository, keys)) if repository else []
            if not code:
                problems.append("the pipelines repository is not on this machine: no code in it")
            for path in code:
                archive.write(path, path.relative_to(repository or path).as_posix())
            counts["code"] = len(code)
            problems += _newer(code, record)
            archive.writestr(CONFIG, yaml.safe_dump(model, sort_keys=False, allow_unicode=True))
            archive.writestr(LOG, "\n".join(opened.log(record)) + "\n")
            packages = _packages(repository, config_file.parent) if repository else []
            archive.writestr(RECORD, _description(record, packages, problems))
            archive.writestr(README, _readme(record, target.name, problems))
        part.replace(target)
    except OSError as error:
        raise UsageError(
            f"cannot write {target}",
            why=error.strerror or str(error),
            next="give a folder that can be written, with free space",
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return Contents(counts, target.stat().st_size, tuple(problems))


def warning(contents: Contents, file: Path) -> str:
    """What a person should know before the file is given to somebody else."""
    n = contents.files
    return (
        f"{file} contains {n[INPUT]} raw files, {n[OUTPUT]} products, {n['code']} files of the"
        " pipelines' code and environment, the config with its `environment:` values, and the log."
        " Look into it before you give it away: data, code and log may be private."
    )


def _fetch(inputs: Inputs, outputs: Outputs, run: Run, folder: Path) -> list[str]:
    """Copy what a run read, at the same versions; returns what is not there any more."""
    problems = []
    for input in run.files:
        place = folder / INPUT / input.key
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            inputs.fetch(input, place)
        except InputChanged as error:
            problems.append(f"the raw file {input.key} is missing: {error}")
            continue
        if input.modified is not None:
            os.utime(place, (input.modified.timestamp(),) * 2)
    for ref in run.products:
        place = folder / OUTPUT / ref.key
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            outputs.fetch(ref, place)
        except InputChanged as error:
            problems.append(f"the product {ref.key} is missing: {error}")
    return problems


def _reduced(config_file: Path, id: str) -> tuple[dict[str, Any], list[str]]:
    """The config file with one config alone; and that config's files in the repository."""
    data = yaml.safe_load(config_file.read_text("utf-8"))
    pipeline, _, name = id.partition("/")
    for entry in data.get("pipelines") or []:
        configs = entry.get("configs") or {}
        if str(entry.get("name")) == pipeline and name in map(str, configs):
            one = {key: value for key, value in configs.items() if str(key) == name}
            kept = {key: data[key] for key in _KEPT_KEYS if key in data}
            if not re.fullmatch(r"\d+(\.\d+)*", str(kept.get("python", "3"))):
                del kept["python"]  # the path of an interpreter on this machine
            files = [str(config["config_file_path"]) for config in one.values()]
            return {**kept, "pipelines": [{**entry, "configs": one}]}, files
    raise UsageError(
        f"{id} is not in {config_file.name} any more",
        next="put its entry back to make a bundle of its run",
    )


def _newer(code: Sequence[Path], record: RunRecord) -> list[str]:
    """A sentence if a file of the code was written after the run began."""
    began = record.started.timestamp()
    newer = [path.name for path in code if path.stat().st_mtime > began]
    if not newer:
        return []
    return [f"the code as it was then: {newer[0]} was written after the run began"]


def _code(repository: Path, config_files: Sequence[str]) -> Iterator[Path]:
    found = [*shared_files(repository), *pipeline_files(repository, config_files)]
    yield from (path for path in dict.fromkeys(found) if path.is_file())


def _add(archive: zipfile.ZipFile, folder: Path, place: str, problems: list[str]) -> int:
    count = 0
    for path in sorted((folder / place).rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError:
            readable = name.encode("utf-8", "backslashreplace").decode()
            problems.append(f"{readable} is left out: its name is not UTF-8")
            continue
        if "\\" in name:
            problems.append(f"{name} is left out: its name has a backslash")
            continue
        archive.write(path, name)
        count += 1
    return count


def _description(record: RunRecord, packages: Sequence[str], problems: Sequence[str]) -> str:
    data = {
        "format": FORMAT,
        "made": datetime.now(timezone.utc).isoformat(),
        "tidegate": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": list(packages),
        "problems": list(problems),
        "record": to_json(record),
    }
    return json.dumps(data, indent=1)


def _packages(repository: Path, workspace: Path) -> list[str]:
    """The packages of the pipelines' environment: of the repository, or made by Tidegate."""
    for home in (repository / ".venv", *complete_environments(workspace)):
        found = sorted(path.stem for path in home.glob("lib/python3*/site-packages/*.dist-info"))
        if found:
            return ["==".join(name.rsplit("-", 1)) for name in found]
    return []


def _readme(record: RunRecord, name: str, problems: Sequence[str]) -> str:
    failure = record.failure.message if record.failure else record.outcome
    missing = "".join(f"* {problem}\n" for problem in problems)
    return f"""A run of Tidegate: {record.run.config}, {record.run.title}
{failure}

To run it again on another machine:

    pip install tidegate
    tidegate run --from-bundle {name}

That runs the Python code in this file: do it only if you trust who sent it. The file contains raw
data, code, the config and the log of the run; bundle.json has the record of the run and versions.
{missing}"""
