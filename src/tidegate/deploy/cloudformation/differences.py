"""The differences between two versions of a resource, path by path; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LONG = 72
_ABSENT = object()
_ATTRIBUTES = ("DeletionPolicy", "UpdateReplacePolicy", "CreationPolicy", "UpdatePolicy")


@dataclass(frozen=True)
class Difference:
    """One value that is different."""

    path: str
    """The path to it, such as ``Environment.Variables.CODE_VERSION``."""
    before: str
    """The old value, shortened; "" if there was none."""
    after: str
    """The new value, shortened; "" if there is none."""

    @property
    def top(self) -> str:
        """The property that contains it."""
        return re.split(r"[.\[]", self.path, maxsplit=1)[0]

    def __str__(self) -> str:
        if not self.before and not self.after:
            return f"{self.path} changes"
        if not self.before:
            return f"{self.path}: {self.after} (new)"
        if not self.after:
            return f"{self.path}: {self.before} is removed"
        return f"{self.path}: {self.before} -> {self.after}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The differences between two versions of a resource of a template.

    JSON in strings (a dashboard, the manifest of a function) is compared as JSON.
    """
    yield from _walk("", before.get("Properties", {}), after.get("Properties", {}))
    for name in _ATTRIBUTES:
        yield from _walk(name, before.get(name, _ABSENT), after.get(name, _ABSENT))


def _walk(path: str, old: Any, new: Any) -> Iterator[Difference]:
    if old == new:
        return
    old, new = _parse_json(old, new)
    if isinstance(old, Mapping) and isinstance(new, Mapping) and not _function(old, new):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from _walk(inner, old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif _lists(old, new) and len(old) == len(new):
        if all("Key" in item for item in (*old, *new) if isinstance(item, Mapping)) and all(
            isinstance(item, Mapping) for item in (*old, *new)
        ):
            yield from _walk(path, _by_key(old), _by_key(new))
            return
        for number, pair in enumerate(zip(old, new)):
            yield from _walk(f"{path}[{number}]", *pair)
    else:
        shown, will = short(old), short(new)
        # Shortened, the two may look the same: then only say that they differ.
        yield Difference(path, *(("", "") if shown == will else (shown, will)))


def _parse_json(old: Any, new: Any) -> tuple[Any, Any]:
    """The two values, parsed if both are JSON in strings."""
    if isinstance(old, str) and isinstance(new, str) and old[:1] == new[:1] and old[:1] in "{[":
        try:
            return json.loads(old), json.loads(new)
        except ValueError:
            return old, new
    return old, new


def _function(*values: Mapping[str, Any]) -> bool:
    """Whether one of them is an intrinsic function of CloudFormation."""
    return any(
        len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::")) for value in values
    )


def _lists(*values: Any) -> bool:
    return all(isinstance(value, Sequence) and not isinstance(value, str) for value in values)


def _by_key(tags: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {str(tag["Key"]): tag.get("Value") for tag in tags}


def short(value: Any) -> str:
    """A value shortened for display; references are shown by name."""
    if value is _ABSENT or value is None:
        return ""
    if isinstance(value, Mapping) and _function(value):
        [(function, of)] = value.items()
        if function == "Ref":
            return f"reference to {of}"
        if function == "Fn::GetAtt":
            return f"{of[-1]} of {of[0]}" if isinstance(of, list) else f"reference to {of}"
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    text = re.sub("sha256:0{64}", "not built yet", text)
    text = re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1…", text)
    text = text.replace("\n", " ")
    if len(text) <= _LONG:
        return text or '""'
    # Names differ at their ends: keep both ends.
    return f"{text[: _LONG // 2]}…{text[-(_LONG // 2) :]}"
