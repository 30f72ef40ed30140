"""Plans which images a release needs, and builds those that do not exist yet.

    plan = plan_images(repository, manifest, recipe, registry, previous)
    print(describe_images(plan))
    images = build_images(plan, repository, builder, registry, say=print)

The tag of an image is a hash of its inputs, so an existing image is never built again, and a push
that changes one pipeline builds one image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.deploy.core.history import Release, ReleasedImage
from tidegate.deploy.images.asking import ImageAnswer, ask_in_image
from tidegate.deploy.images.builders import Build, Builder, BuildFailed
from tidegate.deploy.images.content import (
    PACKAGE,
    Content,
    ImageRecipe,
    changes,
    environment_content,
    environment_part,
    pipeline_contents,
    runtime_files,
    without_trigger,
)
from tidegate.deploy.images.dockerfile import write_environment, write_pipeline
from tidegate.deploy.images.registry import ImageRegistry
from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.manifest import Manifest
from tidegate.runtime.wording import quantity
from tidegate.workspace.uv_messages import NotOnPyPI, explain

Say = Callable[[str], None]
_UV_FAILED = "error: uv pip failed"  # as in ``images.context.prepare``


@dataclass(frozen=True)
class ImagePlan:
    """One image, and whether it must be built."""

    pipeline: str
    """The pipeline; "" for the environment, which all share."""
    tag: str
    """Its content tag."""
    inputs: Mapping[str, str]
    """Its inputs, with their hashes."""
    digest: str | None
    """Its digest in the registry; None if it must be built."""
    changes: tuple[str, ...] = ()
    """Why it must be built: which inputs changed since the last release."""
    commit: str = ""
    """The first commit that produced it, if the last release has it already."""
    folders: tuple[str, ...] = ()
    """The pipeline's folders in the repository."""


@dataclass(frozen=True)
class ImagesPlan:
    """All images of a release."""

    recipe: ImageRecipe
    """What the environment is made from."""
    environment: ImagePlan
    """The environment."""
    images: tuple[ImagePlan, ...]
    """One a pipeline, in the order of the config."""
    notes: tuple[str, ...] = ()
    """What a person should know."""

    @property
    def missing(self) -> tuple[ImagePlan, ...]:
        """Those that must be built."""
        return tuple(image for image in self.images if image.digest is None)


class BuildsFailed(TidegateError):
    """Some images could not be built; the others are kept in the registry."""

    def __init__(
        self, images: Mapping[str, ReleasedImage], failures: Mapping[str, TidegateError]
    ) -> None:
        self.images, self.failures = images, failures
        first = next(iter(failures.values()))
        names = ", ".join(failures)
        super().__init__(
            f"could not build {quantity(len(failures), 'image')}: {names}",
            why="\n".join(f"{name}: {error.what}\n{error.why}" for name, error in failures.items()),
            next=first.next,
            where=first.where,
        )


def plan_images(
    repository: Path,
    manifest: Manifest,
    recipe: ImageRecipe,
    registry: ImageRegistry,
    previous: Release | None = None,
) -> ImagesPlan:
    """Plan the images of a release; asks the registry which of them exist.

    Raises:
        ConfigurationError: something cannot be part of an image.
        StorageError: the registry does not answer.
    """
    environment = environment_content(recipe)
    contents = pipeline_contents(repository, manifest, recipe)
    found = registry.digests([environment.tag, *(content.tag for content in contents)])
    before = previous.images if previous else {}
    shared = next((image.inputs for image in before.values()), None)
    return ImagesPlan(
        recipe,
        _planned(environment, found, environment_part(shared) if shared else None, ""),
        tuple(_planned_pipeline(content, found, before) for content in contents),
        (*_notes(recipe), *_trigger_notes(recipe, contents)),
    )


def _planned_pipeline(
    content: Content, found: Mapping[str, str], before: Mapping[str, ReleasedImage]
) -> ImagePlan:
    known = before.get(content.pipeline)
    commit = known.commit if known and known.tag == content.tag else ""
    return _planned(content, found, known.inputs if known else None, commit, bool(before))


def _planned(
    content: Content,
    found: Mapping[str, str],
    before: Mapping[str, str] | None,
    commit: str,
    released: bool = False,
) -> ImagePlan:
    digest = found.get(content.tag)
    why: tuple[str, ...] = ()
    if digest is None:
        if before is None:
            why = ("new pipeline" if released else "the first release",)
        else:
            why = changes(content.inputs, before) or ("it is no longer in the registry",)
    return ImagePlan(
        content.pipeline, content.tag, content.inputs, digest, why, commit, content.folders
    )


def _notes(recipe: ImageRecipe) -> list[str]:
    environment = recipe.environment
    if not recipe.uses_conda:
        return []
    why = ", ".join(environment.needs_conda)
    notes = [f"{why}: not on PyPI, so conda is used for the environment"]
    if environment.exclude_newer:
        notes.append(
            "exclude_newer only applies to packages from PyPI; conda installs the newest ones"
        )
    return notes


def _trigger_notes(recipe: ImageRecipe, contents: Iterable[Content]) -> list[str]:
    names = without_trigger(recipe.environment, contents)
    return [
        f"with CodePipeline, a push that changes only {name} starts no release: move it "
        + ("below pipelines/" if name.endswith("/") else "to requirements/")
        for name in names
    ]


def describe_images(plan: ImagesPlan) -> str:
    """The plan as text."""
    lines = []
    if plan.missing and plan.environment.digest is None:
        lines += _described("the environment", plan.environment)
    for image in plan.images:
        lines += _described(image.pipeline, image)
    return "\n".join([*lines, *plan.notes]) + "\n"


