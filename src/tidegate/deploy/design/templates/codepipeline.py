"""The template of the CodePipeline stack, which makes a release of each push."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tidegate.deploy.design.buildspec import PIPELINES
from tidegate.deploy.design.codepipeline_model import (
    PARAMETER,
    CodePipeline,
    CodePipelinePlan,
    ImageRepository,
    Notification,
    Source,
)
from tidegate.deploy.design.templates.records import Resource, Template, make_template
from tidegate.deploy.design.templates.shared import (
    alerts_topic,
    policy_document,
    service_role,
    wildcard_reasons,
)

_CONDITION = "HasCodePipeline"
_NAMESPACE = "pipelines"


def codepipeline_template(plan: CodePipelinePlan) -> Template:
    """The template of the CodePipeline stack."""
    resources = list(_resources(plan))
    sections: dict[str, Any] = {}
    if plan.pipeline is not None:
        resources += _pipeline(plan, plan.pipeline, resources)
        parameter = {
            "Type": "String",
            "Default": "true",
            "AllowedValues": ["true", "false"],
            "Description": "Whether CodePipeline's pipeline is made; emulators know none.",
        }
        sections = {
            "Parameters": {PARAMETER: parameter},
            "Conditions": {_CONDITION: {"Fn::Equals": [{"Ref": PARAMETER}, "true"]}},
        }
    return make_template(
        plan.stack,
        f"Tidegate: releases of {plan.tags['repository']} {plan.tags['branch']}",
        plan.tags,
        resources,
        sections,
    )


def _resources(plan: CodePipelinePlan) -> Iterator[Resource]:
    """All but the pipeline and its role."""
    yield from alerts_topic(plan.topic, plan.place, plan.tags, eventbridge=True)
    yield _repository(plan, plan.repository)
    yield Resource(
        "Boundary",
        "AWS::IAM::ManagedPolicy",
        {
            "ManagedPolicyName": plan.boundary,
            "Description": "The most that roles of functions and schedules may do",
            "PolicyDocument": policy_document(
                statement.document() for statement in plan.boundary_statements
            ),
        },
        reasons=wildcard_reasons(plan.boundary_statements),
    )
    yield service_role("DeployRole", plan.deploy_role, plan.tags)
    yield from _build(plan)
    if plan.github_role is not None:
        yield service_role("GitHubRole", plan.github_role, plan.tags)
    for notification in plan.notifications:
        yield _rule(plan, notification)


def _repository(plan: CodePipelinePlan, planned: ImageRepository) -> Resource:
    readers = planned.readers.document()
    del readers["Resource"]  # the policy of a repository is always about that repository
    readers["Principal"] = {"Service": "lambda.amazonaws.com"}
    exclusions = [
        {
            "ImageTagMutabilityExclusionFilterType": "WILDCARD",
            "ImageTagMutabilityExclusionFilterValue": pattern,
        }
        for pattern in planned.moving_tags
    ]
    return Resource(
        "Images",
        "AWS::ECR::Repository",
        {
            "RepositoryName": planned.name,
            "ImageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
            "ImageTagMutabilityExclusionFilters": exclusions,
            "LifecyclePolicy": {"LifecyclePolicyText": planned.lifecycle},
            "ImageScanningConfiguration": {"ScanOnPush": True},
            "EncryptionConfiguration": {"EncryptionType": "AES256"},
            "RepositoryPolicyText": policy_document([readers]),
            # Images can be built again, so the repository is deleted with its stack.
            "EmptyOnDelete": True,
        },
        plan.tags,
    )


def _build(plan: CodePipelinePlan) -> Iterator[Resource]:
    """CodeBuild's project, its log group and its role."""
    planned = plan.project
    logs = Resource(
        "BuildLogs",
        "AWS::Logs::LogGroup",
        {"LogGroupName": planned.log_group, "RetentionInDays": planned.log_retention},
        plan.tags,
    )
    role = service_role("BuildRole", planned.role, plan.tags)
    yield from (logs, role)
    yield Resource(
        "Build",
        "AWS::CodeBuild::Project",
        {
            "Name": planned.name,
            "Description": f"Releases {plan.tags['repository']} {plan.tags['branch']}",
            "ServiceRole": role.arn,
            # CodePipeline, and whoever starts a build, say where the source code is.
            # Source: https://github.com/aws/aws-cdk/pull/4689
            "Source": {"Type": "NO_SOURCE", "BuildSpec": planned.buildspec},
            "Artifacts": {"Type": "NO_ARTIFACTS"},
            "Environment": {
                "Type": planned.machine,
                "ComputeType": planned.compute,
                "Image": planned.image,
                "ImagePullCredentialsType": "CODEBUILD",
                "PrivilegedMode": True,
            },
            "Cache": {
                "Type": "LOCAL",
                "Modes": ["LOCAL_DOCKER_LAYER_CACHE", "LOCAL_CUSTOM_CACHE"],
            },
            "EncryptionKey": plan.place.arn("kms", "alias/aws/s3"),
            "LogsConfig": {"CloudWatchLogs": {"Status": "ENABLED", "GroupName": logs.ref}},
            "TimeoutInMinutes": planned.minutes,
            "QueuedTimeoutInMinutes": planned.minutes,
            "Visibility": "PRIVATE",
        },
        plan.tags,
        reasons={"AwsSolutions-CB3": "Docker, which builds the images, needs privileged mode."},
    )


