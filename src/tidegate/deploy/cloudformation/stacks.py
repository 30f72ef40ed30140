"""Stacks of CloudFormation: planned as change sets, carried out, deleted.

    stacks = Stacks(clients, place, who=branch.who)
    planned = stacks.plan(template, role_arn=role)      makes a change set, changes nothing
    print(changes.describe(planned.changes))
    stacks.execute(planned, progress)                   or stacks.discard(planned)

What AWS's records mean is decided in ``states``, ``changes``, ``causes`` and ``mend``, which are
pure; ``stack_api`` asks, ``following`` watches, ``present`` looks what is really there. Whatever
goes wrong, CloudFormation leaves a stack at what ran before, or is on its way there.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Literal

from tidegate.deploy.cloudformation import changes
from tidegate.deploy.cloudformation import drift_detection as present
from tidegate.deploy.cloudformation.causes import advice
from tidegate.deploy.cloudformation.changes import Change, ChangeSet
from tidegate.deploy.cloudformation.drift_detection import Resource
from tidegate.deploy.cloudformation.drift_repair import without
from tidegate.deploy.cloudformation.event_tailing import (
    Operation,
    Outcome,
    Progress,
    begin,
    follow,
    interruptible,
    outcome,
    watching,
)
from tidegate.deploy.cloudformation.planned import (
    Planned,
    PlanOutdated,
    StackBusy,
    StackStuck,
    busy,
)
from tidegate.deploy.cloudformation.stack_api import CloudFormationError, StackApi
from tidegate.deploy.cloudformation.states import StackState, failed_to_go_back
from tidegate.deploy.cloudformation.upload import Upload, given
from tidegate.deploy.core.place import Place
from tidegate.deploy.design import placement
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.templates import Template
from tidegate.deploy.resources.kinds import name_from, own_name, word
from tidegate.errors import ConfigurationError
from tidegate.runtime.records import utc
from tidegate.targets.aws.clients import Clients, code_of
from tidegate.targets.aws.names import Names

__all__ = ["PlanOutdated", "Planned", "StackBusy", "StackStuck", "Stacks", "surplus"]

OLD = 86_400
"""Change sets of Tidegate's that nobody has executed for so long are deleted, s."""
_UNCHANGED = ("didn't contain changes", "No updates are to be performed")
_PREFIX = "tidegate-"

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
        """``who`` is the caller's ARN: others are told of it while an operation goes on."""
        self.api = StackApi(clients, place)
        self.clients, self.place, self.who, self.say, self.poll = clients, place, who, say, poll

    # How things stand

    def state(self, name: str) -> StackState:
        """How a stack stands."""
        return self.api.state(name)

    def branch_stacks(self, names: Names) -> tuple[StackState, ...]:
        """The pipelines stack of a branch and its siblings, as many as there are, by number."""
        there = self.api.names()
        known = (
            placement.stack_name(names, number) for number in range(1, placement.MOST_STACKS + 1)
        )
        found = (self.state(name) for name in known if name in there)
        return tuple(state for state in found if state.exists)

    def present(self, found: Iterable[StackState]) -> dict[str, int]:
        """In which of a branch's stacks each config lies now, by number."""
        templates = (self.api.template(state) for state in found if state.holds)
        return placement.placed([template.get("Metadata", {}) for template in templates])

    def stuck(self, state: StackState) -> StackStuck:
        """Why a stack is stuck, and how it goes on."""
        failed = failed_to_go_back(self.api.events(state.id))
        own = {event.logical for event in failed}
        inside = [r for r in self.api.resources(state.name) if r.logical in own]
        gone = present.look(self.clients, inside).gone
        return StackStuck(state, failed, [resource.logical for resource in gone])

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
    ) -> Planned:
        """Find out what it takes to bring a stack to ``template``; nothing is changed yet.

        ``recreate`` names resources, by logical id, that are to be made again although they may
        be there. With ``wait``, what goes on in the stack is waited for first.

        Raises:
            StackBusy: something goes on in it already.
            StackStuck: it has yet to go back to what it was.
            CloudFormationError: CloudFormation does not take the template.
        """
        stack = template.stack
        state = self.wait(stack) if wait else self.state(stack)
        nothing = ChangeSet(stack, "CREATE")
        planned = Planned(nothing, template, role_arn, dict(parameters or {}), upload)
        if state.condition == "busy":
            raise busy(state)
        if state.condition == "stuck":
            raise self.stuck(state)
        if state.condition == "unmade":
            return self._anew(planned, state)
        self._sweep(state)
        before = self.api.template(state) if state.condition == "fine" else {}
        planned = replace(planned, changes=self._propose(planned, before))
        try:
            weighed = changes.with_contents(planned.changes, self._contents(planned.changes))
            planned = replace(planned, changes=weighed)
            return self._mending(planned, before, recreate) if before else planned
        except BaseException:
            self.discard(planned)
            raise

    def planned_removal(self, state: StackState) -> ChangeSet:
        """What goes when a stack is deleted."""
        if not state.exists or state.shell:
            return ChangeSet(state.name, "DELETE", executable=state.exists)
        template = self.api.known_template(state)
        planned = changes.removal(state.name, self.api.entries(state.name), template)
        return changes.with_contents(planned, self._contents(planned))

    def discard(self, planned: Planned) -> None:
        """Leave nothing of a plan that is not carried out."""
        stack, id = planned.changes.stack, planned.changes.id
        if not id:
            return
        # With the stack's name, for permissions go by it.
        asked = {"StackName": stack, "ChangeSetName": id}
        self.api.call("delete_change_set", "delete the plan for", stack, **asked)
        state = self.state(stack)
        # A first plan leaves an empty stack, which someone else's plan may use.
        if state.shell and not self.api.change_sets(stack):
            self.api.call("delete_stack", "delete the empty stack", stack, StackName=state.id)
            while self.state(state.id).exists:
                time.sleep(self.poll / 2)

    def _anew(self, planned: Planned, state: StackState) -> Planned:
        """The plan for a stack that never came up: it is deleted, and made anew."""
        left = self.api.resources(state.name)
        notes = [f"{state.sentence}: it is deleted first, and made anew"]
        if left:
            inside = present.contents(self.clients, left)
            what = (f"{r.logical} ({inside.get(r.logical, word(r.type))})" for r in left)
            notes.append(f"what is left of it goes as well: {', '.join(what)}")
        after = json.loads(planned.template.body)
        made = changes.created(planned.template.stack, after, notes)
        return replace(planned, changes=made, first="delete")

    def _mending(
        self, planned: Planned, before: Mapping[str, Any], again: Sequence[str]
    ) -> Planned:
        """The plan, with what was deleted by hand made again."""
        stack, inside = planned.changes.stack, before.get("Resources", {})
        unknown = set(again) - set(inside)
        if unknown:
            raise ConfigurationError(
                f"the stack {stack} has no resource {', '.join(sorted(unknown))}",
                next="name resources as AWS's messages do, by their logical ids",
            )
        known = self.api.resources(stack)
        looked = present.look(self.clients, known)
        change_set = planned.changes
        if looked.unseen:
            kinds = ", ".join(map(word, looked.unseen))
            note = f"nobody could look whether each {kinds} is still there"
            change_set = replace(change_set, notes=(*change_set.notes, note))
        # What is to go anyway need not be there to go.
        wanted = json.loads(planned.template.body).get("Resources", {})
        lost = ({r.logical for r in looked.gone} | set(again)) & set(inside) & set(wanted)
        if not lost:
            return replace(planned, changes=change_set)
        mended = without(before, lost, {r.logical: r.physical for r in known}, self.place)
        along = [logical for logical in mended.along if logical in wanted]
        made = _made_again(before, known, lost, along)
        return replace(
            planned,
            changes=changes.with_recreated(change_set, made),
            first="recreate",
            deployed=before,
            mended=json.dumps(mended.template, separators=(",", ":")),
        )

    def _propose(self, planned: Planned, before: Mapping[str, Any]) -> ChangeSet:
        """Have CloudFormation make a change set; one without changes is deleted at once."""
        template, stack = planned.template, planned.template.stack
        kind: Literal["CREATE", "UPDATE"] = "UPDATE" if before else "CREATE"
        asked = {
            **given(template, planned.upload),
            "StackName": stack,
            "ChangeSetName": f"{_PREFIX}{secrets.token_hex(8)}",
            "ChangeSetType": kind,
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in sorted(planned.parameters.items())
            ],
            "Tags": [{"Key": key, "Value": v} for key, v in sorted(template.tags.items())],
        }
        asked |= {"RoleARN": planned.role_arn} if planned.role_arn else {}
        with self._refusals(stack):
            id = self.api.call("create_change_set", "plan the deployment of", stack, **asked)["Id"]
        made = replace(planned, changes=ChangeSet(stack, kind, id=str(id)))
        try:
            pages = self._pages(stack, str(id))
            reason = str(pages[0].get("StatusReason") or "")
            if pages[0]["Status"] == "FAILED" and not any(t in reason for t in _UNCHANGED):
                found = self.api.findings(ChangeSetName=str(id))
                raise CloudFormationError(
                    f"CloudFormation does not take the plan for the stack {stack}",
                    why="\n".join([reason, *(f"{e.what}: {e.reason}" for e in found)]),
                    next="mend what it says, and plan again",
                )
            read = changes.read(stack, pages, before=before, after=json.loads(template.body))
        except BaseException:
            self.discard(made)
            raise
        if read.executable:
            return read
        self.discard(made)
        return replace(read, id="")

    def _pages(self, stack: str, id: str) -> list[Mapping[str, Any]]:
        """All pages of a change set, once it is there."""
        pages: list[Mapping[str, Any]] = []
        asked = {"StackName": stack, "ChangeSetName": id}
        while True:
            page = self.api.call("describe_change_set", "read the plan for", stack, **asked)
            if page["Status"] not in ("CREATE_COMPLETE", "FAILED"):
                time.sleep(self.poll / 2)
                continue
            pages.append(page)
            if not page.get("NextToken"):
                return pages
            asked["NextToken"] = page["NextToken"]

    def _sweep(self, state: StackState) -> None:
        """Delete change sets of Tidegate's that nobody came back to."""
        now = datetime.now(timezone.utc)
        for summary in self.api.change_sets(state.name) if state.exists else ():
            age = (now - utc(summary["CreationTime"])).total_seconds()
            if summary["ChangeSetName"].startswith(_PREFIX) and age > OLD:
                old = {"StackName": state.name, "ChangeSetName": summary["ChangeSetId"]}
                self.api.call("delete_change_set", "delete an old plan for", state.name, **old)

    def _contents(self, planned: ChangeSet) -> dict[str, str]:
        at_risk = {change.logical for change in planned.changes if change.endangers}
        if not at_risk:
            return {}
        known = [r for r in self.api.resources(planned.stack) if r.logical in at_risk]
        return present.contents(self.clients, known)

    # Carrying out

    def execute(self, planned: Planned, progress: Progress | None = None) -> Outcome:
        """Carry a plan out, and follow it to its end, that of going back included.

        Raises:
            DeploymentFailed: with the first real cause; the stack is at what ran before.
            PlanOutdated: someone else has deployed since it was planned.
            LostSight: AWS goes on, but cannot be watched: credentials or network ended.
            Interrupted: Ctrl-C; AWS goes on.
        """
        stack = planned.changes.stack
        if planned.first == "delete":
            self.say(f"deleting what is left of the stack {stack}")
            self.delete(stack, role_arn=planned.role_arn, progress=progress)
            planned = replace(planned, changes=self._propose(planned, {}))
        elif planned.first == "recreate":
            planned = self._take_out(planned, progress)
        if planned.empty:
            return Outcome(stack, self.state(stack).status, 0.0)
        after = json.loads(planned.template.body)
        return self._execute(planned, changes.owners(after), progress)

    def delete(
        self,
        name: str,
        *,
        role_arn: str = "",
        retain: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Outcome:
        """Delete a stack, and wait until it is gone.

        ``retain`` names resources, by logical id, that an earlier attempt could not delete, and
        that are to stay, outside any stack.

        Raises:
            StackBusy: something goes on in it.
            DeploymentFailed: something in it cannot be deleted.
        """
        state = self.state(name)
        if not state.exists:
            return Outcome(name, "DELETE_COMPLETE", 0.0)
        if state.condition == "busy":
            raise busy(state)
        if state.protected:
            raise CloudFormationError(
                f"the stack {name} is protected from deletion",
                why="someone has switched that on for it, outside Tidegate",
                next="if it may go, switch it off: `aws cloudformation"
                f" update-termination-protection --no-enable-termination-protection --stack-name"
                f" {name}`",
            )
        asked: dict[str, Any] = {"RoleARN": role_arn} if role_arn else {}
        asked |= {"RetainResources": list(retain)} if retain else {}
        owners = changes.owners(self.api.known_template(state))
        operation = begin(self.api, "the deletion", state, self.who, owners)
        return self._do(operation, "delete_stack", progress, StackName=state.id, **asked)

    def continue_rollback(
        self,
        name: str,
        *,
        skip: Sequence[str] = (),
        role_arn: str = "",
        progress: Progress | None = None,
    ) -> Outcome:
        """Let a stack that is stuck go back to what it was.

        ``skip`` names resources, by logical id, that cannot go back, such as those that were
        deleted by hand: the next plan finds and mends them.

        Raises:
            DeploymentFailed: it still cannot go back.
        """
        state = self.state(name)
        if state.condition != "stuck":
            raise CloudFormationError(
                f"{state.sentence}: there is nothing to go back from", next="deploy as always"
            )
        asked: dict[str, Any] = {"RoleARN": role_arn} if role_arn else {}
        action = "rollback_stack"
        if state.status != "UPDATE_FAILED":
            action = "continue_update_rollback"
            asked |= {"ResourcesToSkip": list(skip)} if skip else {}
        owners = changes.owners(self.api.known_template(state))
        operation = begin(self.api, "going back", state, self.who, owners)
        return self._do(operation, action, progress, StackName=state.id, **asked)

    def wait(self, name: str, progress: Progress | None = None) -> StackState:
        """Wait until nothing goes on in a stack; how it stands then."""
        state = self.state(name)
        if state.condition != "busy":
            return state
        self.say(f"{state.sentence}; waiting for it")
        operation = begin(self.api, "what goes on", state)
        with interruptible(operation.doing, name), watching(operation.doing, name):
            follow(self.api, operation, progress, poll=self.poll, others=True)
        return self.state(name)

    def _take_out(self, planned: Planned, progress: Progress | None) -> Planned:
        """Take what was deleted by hand out of the stack, and plan anew what is to be there."""
        stack = planned.changes.stack
        self.say("making again what was deleted: first it is taken out of the stack, then put back")
        self.discard(planned)
        before = self.api.template(self.state(stack))
        if before != planned.deployed:
            raise PlanOutdated(
                f"the plan for the stack {stack} is out of date",
                why="someone else has deployed to it since",
                next="plan again, and look at what is left to change",
            )
        body = replace(planned.template, body=planned.mended)
        first = replace(planned, template=body)
        first = replace(first, changes=self._propose(first, before))
        if not first.empty:
            self._execute(first, changes.owners(before), progress)
        before = self.api.template(self.state(stack))
        return replace(planned, changes=self._propose(planned, before))

    def _execute(
        self, planned: Planned, owners: Mapping[str, str], progress: Progress | None
    ) -> Outcome:
        stack = planned.changes.stack
        operation = begin(
            self.api,
            "the creation" if planned.changes.kind == "CREATE" else "the update",
            self.state(stack),
            self.who,
            owners,
            {change.logical: change.name for change in planned.changes.changes},
        )
        try:
            return self._do(
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
            raise PlanOutdated(
                f"the plan for the stack {stack} is out of date",
                why=f"someone else has deployed to it since: {self.state(stack).sentence}",
                next="plan again, and look at what is left to change",
            ) from error

    def _do(
        self, operation: Operation, action: str, progress: Progress | None, **asked: Any
    ) -> Outcome:
        """Have CloudFormation do something, and follow it to its end."""
        stack, token = operation.stack, operation.token
        with interruptible(operation.doing, stack), self._refusals(stack):
            self.api.call(action, f"begin {operation.doing} of", stack,
                          ClientRequestToken=token, **asked)  # fmt: skip
            with watching(operation.doing, stack):
                events = follow(self.api, operation, progress, poll=self.poll)
                return outcome(self.api, operation, events)

    @contextmanager
    def _refusals(self, stack: str) -> Iterator[None]:
        """What CloudFormation refuses is told with what to do about it.

        Raises:
            StackBusy: it refuses since something goes on in the stack.
        """
        try:
            yield
        except CloudFormationError as error:
            if "_IN_PROGRESS" in error.why:
                state = self.state(stack)
                if state.condition == "busy":
                    raise busy(state) from error
            # Its code is still to be found behind it (``code_of``).
            error.next = error.next or advice(error.why, f"the stack {stack}")
            raise


def surplus(plan: Plan, found: Iterable[StackState]) -> tuple[StackState, ...]:
    """The stacks of a branch that a plan needs no more: their configs are gone."""
    needed = {stack.name for stack in plan.stacks}
    return tuple(state for state in found if state.name not in needed)


def _made_again(
    before: Mapping[str, Any], known: Iterable[Resource], lost: set[str], along: Sequence[str]
) -> dict[str, Change]:
    owners = changes.owners(before)
    return {
        r.logical: Change(
            kind="recreated",
            logical=r.logical,
            type=r.type,
            name=own_name(before["Resources"][r.logical]) or name_from(r.type, r.physical),
            config=owners.get(r.logical, ""),
            why="it was deleted outside CloudFormation"
            if r.logical in lost
            else "it belongs to what was deleted",
        )
        for r in known
        if r.logical in lost or r.logical in along
    }
