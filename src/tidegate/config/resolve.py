"""Make the runtime's manifest from the model and what Tsdat says about each config file."""

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
from tidegate.config.notices import notices_in_use
from tidegate.config.problems import KeyPath, Note, Problem, in_order
from tidegate.config.product_names import period_of_names
from tidegate.config.reader import ConfigFile
from tidegate.errors import TidegateError
from tidegate.runtime.manifest import Config, Manifest, Pipeline

Described = Mapping[str, Pipeline | TidegateError]
"""For each ``Config.config_file``: what Tsdat says about it, or why Tsdat rejects it."""


@dataclass(frozen=True)
class Resolution:
    """The result of resolving a config file."""

    manifest: Manifest | None
    """The configs to run; None if there are problems."""
    problems: tuple[Problem, ...] = ()
    """All problems, by line."""
    notes: tuple[Note, ...] = ()
    """What is allowed, but perhaps not intended; by line."""
    rejected: tuple[Config, ...] = ()
    """The configs that Tsdat rejects; all problems are about these."""
    others: tuple[Config, ...] = ()
    """The configs that can run."""


def resolve(config_file: ConfigFile, described: Described | None = None) -> Resolution:
    """The manifest of a config file; ``described=None`` if Tsdat was not asked.

    Config files that are not in ``described`` are not checked.
    """
    model = config_file.model
    if model is None:
        return Resolution(None, config_file.problems)
    answers = described or {}
    pairs: Pairs = [
        (("pipelines", number, "configs", name), _config(model, pipeline, name, answers))
        for number, pipeline in enumerate(model.pipelines)
        for name in pipeline.configs
    ]
    problems = in_order(_rejected(config_file, pairs, answers))
    rejected = [config for _, config in pairs if _is_rejected(config, answers)]
    others = [config for _, config in pairs if not _is_rejected(config, answers)]
    notes = [
        Note(config_file.file, config_file.line(*path), what)
        for path, what in (
            *_ignored(model),
            *_paths(pairs),
            *_same_names(pairs),
            *_datastreams(pairs),
        )
    ]
    notices = notices_in_use(model)
    manifest = None
    if not problems:
        manifest = Manifest(tuple(config for _, config in pairs), notices=notices)
    notes_in_order = tuple(sorted(set(notes)))
    return Resolution(manifest, problems, notes_in_order, tuple(rejected), tuple(others))


def _is_rejected(config: Config, answers: Described) -> bool:
    return isinstance(answers.get(config.config_file), TidegateError)


def config_files(model: PipelinesConfig) -> tuple[str, ...]:
    """Tsdat's config files, each once, in the order of pipelines_config.yml."""
    return tuple(
        dict.fromkeys(c.config_file_path for p in model.pipelines for c in p.configs.values())
    )


Pairs = list[tuple[KeyPath, Config]]
_PLAIN = (
    "timeout",
    "memory",
    "retries",
    "settle",
    "max_wait",
    "concurrency",
    "expect_every",
    "on_empty",
    "on_withdrawn",
    "architecture",
    "ephemeral_storage",
)
"""Settings for all kinds of pipelines; the innermost value wins."""


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
    ignore = next((level.ignore for level in reversed(levels) if level.ignore is not None), [])
    companions = next((v.companions for v in reversed(levels) if v.companions is not None), {})
    group_by = next((level.group_by for level in reversed(levels) if level.group_by), None)
    is_ingest = pipeline.type == "Ingest"
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
        ignore=tuple(ignore),
        companions={key: tuple(names) for key, names in companions.items()} if is_ingest else {},
        group_by=group_by if is_ingest else None,
        tsdat=answer if isinstance(answer, Pipeline) else None,
        **settings,
        **_when(model, pipeline, entry),
    )


def _when(model: PipelinesConfig, pipeline: PipelineEntry, entry: ConfigEntry) -> dict[str, Any]:
    """``window``, ``since`` and ``inputs``, which only one kind of pipeline has."""
    defaults = model.defaults or Settings()
    period = values.WINDOWS.get(pipeline.schedule or "", "day")
    if pipeline.type == "VAP":
        window = entry.window or pipeline.window or defaults.window or period
        return {"window": window, "since": entry.since or pipeline.since or defaults.since}
    if pipeline.trigger == "S3":
        return {}
    # The config's own path is more specific than texts of the pipeline or the defaults.
    outer = None if entry.input_bucket_path else pipeline.inputs or defaults.inputs
    inputs = entry.inputs or outer
    # The placeholders refer to the period of the schedule.
    return {"inputs": tuple(inputs), "window": period} if inputs else {}


def _rejected(config_file: ConfigFile, pairs: Pairs, answers: Described) -> Iterator[Problem]:
    """What Tsdat rejects, each reason once, at the first config that has it."""
    reasons: dict[tuple[str, str, str], list[tuple[KeyPath, Config]]] = {}
    for path, config in pairs:
        answer = answers.get(config.config_file)
        if isinstance(answer, TidegateError):
            named = config.config_file in answer.what  # as in "Tsdat cannot set up pipeline.yaml"
            parts = (answer.why,) if named and answer.why else (answer.what, answer.why)
            reason = (": ".join(part for part in parts if part), answer.where, answer.next)
            reasons.setdefault(reason, []).append((path, config))
    for (why, where, fix), found in reasons.items():
        files = list(dict.fromkeys(config.config_file for _, config in found))
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        place = f"{where}: " if where else ""
        yield Problem(
            config_file.file,
            config_file.line(*found[0][0], "config_file_path"),
            f"Tsdat rejects {values.show(files[0])}{more}: {place}{why}",
            fix or "correct that file",
        )


