"""Whose is it? What says that something in AWS is one branch's, and what speaks against it; pure.

Names decide; tags and a function's own settings decide where names leave room. Repository ``waves``
with branch ``main-b`` and repository ``waves-main`` with branch ``b`` have the same names, and a
name of the one branch may begin like those of another. What only looks like the branch's is told,
and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from tidegate.deploy.design import metrics, placement
from tidegate.deploy.design.plan import tag_value
from tidegate.targets.aws.names import Names, fit

Kind = Literal[
    "rule",
    "schedule group",
    "function",
    "alarm",
    "dashboard",
    "queue",
    "role",
    "policy",
    "topic",
    "pipeline",
    "build project",
    "repository",
    "log group",
]
"""The kinds of things that a branch has, beside its stacks and its data."""

STACK_TAG = "aws:cloudformation:stack-name"
"""The tag that says in which stack something lies."""

_HEAD = 12
# So much of its beginning a name keeps, however much it is shortened.
_SHORTENED = re.compile(r"-[0-9a-f]{8}$")
# What the older recipe made by itself, outside any stack: any name of this form is one of its.
_OLDER = {
    "function": ("{base}-lambda-", r".+-.+"),
    "rule": ("{base}-lambda-", r".+-.+-cron-rule"),
    "log group": ("/aws/lambda/{base}-lambda-", r".+-.+"),
}


@dataclass(frozen=True)
class Verdict:
    """Whether something is the branch's, and how that is known."""

    ours: bool
    """Whether it is."""
    why: str
    """What says so, or what speaks against it."""


@dataclass(frozen=True)
class Belongings:
    """What one branch's things are called."""

    names: Names
    """The names as they are given now."""
    configs: tuple[tuple[str, str], ...]
    """Pipeline and config of all that the config file has."""
    others: frozenset[str] = frozenset()
    """What the names of other branches begin with, as far as they are known."""
    stacks: frozenset[str] = field(default_factory=frozenset)
    """The branch's own stacks."""
    logs: frozenset[str] = frozenset()
    """The log groups of what lies in its stacks, and of its functions."""
    foreign: frozenset[str] = frozenset()
    """The functions that are there and are not the branch's."""

    @cached_property
    def tags(self) -> dict[str, str]:
        """The tags on all that a deployment makes."""
        names = self.names
        return {"branch": tag_value(names.branch), "repository": tag_value(names.repository)}

    @cached_property
    def exact(self) -> Mapping[Kind, Mapping[str, str]]:
        """By kind: every name that follows from the config file, and what it is the name of."""
        names = self.names
        numbered: dict[Kind, tuple[str, int]] = {
            "schedule group": (names.schedule_group, 64),
            "dashboard": (names.dashboard, 255),
            "role": (names.scheduler_role, 64),
        }
        found: dict[Kind, dict[str, str]] = {
            "rule": {names.build_rule: "builds", names.codepipeline_rule: "builds"},
            "schedule group": {},
            "function": {},
            "alarm": {},
            "dashboard": {},
            "queue": {},
            "role": {
                names.build_role: "builds",
                names.codepipeline_role: "builds",
                names.deploy_role: "deployments",
            },
            "policy": {names.boundary: "the limit of all roles"},
            "topic": {names.alerts_topic: "alerts"},
            "pipeline": {names.codepipeline: "builds", f"{names.base}-build-pipeline": "builds"},
            "build project": {names.build_project: "builds"},
            "repository": {names.image_repository: "images"},
            "log group": {names.build_log_group: "builds"}
            | dict.fromkeys(self.logs, "what its stack holds"),
        }
        for kind, (name, limit) in numbered.items():
            found[kind] |= {
                name if n == 1 else fit(f"{name}-{n}", limit=limit): "schedules"
                for n in range(1, placement.MOST_STACKS + 1)
            }
        for pipeline, config in self.configs:
            for kind, name in _of_config(names, pipeline, config):
                found[kind][name] = f"{pipeline}/{config}"
        return found

    def prefixes(self, kind: Kind) -> tuple[str, ...]:
        """What to look for: beginnings of names that may be the branch's."""
        base = self.names.base
        begins = {f"{base}-"}
        if kind == "log group":
            begins = {
                f"/aws/lambda/{base}-",
                *(f"/aws/codebuild/{b}" for b in (base, self._compact)),
            }
        for name in self.exact[kind]:
            if not name.startswith(tuple(begins)):  # it was shortened
                service = re.match(r"(/aws/\w+/)?", name)
                begins.add(name[: _HEAD + len(service[0] if service else "")])
        return tuple(sorted(begins))

    @property
    def _compact(self) -> str:
        """What CloudFormation called the older recipe's build project: without its hyphens."""
        return re.sub(r"[^A-Za-z0-9]", "", f"{self.names.base}-build-project")

    def judge(
        self,
        kind: Kind,
        name: str,
        tags: Mapping[str, str] = {},
        settings: Mapping[str, str] = {},
    ) -> Verdict | None:
        """Whether something is the branch's; None when nothing makes one think so.

        ``settings`` are the environment variables of a function.
        """
        base = self.names.base
        tagged = all(tags.get(key) == value for key, value in self.tags.items())
        about = self.exact[kind].get(name)
        begins = name.startswith((f"{base}-", f"/aws/lambda/{base}-", f"/aws/codebuild/{base}-"))
        cdk = kind == "log group" and self._is_cdks(name)
        if not (tagged or begins or cdk or about is not None):
            return None
        against = self._against(name, tags, settings, exact=about is not None)
        if against:
            return Verdict(False, against)
        if about is not None:
            return Verdict(True, f"the name for {about}")
        if tagged and (begins or self._resembles(name)):
            return Verdict(True, "its tags")
        if tagged:
            return Verdict(False, "it is tagged as this branch's, but has no name of Tidegate's")
        if kind == "function" and self._set_so(name, settings):
            return Verdict(True, "its settings")
        if cdk:
            return Verdict(True, "the name that the older recipe's stack gave it")
        if self._is_older(kind, name):
            return Verdict(True, "a name of the older recipe")
        return Verdict(False, "its name begins like this branch's, and nothing else says so")

    def _against(
        self, name: str, tags: Mapping[str, str], settings: Mapping[str, str], *, exact: bool
    ) -> str:
        """What says that it is another's; "" for nothing."""
        stack = tags.get(STACK_TAG)
        if stack is not None and stack not in self.stacks and not self._is_stack(stack):
            return f"it lies in the stack {stack}"
        for key, value in self.tags.items():
            if key in tags and tags[key] != value:
                return f"its tag {key} is {tags[key]}"
        branch = settings.get("BRANCH", self.names.branch)
        if branch != self.names.branch:
            return f"its BRANCH is {branch}"
        function = name.removeprefix("/aws/lambda/")
        if function != name and function in self.foreign:
            return f"it is the log of {function}, which is another's"
        if exact:
            return ""
        bare = name.removeprefix("/aws/lambda/").removeprefix("/aws/codebuild/")
        for other in sorted(self.others):
            if other.startswith(f"{self.names.base}-") and bare.startswith(f"{other}-"):
                return f"it has a name of {other}"
        return ""

    def _is_stack(self, name: str) -> bool:
        return name in stack_names(self.names)

    def _resembles(self, name: str) -> bool:
        """Whether a name is one of the branch's that was shortened: what ends in a hash."""
        bare = name.removeprefix("/aws/lambda/").removeprefix("/aws/codebuild/")
        head = self.names.base[:_HEAD]
        return bool(_SHORTENED.search(bare)) and bare.startswith(head)

    def _set_so(self, name: str, settings: Mapping[str, str]) -> bool:
        """Whether a function's own variables say that it has this very name."""
        pipeline, config = settings.get("PIPELINE_NAME"), settings.get("CONFIG_ID")
        if not pipeline or not config or settings.get("BRANCH") != self.names.branch:
            return False
        return name in (
            self.names.function(pipeline, config),
            *older_functions(self.names, pipeline, config),
        )

    def _is_older(self, kind: Kind, name: str) -> bool:
        """Whether a name has the form that the older recipe gave to what it made by itself."""
        if kind not in _OLDER:
            return False
        begins, rest = _OLDER[kind]
        begins = begins.format(base=self.names.base)
        return name.startswith(begins) and bool(re.fullmatch(rest, name[len(begins) :]))

    def _is_cdks(self, name: str) -> bool:
        """Whether a log group is of what the CDK put into the older recipe's stack.

        CloudFormation cuts the stack's name off; what is left must still tell the branch.
        """
        build = f"/aws/codebuild/{re.escape(self._compact)}[0-9A-F]{{8}}-\\w{{12,13}}"
        if re.fullmatch(build, name):
            return True
        found = re.fullmatch(r"/aws/lambda/(.+)-CustomS3AutoDelete\w*-\w+", name)
        stack = self.names.codepipeline_stack
        least = len(self.names.base) + 2
        return bool(found and len(found[1]) >= least and stack.startswith(found[1]))


