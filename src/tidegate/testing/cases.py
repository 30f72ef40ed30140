"""Which tests a repository's pipelines have.

The first of these that a pipeline has, counts:

1. ``test/data/tests.yaml`` with a list of tests;
2. Python tests, as in Tsdat's pipeline-template: ``test/test_*.py``;
3. files alone: each file in ``test/data/input`` is run, and all products must be as in
   ``test/data/expected``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from tidegate.errors import ConfigurationError, TidegateError
from tidegate.quality.comparison import Rules
from tidegate.runtime.manifest import Config
from tidegate.runtime.related_files import date_in
from tidegate.runtime.runs import Window, window_at
from tidegate.testing.pipelines import Pipelines
from tidegate.testing.python_tests import (
    PythonRun,
    PythonTest,
    find_python_tests,
    read_python_tests,
)
from tidegate.testing.tests_file import NAME, PipelineTest, PipelineTests, read_tests_file
from tidegate.workspace.repository import pipeline_folder
from tidegate.workspace.rerun import parse_time

DATA = "test/data"
_EXACT = Rules()
_TSDAT_TIME = re.compile(r"\d{8}\.\d{6}")
_CHOOSE = f"say which config it is for in {DATA}/{NAME}: see docs/testing-pipelines.md"


@dataclass(frozen=True)
class Case:
    """One test: a run, and what its products are compared with."""

    pipeline: str
    """The pipeline's name."""
    name: str
    """What it is about, for a person."""
    source: str
    """Where it is written down: a file, relative to the repository, with a line if there is one."""
    config: Config | None = None
    """The config that is run; None for a test that cannot be run."""
    inputs: tuple[Path, ...] = ()
    """An ingest's raw files, below the repository."""
    arguments: tuple[str, ...] = ()
    """What the pipeline is given where its inputs are not files."""
    window: Window | None = None
    """A VAP's window."""
    samples: tuple[Path, ...] = ()
    """Products that a VAP reads, below the repository."""
    before: tuple[Case, ...] = ()
    """Runs that make what this one reads."""
    expected: tuple[tuple[Path, Rules], ...] = ()
    """Files that the products are compared with, and how."""
    folder: Path | None = None
    """The folder that holds a file for each product; None where ``expected`` is all there is."""
    rules: Rules = _EXACT
    """How products are compared with the files in ``folder``."""
    python: PythonTest | None = None
    """A test function that only pytest can run."""
    problem: TidegateError | None = None
    """Why it cannot be run."""
    skipped: str = ""
    """Why it is not to be run."""


@dataclass(frozen=True)
class Suite:
    """The tests of one pipeline."""

    pipeline: str
    """The pipeline's name."""
    folder: str
    """Its folder, relative to the repository."""
    cases: tuple[Case, ...]
    """Its tests; none for a pipeline that has no test."""


def find_suites(pipelines: Pipelines) -> tuple[Suite, ...]:
    """The tests of each pipeline, by folder; also of one that has none."""
    by_folder: dict[str, list[Config]] = {}
    for config in pipelines.configs:
        by_folder.setdefault(pipeline_folder(config.config_file), []).append(config)
    return tuple(_suite(pipelines, folder, configs) for folder, configs in by_folder.items())


def _suite(pipelines: Pipelines, folder: str, configs: Sequence[Config]) -> Suite:
    name = configs[0].pipeline
    data = pipelines.repository / folder / DATA
    finder = _Finder(pipelines, name, folder, configs)
    try:
        file = read_tests_file(data / NAME)
        if file.tests is not None:
            cases = finder.written(file)
        else:
            cases = [*finder.python()] or [*finder.files(file)]
    except TidegateError as error:
        source = (data / NAME).relative_to(pipelines.repository).as_posix()
        cases = [Case(name, NAME, source, problem=error)]
    return Suite(name, folder, tuple(cases))


