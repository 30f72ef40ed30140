"""What a change set of CloudFormation does, in words a person understands; pure.

    change_set = read(name, pages, before=old, after=new)   plain records
    print(describe(change_set))                             grouped by config

AWS lists a resource as soon as something that it refers to is touched, even when nothing can come
of it: a queue's ARN stays the same when its timeout changes. Such resources are told apart (kind
``unaffected``), so that what is left is what really happens. Values come from the two templates,
so that they are there whatever the change set says of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from tidegate.deploy.cloudformation.differences import Difference, differences
from tidegate.deploy.design import placement
from tidegate.deploy.resources.kinds import HOLDS, NOTHING, name_from, own_name, tags_of, word
from tidegate.runtime.records import to_json

Kind = Literal[
    "created",
    "recreated",
    "imported",
    "changed",
    "replaced",
    "perhaps replaced",
    "removed",
    "unaffected",
]
"""recreated: it was deleted by hand, and is made again. perhaps replaced: AWS knows only when it
comes to it. unaffected: AWS lists it, but what it refers to only changes in place."""
Mark = Literal["heading", "danger", "detail", "note"] | Kind

_STABLE = {"", "Arn", "Id", "Name", "QueueName", "QueueUrl", "RoleId", "TopicArn", "TopicName"}
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
class Change:
    """What happens to one resource."""

    kind: Kind
    """What, in one word."""
    logical: str
    """Its id in the template."""
    type: str
    """Its type, such as ``AWS::SQS::Queue``."""
    name: str = ""
    """Its name on AWS; "" where it has none that a person would know."""
    config: str = ""
    """The id of the config that it belongs to; "" for what all share."""
    differences: tuple[Difference, ...] = ()
    """What is different in it."""
    why: str = ""
    """Why it is replaced, or made again."""
    contents: str = ""
    """What it holds, such as ``12 messages``; ``nothing``; "" when that is not known."""
    kept: bool = False
    """Whether it goes on to exist outside the stack, when it is removed from it."""

    @property
    def what(self) -> str:
        """What a person calls such a resource."""
        return word(self.type)

    @property
    def goes(self) -> bool:
        """Whether what is there now is, or may be, deleted."""
        leaves = self.kind in ("removed", "replaced", "perhaps replaced")
        return leaves and not self.kept

    @property
    def endangers(self) -> bool:
        """Whether it may take something along that cannot be made again."""
        return self.goes and self.type in HOLDS and self.contents != NOTHING

    @property
    def lost(self) -> str:
        """What is lost with it, in words; "" for nothing."""
        if not self.endangers:
            return ""
        return f"{self.contents or f'all its {HOLDS[self.type]}'} will be lost"


@dataclass(frozen=True)
class ChangeSet:
    """What a deployment does to one stack."""

    stack: str
    """The name of the stack."""
    kind: Literal["CREATE", "UPDATE", "DELETE"]
    """Whether the stack is new, exists, or goes."""
    changes: tuple[Change, ...] = ()
    """In the order of the configs; what all share comes first."""
    id: str = ""
    """The ARN of the change set; "" where AWS has none to execute, as when nothing changes."""
    notes: tuple[str, ...] = ()
    """What a person should know besides."""
    executable: bool = False
    """Whether there is something to execute, if only in what the stack says of itself."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.executable

    @property
    def counts(self) -> dict[Kind, int]:
        """How many resources of each kind of change, without those that are not affected."""
        kinds: tuple[Kind, ...] = get_args(Kind)
        found = {kind: sum(c.kind == kind for c in self.changes) for kind in kinds}
        return {kind: n for kind, n in found.items() if n and kind != "unaffected"}

    @property
    def endangered(self) -> tuple[Change, ...]:
        """The changes that a person must look at twice."""
        return tuple(change for change in self.changes if change.endangers)


@dataclass(frozen=True)
class Line:
    """One line for a person, and how to show it."""

    text: str
    """The line."""
    mark: Mark
    """What it is about."""


Template = Mapping[str, Any]