def older_functions(names: Names, pipeline: str, config: str) -> tuple[str, str]:
    """The names that the older recipe gave to a config's function, by its version."""
    base = names.base
    return f"{base}-lambda-{pipeline}-{config}", f"{base}-{pipeline}-{config}"


def stack_names(names: Names) -> tuple[str, ...]:
    """The pipelines stack, its siblings as many as there may be, and the CodePipeline stack."""
    siblings = [
        placement.stack_name(names, number) for number in range(1, placement.MOST_STACKS + 1)
    ]
    return (*siblings, names.codepipeline_stack)


def bases(stacks: Iterable[str]) -> frozenset[str]:
    """What the names of the branches begin with that have these stacks, as far as they tell."""
    found = (re.fullmatch(r"(.+)-(?:CodePipeline|Pipelines)Stack(?:-\d+)?", one) for one in stacks)
    return frozenset(match[1] for match in found if match)


def _of_config(names: Names, pipeline: str, config: str) -> Iterable[tuple[Kind, str]]:
    """Every name that one config gives rise to, the older recipe's included."""
    functions = dict.fromkeys(
        (names.function(pipeline, config), *older_functions(names, pipeline, config))
    )
    for function in functions:
        yield "function", function
        yield "log group", f"/aws/lambda/{function}"
        yield "rule", f"{function}-cron-rule"
    yield "rule", names.rule(pipeline, config)
    yield "role", names.role(pipeline, config)
    yield "queue", names.queue(pipeline, config)
    yield "queue", names.dead_letter_queue(pipeline, config)
    for about in metrics.ABOUT:
        yield "alarm", names.alarm(pipeline, config, about)
