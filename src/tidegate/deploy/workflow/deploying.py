"""Deployment of a branch: what holds data, then the CodePipeline stack, then what builds a release.

    found = look(branch, …)            what is there, and what a deployment would make of it
    prepare_ground(found, …)           buckets, ledger, Tidegate itself for CodeBuild: by API
    deploy_stack(found, …)             the CodePipeline stack, by change set
    build_bundle(…) or the pipeline    a first release

What holds data is in no stack, so nothing that is done to a stack can touch it. A stack of the
older recipe has the same name and holds the buckets: it is told, and left alone.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tidegate.deploy.bootstrap import data_stores as foundation
from tidegate.deploy.bootstrap.data_stores import Foundation
from tidegate.deploy.cloudformation import retain
from tidegate.deploy.cloudformation.changes import ChangeSet, created
from tidegate.deploy.cloudformation.event_tailing import Progress
from tidegate.deploy.cloudformation.stacks import PlannedDeployment, Stacks
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.cloudformation.upload import upload_to
from tidegate.deploy.core import package
from tidegate.deploy.core.artifacts import SOURCE
from tidegate.deploy.core.branch import Branch, commit_of
from tidegate.deploy.design.codepipeline import CodePipelineOptions, plan_codepipeline
from tidegate.deploy.design.codepipeline_model import CodePipelinePlan
from tidegate.deploy.design.templates import Template, synthesize
from tidegate.deploy.workflow import builds
from tidegate.deploy.workflow.bundle import make_bundle
from tidegate.errors import ConfigurationError, UsageError
from tidegate.targets.aws.clients import explained

Say = Callable[[str], None]
Agree = Callable[[ChangeSet], bool]
How = Literal["pipeline", "bundle"]
OURS = "Tidegate: "
"""How the descriptions of Tidegate's own stacks begin."""
_PARAMETER = "WithCodePipeline"


@dataclass(frozen=True)
class Found:
    """A deployment before anything is done."""

    branch: Branch
    """Of which branch."""
    foundation: Foundation
    """What holds data."""
    plan: CodePipelinePlan
    """The CodePipeline stack, as it is to be."""
    template: Template
    """Its template."""
    state: StackState
    """The stack as it is."""
    older: bool = False
    """Whether the stack is not Tidegate's, but the older recipe's, which has the same name."""
    legacy: tuple[str, ...] = ()
    """What it holds of data and would take along, by logical id."""

    @property
    def how(self) -> How:
        """What builds releases: CodePipeline at a push, or CodeBuild from a bundle."""
        return "pipeline" if self.plan.pipeline is not None else "bundle"


def look(
    branch: Branch, say: Say, options: CodePipelineOptions | None = None, *, folder: Path
) -> Found:
    """Look at all there is, and plan the CodePipeline stack; changes nothing.

    ``folder`` takes Tidegate's own wheel, which CodeBuild will install.

    Raises:
        TidegateError: AWS cannot be asked, or the credentials are another account's.
    """
    model = branch.reading.require()
    ground = foundation.look(branch.keys, branch.names, branch.clients, model=model)
    packed = package.pack(folder)
    pipelines = [pipeline.name for pipeline in model.pipelines]
    plan = plan_codepipeline(
        branch.keys, branch.name, packed.tool, pipelines, options or CodePipelineOptions()
    )
    [template] = synthesize(plan)
    stacks = _stacks(branch, say)
    state = stacks.state(template.stack)
    there = stacks.api.template(state) if state.has_resources else {}
    older = state.has_resources and not str(there.get("Description")).startswith(OURS)
    legacy = retain.data_resources(there) if older else ()
    return Found(branch, ground, plan, template, state, older, legacy)


def preview(found: Found, say: Say) -> ChangeSet:
    """What the CodePipeline stack would become; nothing is left of the plan."""
    if not found.state.exists or found.older:
        # To ask AWS would leave the shell of a stack, or count on what is yet to be retained.
        return created(found.template.stack, json.loads(found.template.body), ())
    stacks = _stacks(found.branch, say)
    planned = _planned(found, stacks, wait=False)
    stacks.discard(planned)
    return planned.changes


def check_older_recipe(found: Found) -> None:
    """Raises UsageError: the older recipe's stack is in the way."""
    if not found.older:
        return
    name = found.branch.name
    data = f"; it holds data, which would go: {', '.join(found.legacy)}" if found.legacy else ""
    raise UsageError(
        f"the stack {found.template.stack} is the older recipe's",
        why="its image repository and its functions have the names that Tidegate's have, so that"
        f" an update would fail{data}",
        next=f"`tidegate destroy {name} --dry-run` shows what `tidegate destroy {name}` takes away;"
        " buckets and data are kept. Then deploy again (docs/moving-over.md)",
    )


