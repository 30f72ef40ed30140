"""What was deleted by hand, made again by CloudFormation; pure.

CloudFormation compares templates, not what is there: a resource that someone deleted is not made
again by deploying the same template once more, and a change to it fails, since there is nothing to
change. To give it another logical id, as AWS's knowledge centre advises (*How do I recreate a
resource that was deleted outside of CloudFormation?*), is no way for resources with names of their
own: once the new one is made, CloudFormation deletes the old one, and that has the same name.

What works for all of them takes two updates. The first takes the resource out of the template that
is deployed: to delete what is not there succeeds. The second deploys the template that is wanted,
which has it again. What else refers to the lost resource is given its value instead of the
reference, for that while: this changes nothing, so nothing that holds something is taken along, and
a rule goes on to notice files. Only what hangs on the very thing that is lost (a policy of a lost
queue, the mapping to a lost function) is made again as well: it may be lost too, or be of no use.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.errors import TidegateError

HANGS_ON = {
    "AWS::IAM::Policy": ("AWS::IAM::Role",),
    "AWS::Lambda::EventSourceMapping": ("AWS::Lambda::Function", "AWS::SQS::Queue"),
    # Lambda encrypts for the role itself, not for its name: a role made again cannot read it.
    "AWS::Lambda::Function": ("AWS::IAM::Role",),
    "AWS::Lambda::Permission": ("AWS::Lambda::Function",),
    "AWS::S3::BucketPolicy": ("AWS::S3::Bucket",),
    "AWS::SNS::Subscription": ("AWS::SNS::Topic",),
    "AWS::SNS::TopicPolicy": ("AWS::SNS::Topic",),
    "AWS::SQS::QueuePolicy": ("AWS::SQS::Queue",),
    "AWS::Scheduler::Schedule": ("AWS::Scheduler::ScheduleGroup",),
}
"""What is of no use, or gone as well, when a resource of these types is lost; all of it can be made
again."""


@dataclass(frozen=True)
class Mended:
    """A template without what is lost."""

    template: Mapping[str, Any]
    """The template that is deployed, without it."""
    along: tuple[str, ...]
    """Logical ids of what is there, and is made again with what is lost."""


def without(
    template: Mapping[str, Any],
    gone: Collection[str],
    physical: Mapping[str, str],
    place: Place,
) -> Mended:
    """The deployed ``template`` without the resources that are ``gone`` (logical ids).

    ``physical`` says by what AWS identifies each resource.

    Raises:
        TidegateError: something refers to a lost resource by a value that is not known.
    """
    resources: Mapping[str, Any] = template.get("Resources", {})
    out = set(gone)
    while True:
        more = {
            id
            for id, resource in resources.items()
            if id not in out and _hangs(resource, out, resources)
        }
        if not more:
            break
        out |= more
    left = {
        id: _given(copy.deepcopy(resource), id, out, resources, physical, place)
        for id, resource in resources.items()
        if id not in out
    }
    outputs = {
        name: output
        for name, output in template.get("Outputs", {}).items()
        if not out & set(references(output))
    }
    mended = {**template, "Resources": left}
    if "Outputs" in template:
        mended["Outputs"] = outputs
    return Mended(mended, tuple(id for id in resources if id in out and id not in gone))


def _hangs(resource: Any, out: Collection[str], resources: Mapping[str, Any]) -> bool:
    """Whether a resource is of no use without those that are taken ``out``."""
    on = HANGS_ON.get(resource["Type"], ())
    return any(target in out and resources[target]["Type"] in on for target in references(resource))


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


def _given(
    resource: Any,
    id: str,
    out: Collection[str],
    resources: Mapping[str, Any],
    physical: Mapping[str, str],
    place: Place,
) -> Any:
    """A resource in which references to what is taken out are values."""

    def value(target: str, attribute: str) -> str:
        kind, known = resources[target]["Type"], physical.get(target, "")
        if known and not attribute:
            return known
        if known and attribute == "Arn" and kind in _ARNS:
            name = known.rsplit("/", 1)[-1] if "://" in known else known
            return _ARNS[kind](place, name)
        raise TidegateError(
            f"{target} cannot be made again by itself",
            why=f"it was deleted outside CloudFormation, and {id} refers to its"
            f" {attribute or 'name'}, which nobody knows any more",
            next="make it again by hand, under its name, and deploy again",
        )

    def walk(part: Any) -> Any:
        if isinstance(part, Mapping):
            if set(part) == {"Ref"} and part["Ref"] in out:
                return value(part["Ref"], "")
            if set(part) == {"Fn::GetAtt"}:
                of = part["Fn::GetAtt"]
                target, attribute = of.split(".", 1) if isinstance(of, str) else of
                if target in out:
                    return value(target, attribute)
            return {key: walk(inner) for key, inner in part.items()}
        return [walk(inner) for inner in part] if isinstance(part, list) else part

    mended = walk(resource)
    depends = resource.get("DependsOn")
    if depends:
        left = [d for d in ([depends] if isinstance(depends, str) else depends) if d not in out]
        mended = {key: v for key, v in mended.items() if key != "DependsOn"}
        mended |= {"DependsOn": left} if left else {}
    return mended


def _role_arn(place: Place, name: str) -> str:
    return f"arn:{place.partition}:iam::{place.account}:role/{name}"


_ARNS: Mapping[str, Callable[[Place, str], str]] = {
    "AWS::IAM::Role": _role_arn,
    "AWS::Lambda::Function": lambda place, name: place.arn("lambda", f"function:{name}"),
    "AWS::Logs::LogGroup": lambda place, name: place.arn("logs", f"log-group:{name}:*"),
    "AWS::SQS::Queue": lambda place, name: place.arn("sqs", name),
}
