"""Deployment of a branch: data stores, then the CodePipeline stack, then the build of a release.

    plan = plan_deployment(branch, …)   what exists, and what a deployment would change
    create_data_stores(plan, …)         buckets, ledger, Tidegate itself for CodeBuild: by API
    deploy_stack(plan, …)               the CodePipeline stack, by change set
    build_bundle(…) or the pipeline     the first release

Buckets and ledger belong to no stack, so no change of a stack can affect data. The older recipe's
stack has the same name and contains the buckets: it is reported, and not changed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tidegate.deploy.bootstrap import data_stores
from tidegate.deploy.bootstrap.data_stores import DataStores
from tidegate.deploy.bootstrap.identity_provider import create_provider
from tidegate.deploy.cloudformation import retain
from tidegate.deploy.cloudformation.changes import ChangeSet, created
from tidegate.deploy.cloudformation.event_tailing import Progress
from tidegate.deploy.cloudformation.stacks import PlannedDeployment, Stacks
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.cloudformation.upload import upload_to
from tidegate.deploy.core import package
from tidegate.deploy.core.artifacts import SOURCE
from tidegate.deploy.core.branch import Branch, commit_of
from tidegate.deploy.core.regions import CONNECTIONS, no_connections
from tidegate.deploy.design.codepipeline import (
    AUDIENCE,
    GITHUB,
    CodePipelineOptions,
    plan_codepipeline,
)
from tidegate.deploy.design.codepipeline_model import CodePipelinePlan
from tidegate.deploy.design.templates import Template, synthesize
from tidegate.deploy.workflow import builds
from tidegate.deploy.workflow.bundle import make_bundle
from tidegate.errors import ConfigurationError, UsageError
from tidegate.targets.aws.clients import explained

Say = Callable[[str], None]
Agree = Callable[[ChangeSet], bool]
BuildMethod = Literal["pipeline", "bundle"]
OURS = "Tidegate: "
"""The beginning of the descriptions of Tidegate's own stacks."""
_PARAMETER = "WithCodePipeline"


@dataclass(frozen=True)
class DeploymentPlan:
    """A deployment before anything is changed."""

    branch: Branch
    """The branch."""
    data_stores: DataStores
    """The buckets and the ledger table."""
    stack_plan: CodePipelinePlan
    """The resources of the CodePipeline stack."""
    template: Template
    """Its template."""
    state: StackState
    """The present state of the stack."""
    older: bool = False
    """Whether the stack is the older recipe's, which has the same name."""
    data_in_stack: tuple[str, ...] = ()
    """Resources with data in the older recipe's stack, by logical id."""

    @property
    def how(self) -> BuildMethod:
        """What builds releases: CodePipeline after a push, or CodeBuild from a bundle."""
        return "pipeline" if self.stack_plan.pipeline is not None else "bundle"


def plan_deployment(
    branch: Branch, say: Say, options: CodePipelineOptions | None = None, *, folder: Path
) -> DeploymentPlan:
    """Find out what exists, and plan the CodePipeline stack; changes nothing.

    Tidegate's own wheel, which CodeBuild will install, is written to ``folder``.

    Raises:
        TidegateError: AWS does not answer, or the credentials belong to another account.
    """
    model = branch.reading.require()
    stores = data_stores.plan_data_stores(branch.keys, branch.names, branch.clients, model=model)
    packed = package.pack(folder)
    pipelines = [pipeline.name for pipeline in model.pipelines]
    stack_plan = plan_codepipeline(
        branch.keys, branch.name, packed.tool, pipelines, options or CodePipelineOptions()
    )
    [template] = synthesize(stack_plan)
    region = branch.place.region
    if stack_plan.pipeline is not None and region not in branch.clients.regions(CONNECTIONS):
        say(f"{no_connections(region)}; `tidegate deploy {branch.name} --from .` works without it")
    stacks = _stacks(branch, say)
    state = stacks.state(template.stack)
    deployed = stacks.api.template(state) if state.has_resources else {}
    older = state.has_resources and not str(deployed.get("Description")).startswith(OURS)
    data = retain.data_resources(deployed) if older else ()
    return DeploymentPlan(branch, stores, stack_plan, template, state, older, data)


def preview(plan: DeploymentPlan, say: Say) -> ChangeSet:
    """The changes of the CodePipeline stack; the change set is deleted again."""
    if not plan.state.exists or plan.older:
        # A change set would create an empty stack, or would not consider the data to be kept.
        return created(plan.template.stack, json.loads(plan.template.body), ())
    stacks = _stacks(plan.branch, say)
    planned = _planned(plan, stacks, wait=False)
    stacks.discard(planned)
    return planned.changes


def check_older_recipe(plan: DeploymentPlan) -> None:
    """Raises UsageError: the older recipe's stack prevents a deployment."""
    if not plan.older:
        return
    name = plan.branch.name
    listed = ", ".join(plan.data_in_stack)
    data = f"; it contains data, which would be deleted: {listed}" if listed else ""
    raise UsageError(
        f"the stack {plan.template.stack} is the older recipe's",
        why="its image repository and functions have the same names as Tidegate's, so an update"
        f" would fail{data}",
        next=f"`tidegate destroy {name} --dry-run` shows what `tidegate destroy {name}` deletes;"
        " buckets and data are kept. Then deploy again (docs/moving-over.md)",
    )


