"""Turn the messages of uv, when it cannot make an environment, into errors of Tidegate.

Used for environments on this machine and in images.
"""

from __future__ import annotations

import re

from tidegate.errors import PythonEnvironmentError
from tidegate.workspace.recipe import Recipe

_LONGEST = 900


class NotOnPyPI(Exception):
    """environment.yml lists packages for conda that PyPI does not have."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = names


def explain(message: str, recipe: Recipe) -> NotOnPyPI | PythonEnvironmentError:
    """The error for a message of uv."""
    one_line = re.sub(r"\s*\n[\s│╰─▶×]*", " ", message)  # uv wraps at the terminal's width
    missing = {
        _normalize(name)
        for name in re.findall(r"([\w.-]+) was not found in the package registry", one_line)
    }
    from_conda = frozenset(name for name in recipe.conda if _normalize(name) in missing)
    if from_conda:
        return NotOnPyPI(from_conda)
    if "os error 28" in message or "No space left" in message:
        return PythonEnvironmentError(
            "the environment cannot be made", why="the disk is full", next="free some space"
        )
    if "valid exclude-newer value" in message:
        return PythonEnvironmentError(
            f"exclude_newer is {recipe.exclude_newer!r}, which is not a date",
            next="write a date such as 2024-01-31",
        )
    return PythonEnvironmentError(
        f"the environment cannot be made from {recipe.source.name}",
        why=shorten(message),
        next="correct the requirements, or use another interpreter with --python",
        where=recipe.where(message),
    )


def shorten(message: str) -> str:
    """The error in a message of uv on one line, without hints and tracebacks."""
    lines = [line for line in message.splitlines() if not line.startswith(("Using ", "warning:"))]
    start = next((n for n, text in enumerate(lines) if re.match(r"\s*(error:|×)", text)), 0)
    kept: list[str] = []
    for line in lines[start:]:
        if re.match(r"\s*(hint:|\[stderr\]|\[stdout\])", line):
            break
        kept.append(re.sub(r"^\s*(error:|cause:|Caused by:|[×│╰─▶├]+)?[ │╰─▶]*", "", line))
    last = re.findall(r"^\s*((?:\w+\.)*\w*Error: .*)$", message, re.MULTILINE)
    if last and "build" in " ".join(kept).lower():
        kept.append(last[-1])
    text = " ".join(" ".join(kept).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _normalize(name: str) -> str:
    """The normalized name of a package."""
    return re.sub(r"[-_.]+", "-", name).lower()
