"""Which branch a resource belongs to, decided from its name, its tags and its settings; pure.

Names decide; tags and a function's own settings decide where names are ambiguous. Repository
``waves`` with branch ``main-b`` and repository ``waves-main`` with branch ``b`` have the same
names, and a name of one branch may begin like those of another. What only looks like the branch's
is reported and kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tidegate.deploy.design import placement
from tidegate.deploy.design.plan import tag_value
from tidegate.deploy.resources.base import SearchableType, older_function_names
from tidegate.deploy.resources.registry import FUNCTION, LOG_GROUP, SEARCHABLE_TYPES
from tidegate.targets.aws.names import Names

STACK_TAG = "aws:cloudformation:stack-name"
"""The tag in which CloudFormation notes the stack of a resource."""

_HEAD = 12
# A name that is shortened keeps at least this many of its first characters.
_SHORTENED = re.compile(r"-[0-9a-f]{8}$")
_SERVICE = re.compile(r"/aws/(?:lambda|codebuild)/")


@dataclass(frozen=True)
class Ownership:
    """Whether a resource belongs to the branch."""

    ours: bool
    """Whether it does."""
    why: str
    """The evidence for or against it."""


@dataclass(frozen=True)
class OwnershipRules:
    """What is known about a branch, to decide which resources belong to it."""

    names: Names
    """The names that Tidegate gives now."""
    configs: tuple[tuple[str, str], ...]
    """Pipeline and config name of every config in the config file."""
    others: frozenset[str] = frozenset()
    """The prefixes of other branches' names, as far as they are known."""
    stacks: frozenset[str] = field(default_factory=frozenset)
    """The branch's own stacks."""
    logs: frozenset[str] = frozenset()
    """The log groups of functions and builds that belong to the branch."""
    foreign: frozenset[str] = frozenset()
    """The existing functions that do not belong to the branch."""

    @cached_property
    def tags(self) -> dict[str, str]:
        """The tags on everything that a deployment creates."""
        names = self.names
        return {"branch": tag_value(names.branch), "repository": tag_value(names.repository)}

    @cached_property
    def _expected(self) -> Mapping[SearchableType, Mapping[str, str]]:
        found = {one: one.expected_names(self.names, self.configs) for one in SEARCHABLE_TYPES}
        found[LOG_GROUP] |= dict.fromkeys(self.logs, "what its stack contains")
        return found

    def expected(self, type: SearchableType) -> Mapping[str, str]:
        """Every name of a type that follows from the config file, and what it is the name of."""
        return self._expected[type]

    def prefixes(self, type: SearchableType) -> tuple[str, ...]:
        """What to search for: prefixes of names that may be the branch's."""
        found = type.search_prefixes(self.names)
        for name in self.expected(type):
            if not name.startswith(tuple(found)):  # it was shortened
                service = re.match(r"(/aws/\w+/)?", name)
                found.add(name[: _HEAD + len(service[0] if service else "")])
        return tuple(sorted(found))

    def decide(
        self,
        type: SearchableType,
        name: str,
        tags: Mapping[str, str] = {},
        settings: Mapping[str, str] = {},
    ) -> Ownership | None:
        """Whether a resource belongs to the branch; None if nothing suggests it.

        ``settings`` are the environment variables of a function.
        """
        base = self.names.base
        tagged = all(tags.get(key) == value for key, value in self.tags.items())
        about = self.expected(type).get(name)
        begins = name.startswith((f"{base}-", f"/aws/lambda/{base}-", f"/aws/codebuild/{base}-"))
        generated = type.is_older_stack_name(self.names, name)
        if not (tagged or begins or generated or about is not None):
            return None
        against = self._evidence_against(name, tags, settings, exact=about is not None)
        if against:
            return Ownership(False, against)
        if about is not None:
            return Ownership(True, f"the name for {about}")
        if tagged and (begins or self._is_shortened_name(name)):
            return Ownership(True, "its tags")
        if tagged:
            return Ownership(False, "it has this branch's tags, but not a name from Tidegate")
        if type is FUNCTION and self._settings_match(name, settings):
            return Ownership(True, "its settings")
        if generated:
            return Ownership(True, "the name that the older recipe's stack gave it")
        if self._has_older_name(type, name):
            return Ownership(True, "a name of the older recipe")
        return Ownership(False, "its name begins like this branch's, but nothing else indicates it")

    def _evidence_against(
        self, name: str, tags: Mapping[str, str], settings: Mapping[str, str], *, exact: bool
    ) -> str:
        """What indicates that it belongs to someone else; "" for nothing."""
        stack = tags.get(STACK_TAG)
        if stack is not None and stack not in self.stacks | set(stack_names(self.names)):
            return f"it belongs to the stack {stack}"
        for key, value in self.tags.items():
            if key in tags and tags[key] != value:
                return f"its tag {key} is {tags[key]}"
        branch = settings.get("BRANCH", self.names.branch)
        if branch != self.names.branch:
            return f"its BRANCH is {branch}"
        function = name.removeprefix("/aws/lambda/")
        if function != name and function in self.foreign:
            return f"it is the log of {function}, which does not belong to this branch"
        if exact:
            return ""
        bare = _SERVICE.sub("", name)
        for other in sorted(self.others):
            if other.startswith(f"{self.names.base}-") and bare.startswith(f"{other}-"):
                return f"it has a name of {other}"
        return ""

    def _is_shortened_name(self, name: str) -> bool:
        """Whether it may be a shortened name of the branch: those end in a hash."""
        bare = _SERVICE.sub("", name)
        return bool(_SHORTENED.search(bare)) and bare.startswith(self.names.base[:_HEAD])

    def _settings_match(self, name: str, settings: Mapping[str, str]) -> bool:
        """Whether a function's own variables lead to this very name."""
        pipeline, config = settings.get("PIPELINE_NAME"), settings.get("CONFIG_ID")
        if not pipeline or not config or settings.get("BRANCH") != self.names.branch:
            return False
        return name in (
            self.names.function(pipeline, config),
            *older_function_names(self.names, pipeline, config),
        )

    def _has_older_name(self, type: SearchableType, name: str) -> bool:
        """Whether a name has the form that the older recipe gave outside its stack."""
        if type.older_pattern is None:
            return False
        begins, rest = type.older_pattern
        begins = begins.format(base=self.names.base)
        return name.startswith(begins) and bool(re.fullmatch(rest, name[len(begins) :]))


def stack_names(names: Names) -> tuple[str, ...]:
    """The names that a branch's stacks may have: pipelines stacks, then the CodePipeline stack."""
    numbers = range(1, placement.MOST_STACKS + 1)
    return (*(placement.stack_name(names, n) for n in numbers), names.codepipeline_stack)


def branch_prefixes(stacks: Iterable[str]) -> frozenset[str]:
    """The prefixes of the names of all branches that have these stacks."""
    found = (re.fullmatch(r"(.+)-(?:CodePipeline|Pipelines)Stack(?:-\d+)?", one) for one in stacks)
    return frozenset(match[1] for match in found if match)
