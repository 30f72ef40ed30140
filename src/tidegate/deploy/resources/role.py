"""Roles of IAM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.placement import MOST_STACKS
from tidegate.deploy.resources.base import (
    ARRIVALS,
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    numbered_names,
    sweep_names,
    tag_mapping,
)
from tidegate.targets.aws.names import Names


class Role(SearchableType):
    """The role of a function, of a schedule, of an event bus, of builds or of deployments."""

    type = "AWS::IAM::Role"
    label = "role"
    name_property = "RoleName"
    existence_checked = True

    def arn(self, place: Place, name: str, properties: Mapping[str, Any] = {}) -> str:
        """Its ARN, which has no region, and has the role's path."""
        return place.role(name, properties.get("Path", "/"))

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the role exists."""
        return bool(aws.clients.client("iam").get_role(RoleName=name))

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All roles with names that start with a prefix."""
        for role in aws.list_all("iam", "list_roles", "Roles"):
            if role["RoleName"].startswith(prefix):
                yield FoundResource(self, role["RoleName"], role["Arn"])

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a role."""
        answer = aws.clients.client("iam").list_role_tags(RoleName=found.name)
        return tag_mapping(answer.get("Tags"))

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a role and its own policies; policies attached to it are only detached."""
        client, role = aws.clients.client("iam"), found.name
        attached = aws.list_all(
            "iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role
        )
        for policy in list(attached):
            client.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
        for name in list(aws.list_all("iam", "list_role_policies", "PolicyNames", RoleName=role)):
            client.delete_role_policy(RoleName=role, PolicyName=name)
        client.delete_role(RoleName=role)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The roles of builds, deployments, schedules, event buses and each config."""
        found = {
            names.build_role: "builds",
            names.codepipeline_role: "builds",
            names.deploy_role: "deployments",
            names.github_role: "GitHub Actions",
            **numbered_names(names.scheduler_role, 64, MOST_STACKS),
            **numbered_names(names.events_role, 64, MOST_STACKS, ARRIVALS),
            **sweep_names(names, "role"),
        }
        for pipeline, config in configs:
            found[names.role(pipeline, config)] = f"{pipeline}/{config}"
        return found
