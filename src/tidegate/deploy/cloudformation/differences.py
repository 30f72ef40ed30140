"""What is different between two versions of a resource, path by path; pure."""

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
    """Where: ``Environment.Variables.CODE_VERSION``."""
    before: str
    """What it was, shortened; "" where there was nothing."""
    after: str
    """What it will be, shortened; "" where there is nothing."""

    @property
    def top(self) -> str:
        """The property that it is in."""
        return re.split(r"[.\[]", self.path, maxsplit=1)[0]

    def __str__(self) -> str:
        if not self.before and not self.after:
            return f"{self.path} changes"
        if not self.before:
            return f"{self.path}: {self.after} (new)"
        if not self.after:
            return f"{self.path}: {self.before} goes"
        return f"{self.path}: {self.before} -> {self.after}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """What is different between two versions of a resource of a template.

    JSON in strings (a dashboard, the manifest of a function) is looked into as well.
    """
    yield from _walk("", before.get("Properties", {}), after.get("Properties", {}))
    for name in _ATTRIBUTES:
        yield from _walk(name, before.get(name, _ABSENT), after.get(name, _ABSENT))


def _walk(path: str, old: Any, new: Any) -> Iterator[Difference]:
    if old == new:
        return
    old, new = _opened(old, new)
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
        # Cut short, the two may look the same: then it is enough to say that they differ.
        yield Difference(path, *(("", "") if shown == will else (shown, will)))


def _opened(old: Any, new: Any) -> tuple[Any, Any]:
    """The two, with JSON that is in strings taken out of them."""
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
    """A value in little room: digests cut, what is referred to by its name."""
    if value is _ABSENT or value is None:
        return ""
    if isinstance(value, Mapping) and _function(value):
        [(function, of)] = value.items()
        if function == "Ref":
            return f"that of {of}"
        if function == "Fn::GetAtt":
            return f"the {of[-1]} of {of[0]}" if isinstance(of, list) else f"that of {of}"
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    text = re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1…", text)
    text = text.replace("\n", " ")
    if len(text) <= _LONG:
        return text or '""'
    # Names differ at their ends: both are kept.
    return f"{text[: _LONG // 2]}…{text[-(_LONG // 2) :]}"