class _Finder:
    """Finds the tests of one pipeline's folder."""

    def __init__(
        self, pipelines: Pipelines, name: str, folder: str, configs: Sequence[Config]
    ) -> None:
        self._pipelines = pipelines
        self._repository = pipelines.repository
        self._name = name
        self._folder = folder
        self._configs = configs
        self._input = self._repository / folder / DATA / "input"
        self._expected = self._repository / folder / DATA / "expected"

    # Written down in tests.yaml.

    def written(self, file: PipelineTests) -> list[Case]:
        """The tests that the file lists."""
        source = f"{self._folder}/{DATA}/{NAME}"
        return [
            self._entry(entry, (entry.tolerances or file.tolerances).rules(), f"{source}:{number}")
            for number, entry in enumerate(file.tests or (), 1)
        ]

    def _entry(self, entry: PipelineTest, rules: Rules, source: str) -> Case:
        given = [self._given(name) for name in entry.inputs]
        case = Case(self._name, _title(entry), source, rules=rules, folder=self._expected)
        missing = [path for path in given if not path.exists()]
        missing += [
            path
            for name in entry.expected or ()
            if not (path := self._expected / name).parent.is_dir()
        ]
        if missing:
            return replace(case, problem=_no_file(missing[0], self._repository))
        if entry.expected is not None:
            files = tuple((self._expected / name, rules) for name in entry.expected)
            case = replace(case, expected=files, folder=None)
        try:
            config = self._named(entry.config) if entry.config else self._fitting(given)
            if config.kind == "VAP":
                window = self._window(entry, config)
                return replace(case, config=config, window=window, samples=tuple(given))
        except TidegateError as error:
            return replace(case, problem=error)
        return replace(case, config=config, inputs=tuple(given), arguments=tuple(entry.arguments))

    def _given(self, name: str) -> Path:
        """A file of ``input``, or one that is named from the repository's root.

        So the expected product of one pipeline can be the input of another one's test.
        """
        path = self._input / name
        return (
            path
            if path.exists() or not (self._repository / name).exists()
            else (self._repository / name)
        )

    def _window(self, entry: PipelineTest, config: Config) -> Window:
        if entry.begin is None or entry.end is None:
            raise _unclear(f"a test of the VAP {config.id} needs begin and end")
        return Window(parse_time(entry.begin), parse_time(entry.end))

    def _named(self, name: str) -> Config:
        for config in self._configs:
            if name in (config.name, config.id, config.config_file):
                return config
        known = ", ".join(config.name for config in self._configs)
        raise _unclear(f"there is no config {name}", f"there is: {known}")

    # Files alone.

    def files(self, file: PipelineTests) -> Iterator[Case]:
        """A test for each input, or, of a VAP, for each expected product."""
        rules, source = file.tolerances.rules(), f"{self._folder}/{DATA}"
        given = list(_visible(self._input))
        ingests = [config for config in self._configs if config.kind == "Ingest"]
        if not ingests:
            yield from self._windows(given, rules, source)
            return
        for path in given:
            title = path.relative_to(self._input).as_posix()
            case = Case(self._name, title, source, rules=rules, folder=self._expected)
            try:
                yield replace(case, config=self._fitting([path]), inputs=(path,))
            except TidegateError as error:
                yield replace(case, problem=error)

    def _windows(self, samples: Sequence[Path], rules: Rules, source: str) -> Iterator[Case]:
        """Of a VAP: the window of its config's length that each expected product begins in."""
        for path in _visible(self._expected):
            case = Case(self._name, path.name, source, expected=((path, rules),))
            moment = date_in(path.name)
            try:
                config = self._fitting([path])
                if moment is None:
                    raise _unclear(f"the name of {path.name} has no time in it")
            except TidegateError as error:
                yield replace(case, problem=error)
                continue
            window = window_at(config.window or "day", moment)
            yield replace(case, config=config, window=window, samples=tuple(samples))

    def _fitting(self, paths: Sequence[Path]) -> Config:
        """The config that files are for: the only one, else by triggers, folder or name.

        Raises:
            ConfigurationError: none or several fit.
        """
        if len(self._configs) == 1:
            return self._configs[0]
        names = [path.relative_to(self._repository).as_posix() for path in paths]
        for fits in (self._is_triggered, _arrives_for, _is_named_in):
            found = [c for c in self._configs if names and all(fits(c, name) for name in names)]
            if len(found) == 1:
                return found[0]
        known = ", ".join(config.name for config in self._configs)
        about = names[0] if names else "the test"
        raise _unclear(f"several configs could be for {about}: {known}")

    def _is_triggered(self, config: Config, name: str) -> bool:
        content = _mapping(self._repository / config.config_file)
        return any(_matches(pattern, name) for pattern in content.get("triggers") or ())

    # Python tests.

    def python(self) -> Iterator[Case]:
        """A test for each function."""
        for file in find_python_tests(self._repository, self._folder):
            for test in read_python_tests(self._repository, file):
                yield self._python_case(test, frozenset())

    def _python_case(self, test: PythonTest, seen: frozenset[tuple[str, str]]) -> Case:
        case = Case(self._name, test.name, f"{test.file}:{test.line}", skipped=test.skipped)
        if test.skipped:
            return case
        if test.unreadable:
            return replace(case, python=test)
        before: list[Case] = []
        for file, name in test.before:
            if (file, name) in seen:
                continue
            other = self._other_test(file, name, seen | {(test.file, test.name)})
            if other is not None and other.problem:
                return replace(case, problem=other.problem)
            if other is None or other.python or other.skipped:
                reason = f"line {test.line}: it needs {file}, {name}, which cannot be read"
                return replace(case, python=replace(test, unreadable=reason))
            before.append(other)
        if not test.runs:  # it only calls other tests: those are tests of their own
            return replace(case, skipped="it only calls other tests")
        *first, last = [self._python_run(case, run) for run in test.runs]
        return replace(last, before=(*before, *first))

    def _other_test(self, file: str, name: str, seen: frozenset[tuple[str, str]]) -> Case | None:
        for test in read_python_tests(self._repository, file):
            if test.name == name:
                return self._python_case(test, seen)
        return None

    def _python_run(self, case: Case, run: PythonRun) -> Case:
        file = PurePosixPath(run.config_file).as_posix()
        case = replace(case, source=f"{case.source.rpartition(':')[0]}:{run.line}")
        expected = tuple((self._repository / name, rules) for name, rules in run.expected)
        case = replace(case, expected=expected)
        if not (self._repository / file).is_file():
            return replace(case, problem=_no_file(self._repository / file, self._repository))
        config = self._config_of(file, run)
        if len(run.inputs) == 2 and all(_TSDAT_TIME.fullmatch(text) for text in run.inputs):
            window = Window(*(parse_time(text) for text in run.inputs))
            return replace(case, config=replace(config, kind="VAP"), window=window)
        paths = [self._repository / name for name in run.inputs]
        if all(path.is_file() for path in paths):
            return replace(case, config=config, inputs=tuple(paths))
        missing = next(path for path in paths if not path.is_file())
        if (
            missing.suffix
        ):  # a name with an ending is a file that is missing, not a station's number
            return replace(case, config=config, problem=_no_file(missing, self._repository))
        return replace(case, config=config, arguments=run.inputs)

    def _config_of(self, file: str, run: PythonRun) -> Config:
        for config in self._pipelines.configs:
            if config.config_file == file:
                return config
        return Config(self._name, Path(file).stem, "Ingest", "S3", file)


