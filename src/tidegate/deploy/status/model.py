"""What ``status`` tells, as plain records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidegate.deploy.costs import estimate
from tidegate.deploy.costs.estimate import Estimate
from tidegate.runtime.records import to_json, utc


@dataclass(frozen=True)
class Unknown:
    """A part that AWS did not tell."""

    why: str
    """Why not."""


@dataclass(frozen=True)
class Stack:
    """A stack of CloudFormation."""

    name: str
    """Its name."""
    status: str
    """CloudFormation's word for its state; "" where there is none."""
    sentence: str
    """How it is, in words."""
    configs: int
    """How many configs lie in it."""
    changed: datetime | None
    """When it was last changed."""
    url: str
    """Its page."""


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline of CodePipeline."""

    name: str
    """Its name."""
    status: str
    """``Succeeded``, ``InProgress``, ``Failed``, …; "" when it has not run."""
    said: str
    """What its actions say of a failure."""
    changed: datetime | None
    """When that changed."""


@dataclass(frozen=True)
class CodePipeline:
    """The pipeline of CodePipeline."""

    name: str
    """Its name."""
    exists: bool
    """Whether there is one: a branch may be deployed without."""
    stages: tuple[Stage, ...] | Unknown
    """Its stages, in order."""
    status: str
    """How its last execution went; "" when there was none."""
    began: datetime | None
    """When that began."""
    commits: Mapping[str, str]
    """The commit of each source in it."""
    url: str
    """Its page."""


@dataclass(frozen=True)
class Build:
    """The last build by CodeBuild."""

    id: str
    """Its id; "" when there was none."""
    status: str
    """``SUCCEEDED``, ``FAILED``, ``IN_PROGRESS``, …"""
    began: datetime | None
    """When it began."""
    ended: datetime | None
    """When it ended."""
    url: str
    """Its page, with the log; the project's where there was none."""


@dataclass(frozen=True)
class Image:
    """The image of a pipeline."""

    pipeline: str
    """The pipeline."""
    digest: str
    """What it is; "" where there is none."""
    tags: tuple[str, ...]
    """What it is called."""
    size: int
    """Its compressed size, bytes."""
    pushed: datetime | None
    """When it was pushed."""


@dataclass(frozen=True)
class Images:
    """The images in ECR."""

    repository: str
    """The repository."""
    exists: bool
    """Whether there is one."""
    count: int
    """How many images there are in it."""
    size: int
    """How large they are together, bytes; layers that they share count each time."""
    images: tuple[Image, ...]
    """The image that is current for each pipeline."""
    url: str
    """The repository's page."""


@dataclass(frozen=True)
class Bucket:
    """A bucket."""

    name: str
    """Its name."""
    role: str
    """What it is for: "input", "output", "artifacts"."""
    objects: int | None
    """How many objects are in it; None where it does not exist."""
    bytes: int
    """How large they are together."""
    more: bool
    """Whether there are more: they were counted up to a limit."""
    counted: datetime | None
    """When CloudWatch counted them; None when they were counted just now."""
    url: str
    """Its page."""


@dataclass(frozen=True)
class Run:
    """The last run of a config."""

    key: str
    """Its key."""
    about: str
    """What it was about."""
    outcome: str
    """How it went."""
    started: datetime
    """When it began."""
    finished: datetime | None
    """When it ended."""
    lag: float | None
    """From the arrival to the products, s; None where nothing arrived or nothing came of it."""
    why: str
    """Why it failed, when it did."""


@dataclass(frozen=True)
class Function:
    """A function as it is deployed."""

    state: str
    """Lambda's word for it; "" where there is none."""
    image: str
    """The digest of its image."""
    commit: str
    """The commit that it runs (``CODE_VERSION``)."""
    changed: str
    """When it was last changed."""


@dataclass(frozen=True)
class Waiting:
    """What lies in the queues of a config."""

    waiting: int
    """Messages that wait."""
    running: int
    """Messages that are being handled."""
    dead: int
    """Messages in the dead-letter queue."""


@dataclass(frozen=True)
class Config:
    """A config, as deployed and as it runs."""

    id: str
    """Its id."""
    when: str
    """What sets it off, in words."""
    function: Function | Unknown
    """Its function."""
    last: Run | Unknown | None
    """Its last run; None when there was none."""
    failed: int | Unknown
    """How many runs have failed and wait for a person."""
    queues: Waiting | Unknown | None
    """What waits; None where it has no queues."""
    schedule: str
    """The state of its schedule: ENABLED, DISABLED, "missing"; "" where it has none."""
    next: datetime | None
    """When it is due next."""
    ringing: tuple[str, ...]
    """The alarms that ring."""
    urls: Mapping[str, str]
    """Its pages: function, log, queue, dead letters, input, rule or schedule."""


@dataclass(frozen=True)
class Release:
    """A release on record."""

    id: str
    """Its id."""
    commit: str
    """The commit."""
    who: str
    """Who asked for it."""
    when: datetime
    """When it began."""
    state: str
    """How far it has come."""
    error: str
    """What went wrong."""


@dataclass(frozen=True)
class Status:
    """A branch on AWS."""

    branch: str
    """The branch."""
    account: str
    """The account."""
    region: str
    """The region."""
    stacks: tuple[Stack, ...] | Unknown
    """Its stacks."""
    pipeline: CodePipeline | Unknown
    """The pipeline of CodePipeline."""
    build: Build | Unknown
    """The last build."""
    images: Images | Unknown
    """The images."""
    buckets: tuple[Bucket | Unknown, ...]
    """The buckets."""
    configs: tuple[Config, ...]
    """The configs, in the order of the file."""
    alarms: int | Unknown
    """How many alarms ring."""
    release: Release | Unknown | None
    """The last release that was deployed; None when there was none."""
    latest: Release | Unknown | None
    """The latest release, whatever became of it."""
    cost: Estimate | Unknown
    """What it costs a month."""
    urls: Mapping[str, str] = field(default_factory=dict)
    """Pages of the whole branch: the dashboard, the ledger, the alerts."""

    @property
    def deployed(self) -> bool:
        """Whether anything is: as far as is known."""
        return isinstance(self.stacks, Unknown) or any(stack.status for stack in self.stacks)


def as_data(value: Any) -> Any:
    """As JSON; every field is there, and what is unknown says why."""
    if isinstance(value, Unknown):
        return {"unknown": value.why}
    if isinstance(value, Estimate):
        return estimate.as_data(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_data(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return utc(value).isoformat()
    if isinstance(value, (list, tuple)):
        return [as_data(item) for item in value]
    return to_json(value)
