"""A template as records: its resources, how they refer to each other, and their logical ids."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.config.checks import DYNAMIC_REFERENCE
from tidegate.errors import ConfigurationError

INLINE = 51_200
"""Bytes of a template that CloudFormation takes in a request; a longer one must be in S3."""
LARGEST = 1_000_000
"""Bytes of the longest template that CloudFormation takes."""


@dataclass(frozen=True)
class Resource:
    """One resource of a template."""

    id: str
    """Its logical id. CloudFormation replaces a resource when this changes."""
    type: str
    """Its type, such as ``AWS::SQS::Queue``."""
    properties: Mapping[str, Any]
    """Its properties, under CloudFormation's own names. A property that is None is left out."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Its tags; empty for types without tags."""
    depends_on: tuple[str, ...] = ()
    """The logical ids of resources that must exist first, beyond those it refers to."""
    condition: str = ""
    """The template's condition under which it is made; empty for always."""
    retain: bool = False
    """Whether CloudFormation keeps it when it is removed from the template or replaced."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Rules of cdk-nag that it breaks on purpose, and why. They are not part of the template."""

    @property
    def ref(self) -> dict[str, str]:
        """A reference to it: its name, or what ``Ref`` gives for its type."""
        return {"Ref": self.id}

    @property
    def arn(self) -> dict[str, list[str]]:
        """A reference to its ARN."""
        return {"Fn::GetAtt": [self.id, "Arn"]}

    def document(self) -> dict[str, Any]:
        """The resource as it is written in a template."""
        properties = {key: value for key, value in self.properties.items() if value is not None}
        if self.tags:
            properties["Tags"] = [{"Key": k, "Value": v} for k, v in sorted(self.tags.items())]
        document: dict[str, Any] = {"Type": self.type, "Properties": properties}
        if self.depends_on:
            document["DependsOn"] = sorted(self.depends_on)
        if self.condition:
            document["Condition"] = self.condition
        if self.retain:
            document |= {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
        return document


@dataclass(frozen=True)
class Template:
    """The template of one stack."""

    stack: str
    """The name of the stack."""
    body: str
    """The template, JSON."""
    tags: Mapping[str, str]
    """The tags of the stack."""
    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Rules of cdk-nag that resources break on purpose, and why, by logical id."""

    @property
    def needs_upload(self) -> bool:
        """Whether it must be uploaded to S3 first, and be given as ``TemplateURL``."""
        return len(self.body.encode()) > INLINE


def make_template(
    stack: str,
    description: str,
    tags: Mapping[str, str],
    resources: Iterable[Resource],
    sections: Mapping[str, Any] | None = None,
) -> Template:
    """The template of a stack; ``sections`` are further ones, such as ``Parameters``.

    Raises:
        ValueError: two resources have the same logical id.
        ConfigurationError: a value has a dynamic reference of CloudFormation in it.
    """
    documents: dict[str, Any] = {}
    reasons: dict[str, Mapping[str, str]] = {}
    for resource in resources:
        if resource.id in documents:
            raise ValueError(f"two resources of {stack} have the logical id {resource.id}")
        documents[resource.id] = resource.document()
        if resource.reasons:
            reasons[resource.id] = resource.reasons
    data = {"Description": description, **(sections or {}), "Resources": documents}
    body = json.dumps(data, separators=(",", ":"))
    if DYNAMIC_REFERENCE in body:  # `check` names the line, but values also come from Tsdat's files
        raise ConfigurationError(
            f"the template of {stack} would have '{DYNAMIC_REFERENCE}' in it",
            why="CloudFormation would replace it by a secret, with the rights of who deploys",
            next=f"remove '{DYNAMIC_REFERENCE}' from the config and the pipelines' files",
        )
    return Template(stack, body, dict(tags), reasons)


def logical_id(path: Sequence[str]) -> str:
    """The logical id of a resource, from its path of names below the stack.

    The CDK makes ids in this way, and Tidegate's first templates were made by the CDK. The ids must
    stay as they are: with another id, CloudFormation would make a second resource of the same name,
    which fails.

    Source: https://github.com/aws/aws-cdk/blob/main/packages/aws-cdk-lib/core/lib/private/uniqueid.ts
    """
    if len(path) == 1:
        return _letters_and_digits(path[0])
    digest = hashlib.md5("/".join(path).encode(), usedforsecurity=False).hexdigest()[:8].upper()
    readable: list[str] = []
    for name in path:
        if not readable or not readable[-1].endswith(name):
            readable.append(name)
    return "".join(map(_letters_and_digits, readable))[:240] + digest


def _letters_and_digits(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", text)
