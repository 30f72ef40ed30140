"""Log groups of CloudWatch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    function_names,
    sweep_names,
)
from tidegate.targets.aws.names import Names


class LogGroup(SearchableType):
    """The log of a function or of builds."""

    type = "AWS::Logs::LogGroup"
    label = "log group"
    name_property = "LogGroupName"
    arn_service = "logs"
    arn_prefix = "log-group:"
    arn_suffix = ":*"
    holds = "logs"
    existence_checked = True
    older_pattern = ("/aws/lambda/{base}-lambda-", r".+-.+")

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the log group exists."""
        return any(found == name for found, _, _ in self._list(aws, name))

    def contents(self, aws: AwsContext, physical: str) -> str:
        """How much is in the log; "" for nothing yet, because AWS counts some hours late."""
        sizes = [size for name, _, size in self._list(aws, physical) if name == physical]
        stored = sum(sizes)
        if not stored:
            return ""
        return f"{stored / 1e6:.1f} MB of logs" if stored >= 100_000 else "less than 0.1 MB of logs"

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All log groups with names that start with a prefix."""
        for name, arn, _ in self._list(aws, prefix):
            yield FoundResource(self, name, arn)

    def _list(self, aws: AwsContext, prefix: str) -> Iterator[tuple[str, str, int]]:
        """Name, ARN and bytes of the log groups with names that start with a prefix."""
        for group in aws.list_all(
            "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix
        ):
            arn = str(group.get("arn", "")).removesuffix(self.arn_suffix)
            yield group["logGroupName"], arn, int(group.get("storedBytes", 0))

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a log group."""
        answer = aws.clients.client("logs").list_tags_for_resource(resourceArn=found.arn)
        return {str(key): str(value) for key, value in answer.get("tags", {}).items()}

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a log group with its logs."""
        aws.clients.client("logs").delete_log_group(logGroupName=found.name)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The logs of the builds, and of each config's function."""
        found = {names.build_log_group: "builds"}
        for function, about in sweep_names(names, "function").items():
            found[f"/aws/lambda/{function}"] = about
        for pipeline, config in configs:
            for function in function_names(names, pipeline, config):
                found[f"/aws/lambda/{function}"] = f"{pipeline}/{config}"
        return found

    def search_prefixes(self, names: Names) -> set[str]:
        """Logs are named after what writes them."""
        return {
            f"/aws/lambda/{names.base}-",
            f"/aws/codebuild/{names.base}",
            f"/aws/codebuild/{_older_build_project(names)}",
        }

    def is_older_stack_name(self, names: Names, name: str) -> bool:
        """Whether it is the log of something that the CDK put into the older recipe's stack.

        CloudFormation truncates the stack's name in it; the rest must still identify the branch.
        """
        build = f"/aws/codebuild/{re.escape(_older_build_project(names))}[0-9A-F]{{8}}-\\w{{12,13}}"
        if re.fullmatch(build, name):
            return True
        found = re.fullmatch(r"/aws/lambda/(.+)-CustomS3AutoDelete\w*-\w+", name)
        least = len(names.base) + 2
        return bool(
            found and len(found[1]) >= least and names.codepipeline_stack.startswith(found[1])
        )


def _older_build_project(names: Names) -> str:
    """What CloudFormation called the older recipe's build project: without hyphens."""
    return re.sub(r"[^A-Za-z0-9]", "", f"{names.base}-build-project")