def _arrives_for(config: Config, name: str) -> bool:
    """Whether the folder that raw files arrive in is part of the path."""
    return bool(config.input_path) and f"/{config.input_path}" in name


def _is_named_in(config: Config, name: str) -> bool:
    """Whether the config's name is a word of the file's path below the pipeline's folder."""
    below = name.partition(f"/{DATA}/")[2]
    return config.name in re.split(r"[/._-]", below)


def _matches(pattern: object, name: str) -> bool:
    try:
        return re.match(str(pattern), name) is not None
    except re.error:
        return False


def _mapping(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # Tsdat says what is wrong with it when it is run
        return {}
    return content if isinstance(content, dict) else {}


def _visible(folder: Path) -> Iterator[Path]:
    """Files below a folder; a zarr folder is one. No hidden ones."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__")):
            continue
        if path.is_dir() and path.suffix != ".zarr":
            yield from _visible(path)
        else:
            yield path


def _title(entry: PipelineTest) -> str:
    about = ", ".join((*entry.inputs, *entry.arguments))
    if entry.begin:
        about = f"{entry.begin} to {entry.end}"
    return f"{entry.config}: {about}" if entry.config else about


def _no_file(path: Path, repository: Path) -> TidegateError:
    return _unclear(f"there is no file {path.relative_to(repository)}", "correct the test")


def _unclear(what: str, next: str = _CHOOSE) -> TidegateError:
    return ConfigurationError(what, next=next)
