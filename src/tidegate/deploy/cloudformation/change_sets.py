"""Creates, reads and deletes change sets: CloudFormation's own plan of an update."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Literal

from tidegate.deploy.cloudformation import changes
from tidegate.deploy.cloudformation.causes import advice
from tidegate.deploy.cloudformation.changes import ChangeSet
from tidegate.deploy.cloudformation.planned import PlannedDeployment, busy_error
from tidegate.deploy.cloudformation.stack_api import CloudFormationError, StackApi
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.cloudformation.upload import template_argument
from tidegate.runtime.records import utc

MAX_AGE = 86_400
"""Change sets of Tidegate's that were not executed for so long are deleted, s."""
_UNCHANGED = ("didn't contain changes", "No updates are to be performed")
_PREFIX = "tidegate-"
_CAPABILITIES = ("CAPABILITY_NAMED_IAM",)


@dataclass(frozen=True)
class ChangeSets:
    """The change sets of one account and region."""

    api: StackApi
    """CloudFormation."""
    poll: float
    """How long to wait between two requests, s."""

    def create(
        self,
        planned: PlannedDeployment,
        before: Mapping[str, Any],
        *,
        capabilities: Sequence[str] = _CAPABILITIES,
    ) -> ChangeSet:
        """Create the change set of a deployment; one without changes is deleted at once.

        ``before`` is the deployed template; empty for a new stack.

        Raises:
            CloudFormationError: CloudFormation rejects the template.
            StackBusy: another operation is in progress.
        """
        template, stack = planned.template, planned.template.stack
        kind: Literal["CREATE", "UPDATE"] = "UPDATE" if before else "CREATE"
        arguments = {
            **template_argument(template, planned.upload),
            "StackName": stack,
            "ChangeSetName": f"{_PREFIX}{secrets.token_hex(8)}",
            "ChangeSetType": kind,
            "Capabilities": list(capabilities),
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value}
                if value is not None
                else {"ParameterKey": key, "UsePreviousValue": True}
                for key, value in sorted(planned.parameters.items())
            ],
            "Tags": [{"Key": key, "Value": v} for key, v in sorted(template.tags.items())],
        }
        arguments |= {"RoleARN": planned.role_arn} if planned.role_arn else {}
        with self.explain_rejection(stack):
            answer = self.api.call(
                "create_change_set", "plan the deployment of", stack, **arguments
            )
        id = str(answer["Id"])
        try:
            pages = self._read(stack, id)
            reason = str(pages[0].get("StatusReason") or "")
            if pages[0]["Status"] == "FAILED" and not any(t in reason for t in _UNCHANGED):
                found = self.api.validation_events(ChangeSetName=id)
                raise CloudFormationError(
                    f"CloudFormation rejects the plan for the stack {stack}",
                    why="\n".join([reason, *(f"{e.what}: {e.reason}" for e in found)]),
                    next="fix the problem, and plan again",
                )
            read = changes.read(stack, pages, before=before, after=json.loads(template.body))
        except BaseException:
            self.delete(stack, id)
            raise
        if read.executable:
            return read
        self.delete(stack, id)
        return replace(read, id="")

    def delete(self, stack: str, id: str) -> None:
        """Delete a change set, and the empty stack that it may have created."""
        # With the stack's name, because permissions depend on it.
        arguments = {"StackName": stack, "ChangeSetName": id}
        self.api.call("delete_change_set", "delete the plan for", stack, **arguments)
        state = self.api.state(stack)
        # A first plan creates an empty stack, which other people's plans may use.
        if state.is_empty and not self.api.change_sets(stack):
            self.api.call("delete_stack", "delete the empty stack", stack, StackName=state.id)
            while self.api.state(state.id).exists:
                time.sleep(self.poll / 2)

    def delete_old(self, state: StackState) -> None:
        """Delete change sets of Tidegate's that were never executed."""
        now = datetime.now(timezone.utc)
        for summary in self.api.change_sets(state.name) if state.exists else ():
            age = (now - utc(summary["CreationTime"])).total_seconds()
            if summary["ChangeSetName"].startswith(_PREFIX) and age > MAX_AGE:
                old = {"StackName": state.name, "ChangeSetName": summary["ChangeSetId"]}
                self.api.call("delete_change_set", "delete an old plan for", state.name, **old)

    def _read(self, stack: str, id: str) -> list[Mapping[str, Any]]:
        """All pages of a change set, once CloudFormation has created it."""
        pages: list[Mapping[str, Any]] = []
        arguments = {"StackName": stack, "ChangeSetName": id}
        while True:
            page = self.api.call("describe_change_set", "read the plan for", stack, **arguments)
            if page["Status"] not in ("CREATE_COMPLETE", "FAILED"):
                time.sleep(self.poll / 2)
                continue
            pages.append(page)
            if not page.get("NextToken"):
                return pages
            arguments["NextToken"] = page["NextToken"]

    @contextmanager
    def explain_rejection(self, stack: str) -> Iterator[None]:
        """Add to the errors of CloudFormation what to do about them.

        Raises:
            StackBusy: it rejects the request because another operation is in progress.
        """
        try:
            yield
        except CloudFormationError as error:
            if "_IN_PROGRESS" in error.why:
                state = self.api.state(stack)
                if state.condition == "busy":
                    raise busy_error(state) from error
            # ``code_of`` still finds AWS's code in the same error.
            error.next = error.next or advice(error.why, f"the stack {stack}")
            raise
