"""Customer-managed policies of IAM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    tag_mapping,
)
from tidegate.targets.aws.names import Names


class ManagedPolicy(SearchableType):
    """The permissions boundary of the branch's roles; its physical id is its ARN."""

    type = "AWS::IAM::ManagedPolicy"
    label = "policy"
    name_property = "ManagedPolicyName"

    def arn(self, place: Place, name: str, properties: Mapping[str, Any] = {}) -> str:
        """Its ARN, which has no region."""
        return place.policy(name)

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All policies of the account with names that start with a prefix."""
        for policy in aws.list_all("iam", "list_policies", "Policies", Scope="Local"):
            if policy["PolicyName"].startswith(prefix):
                yield FoundResource(self, policy["PolicyName"], policy["Arn"])

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a policy."""
        answer = aws.clients.client("iam").list_policy_tags(PolicyArn=found.arn)
        return tag_mapping(answer.get("Tags"))

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a policy and its versions."""
        client = aws.clients.client("iam")
        versions = aws.list_all("iam", "list_policy_versions", "Versions", PolicyArn=found.arn)
        for version in list(versions):
            if not version["IsDefaultVersion"]:
                client.delete_policy_version(PolicyArn=found.arn, VersionId=version["VersionId"])
        client.delete_policy(PolicyArn=found.arn)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The permissions boundary of the branch."""
        return {names.boundary: "the limit of all roles"}
