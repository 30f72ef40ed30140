"""Which Python an environment gets, and what is proposed when none works."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.errors import PythonEnvironmentError
from tidegate.workspace import python_choice
from tidegate.workspace.python_choice import first_that_works, last_commit
from tidegate.workspace.recipe import OWN, Recipe, read_recipe

NO_WHEEL = PythonEnvironmentError("no environment", why="netCDF4==1.5 has no usable wheels")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(python_choice, "last_commit", lambda repository: "2023-04-05")
    (tmp_path / "requirements.txt").write_text("tsdat==0.6.2\n")
    return tmp_path


def tried(recipe: Recipe, error: PythonEnvironmentError, works: str = "") -> list[str]:
    """The Pythons that are tried until one works; in brackets where packages may be compiled."""
    found: list[str] = []

    def attempt(one: Recipe, compiling: bool) -> str:
        found.append(f"({one.python})" if compiling else one.python)
        if one.python != works:
            raise error
        return one.python

    if works and works in recipes(recipe):
        assert first_that_works(recipe, attempt, lambda text: None) == works
        return found
    with pytest.raises(PythonEnvironmentError) as failed:
        first_that_works(recipe, attempt, lambda text: None)
    assert "--as-of-last-commit" in failed.value.next
    assert "2023-04-05" in failed.value.next
    return found


def recipes(recipe: Recipe) -> list[str]:
    """The Pythons that may be tried."""
    return [one.python for one in python_choice.recipes_to_try(recipe)]


def test_from_newest_to_oldest_after_our_own(repository: Path) -> None:
    recipe = read_recipe(repository, None, None)
    others = [f"3.{n}" for n in range(13, 7, -1) if f"3.{n}" != OWN[0]]
    assert tried(recipe, NO_WHEEL, works="3.9") == [OWN[0], *others[: others.index("3.9") + 1]]
    all_of_them = [OWN[0], *others]
    assert tried(recipe, NO_WHEEL) == [*all_of_them, *(f"({one})" for one in all_of_them)]


def test_where_an_import_fails_the_same_packages_are_not_installed_again(repository: Path) -> None:
    recipe = read_recipe(repository, "3.10", None)
    broken = PythonEnvironmentError("tsdat cannot be imported in the environment", why="numpy 2")
    assert tried(recipe, broken) == ["3.10"]


def test_a_python_that_is_asked_for_is_the_only_one(repository: Path) -> None:
    (repository / ".python-version").write_text("3.10\n")
    assert tried(read_recipe(repository, None, None), NO_WHEEL, works="3.9") == ["3.10", "(3.10)"]


def test_what_no_python_can_help_is_said_at_once(repository: Path) -> None:
    error = PythonEnvironmentError("no environment", why="tsdatt was not found in the registry")
    assert tried(read_recipe(repository, None, None), error) == [OWN[0], f"({OWN[0]})"]


@pytest.mark.parametrize(
    "name", ["environment.yaml", "conda-environment.yml", "environments/station.yml"]
)
def test_files_for_conda(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("dependencies: [python=3.8, tsdat, adi_py]\n")
    recipe = read_recipe(tmp_path, None, None)
    assert (recipe.source, recipe.python, recipe.conda_only) == (file, "3.8", ("adi_py",))


@pytest.mark.functional
def test_no_commit_no_date(tmp_path: Path) -> None:
    assert last_commit(tmp_path) == ""
