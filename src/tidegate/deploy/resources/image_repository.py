"""Repositories of ECR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tidegate.deploy.resources.base import (
    AwsContext,
    Configs,
    FoundResource,
    SearchableType,
    count_in_words,
    tag_mapping,
)
from tidegate.targets.aws.names import Names


class ImageRepository(SearchableType):
    """The repository of the branch's images."""

    type = "AWS::ECR::Repository"
    label = "image repository"
    name_property = "RepositoryName"
    arn_service = "ecr"
    arn_prefix = "repository/"
    holds = "images"

    def contents(self, aws: AwsContext, physical: str) -> str:
        """How many images are in the repository."""
        found = aws.list_all("ecr", "list_images", "imageIds", repositoryName=physical)
        return count_in_words(sum(1 for _ in found), "image")

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All repositories with names that start with a prefix."""
        for repository in aws.list_all("ecr", "describe_repositories", "repositories"):
            name = repository["repositoryName"]
            if name.startswith(prefix):
                yield FoundResource(self, name, repository["repositoryArn"], "with its images")

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a repository."""
        answer = aws.clients.client("ecr").list_tags_for_resource(resourceArn=found.arn)
        return tag_mapping(answer.get("tags"))

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a repository with its images."""
        aws.clients.client("ecr").delete_repository(repositoryName=found.name, force=True)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The repository of the branch."""
        return {names.image_repository: "images"}
