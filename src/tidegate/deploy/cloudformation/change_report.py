"""Change sets for people (lines of text) and for scripts (JSON); pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tidegate.deploy.cloudformation.changes import Change, ChangeSet, Kind
from tidegate.deploy.resources.registry import resource_type
from tidegate.runtime.records import to_json

Mark = Literal["heading", "danger", "detail", "note"] | Kind

_FEW = 4
_MARKS: Mapping[str, str] = {
    "created": "+",
    "recreated": "+",
    "imported": "+",
    "changed": "~",
    "replaced": "±",
    "perhaps replaced": "±",
    "removed": "-",
}


@dataclass(frozen=True)
class Line:
    """One line of text, and how to show it."""

    text: str
    """The text."""
    mark: Mark
    """What it is about."""


def summary(change_set: ChangeSet) -> str:
    """What happens to the stack, in one line."""
    if change_set.empty:
        return "nothing to change"
    counts = change_set.counts
    if not counts:
        return "no resource changes, only the metadata or outputs of the stack"
    listed = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    danger = len(change_set.endangered)
    if not danger:
        return listed
    return f"{listed}; {danger} of them {'is' if danger == 1 else 'are'} not empty"


def lines(change_set: ChangeSet, *, whole: bool = False) -> Iterator[Line]:
    """The change set for a person, line by line.

    A config that is created or removed completely is one line, unless ``whole`` is set.
    """
    how = {"CREATE": " (new)", "DELETE": " (will be deleted)"}.get(change_set.kind, "")
    yield Line(f"stack {change_set.stack}{how}: {summary(change_set)}", "heading")
    yield from (Line(f"  {note}", "note") for note in change_set.notes)
    shown = [change for change in change_set.changes if change.kind != "unaffected"]
    for config in dict.fromkeys(change.config for change in shown):
        own = [change for change in shown if change.config == config]
        yield from _config_lines(config or "shared by all configs", own, whole)
    rest = len(change_set.changes) - len(shown)
    if rest:
        yield Line(f"  {rest} more are listed by AWS, but do not change", "detail")


def _config_lines(title: str, own: Sequence[Change], whole: bool) -> Iterator[Line]:
    kinds = {change.kind for change in own}
    if whole or len(own) < _FEW or kinds not in ({"created"}, {"removed"}):
        yield Line(f"  {title}", "heading")
        for change in own:
            yield from _change_lines(change)
        return
    kind = own[0].kind
    yield Line(f"  {_MARKS[kind]} {title} ({kind}): {_counts(own)}", kind)
    for change in own:
        if change.endangers or change.kept:
            yield from _change_lines(change)


def _counts(own: Sequence[Change]) -> str:
    counts = Counter(change.type for change in own)
    words = ((resource_type(type), n) for type, n in counts.items())
    return ", ".join(type.label if n == 1 else type.count(n) for type, n in words)


def _change_lines(change: Change) -> Iterator[Line]:
    known = change.name or change.logical
    text = f"    {_MARKS[change.kind]} {change.what} {known}"
    if change.kind not in ("created", "changed"):
        text += f" ({change.kind})"
    if change.lost:
        yield Line(f"{text}: {change.lost}", "danger")
    else:
        yield Line(text + (", kept outside the stack" * change.kept), change.kind)
    if change.why:
        yield Line(f"        because {change.why}", "detail")
    for top in dict.fromkeys(difference.top for difference in change.differences):
        inside = [d for d in change.differences if d.top == top]
        few = inside if len(inside) <= _FEW else inside[: _FEW - 1]
        yield from (Line(f"        {difference}", "detail") for difference in few)
        if len(few) < len(inside):
            yield Line(f"        {top}: {len(inside) - len(few)} more changes", "detail")


def as_data(change_set: ChangeSet) -> dict[str, Any]:
    """The change set as ``--json`` prints it."""
    data = {
        "stack": change_set.stack,
        "kind": change_set.kind,
        "empty": change_set.empty,
        "counts": change_set.counts,
        "notes": list(change_set.notes),
        "changes": [
            {**to_json(change), "what": change.what, "endangers": change.endangers}
            for change in change_set.changes
        ],
    }
    return json.loads(json.dumps(data))  # type: ignore[no-any-return]
