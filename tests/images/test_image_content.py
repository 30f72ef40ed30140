"""What counts for an image, what does not, and how a change is told."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from images_samples import FILES, MANIFEST, recipe_of, write

import tidegate
from tidegate.deploy.images import content
from tidegate.deploy.images.content import (
    PACKAGE,
    changes,
    environment_content,
    pipeline_contents,
    runtime_files,
    without_trigger,
)
from tidegate.deploy.images.context.prepare import SERVICES
from tidegate.deploy.images.dockerfile import (
    environment_dockerfile,
    write_environment,
    write_pipeline,
)
from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Manifest
from tidegate.workspace.recipe import read_recipe
from tidegate.workspace.repository import pipeline_folders, releases, starts_release

ALL = {"environment", "buoy", "tides"}
BOTH = {"buoy", "tides"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write(tmp_path / "repository")


def tags(repository: Path, **changed: Any) -> dict[str, str]:
    recipe = recipe_of(repository, **changed)
    found = {c.pipeline: c.tag for c in pipeline_contents(repository, MANIFEST, recipe)}
    return {**found, "environment": environment_content(recipe).tag}


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("pipelines/buoy/pipeline.py", "NAME = 'b'\n", {"buoy"}),
        ("pipelines/buoy/config/pipeline_morro.yaml", "name: m\n", {"buoy"}),
        ("pipelines/buoy/new.csv", "1,2\n", {"buoy"}),
        ("pipelines/__init__.py", "X = 1\n", BOTH),
        ("shared/storage.yaml", "root: other\n", BOTH),
        ("shared/new.yaml", "", BOTH),
        ("utils/wind.py", "SPEED = 2\n", BOTH),
        ("requirements.txt", "six==1.16.0\n", ALL),
        (".python-version", "3.11\n", set()),  # the config says which
        ("README.md", "Other words.\n", set()),
        ("pipelines/buoy/README.md", "Words.\n", set()),
        ("pipelines/buoy/tests/test_buoy.py", "assert 2\n", set()),
        ("utils/tests/test_wind.py", "assert 2\n", set()),
        ("pipelines/buoy/__pycache__/pipeline.cpython-312.pyc", "x", set()),
        ("pipelines/third/pipeline.py", "", set()),
        ("notes.txt", "", set()),
    ],
)
def test_what_counts(repository: Path, file: str, text: str, expected: set[str]) -> None:
    before = tags(repository)
    write(repository, {file: text})
    after = tags(repository)
    assert {name for name in before if before[name] != after[name]} == expected
    assert starts_release(file) or not expected  # CodePipeline's triggers


LAMBDA = "public.ecr.aws/lambda/python"
UPDATED = f"the base image {LAMBDA}:3.12 was updated"
MOVED = f"the base image changed from {LAMBDA}:3.12 to {LAMBDA}:3.13"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"base_digest": "sha256:" + "cd" * 32}, UPDATED),
        ({"base": f"{LAMBDA}:3.13"}, MOVED),
        ({"architecture": "arm64"}, "the architecture changed from x86_64 to arm64"),
        ({"python": "3.13"}, "the Python version changed from 3.12 to 3.13"),
        ({"exclude_newer": "2026-01-31"}, "exclude_newer is new"),
    ],
)
def test_what_else_counts_for_all(repository: Path, changed: dict[str, Any], said: str) -> None:
    before, after = tags(repository), tags(repository, **changed)
    assert {name for name in before if before[name] != after[name]} == ALL
    old, new = recipe_of(repository), recipe_of(repository, **changed)
    now = environment_content(new).inputs
    assert changes(now, environment_content(old).inputs) == (said,)


def test_tidegate_counts_for_pipelines_and_its_recipe_for_all(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = tags(repository)
    inputs = pipeline_contents(repository, MANIFEST, recipe_of(repository))[0].inputs
    other = tmp_path / "tidegate"
    shutil.copytree(PACKAGE, other, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(content, "PACKAGE", other)
    assert tags(repository) == before, "where it lies does not count"
    with (other / "cli" / "__init__.py").open("a") as file:
        file.write("# another command\n")
    assert tags(repository) == before, "what is not in the image does not count"
    with (other / "runtime" / "stage.py").open("a") as file:
        file.write("# another line\n")
    after = tags(repository)
    assert {name for name in before if before[name] != after[name]} == BOTH
    now = pipeline_contents(repository, MANIFEST, recipe_of(repository))[0].inputs
    assert changes(now, inputs) == (f"Tidegate {tidegate.__version__} changed",)
    monkeypatch.setattr(tidegate, "__version__", "0.2.0")
    now = pipeline_contents(repository, MANIFEST, recipe_of(repository))[0].inputs
    assert changes(now, inputs) == (f"Tidegate {inputs['Tidegate'].split()[0]} became 0.2.0",)
    monkeypatch.setattr(content.dockerfile, "environment_text", lambda: "another way")
    assert tags(repository)["environment"] != before["environment"]


def test_changes_in_words(repository: Path) -> None:
    def inputs() -> Any:
        found = pipeline_contents(repository, MANIFEST, recipe_of(repository))
        return {content.pipeline: content.inputs for content in found}

    before = inputs()
    assert changes(before["buoy"], before["buoy"]) == ()
    write(repository, {"shared/storage.yaml": "x", "requirements.txt": "six\n"})
    shutil.rmtree(repository / "utils")
    assert changes(inputs()["tides"], before["tides"]) == (
        "requirements.txt changed", "shared/ changed", "utils/ was removed"
    )  # fmt: skip
    write(repository, {"pipelines/tides/pipeline.py": "from pipelines.buoy import pipeline\n"})
    now = changes(inputs()["tides"], before["tides"])
    assert now[2:] == ("pipelines/buoy/ is new", "pipelines/tides/ changed", "utils/ was removed")


def test_tags_are_what_a_registry_takes(repository: Path) -> None:
    import re

    for name in ("a", "_x", "A-b_c", "p" * 64):
        file = MANIFEST.configs[0].config_file
        from images_samples import config

        manifest = Manifest((config(name, "c", file),))
        (found,) = pipeline_contents(repository, manifest, recipe_of(repository))
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", found.tag)
        assert re.fullmatch(re.escape(name) + "-[0-9a-f]{16}", found.tag)


# --- a pipeline's folders -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pipeline.py", "from pipelines.buoy.pipeline import NAME\n"),
        ("pipeline.py", "import pipelines.buoy\n"),
        ("pipeline.py", "from pipelines import buoy\n"),
        ("pipeline.py", "from ..buoy import pipeline\n"),
        ("config/pipeline.yaml", "path: pipelines/buoy/config/retriever.yaml\n"),
    ],
)
def test_a_pipeline_that_uses_another_has_it(repository: Path, file: str, text: str) -> None:
    files = ["pipelines/tides/config/pipeline.yaml"]
    assert pipeline_folders(repository, files) == ("pipelines/tides",)
    write(repository, {f"pipelines/tides/{file}": text})
    assert pipeline_folders(repository, files) == ("pipelines/buoy", "pipelines/tides")
    before = releases(repository, {"tides": files})
    write(repository, {"pipelines/buoy/pipeline.py": "NAME = 'new'\n"})
    assert releases(repository, {"tides": files}) != before


def test_names_that_only_begin_alike_are_others(repository: Path) -> None:
    write(
        repository, {"pipelines/tides/pipeline.py": "import pipelines.buoy_b, mypipelines.buoy\n"}
    )
    files = ["pipelines/tides/config/pipeline.yaml"]
    assert pipeline_folders(repository, files) == ("pipelines/tides",)


def test_the_folder_for_a_pipeline_holds_what_counts_and_no_more(
    repository: Path, tmp_path: Path
) -> None:
    write(repository, {"pipelines/buoy/run.sh": "#!/bin/sh\n"})
    (repository / "pipelines/buoy/run.sh").chmod(0o700)
    (repository / "pipelines/buoy/pipeline.py").chmod(0o600)
    (repository / "pipelines/buoy/nowhere").symlink_to("/nowhere/at/all")
    (buoy, _) = pipeline_contents(repository, MANIFEST, recipe_of(repository))
    folder = tmp_path / "context"
    folder.mkdir()
    write_pipeline(folder, repository, buoy.folders, PACKAGE, runtime_files())
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {name for name in there if not name.startswith("runtime/")} == {
        "Dockerfile",
        "prepare.py",
        "repository/shared/storage.yaml",
        "repository/utils/__init__.py",
        "repository/utils/wind.py",
        "pipeline/pipelines/__init__.py",
        "pipeline/pipelines/buoy/__init__.py",
        "pipeline/pipelines/buoy/config/pipeline_morro.yaml",
        "pipeline/pipelines/buoy/pipeline.py",
        "pipeline/pipelines/buoy/run.sh",
    }
    assert {
        "runtime/tidegate/runtime/worker.py",
        "runtime/tidegate/targets/aws/lambda_handler.py",
    } < there
    assert not [name for name in there if "tidegate/cli" in name or "tidegate/config" in name]
    # The function is not root: whoever checked this out, with whatever umask.
    assert (folder / "pipeline/pipelines/buoy/pipeline.py").stat().st_mode & 0o777 == 0o644
    assert (folder / "pipeline/pipelines/buoy/run.sh").stat().st_mode & 0o777 == 0o755
    assert len({path.stat().st_mtime for path in folder.rglob("*")}) == 1


# --- what an environment is made from -------------------------------------------------------------


def context(repository: Path, tmp_path: Path, **changed: Any) -> dict[str, str]:
    recipe = recipe_of(repository, **changed)
    folder = tmp_path / "environment"
    folder.mkdir()
    write_environment(folder, recipe.environment, package="six")
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_requirements_go_in_with_all_that_they_name(repository: Path, tmp_path: Path) -> None:
    write(repository, {"requirements.txt": "-r more/base.txt\n", "more/c.txt": ""})
    write(repository, {"more/base.txt": "-c c.txt\nsix\n"})
    files = context(repository, tmp_path, exclude_newer="2026-01-31")
    assert files["environment/requirements/more/base.txt"] == "-c c.txt\nsix\n"
    assert "environment/requirements/more/c.txt" in files
    assert '"requirements": ["requirements.txt"]' in files["environment/options.json"]
    assert '"exclude_newer": "2026-01-31"' in files["environment/options.json"]
    assert '"conda": false' in files["environment/options.json"]
    assert '"pythons": ["3.12"]' in files["environment/options.json"]


def test_an_old_python_is_asked_for(repository: Path, tmp_path: Path) -> None:
    files = context(repository, tmp_path, python=">=3.8,<3.10")
    assert '"pythons": ["3.9", "3.8"]' in files["environment/options.json"]
    assert files["Dockerfile"] == environment_dockerfile(conda=False), "the base is the function's"


ENVIRONMENT_YML = """\
name: mine
channels: [conda-forge, arm-doe]
dependencies:
  - python=3.11
  - numpy=1.26
  - {extra}
  - pip
  - pip:
      - six==1.17.0