def _rule(plan: CodePipelinePlan, planned: Notification) -> Resource:
    target = {
        "Id": "topic",
        "Arn": plan.topic_arn,
        "InputTransformer": {
            "InputPathsMap": dict(planned.fields),
            "InputTemplate": json.dumps(planned.text),
        },
    }
    return Resource(
        f"{planned.about}Rule",
        "AWS::Events::Rule",
        {
            "Name": planned.name,
            "Description": planned.description,
            "EventPattern": dict(planned.pattern),
            "State": "ENABLED",
            "Targets": [target],
        },
        plan.tags,
    )


def _pipeline(
    plan: CodePipelinePlan, planned: CodePipeline, others: list[Resource]
) -> tuple[Resource, Resource]:
    """The pipeline's role and the pipeline, which is made after all ``others``."""
    role = service_role("PipelineRole", planned.role, plan.tags)
    stages = [
        {"Name": "Source", "Actions": [_source(planned, source) for source in planned.sources]},
        {"Name": "Release", "Actions": [_release(plan, planned)]},
    ]
    pipeline = Resource(
        "Pipeline",
        "AWS::CodePipeline::Pipeline",
        {
            "Name": planned.name,
            "PipelineType": "V2",
            # A push during a release waits for its end. Of several that wait, the last is released.
            "ExecutionMode": "SUPERSEDED",
            "RoleArn": role.arn,
            "ArtifactStore": {"Type": "S3", "Location": plan.artifacts},
            "Stages": stages,
            "Triggers": [_trigger(source) for source in planned.sources],
        },
        plan.tags,
        # A pipeline starts as soon as it exists, and needs all others then. Those that are not
        # listed are referred to by those that are.
        depends_on=tuple(
            r.id for r in (*others, role) if r.id not in ("Alerts", "BuildLogs", "BuildRole")
        ),
        condition=_CONDITION,
    )
    return role, pipeline


def _action_name(source: Source) -> str:
    return source.name.capitalize()


def _source(planned: CodePipeline, source: Source) -> dict[str, Any]:
    action = {
        "Name": _action_name(source),
        "ActionTypeId": {
            "Category": "Source",
            "Owner": "AWS",
            "Provider": "CodeStarSourceConnection",
            "Version": "1",
        },
        "Configuration": {
            "ConnectionArn": planned.connection,
            "FullRepositoryId": source.repository,
            "BranchName": source.branch,
            # A clone with its history: builds know their commit, and git works in it.
            "OutputArtifactFormat": "CODEBUILD_CLONE_REF",
            # The triggers say which pushes start the pipeline.
            "DetectChanges": "false",
        },
        "OutputArtifacts": [{"Name": source.name}],
        "RunOrder": 1,
    }
    return action | ({"Namespace": _NAMESPACE} if source.name == PIPELINES else {})


def _trigger(source: Source) -> dict[str, Any]:
    push = {
        "Branches": {"Includes": [source.branch]},
        "FilePaths": {"Includes": list(source.paths)},
    }
    return {
        "ProviderType": "CodeStarSourceConnection",
        "GitConfiguration": {"SourceActionName": _action_name(source), "Push": [push]},
    }


def _release(plan: CodePipelinePlan, planned: CodePipeline) -> dict[str, Any]:
    commit = {
        "name": "TIDEGATE_COMMIT",
        "value": f"#{{{_NAMESPACE}.CommitId}}",
        "type": "PLAINTEXT",
    }
    configuration = {
        "ProjectName": plan.project.name,
        "EnvironmentVariables": json.dumps([commit], separators=(",", ":")),
    }
    if len(planned.sources) > 1:
        configuration["PrimarySource"] = planned.sources[0].name
    return {
        "Name": "Release",
        "ActionTypeId": {
            "Category": "Build",
            "Owner": "AWS",
            "Provider": "CodeBuild",
            "Version": "1",
        },
        "Configuration": configuration,
        "InputArtifacts": [{"Name": source.name} for source in planned.sources],
        "RunOrder": 1,
    }
