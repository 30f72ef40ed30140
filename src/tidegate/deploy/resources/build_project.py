"""Projects of CodeBuild."""

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


class BuildProject(SearchableType):
    """What builds the images of a release."""

    type = "AWS::CodeBuild::Project"
    label = "build project"
    name_property = "Name"
    arn_service = "codebuild"
    arn_prefix = "project/"
    starts_runs = True

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All projects with names that start with a prefix, with their tags."""
        listed = aws.list_all("codebuild", "list_projects", "projects")
        names = [name for name in listed if name.startswith(prefix)]
        client = aws.clients.client("codebuild")
        for n in range(0, len(names), 100):
            answer = client.batch_get_projects(names=names[n : n + 100])
            for project in answer.get("projects", ()):
                tags = tag_mapping(project.get("tags"), "key", "value")
                yield FoundResource(self, project["name"], project["arn"], tags=tags)

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags that came with the project."""
        return found.tags or {}

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a project."""
        aws.clients.client("codebuild").delete_project(name=found.name)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The project of the branch."""
        return {names.build_project: "builds"}
