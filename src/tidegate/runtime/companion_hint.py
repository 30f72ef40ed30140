"""Advice for a failure where a reader looked for a second file beside its input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from tidegate.errors import StorageError
from tidegate.runtime.protocols import Inputs
from tidegate.runtime.runs import Failure, Run

_NAMES = re.compile(r"""['"`]([^'"`]+)['"`]|([^\s'"`:,;()]+\.\w+)""")
_MOST = 8
_SEPARATORS = "_-. "


def with_companion_hint(failure: Failure, run: Run, inputs: Inputs) -> Failure:
    """The failure, with the advice to name companions if it names a file beside the input.

    Only files that a run was given are copied for it, so the reader does not find others.
    """
    if failure.kind not in ("bad-input", "configuration") or not run.inputs:
        return failure
    given = {file.key for file in run.files}
    first: dict[str, str] = {}  # by folder: one is enough, where a run has many inputs
    for input in run.inputs:
        folder, slash, own = input.key.rpartition("/")
        first.setdefault(folder + slash, own)
    try:
        for name in _names_in(failure.message):
            for folder, own in first.items():
                if folder + name not in given and _is_there(inputs, folder + name):
                    return replace(failure, next=_advice(own, name))
    except StorageError:
        pass
    return failure


def _names_in(message: str) -> Iterator[str]:
    found = (m[1] or m[2] for m in _NAMES.finditer(message))
    names = dict.fromkeys(text.rpartition("/")[2].strip() for text in found)
    yield from [name for name in names if name][:_MOST]


def _is_there(inputs: Inputs, key: str) -> bool:
    return any(file.key == key for file in inputs.list(key))


def _advice(own: str, name: str) -> str:
    """What to write: the part that both names begin with becomes a ``*``."""
    same = 0
    while same < min(len(own), len(name)) and own[same] == name[same]:
        same += 1
    while same and own[same - 1] in _SEPARATORS:
        same -= 1
    star = "*" if same else ""
    pattern, companion = star + own[same:], star + name[same:]
    return (
        f"{name} is beside the input, but a run only sees the files that it is given: write "
        f'`companions: {{"{pattern}": ["{companion}"]}}` for this config, then `tidegate retry`'
    )
