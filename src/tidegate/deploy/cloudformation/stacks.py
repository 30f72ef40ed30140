"""Stacks of CloudFormation: planned as change sets, executed, deleted.

    stacks = Stacks(clients, place, who=branch.who)
    planned = stacks.plan(template, role_arn=role)      creates a change set, changes nothing
    stacks.execute(planned, progress)                   or stacks.discard(planned)

``states``, ``changes``, ``causes`` and ``drift_repair`` are pure; ``stack_api`` sends requests,
``planning`` plans, ``event_tailing`` watches. If an operation fails, CloudFormation rolls the stack
back to what ran before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tidegate.deploy.cloudformation import changes
from tidegate.deploy.cloudformation.change_sets import ChangeSets
from tidegate.deploy.cloudformation.changes import ChangeSet
from tidegate.deploy.cloudformation.event_tailing import (
    Operation,
    Outcome,
    Progress,
    check_outcome,
    interruptible,
    new_operation,
    tail_events,
    watching,
)
from tidegate.deploy.cloudformation.planned import (
    PlannedDeployment,
    PlanOutdated,
    StackBusy,
    StackStuck,
    busy_error,
)
from tidegate.deploy.cloudformation.planning import Planner
from tidegate.deploy.cloudformation.stack_api import CloudFormationError, StackApi
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.cloudformation.upload import Upload
from tidegate.deploy.core.place import Place
from tidegate.deploy.design import placement
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.templates import Template
from tidegate.deploy.resources.base import AwsContext
from tidegate.targets.aws.clients import Clients, code_of
from tidegate.targets.aws.names import Names

__all__ = ["PlanOutdated", "PlannedDeployment", "StackBusy", "StackStuck", "Stacks", "unneeded"]

_ALL_CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")

Say = Callable[[str], None]


class Stacks:
    """The stacks of one account and region."""

    def __init__(
        self,
        clients: Clients,
        place: Place,
        *,
        who: str = "",
        say: Say = lambda text: None,
        poll: float = 2.0,
    ) -> None:
        """``who`` is the caller's ARN: others see it while an operation is in progress."""
        self.api = StackApi(clients, place)
        self.place, self.who, self.say, self.poll = place, who, say, poll
        self._change_sets = ChangeSets(self.api, poll)
        self._planner = Planner(AwsContext(clients, place), self.api, self._change_sets)

    # State

    def state(self, name: str) -> StackState:
        """The state of a stack; ``name`` may be its ARN."""
        return self.api.state(name)

    def branch_stacks(self, names: Names) -> tuple[StackState, ...]:
        """The existing pipelines stacks of a branch, by number."""
        existing = self.api.names()
        numbers = range(1, placement.MOST_STACKS + 1)
        possible = (placement.stack_name(names, number) for number in numbers)
        found = (self.state(name) for name in possible if name in existing)
        return tuple(state for state in found if state.exists)

    def placed_configs(self, states: Iterable[StackState]) -> dict[str, int]:
        """The number of the stack that each config is in, for a branch's stacks."""
        templates = (self.api.template(state) for state in states if state.has_resources)
        return placement.read_stack_numbers(
            [template.get("Metadata", {}) for template in templates]
        )

    def wait(self, name: str, progress: Progress | None = None) -> StackState:
        """Wait until no operation is in progress in a stack; its state then."""
        state = self.state(name)
        if state.condition != "busy":
            return state
        self.say(f"{state.sentence}; waiting for it")
        operation = new_operation(self.api, "the operation", state)
        with interruptible(operation.action, name), watching(operation.action, name):
            tail_events(self.api, operation, progress, poll=self.poll, others=True)
        return self.state(name)

    # Planning

    def plan(
        self,
        template: Template,
        *,
        role_arn: str = "",
        parameters: Mapping[str, str] | None = None,
        upload: Upload | None = None,
        wait: bool = False,
        recreate: Sequence[str] = (),
    ) -> PlannedDeployment:
        """Find out what changes if ``template`` is deployed; nothing is changed yet.

        ``recreate`` names resources, by logical id, to recreate although they may exist. With
        ``wait``, an operation in progress is waited for first.

        Raises:
            StackBusy: an operation is in progress.
            StackStuck: a rollback failed, and must be continued first.
            CloudFormationError: CloudFormation rejects the template.
        """
        stack = template.stack
        state = self.wait(stack) if wait else self.state(stack)
        nothing = ChangeSet(stack, "CREATE")
        planned = PlannedDeployment(nothing, template, role_arn, dict(parameters or {}), upload)
        return self._planner.plan(planned, state, recreate)

    def plan_removal(self, state: StackState) -> ChangeSet:
        """What is deleted with a stack."""
        return self._planner.plan_removal(state)

    def discard(self, planned: PlannedDeployment) -> None:
        """Delete the change set of a plan that will not be executed."""
        if planned.changes.id:
            self._change_sets.delete(planned.changes.stack, planned.changes.id)

    # Operations

    def execute(self, planned: PlannedDeployment, progress: Progress | None = None) -> Outcome:
        """Execute a plan, and watch it to its end, a rollback included.

        Raises:
            DeploymentFailed: with the first cause; the stack is rolled back to what ran before.
            PlanOutdated: the stack was changed since the plan was made.
            WatchingFailed: AWS continues, but cannot be watched: credentials or network failed.
            Interrupted: Ctrl-C; AWS continues.
        """
        stack = planned.changes.stack
        if planned.first == "delete":
            self.say(f"deleting what is left of the stack {stack}")
            self.delete(stack, role_arn=planned.role_arn, progress=progress)
            planned = replace(planned, changes=self._change_sets.create(planned, {}))
        elif planned.first == "repair":
            planned = self._remove_missing(planned, progress)
        if planned.empty:
            return Outcome(stack, self.state(stack).status, 0.0)
        after = json.loads(planned.template.body)
        return self._execute(planned, changes.owners(after), progress)

    def replace_template(
        self, state: StackState, template: Mapping[str, Any], upload: Upload | None = None
    ) -> None:
        """Deploy another template to an existing stack; parameters, tags and role stay the same.

        Raises:
            CloudFormationError: CloudFormation rejects the template.
            DeploymentFailed: the update failed; the stack is rolled back.
        """
        before = self.api.template(state)
        body = json.dumps(template, separators=(",", ":"))
        unchanged: dict[str, str | None] = dict.fromkeys(before.get("Parameters", {}))
        planned = PlannedDeployment(
            ChangeSet(state.name, "UPDATE"),
            Template(state.name, body, state.tags),
            parameters=unchanged,
            upload=upload,
        )
        change_set = self._change_sets.create(planned, before, capabilities=_ALL_CAPABILITIES)
        if change_set.executable:
            planned = replace(planned, changes=change_set)
            self._execute(planned, changes.owners(before), None)

    def delete(
        self,
        name: str,
        *,
        role_arn: str = "",
        retain: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Outcome:
        """Delete a stack, and wait until it no longer exists.

        ``retain`` names resources, by logical id, that an earlier attempt could not delete, to
        keep outside any stack.

        Raises:
            StackBusy: an operation is in progress.
            DeploymentFailed: a resource cannot be deleted.
        """
        state = self.state(name)
        if not state.exists:
            return Outcome(name, "DELETE_COMPLETE", 0.0)
        if state.condition == "busy":
            raise busy_error(state)
        if state.protected:
            raise CloudFormationError(
                f"the stack {name} is protected from deletion",
                why="someone has switched on its termination protection, outside Tidegate",
                next="to delete it, switch the protection off: `aws cloudformation"
                f" update-termination-protection --no-enable-termination-protection --stack-name"
                f" {name}`",
            )
        arguments: dict[str, Any] = {"RoleARN": role_arn} if role_arn else {}
        arguments |= {"RetainResources": list(retain)} if retain else {}
        owners = changes.owners(self.api.known_template(state))
        operation = new_operation(self.api, "the deletion", state, self.who, owners)
        return self._run(operation, "delete_stack", progress, StackName=state.id, **arguments)

    def continue_rollback(
        self,
        name: str,
        *,
        skip: Sequence[str] = (),
        role_arn: str = "",
        progress: Progress | None = None,
    ) -> Outcome:
        """Continue the failed rollback of a stack.

        ``skip`` names resources, by logical id, that cannot be rolled back, such as those that
        someone deleted: the next plan finds and recreates them.

        Raises:
            DeploymentFailed: the rollback fails again.
        """
        state = self.state(name)
        if state.condition != "stuck":
            raise CloudFormationError(
                f"{state.sentence}: there is no failed rollback", next="deploy as usual"
            )
        arguments: dict[str, Any] = {"RoleARN": role_arn} if role_arn else {}
        request = "rollback_stack"
        if state.status != "UPDATE_FAILED":
            request = "continue_update_rollback"
            arguments |= {"ResourcesToSkip": list(skip)} if skip else {}
        owners = changes.owners(self.api.known_template(state))
        operation = new_operation(self.api, "the rollback", state, self.who, owners)
        return self._run(operation, request, progress, StackName=state.id, **arguments)

    def _remove_missing(
        self, planned: PlannedDeployment, progress: Progress | None
    ) -> PlannedDeployment:
        """Remove missing resources from the stack; returns the plan that recreates them."""
        stack = planned.changes.stack
        self.say(
            "recreating what was deleted: it is first removed from the stack, then added again"
        )
        self.discard(planned)
        before = self.api.template(self.state(stack))
        if before != planned.deployed:
            raise self._outdated(stack, "someone else has deployed to it since")
        reduced = replace(planned, template=replace(planned.template, body=planned.reduced))
        reduced = replace(reduced, changes=self._change_sets.create(reduced, before))
        if not reduced.empty:
            self._execute(reduced, changes.owners(before), progress)
        before = self.api.template(self.state(stack))
        return replace(planned, changes=self._change_sets.create(planned, before))

    def _execute(
        self, planned: PlannedDeployment, owners: Mapping[str, str], progress: Progress | None
    ) -> Outcome:
        stack = planned.changes.stack
        operation = new_operation(
            self.api,
            "the creation" if planned.changes.kind == "CREATE" else "the update",
            self.state(stack),
            self.who,
            owners,
            {change.logical: change.name for change in planned.changes.changes},
        )
        try:
            return self._run(
                operation,
                "execute_change_set",
                progress,
                StackName=stack,
                ChangeSetName=planned.changes.id,
                RetainExceptOnCreate=True,
            )
        except CloudFormationError as error:
            if code_of(error) not in ("ChangeSetNotFound", "InvalidChangeSetStatus"):
                raise
            sentence = self.state(stack).sentence
            raise self._outdated(
                stack, f"someone else has deployed to it since: {sentence}"
            ) from error

    @staticmethod
    def _outdated(stack: str, why: str) -> PlanOutdated:
        return PlanOutdated(
            f"the plan for the stack {stack} is out of date",
            why=why,
            next="plan again, and check what is left to change",
        )

    def _run(
        self, operation: Operation, request: str, progress: Progress | None, **arguments: Any
    ) -> Outcome:
        """Send the request that starts an operation, and watch it to its end."""
        stack, action = operation.stack, operation.action
        with interruptible(action, stack), self._change_sets.explain_rejection(stack):
            self.api.call(request, f"begin {action} of", stack,
                          ClientRequestToken=operation.token, **arguments)  # fmt: skip
            with watching(action, stack):
                events = tail_events(self.api, operation, progress, poll=self.poll)
                return check_outcome(self.api, operation, events)


def unneeded(plan: Plan, states: Iterable[StackState]) -> tuple[StackState, ...]:
    """The stacks of a branch that a plan no longer needs: their configs were removed."""
    needed = {stack.name for stack in plan.stacks}
    return tuple(state for state in states if state.name not in needed)
