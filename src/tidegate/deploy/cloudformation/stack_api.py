"""Requests to CloudFormation: the state of stacks, their resources, templates and events.

A request that CloudFormation rejects raises ``CloudFormationError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from tidegate.deploy.cloudformation import states
from tidegate.deploy.cloudformation.stack_resource import StackResource
from tidegate.deploy.cloudformation.states import Event, StackState
from tidegate.deploy.cloudformation.template_text import parse_template
from tidegate.deploy.core.place import Place
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, explained


class CloudFormationError(TidegateError):
    """CloudFormation rejected a request."""


@dataclass(frozen=True)
class StackApi:
    """CloudFormation in one account and region."""

    clients: Clients
    """The clients."""
    place: Place
    """The account and region."""

    def state(self, name: str, *, by: bool = True) -> StackState:
        """The state of a stack; ``name`` may be its ARN.

        If an operation is in progress, its events say ``by`` whom; that takes another request.
        """
        try:
            answer = self.call("describe_stacks", "read the state of", name, StackName=name)
        except CloudFormationError as error:
            if "does not exist" not in error.why:
                raise
            return StackState(name)
        state = states.parse_state(name, answer["Stacks"][0])
        if state.condition != "busy" or not by:
            return state
        begun = states.first_event(self.events(state.id))
        if begun is None:
            return state
        return replace(state, since=begun.when, by=states.who_began(begun.token))

    def names(self) -> set[str]:
        """The names of all stacks."""
        with self.request("list the stacks", "*"):
            pages = self.client.get_paginator("list_stacks").paginate(StackStatusFilter=EXISTING)
            return {summary["StackName"] for page in pages for summary in page["StackSummaries"]}

    def entries(self, name: str) -> list[Mapping[str, Any]]:
        """The entries of ``list_stack_resources``."""
        with self.request("list the resources of", name):
            pages = self.client.get_paginator("list_stack_resources").paginate(StackName=name)
            return [e for page in pages for e in page["StackResourceSummaries"]]

    def resources(self, name: str) -> tuple[StackResource, ...]:
        """The resources of a stack; ``name`` may be its ARN."""
        found = (StackResource.from_record(entry) for entry in self.entries(name))
        return tuple(one for one in found if one.status != "DELETE_COMPLETE")

    def template(self, state: StackState) -> dict[str, Any]:
        """The template that a stack was last deployed with, unchanged.

        Raises:
            CloudFormationError: it cannot be read.
        """
        body = self.call(
            "get_template", "read the template of", state.name,
            StackName=state.name, TemplateStage="Original",
        )["TemplateBody"]  # fmt: skip
        try:
            return parse_template(body)
        except ValueError as error:
            raise CloudFormationError(
                f"the template of the stack {state.name} cannot be read",
                why=str(error),
                next="look at it in AWS's console: it was not written by Tidegate or the CDK",
            ) from error

    def known_template(self, state: StackState) -> dict[str, Any]:
        """The template of a stack, or an empty one if it cannot be read: only for messages."""
        with suppress(TidegateError):
            return {} if state.is_empty else self.template(state)
        return {}

    def events(
        self,
        id: str,
        owners: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Iterator[Event]:
        """The events of a stack from the latest, requested page by page as they are needed."""
        start: dict[str, str] = {}
        while True:
            page = self.call(
                "describe_stack_events", "read the events of", id, StackName=id, **start
            )
            for record in page["StackEvents"]:
                yield Event.from_record(record, owners, names)
            if not page.get("NextToken"):
                return
            start = {"NextToken": page["NextToken"]}

    def change_sets(self, name: str) -> list[Mapping[str, Any]]:
        """The change sets of a stack that can be executed, and failed ones."""
        with self.request("list the change sets of", name):
            pages = self.client.get_paginator("list_change_sets").paginate(StackName=name)
            found = [summary for page in pages for summary in page["Summaries"]]
        return [one for one in found if not str(one.get("Status", "")).startswith("DELETE_")]

    def validation_events(self, **of: str) -> list[Event]:
        """What CloudFormation's validation found wrong with a stack or a change set.

        Since November 2025 these events are separate from the events of the stack.
        """
        with suppress(TidegateError):
            answer = self.call("describe_events", "read the events of", "", **of)
            entries = answer["OperationEvents"]
            return [
                Event.from_record(
                    {**e, "ResourceStatus": "VALIDATION_FAILED", "ResourceStatusReason": why}
                )
                for e in entries
                if (why := e.get("ValidationStatusReason"))
                and e.get("OperationId") == entries[0].get("OperationId")
            ]
        return []

    def owner(self, name: str) -> str:
        """The stack that a resource of some name belongs to; "" if that is unknown."""
        with suppress(TidegateError):
            found = self.call(
                "describe_stack_resources", "look for", name, PhysicalResourceId=name
            )["StackResources"]  # fmt: skip
            return str(found[0]["StackName"]) if found else ""
        return ""

    def call(self, action: str, doing: str, stack: str, **arguments: Any) -> Any:
        """Send a request about a stack; ``doing`` describes it in error messages.

        Raises:
            CloudFormationError: CloudFormation rejects it.
        """
        with self.request(doing, stack):
            return getattr(self.client, action)(**arguments)

    @contextmanager
    def request(self, doing: str, stack: str) -> Iterator[None]:
        """Explain errors of requests about a stack, given by name or ARN."""
        arn = stack
        if not stack.startswith("arn:"):
            arn = self.place.arn("cloudformation", f"stack/{stack}/*")
        with explained(doing, arn, lasting=CloudFormationError):
            yield

    @property
    def client(self) -> Any:
        """boto3's client."""
        return self.clients.client("cloudformation")


EXISTING = [
    *("CREATE_IN_PROGRESS", "CREATE_FAILED", "CREATE_COMPLETE"),
    *("ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED", "ROLLBACK_COMPLETE"),
    *("DELETE_IN_PROGRESS", "DELETE_FAILED"),
    *("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"),
    *("UPDATE_FAILED", "UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"),
    *("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"),
    *("REVIEW_IN_PROGRESS", "IMPORT_IN_PROGRESS", "IMPORT_COMPLETE"),
    *("IMPORT_ROLLBACK_IN_PROGRESS", "IMPORT_ROLLBACK_FAILED", "IMPORT_ROLLBACK_COMPLETE"),
]
"""The states of stacks that exist: all but DELETE_COMPLETE."""
