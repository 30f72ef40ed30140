"""Stacks, the CodePipeline pipeline, builds, images and releases."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.core.branch import Branch
from tidegate.deploy.core.console import Console
from tidegate.deploy.core.history import History
from tidegate.deploy.core.history import Release as Recorded
from tidegate.deploy.resources.base import is_gone
from tidegate.deploy.status.attempts import list_all, or_unknown
from tidegate.deploy.status.model import (
    Build,
    CodePipeline,
    Image,
    Images,
    Release,
    Stack,
    Stage,
)
from tidegate.deploy.status.running import as_time
from tidegate.targets.aws.clients import explained


def stacks(branch: Branch) -> tuple[Stack, ...]:
    """The pipelines stacks and the CodePipeline stack, whether they exist or not."""
    stacks = Stacks(branch.clients, branch.place)
    found = stacks.branch_stacks(branch.names)
    counts = Counter(stacks.placed_configs(found).values())
    console = Console(branch.place)
    states = [(state, counts.get(number, 0)) for number, state in enumerate(found, 1)]
    if not states:
        states = [(stacks.state(branch.names.pipelines_stack), 0)]
    states.append((stacks.state(branch.names.codepipeline_stack), 0))
    return tuple(
        Stack(
            name=state.name,
            status=state.status if state.exists else "",
            sentence=state.sentence,
            configs=configs,
            changed=state.since,
            url=console.stack(state.id or state.name),
        )
        for state, configs in states
    )


def pipeline(branch: Branch) -> CodePipeline:
    """The CodePipeline pipeline, and its last execution."""
    name, url = (
        branch.names.codepipeline,
        Console(branch.place).codepipeline(branch.names.codepipeline),
    )
    client = branch.clients.client("codepipeline")
    try:
        with explained("read the state of the pipeline", branch.place.arn("codepipeline", name)):
            answer = client.list_pipeline_executions(pipelineName=name, maxResults=1)
    except Exception as error:
        if is_gone(error):
            return CodePipeline(name, False, (), "", None, {}, url)
        raise
    executions = answer.get("pipelineExecutionSummaries", ())
    last = executions[0] if executions else {}
    commits = {
        str(one.get("actionName", "")): str(one.get("revisionId", ""))
        for one in last.get("sourceRevisions", ())
    }
    return CodePipeline(
        name=name,
        exists=True,
        stages=or_unknown(partial(_stages, branch)),
        status=str(last.get("status", "")),
        began=as_time(last.get("startTime")),
        commits=commits,
        url=url,
    )


def _stages(branch: Branch) -> tuple[Stage, ...]:
    name = branch.names.codepipeline
    with explained("read the stages of", branch.place.arn("codepipeline", name)):
        answer = branch.clients.client("codepipeline").get_pipeline_state(name=name)
    return tuple(_stage(state) for state in answer.get("stageStates", ()))


def _stage(state: dict[str, Any]) -> Stage:
    actions = [one.get("latestExecution", {}) for one in state.get("actionStates", ())]
    errors = [one["errorDetails"].get("message", "") for one in actions if one.get("errorDetails")]
    times = [one["lastStatusChange"] for one in actions if one.get("lastStatusChange")]
    return Stage(
        name=str(state.get("stageName", "")),
        status=str(state.get("latestExecution", {}).get("status", "")),
        said="; ".join(error for error in errors if error),
        changed=max(times, default=None),
    )


def build(branch: Branch) -> Build:
    """The last build, by whomever it was started."""
    project, console = branch.names.build_project, Console(branch.place)
    client = branch.clients.client("codebuild")
    none = Build("", "", None, None, console.build_project(project))
    try:
        with explained("list the builds of", branch.place.arn("codebuild", f"project/{project}")):
            ids = client.list_builds_for_project(projectName=project, sortOrder="DESCENDING")["ids"]
            if not ids:
                return none
            found = client.batch_get_builds(ids=ids[:1])["builds"]
    except Exception as error:
        if is_gone(error):
            return none
        raise
    if not found:
        return none
    last = found[0]
    return Build(
        id=str(last["id"]),
        status=str(last.get("buildStatus", "")),
        began=as_time(last.get("startTime")),
        ended=as_time(last.get("endTime")),
        url=console.build(project, str(last["id"])),
    )


def images(branch: Branch, pipelines: tuple[str, ...]) -> Images:
    """The image repository, and the image with each pipeline's own tag."""
    names = branch.names
    repository, url = (
        names.image_repository,
        Console(branch.place).repository(names.image_repository),
    )
    try:
        with explained("list the images of", branch.place.arn("ecr", f"repository/{repository}")):
            found = list(
                list_all(
                    branch.clients, "ecr", "describe_images", "imageDetails",
                    repositoryName=repository,
                )
            )  # fmt: skip
    except Exception as error:
        if is_gone(error):
            return Images(repository, False, 0, 0, (), url)
        raise
    by_tag = {tag: one for one in found for tag in one.get("imageTags", ())}
    current = [(p, by_tag.get(names.image_tag(p), {})) for p in pipelines]
    return Images(
        repository=repository,
        exists=True,
        count=len(found),
        size=sum(int(one.get("imageSizeInBytes", 0)) for one in found),
        images=tuple(
            Image(
                pipeline=name,
                digest=str(one.get("imageDigest", "")),
                tags=tuple(sorted(one.get("imageTags", ()))),
                size=int(one.get("imageSizeInBytes", 0)),
                pushed=as_time(one.get("imagePushedAt")),
            )
            for name, one in current
        ),
        url=url,
    )


def releases(branch: Branch) -> tuple[Release | None, Release | None]:
    """The last deployed release, and the latest release in any state."""
    latest = None
    for found in History(branch.names.ledger_table, branch.clients).all():
        latest = latest or _release(found)
        if found.state == "deployed":
            return _release(found), latest
    return None, latest


def _release(found: Recorded) -> Release:
    return Release(found.id, found.commit, found.who, found.when, found.state, found.error)
