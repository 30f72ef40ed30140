"""All that is there of a branch: looked for by names, tags and settings; nothing is changed.

``look`` asks AWS anew each time: so it says what is to be removed, what is left after a removal
that was broken off, and, at last, that nothing is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tidegate import config as configuration
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.core.branch import Branch
from tidegate.deploy.resources import unmanaged
from tidegate.deploy.resources.handlers import Seen, Way
from tidegate.deploy.resources.ownership import Belongings, Kind, bases
from tidegate.deploy.resources.unmanaged import Notification, Stranger, Thing, tried
from tidegate.targets.aws.clients import explained

TYPES: Mapping[str, Kind] = {
    "AWS::CloudWatch::Alarm": "alarm",
    "AWS::CloudWatch::Dashboard": "dashboard",
    "AWS::CodeBuild::Project": "build project",
    "AWS::CodePipeline::Pipeline": "pipeline",
    "AWS::ECR::Repository": "repository",
    "AWS::Events::Rule": "rule",
    "AWS::IAM::ManagedPolicy": "policy",
    "AWS::IAM::Role": "role",
    "AWS::Lambda::Function": "function",
    "AWS::Logs::LogGroup": "log group",
    "AWS::SNS::Topic": "topic",
    "AWS::SQS::Queue": "queue",
    "AWS::Scheduler::ScheduleGroup": "schedule group",
}
"""What CloudFormation calls the kinds of things that are looked for outside stacks, too."""
_NAME_AFTER = {
    "AWS::SQS::Queue": "/",
    "AWS::IAM::ManagedPolicy": "/",
    "AWS::SNS::Topic": ":",
    "AWS::Events::Rule": "|",
}


@dataclass(frozen=True)
class Resource:
    """Something in a stack."""

    logical: str
    """Its id in the template."""
    type: str
    """CloudFormation's word for its kind."""
    physical: str
    """Its name, ARN or address."""

    @property
    def name(self) -> str:
        """Its name alone."""
        separator = _NAME_AFTER.get(self.type)
        return self.physical.rsplit(separator, 1)[-1] if separator else self.physical


@dataclass(frozen=True)
class Held:
    """A stack of the branch, with what is in it."""

    state: StackState
    """How it is."""
    resources: tuple[Resource, ...]
    """What is in it."""

    @property
    def counts(self) -> Counter[str]:
        """How many there are of each type."""
        return Counter(resource.type for resource in self.resources)


@dataclass(frozen=True)
class Owned:
    """All that there is of a branch, its data aside."""

    stacks: tuple[Held, ...] = ()
    """Its stacks, in the order in which they are to go."""
    things: tuple[Thing, ...] = ()
    """What lies in no stack, in the order in which it is to go."""
    notifications: tuple[Notification, ...] = ()
    """What calls its functions when files arrive, in the older recipe."""
    strangers: tuple[Stranger, ...] = ()
    """What looks like it, and is another's."""
    unseen: tuple[str, ...] = ()
    """What could not be looked for, and why."""
    functions: tuple[Seen, ...] = field(default=(), repr=False)
    """All functions of the account and region: they say which buckets are used by whom."""

    @property
    def nothing(self) -> bool:
        """Whether there is nothing, as far as could be seen."""
        return not (self.stacks or self.things or self.notifications)


def look(branch: Branch) -> Owned:
    """All that there is of a branch.

    Raises:
        StorageError: its stacks cannot be looked at.
    """
    way, unseen = Way(branch.clients, branch.place), list[str]()
    held, foreign = _stacks(branch, way)
    functions = unmanaged.functions(way, unseen)
    belongings = _belongings(branch, way, held, functions, unseen)
    inside = {
        (TYPES[resource.type], resource.name)
        for stack in held
        for resource in stack.resources
        if resource.type in TYPES
    }
    found = unmanaged.look(way, belongings, functions, inside, _buckets(branch))
    return Owned(
        stacks=held,
        things=found.things,
        notifications=found.notifications,
        strangers=tuple(dict.fromkeys([*foreign, *found.strangers])),
        unseen=tuple(dict.fromkeys([*unseen, *found.unseen])),
        functions=tuple(functions),
    )


def _buckets(branch: Branch) -> tuple[str, ...]:
    keys = branch.keys
    return tuple(dict.fromkeys(b for b in (keys.input_bucket_name, keys.output_bucket_name) if b))


def _stacks(branch: Branch, way: Way) -> tuple[tuple[Held, ...], list[Stranger]]:
    """The stacks that are the branch's by name, unless their tags say that they are another's."""
    stacks = Stacks(branch.clients, branch.place)
    states = [
        *reversed(stacks.branch_stacks(branch.names)),
        stacks.state(branch.names.codepipeline_stack),
    ]
    tags = Belongings(branch.names, ()).tags
    held: list[Held] = []
    strangers: list[Stranger] = []
    for state in states:
        if not state.exists:
            continue
        wrong = [key for key, value in tags.items() if state.tags.get(key, value) != value]
        if wrong:
            said = ", ".join(f"{key} {state.tags[key]}" for key in wrong)
            strangers.append(Stranger(f"the stack {state.name}", f"its tags say {said}"))
        else:
            held.append(Held(state, _resources(way, state.id)))
    return tuple(held), strangers


def _resources(way: Way, stack: str) -> tuple[Resource, ...]:
    with explained("list the resources of", stack):
        entries = list(
            way.pages(
                "cloudformation", "list_stack_resources", "StackResourceSummaries", StackName=stack
            )
        )
    return tuple(
        Resource(
            entry["LogicalResourceId"],
            entry["ResourceType"],
            str(entry.get("PhysicalResourceId") or ""),
        )
        for entry in entries
        if entry["ResourceStatus"] != "DELETE_COMPLETE"
    )


def _belongings(
    branch: Branch, way: Way, held: Iterable[Held], functions: Iterable[Seen], unseen: list[str]
) -> Belongings:
    manifest = configuration.resolve(branch.reading, None).manifest
    configs = manifest.configs if manifest else ()

    def listed() -> list[str]:
        stacks = way.pages("cloudformation", "list_stacks", "StackSummaries")
        return [s["StackName"] for s in stacks if s["StackStatus"] != "DELETE_COMPLETE"]

    stacks = tried("other branches", unseen, listed) or []
    model = branch.reading.model
    told = {f"{branch.names.repository}-{name}" for name in (model.branches or {} if model else {})}
    return Belongings(
        branch.names,
        tuple((config.pipeline, config.name) for config in configs),
        others=(bases(stacks) | told | _of_functions(functions)) - {branch.names.base},
        stacks=frozenset(stack.state.name for stack in held),
        logs=frozenset(_logs_of(held)),
    )


def _of_functions(functions: Iterable[Seen]) -> set[str]:
    """What the names of branches begin with, by the names of their functions."""
    found = set()
    for seen in functions:
        branch = seen.settings.get("BRANCH", "")
        head, _, rest = seen.name.partition(f"-{branch}-") if branch else ("", "", "")
        if rest:
            found.add(f"{head}-{branch}")
    return found


def _logs_of(held: Iterable[Held]) -> Iterator[str]:
    """The log groups of functions and builds in stacks: those of the older recipe are in none."""
    for stack in held:
        for resource in stack.resources:
            if resource.type == "AWS::Lambda::Function":
                yield f"/aws/lambda/{resource.name}"
            elif resource.type == "AWS::CodeBuild::Project":
                yield f"/aws/codebuild/{resource.name}"
