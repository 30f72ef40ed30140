"""A release: images, then stacks, then its record.

    prepared = prepare(branch, repository, …)   what exists
    preview(prepared, …)                        its change sets, which are deleted again
    release(prepared, …)                        builds images, checks configs, deploys, records it
    rollback(branch, …)                         deploys an earlier release again

A release that fails leaves the stacks unchanged (CloudFormation rolls back) and is recorded as
failed; the next one uses the images that it has built.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tidegate.config import AwsKeys, ConfigFile
from tidegate.deploy.cloudformation.changes import ChangeSet, created
from tidegate.deploy.cloudformation.event_tailing import Progress
from tidegate.deploy.cloudformation.stacks import PlannedDeployment, Stacks, unneeded
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.cloudformation.upload import upload_to
from tidegate.deploy.core.branch import Branch, commit_of
from tidegate.deploy.core.history import History, Release, ReleasedImage
from tidegate.deploy.design.codepipeline import CodePipelineOptions, check_buckets
from tidegate.deploy.design.image_lifecycle import lifecycle_policy
from tidegate.deploy.design.model import Code, Image, Plan
from tidegate.deploy.design.plan import Options, plan_release
from tidegate.deploy.design.sweep import notes_on_notify
from tidegate.deploy.design.templates import Template, synthesize
from tidegate.deploy.images.asking import ImageAnswer
from tidegate.deploy.images.base_image import read_image_recipe
from tidegate.deploy.images.builders import choose_builder
from tidegate.deploy.images.building import ImagesPlan, build_images, plan_images
from tidegate.deploy.images.registry import EcrRegistry
from tidegate.deploy.workflow.answers import Answers, answers_of_image, known_answers
from tidegate.deploy.workflow.release_record import begin, on_record, with_manifest
from tidegate.errors import ConfigurationError, TidegateError, UsageError
from tidegate.runtime.manifest import Architecture, Manifest, Pipeline
from tidegate.runtime.records import loads
from tidegate.workspace import loading
from tidegate.workspace.environment_options import environment_options

Say = Callable[[str], None]
Agree = Callable[[Sequence[ChangeSet]], bool]
"""Shows the changes and asks for confirmation; False changes nothing."""

NOT_BUILT = "sha256:" + "0" * 64
"""In a preview, the digest of an image that is not built yet."""


class Declined(TidegateError):
    """The person did not confirm the plan."""


@dataclass(frozen=True)
class ReleaseOptions:
    """What a person can choose for a release."""

    functions: Options = field(default_factory=Options)
    """Options of the functions."""
    builder: str | None = None
    """What builds images; None for whichever is installed."""
    base: str | None = None
    """Another base image."""
    update_base: bool = False
    """Use the newest base image, not that of the last release."""
    wait: bool = False
    """Wait until another deployment of a stack ends, instead of failing."""
    recreate: tuple[str, ...] = ()
    """Resources, by logical id, to recreate although they may exist."""
    python: str | None = None
    """A Python interpreter of this machine to check the configs with, instead of the image's."""


@dataclass(frozen=True)
class Prepared:
    """A release before anything is changed."""

    branch: Branch
    """The branch."""
    repository: Path
    """The pipelines repository."""
    commit: str
    """Its commit; "" if it has none."""
    config: ConfigFile
    """The config file."""
    answers: Answers
    """What is known of Tsdat's answers about the configs."""
    manifest: Manifest
    """The resolved config, with these answers."""
    images: ImagesPlan
    """Which images exist, and which must be built."""
    registry: EcrRegistry
    """The image repository."""
    options: ReleaseOptions
    """The options of the release."""
    notes: tuple[str, ...] = ()
    """What a person should know."""


@dataclass(frozen=True)
class Deployment:
    """The planned changes of the stacks of a release."""

    plan: Plan
    """Every resource."""
    planned: tuple[PlannedDeployment, ...]
    """The deployment of each stack, in order."""
    unneeded: tuple[StackState, ...] = ()
    """Stacks that no config needs any more."""
    removals: tuple[ChangeSet, ...] = ()
    """What is deleted with them."""

    @property
    def changes(self) -> tuple[ChangeSet, ...]:
        """All changes."""
        sets = (*(planned.changes for planned in self.planned), *self.removals)
        return tuple(change_set for change_set in sets if not change_set.empty)