def read(
    stack: str,
    pages: Sequence[Mapping[str, Any]],
    *,
    before: Template | None = None,
    after: Template | None = None,
) -> ChangeSet:
    """The change set that all pages of ``describe_change_set`` tell of.

    ``before`` is the template that is deployed, ``after`` the one that is to be.
    """
    before, after = before or {}, after or {}
    entries = [
        entry["ResourceChange"] for page in pages for entry in page.get("Changes") or () if entry
    ]
    owner = owners(before, after)
    found = [_change(entry, before, after, owner) for entry in entries]
    changes = in_order(_settled(found, entries), before, after)
    first = pages[0] if pages else {}
    kind: Literal["CREATE", "UPDATE"] = (
        "UPDATE" if before or first.get("ChangeSetType") == "UPDATE" else "CREATE"
    )
    return ChangeSet(
        stack=stack,
        kind=kind,
        changes=changes,
        id=str(first.get("ChangeSetId", "")),
        notes=tuple(_notes(changes, before, after)),
        executable=first.get("ExecutionStatus") == "AVAILABLE",
    )


def created(stack: str, after: Template, notes: Sequence[str] = ()) -> ChangeSet:
    """The change set of a stack that is made anew, told from its template alone."""
    owner = owners(after)
    changes = [
        Change("created", id, str(resource["Type"]), own_name(resource), owner.get(id, ""))
        for id, resource in after.get("Resources", {}).items()
    ]
    return ChangeSet(
        stack, "CREATE", in_order(changes, {}, after), notes=tuple(notes), executable=True
    )


def removal(
    stack: str, resources: Sequence[Mapping[str, Any]], before: Template | None = None
) -> ChangeSet:
    """What goes with a stack; ``resources`` are the summaries of ``list_stack_resources``."""
    before = before or {}
    owner = owners(before)
    changes = []
    for resource in resources:
        id, kind = str(resource["LogicalResourceId"]), str(resource["ResourceType"])
        if resource.get("ResourceStatus") == "DELETE_COMPLETE":
            continue
        told = before.get("Resources", {}).get(id, {})
        name = own_name(told) or name_from(kind, str(resource.get("PhysicalResourceId", "")))
        kept = told.get("DeletionPolicy") in ("Retain", "RetainExceptOnCreate")
        changes.append(Change("removed", id, kind, name, owner.get(id, ""), kept=kept))
    return ChangeSet(stack, "DELETE", in_order(changes, before, {}), executable=True)


def owners(*templates: Template) -> dict[str, str]:
    """The config that each resource belongs to, by logical id; what all share is left out.

    The tags say so. What takes no tags is known by its logical id, which the CDK begins with the
    name of the config's scope.
    """
    found: dict[str, str] = {}
    for template in templates:
        configs = template.get("Metadata", {}).get(placement.METADATA, {}).get("configs", ())
        prefixes = sorted(
            ((re.sub(r"[^A-Za-z0-9]", "", id), id) for id in configs),
            key=lambda pair: -len(pair[0]),
        )
        for logical, resource in template.get("Resources", {}).items():
            tags = resource.get("Properties", {}).get("Tags")
            told = tags_of(tags)
            own = f"{told.get('pipeline', '')}/{told.get('config', '')}"
            if own in configs:
                found[logical] = own
            else:
                matching = [id for prefix, id in prefixes if logical.startswith(prefix)]
                found |= {logical: matching[0]} if matching else {}
    return found


def with_contents(change_set: ChangeSet, contents: Mapping[str, str]) -> ChangeSet:
    """The change set, with what is known to be in some resources, by logical id."""
    changes = tuple(
        replace(change, contents=contents.get(change.logical, change.contents))
        for change in change_set.changes
    )
    return replace(change_set, changes=changes)


def with_recreated(change_set: ChangeSet, gone: Mapping[str, Change]) -> ChangeSet:
    """The change set, with resources that are made again, by logical id."""
    others = [change for change in change_set.changes if change.logical not in gone]
    found = [*others, *gone.values()]
    return replace(change_set, changes=_sorted(found, _configs(found)), executable=True)


def _configs(changes: Iterable[Change]) -> list[str]:
    return list(dict.fromkeys(change.config for change in changes))


