"""The CodePipeline stack: what makes a release of a push."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tidegate.deploy.design.buildspec import PIPELINES
from tidegate.deploy.design.codepipeline import (
    PARAMETER,
    CodePipeline,
    CodePipelinePlan,
    ImageRepository,
    Project,
    Source,
    Told,
)
from tidegate.deploy.design.templates.shared import (
    alerts_topic,
    cdk,
    document,
    give_reasons,
    new_stack,
    service_role,
)

if TYPE_CHECKING:
    import aws_cdk
    from aws_cdk import CfnResource, aws_codepipeline
    from constructs import Construct

_NAMESPACE = "pipelines"


def add(app: aws_cdk.App, plan: CodePipelinePlan) -> None:
    """Add the CodePipeline stack to an app."""
    about = f"Tidegate: releases of {plan.tags['repository']} {plan.tags['branch']}"
    stack = new_stack(app, plan.stack, about, plan.place, plan.tags)
    made: list[CfnResource] = [
        alerts_topic(stack, plan.topic, plan.place, [told.arn for told in plan.told]),
        _repository(stack, plan.repository),
        _boundary(stack, plan),
        service_role(stack, "DeployRole", plan.deployer),
        _project(stack, plan),
        *(_rule(stack, plan, told) for told in plan.told),
    ]
    if plan.pipeline is not None:
        _pipeline(stack, plan, plan.pipeline, made)


def _repository(scope: Construct, planned: ImageRepository) -> CfnResource:
    from aws_cdk import aws_ecr

    repository = aws_ecr.CfnRepository
    readers = planned.readers.document()
    del readers["Resource"]  # the policy of a repository is about that one
    readers["Principal"] = {"Service": "lambda.amazonaws.com"}
    return repository(
        scope,
        "Images",
        repository_name=planned.name,
        image_tag_mutability="IMMUTABLE_WITH_EXCLUSION",
        image_tag_mutability_exclusion_filters=[
            repository.ImageTagMutabilityExclusionFilterProperty(
                image_tag_mutability_exclusion_filter_type="WILDCARD",
                image_tag_mutability_exclusion_filter_value=pattern,
            )
            for pattern in planned.moving_tags
        ],
        lifecycle_policy=repository.LifecyclePolicyProperty(
            lifecycle_policy_text=planned.lifecycle
        ),
        image_scanning_configuration=repository.ImageScanningConfigurationProperty(
            scan_on_push=True
        ),
        encryption_configuration=repository.EncryptionConfigurationProperty(
            encryption_type="AES256"
        ),
        repository_policy_text={"Version": "2012-10-17", "Statement": [readers]},
        # Images can be made again: the repository goes with the stack.
        empty_on_delete=True,
    )


def _boundary(scope: Construct, plan: CodePipelinePlan) -> CfnResource:
    from aws_cdk import aws_iam

    policy = aws_iam.CfnManagedPolicy(
        scope,
        "Boundary",
        managed_policy_name=plan.boundary,
        description="The most that roles of functions and schedules may do",
        policy_document=document(plan.bounds),
    )
    give_reasons(policy, plan.bounds)
    return policy


def _project(scope: Construct, plan: CodePipelinePlan) -> CfnResource:
    from aws_cdk import aws_codebuild, aws_logs

    planned: Project = plan.project
    project = aws_codebuild.CfnProject
    logs = aws_logs.CfnLogGroup(
        scope,
        "BuildLogs",
        log_group_name=planned.log_group,
        retention_in_days=planned.log_retention,
    )
    role = service_role(scope, "BuildRole", planned.role)
    key = plan.place.arn("kms", "alias/aws/s3")
    made = project(
        scope,
        "Build",
        name=planned.name,
        description=f"Releases {plan.tags['repository']} {plan.tags['branch']}",
        service_role=role.attr_arn,
        # CodePipeline, and whoever starts a build, say where the source code is.
        # Source: https://github.com/aws/aws-cdk/pull/4689
        source=project.SourceProperty(type="NO_SOURCE", build_spec=planned.buildspec),
        artifacts=project.ArtifactsProperty(type="NO_ARTIFACTS"),
        environment=project.EnvironmentProperty(
            type=planned.machine,
            compute_type=planned.compute,
            image=planned.image,
            image_pull_credentials_type="CODEBUILD",
            privileged_mode=True,
        ),
        cache=project.ProjectCacheProperty(
            type="LOCAL", modes=["LOCAL_DOCKER_LAYER_CACHE", "LOCAL_CUSTOM_CACHE"]
        ),
        encryption_key=key,
        logs_config=project.LogsConfigProperty(
            cloud_watch_logs=project.CloudWatchLogsConfigProperty(
                status="ENABLED", group_name=logs.ref
            )
        ),
        timeout_in_minutes=planned.minutes,
        queued_timeout_in_minutes=planned.minutes,
        visibility="PRIVATE",
    )
    acknowledgment = cdk().Acknowledgment(
        id="AwsSolutions-CB3", reason="Docker, which builds the images, needs privileged mode."
    )
    cdk().Validations.of(made).acknowledge(acknowledgment)
    return made


def _rule(scope: Construct, plan: CodePipelinePlan, planned: Told) -> CfnResource:
    from aws_cdk import aws_events

    rule = aws_events.CfnRule
    return rule(
        scope,
        f"{planned.about}Rule",
        name=planned.name,
        description="Tells people how builds end",
        event_pattern=planned.pattern,
        state="ENABLED",
        targets=[
            rule.TargetProperty(
                id="topic",
                arn=plan.topic_arn,
                input_transformer=rule.InputTransformerProperty(
                    input_paths_map=dict(planned.fields),
                    input_template=json.dumps(planned.text),
                ),
            )
        ],
    )


def _pipeline(
    scope: Construct, plan: CodePipelinePlan, planned: CodePipeline, needed: Iterable[CfnResource]
) -> None:
    from aws_cdk import aws_codepipeline

    core, pipeline = cdk(), aws_codepipeline.CfnPipeline
    role = service_role(scope, "PipelineRole", planned.role)
    wanted = core.CfnParameter(
        scope,
        PARAMETER,
        type="String",
        default="true",
        allowed_values=["true", "false"],
        description="Whether CodePipeline's pipeline is made; emulators know none.",
    )
    condition = core.CfnCondition(
        scope,
        "HasCodePipeline",
        expression=core.Fn.condition_equals(wanted.value_as_string, "true"),
    )
    made = pipeline(
        scope,
        "Pipeline",
        name=planned.name,
        pipeline_type="V2",
        # A push that comes while another is being released waits; of those that wait, the latest is
        # released.
        execution_mode="SUPERSEDED",
        role_arn=role.attr_arn,
        artifact_store=pipeline.ArtifactStoreProperty(type="S3", location=plan.artifacts),
        stages=[
            pipeline.StageDeclarationProperty(
                name="Source", actions=[_source(planned, source) for source in planned.sources]
            ),
            pipeline.StageDeclarationProperty(name="Release", actions=[_release(plan, planned)]),
        ],
        triggers=[_trigger(source) for source in planned.sources],
    )
    made.cfn_options.condition = condition
    # It starts as soon as it is there, and then everything else must be.
    for other in (*needed, role):
        made.add_resource_dependency(other)


def _action_name(source: Source) -> str:
    return source.name.capitalize()


def _source(
    planned: CodePipeline, source: Source
) -> aws_codepipeline.CfnPipeline.ActionDeclarationProperty:
    from aws_cdk import aws_codepipeline

    pipeline = aws_codepipeline.CfnPipeline
    return pipeline.ActionDeclarationProperty(
        name=_action_name(source),
        action_type_id=pipeline.ActionTypeIdProperty(
            category="Source", owner="AWS", provider="CodeStarSourceConnection", version="1"
        ),
        configuration={
            "ConnectionArn": planned.connection,
            "FullRepositoryId": source.repository,
            "BranchName": source.branch,
            # A clone, with its history: builds know their commit, and git works in them.
            "OutputArtifactFormat": "CODEBUILD_CLONE_REF",
            # The triggers say which pushes count.
            "DetectChanges": "false",
        },
        output_artifacts=[pipeline.OutputArtifactProperty(name=source.name)],
        namespace=_NAMESPACE if source.name == PIPELINES else None,
        run_order=1,
    )


def _trigger(source: Source) -> aws_codepipeline.CfnPipeline.PipelineTriggerDeclarationProperty:
    from aws_cdk import aws_codepipeline

    pipeline = aws_codepipeline.CfnPipeline
    return pipeline.PipelineTriggerDeclarationProperty(
        provider_type="CodeStarSourceConnection",
        git_configuration=pipeline.GitConfigurationProperty(
            source_action_name=_action_name(source),
            push=[
                pipeline.GitPushFilterProperty(
                    branches=pipeline.GitBranchFilterCriteriaProperty(includes=[source.branch]),
                    file_paths=pipeline.GitFilePathFilterCriteriaProperty(
                        includes=list(source.paths)
                    ),
                )
            ],
        ),
    )


def _release(
    plan: CodePipelinePlan, planned: CodePipeline
) -> aws_codepipeline.CfnPipeline.ActionDeclarationProperty:
    from aws_cdk import aws_codepipeline

    pipeline = aws_codepipeline.CfnPipeline
    variables = [
        {
            "name": "TIDEGATE_COMMIT",
            "value": f"#{{{_NAMESPACE}.CommitId}}",
            "type": "PLAINTEXT",
        }
    ]
    configuration: dict[str, Any] = {
        "ProjectName": plan.project.name,
        "EnvironmentVariables": json.dumps(variables, separators=(",", ":")),
    }
    if len(planned.sources) > 1:
        configuration["PrimarySource"] = planned.sources[0].name
    return pipeline.ActionDeclarationProperty(
        name="Release",
        action_type_id=pipeline.ActionTypeIdProperty(
            category="Build", owner="AWS", provider="CodeBuild", version="1"
        ),
        configuration=configuration,
        input_artifacts=[
            pipeline.InputArtifactProperty(name=source.name) for source in planned.sources
        ],
        run_order=1,
    )
