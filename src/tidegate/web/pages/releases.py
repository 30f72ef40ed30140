"""Which code made what, and since when; on AWS also the releases and what each has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, pairwise

from tidegate.errors import TidegateError
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.records import loads, to_json
from tidegate.runtime.release_notes import (
    differences,
    packages_of,
    release_notes,
    setting_differences,
    settings,
)
from tidegate.runtime.runs import RunRecord
from tidegate.web.endpoints import Endpoint, Page, Parameters
from tidegate.web.site import Site

_LOOKED_AT = 100
_MOST_NOTED = 100
_LISTED = 30
_KEPT = 60.0


@dataclass(frozen=True)
class UsedRelease:
    """The runs of one config with one release, among the latest ones."""

    config: str
    """The config."""
    release: str
    """The content hash of code and config."""
    first: datetime
    """When the first of these runs started."""
    last: datetime
    """When the last one did."""
    runs: int
    """How many there are."""
    failed: int
    """How many of them failed."""
    older: bool
    """Whether earlier runs were not looked at: it may have been used before."""
    latest: bool
    """Whether it is the release of the latest run."""


def used_releases(config: str, records: Iterable[RunRecord], most: int) -> list[UsedRelease]:
    """The releases of runs, the latest started first; pure. At most ``most`` runs are read."""
    by_release: dict[str, list[RunRecord]] = {}
    read = list(islice((r for r in records if r.release), most))
    for record in read:
        by_release.setdefault(record.release, []).append(record)
    return [
        UsedRelease(
            config,
            release,
            made[-1].started,
            made[0].started,
            len(made),
            sum(record.state == "failed" for record in made),
            len(read) == most and made[-1] is read[-1],
            made[0] is read[0],
        )
        for release, made in by_release.items()
    ]


@dataclass(frozen=True)
class Deployed:
    """A release on AWS."""

    id: str
    """Its id: the time and the commit."""
    commit: str
    """The commit of the pipelines repository."""
    who: str
    """Who asked for it."""
    when: datetime
    """When it began."""
    state: str
    """Its state."""
    error: str
    """Why it failed."""
    changes: tuple[str, ...]
    """How its configs differ from those of the deployed release before it."""


def deployed_releases(site: Site) -> list[Deployed]:
    """The releases of the branch on AWS, the latest first; none on this machine.

    Raises:
        TidegateError: AWS cannot be asked.
    """
    if site.target.target != "aws":
        return []
    from tidegate.deploy.core.branch import open_branch  # boto3 is only needed for AWS

    target = site.target
    branch = open_branch(
        target.directory, target.branch, profile=target.profile, region=target.region
    )
    found = list(islice(branch.history.all(), _LISTED + 1))
    listed = []
    for number, release in enumerate(found[:_LISTED]):
        before = next((r for r in found[number + 1 :] if r.state == "deployed"), None)
        changes = list(config_changes(before.manifest if before else "", release.manifest))
        listed.append(
            Deployed(
                release.id,
                release.commit,
                release.who.rsplit("/", 1)[-1],
                release.when,
                release.state,
                release.error,
                tuple(changes),
            )
        )
    return listed


def config_changes(before: str, after: str) -> Iterator[str]:
    """How two manifests (JSON) differ, a sentence for each config; nothing without both."""
    if not before or not after:
        return
    old = {config.id: config for config in loads(Manifest, before).configs}
    new = {config.id: config for config in loads(Manifest, after).configs}
    for id in sorted({*old, *new}):
        if id not in old:
            yield f"{id} is new"
        elif id not in new:
            yield f"{id} is gone"
        elif changed := list(_changed_keys(old[id], new[id])):
            yield f"{id}: {', '.join(changed)}"


def _changed_keys(old: Config, new: Config) -> Iterator[str]:
    yield from setting_differences(settings(old), settings(new))
    if old.tsdat != new.tsdat:
        yield "what Tsdat reads from its config file"


@dataclass(frozen=True)
class Change:
    """From when on a config ran with something else."""

    config: str
    """The config."""
    release: str
    """The content hash of its code."""
    since: datetime
    """When a service or a function began to run it so."""
    changes: tuple[str, ...]
    """How it differs from before; nothing for the first that is known."""


def noted_changes(site: Site) -> list[Change]:
    """What services on this machine, or functions on AWS, noted, the latest first."""
    found = []
    for config in site.manifest.configs:
        notes = release_notes(site.ledger, config.id)
        packages = {note.packages: packages_of(site.ledger, note) for note in notes}
        for before, after in pairwise([None, *notes]):
            assert after is not None
            changes = (
                differences(before, after, packages[before.packages], packages[after.packages])
                if before
                else ()
            )
            found.append(Change(after.config, after.release, after.since, tuple(changes)))
    return sorted(found, key=lambda change: (change.since, change.config), reverse=True)


def show_releases(site: Site, parameters: Parameters) -> Page:
    """The releases that made the latest runs of each config, and those on AWS."""

    def make() -> list[UsedRelease]:
        return [
            used
            for config in site.manifest.configs
            for used in used_releases(config.id, site.ledger.records(config=config.id), _LOOKED_AT)
        ]

    used = site.kept("releases", _KEPT, make)
    noted = site.kept("noted", _KEPT, lambda: noted_changes(site))
    problem, deployed = "", []
    try:
        deployed = site.kept("deployed", _KEPT, lambda: deployed_releases(site))
    except TidegateError as error:
        problem = str(error)
    return Page(
        "releases.html",
        "Releases",
        {
            "used": used,
            "deployed": deployed,
            "noted": noted[:_MOST_NOTED],
            "problem": problem,
            "looked_at": _LOOKED_AT,
        },
        {
            "noted": [to_json(one) for one in noted],
            "used": [to_json(one) for one in used],
            "deployed": [to_json(one) for one in deployed],
            "problem": problem,
        },
    )


ENDPOINTS = (
    Endpoint(
        "releases",
        "/releases",
        "Which code made the latest runs of each config; on AWS also its releases.",
        show_releases,
        heading="Releases",
    ),
)