def in_order(changes: Iterable[Change], before: Template, after: Template) -> tuple[Change, ...]:
    """The shared ones first, then config by config in the order of the templates."""
    known = [
        str(id)
        for template in (after, before)
        for id in template.get("Metadata", {}).get(placement.METADATA, {}).get("configs", ())
    ]
    return _sorted(list(changes), list(dict.fromkeys(known)))


def _sorted(changes: Sequence[Change], configs: Sequence[str]) -> tuple[Change, ...]:
    places = {id: n for n, id in enumerate(["", *(id for id in configs if id)])}
    return tuple(
        sorted(changes, key=lambda c: (places.get(c.config, len(places)), c.config, c.logical))
    )


def _change(
    entry: Mapping[str, Any], before: Template, after: Template, owner: Mapping[str, str]
) -> Change:
    id, action = str(entry["LogicalResourceId"]), entry.get("Action")
    old = before.get("Resources", {}).get(id, {})
    new = after.get("Resources", {}).get(id, {})
    kind = str(entry.get("ResourceType") or new.get("Type") or old.get("Type", ""))
    name = (
        own_name(new) or own_name(old) or name_from(kind, str(entry.get("PhysicalResourceId", "")))
    )
    change = Change("unaffected", id, kind, name, owner.get(id, ""))
    if action == "Add":
        return replace(change, kind="created")
    if action == "Import":
        return replace(change, kind="imported")
    policy = str(entry.get("PolicyAction", ""))
    kept = policy.endswith("Retain")
    if action == "Remove":
        return replace(change, kind="removed", kept=kept)
    if action == "SyncWithActual":
        return change
    told = tuple(differences(old, new))
    how: Kind = {"True": "replaced", "Conditional": "perhaps replaced"}.get(  # type: ignore[assignment]
        str(entry.get("Replacement", "Conditional" if action == "Dynamic" else "")), "changed"
    )
    return replace(change, kind=how, differences=told, kept=kept)


@dataclass(frozen=True)
class _Detail:
    """One reason why a resource is in the change set."""

    attribute: str
    name: str
    recreation: str
    static: bool
    source: str
    cause: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> _Detail:
        target = entry.get("Target", {})
        return cls(
            attribute=str(target.get("Attribute", "")),
            name=str(target.get("Name", "")),
            recreation=str(target.get("RequiresRecreation", "Never")),
            static=entry.get("Evaluation") == "Static",
            source=str(entry.get("ChangeSource", "")),
            cause=str(entry.get("CausingEntity", "")),
        )


def _settled(found: Sequence[Change], entries: Sequence[Mapping[str, Any]]) -> list[Change]:
    """The changes, once it is settled which of them come to nothing.

    What refers to a resource that only changes in place is not affected by it; so neither is what
    refers to that, and so on.
    """
    details = [[_Detail.of(d) for d in entry.get("Details") or ()] for entry in entries]
    kinds: dict[str, Kind] = {change.logical: change.kind for change in found}
    while True:
        settled = [_settle(change, own, kinds) for change, own in zip(found, details)]
        now = {change.logical: change.kind for change in settled}
        if now == kinds:
            return settled
        kinds = now


def _settle(change: Change, details: Sequence[_Detail], kinds: Mapping[str, Kind]) -> Change:
    if change.kind not in ("changed", "replaced", "perhaps replaced") or not details:
        return change
    touched = {difference.top for difference in change.differences}

    def counts(detail: _Detail) -> bool:
        if detail.static:
            return True
        if detail.source == "DirectModification":
            return detail.name in touched
        cause, _, attribute = detail.cause.partition(".")
        return kinds.get(cause) not in ("changed", "unaffected") or attribute not in _STABLE

    real = [detail for detail in details if counts(detail)]
    if not real:
        return replace(change, kind="unaffected")
    forcing = [detail for detail in real if detail.recreation != "Never"]
    if change.kind == "perhaps replaced" and not forcing:
        return replace(change, kind="changed")
    if change.kind == "changed":
        return change
    return replace(change, why=_why(forcing))