def prepare(
    branch: Branch,
    repository: Path | None,
    commit: str | None,
    options: ReleaseOptions,
    say: Say,
    *,
    here: bool = False,
) -> Prepared:
    """Read the pipelines, and find out which images exist and what Tsdat says about the configs.

    What no earlier release knows, ``release`` asks in the image that it builds. With ``here``, or
    a ``python`` in the options, it is asked on this machine now. If ``commit`` is None, git is
    asked for it.

    Raises:
        TidegateError: the config has problems, or AWS does not answer.
    """
    check_buckets(branch.keys, os.environ)
    config = loading.read_config(branch.workspace, repository)
    assert config.repository is not None
    repository = Path(os.path.abspath(config.repository))
    manifest, _ = Answers().manifest(config)
    architecture = _architecture(manifest, options.functions)
    options = replace(options, functions=replace(options.functions, architecture=architecture))
    previous = branch.history.last()
    environment = environment_options(config.require(), branch.workspace)
    recipe = read_image_recipe(
        repository,
        python=environment.python,
        exclude_newer=environment.exclude_newer,
        architecture=architecture,
        base=options.base,
        previous=previous,
        update_base=options.update_base,
        micromamba=branch.keys.micromamba,
    )
    registry = EcrRegistry(branch.clients, branch.names.image_repository)
    images = plan_images(repository, manifest, recipe, registry, previous)
    tags = {image.pipeline: image.tag for image in images.images}
    answers = known_answers(branch.history.all(), tags)
    if answers.unknown(config) and (here or options.python):
        answers = answers.over(_answers_here(branch, repository, options, say))
    manifest, notes = answers.manifest(config)
    if commit is None:
        commit = commit_of(repository)
    return Prepared(
        branch, repository, commit, config, answers, manifest, images, registry, options,
        (*(str(note) for note in notes), *notes_on_notify(manifest, branch.names)),
    )  # fmt: skip


def _answers_here(branch: Branch, repository: Path, options: ReleaseOptions, say: Say) -> Answers:
    """What Tsdat says in the environment of this machine, which is made if it is missing."""
    opened = loading.load_workspace(
        branch.workspace, python=options.python, repository=repository, say=say
    )
    described: dict[str, Pipeline | TidegateError] = {
        config.config_file: config.tsdat
        for config in opened.manifest.configs
        if config.tsdat is not None
    }
    return Answers(described, opened.manifest.releases)


def _architecture(manifest: Manifest, options: Options) -> Architecture:
    """The processor of a release: all images are built for the same one."""
    asked = {config.architecture for config in manifest.configs if config.architecture}
    if len(asked) > 1:
        raise ConfigurationError(
            "configs have different processors",
            why="all images of a branch are built for one processor, and these configs have "
            + " and ".join(sorted(asked)),
            next="set `architecture:` once, under `defaults:`",
        )
    return asked.pop() if asked else options.architecture


def preview(prepared: Prepared, say: Say) -> Deployment:
    """The changes of the stacks; nothing is built, and the change sets are deleted again."""
    branch = prepared.branch
    codes: dict[str, Code] = {
        image.pipeline: Image(image.digest or NOT_BUILT, commit=_commit(prepared, image.tag))
        for image in prepared.images.images
    }
    stacks = Stacks(branch.clients, branch.place, who=branch.who, say=say)
    states = stacks.branch_stacks(branch.names)
    plan = plan_of(
        branch, prepared.manifest, codes, prepared.options, stacks.placed_configs(states)
    )
    existing = {state.name for state in states}
    planned = []
    for template in synthesize(plan):
        if template.stack in existing:
            made = _planned(branch, template, prepared.options, stacks)
            stacks.discard(made)
        else:  # a change set would create an empty stack
            new = created(template.stack, json.loads(template.body), ())
            made = PlannedDeployment(new, template)
        planned.append(made)
    spare = unneeded(plan, states)
    removals = tuple(stacks.plan_removal(state) for state in spare)
    return Deployment(plan, tuple(planned), spare, removals)


