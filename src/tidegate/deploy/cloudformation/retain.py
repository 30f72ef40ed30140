"""Data outlives its stack: what a deployed stack holds of it is let go before it can be deleted.

The older recipe's stack has the name that ours has, and holds the input and output bucket, to be
emptied and deleted with it: by a deletion of the stack, and by an update whose template has no
buckets. Before either, the deployed template is put back as it is, but for the deletion policies.
Tidegate's own stacks hold no data, and nothing is done to them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.cloudformation.template_text import template_of
from tidegate.deploy.cloudformation.upload import Upload
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.templates import INLINE
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, explained

HOLD_DATA = {
    "AWS::DynamoDB::GlobalTable",
    "AWS::DynamoDB::Table",
    "AWS::S3::Bucket",
    # A bucket's policy says who may not read it; without its stack, nobody would put it back.
    "AWS::S3::BucketPolicy",
    # When this one goes, its function deletes all that is in its bucket.
    "Custom::S3AutoDeleteObjects",
}
"""The types of what holds data, and of what goes along with it."""
_KEPT = {"Retain", "RetainExceptOnCreate"}
_METADATA = "Tidegate"

Say = Callable[[str], None]


class DataAtRisk(TidegateError):
    """A stack holds data, and it could not be made to let it go."""


def data_resources(template: Mapping[str, Any]) -> tuple[str, ...]:
    """The logical ids of what holds data and would go with its stack; pure."""
    return tuple(
        logical
        for logical, resource in template.get("Resources", {}).items()
        if resource.get("Type") in HOLD_DATA
        and not (
            resource.get("DeletionPolicy") in _KEPT and resource.get("UpdateReplacePolicy") in _KEPT
        )
    )


def retaining(template: Mapping[str, Any]) -> dict[str, Any]:
    """The same template, in which what holds data outlives its stack; pure."""
    changed = copy.deepcopy(dict(template))
    for logical in data_resources(template):
        resource = changed["Resources"][logical]
        resource["DeletionPolicy"] = resource["UpdateReplacePolicy"] = "Retain"
        # CloudFormation takes no update that changes policies alone.
        resource.setdefault("Metadata", {})[_METADATA] = {"retained": True}
    return changed


def retain_data(
    clients: Clients,
    place: Place,
    stack: str,
    *,
    upload: Upload | None = None,
    say: Say = lambda text: None,
    poll: float = 2.0,
) -> tuple[str, ...]:
    """Make the data that a deployed stack holds outlive it; the logical ids of what holds it.

    ``upload`` is for a template that is too long to be sent with the request.

    Raises:
        DataAtRisk: it could not be done, or did not take.
        StackBusy: something goes on in the stack.
    """
    stacks = Stacks(clients, place, say=say, poll=poll)
    state = stacks.wait(stack)
    if state.condition == "missing":
        return ()
    template = _template(clients, state.id)
    found = data_resources(template)
    if not found:
        return ()
    say(f"the stack {stack} holds data ({', '.join(found)}): it is made to let it go")
    if state.condition != "fine":
        raise DataAtRisk(
            f"the stack {stack} holds data, and cannot be changed as it is",
            why=state.sentence,
            next="bring it to a good state in AWS's console (its page says how), then try again",
        )
    _update(clients, place, state.id, retaining(template), upload)
    after = stacks.wait(stack)
    left = data_resources(_template(clients, state.id))
    if after.condition != "fine" or left:
        raise DataAtRisk(
            f"the stack {stack} would still take data along: {', '.join(left) or after.sentence}",
            why=after.reason or after.sentence,
            next="look at its events in AWS's console; nothing was deleted",
        )
    return found


def at_risk(clients: Clients, stack: str) -> tuple[str, ...]:
    """The logical ids of what would take data along if a deployed stack were deleted now."""
    return data_resources(_template(clients, stack))


def _template(clients: Clients, stack: str) -> dict[str, Any]:
    """The template that is deployed, as it was given."""
    with explained("read the template of", stack):
        body = clients.client("cloudformation").get_template(
            StackName=stack, TemplateStage="Original"
        )["TemplateBody"]
    try:
        return template_of(body)
    except ValueError as error:
        raise DataAtRisk(
            f"the template of the stack {stack} cannot be read",
            why=str(error),
            next="set DeletionPolicy and UpdateReplacePolicy of its buckets and tables to Retain",
        ) from None


def _update(
    clients: Clients, place: Place, stack: str, template: Mapping[str, Any], upload: Upload | None
) -> None:
    body = json.dumps(template, separators=(",", ":"))
    source = {"TemplateBody": body}
    if len(body.encode()) > INLINE:
        if upload is None:
            raise DataAtRisk(
                f"the template of the stack {stack} is too long to be sent",
                why="it would have to lie in a bucket first",
                next="set DeletionPolicy and UpdateReplacePolicy of its buckets and tables to"
                " Retain by hand, with the CDK",
            )
        source = {"TemplateURL": upload(stack, body)}
    client = clients.client("cloudformation")
    with explained("update the stack", stack):
        told = client.describe_stacks(StackName=stack)["Stacks"][0]
        client.update_stack(
            StackName=stack,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": one["ParameterKey"], "UsePreviousValue": True}
                for one in told.get("Parameters", ())
            ],
            **source,
        )
