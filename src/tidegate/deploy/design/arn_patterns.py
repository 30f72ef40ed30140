"""ARNs of a branch's resources, as patterns for policies; pure.

Configs are added and removed by pushes, so a policy cannot name each resource. The names of a
branch's resources begin alike, and ``Names.all`` gives the patterns.
"""

from __future__ import annotations

from collections.abc import Iterable

from tidegate.deploy.core.place import Place
from tidegate.targets.aws.names import Names

ANY_NAME = "Configs come and go with pushes; the names of their resources begin alike."
"""Why a policy has a pattern where it could name a resource."""
NO_RESOURCE = "AWS takes no resource for this action."
"""Why a policy has ``*`` as resource."""


def resource_arns(
    place: Place, service: str, kind: str, patterns: Iterable[str]
) -> tuple[str, ...]:
    """ARNs of resources in the branch's account and region, such as ``function:`` of lambda."""
    return tuple(place.arn(service, f"{kind}{pattern}") for pattern in patterns)


def queue_arns(names: Names, place: Place) -> tuple[str, ...]:
    """All queues and dead-letter queues."""
    patterns = dict.fromkeys((*names.all("queue"), *names.all("dead_letter_queue")))
    return resource_arns(place, "sqs", "", patterns)


def event_bus_arns(names: Names, place: Place) -> tuple[str, ...]:
    """All event buses."""
    return resource_arns(place, "events", "event-bus/", names.all("event_bus"))


def rule_arns(names: Names, place: Place) -> tuple[str, ...]:
    """All rules, on the default event bus and on those of the branch."""
    on_buses = [f"{bus}/*" for bus in names.all("event_bus")]
    return resource_arns(place, "events", "rule/", (*names.all("rule"), *on_buses))


def role_arns(names: Names, place: Place) -> tuple[str, ...]:
    """The roles of all functions, schedules and event buses."""
    # Not by the names: those of another branch may begin alike. Source: IAM User Guide, "IAM
    # identifiers", section "Friendly names and paths".
    return (place.role("*", names.role_path),)


def missing_role_arns(names: Names, place: Place) -> tuple[str, ...]:
    """The same roles without their path, for ``iam:GetRole``: IAM cannot know a missing one's."""
    kinds = ("role", "scheduler_role", "events_role")
    patterns = dict.fromkeys(pattern for kind in kinds for pattern in names.all(kind))
    return tuple(place.role(pattern) for pattern in patterns)


def log_group_arns(names: Names, place: Place) -> tuple[str, ...]:
    """All log groups of functions, and their streams."""
    return resource_arns(place, "logs", "log-group:", names.all("log_group"))


def dashboard_arns(names: Names, place: Place) -> tuple[str, ...]:
    """All dashboards. Their ARNs have no region."""
    begin = f"arn:{place.partition}:cloudwatch::{place.account}:dashboard/"
    return tuple(f"{begin}{pattern}" for pattern in names.all("dashboard"))