def release(
    prepared: Prepared, agree: Agree, say: Say, progress: Progress | None = None
) -> Release:
    """Build missing images, check the configs in one, deploy, and record the release.

    Raises:
        ConfigProblems: Tsdat rejects a config file; no stack was changed.
        Declined: the person did not confirm; images that were built are kept.
        ReleaseInProgress: another release of this branch is in progress.
        TidegateError: a build or a deployment failed.
    """
    begun = begin(prepared.branch, prepared.commit, prepared.manifest)
    with on_record(prepared.branch, begun) as record:
        manifest, built = _build(prepared, say)
        begun = replace(with_manifest(begun, manifest), state="deploying", images=built)
        record.now(begun)
        _deploy(prepared.branch, manifest, built, prepared.options, agree, say, progress)
        _move_tags(prepared.branch, prepared.registry, built)
        # The stack only knows the pipelines at the time of its deployment.
        keep = CodePipelineOptions().keep_images
        prepared.registry.keep(lifecycle_policy(prepared.branch.names, list(built), keep))
        return record.done()


def rollback(
    branch: Branch,
    id: str | None,
    options: ReleaseOptions,
    agree: Agree,
    say: Say,
    progress: Progress | None = None,
) -> Release:
    """Deploy the images and configs of an earlier release again.

    Raises:
        UsageError: there is no such release, or its images no longer exist.
        Declined, ReleaseInProgress, TidegateError: as ``release``.
    """
    wanted = _earlier(branch.history, id)
    registry = EcrRegistry(branch.clients, branch.names.image_repository)
    _check_present(wanted, registry)
    manifest = loads(Manifest, wanted.manifest)
    architecture = _architecture(manifest, options.functions)
    options = replace(options, functions=replace(options.functions, architecture=architecture))
    branch = replace(branch, keys=AwsKeys.model_validate_json(wanted.keys))
    begun = begin(branch, wanted.commit, manifest)
    begun = replace(begun, images=wanted.images, of=wanted.id, state="deploying")
    with on_record(branch, begun) as record:
        say(f"deploying the release {wanted.id} again")
        _deploy(branch, manifest, wanted.images, options, agree, say, progress)
        _move_tags(branch, registry, wanted.images)
        return record.done()


# Stages.


def _build(prepared: Prepared, say: Say) -> tuple[Manifest, dict[str, ReleasedImage]]:
    """Check the configs in the environment, and build the missing images.

    Returns the configs with Tsdat's answers, and all images by pipeline, each with its own commit.
    """
    manifest = prepared.manifest
    files = prepared.answers.unknown(prepared.config)
    needed = prepared.images.missing or files
    builder = choose_builder(prepared.options.builder) if needed else None

    def check(answer: ImageAnswer) -> None:
        nonlocal manifest
        asked = answers_of_image(prepared.config, prepared.repository, answer)
        manifest, _ = prepared.answers.over(asked).manifest(prepared.config)

    built = build_images(
        prepared.images, prepared.repository, builder, prepared.registry,
        say=say, files=files, check=check,
    )  # fmt: skip
    return manifest, {
        pipeline: replace(image, commit=_commit(prepared, image.tag))
        for pipeline, image in built.items()
    }


def _commit(prepared: Prepared, tag: str) -> str:
    """The first commit that produced an image: later ones that do not change it do not count."""
    for release in prepared.branch.history.all():
        for image in release.images.values():
            if image.tag == tag and image.commit:
                return image.commit
    return prepared.commit


def plan_of(
    branch: Branch,
    manifest: Manifest,
    codes: Mapping[str, Code],
    options: ReleaseOptions,
    present: Mapping[str, int],
) -> Plan:
    """All resources of the pipelines stacks, with these images.

    Raises:
        ConfigurationError: AWS cannot run some config as it is.
    """
    # Emulators do not support metric math: alarms there only use their first metric.
    functions = replace(options.functions, metric_math=not branch.emulated)
    return plan_release(branch.keys, manifest, branch.name, codes, functions, present=present)