"""


@pytest.mark.parametrize("extra", ["git", "hdf5", "make", "_libgcc_mutex=0.1=main"])
def test_what_wheels_bring_along_needs_no_conda(
    repository: Path, tmp_path: Path, extra: str
) -> None:
    (repository / "requirements.txt").unlink()
    write(repository, {"environment.yml": ENVIRONMENT_YML.format(extra=extra)})
    files = context(repository, tmp_path, python=None)
    assert files["environment/requirements/environment.txt"] == "six==1.17.0\nnumpy==1.26.*\n"
    assert files["Dockerfile"] == environment_dockerfile(conda=False)
    assert "micromamba" not in files["Dockerfile"]


def test_what_pypi_does_not_have_needs_conda(repository: Path, tmp_path: Path) -> None:
    (repository / "requirements.txt").unlink()
    write(repository, {"environment.yml": ENVIRONMENT_YML.format(extra="adi_py>=1.14")})
    files = context(repository, tmp_path, python=None)
    assert files["environment/requirements/environment.txt"] == "six==1.17.0\n"
    conda = files["environment/conda.yml"]
    assert [line.strip(" -") for line in conda.splitlines()[4:]] == [
        "python=3.11", "numpy=1.26", "adi_py>=1.14", "pip"
    ]  # fmt: skip
    assert '"conda": true' in files["environment/options.json"]
    assert '"micromamba": null' in files["environment/options.json"]
    assert "TIDEGATE_WORKER=/opt/pipelines/bin/worker-python" in files["Dockerfile"]


def test_conda_beside_requirements(repository: Path, tmp_path: Path) -> None:
    before = tags(repository)
    write(repository, {"environment.yml": ENVIRONMENT_YML.format(extra="adi_py")})
    files = context(repository, tmp_path)
    assert files["environment/requirements/requirements.txt"] == FILES["requirements.txt"]
    assert "python=3.12" in files["environment/conda.yml"], "the config's word counts"
    assert "adi_py" in files["environment/conda.yml"]
    second = tags(repository)
    assert second["environment"] != before["environment"]
    write(repository, {"environment.yml": ENVIRONMENT_YML.format(extra="adi_py>=1")})
    assert tags(repository)["environment"] != second["environment"]


def test_what_uv_finds_missing_needs_conda_too(repository: Path) -> None:
    (repository / "requirements.txt").unlink()
    write(repository, {"environment.yml": ENVIRONMENT_YML.format(extra="rarity")})
    recipe = recipe_of(repository, python=None)
    assert not recipe.uses_conda
    assert recipe.without(frozenset(["rarity"])).uses_conda


@pytest.mark.parametrize(
    "line",
    ["-e .", "--editable ./lib", "./lib", ".", "../lib", "/srv/lib", "file:lib", "x @ file:x"],
)
@pytest.mark.parametrize("file", ["requirements.txt", "environment.yml"])
def test_packages_by_folder_are_refused(repository: Path, line: str, file: str) -> None:
    (repository / "requirements.txt").unlink()
    text = "six\n# more\n" + line + "\n"
    if file == "environment.yml":
        text = f"dependencies:\n- pip:\n  - '{line}'\n"
    write(repository, {file: text})
    with pytest.raises(ConfigurationError) as told:
        pipeline_contents(repository, MANIFEST, recipe_of(repository))
    assert told.value.where == f"{repository}/{file}:3"
    assert "utils/" in told.value.next


@pytest.mark.parametrize("line", ["six.py", "-r ./more.txt", "a @ git+https://h/a.git", "# .", ""])
def test_other_requirements_are_taken(repository: Path, line: str) -> None:
    write(repository, {"requirements.txt": line + "\n", "more.txt": ""})
    pipeline_contents(repository, MANIFEST, recipe_of(repository))


@pytest.mark.parametrize(
    ("files", "untriggered"),
    [
        ({"requirements.txt": "-c constraints.txt\n", "constraints.txt": "six==1\n"}, ()),
        ({"requirements.txt": "-r requirements/a.in\n", "requirements/a.in": "six\n"}, ()),
        ({"requirements.txt": "-c deps/c.txt\n", "deps/c.txt": "six==1\n"}, ("deps/c.txt",)),
        ({"environment.yml": "dependencies: [pip: [-c deps/c.txt]]\n"}, ()),  # not the source
    ],
)
def test_what_starts_no_release_is_named(
    repository: Path, files: dict[str, str], untriggered: tuple[str, ...]
) -> None:
    write(repository, files)
    recipe = recipe_of(repository)
    contents = pipeline_contents(repository, MANIFEST, recipe)
    assert without_trigger(recipe.environment, contents) == untriggered


def test_a_pipeline_elsewhere_is_named(repository: Path) -> None:
    write(repository, {"own/tides/config/pipeline.yaml": "name: t\n"})
    config = replace(MANIFEST.configs[0], config_file="own/tides/config/pipeline.yaml")
    recipe = recipe_of(repository)
    contents = pipeline_contents(repository, Manifest((config,)), recipe)
    assert without_trigger(recipe.environment, contents) == ("own/tides/",)


def test_files_outside_the_repository_are_refused(repository: Path) -> None:
    write(repository, {"requirements.txt": "-r ../elsewhere.txt\n"})
    with pytest.raises(ConfigurationError, match="outside the repository"):
        environment_content(recipe_of(repository))


def test_what_of_tidegate_goes_in() -> None:
    """What the function and its worker import, and nothing of the control world."""
    inside = {path.relative_to(PACKAGE).as_posix() for path in runtime_files()}
    top = {name for name in inside if "/" not in name}
    assert top == {"__init__.py", "errors.py"}
    assert {name.split("/")[0] for name in inside - top} == {"targets", "runtime"}
    needed = {
        "runtime/tsdat_adapter.py",
        "runtime/pipeline_run.py",
        "runtime/dispatch.py",
        "targets/aws/ledger/dynamo_ledger.py",
        "targets/aws/__init__.py",
    }
    assert needed < inside
    assert "targets/aws/logs.py" not in inside, "commands read logs, functions do not"
    code = "".join(path.read_text("utf-8") for path in runtime_files())
    assert set(re.findall(r'\bclient\("([a-z0-9-]+)"\)', code)) <= set(SERVICES)


def test_recipes_for_this_machine_are_as_before(repository: Path) -> None:
    assert "Tidegate's own version" in read_recipe(repository, None, None).title
    assert read_recipe(repository, None, None, ("3.12", "Lambda")).python == "3.12"
