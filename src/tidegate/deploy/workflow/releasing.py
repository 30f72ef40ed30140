"""A release: images, then stacks, then the record. Reads as its stages.

    found = prepare(branch, repository, …)   what is there, and what this release would be
    preview(found, …)                        the change sets as they would be, and none is left
    release(found, …)                        builds what is missing, deploys, puts it on record
    rollback(branch, …)                      an earlier release deployed again

A release that fails leaves the stacks as they were (CloudFormation rolls back), and is on record as
failed: the images that it did build are found by the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from tidegate import __version__
from tidegate.config import AwsKeys
from tidegate.deploy.cloudformation.changes import ChangeSet, created
from tidegate.deploy.cloudformation.event_tailing import Interrupted, Progress, WatchingFailed
from tidegate.deploy.cloudformation.stacks import PlannedDeployment, Stacks, unneeded
from tidegate.deploy.cloudformation.states import StackState
from tidegate.deploy.cloudformation.upload import upload_to
from tidegate.deploy.core.branch import Branch, commit_of
from tidegate.deploy.core.history import History, Release, ReleasedImage, ended
from tidegate.deploy.design.codepipeline import CodePipelineOptions, check_buckets
from tidegate.deploy.design.image_lifecycle import lifecycle_policy
from tidegate.deploy.design.model import Code, Image, Plan
from tidegate.deploy.design.plan import Options, plan_release
from tidegate.deploy.design.templates import Template, synthesize
from tidegate.deploy.images.base_image import read_image_recipe
from tidegate.deploy.images.builders import choose_builder
from tidegate.deploy.images.building import ImagesPlan, build_images, plan_images
from tidegate.deploy.images.registry import EcrRegistry
from tidegate.errors import ConfigurationError, TidegateError, UsageError
from tidegate.runtime.manifest import Architecture, Manifest
from tidegate.runtime.records import dumps, loads
from tidegate.workspace import loading
from tidegate.workspace.environment_options import environment_options

Say = Callable[[str], None]
Agree = Callable[[Sequence[ChangeSet]], bool]
"""Shows what would change, and asks; False leaves everything as it is."""

NOT_BUILT = "sha256:" + "0" * 64
"""Stands in a preview for the digest of an image that is yet to be built."""


class Declined(TidegateError):
    """The person did not agree to the plan."""


@dataclass(frozen=True)
class ReleaseOptions:
    """What a person may choose for a release."""

    options: Options = field(default_factory=Options)
    """Of the functions."""
    builder: str | None = None
    """What builds images; None: what is there."""
    base: str | None = None
    """Another base image."""
    update_base: bool = False
    """Take the base image as it is now, not as it was at the last release."""
    wait: bool = False
    """Wait for another deployment of a stack to end, instead of refusing."""
    recreate: tuple[str, ...] = ()
    """Resources, by logical id, to make again although they may be there."""
    python: str | None = None
    """The interpreter that Tsdat is asked with."""


@dataclass(frozen=True)
class Prepared:
    """A release before anything is done."""

    branch: Branch
    """Of which branch."""
    repository: Path
    """The pipelines repository."""
    commit: str
    """Its commit; "" where it has none."""
    manifest: Manifest
    """The resolved config, with what Tsdat says."""
    images: ImagesPlan
    """Which images there are, and which are to be built."""
    registry: EcrRegistry
    """Where they lie."""
    wishes: ReleaseOptions
    """What was chosen."""
    notes: tuple[str, ...] = ()
    """What a person should know."""


@dataclass(frozen=True)
class Deployment:
    """The stacks of a release, planned and not yet carried out."""

    plan: Plan
    """Every resource."""
    planned: tuple[PlannedDeployment, ...]
    """What each stack takes, in the order of deployment."""
    unneeded: tuple[StackState, ...] = ()
    """Stacks that nothing is in any more."""
    removals: tuple[ChangeSet, ...] = ()
    """What goes with them."""

    @property
    def changes(self) -> tuple[ChangeSet, ...]:
        """All that would change."""
        sets = (*(planned.changes for planned in self.planned), *self.removals)
        return tuple(change_set for change_set in sets if not change_set.empty)


def prepare(
    branch: Branch, repository: Path | None, commit: str | None, wishes: ReleaseOptions, say: Say
) -> Prepared:
    """Read the pipelines, ask Tsdat about them, and look which images there are.

    ``commit`` is asked of git when it is None.

    Raises:
        TidegateError: the config is not good, or AWS cannot be asked.
    """
    check_buckets(branch.keys, os.environ)
    opened = loading.load_workspace(
        branch.workspace, python=wishes.python, repository=repository, say=say
    )
    architecture = _architecture(opened.manifest, wishes.options)
    wishes = replace(wishes, options=replace(wishes.options, architecture=architecture))
    previous = branch.history.last()
    environment = environment_options(opened.config.require(), branch.workspace)
    recipe = read_image_recipe(
        opened.repository,
        python=environment.python,
        exclude_newer=environment.exclude_newer,
        architecture=architecture,
        base=wishes.base,
        previous=previous,
        update_base=wishes.update_base,
    )
    registry = EcrRegistry(branch.clients, branch.names.image_repository)
    images = plan_images(opened.repository, opened.manifest, recipe, registry, previous)
    notes = tuple(str(note) for note in opened.notes)
    if commit is None:
        commit = commit_of(opened.repository)
    return Prepared(
        branch, opened.repository, commit, opened.manifest, images, registry, wishes, notes
    )


def _architecture(manifest: Manifest, options: Options) -> Architecture:
    """The one processor of a release: all images are built for it."""
    asked = {config.architecture for config in manifest.configs if config.architecture}
    if len(asked) > 1:
        raise ConfigurationError(
            "configs ask for different processors",
            why="images are built for one processor a branch, and these ask for "
            + " and ".join(sorted(asked)),
            next="write `architecture:` once, below `defaults:`",
        )
    return asked.pop() if asked else options.architecture


def preview(found: Prepared, say: Say) -> Deployment:
    """What the stacks would become; nothing is built, and nothing is left of the plans."""
    branch = found.branch
    codes: dict[str, Code] = {
        image.pipeline: Image(image.digest or NOT_BUILT, commit=_commit(found, image.tag))
        for image in found.images.images
    }
    stacks = Stacks(branch.clients, branch.place, who=branch.who, say=say)
    states = stacks.branch_stacks(branch.names)
    plan = plan_of(branch, found.manifest, codes, found.wishes, stacks.placed_configs(states))
    there = {state.name for state in states}
    planned = []
    for template in synthesize(plan):
        if template.stack in there:
            made = _planned(branch, template, found.wishes, stacks)
            stacks.discard(made)
        else:  # to ask AWS would leave the shell of a stack behind
            new = created(template.stack, json.loads(template.body), ())
            made = PlannedDeployment(new, template)
        planned.append(made)
    spare = unneeded(plan, states)
    removals = tuple(stacks.plan_removal(state) for state in spare)
    return Deployment(plan, tuple(planned), spare, removals)


def release(found: Prepared, agree: Agree, say: Say, progress: Progress | None = None) -> Release:
    """Build what is missing, deploy, and put it on record.

    Raises:
        Declined: the person said no; the images that were built stay.
        ReleaseInProgress: another release of this branch has not ended.
        TidegateError: a build or a deployment failed.
    """
    begun = _begin(found.branch, found.commit, found.manifest)
    with _on_record(found.branch, begun) as record:
        built = _build(found, say)
        record.now(replace(begun, state="deploying", images=built))
        _deploy(found.branch, found.manifest, built, found.wishes, agree, say, progress)
        _move_tags(found.branch, found.registry, built)
        # The stack knows only the pipelines that there were when it was deployed.
        keep = CodePipelineOptions().keep_images
        found.registry.keep(lifecycle_policy(found.branch.names, list(built), keep))
        return record.done()


def rollback(
    branch: Branch,
    id: str | None,
    wishes: ReleaseOptions,
    agree: Agree,
    say: Say,
    progress: Progress | None = None,
) -> Release:
    """Deploy the images and configs of an earlier release again.

    Raises:
        UsageError: there is no such release, or its images are gone.
        Declined, ReleaseInProgress, TidegateError: as ``release``.
    """
    wanted = _earlier(branch.history, id)
    registry = EcrRegistry(branch.clients, branch.names.image_repository)
    _check_present(wanted, registry)
    manifest = loads(Manifest, wanted.manifest)
    architecture = _architecture(manifest, wishes.options)
    wishes = replace(wishes, options=replace(wishes.options, architecture=architecture))
    branch = replace(branch, keys=AwsKeys.model_validate_json(wanted.keys))
    begun = _begin(branch, wanted.commit, manifest)
    begun = replace(begun, images=wanted.images, of=wanted.id, state="deploying")
    with _on_record(branch, begun) as record:
        say(f"going back to the release {wanted.id}")
        _deploy(branch, manifest, wanted.images, wishes, agree, say, progress)
        _move_tags(branch, registry, wanted.images)
        return record.done()


# Stages.


def _build(found: Prepared, say: Say) -> dict[str, ReleasedImage]:
    """The images of all pipelines, those that were missing built; each with its own commit."""
    builder = choose_builder(found.wishes.builder) if found.images.missing else None
    built = build_images(found.images, found.repository, builder, found.registry, say=say)
    return {
        pipeline: replace(image, commit=_commit(found, image.tag))
        for pipeline, image in built.items()
    }


def _commit(found: Prepared, tag: str) -> str:
    """The commit that first gave an image: it is not touched by one that changes nothing in it."""
    for release in found.branch.history.all():
        for image in release.images.values():
            if image.tag == tag and image.commit:
                return image.commit
    return found.commit


def plan_of(
    branch: Branch,
    manifest: Manifest,
    codes: Mapping[str, Code],
    wishes: ReleaseOptions,
    present: Mapping[str, int],
) -> Plan:
    """All resources of the pipelines stacks, with these images.

    Raises:
        ConfigurationError: AWS cannot run some config as it is.
    """
    # Emulators know no metric math: there, alarms go by their first metric alone.
    options = replace(wishes.options, metric_math=not branch.emulated)
    return plan_release(branch.keys, manifest, branch.name, codes, options, present=present)


def _planned(
    branch: Branch, template: Template, wishes: ReleaseOptions, stacks: Stacks
) -> PlannedDeployment:
    bucket = branch.names.artifacts_bucket(branch.place.account, branch.place.region)
    mine = {change for change in wishes.recreate if f'"{change}"' in template.body}
    return stacks.plan(
        template,
        role_arn=branch.place.role(branch.names.deploy_role),
        upload=upload_to(bucket, branch.clients, branch.place),
        wait=wishes.wait,
        recreate=sorted(mine),
    )


def _deploy(
    branch: Branch,
    manifest: Manifest,
    images: Mapping[str, ReleasedImage],
    wishes: ReleaseOptions,
    agree: Agree,
    say: Say,
    progress: Progress | None,
) -> None:
    """Bring the stacks to these images and configs, once that is agreed to."""
    stacks = Stacks(branch.clients, branch.place, who=branch.who, say=say)
    states = stacks.branch_stacks(branch.names)
    codes: dict[str, Code] = {
        pipeline: Image(image.digest, commit=image.commit) for pipeline, image in images.items()
    }
    plan = plan_of(branch, manifest, codes, wishes, stacks.placed_configs(states))
    for note in plan.notes:
        say(note)
    planned: list[PlannedDeployment] = []
    try:
        for template in synthesize(plan):
            planned.append(_planned(branch, template, wishes, stacks))
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
    _carry_out(branch, deployment, stacks, progress)


def _carry_out(
    branch: Branch, deployment: Deployment, stacks: Stacks, progress: Progress | None
) -> None:
    """One stack after the other; what comes after one that fails is not touched."""
    left = list(deployment.planned)
    try:
        while left:
            if not left[0].empty:
                stacks.execute(left[0], progress)
            left.pop(0)
    except BaseException:
        for planned in left[1:]:
            with suppress(TidegateError):  # the first error is the one to tell
                stacks.discard(planned)
        raise
    role = branch.place.role(branch.names.deploy_role)
    for state in deployment.unneeded:
        stacks.delete(state.name, role_arn=role, progress=progress)


def _move_tags(branch: Branch, registry: EcrRegistry, images: Mapping[str, ReleasedImage]) -> None:
    for pipeline, image in images.items():
        registry.move(branch.names.image_tag(pipeline), image.digest)


# The record.


@dataclass
class _Record:
    history: History
    release: Release

    def now(self, release: Release) -> None:
        self.release = release
        self.history.put(release)

    def done(self) -> Release:
        self.now(ended(self.release, "deployed"))
        return self.release


@contextmanager
def _on_record(branch: Branch, begun: Release) -> Iterator[_Record]:
    """A release on record from its begin to its end, whatever that is."""
    with branch.history.releasing(begun):
        record = _Record(branch.history, begun)
        record.now(begun)
        try:
            yield record
        except (WatchingFailed, Interrupted) as error:  # AWS goes on: nobody knows how it ends
            record.now(replace(record.release, error=str(error)))
            raise
        except BaseException as error:
            said = str(error) or type(error).__name__
            record.now(ended(record.release, "failed", said))
            raise


def _begin(branch: Branch, commit: str, manifest: Manifest) -> Release:
    now = datetime.now(timezone.utc)
    text = dumps(manifest)
    return Release(
        id=f"{now:%Y%m%dT%H%M%S}-{commit[:7] or 'none'}",
        commit=commit,
        who=branch.who,
        when=now,
        config_hash=hashlib.sha256(text.encode()).hexdigest()[:16],
        manifest=text,
        keys=branch.keys.model_dump_json(exclude_none=True),
        tidegate=__version__,
    )


def _earlier(history: History, id: str | None) -> Release:
    """The release that a person means: by the first digits of its id, else the one before."""
    if id is None:
        deployed = [found for found in history.all() if found.state == "deployed"]
        now = deployed[0].of or deployed[0].id if deployed else ""
        # Rollbacks are no releases of their own: going back twice goes back by two.
        before = [found for found in deployed if not found.of and found.id < now]
        if not before:
            raise UsageError(
                "there is no earlier release to go back to",
                next="`tidegate releases` lists them all",
            )
        return before[0]
    meant = [release for release in history.all() if release.id.startswith(id)]
    if len(meant) != 1:
        what = f"{len(meant)} releases begin with {id}" if meant else f"there is no release {id}"
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
            f"the images of {', '.join(pipelines)} in the release {release.id} are gone",
            why="the repository keeps a number of images and removes older ones",
            next=f"check out {release.commit[:7]} and release it: `tidegate release`",
        )