def _described(name: str, image: ImagePlan) -> list[str]:
    if image.digest is not None:
        return [f"{name}: {image.tag} exists"]
    return [f"{name}: {image.tag} will be built: {', '.join(image.changes)}"]


# --- building -------------------------------------------------------------------------------------


def build_images(
    plan: ImagesPlan,
    repository: Path,
    builder: Builder | None,
    registry: ImageRegistry,
    *,
    say: Say = lambda line: None,
    commit: str = "",
    files: Sequence[str] = (),
    check: Callable[[ImageAnswer], None] = lambda answer: None,
) -> dict[str, ReleasedImage]:
    """Build and push missing images; returns all images of the plan, by pipeline.

    Tsdat is asked about the config ``files`` in the environment, before any pipeline's image is
    built; ``check`` raises an error if the answer is not good enough. A ``builder`` is required
    unless no image is missing and there is nothing to ask. ``commit`` is recorded for new images.

    Raises:
        BuildsFailed: some could not be built. The others are in the registry: a second attempt only
            builds those that failed.
        TidegateError: the environment could not be built, or pushing is not allowed.
    """
    done = {
        image.pipeline: _released(image, image.digest, commit)
        for image in plan.images
        if image.digest is not None
    }
    failures: dict[str, TidegateError] = {}
    if plan.missing or files:
        if builder is None:
            raise ValueError("images are missing or have to be asked, and there is no builder")
        work = _ImageBuild(plan, repository, builder, registry, say)
        with builder.signed_in(registry.credentials()):
            environment = plan.environment.digest or work.environment()
            if files:
                check(work.ask(environment, files))
            for image in plan.missing:
                say(f"building {image.tag}: {', '.join(image.changes)}")
                try:
                    digest = work.pipeline(image, environment)
                except TidegateError as error:
                    failures[image.pipeline] = error
                    say(str(error))
                else:
                    done[image.pipeline] = _released(image, digest, commit)
    if failures:
        raise BuildsFailed(done, failures)
    return {image.pipeline: done[image.pipeline] for image in plan.images}


@dataclass(frozen=True)
class _ImageBuild:
    """Builds the images of one plan."""

    plan: ImagesPlan
    repository: Path
    builder: Builder
    registry: ImageRegistry
    say: Say

    def environment(self) -> str:
        """Build the environment; returns its digest."""
        recipe = self.plan.recipe
        tag = self.plan.environment.tag
        self.say(f"building {tag} from {recipe.environment.title}, on {recipe.base}")
        while True:
            try:
                with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
                    write_environment(
                        Path(folder), recipe.environment, package=recipe.package,
                        micromamba=recipe.micromamba,
                    )  # fmt: skip
                    return self._build(Path(folder), tag, {"BASE": recipe.pinned_base})
            except BuildFailed as error:
                explained = _explain(error, recipe)
                if not isinstance(explained, NotOnPyPI):
                    raise explained from None
                # No list of conda-only packages is complete: the index has just shown more of them.
                self.say(f"{explained} is not on PyPI: conda is used for the environment")
                recipe = recipe.without(explained.names)

    def ask(self, environment: str, files: Sequence[str]) -> ImageAnswer:
        """What Tsdat says about config files in the environment."""
        self.say(f"checking {quantity(len(files), 'config file')} in {self.plan.environment.tag}")
        image = f"{self.registry.address}@{environment}"
        folders = dict.fromkeys(name for image in self.plan.images for name in image.folders)
        with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
            build = Build(
                Path(folder), image, self.plan.recipe.architecture, {"ENVIRONMENT": image},
                failure="the configs cannot be checked in the environment's image",
            )  # fmt: skip
            return ask_in_image(build, self.repository, folders, files, self.builder, self.say)

    def pipeline(self, image: ImagePlan, environment: str) -> str:
        """Build the image of a pipeline; returns its digest."""
        with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
            write_pipeline(Path(folder), self.repository, image.folders, PACKAGE, runtime_files())
            base = f"{self.registry.address}@{environment}"
            return self._build(Path(folder), image.tag, {"ENVIRONMENT": base})

    def _build(self, folder: Path, tag: str, arguments: Mapping[str, str]) -> str:
        image = f"{self.registry.address}:{tag}"
        architecture = self.plan.recipe.architecture
        self.builder.build(Build(folder, image, architecture, arguments), self.say)
        digest = self.registry.digests([tag]).get(tag)
        if digest is None:
            raise StorageError(
                f"the image {tag} was pushed, but the registry does not have it", next="try again"
            )
        return digest


def _explain(error: BuildFailed, recipe: ImageRecipe) -> TidegateError | NotOnPyPI:
    """The problem in the requirements, with file and line, if uv failed."""
    if _UV_FAILED not in error.output:
        return error
    message = error.output.replace("/tidegate/requirements/", "").replace(_UV_FAILED, "")
    explained = explain(message, recipe.environment)
    if isinstance(explained, NotOnPyPI):
        return explained
    old = recipe.environment.python in ("3.10", "3.11")
    explained.next = "correct the requirements" + (
        ', or set `python: "3.12"`: Lambda\'s images for older versions are on an old Linux, for '
        "which many packages cannot be installed"
        if old
        else ""
    )
    return explained


def _released(image: ImagePlan, digest: str, commit: str) -> ReleasedImage:
    return ReleasedImage(image.tag, digest, dict(image.inputs), image.commit or commit)
