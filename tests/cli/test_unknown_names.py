"""A config, pipeline or datastream that does not exist: every command says so, and what there is.

The commands are found by their parameters, so that a new one is tested too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from tidegate import cli

CONFIG = """\
repository: repository
pipelines:
  - name: tiny
    type: Ingest
    trigger: S3
    configs:
      one:
        input_bucket_path: tiny/one/
        config_file_path: pipelines/tiny/config/pipeline.yaml
notify:
  to: [TIDEGATE_NOTIFY]
"""
NAMES = {"config", "pipeline", "datastream"}
FROM_FILES = {("adopt", "--datastream")}
"""Their names come from files that only a pipeline tells apart: see ``tests/adopt``."""
REQUIRED = {"run": ["a.csv"], "try": ["a.csv"], "new site": ["elsewhere"]}
"""Other arguments that a command cannot do without."""


def parameters() -> Iterator[tuple[str, str, bool]]:
    """Each command with a parameter that names something, and how it is written."""

    def walk(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, str, bool]]:
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*path, name))
        for parameter in getattr(command, "params", ()):
            words = {word.strip("-") for word in parameter.opts} | {parameter.name}
            if words & NAMES:
                option = next((word for word in parameter.opts if word.startswith("--")), "")
                yield " ".join(path), option, "datastream" in words

    yield from (one for one in walk(get_command(cli.make_app()), ()) if one[:2] not in FROM_FILES)
    yield "run --begin 20220401 --end 20220402", "", False


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which nothing has run, with no environment."""
    root = tmp_path_factory.mktemp("workspace")
    pipeline = root / "repository/pipelines/tiny/config/pipeline.yaml"
    pipeline.parent.mkdir(parents=True)
    pipeline.write_text("classname: pipelines.tiny.Tiny\n")
    (root / "a.csv").write_text("")
    (root / "pipelines_config.yml").write_text(CONFIG)
    return root


@pytest.mark.parametrize(("command", "option", "datastream"), list(parameters()))
def test_a_name_that_does_not_exist(
    command: str,
    option: str,
    datastream: bool,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workspace)
    given = [option, "tiny/none"] if option else ["tiny/none"]
    if option:
        arguments = [*command.split(), *REQUIRED.get(command, []), *given]
    else:
        arguments = [*command.split(), *given, *REQUIRED.get(command, [])]
    code = cli.main(arguments)
    captured = capfd.readouterr()
    assert code == 2, captured
    assert "tiny/none" in captured.err
    others = captured.err.replace("tiny/none", "")
    assert ("run a pipeline first" if datastream else "tiny") in others, "what there is"
    assert not (workspace / ".tidegate" / "env").exists(), "it was known before one was made"
