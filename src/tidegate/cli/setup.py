"""The commands ``check`` and ``env``."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from tidegate import config as configuration
from tidegate.cli import view
from tidegate.cli.options import HERE, Dir, Json, Python
from tidegate.cli.view import View, plain
from tidegate.config import ConfigFile, ConfigProblems
from tidegate.errors import PythonEnvironmentError, UsageError
from tidegate.runtime.descriptions import describe_files
from tidegate.runtime.records import to_json
from tidegate.runtime.wording import quantity
from tidegate.targets.local.skipped import find_skipped
from tidegate.workspace.environment_options import EnvironmentOptions, conda_notes, make_environment
from tidegate.workspace.folder import Workspace
from tidegate.workspace.loading import load_workspace, read_config
from tidegate.workspace.python_choice import date_of_last_commit
from tidegate.workspace.tsdat_answers import failed_imports

app = typer.Typer()


@app.command(epilog="Example: tidegate check my-workspace")
def check(directory: Dir = HERE, python: Python = None, as_json: Json = False) -> None:
    """Check pipelines_config.yml and every Tsdat config file in it; show what will run when."""
    out = View(as_json=as_json)
    try:
        loaded = load_workspace(Workspace.at(directory), python=python, say=out.note)
    except ConfigProblems as error:
        if as_json:
            out.data({"ok": False, "problems": to_json(error.problems)})
            raise typer.Exit(2) from None
        raise
    only_from_conda = conda_notes(loaded.workspace, loaded.config)
    skipped = find_skipped(loaded.workspace.input, loaded.manifest.configs)
    rows = configuration.summary(loaded.manifest, datetime.now(timezone.utc))
    if as_json:
        out.data(
            {
                "ok": True,
                "configs": to_json(rows),
                "notes": to_json(loaded.notes),
                "only_from_conda": only_from_conda,
                "not_taken": to_json(skipped),
            }
        )
        return
    for note in (*loaded.notes, *only_from_conda):
        out.note(f"note: {note}")
    for files in skipped:
        out.note(f"in input/: {files}")
    out.table(
        ("config", "kind", "runs", "processes", "next (UTC)"),
        [
            (
                plain(row.config),
                row.kind,
                plain(row.when),
                plain(row.over),
                view.moment(row.next) if row.next else "",
            )
            for row in rows
        ],
    )
    out.note(f"no problems in {loaded.config.file}: {quantity(len(rows), 'config')}")


@app.command(epilog="Example: tidegate env --python 3.11")
def env(
    directory: Dir = HERE,
    python: Annotated[
        str | None,
        typer.Option("--python", help="A Python version such as 3.11, or an interpreter's path."),
    ] = None,
    exclude_newer: Annotated[
        str | None,
        typer.Option(
            "--exclude-newer", help="Ignore packages published after this date, YYYY-MM-DD."
        ),
    ] = None,
    as_of_last_commit: Annotated[
        bool,
        typer.Option(
            "--as-of-last-commit",
            help="Ignore packages published after the repository's last commit.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the pipelines' Python environment from requirements.txt or environment.yml.

    Then import the code of all pipelines; the exit code is 3 if a package for one is missing.
    """
    out = View(as_json=as_json)
    workspace = Workspace.at(directory)
    config = read_config(workspace)
    if as_of_last_commit:
        if exclude_newer:
            raise UsageError(
                "--exclude-newer and --as-of-last-commit cannot be combined",
                next="choose one of them",
            )
        assert config.repository is not None
        exclude_newer = date_of_last_commit(config.repository)
        out.note(f"packages as of {exclude_newer}, the date of the repository's last commit")
    made = make_environment(workspace, config, EnvironmentOptions(python, exclude_newer), out.note)
    failures = _failed_imports(config, made, out)
    if as_json:
        out.data({"python": str(made), "failed_imports": failures})
    else:
        out.line(plain(made))
    if failures:
        raise typer.Exit(PythonEnvironmentError.exit_code)


def _failed_imports(config: ConfigFile, python: Path, out: View) -> dict[str, str]:
    """Which pipelines cannot be imported in the environment, and why."""
    assert config.repository is not None
    files = configuration.config_files(config.require())
    failures = failed_imports(describe_files([str(python)], config.repository.absolute(), files))
    for error in failures.values():
        out.error(error)
    if failures:
        rest = len(files) - len(failures)
        out.note(f"{quantity(len(failures), 'config file')} cannot be used; {rest} can")
    return {file: error.why for file, error in failures.items()}
