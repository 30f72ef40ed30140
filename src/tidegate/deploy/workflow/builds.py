"""Builds by CodeBuild, started and followed from here, their log along with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, Missing, explained

Say = Callable[[str], None]
_POLL = 5.0
_ENDS = {"SUCCEEDED", "FAILED", "FAULT", "TIMED_OUT", "STOPPED"}


class BuildFailed(TidegateError):
    """A build by CodeBuild did not succeed."""


@dataclass(frozen=True)
class Source:
    """Source code that lies in S3, as a zip file."""

    bucket: str
    """The bucket."""
    key: str
    """The key, which names the content."""

    @property
    def location(self) -> str:
        """As CodeBuild is told."""
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Build:
    """A build as CodeBuild tells of it."""

    id: str
    """Its id, with the project's name before it."""
    status: str
    """``IN_PROGRESS``, ``SUCCEEDED``, ``FAILED``, …"""
    phase: str = ""
    """What it does now."""
    group: str = ""
    """Its log group; "" before it has one."""
    stream: str = ""
    """Its log stream."""
    causes: tuple[str, ...] = field(default=())
    """What its phases say of a failure."""


def upload(bucket: str, prefix: str, file: Path, sha256: str, clients: Clients) -> Source:
    """Put a bundle where CodeBuild finds it, under its content: what is there is not sent again."""
    source = Source(bucket, f"{prefix}{sha256}.zip")
    resource = f"arn:aws:s3:::{source.location}"
    with explained("upload the source code", resource):
        try:
            with explained("look at", resource):
                clients.s3.head_object(Bucket=bucket, Key=source.key)
        except Missing:
            clients.s3.upload_file(str(file), bucket, source.key)
    return source


def start(
    project: str,
    main: Source,
    secondary: Mapping[str, Source],
    variables: Mapping[str, str],
    clients: Clients,
) -> Build:
    """Start a build of these sources, whatever the project's own are."""
    with explained("start the build", project):
        answer = clients.client("codebuild").start_build(
            projectName=project,
            sourceTypeOverride="S3",
            sourceLocationOverride=main.location,
            secondarySourcesOverride=[
                {"type": "S3", "location": source.location, "sourceIdentifier": name}
                for name, source in secondary.items()
            ],
            environmentVariablesOverride=[
                {"name": name, "value": value, "type": "PLAINTEXT"}
                for name, value in variables.items()
            ],
        )
    return _build(answer["build"])


def follow(build: Build, clients: Clients, say: Say, *, poll: float = _POLL) -> Build:
    """Tell what a build says, until it ends.

    Raises:
        BuildFailed: it did not succeed.
        StorageError: AWS cannot be asked any more; the build goes on.
    """
    told: dict[str, Any] = {}
    phase = ""
    while True:
        build = look(build.id, clients)
        if build.phase != phase:
            phase = build.phase
            say(f"build: {phase.lower().replace('_', ' ')}")
        for line in _lines(build, told, clients):
            say(f"  {line}")
        if build.status in _ENDS:
            break
        time.sleep(poll)
    if build.status != "SUCCEEDED":
        raise BuildFailed(
            f"the build {build.id} {_END_WORDS.get(build.status, 'failed')}",
            why="; ".join(build.causes) or "its log says why",
            next="mend it, and deploy again: images that were built are not built again",
        )
    return build


_END_WORDS = {"TIMED_OUT": "took too long", "STOPPED": "was stopped"}


def look(id: str, clients: Clients) -> Build:
    """How a build is getting on."""
    with explained("look at the build", id):
        [found] = clients.client("codebuild").batch_get_builds(ids=[id])["builds"]
    return _build(found)


def _build(told: Mapping[str, Any]) -> Build:
    logs = told.get("logs") or {}
    causes = [
        f"{phase['phaseType'].lower()}: {context['message']}"
        for phase in told.get("phases") or ()
        for context in phase.get("contexts") or ()
        if phase.get("phaseStatus") not in (None, "SUCCEEDED") and context.get("message")
    ]
    return Build(
        id=told["id"],
        status=told.get("buildStatus", "IN_PROGRESS"),
        phase=told.get("currentPhase") or "",
        group=logs.get("groupName") or "",
        stream=logs.get("streamName") or "",
        causes=tuple(causes),
    )


def _lines(build: Build, told: dict[str, Any], clients: Clients) -> Iterator[str]:
    """What the log has said since ``told``."""
    if not build.group or not build.stream:
        return
    while True:
        try:
            with explained("read the log of the build", build.group):
                page = clients.client("logs").get_log_events(
                    logGroupName=build.group,
                    logStreamName=build.stream,
                    startFromHead=True,
                    **told,
                )
        except (TidegateError, Missing):  # not there yet, or not for us: its end is what counts
            return
        token = page["nextForwardToken"]
        for event in page["events"]:
            yield event["message"].rstrip("\n")
        if told.get("nextToken") == token or not page["events"]:
            told["nextToken"] = token
            return
        told["nextToken"] = token
