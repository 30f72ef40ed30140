"""The registry of AWS resource types: how each is named, found, described, tagged and deleted."""

from tidegate.deploy.resources.base import EMPTY, AwsContext, FoundResource, ResourceType, is_gone
from tidegate.deploy.resources.registry import RESOURCE_TYPES, resource_type

__all__ = [
    "EMPTY",
    "RESOURCE_TYPES",
    "AwsContext",
    "FoundResource",
    "ResourceType",
    "is_gone",
    "resource_type",
]
