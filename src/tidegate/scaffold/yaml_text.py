"""YAML as a person would write it: in a given order, with comments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

MARK = "TODO check"
"""In front of what was guessed, so that an editor's list of TODOs shows it."""


def scalar(value: Any) -> str:
    """One value in YAML, on one line, in quotes where it needs them."""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return f"{value:.1f}"
    if isinstance(value, (list, tuple)):
        value = list(value)
    if isinstance(value, str) and "\\" in value:
        return "'" + value.replace("'", "''") + "'"
    text = yaml.safe_dump(value, width=100_000, allow_unicode=True, default_flow_style=True)
    return str(text).removesuffix("...\n").strip()


def todo(reason: str) -> str:
    """A comment that asks to check something."""
    return f"  # {MARK}: {' '.join(reason.split())}"


def lines(value: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """A mapping as block YAML; lists of plain values stay on one line."""
    blank = " " * indent
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield f"{blank}{scalar(key)}:"
            yield from lines(item, indent + 2)
        else:
            plain = dict(item) if isinstance(item, Mapping) else item
            yield f"{blank}{scalar(key)}: {scalar(plain)}"
