"""Environments, made by the real uv from small packages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from tidegate.errors import PythonEnvironmentError
from tidegate.workspace import environment_build
from tidegate.workspace.environment import Missing, find, make, only_from_conda
from tidegate.workspace.interpreter import Interpreter
from tidegate.workspace.python_choice import date_of_last_commit
from tidegate.workspace.recipe import dependents, read_recipe

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
EXAMPLE = Path(__file__).parents[2] / "examples" / "pipelines"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    write(folder / "requirements.txt", "six==1.16.0\n")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def made(repository: Path, workspace: Path, **more: str) -> Interpreter:
    return make(repository, workspace, package="six", **more)  # type: ignore[arg-type]


def found(repository: Path, workspace: Path, **more: str) -> Interpreter | Missing:
    return find(repository, workspace, package="six", **more)  # type: ignore[arg-type]


def missing(repository: Path, workspace: Path, **more: str) -> str:
    answer = found(repository, workspace, **more)
    assert isinstance(answer, Missing)
    return answer.why


def environments(workspace: Path) -> list[Path]:
    home = workspace / ".tidegate" / "env"
    return [path for path in home.iterdir() if path.is_dir()] if home.exists() else []


# --- making and finding ---------------------------------------------------------------------------


@pytest.mark.functional
def test_one_is_made_byte_compiled_and_found_again(repository: Path, workspace: Path) -> None:
    assert missing(repository, workspace) == "there is none yet"
    said: list[str] = []
    one = make(repository, workspace, package="six", say=said.append)
    assert one.origin == "made"
    assert one.tsdat == "1.16.0"
    assert one.version.startswith(OWN + ".")
    assert list(workspace.rglob("six.*.pyc"))
    assert any("requirements.txt" in line for line in said)
    assert any(line.startswith("Installed 1 package") for line in said)
    assert found(repository, workspace) == one
    answer = subprocess.run(
        [one.python, "-c", "import six; print(six.__version__)"], capture_output=True, text=True
    )
    assert answer.stdout == "1.16.0\n"


@pytest.mark.functional
def test_made_anew_only_when_something_changes(repository: Path, workspace: Path) -> None:
    write(repository / "requirements.txt", "-r more/base.txt\n")
    base = write(repository / "more/base.txt", "six==1.16.0\n-c limits.txt\n")
    limits = write(repository / "more/limits.txt", "six<2\n")
    first = made(repository, workspace)
    mark = os.stat(first.python.parent.parent / "tidegate-ok.json").st_mtime_ns
    assert made(repository, workspace) == first
    assert os.stat(first.python.parent.parent / "tidegate-ok.json").st_mtime_ns == mark
    write(limits, "six<3\n")
    assert missing(repository, workspace) == "its requirements have changed: more/limits.txt"
    write(base, "six==1.17.0\n")
    write(repository / ".python-version", f"{OWN}\n")
    second = made(repository, workspace)
    assert second.tsdat == "1.17.0"
    assert second.python != first.python


@pytest.mark.functional
def test_packages_newer_than_a_date_do_not_exist(repository: Path, workspace: Path) -> None:
    write(repository / "requirements.txt", "six\n")
    day = "2020-01-01T12:00:00+0000"
    dates = {"GIT_AUTHOR_DATE": day, "GIT_COMMITTER_DATE": day}
    git = ["git", "-C", str(repository), "-c", "user.name=me", "-c", "user.email=me@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], env={**os.environ, **dates}, check=True)
    old = made(repository, workspace, exclude_newer=date_of_last_commit(repository))
    assert old.tsdat == "1.13.0", "as it was when the repository was last changed"
    assert found(repository, workspace, exclude_newer="2020-01-01") == old
    assert "exclude_newer" in missing(repository, workspace)
    with pytest.raises(PythonEnvironmentError, match="'soon', which is not a date"):
        made(repository, workspace, exclude_newer="soon")


@pytest.mark.functional
def test_the_one_before_stays_and_older_ones_go(repository: Path, workspace: Path) -> None:
    places = []
    for version in ("1.15.0", "1.16.0", "1.17.0"):
        write(repository / "requirements.txt", f"six=={version}\n")
        places.append(made(repository, workspace).python.parent.parent)
    assert sorted(environments(workspace)) == sorted(places[1:])


@pytest.mark.functional
def test_one_whose_python_is_gone_is_made_anew(repository: Path, workspace: Path) -> None:
    one = made(repository, workspace)
    one.python.unlink()
    one.python.symlink_to("/nowhere/python")
    assert "was removed" in missing(repository, workspace)
    assert made(repository, workspace) == one
    assert found(repository, workspace) == one


@pytest.mark.functional
def test_the_caller_s_own_environment_is_left_alone(
    repository: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository / "requirements.txt", "six==1.15.0\niniconfig==1.1.1\n")
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON"):
        monkeypatch.setenv(name, str(repository / "elsewhere"))
    monkeypatch.setenv("PYTHONPATH", str(repository / "elsewhere"))
    assert made(repository, workspace).tsdat == "1.15.0"
    assert not (repository / "elsewhere").exists()


# --- interruptions --------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pathlib import Path
from tidegate.workspace import environment, environment_build
real = environment_build._uv
def uv(arguments, recipe, say):
    real(arguments, recipe, say)
    if arguments[0] == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
environment_build._uv = uv
environment.make(Path(sys.argv[1]), Path(sys.argv[2]), package="six")
"""


