"""What the registry says of each type of AWS resource, and the connection that it works with."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.placement import MOST_STACKS
from tidegate.runtime.wording import quantity
from tidegate.targets.aws.clients import Clients, Missing, code_of, explained
from tidegate.targets.aws.names import Names, numbered

ARRIVALS = "files that arrive"
"""What the event bus of a stack is for."""
EMPTY = "nothing"
"""``contents`` of a resource that is known to be empty."""
Configs = Collection[tuple[str, str]]
"""Pipeline and config name of every config in the config file."""

_GONE = {
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchEntity",
    "NotFound",
    "NotFoundException",
    "PipelineNotFoundException",
    "QueueDoesNotExist",
    "RepositoryNotFoundException",
    "ResourceNotFound",
    "ResourceNotFoundException",
}


@dataclass(frozen=True)
class AwsContext:
    """One account and region, and the clients that work in it."""

    clients: Clients
    """The clients, with the caller's credentials."""
    place: Place
    """The account and region."""

    def list_all(self, service: str, operation: str, part: str, **arguments: Any) -> Iterator[Any]:
        """All items of a list that AWS returns in pages; ``part`` is the key of the items."""
        for page in self.clients.client(service).get_paginator(operation).paginate(**arguments):
            yield from page.get(part, ())


@dataclass(frozen=True)
class FoundResource:
    """A resource that exists in the account."""

    type: SearchableType
    """Its type."""
    name: str
    """Its name."""
    arn: str
    """Its ARN; of a queue, its URL."""
    detail: str = ""
    """What a person should know about it."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """A function's environment variables."""
    tags: Mapping[str, str] | None = None
    """Its tags, if they came with the list."""

    @property
    def title(self) -> str:
        """Its label and its name, such as ``queue waves-main-queue-buoy-morro``."""
        return f"{self.type.label} {self.name}"


class ResourceType:
    """A type of AWS resource.

    Subclasses set the attributes, and override the methods that their service supports. This class
    alone is enough for types that only occur inside stacks and need no more than a label.
    """

    type: str
    """CloudFormation's name of the type, such as ``AWS::SQS::Queue``."""
    label: str
    """What a person calls one of them."""
    named: bool = True
    """Whether its physical id contains a name that a person knows."""
    name_property: ClassVar[str] = ""
    """The template property with its name; "" if a template does not name it."""
    arn_service: ClassVar[str] = ""
    """The service in its ARN; "" if its ARN cannot be formed from its name."""
    arn_prefix: ClassVar[str] = ""
    """What is before its name in the last part of its ARN."""
    arn_suffix: ClassVar[str] = ""
    """What is after its name in its ARN."""
    holds: ClassVar[str] = ""
    """What is lost when it is deleted, such as ``messages``; "" for nothing."""
    keeps_data: ClassVar[bool] = False
    """Whether it must outlive its stack, because it holds data or protects data."""
    useless_without: ClassVar[Sequence[str]] = ()
    """The types that it depends on: if such a resource is lost, this one must be recreated too."""
    existence_checked: ClassVar[bool] = False
    """Whether drift detection checks that it still exists (``exists``)."""

    @property
    def plural(self) -> str:
        """What a person calls several of them."""
        return f"{self.label[:-1]}ies" if self.label.endswith("y") else f"{self.label}s"

    def count(self, number: int) -> str:
        """A number of them in words: ``1 queue``, ``3 policies``."""
        return f"{number} {self.label if number == 1 else self.plural}"

    def name_in(self, template_resource: Mapping[str, Any]) -> str:
        """The name that a template gives the resource; "" if it gives none."""
        name = template_resource.get("Properties", {}).get(self.name_property)
        return name if isinstance(name, str) else ""

    def name_of(self, physical: str) -> str:
        """The name in a physical id, which may be a name, a URL or an ARN."""
        if "://" in physical:
            return physical.rsplit("/", 1)[-1]
        if physical.startswith("arn:"):
            return re.split("[:/]", physical)[-1]
        return physical

    def arn(self, place: Place, name: str, properties: Mapping[str, Any] = {}) -> str:
        """Its ARN; "" if it cannot be formed from its name and its ``properties``."""
        if not self.arn_service:
            return ""
        return place.arn(self.arn_service, f"{self.arn_prefix}{name}{self.arn_suffix}")

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether it exists; only called if ``existence_checked``.

        Any AWS error that ``is_gone`` recognizes also means that it does not exist.
        """
        raise NotImplementedError

    def exists_by_id(self, aws: AwsContext, physical: str) -> bool:
        """The same, by its physical id."""
        return self.exists(aws, self.name_of(physical))

    def contents(self, aws: AwsContext, physical: str) -> str:
        """What is in it, in words; ``EMPTY``; "" if unknown. Only called if it ``holds`` things."""
        raise NotImplementedError


class SearchableType(ResourceType, ABC):
    """A type that Tidegate also looks for outside the branch's stacks, and can delete there."""

    starts_runs: ClassVar[bool] = False
    """Whether it starts runs, or executes them: these are deleted before the stacks."""
    older_pattern: ClassVar[tuple[str, str] | None] = None
    """The names that the older recipe gave outside its stack: a prefix with ``{base}``, and a
    regular expression for the rest."""

    @abstractmethod
    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All in the account and region with names that start with a prefix."""

    @abstractmethod
    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of one."""

    @abstractmethod
    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete one."""

    @abstractmethod
    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """Every name that follows from the config file, the older recipe's names included; with
        what each is the name of."""

    def search_prefixes(self, names: Names) -> set[str]:
        """Prefixes that a search for the branch's resources starts with."""
        return {f"{names.base}-"}

    def is_older_stack_name(self, names: Names, name: str) -> bool:
        """Whether CloudFormation generated this name for a resource of the older recipe's stack."""
        return False