def _paths(pairs: Pairs) -> Iterator[tuple[KeyPath, str]]:
    """Notes on configs that run on the same files."""
    by_path: dict[str, list[tuple[KeyPath, Config]]] = defaultdict(list)
    for path, config in pairs:
        if config.input_path is not None and not config.inputs:
            by_path[config.input_path].append((path, config))
    for folder, group in by_path.items():
        where = (*group[-1][0], "input_bucket_path")
        if len(group) > 1:
            ids = _listed([config.id for _, config in group])
            yield where, f"{ids} share {folder}: all of them run on every file in it"
        parts = folder.rstrip("/").split("/")
        for depth in range(1, len(parts)):
            outer = "/".join(parts[:depth]) + "/"
            for _, config in by_path.get(outer, ()):
                ids = _listed([inner.id for _, inner in group])
                yield where, f"{config.id} runs on {outer}, so it also runs on the files of {ids}"


def _same_names(pairs: Pairs) -> Iterator[tuple[KeyPath, str]]:
    """Notes on ingests by which each file replaces the products of others."""
    for path, config in pairs:
        period = _shared_period(config)
        if period:
            where = (*path, "config_file_path")
            yield (
                where,
                (
                    f"{config.id} names its products by {period}: if a {period} comes in several"
                    " files, each of them replaces the product of the one before. If so, write"
                    f" 'group_by: {period}', which runs them together"
                ),
            )


def _shared_period(config: Config) -> str:
    """ "day", where all files of a day give a product of the same name; otherwise ""."""
    if config.kind != "Ingest" or config.trigger != "S3" or config.group_by or config.tsdat is None:
        return ""
    return period_of_names(config.tsdat.data_path, config.tsdat.data_filename)


def _datastreams(pairs: Pairs) -> Iterator[tuple[KeyPath, str]]:
    """Notes on VAPs with inputs that no config makes, as far as Tsdat knows."""
    made = {config.id: config.tsdat.datastream if config.tsdat else "" for _, config in pairs}
    for path, config in pairs:
        where = (*path, "config_file_path")
        if config.kind != "VAP" or config.tsdat is None:
            continue
        if not config.tsdat.datastreams:
            what = f"{config.id} names no input datastreams: it runs once for each window"
            yield where, what
        others = {name for id, name in made.items() if id != config.id}
        if "" in others:
            continue  # a config with an unknown datastream may make them
        for name in config.tsdat.datastreams:
            if name not in others:
                what = f"{config.id} reads {name}, which no config in this file makes"
                yield where, what


def _ignored(model: PipelinesConfig) -> Iterator[tuple[KeyPath, str]]:
    """Notes on keys without effect."""
    for key in ("github_org", "aws_repo_name") if model.github_codestar_arn else ():
        if getattr(model, key) is None:
            where: KeyPath = (key,)
            yield where, f"'{key}' has no value: without it, no push starts a release on AWS"
    if not model.pipelines:
        yield ("pipelines",), "'pipelines' is empty: `tidegate new ingest` adds the first pipeline"
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
    config_file: ConfigFile, branch: str, *, codepipeline: bool = True
) -> tuple[AwsKeys | None, tuple[Problem, ...]]:
    """The keys for AWS on that branch, or the problems that only matter on AWS.

    ``codepipeline=False`` is for a deployment without a connection to GitHub.
    """
    if config_file.model is None:
        return None, config_file.problems
    keys = config_file.model.for_branch(branch)
    wanted = (*_FOR_AWS, *(_FOR_CODEPIPELINE if codepipeline else ()))
    problems = [
        Problem(
            config_file.file,
            config_file.line(name),
            f"'{name}' is needed to deploy to AWS",
            f"write, for example, '{name}: {(AwsKeys.model_fields[name].examples or [''])[0]}'",
        )
        for name in wanted
        if getattr(keys, name) is None
    ]
    if not codepipeline and keys.github_codestar_arn is not None:
        problems += _missing_repositories(config_file, keys)
    resolution = resolve(config_file)
    for config in resolution.manifest.configs if resolution.manifest else ():
        problems += _lambda_limits(config_file, config)
    return (None if problems else keys), in_order(problems)


def _missing_repositories(config_file: ConfigFile, keys: AwsKeys) -> Iterator[Problem]:
    """Keys without which a connection to GitHub is of no use: no push would start a release."""
    for name in ("github_org", "aws_repo_name"):
        if getattr(keys, name) is None:
            known = (name,) in config_file.lines
            line = config_file.line(name if known else "github_codestar_arn")
            what = (
                f"'{name}' is {'empty' if known else 'missing'}, but 'github_codestar_arn' is set"
            )
            fix = f"write your own value after '{name}:', or remove 'github_codestar_arn'"
            yield Problem(config_file.file, line, what, fix)


_LAMBDA_LIMITS = (("timeout", 900, "seconds"), ("memory", 10_240, "MB"))


def _lambda_limits(config_file: ConfigFile, config: Config) -> Iterator[Problem]:
    assert config_file.model is not None
    names = [pipeline.name for pipeline in config_file.model.pipelines]
    path: KeyPath = ("pipelines", names.index(config.pipeline), "configs", config.name)
    for key, most, unit in _LAMBDA_LIMITS:
        value = getattr(config, key)
        if value > most:
            levels: tuple[KeyPath, ...] = ((*path, key), (*path[:2], key), ("defaults", key))
            where = next((level for level in levels if level in config_file.lines), path)
            what = (
                f"{key} of {config.id} is {value}: a Lambda function allows at most {most} {unit}"
            )
            line = config_file.line(*where)
            yield Problem(config_file.file, line, what, f"write '{key}: {most}'")
