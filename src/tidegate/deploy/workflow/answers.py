"""What Tsdat says about the configs of a release: known from earlier releases, or asked.

The tag of an image is a hash of everything that Tsdat's answer depends on. So an answer about a
pipeline holds for as long as its image stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from tidegate import config as configuration
from tidegate.config import ConfigFile, ConfigProblems, Note
from tidegate.deploy.core.history import Release
from tidegate.deploy.images.asking import ImageAnswer
from tidegate.errors import TidegateError
from tidegate.runtime.manifest import Manifest, Pipeline
from tidegate.runtime.records import loads
from tidegate.workspace.repository import releases

_MOST = 50
"""How many of the latest releases are searched for known answers."""


@dataclass(frozen=True)
class Answers:
    """Answers about some of the config files of a branch."""

    described: Mapping[str, Pipeline | TidegateError] = field(default_factory=dict)
    """For each config file, its description, or why Tsdat rejects it."""
    releases: Mapping[str, str] = field(default_factory=dict)
    """For each pipeline, the hash of what its configs run with."""

    def unknown(self, config: ConfigFile) -> tuple[str, ...]:
        """The config files that Tsdat has to be asked about."""
        files = configuration.config_files(config.require())
        return tuple(file for file in files if file not in self.described)

    def over(self, others: Answers) -> Answers:
        """These answers, and the others' where these have none."""
        return Answers({**others.described, **self.described}, {**others.releases, **self.releases})

    def manifest(self, config: ConfigFile) -> tuple[Manifest, tuple[Note, ...]]:
        """The configs with these answers, and notes on them.

        Raises:
            ConfigProblems: Tsdat rejects a config file.
        """
        resolution = configuration.resolve(config, self.described)
        if resolution.manifest is None:
            raise ConfigProblems(config.file, resolution.problems)
        return replace(resolution.manifest, releases=self.releases), resolution.notes


def known_answers(history: Iterable[Release], tags: Mapping[str, str]) -> Answers:
    """The answers of earlier releases that had images with these tags; ``tags`` by pipeline."""
    described: dict[str, Pipeline | TidegateError] = {}
    known: dict[str, str] = {}
    left = dict(tags)
    for release in islice(history, _MOST):
        same = [p for p, image in release.images.items() if left.get(p) == image.tag]
        manifest = loads(Manifest, release.manifest) if same else Manifest(())
        for pipeline in same:
            answers = {
                config.config_file: config.tsdat
                for config in manifest.configs
                if config.pipeline == pipeline and config.tsdat is not None
            }
            if answers and pipeline in manifest.releases:
                described.update(answers)
                known[pipeline] = manifest.releases[pipeline]
                del left[pipeline]
        if not left:
            break
    return Answers(described, known)


def answers_of_image(config: ConfigFile, repository: Path, answer: ImageAnswer) -> Answers:
    """What Tsdat says in an image."""
    by_pipeline = {
        pipeline.name: [entry.config_file_path for entry in pipeline.configs.values()]
        for pipeline in config.require().pipelines
    }
    return Answers(answer.described, releases(repository, by_pipeline, answer.environment))
