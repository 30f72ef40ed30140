"""The records of the status."""

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
    """A part that AWS did not answer."""

    why: str
    """Why."""


@dataclass(frozen=True)
class Stack:
    """A stack of CloudFormation."""

    name: str
    """Its name."""
    status: str
    """CloudFormation's status; "" if it does not exist."""
    sentence: str
    """Its state in a sentence."""
    configs: int
    """How many configs are in it."""
    changed: datetime | None
    """When it was last changed."""
    url: str
    """Its page in the console."""


@dataclass(frozen=True)
class Stage:
    """A stage of the CodePipeline pipeline."""

    name: str
    """Its name."""
    status: str
    """``Succeeded``, ``InProgress``, ``Failed``, …; "" when it has not run."""
    said: str
    """The error messages of its actions."""
    changed: datetime | None
    """When its status changed."""


@dataclass(frozen=True)
class CodePipeline:
    """The CodePipeline pipeline."""

    name: str
    """Its name."""
    exists: bool
    """Whether it exists: a branch can be deployed without one."""
    stages: tuple[Stage, ...] | Unknown
    """Its stages, in order."""
    status: str
    """The status of its last execution; "" if there was none."""
    began: datetime | None
    """When that began."""
    commits: Mapping[str, str]
    """The commit of each source in that execution."""
    url: str
    """Its page in the console."""


@dataclass(frozen=True)
class Build:
    """The last build by CodeBuild."""

    id: str
    """Its id; "" if there was none."""
    status: str
    """``SUCCEEDED``, ``FAILED``, ``IN_PROGRESS``, …"""
    began: datetime | None
    """When it began."""
    ended: datetime | None
    """When it ended."""
    url: str
    """Its page with the log; the page of the project if there was none."""


@dataclass(frozen=True)
class Image:
    """The image of a pipeline."""

    pipeline: str
    """The pipeline."""
    digest: str
    """Its digest; "" if it does not exist."""
    tags: tuple[str, ...]
    """Its tags."""
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
    """How many images are in it."""
    size: int
    """Their total size, bytes; shared layers count for each image."""
    images: tuple[Image, ...]
    """The current image of each pipeline."""
    url: str
    """The repository's page."""


@dataclass(frozen=True)
class Bucket:
    """A bucket."""

    name: str
    """Its name."""
    role: str
    """What it is used for: "input", "output", "artifacts"."""
    objects: int | None
    """How many objects are in it; None if it does not exist."""
    bytes: int
    """Their total size, bytes."""
    more: bool
    """Whether there are more: objects are only counted up to a limit."""
    counted: datetime | None
    """When CloudWatch counted them; None if they were counted now."""
    url: str
    """Its page in the console."""


@dataclass(frozen=True)
class Outputs:
    """Whether the output bucket holds what the ledger says."""

    looked_for: int
    """How many of the latest products on record were looked for in the bucket."""
    missing: tuple[str, ...]
    """The keys of those that are not there."""
    problem: str
    """What is wrong and what to do about it, in one sentence; "" if nothing is."""


@dataclass(frozen=True)
class Run:
    """The last run of a config."""

    key: str
    """Its key."""
    about: str
    """The file or window that it processed."""
    outcome: str
    """Its outcome."""
    started: datetime
    """When it began."""
    finished: datetime | None
    """When it ended."""
    lag: float | None
    """Seconds from arrival to products; None if nothing arrived or nothing was produced."""
    why: str
    """Why it failed, if it did."""


@dataclass(frozen=True)
class Function:
    """A function as it is deployed."""

    state: str
    """Lambda's state; "" if it does not exist."""
    image: str
    """The digest of its image."""
    commit: str
    """The commit that it runs (``CODE_VERSION``)."""
    changed: str
    """When it was last changed."""


@dataclass(frozen=True)
class Waiting:
    """The messages in the queues of a config."""

    waiting: int
    """Messages that wait."""
    running: int
    """Messages that are being processed."""
    dead: int
    """Messages in the dead-letter queue."""


@dataclass(frozen=True)
class Config:
    """A config as it is deployed and runs."""

    id: str
    """Its id."""
    when: str
    """What starts its runs, in words."""
    function: Function | Unknown
    """Its function."""
    last: Run | Unknown | None
    """Its last run; None if there was none."""
    failed: int | Unknown
    """How many failures are open."""
    queues: Waiting | Unknown | None
    """The messages in its queues; None if it has no queues."""
    schedule: str
    """The state of its schedule: ENABLED, DISABLED, "missing"; "" if it has none."""
    next: datetime | None
    """When it is due next."""
    alarms: tuple[str, ...]
    """The alarms that are firing."""
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
    """Its state."""
    error: str
    """What failed."""


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
    """The CodePipeline pipeline."""
    build: Build | Unknown
    """The last build."""
    images: Images | Unknown
    """The images."""
    buckets: tuple[Bucket | Unknown, ...]
    """The buckets."""
    outputs: Outputs | Unknown | None
    """Whether the output bucket holds what the ledger says; None without such a bucket."""
    configs: tuple[Config, ...]
    """The configs, in the order of the file."""
    alarms: int | Unknown
    """How many alarms are firing."""
    release: Release | Unknown | None
    """The last deployed release; None if there was none."""
    latest: Release | Unknown | None
    """The latest release in any state."""
    cost: Estimate | Unknown
    """Its monthly cost."""
    urls: Mapping[str, str] = field(default_factory=dict)
    """Console pages of the whole branch: dashboard, ledger, alerts."""

    @property
    def deployed(self) -> bool:
        """Whether anything is deployed, as far as known."""
        return isinstance(self.stacks, Unknown) or any(stack.status for stack in self.stacks)


def as_data(value: Any) -> Any:
    """A record as JSON; every field is present, and unknown ones say why."""
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
