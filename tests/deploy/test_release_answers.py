"""What a release knows of Tsdat's answers, and what it has to ask."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tidegate import config as configuration
from tidegate.config import ConfigFile, ConfigProblems
from tidegate.deploy.core.history import Release, ReleasedImage
from tidegate.deploy.images.asking import ImageAnswer
from tidegate.deploy.workflow.answers import Answers, answers_of_image, known_answers
from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Manifest, Pipeline
from tidegate.runtime.records import dumps

CONFIG = """\
pipelines:
- name: buoy
  type: Ingest
  trigger: S3
  configs:
    morro:
      input_bucket_path: buoy/morro/
      config_file_path: pipelines/buoy/config/morro.yaml
- name: tides
  type: Ingest
  trigger: S3
  configs:
    main:
      input_bucket_path: tides/
      config_file_path: pipelines/tides/config/main.yaml
"""
BUOY, TIDES = "pipelines/buoy/config/morro.yaml", "pipelines/tides/config/main.yaml"
TAGS = {"buoy": "buoy-1", "tides": "tides-1"}


@pytest.fixture
def config(tmp_path: Path) -> ConfigFile:
    (tmp_path / "pipelines_config.yml").write_text(CONFIG)
    return configuration.read(tmp_path / "pipelines_config.yml", files=False)


def released(answers: Answers, config: ConfigFile, tags: dict[str, str]) -> Release:
    manifest, _ = answers.manifest(config)
    images = {pipeline: ReleasedImage(tag, "sha256:1") for pipeline, tag in tags.items()}
    when = datetime(2026, 11, 1, tzinfo=timezone.utc)
    return Release("1", "c", "me", when, "deployed", images, manifest=dumps(manifest))


FIRST = Answers({BUOY: Pipeline("Buoy"), TIDES: Pipeline("Tides")}, {"buoy": "b", "tides": "t"})


def test_an_answer_holds_as_long_as_the_image_is_the_same(config: ConfigFile) -> None:
    first = released(FIRST, config, TAGS)
    newer = released(
        Answers({BUOY: Pipeline("Older"), TIDES: Pipeline("Older")}, {"buoy": "x", "tides": "x"}),
        config, {"buoy": "buoy-2", "tides": "tides-2"},
    )  # fmt: skip
    assert known_answers([newer, first], TAGS) == FIRST
    known = known_answers([newer, first], {**TAGS, "buoy": "buoy-3"})
    assert known == Answers({TIDES: Pipeline("Tides")}, {"tides": "t"})
    assert known.unknown(config) == (BUOY,)
    assert known_answers([newer, first], {**TAGS, "new": "new-1"}) == FIRST


def test_releases_without_answers_do_not_count(config: ConfigFile) -> None:
    """One that failed while it was built, or before images were asked."""
    begun = released(Answers(), config, TAGS)
    assert known_answers([begun, replace(begun, manifest=dumps(Manifest(())))], TAGS) == Answers()


def test_what_is_asked_completes_what_is_known(config: ConfigFile, tmp_path: Path) -> None:
    known = Answers({TIDES: Pipeline("Tides")}, {"tides": "t"})
    said = ImageAnswer({BUOY: Pipeline("Buoy")}, "packages")
    asked = answers_of_image(config, tmp_path, said)
    other = answers_of_image(config, tmp_path, replace(said, environment="newer packages"))
    manifest, _ = known.over(asked).manifest(config)
    assert [c.tsdat.classname for c in manifest.configs if c.tsdat] == ["Buoy", "Tides"]
    assert manifest.releases == {"buoy": asked.releases["buoy"], "tides": "t"}
    assert other.releases["buoy"] != asked.releases["buoy"], "packages are part of a release"


def test_what_tsdat_rejects_is_named_with_its_line(config: ConfigFile) -> None:
    no = ConfigurationError("Tsdat cannot set it up", why="no such class", where=f"{BUOY}:3")
    with pytest.raises(ConfigProblems) as told:
        Answers({**FIRST.described, BUOY: no}).manifest(config)
    [problem] = told.value.problems
    assert problem.line == CONFIG.splitlines().index(f"      config_file_path: {BUOY}") + 1
    assert f"{BUOY}:3: " in problem.what
    assert "no such class" in problem.what
