"""Files to be written into a repository: none is overwritten without a yes to its difference."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tidegate.errors import StorageError, UsageError

State = Literal["new", "same", "differs"]
Action = Literal["written", "changed", "replaced", "kept", "unchanged"]
Approve = Callable[["Change"], bool]
"""Shows a change to a person and asks; only called for a file that exists and differs."""


@dataclass(frozen=True)
class Change:
    """One file as it would be."""

    path: Path
    """Where it goes."""
    content: bytes
    """What is in it."""
    before: bytes | None
    """What is there now; None where there is no such file."""

    @property
    def state(self) -> State:
        """How it compares with what is there."""
        if self.before is None:
            return "new"
        # A checkout on Windows may have ended the lines in its own way.
        same = self.before.replace(b"\r\n", b"\n") == self.content.replace(b"\r\n", b"\n")
        return "same" if same else "differs"

    def diff(self) -> Sequence[str]:
        """The lines of a unified difference; one line for files that are not text."""
        try:
            old, new = (self.before or b"").decode(), self.content.decode()
        except UnicodeDecodeError:
            return [f"{self.path} is not text: {len(self.before or b'')} B, {len(self.content)} B"]
        name = str(self.path)
        return [
            line.rstrip("\n")
            for line in difflib.unified_diff(
                old.splitlines(keepends=True), new.splitlines(keepends=True), name, f"{name} (new)"
            )
        ]


def plan(root: Path, contents: Mapping[str, str | bytes]) -> list[Change]:
    """The changes that put these contents below ``root``, by their paths.

    Raises:
        UsageError: a folder or an unreadable file is in the way.
    """
    changes = []
    for name, content in contents.items():
        path = root / name
        data = content.encode() if isinstance(content, str) else content
        try:
            before = path.read_bytes() if os.path.lexists(path) else None
        except OSError as error:
            raise UsageError(
                f"{path} is in the way", why=str(error), next="move it elsewhere, and try again"
            ) from error
        changes.append(Change(path, data, before))
    return changes


def require_approval(changes: Iterable[Change], approve: Approve | None) -> dict[Path, Action]:
    """Ask for each file that exists and differs; nothing is written yet.

    ``approve`` is None where there is nobody to ask.

    Raises:
        UsageError: a file differs, and nobody is there to ask.
    """
    actions: dict[Path, Action] = {}
    differing = [change for change in changes if change.state == "differs"]
    if differing and approve is None:
        raise UsageError(
            f"{_listed(differing)} would be overwritten; nothing was written",
            why="\n".join(line for change in differing for line in change.diff()[:40]),
            next="choose another name, or say --overwrite to replace the files",
        )
    for change in changes:
        if change.state == "differs":
            assert approve is not None
            actions[change.path] = "replaced" if approve(change) else "kept"
        else:
            actions[change.path] = "written" if change.state == "new" else "unchanged"
    return actions


def write(changes: Iterable[Change], actions: Mapping[Path, Action]) -> None:
    """Write what is new or was approved.

    Raises:
        StorageError: a file cannot be written.
    """
    for change in changes:
        if actions[change.path] not in ("written", "changed", "replaced"):
            continue
        try:
            change.path.parent.mkdir(parents=True, exist_ok=True)
            part = change.path.with_name(change.path.name + ".part")
            part.write_bytes(change.content)
            part.replace(change.path)
        except OSError as error:
            raise StorageError(
                f"cannot write {change.path}",
                why=str(error),
                next="make the folder writable, and give the same command again",
            ) from error


def apply(
    changes: Sequence[Change], approve: Approve | None, *, additions: Iterable[str] = ()
) -> dict[Path, Action]:
    """Ask about files that exist and differ, and write what is new or was approved.

    Files named in ``additions`` only get something added, and are written without asking.

    Raises:
        UsageError: a file would be overwritten, and nobody is there to ask.
        StorageError: a file cannot be written.
    """
    names = set(additions)
    actions = require_approval([c for c in changes if c.path.name not in names], approve)
    for change in changes:
        if change.path.name in names:
            before: dict[State, Action] = {"new": "written", "same": "unchanged"}
            actions[change.path] = before.get(change.state, "changed")
    write(changes, actions)
    return actions


def _listed(changes: Sequence[Change]) -> str:
    return ", ".join(str(change.path) for change in changes)
