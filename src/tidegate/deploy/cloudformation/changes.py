"""What a change set of CloudFormation does to each resource; pure.

AWS lists a resource as soon as something that it refers to is touched, even if nothing can change
in it: a queue's ARN stays the same when its timeout changes. Such resources are marked as
``unaffected``. Old and new values are read from the two templates, because change sets do not
always contain them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from tidegate.deploy.cloudformation.differences import Difference, differences
from tidegate.deploy.design import placement
from tidegate.deploy.resources.base import EMPTY
from tidegate.deploy.resources.registry import resource_type, shown_name, template_name

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
"""recreated: someone deleted it, and it is created again. perhaps replaced: AWS only decides during
the update. unaffected: AWS lists it, but what it refers to only changes in place."""

_STABLE = {"", "Arn", "Id", "Name", "QueueName", "QueueUrl", "RoleId", "TopicArn", "TopicName"}


@dataclass(frozen=True)
class Change:
    """What a change set does to one resource."""

    kind: Kind
    """The kind of change."""
    logical: str
    """Its logical id: its name in the template."""
    type: str
    """Its type, such as ``AWS::SQS::Queue``."""
    name: str = ""
    """Its name on AWS; "" if it has none that a person would know."""
    config: str = ""
    """The id of the config that it belongs to; "" if all configs share it."""
    differences: tuple[Difference, ...] = ()
    """The properties that change."""
    why: str = ""
    """Why it is replaced or recreated."""
    contents: str = ""
    """What is in it, such as ``12 messages``; ``nothing``; "" if unknown."""
    kept: bool = False
    """Whether it continues to exist outside the stack after it is removed from the stack."""

    @property
    def what(self) -> str:
        """What a person calls such a resource."""
        return resource_type(self.type).label

    @property
    def deletes(self) -> bool:
        """Whether the existing resource is, or may be, deleted."""
        leaves = self.kind in ("removed", "replaced", "perhaps replaced")
        return leaves and not self.kept

    @property
    def endangers(self) -> bool:
        """Whether something that cannot be recreated may be lost."""
        holds = bool(resource_type(self.type).holds)
        return self.deletes and holds and self.contents != EMPTY

    @property
    def lost(self) -> str:
        """What is lost, in words; "" for nothing."""
        if not self.endangers:
            return ""
        return f"{self.contents or f'all its {resource_type(self.type).holds}'} will be lost"


@dataclass(frozen=True)
class ChangeSet:
    """What a deployment does to one stack."""

    stack: str
    """The name of the stack."""
    kind: Literal["CREATE", "UPDATE", "DELETE"]
    """Whether the stack is created, updated or deleted."""
    changes: tuple[Change, ...] = ()
    """In the order of the configs; shared resources come first."""
    id: str = ""
    """The ARN of the change set; "" if there is none to execute, such as when nothing changes."""
    notes: tuple[str, ...] = ()
    """What else a person should know."""
    executable: bool = False
    """Whether there is something to execute, even if only in the stack's metadata or outputs."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.executable

    @property
    def counts(self) -> dict[Kind, int]:
        """How many resources there are of each kind of change, without unaffected ones."""
        kinds: tuple[Kind, ...] = get_args(Kind)
        found = {kind: sum(c.kind == kind for c in self.changes) for kind in kinds}
        return {kind: n for kind, n in found.items() if n and kind != "unaffected"}

    @property
    def endangered(self) -> tuple[Change, ...]:
        """The changes in which something that cannot be recreated may be lost."""
        return tuple(change for change in self.changes if change.endangers)


Template = Mapping[str, Any]


def read(
    stack: str,
    pages: Sequence[Mapping[str, Any]],
    *,
    before: Template | None = None,
    after: Template | None = None,
) -> ChangeSet:
    """The change set in all pages of ``describe_change_set``.

    ``before`` is the deployed template, ``after`` the new one.
    """
    before, after = before or {}, after or {}
    entries = [
        entry["ResourceChange"] for page in pages for entry in page.get("Changes") or () if entry
    ]
    owner = owners(before, after)
    found = [_change(entry, before, after, owner) for entry in entries]
    changes = in_order(_mark_unaffected(found, entries), before, after)
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
    """The change set of a new stack, from its template alone."""
    owner = owners(after)
    changes = [
        Change("created", id, str(resource["Type"]), template_name(resource), owner.get(id, ""))
        for id, resource in after.get("Resources", {}).items()
    ]
    return ChangeSet(
        stack, "CREATE", in_order(changes, {}, after), notes=tuple(notes), executable=True
    )


