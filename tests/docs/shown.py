"""The commands that documents show: in blocks, and in running text."""

from __future__ import annotations

import ast
import functools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main
from typer.core import TyperGroup

from tidegate.cli import make_app

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "deploying.md"
TEMPLATES = ROOT / "src" / "tidegate" / "scaffold" / "deployment" / "templates"
MARKS = ("needs an account", "needs Docker")
"""What may stand behind ``#`` at the end of a line that no test runs."""

_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(tidegate(?: [^`]+)?)`")


@dataclass(frozen=True)
class Line:
    """A command as a document shows it."""

    document: str
    command: str
    mark: str = ""
    """Why no test runs it."""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.command)

    @property
    def ours(self) -> bool:
        return self.words[:1] == ["tidegate"]


def console(document: Path) -> Iterator[Line]:
    """The lines of ``console`` blocks, each after a ``$``."""
    for language, block in _BLOCK.findall(document.read_text("utf-8")):
        if language == "console":
            for line in block.splitlines():
                before, dollar, command = line.partition("$ ")
                assert dollar, f"{document.name}: {line!r} is no command"
                assert not before.strip(), f"{document.name}: {line!r} is no command"
                yield _line(document, command)


def scripts(document: Path) -> Iterator[Line]:
    """The lines of ``sh`` blocks; comments there say what they are for."""
    for language, block in _BLOCK.findall(document.read_text("utf-8")):
        if language == "sh":
            for line in block.splitlines():
                yield Line(document.name, line.partition(" # ")[0].strip())


def inline(document: Path) -> Iterator[Line]:
    """What is called ``tidegate …`` in running text."""
    text = _BLOCK.sub("", document.read_text("utf-8"))
    for command in _INLINE.findall(text):
        yield Line(document.name, " ".join(command.split()))


def messages(source: Path) -> Iterator[Line]:
    """What the texts in a module call ``tidegate …``; what is filled in stands as X."""
    tree = ast.parse(source.read_text("utf-8"))
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values
            )
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            text = node.value
        else:
            continue
        for command in _INLINE.findall(text):
            yield Line(source.name, " ".join(command.split()))


def _line(document: Path, command: str) -> Line:
    command, _, mark = command.partition(" # ")
    return Line(document.name, command.strip(), mark.strip())


@functools.cache
def _command_line() -> Any:
    """All commands; made once, for that takes a while."""
    return typer.main.get_command(make_app())


def fault(words: list[str], *, whole: bool) -> str:
    """What Tidegate's command line would say against it; "" for nothing.

    ``whole`` commands have all that they need; in running text, arguments may be left out.
    """
    command: Any = _command_line()
    rest = words[1:]
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"there is no command {rest[0]}"
        command = command.commands[rest[0]]
        rest = rest[1:]
    options = {o for param in command.params for o in (*param.opts, *param.secondary_opts)}
    for word in rest:
        name = word.partition("=")[0]
        if name.startswith("-") and name not in options | {"--help", "-h", "-", "--"}:
            return f"`tidegate {command.name}` has no option {name}"
    if not whole:
        return ""
    try:
        command.make_context(command.name, [*rest])
    except Exception as error:  # click's own, in whichever place it lies
        return str(getattr(error, "message", error))
    return ""
