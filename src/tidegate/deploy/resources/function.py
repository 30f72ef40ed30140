"""Lambda functions."""

from __future__ import annotations

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


class Function(SearchableType):
    """The function that runs one config."""

    type = "AWS::Lambda::Function"
    label = "function"
    name_property = "FunctionName"
    arn_service = "lambda"
    arn_prefix = "function:"
    existence_checked = True
    # Lambda encrypts for the role itself, not for its name: a role made again cannot read it.
    useless_without = ("AWS::IAM::Role",)
    starts_runs = True
    older_pattern = ("{base}-lambda-", r".+-.+")

    def exists(self, aws: AwsContext, name: str) -> bool:
        """Whether the function exists."""
        return bool(aws.clients.client("lambda").get_function_configuration(FunctionName=name))

    def find(self, aws: AwsContext, prefix: str) -> Iterator[FoundResource]:
        """All functions with names that start with a prefix, with their variables."""
        for function in aws.list_all("lambda", "list_functions", "Functions"):
            name = function["FunctionName"]
            if name.startswith(prefix):
                settings = function.get("Environment", {}).get("Variables", {})
                changed = str(function.get("LastModified", ""))[:10]
                detail = f"last changed {changed}" if changed else ""
                yield FoundResource(self, name, function["FunctionArn"], detail, settings)

    def read_tags(self, aws: AwsContext, found: FoundResource) -> Mapping[str, str]:
        """The tags of a function."""
        answer = aws.clients.client("lambda").list_tags(Resource=found.arn)
        return {str(key): str(value) for key, value in answer.get("Tags", {}).items()}

    def delete(self, aws: AwsContext, found: FoundResource) -> None:
        """Delete a function and the mappings that feed it."""
        client = aws.clients.client("lambda")
        mappings = aws.list_all(
            "lambda", "list_event_source_mappings", "EventSourceMappings", FunctionName=found.name
        )
        for mapping in list(mappings):
            client.delete_event_source_mapping(UUID=mapping["UUID"])
        client.delete_function(FunctionName=found.name)

    def expected_names(self, names: Names, configs: Configs) -> dict[str, str]:
        """The function of each config, and those of the sweeps."""
        return sweep_names(names, "function") | {
            function: f"{pipeline}/{config}"
            for pipeline, config in configs
            for function in function_names(names, pipeline, config)
        }
