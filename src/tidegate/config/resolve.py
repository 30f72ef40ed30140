"""From the model, and what Tsdat says of each config file, to the runtime's manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.config import values
from tidegate.config.models import (
    AwsKeys,
    ConfigEntry,
    PipelineEntry,
    PipelinesConfig,
    Settings,
)
from tidegate.config.problems import Note, Problem, Where, in_order
from tidegate.config.reader import Reading
from tidegate.errors import TidegateError
from tidegate.runtime.manifest import Config, Manifest, Pipeline

Described = Mapping[str, Pipeline | TidegateError]
"""By ``Config.config_file``: what Tsdat says of it, or why it rejects it."""


@dataclass(frozen=True)
class Resolution:
    """What a file comes to."""

    manifest: Manifest | None
    """What is run; None when there is any problem."""
    problems: tuple[Problem, ...] = ()
    """All that is wrong, by line."""
    notes: tuple[Note, ...] = ()
    """What is allowed and perhaps not meant, by line."""


def resolve(reading: Reading, described: Described | None = None) -> Resolution:
    """The manifest of a file that was read; ``described=None`` when Tsdat was not asked.

    A config file that Tsdat was not asked about (it is not in ``described``) is taken as it is.
    """
    model = reading.model
    if model is None:
        return Resolution(None, reading.problems)
    answers = described or {}
    pairs: Pairs = [
        (("pipelines", number, "configs", name), _config(model, pipeline, name, answers))
        for number, pipeline in enumerate(model.pipelines)
        for name in pipeline.configs
    ]
    problems = in_order(_rejected(reading, pairs, answers))
    notes = [
        Note(reading.file, reading.line(*path), what)
        for path, what in (*_ignored(model), *_paths(pairs), *_datastreams(pairs))
    ]
    manifest = None if problems else Manifest(tuple(config for _, config in pairs))
    return Resolution(manifest, problems, tuple(sorted(set(notes))))


def config_files(model: PipelinesConfig) -> tuple[str, ...]:
    """The config files to ask Tsdat about, each once, in the order of the file."""
    return tuple(
        dict.fromkeys(c.config_file_path for p in model.pipelines for c in p.configs.values())
    )


Pairs = list[tuple[Where, Config]]
_PLAIN = (
    "timeout",
    "memory",
    "retries",
    "settle",
    "concurrency",
    "expect_every",
    "architecture",
    "ephemeral_storage",
)
"""Settings of which the innermost level holds, for pipelines of all kinds."""


def _config(
    model: PipelinesConfig, pipeline: PipelineEntry, name: str, answers: Described
) -> Config:
    entry = pipeline.configs[name]
    levels = (model.defaults or Settings(), pipeline, entry)
    settings: dict[str, Any] = {}
    for key in _PLAIN:
        for level in levels:
            if getattr(level, key) is not None:
                settings[key] = getattr(level, key)
    environment: dict[str, str] = {}
    for level in levels:
        environment.update(level.environment or {})
    answer = answers.get(entry.config_file_path)
    return Config(
        pipeline=pipeline.name,
        name=name,
        kind=pipeline.type,
        trigger=pipeline.trigger,
        config_file=entry.config_file_path,
        input_path=entry.input_bucket_path if pipeline.type == "Ingest" else None,
        schedule=(
            values.cron(pipeline.schedule)
            if pipeline.schedule and pipeline.trigger == "Cron"
            else None
        ),
        environment=environment,
        tsdat=answer if isinstance(answer, Pipeline) else None,
        **settings,
        **_when(model, pipeline, entry),
    )


def _when(model: PipelinesConfig, pipeline: PipelineEntry, entry: ConfigEntry) -> dict[str, Any]:
    """``window``, ``since`` and ``inputs``: each for one kind of pipeline only."""
    defaults = model.defaults or Settings()
    period = values.WINDOWS.get(pipeline.schedule or "", "day")
    if pipeline.type == "VAP":
        window = entry.window or pipeline.window or defaults.window or period
        return {"window": window, "since": entry.since or pipeline.since or defaults.since}
    if pipeline.trigger == "S3":
        return {}
    # A config's own path says more of it than texts that stand further out.
    outer = None if entry.input_bucket_path else pipeline.inputs or defaults.inputs
    inputs = entry.inputs or outer
    # The period that the placeholders name: the schedule's own.
    return {"inputs": tuple(inputs), "window": period} if inputs else {}


def _rejected(reading: Reading, pairs: Pairs, answers: Described) -> Iterator[Problem]:
    """Each config file that Tsdat rejects, once, where it is first named."""
    seen: set[str] = set()
    for path, config in pairs:
        answer = answers.get(config.config_file)
        if not isinstance(answer, TidegateError) or config.config_file in seen:
            continue
        seen.add(config.config_file)
        said = ": ".join(part for part in (answer.what, answer.why) if part)
        yield Problem(
            reading.file,
            reading.line(*path, "config_file_path"),
            f"Tsdat rejects {values.show(config.config_file)}: {said}",
            answer.next or "mend that file",
        )


def _paths(pairs: Pairs) -> Iterator[tuple[Where, str]]:
    """Configs that run on the same files."""
    by_path: dict[str, list[tuple[Where, Config]]] = defaultdict(list)
    for path, config in pairs:
        if config.input_path is not None and not config.inputs:
            by_path[config.input_path].append((path, config))
    for folder, group in by_path.items():
        where = (*group[-1][0], "input_bucket_path")
        if len(group) > 1:
            ids = _listed([config.id for _, config in group])
            yield where, f"{ids} share {folder}: each runs on every file under it"
        parts = folder.rstrip("/").split("/")
        for depth in range(1, len(parts)):
            outer = "/".join(parts[:depth]) + "/"
            for _, config in by_path.get(outer, ()):
                ids = _listed([inner.id for _, inner in group])
                yield where, f"{config.id} runs on {outer}, so on the files of {ids}, too"


def _datastreams(pairs: Pairs) -> Iterator[tuple[Where, str]]:
    """VAPs whose inputs nobody makes, as far as Tsdat tells."""
    made = {config.id: config.tsdat.datastream if config.tsdat else "" for _, config in pairs}
    for path, config in pairs:
        where = (*path, "config_file_path")
        if config.kind != "VAP" or config.tsdat is None:
            continue
        if not config.tsdat.datastreams:
            what = f"Tsdat names no input datastreams of {config.id}: it runs once for each window"
            yield where, what
        others = {name for id, name in made.items() if id != config.id}
        if "" in others:
            continue  # one that is not known may make them
        for name in config.tsdat.datastreams:
            if name not in others:
                what = f"{config.id} reads {name}, which no other config here seems to make"
                yield where, what


def _ignored(model: PipelinesConfig) -> Iterator[tuple[Where, str]]:
    """Keys that the format allows and that mean nothing where they stand."""
    for number, pipeline in enumerate(model.pipelines):
        if pipeline.trigger == "S3" and pipeline.schedule is not None:
            what = f"'schedule' of {pipeline.name} has no effect: it runs when files arrive"
            yield ("pipelines", number, "schedule"), what
        for name, entry in pipeline.configs.items():
            if pipeline.type == "VAP" and entry.input_bucket_path is not None:
                what = f"'input_bucket_path' of {pipeline.name}/{name} has no effect: it is a VAP"
                yield ("pipelines", number, "configs", name, "input_bucket_path"), what


def _listed(ids: list[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{', '.join(ids[:-1])} and {ids[-1]}"


_FOR_AWS = (
    "pipelines_repo_name",
    "account_id",
    "region",
    "input_bucket_name",
    "output_bucket_name",
)
_FOR_CODEPIPELINE = ("github_org", "aws_repo_name", "github_codestar_arn")


def aws_problems(
    reading: Reading, branch: str, *, codepipeline: bool = True
) -> tuple[AwsKeys | None, tuple[Problem, ...]]:
    """The keys for AWS on that branch, and what AWS needs beyond what one machine needs.

    ``codepipeline=False`` is for a deployment without GitHub's connection.
    """
    if reading.model is None:
        return None, reading.problems
    keys = reading.model.for_branch(branch)
    wanted = (*_FOR_AWS, *(_FOR_CODEPIPELINE if codepipeline else ()))
    problems = [
        Problem(
            reading.file,
            1,
            f"'{name}' is needed to deploy to AWS",
            f"write, for example, '{name}: {(AwsKeys.model_fields[name].examples or [''])[0]}'",
        )
        for name in wanted
        if getattr(keys, name) is None
    ]
    resolution = resolve(reading)
    for config in resolution.manifest.configs if resolution.manifest else ():
        problems += _beyond_lambda(reading, config)
    return (None if problems else keys), in_order(problems)


_LAMBDA_LIMITS = (("timeout", 900, "seconds"), ("memory", 10_240, "MB"))


def _beyond_lambda(reading: Reading, config: Config) -> Iterator[Problem]:
    assert reading.model is not None
    names = [pipeline.name for pipeline in reading.model.pipelines]
    path: Where = ("pipelines", names.index(config.pipeline), "configs", config.name)
    for key, most, unit in _LAMBDA_LIMITS:
        value = getattr(config, key)
        if value > most:
            levels: tuple[Where, ...] = ((*path, key), (*path[:2], key), ("defaults", key))
            where = next((level for level in levels if level in reading.lines), path)
            what = f"{key} of {config.id} is {value}: a Lambda function takes {most} {unit} at most"
            yield Problem(reading.file, reading.line(*where), what, f"write '{key}: {most}'")