def _planned(
    branch: Branch, template: Template, options: ReleaseOptions, stacks: Stacks
) -> PlannedDeployment:
    bucket = branch.names.artifacts_bucket(branch.place.account, branch.place.region)
    mine = {change for change in options.recreate if f'"{change}"' in template.body}
    return stacks.plan(
        template,
        role_arn=branch.place.role(branch.names.deploy_role),
        upload=upload_to(bucket, branch.clients, branch.place),
        wait=options.wait,
        recreate=sorted(mine),
    )


def _deploy(
    branch: Branch,
    manifest: Manifest,
    images: Mapping[str, ReleasedImage],
    options: ReleaseOptions,
    agree: Agree,
    say: Say,
    progress: Progress | None,
) -> None:
    """Deploy these images and configs to the stacks, after confirmation."""
    stacks = Stacks(branch.clients, branch.place, who=branch.who, say=say)
    states = stacks.branch_stacks(branch.names)
    codes: dict[str, Code] = {
        pipeline: Image(image.digest, commit=image.commit) for pipeline, image in images.items()
    }
    plan = plan_of(branch, manifest, codes, options, stacks.placed_configs(states))
    for note in plan.notes:
        say(note)
    planned: list[PlannedDeployment] = []
    try:
        for template in synthesize(plan):
            planned.append(_planned(branch, template, options, stacks))
        spare = unneeded(plan, states)
        removals = tuple(stacks.plan_removal(state) for state in spare)
        deployment = Deployment(plan, tuple(planned), spare, removals)
        if not deployment.changes:
            say("nothing changes in the stacks")
        elif not agree(deployment.changes):
            raise Declined("no stack was changed", next="images that were built are kept for later")
    except BaseException:
        for one in planned:
            stacks.discard(one)
        raise
    _execute(branch, deployment, stacks, progress)


def _execute(
    branch: Branch, deployment: Deployment, stacks: Stacks, progress: Progress | None
) -> None:
    """Deploy one stack after the other; if one fails, the remaining ones are not changed."""
    left = list(deployment.planned)
    try:
        while left:
            if not left[0].empty:
                stacks.execute(left[0], progress)
            left.pop(0)
    except BaseException:
        for planned in left[1:]:
            with suppress(TidegateError):  # the first error is more important
                stacks.discard(planned)
        raise
    role = branch.place.role(branch.names.deploy_role)
    for state in deployment.unneeded:
        stacks.delete(state.name, role_arn=role, progress=progress)


def _move_tags(branch: Branch, registry: EcrRegistry, images: Mapping[str, ReleasedImage]) -> None:
    for pipeline, image in images.items():
        registry.move(branch.names.image_tag(pipeline), image.digest)


# Rollbacks.


def _earlier(history: History, id: str | None) -> Release:
    """The release with an id that starts like this, or the one before the current release."""
    if id is None:
        deployed = [found for found in history.all() if found.state == "deployed"]
        now = deployed[0].of or deployed[0].id if deployed else ""
        # Rollbacks do not count as releases: two rollbacks in a row go back by two releases.
        before = [found for found in deployed if not found.of and found.id < now]
        if not before:
            raise UsageError(
                "there is no earlier release",
                next="`tidegate releases` lists them all",
            )
        return before[0]
    meant = [release for release in history.all() if release.id.startswith(id)]
    if len(meant) != 1:
        what = f"{len(meant)} releases start with {id}" if meant else f"there is no release {id}"
        raise UsageError(what, next="`tidegate releases` lists them all")
    if meant[0].state != "deployed":
        raise UsageError(
            f"the release {meant[0].id} was not deployed: it is {meant[0].state}",
            next="choose one that was: `tidegate releases`",
        )
    return meant[0]


def _check_present(release: Release, registry: EcrRegistry) -> None:
    digests = {image.digest for image in release.images.values()}
    if gone := digests - registry.present(digests):
        pipelines = sorted(p for p, image in release.images.items() if image.digest in gone)
        raise UsageError(
            f"the images of {', '.join(pipelines)} in the release {release.id} no longer exist",
            why="the image repository only keeps a number of images, and deletes older ones",
            next=f"check out {release.commit[:7]} and release it: `tidegate release`",
        )