@pytest.mark.functional
@pytest.mark.parametrize("step", ["venv", "pip"])
def test_a_build_that_was_killed_does_not_count(
    repository: Path, workspace: Path, step: str
) -> None:
    command = [sys.executable, "-c", _KILLED, str(repository), str(workspace), step]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(environments(workspace)) == 1
    assert missing(repository, workspace) == "there is none yet"
    made(repository, workspace)
    assert isinstance(found(repository, workspace), Interpreter)


@pytest.mark.functional
def test_ctrl_c_leaves_nothing_behind(
    repository: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(environment_build, "_tested", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(repository, workspace)
    assert environments(workspace) == []


@pytest.mark.functional
def test_a_failed_build_keeps_the_one_before(repository: Path, workspace: Path) -> None:
    one = made(repository, workspace)
    write(repository / "requirements.txt", "six==0.0.99\n")
    with pytest.raises(PythonEnvironmentError):
        made(repository, workspace)
    assert environments(workspace) == [one.python.parent.parent]
    write(repository / "requirements.txt", "six==1.16.0\n")
    assert found(repository, workspace) == one


@pytest.mark.functional
def test_two_at_once_make_one(repository: Path, workspace: Path) -> None:
    answers: list[Interpreter] = []
    said: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(
                make(repository, workspace, package="six", say=said.append)
            )
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert sum(line.startswith("making ") for line in said) == 1


def test_a_full_disk_says_so(repository: Path, small_disk: Path) -> None:
    write(repository / "requirements.txt", "six\nnumpy\n")
    with pytest.raises(PythonEnvironmentError) as caught:
        made(repository, small_disk)
    assert "disk is full" in str(caught.value) or "No space left" in str(caught.value)
    assert environments(small_disk) == []


# --- which Python ---------------------------------------------------------------------------------


def test_the_python_version_comes_from_the_config_then_the_files(repository: Path) -> None:
    def asked(configured: str | None = None) -> str:
        return read_recipe(repository, configured, None).python

    assert asked() == OWN
    conda = write(repository / "environment.yml", "dependencies:\n  - python>=3.9,<3.12\n")
    assert asked() == ">=3.9,<3.12"
    for text, version in {"=3.10": "3.10", "==3.10.4": "3.10.4", " 3.10.*": "3.10"}.items():
        write(conda, f"dependencies:\n  - python{text}\n")
        assert asked() == version
    write(repository / ".python-version", "# pinned\n3.12.1\n")
    assert asked() == "3.12.1"
    assert asked("3.11") == "3.11"


@pytest.mark.functional
def test_an_interpreter_s_path_can_be_configured(repository: Path, workspace: Path) -> None:
    one = made(repository, workspace, configured=sys.executable)
    assert one.version == ".".join(map(str, sys.version_info[:3]))
    noted = json.loads((one.python.parent.parent / "tidegate-ok.json").read_text())
    assert noted["parts"]["the Python version"] == sys.executable


@pytest.mark.functional
def test_a_python_that_is_not_there_is_named_with_the_way_to_get_it(
    repository: Path, workspace: Path
) -> None:
    write(repository / ".python-version", "3.99\n")
    with pytest.raises(PythonEnvironmentError) as caught:
        made(repository, workspace)
    assert (
        caught.value.what == "Python 3.99, which .python-version asks for, is not on this machine"
    )
    assert "uv python install 3.99" in caught.value.next
    with pytest.raises(PythonEnvironmentError, match="/nowhere/python"):
        made(repository, workspace, configured="/nowhere/python")
    assert environments(workspace) == []


# --- interpreters that are named ------------------------------------------------------------------


@pytest.mark.functional
def test_the_option_comes_before_the_repository_s_own_before_a_made_one(
    repository: Path, workspace: Path, tmp_path: Path
) -> None:
    one = made(repository, workspace)
    own = made(repository, tmp_path / "other").python.parent.parent
    (repository / ".venv").symlink_to(own)
    second = found(repository, workspace)
    assert isinstance(second, Interpreter)
    assert second.origin == "repository"
    assert second.python == repository / ".venv/bin/python"  # not resolved, or it is another Python
    for name in (one.python, one.python.parent.parent):
        first = found(repository, workspace, python=str(name))
        assert first == Interpreter(one.python, one.version, "1.16.0", "option")


@pytest.mark.functional
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (None, "does not exist"),
        ("#!/bin/sh\necho hello\n", "not a Python interpreter"),
        ("#!/bin/sh\necho broken >&2; exit 3\n", "broken"),
        ("no program at all", "not a Python interpreter"),
        ('#!/bin/sh\necho \'["3.7.1", "1.0"]\'\n', "need Python 3.8 or newer"),
        ('#!/bin/sh\necho \'["3.11.1", ""]\'\n', "six is not installed"),
    ],
)
def test_an_interpreter_that_cannot_be_used_says_why(
    repository: Path, workspace: Path, tmp_path: Path, script: str | None, expected: str
) -> None:
    python = tmp_path / "python"
    if script is not None:
        python.write_text(script)
        python.chmod(0o755)
    with pytest.raises(PythonEnvironmentError) as caught:
        found(repository, workspace, python=str(python))
    assert expected in str(caught.value)
    assert str(python) in caught.value.what
    assert caught.value.next


