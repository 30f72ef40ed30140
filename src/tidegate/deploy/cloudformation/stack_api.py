"""What is asked of CloudFormation: how its stacks stand, what is in them, what has happened.

Errors are told as ``explained`` tells them; what CloudFormation does not take is a
``CloudFormationError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from tidegate.deploy.cloudformation import states
from tidegate.deploy.cloudformation.drift_detection import Resource
from tidegate.deploy.cloudformation.states import Event, StackState
from tidegate.deploy.cloudformation.template_text import template_of
from tidegate.deploy.core.place import Place
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, explained


class CloudFormationError(TidegateError):
    """CloudFormation did not take what it was asked for."""


@dataclass(frozen=True)
class StackApi:
    """CloudFormation in one account and region."""

    clients: Clients
    """The way there."""
    place: Place
    """The account and region."""

    def state(self, name: str, *, by: bool = True) -> StackState:
        """How a stack stands; ``name`` may be its ARN.

        Where something goes on, its events say ``by`` whom; that takes another call.
        """
        try:
            told = self.call("describe_stacks", "look at the stack", name, StackName=name)
        except CloudFormationError as error:
            if "does not exist" not in error.why:
                raise
            return StackState(name)
        state = states.state(name, told["Stacks"][0])
        if state.condition != "busy" or not by:
            return state
        begun = states.begun_by(self.events(state.id))
        if begun is None:
            return state
        return replace(state, since=begun.when, by=states.whose(begun.token))

    def names(self) -> set[str]:
        """The names of all stacks."""
        with self.asking("list the stacks", "*"):
            pages = self.client.get_paginator("list_stacks").paginate(StackStatusFilter=EXISTING)
            return {summary["StackName"] for page in pages for summary in page["StackSummaries"]}

    def entries(self, name: str) -> list[Mapping[str, Any]]:
        """What is in a stack, as AWS tells it."""
        with self.asking("list the resources of", name):
            pages = self.client.get_paginator("list_stack_resources").paginate(StackName=name)
            return [e for page in pages for e in page["StackResourceSummaries"]]

    def resources(self, name: str) -> tuple[Resource, ...]:
        """What is in a stack."""
        found = (Resource.of(entry) for entry in self.entries(name))
        return tuple(one for one in found if one.status != "DELETE_COMPLETE")

    def template(self, state: StackState) -> dict[str, Any]:
        """The template that a stack was last deployed with.

        Raises:
            CloudFormationError: it cannot be read.
        """
        told = self.call(
            "get_template", "read the template of", state.name,
            StackName=state.name, TemplateStage="Original",
        )["TemplateBody"]  # fmt: skip
        try:
            return template_of(told)
        except ValueError as error:
            raise CloudFormationError(
                f"the template of the stack {state.name} cannot be read",
                why=str(error),
                next="look at it in AWS's console: Tidegate and the CDK write none such",
            ) from error

    def known_template(self, state: StackState) -> dict[str, Any]:
        """The template of a stack, or nothing where it cannot be read: for words only."""
        with suppress(TidegateError):
            return {} if state.shell else self.template(state)
        return {}

    def events(
        self,
        id: str,
        owners: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Iterator[Event]:
        """The events of a stack, the latest first; asked for as they are looked at."""
        start: dict[str, str] = {}
        while True:
            page = self.call(
                "describe_stack_events", "read the events of", id, StackName=id, **start
            )
            for record in page["StackEvents"]:
                yield Event.of(record, owners, names)
            if not page.get("NextToken"):
                return
            start = {"NextToken": page["NextToken"]}

    def change_sets(self, name: str) -> list[Mapping[str, Any]]:
        """The change sets of a stack that wait to be executed, and failed ones."""
        with self.asking("list the change sets of", name):
            pages = self.client.get_paginator("list_change_sets").paginate(StackName=name)
            found = [summary for page in pages for summary in page["Summaries"]]
        return [one for one in found if not str(one.get("Status", "")).startswith("DELETE_")]

    def findings(self, **of: str) -> list[Event]:
        """What CloudFormation has found wrong before it began, of a stack or a change set.

        It tells of it apart from the events of the stack, since November 2025.
        """
        with suppress(TidegateError):
            told = self.call("describe_events", "read the events of", "", **of)
            entries = told["OperationEvents"]
            return [
                Event.of({**e, "ResourceStatus": "VALIDATION_FAILED", "ResourceStatusReason": why})
                for e in entries
                if (why := e.get("ValidationStatusReason"))
                and e.get("OperationId") == entries[0].get("OperationId")
            ]
        return []

    def owner(self, name: str) -> str:
        """The stack that a resource of some name belongs to; "" when that cannot be told."""
        with suppress(TidegateError):
            told = self.call(
                "describe_stack_resources", "look for", name, PhysicalResourceId=name
            )["StackResources"]  # fmt: skip
            return str(told[0]["StackName"]) if told else ""
        return ""

    def call(self, action: str, doing: str, stack: str, **arguments: Any) -> Any:
        """Ask or tell CloudFormation something about a stack.

        Raises:
            CloudFormationError: it does not take it.
        """
        with self.asking(doing, stack):
            return getattr(self.client, action)(**arguments)

    @contextmanager
    def asking(self, doing: str, stack: str) -> Iterator[None]:
        """Errors are explained; ``stack`` is its name or its ARN."""
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
