"""Recreating resources that someone deleted outside CloudFormation; pure.

CloudFormation compares templates, not what exists: deploying the same template again does not
recreate a deleted resource, and a change to it fails. AWS's knowledge centre advises to change its
logical id (*How do I recreate a resource that was deleted outside of CloudFormation?*). That does
not work for resources with fixed names: CloudFormation would create the new one, then delete the
old one, which has the same name.

Two updates work for all of them. The first removes the resource from the deployed template, which
succeeds because there is nothing to delete. The second deploys the intended template, which
contains it. In between, references to the missing resource are replaced by its value. This changes
nothing in what refers to it, so nothing that holds data is deleted, and a rule continues to receive
events. Only resources that are useless without the missing one (a policy of a missing queue, the
mapping to a missing function) are recreated as well: they may be missing too.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.resources.registry import resource_type
from tidegate.errors import TidegateError


@dataclass(frozen=True)
class ReducedTemplate:
    """A deployed template without the resources that are missing."""

    template: Mapping[str, Any]
    """The template."""
    dependents: tuple[str, ...]
    """Logical ids of existing resources that are removed too, and recreated with the missing."""


def remove_missing(
    template: Mapping[str, Any],
    missing: Collection[str],
    physical: Mapping[str, str],
    place: Place,
) -> ReducedTemplate:
    """The deployed ``template`` without the ``missing`` resources (logical ids).

    ``physical`` has the physical id of each resource.

    Raises:
        TidegateError: something refers to a missing resource by a value that is not known.
    """
    resources: Mapping[str, Any] = template.get("Resources", {})
    removed = set(missing)
    while True:
        more = {
            id
            for id, resource in resources.items()
            if id not in removed and _is_useless(resource, removed, resources)
        }
        if not more:
            break
        removed |= more
    values = _Values(removed, resources, physical, place)
    kept = {
        id: values.fill_in(id, copy.deepcopy(resource))
        for id, resource in resources.items()
        if id not in removed
    }
    reduced = {**template, "Resources": kept}
    if "Outputs" in template:
        reduced["Outputs"] = {
            name: output
            for name, output in template["Outputs"].items()
            if not removed & set(references(output))
        }
    dependents = tuple(id for id in resources if id in removed and id not in missing)
    return ReducedTemplate(reduced, dependents)


def _is_useless(resource: Any, removed: Collection[str], resources: Mapping[str, Any]) -> bool:
    """Whether a resource is useless without those that are removed."""
    needs = resource_type(resource["Type"]).useless_without
    return any(
        target in removed and resources[target]["Type"] in needs for target in references(resource)
    )


def references(value: Any) -> Iterator[str]:
    """The logical ids that a part of a template refers to."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "Ref" and isinstance(inner, str):
                yield inner
            elif key == "Fn::GetAtt":
                yield str(inner).split(".")[0] if isinstance(inner, str) else str(inner[0])
            elif key == "DependsOn":
                yield from [inner] if isinstance(inner, str) else map(str, inner)
            elif key == "Fn::Sub":
                text, *more = [inner] if isinstance(inner, str) else inner
                for part in str(text).split("${")[1:]:
                    yield part.split("}")[0].split(".")[0]
                yield from references(more)
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@dataclass(frozen=True)
class _Values:
    """The values that stand for references to removed resources."""

    removed: Collection[str]
    resources: Mapping[str, Any]
    physical: Mapping[str, str]
    place: Place

    def fill_in(self, id: str, resource: Any) -> Any:
        """The resource with values in place of references to what is removed."""
        filled = self._walk(id, resource)
        depends = resource.get("DependsOn")
        if depends:
            listed = [depends] if isinstance(depends, str) else depends
            kept = [other for other in listed if other not in self.removed]
            filled = {key: value for key, value in filled.items() if key != "DependsOn"}
            filled |= {"DependsOn": kept} if kept else {}
        return filled

    def _walk(self, id: str, part: Any) -> Any:
        if isinstance(part, list):
            return [self._walk(id, inner) for inner in part]
        if not isinstance(part, Mapping):
            return part
        if set(part) == {"Ref"} and part["Ref"] in self.removed:
            return self._value(id, part["Ref"], "")
        if set(part) == {"Fn::GetAtt"}:
            of = part["Fn::GetAtt"]
            target, attribute = of.split(".", 1) if isinstance(of, str) else of
            if target in self.removed:
                return self._value(id, target, attribute)
        return {key: self._walk(id, inner) for key, inner in part.items()}

    def _value(self, id: str, target: str, attribute: str) -> str:
        resource, physical = self.resources[target], self.physical.get(target)
        type = resource_type(resource["Type"])
        if physical and not attribute:
            return physical
        if physical and attribute == "Arn":
            name = type.name_of(physical)
            arn = type.arn(self.place, name, resource.get("Properties", {}))
            if arn:
                return arn
        raise TidegateError(
            f"{target} cannot be recreated on its own",
            why=f"it was deleted outside CloudFormation, and {id} refers to its"
            f" {attribute or 'name'}, which is no longer known",
            next="create it by hand, with its old name, and deploy again",
        )