def test_a_broken_environment_in_the_repository_is_not_passed_over(
    repository: Path, workspace: Path
) -> None:
    (repository / ".venv/bin").mkdir(parents=True)
    (repository / ".venv/bin/python").symlink_to("/nowhere/python")
    with pytest.raises(PythonEnvironmentError, match="broken link"):
        found(repository, workspace)


# --- requirements that cannot be met --------------------------------------------------------------


def test_a_repository_that_asks_for_nothing(repository: Path, workspace: Path) -> None:
    (repository / "requirements.txt").unlink()
    for ask in (found, made):
        with pytest.raises(PythonEnvironmentError, match="does not list the packages") as caught:
            ask(repository, workspace)
        assert "--python" in caught.value.next


@pytest.mark.functional
@pytest.mark.parametrize(
    ("requirements", "line", "expected"),
    [
        ("six\nnumpy==99.1\n", 2, "no version of numpy==99.1"),
        ("six\n\nno-such-package-of-tidegate\n", 3, "not found in the package registry"),
        ("# comment\nsix seven eight\n", 2, "Couldn't parse"),
        ("six\n-r nowhere.txt\n", 2, "nowhere.txt"),
        ("", None, "Tsdat"),
    ],
)
def test_what_uv_rejects_is_told_with_its_line(
    repository: Path, workspace: Path, requirements: str, line: int | None, expected: str
) -> None:
    file = write(repository / "requirements.txt", requirements)
    with pytest.raises(PythonEnvironmentError) as caught:
        make(repository, workspace)
    assert expected in str(caught.value)
    assert caught.value.where == (f"{file}:{line}" if line else str(file))
    assert "\n" not in caught.value.why
    assert environments(workspace) == []


@pytest.mark.parametrize("text", ["a: [", "just text", "dependencies: 3", "\x00"])
def test_an_environment_yml_that_cannot_be_read(repository: Path, text: str) -> None:
    file = repository / "environment.yml"
    file.write_text(text)
    with pytest.raises(PythonEnvironmentError) as caught:
        read_recipe(repository, None, None)
    assert caught.value.where == str(file)


# --- conda ----------------------------------------------------------------------------------------


