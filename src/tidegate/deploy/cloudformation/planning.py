"""Plans what a deployment or a deletion does to a stack; nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tidegate.deploy.cloudformation import changes
from tidegate.deploy.cloudformation.change_sets import ChangeSets
from tidegate.deploy.cloudformation.changes import Change, ChangeSet
from tidegate.deploy.cloudformation.drift_detection import describe_contents, find_missing
from tidegate.deploy.cloudformation.drift_repair import remove_missing
from tidegate.deploy.cloudformation.planned import PlannedDeployment, StackStuck, busy_error
from tidegate.deploy.cloudformation.stack_api import StackApi
from tidegate.deploy.cloudformation.stack_resource import StackResource
from tidegate.deploy.cloudformation.states import StackState, rollback_failures
from tidegate.deploy.resources.base import AwsContext
from tidegate.deploy.resources.registry import label_of, shown_name, template_name
from tidegate.errors import ConfigurationError


@dataclass(frozen=True)
class Planner:
    """Plans deployments of stacks."""

    aws: AwsContext
    """The account and region."""
    api: StackApi
    """CloudFormation."""
    change_sets: ChangeSets
    """Its change sets."""

    def plan(
        self, planned: PlannedDeployment, state: StackState, recreate: Sequence[str]
    ) -> PlannedDeployment:
        """The deployment with its changes; ``recreate`` as in ``Stacks.plan``."""
        if state.condition == "busy":
            raise busy_error(state)
        if state.condition == "stuck":
            raise self.stuck_error(state)
        if state.condition == "failed":
            return self._plan_replacement(planned, state)
        self.change_sets.delete_old(state)
        before = self.api.template(state) if state.condition == "ready" else {}
        planned = replace(planned, changes=self.change_sets.create(planned, before))
        try:
            contents = self._contents(planned.changes)
            planned = replace(planned, changes=changes.with_contents(planned.changes, contents))
            return self._plan_repair(planned, before, recreate) if before else planned
        except BaseException:
            if planned.changes.id:
                self.change_sets.delete(planned.changes.stack, planned.changes.id)
            raise

    def plan_removal(self, state: StackState) -> ChangeSet:
        """What is deleted with a stack."""
        if not state.exists or state.is_empty:
            return ChangeSet(state.name, "DELETE", executable=state.exists)
        template = self.api.known_template(state)
        planned = changes.removal(state.name, self.api.entries(state.name), template)
        return changes.with_contents(planned, self._contents(planned))

    def stuck_error(self, state: StackState) -> StackStuck:
        """Why the rollback of a stack failed, and how to continue it."""
        failed = rollback_failures(self.api.events(state.id))
        own = {event.logical for event in failed}
        resources = [r for r in self.api.resources(state.name) if r.logical in own]
        missing = find_missing(self.aws, resources).missing
        return StackStuck(state, failed, [resource.logical for resource in missing])

    def _plan_replacement(self, planned: PlannedDeployment, state: StackState) -> PlannedDeployment:
        """The plan for a stack that failed to be created: it is deleted, and created again."""
        left = self.api.resources(state.name)
        notes = [f"{state.sentence}: it will be deleted first, and created again"]
        if left:
            contents = describe_contents(self.aws, left)
            listed = (f"{r.logical} ({contents.get(r.logical, label_of(r.type))})" for r in left)
            notes.append(f"its remaining resources will be deleted: {', '.join(listed)}")
        after = json.loads(planned.template.body)
        created = changes.created(planned.template.stack, after, notes)
        return replace(planned, changes=created, first="delete")

    def _plan_repair(
        self, planned: PlannedDeployment, before: Mapping[str, Any], recreate: Sequence[str]
    ) -> PlannedDeployment:
        """The plan, with resources recreated that someone deleted."""
        stack, deployed = planned.changes.stack, before.get("Resources", {})
        unknown = set(recreate) - set(deployed)
        if unknown:
            raise ConfigurationError(
                f"the stack {stack} has no resource {', '.join(sorted(unknown))}",
                next="name resources by their logical ids, as AWS's messages do",
            )
        resources = self.api.resources(stack)
        report = find_missing(self.aws, resources)
        change_set = planned.changes
        if report.unchecked:
            labels = ", ".join(map(label_of, report.unchecked))
            note = f"could not check whether each {labels} still exists"
            change_set = replace(change_set, notes=(*change_set.notes, note))
        # A resource that will be removed anyway need not exist.
        wanted = json.loads(planned.template.body).get("Resources", {})
        missing = {r.logical for r in report.missing} | set(recreate)
        missing &= set(deployed) & set(wanted)
        if not missing:
            return replace(planned, changes=change_set)
        physical = {r.logical: r.physical for r in resources}
        reduced = remove_missing(before, missing, physical, self.aws.place)
        dependents = [logical for logical in reduced.dependents if logical in wanted]
        recreated = _recreated(before, resources, missing, dependents)
        return replace(
            planned,
            changes=changes.with_recreated(change_set, recreated),
            first="repair",
            deployed=before,
            reduced=json.dumps(reduced.template, separators=(",", ":")),
        )

    def _contents(self, planned: ChangeSet) -> dict[str, str]:
        at_risk = {change.logical for change in planned.changes if change.endangers}
        if not at_risk:
            return {}
        resources = [r for r in self.api.resources(planned.stack) if r.logical in at_risk]
        return describe_contents(self.aws, resources)


def _recreated(
    before: Mapping[str, Any],
    resources: Iterable[StackResource],
    missing: set[str],
    dependents: Sequence[str],
) -> dict[str, Change]:
    owners = changes.owners(before)
    return {
        r.logical: Change(
            kind="recreated",
            logical=r.logical,
            type=r.type,
            name=template_name(before["Resources"][r.logical]) or shown_name(r.type, r.physical),
            config=owners.get(r.logical, ""),
            why="it was deleted outside CloudFormation"
            if r.logical in missing
            else "it depends on a deleted resource",
        )
        for r in resources
        if r.logical in missing or r.logical in dependents
    }