def removal(
    stack: str, resources: Sequence[Mapping[str, Any]], before: Template | None = None
) -> ChangeSet:
    """What is deleted with a stack; ``resources`` are entries of ``list_stack_resources``."""
    before = before or {}
    owner = owners(before)
    changes = []
    for resource in resources:
        id, kind = str(resource["LogicalResourceId"]), str(resource["ResourceType"])
        if resource.get("ResourceStatus") == "DELETE_COMPLETE":
            continue
        deployed = before.get("Resources", {}).get(id, {})
        physical = str(resource.get("PhysicalResourceId", ""))
        name = template_name(deployed) or shown_name(kind, physical)
        kept = deployed.get("DeletionPolicy") in ("Retain", "RetainExceptOnCreate")
        changes.append(Change("removed", id, kind, name, owner.get(id, ""), kept=kept))
    return ChangeSet(stack, "DELETE", in_order(changes, before, {}), executable=True)


def owners(*templates: Template) -> dict[str, str]:
    """The config that each resource belongs to, by logical id; shared resources are left out.

    Tags say so. Resources without tags have logical ids that begin with the config's id.
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
            tags = _tag_mapping(tags)
            own = f"{tags.get('pipeline', '')}/{tags.get('config', '')}"
            if own in configs:
                found[logical] = own
            else:
                matching = [id for prefix, id in prefixes if logical.startswith(prefix)]
                found |= {logical: matching[0]} if matching else {}
    return found


def _tag_mapping(tags: Any) -> dict[str, Any]:
    """Tags as a template has them: a list of pairs or a mapping, depending on the type."""
    if isinstance(tags, Mapping):
        return dict(tags)
    return {tag["Key"]: tag.get("Value") for tag in tags or () if isinstance(tag, Mapping)}


def with_contents(change_set: ChangeSet, contents: Mapping[str, str]) -> ChangeSet:
    """The change set, with the contents of some resources, by logical id."""
    changes = tuple(
        replace(change, contents=contents.get(change.logical, change.contents))
        for change in change_set.changes
    )
    return replace(change_set, changes=changes)


def with_recreated(change_set: ChangeSet, recreated: Mapping[str, Change]) -> ChangeSet:
    """The change set, with resources that are recreated, by logical id."""
    others = [change for change in change_set.changes if change.logical not in recreated]
    found = [*others, *recreated.values()]
    return replace(change_set, changes=_sorted(found, _configs(found)), executable=True)


def _configs(changes: Iterable[Change]) -> list[str]:
    return list(dict.fromkeys(change.config for change in changes))


def in_order(changes: Iterable[Change], before: Template, after: Template) -> tuple[Change, ...]:
    """Shared resources first, then config by config in the order of the templates."""
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
        template_name(new)
        or template_name(old)
        or shown_name(kind, str(entry.get("PhysicalResourceId", "")))
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
    how: Kind = {"True": "replaced", "Conditional": "perhaps replaced"}.get(  # type: ignore[assignment]
        str(entry.get("Replacement", "Conditional" if action == "Dynamic" else "")), "changed"
    )
    return replace(change, kind=how, differences=tuple(differences(old, new)), kept=kept)


@dataclass(frozen=True)
class _Detail:
    """One reason why AWS lists a resource in the change set."""

    attribute: str
    name: str
    recreation: str
    static: bool
    source: str
    cause: str = ""

    @classmethod
    def from_record(cls, entry: Mapping[str, Any]) -> _Detail:
        target = entry.get("Target", {})
        return cls(
            attribute=str(target.get("Attribute", "")),
            name=str(target.get("Name", "")),
            recreation=str(target.get("RequiresRecreation", "Never")),
            static=entry.get("Evaluation") == "Static",
            source=str(entry.get("ChangeSource", "")),
            cause=str(entry.get("CausingEntity", "")),
        )


def _mark_unaffected(found: Sequence[Change], entries: Sequence[Mapping[str, Any]]) -> list[Change]:
    """The changes, with those that have no effect marked as unaffected.

    A reference to a resource that only changes in place has no effect; this is repeated until
    nothing more can be ruled out, because other resources may refer to the unaffected one.
    """
    details = [[_Detail.from_record(d) for d in entry.get("Details") or ()] for entry in entries]
    kinds: dict[str, Kind] = {change.logical: change.kind for change in found}
    while True:
        settled = [_check_effect(change, own, kinds) for change, own in zip(found, details)]
        now = {change.logical: change.kind for change in settled}
        if now == kinds:
            return settled
        kinds = now


def _check_effect(change: Change, details: Sequence[_Detail], kinds: Mapping[str, Kind]) -> Change:
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
    """What makes a replacement necessary, in words."""
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
        if (
            change.kind == "replaced"
            and template_name(new)
            and template_name(old) == template_name(new)
        ):
            yield (
                f"AWS will refuse to replace the {change.what} {change.name}: two with the same"
                " name cannot exist. Remove its config in one deployment, and add it again in the"
                " next"
            )