def test_conda_s_versions_are_put_in_pip_s_words(repository: Path) -> None:
    (repository / "requirements.txt").unlink()
    specs = {
        "six": "six",
        "six=1.16": "six==1.16.*",
        "six =1.16.*": "six==1.16.*",
        "six==1.16.0": "six==1.16.0",
        "six=1.16.0=py310_0": "six==1.16.0",
        "six 1.16": "six==1.16.*",
        "six>=1.2, <2": "six>=1.2,<2",
        "conda-forge::six": "six",
        "six[version='>1']": "six",
        "six 1.15|1.16": "six",
        "Matplotlib-base>=3": "matplotlib>=3",
    }
    for spec, expected in specs.items():
        write(repository / "environment.yml", f'dependencies:\n  - "{spec}"\n  - pip\n')
        assert list(read_recipe(repository, None, None).conda.values()) == [expected], spec


@pytest.mark.functional
def test_what_only_conda_has_is_left_out_and_named(repository: Path, workspace: Path) -> None:
    (repository / "requirements.txt").unlink()
    write(
        repository / "environment.yml",
        """
        name: pipelines
        channels: [conda-forge]
        dependencies:
          - six=1.16
          - adi_py
          - gcc
          - no-such-package-of-tidegate>=2
          - pip
          - pip:
            - -r more/base.txt
            - ./local
        """,
    )
    write(repository / "more/base.txt", "iniconfig==2.0.0\n")
    write(
        repository / "local/pyproject.toml",
        '[project]\nname = "local-of-tidegate"\nversion = "1"\n',
    )
    write(
        repository / "pipelines/vap/retriever.yaml", "c:\n  classname: tsdat.transform.BinAverage\n"
    )
    write(repository / "pipelines/vap/__init__.py", "import no_such_package_of_tidegate\n")
    said: list[str] = []
    one = make(repository, workspace, package="six", say=said.append)
    assert one.tsdat == "1.16.0"
    listed = subprocess.run(
        [
            one.python,
            "-c",
            "import iniconfig, importlib.metadata as m; m.version('local-of-tidegate')",
        ]
    )
    assert listed.returncode == 0
    left_out = [line for line in said if "only available from conda" in line]
    assert [line.split()[2].rstrip(",") for line in left_out] == [
        "adi_py",
        "gcc",
        "no-such-package-of-tidegate",
    ]
    assert left_out[0].endswith("it is used in pipelines/vap/retriever.yaml:2")
    assert "it does not seem to be used" in left_out[1]
    assert left_out[2].endswith("it is used in pipelines/vap/__init__.py:1")
    names = only_from_conda(repository, workspace, None, None)
    assert names == ("adi_py", "gcc", "no-such-package-of-tidegate"), "what uv found missing, too"
    assert found(repository, workspace) == one
    write(repository / "more/base.txt", "iniconfig==2.0.0 # changed\n")
    assert missing(repository, workspace).endswith("have changed: more/base.txt")


def test_what_depends_on_adi_py(repository: Path) -> None:
    write(
        repository / "a.yaml",
        """
        # classname: tsdat.transform.BinAverage
        x: tsdat.transform.CreateTimeGrid
        y: tsdat.transform_v2.BinAverage
        z: tsdat.transform.NearestNeighbor
        """,
    )
    write(repository / "b.py", "from tsdat.transform import CreateTimeGrid\nimport adi_python\n")
    write(repository / "c.py", "import os\nfrom adi_py import Process\n")
    write(repository / "d.py", "from tsdat.transform import CreateTimeGrid, BinAverage\n")
    write(repository / ".venv/e.py", "import adi_py\n")
    assert dependents(repository, "adi-py") == ["a.yaml:5", "c.py:2", "d.py:1"]


# --- the real thing -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_example_repository_gets_its_tsdat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To compile all of it takes half a minute, and is tested with a small package.
    uv = environment_build._uv
    monkeypatch.setattr(
        environment_build,
        "_uv",
        lambda arguments, *more: uv([a for a in arguments if a != "--compile-bytecode"], *more),
    )
    repository = tmp_path / "repository"
    repository.mkdir()
    write(repository / "requirements.txt", (EXAMPLE / "requirements.txt").read_text())
    one = make(repository, tmp_path)
    assert one.tsdat.startswith("0.10.")
    assert find(repository, tmp_path) == one
