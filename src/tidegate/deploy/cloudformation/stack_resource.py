"""A resource of a stack, as CloudFormation lists it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.deploy.resources.registry import resource_type


@dataclass(frozen=True)
class StackResource:
    """A resource of a stack."""

    logical: str
    """Its logical id: its name in the template."""
    type: str
    """Its type, such as ``AWS::SQS::Queue``."""
    physical: str
    """Its physical id: a name, an ARN or a URL; "" before it has one."""
    status: str = ""
    """The status of the last operation on it."""

    @property
    def name(self) -> str:
        """Its name, from the physical id."""
        return resource_type(self.type).name_of(self.physical)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> StackResource:
        """The resource in an entry of ``list_stack_resources``."""
        return cls(
            str(record["LogicalResourceId"]),
            str(record["ResourceType"]),
            str(record.get("PhysicalResourceId") or ""),
            str(record.get("ResourceStatus", "")),
        )