def _why(forcing: Sequence[_Detail]) -> str:
    """What forces a replacement, in words."""
    reasons: dict[str, list[str]] = {}
    for name in dict.fromkeys(detail.name or detail.attribute for detail in forcing):
        own = [d for d in forcing if (d.name or d.attribute) == name]
        causes = [d.cause for d in own if d.cause and d.source != "ParameterReference"]
        can = "cannot" if any(d.recreation == "Always" for d in own) else "cannot always"
        reasons.setdefault(can, []).append(f"{name} (from {causes[0]})" if causes else name)
    return "; ".join(
        f"{', '.join(names)} {can} be changed in place" for can, names in reasons.items()
    )


def _notes(changes: Sequence[Change], before: Template, after: Template) -> Iterator[str]:
    for change in changes:
        old = before.get("Resources", {}).get(change.logical, {})
        new = after.get("Resources", {}).get(change.logical, {})
        if change.kind == "replaced" and own_name(new) and own_name(old) == own_name(new):
            yield (
                f"AWS will refuse to replace the {change.what} {change.name}: two of one name"
                " cannot exist. Take its config out in one deployment, and put it back in the next"
            )


def summary(change_set: ChangeSet) -> str:
    """In one line, what happens to the stack."""
    if change_set.empty:
        return "nothing to change"
    counts = change_set.counts
    if not counts:
        return "no resource changes, only what the stack says of itself"
    told = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    danger = len(change_set.endangered)
    if not danger:
        return told
    return f"{told}; {danger} of them {'holds' if danger == 1 else 'hold'} something"


def lines(change_set: ChangeSet, *, whole: bool = False) -> Iterator[Line]:
    """The change set for a person, line by line.

    A config that comes or goes altogether is one line, unless the ``whole`` is asked for.
    """
    how = {"CREATE": " (new)", "DELETE": " (goes)"}.get(change_set.kind, "")
    yield Line(f"stack {change_set.stack}{how}: {summary(change_set)}", "heading")
    yield from (Line(f"  {note}", "note") for note in change_set.notes)
    shown = [change for change in change_set.changes if change.kind != "unaffected"]
    for config in dict.fromkeys(change.config for change in shown):
        own = [change for change in shown if change.config == config]
        yield from _config_lines(config or "shared by all configs", own, whole)
    rest = len(change_set.changes) - len(shown)
    if rest:
        yield Line(f"  {rest} more are looked at, and stay as they are", "detail")


def _config_lines(title: str, own: Sequence[Change], whole: bool) -> Iterator[Line]:
    kinds = {change.kind for change in own}
    if whole or len(own) < _FEW or kinds not in ({"created"}, {"removed"}):
        yield Line(f"  {title}", "heading")
        for change in own:
            yield from _change_lines(change)
        return
    kind = own[0].kind
    yield Line(f"  {_MARKS[kind]} {title} ({kind}): {_counted(own)}", kind)
    for change in own:
        if change.endangers or change.kept:
            yield from _change_lines(change)


def _counted(own: Sequence[Change]) -> str:
    counts: dict[str, int] = {}
    for change in own:
        counts[change.what] = counts.get(change.what, 0) + 1
    return ", ".join(what if n == 1 else f"{n} {_plural(what)}" for what, n in counts.items())


def _plural(what: str) -> str:
    return f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"


def _change_lines(change: Change) -> Iterator[Line]:
    known = change.name or change.logical
    text = f"    {_MARKS[change.kind]} {change.what} {known}"
    if change.kind not in ("created", "changed"):
        text += f" ({change.kind})"
    if change.lost:
        yield Line(f"{text}: {change.lost}", "danger")
    else:
        yield Line(text + (", which is kept outside the stack" * change.kept), change.kind)
    if change.why:
        yield Line(f"        since {change.why}", "detail")
    for top in dict.fromkeys(difference.top for difference in change.differences):
        inside = [d for d in change.differences if d.top == top]
        few = inside if len(inside) <= _FEW else inside[: _FEW - 1]
        yield from (Line(f"        {difference}", "detail") for difference in few)
        if len(few) < len(inside):
            yield Line(f"        {top}: {len(inside) - len(few)} more changes", "detail")


def describe(change_set: ChangeSet, *, whole: bool = False) -> str:
    """The change set for a person's eyes, as text."""
    return "\n".join(line.text for line in lines(change_set, whole=whole)) + "\n"


def as_data(change_set: ChangeSet) -> dict[str, Any]:
    """The change set as ``--json`` gives it."""
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
