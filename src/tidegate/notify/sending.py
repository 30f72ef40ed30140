"""Sending messages with Apprise; the only module that imports it.

Addresses hold secrets (passwords, tokens), so the config only names where they are: an environment
variable, or ``file:PATH``. They are never written to a log: errors name the variable or the file.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.errors import ConfigurationError, UsageError
from tidegate.runtime.notices.digest import Message

FILE = "file:"


@dataclass(frozen=True)
class Channels:
    """Where messages are sent."""

    sources: tuple[str, ...]
    """The names of variables and files that the addresses came from, in order."""
    addresses: tuple[tuple[str, str], ...]
    """Pairs of a source and an address of Apprise's."""

    def send(self, message: Message) -> tuple[str, ...]:
        """Send to all; returns the sources of those addresses that did not take it."""
        apprise = _apprise()
        failed: list[str] = []
        for source, address in self.addresses:
            one = apprise.Apprise()
            one.add(address)
            if not one.notify(title=message.title, body=message.body, body_format="text"):
                failed.append(source)
        return tuple(dict.fromkeys(failed))


def load_channels(
    sources: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Channels:
    """The addresses that variables and files hold, one a line; ``#`` begins a comment.

    Paths are relative to ``folder``, the folder of the config file.

    Raises:
        ConfigurationError: a variable or a file is missing or empty, or Apprise does not know an
            address.
        UsageError: Apprise is not installed.
    """
    variables = os.environ if environment is None else environment
    apprise = _apprise()
    addresses: list[tuple[str, str]] = []
    for source in sources:
        lines = list(_lines(_content(source, folder, variables)))
        if not lines:
            raise ConfigurationError(
                f"{_named(source)} holds no address",
                why="`notify: to:` names it",
                next="write one address a line, such as mailto://… or slack://… (docs/notify.md)",
            )
        for number, line in enumerate(lines, 1):
            if not apprise.Apprise().add(line):
                raise ConfigurationError(
                    f"address {number} in {_named(source)} is not one that Apprise knows",
                    why="it is not shown here, because it may hold a password",
                    next="compare it with the list at https://appriseit.com/services/",
                )
            addresses.append((source, line))
    return Channels(tuple(sources), tuple(addresses))


def _content(source: str, folder: Path, variables: Mapping[str, str]) -> str:
    if not source.startswith(FILE):
        if source not in variables:
            raise ConfigurationError(
                f"the environment variable {source} is not set",
                why="`notify: to:` names it",
                next=f"set it before `tidegate up`, such as: export {source}='mailto://…'",
            )
        return variables[source]
    path = folder / source.removeprefix(FILE)
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"cannot read {path}", why=str(error), next="`notify: to:` names it: make it readable"
        ) from error


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield stripped


def _named(source: str) -> str:
    return source.removeprefix(FILE) if source.startswith(FILE) else f"the variable {source}"


def _apprise() -> Any:
    if importlib.util.find_spec("apprise") is None:
        raise UsageError(
            "notifications need the Apprise library",
            why="the config has `notify:`, and it is not installed",
            next="pip install 'tidegate[notify]'",
        )
    # Apprise logs addresses at level INFO and below, with passwords hidden only in part.
    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    import apprise

    return apprise