def prepare_ground(found: Found, folder: Path, say: Say) -> None:
    """Make or adopt what holds data, and put Tidegate itself where CodeBuild finds it.

    Raises:
        TidegateError: something of it is refused; all of it is told at once.
    """
    branch = found.branch
    foundation.ensure(found.foundation, branch.clients, say)
    package.publish(
        package.pack(folder), branch.artifacts_bucket, branch.place.account, branch.clients, say
    )


def deploy_stack(
    found: Found,
    agree: Agree,
    say: Say,
    progress: Progress | None = None,
    *,
    wait: bool = False,
) -> bool:
    """Bring the CodePipeline stack to its plan, once that is agreed to; whether it was.

    Raises:
        TidegateError: CloudFormation refuses, or fails; the stack is then what it was.
    """
    stacks = _stacks(found.branch, say)
    planned = _planned(found, stacks, wait=wait)
    if planned.empty:
        say(f"nothing changes in the stack {found.template.stack}")
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
    return True


def continue_rollback(
    branch: Branch, skip: tuple[str, ...], say: Say, progress: Progress | None = None
) -> list[str]:
    """Bring stacks that are stuck half-way back to what they were; which ones."""
    stacks = _stacks(branch, say)
    all_of_it = (stacks.state(branch.names.codepipeline_stack), *stacks.branch_stacks(branch.names))
    stuck = [state.name for state in all_of_it if state.condition == "stuck"]
    for name in stuck:
        inside = {resource.logical for resource in stacks.api.resources(name)}
        mine = [logical for logical in skip if logical in inside]
        stacks.continue_rollback(name, skip=mine, progress=progress)
    return stuck


# What builds a release.


def start_pipeline(branch: Branch, *, was_there: bool, say: Say) -> None:
    """See to it that the pipeline runs: AWS starts a new one by itself, an old one may have failed.

    Raises:
        TidegateError: CodePipeline cannot be asked.
    """
    name = branch.names.codepipeline
    if not was_there:
        say(f"the pipeline {name} has begun by itself: the first release is on its way")
        return
    client: Any = branch.clients.client("codepipeline")
    with explained("look at the pipeline", name):
        runs = client.list_pipeline_executions(pipelineName=name, maxResults=1)
    last = next(iter(runs["pipelineExecutionSummaries"]), {"status": "none yet"})
    if last["status"] in ("Succeeded", "InProgress"):
        say(f"the last run of the pipeline {name}: {last['status']}; a push starts the next")
        return
    with explained("start the pipeline", name):
        client.start_pipeline_execution(name=name)
    say(f"the last run of the pipeline {name} was {last['status']}: it is started anew")


def build_bundle(
    branch: Branch, repository: Path, commit: str | None, say: Say, *, arguments: str = ""
) -> builds.Build:
    """Have CodeBuild build and deploy the code in a folder of this machine; begins, no more.

    Raises:
        UsageError: there is no code in it.
        TidegateError: it cannot be uploaded, or the build cannot be started.
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
    """Raises ConfigurationError: without a connection to GitHub, nothing would start a release."""
    keys = branch.keys
    if keys.github_org and keys.aws_repo_name and keys.github_codestar_arn:
        return
    raise ConfigurationError(
        "nothing says where the pipelines repository is",
        why="without github_org, aws_repo_name and github_codestar_arn there is no CodePipeline",
        next="write them into the config (docs/deploying.md), or upload the code from this machine:"
        f" `tidegate deploy {branch.name} --from DIR`",
        where=branch.reading.file,
    )


def _stacks(branch: Branch, say: Say) -> Stacks:
    return Stacks(branch.clients, branch.place, who=branch.who, say=say)


def _planned(found: Found, stacks: Stacks, *, wait: bool) -> PlannedDeployment:
    # Emulators do not know CodePipeline: there, the template's condition leaves it out.
    left_out = found.branch.emulated and found.how == "pipeline"
    parameters = {_PARAMETER: "false"} if left_out else {}
    return stacks.plan(
        found.template,
        parameters=parameters,
        upload=upload_to(found.branch.artifacts_bucket, found.branch.clients, found.branch.place),
        wait=wait,
    )