def create_data_stores(plan: DeploymentPlan, folder: Path, say: Say) -> None:
    """Create or adopt buckets and ledger, and upload Tidegate itself for CodeBuild.

    Raises:
        TidegateError: something cannot be used; the error lists everything at once.
    """
    branch = plan.branch
    data_stores.apply(plan.data_stores, branch.clients, say)
    if plan.stack_plan.github_role is not None:
        create_provider(branch.clients, branch.place, GITHUB, AUDIENCE, say)
    package.publish(
        package.pack(folder), branch.artifacts_bucket, branch.place.account, branch.clients, say
    )


def deploy_stack(
    plan: DeploymentPlan,
    agree: Agree,
    say: Say,
    progress: Progress | None = None,
    *,
    wait: bool = False,
) -> bool:
    """Deploy the CodePipeline stack after confirmation; returns whether it was confirmed.

    Raises:
        TidegateError: CloudFormation rejects it, or fails; the stack is then unchanged.
    """
    stacks = _stacks(plan.branch, say)
    planned = _planned(plan, stacks, wait=wait)
    if planned.empty:
        say(f"nothing changes in the stack {plan.template.stack}")
        return True
    try:
        agreed = agree(planned.changes)
    except BaseException:
        stacks.discard(planned)
        raise
    if not agreed:
        stacks.discard(planned)
        return False
    stacks.execute(planned, progress)
    if (role := plan.stack_plan.github_role) is not None:
        arn = plan.branch.place.role(role.name)
        say(f"GitHub Actions: set the repository's variable AWS_ROLE_ARN to {arn}")
    return True


def continue_rollback(
    branch: Branch, skip: tuple[str, ...], say: Say, progress: Progress | None = None
) -> list[str]:
    """Continue the failed rollbacks of the branch's stacks; returns the names of the stacks."""
    stacks = _stacks(branch, say)
    states = (stacks.state(branch.names.codepipeline_stack), *stacks.branch_stacks(branch.names))
    stuck = [state.name for state in states if state.condition == "stuck"]
    for name in stuck:
        inside = {resource.logical for resource in stacks.api.resources(name)}
        mine = [logical for logical in skip if logical in inside]
        stacks.continue_rollback(name, skip=mine, progress=progress)
    return stuck


# The build of a release.


def start_pipeline(branch: Branch, *, existed: bool, say: Say) -> None:
    """Start the pipeline unless it runs: AWS starts a new one, but not again after a failure.

    Raises:
        TidegateError: CodePipeline does not answer.
    """
    name = branch.names.codepipeline
    if not existed:
        say(f"the new pipeline {name} starts automatically and builds the first release")
        return
    client: Any = branch.clients.client("codepipeline")
    with explained("read the state of the pipeline", name):
        runs = client.list_pipeline_executions(pipelineName=name, maxResults=1)
    last = next(iter(runs["pipelineExecutionSummaries"]), {"status": "none yet"})
    if last["status"] in ("Succeeded", "InProgress"):
        say(f"the last run of the pipeline {name}: {last['status']}; a push starts the next")
        return
    with explained("start the pipeline", name):
        client.start_pipeline_execution(name=name)
    say(f"the last run of the pipeline {name} was {last['status']}: it is started again")


def build_bundle(
    branch: Branch, repository: Path, commit: str | None, say: Say, *, arguments: str = ""
) -> builds.Build:
    """Start a build and deployment of the code in a folder of this machine by CodeBuild.

    Raises:
        UsageError: the folder contains no code.
        TidegateError: the upload fails, or the build cannot be started.
    """
    if not repository.is_dir():
        raise UsageError(
            f"there is no folder {repository}", next="name the pipelines repository with --from"
        )
    sources = {}
    with tempfile.TemporaryDirectory(prefix="tidegate-bundle-") as folder:
        for name, place in (("deployment", branch.workspace.root), ("pipelines", repository)):
            bundle = make_bundle(place, Path(folder) / f"{name}.zip")
            say(f"uploading {bundle.count} files of {place}")
            sources[name] = builds.upload(
                branch.artifacts_bucket, SOURCE, bundle.file, bundle.sha256, branch.clients
            )
    variables = {
        "TIDEGATE_COMMIT": commit_of(repository) if commit is None else commit,
        "TIDEGATE_ARGUMENTS": arguments,
    }
    main = sources.pop("deployment")
    return builds.start(branch.names.build_project, main, sources, variables, branch.clients)


def check_pipeline_keys(branch: Branch) -> None:
    """Raises ConfigurationError: without keys for GitHub, nothing would start a release."""
    keys = branch.keys
    needed = ("github_org", "aws_repo_name", "github_codestar_arn")
    missing = [name for name in needed if not getattr(keys, name)]
    if not missing:
        return
    raise ConfigurationError(
        f"the config does not say where the repositories are on GitHub: {', '.join(missing)}"
        f" {'has no value' if len(missing) == 1 else 'have no values'}",
        why="without them, there is no CodePipeline that makes a release of each push",
        next="write them into the config (docs/deploying.md), or upload the code from this machine:"
        f" `tidegate deploy {branch.name} --from DIR`",
        where=branch.reading.file,
    )


def _stacks(branch: Branch, say: Say) -> Stacks:
    return Stacks(branch.clients, branch.place, who=branch.who, say=say)


def _planned(plan: DeploymentPlan, stacks: Stacks, *, wait: bool) -> PlannedDeployment:
    # Emulators do not support CodePipeline: the template's condition omits it there.
    omitted = plan.branch.emulated and plan.how == "pipeline"
    parameters = {_PARAMETER: "false"} if omitted else {}
    return stacks.plan(
        plan.template,
        parameters=parameters,
        upload=upload_to(plan.branch.artifacts_bucket, plan.branch.clients, plan.branch.place),
        wait=wait,
    )
