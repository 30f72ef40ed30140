"""Pipelines of CodePipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    tag_mapping,
)
from tidegate.targets.aws.names import Names


class CodePipelinePipeline(SearchableType):
    """What builds a release at every push."""

    type = "AWS::CodePipeline::Pipeline"
    label = "CodePipeline pipeline"
    name_property = "Name"
    arn_service = "codepipeline"
    starts_runs = True

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All pipelines with names that start with a prefix."""
        for pipeline in aws.list_all("codepipeline", "list_pipelines", "pipelines"):
            name = pipeline["name"]
            if name.startswith(prefix):
                yield FoundResource(self, name, self.arn(aws.place, name))

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a pipeline."""
        answer = aws.clients.client("codepipeline").list_tags_for_resource(resourceArn=found.arn)
        return tag_mapping(answer.get("tags"), "key", "value")

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a pipeline."""
        aws.clients.client("codepipeline").delete_pipeline(name=found.name)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The pipeline of the branch, and the older recipe's."""
        return {names.codepipeline: "builds", f"{names.base}-build-pipeline": "builds"}