def is_gone(error: BaseException) -> bool:
    """Whether an error of AWS says that the resource does not exist."""
    return isinstance(error, Missing) or code_of(error) in _GONE


def tags_of(aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
    """The tags of a resource; none if it no longer exists.

    Raises:
        StorageError: AWS refuses.
    """
    if found.tags is not None:
        return found.tags
    try:
        with explained(f"read the tags of the {found.type.label}", found.name):
            return found.type.read_tags(aws, found)
    except Exception as error:
        if is_gone(error):
            return {}
        raise


def delete_resource(aws: AwsContext, found: FoundResource) -> None:
    """Delete a resource; nothing happens if it no longer exists.

    Raises:
        StorageError: AWS refuses.
    """
    try:
        with explained(f"delete the {found.type.label}", found.name):
            found.type.delete(aws, found)
    except Exception as error:
        if not is_gone(error):
            raise


# Helpers for the types.


def tag_mapping(items: Any, key: str = "Key", value: str = "Value") -> dict[str, str]:
    """Tags as a mapping, from a list of pairs."""
    return {str(item[key]): str(item.get(value, "")) for item in items or ()}


def numbered_names(name: str, limit: int, stacks: int, about: str = "schedules") -> dict[str, str]:
    """The names of something that each pipelines stack has once, shortened to ``limit``."""
    found = (numbered(name, number, limit) for number in range(1, stacks + 1))
    return dict.fromkeys(found, about)


def older_function_names(names: Names, pipeline: str, config: str) -> tuple[str, str]:
    """The names that versions of the older recipe gave to a config's function."""
    return f"{names.base}-lambda-{pipeline}-{config}", f"{names.base}-{pipeline}-{config}"


def function_names(names: Names, pipeline: str, config: str) -> Iterable[str]:
    """The name of a config's function, and the older recipe's names of it, each once."""
    older = older_function_names(names, pipeline, config)
    return dict.fromkeys((names.function(pipeline, config), *older))


def sweep_names(names: Names, kind: str) -> dict[str, str]:
    """The functions or roles of the sweeps of all stacks."""
    return {names.sweep(kind, number): "the sweep" for number in range(1, MOST_STACKS + 1)}


def arrivals_names(names: Names, kind: str) -> dict[str, str]:
    """The rules or dead-letter queues of all stacks for files that arrive."""
    numbers = range(1, MOST_STACKS + 1)
    return {names.arrivals(kind, number): ARRIVALS for number in numbers}


def count_in_words(count: int, what: str) -> str:
    """``12 messages``, ``1 message``, or ``EMPTY``."""
    if not count:
        return EMPTY
    return quantity(count, what)
