"""Starts builds by CodeBuild, and watches them with their logs."""

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
    """A zip file of source code in S3."""

    bucket: str
    """The bucket."""
    key: str
    """The key, made from the content."""

    @property
    def location(self) -> str:
        """In the form that CodeBuild needs."""
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Build:
    """A build of CodeBuild."""

    id: str
    """Its id, with the project's name before it."""
    status: str
    """``IN_PROGRESS``, ``SUCCEEDED``, ``FAILED``, …"""
    phase: str = ""
    """The present phase."""
    group: str = ""
    """Its log group; "" before it has one."""
    stream: str = ""
    """Its log stream."""
    causes: tuple[str, ...] = field(default=())
    """The error messages of its phases."""


def upload(bucket: str, prefix: str, file: Path, sha256: str, clients: Clients) -> Source:
    """Upload a bundle for CodeBuild, with a key made from its content, unless it exists."""
    source = Source(bucket, f"{prefix}{sha256}.zip")
    resource = clients.arn("s3", source.location)
    with explained("upload the source code", resource):
        try:
            with explained("look for", resource):
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
    """Start a build of these sources, in place of the project's own."""
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
    """Report the phases and the log of a build until it ends.

    Raises:
        BuildFailed: it did not succeed.
        StorageError: AWS no longer answers; the build continues.
    """
    position: dict[str, Any] = {}
    phase = ""
    while True:
        build = read_build(build.id, clients)
        if build.phase != phase:
            phase = build.phase
            say(f"build: {phase.lower().replace('_', ' ')}")
        for line in _lines(build, position, clients):
            say(f"  {line}")
        if build.status in _ENDS:
            break
        time.sleep(poll)
    if build.status != "SUCCEEDED":
        raise BuildFailed(
            f"the build {build.id} {_END_WORDS.get(build.status, 'failed')}",
            why="; ".join(build.causes) or "the reason is in its log",
            next="fix the problem, and deploy again: images that were built are not built again",
        )
    return build


_END_WORDS = {"TIMED_OUT": "took too long", "STOPPED": "was stopped"}


def read_build(id: str, clients: Clients) -> Build:
    """The present state of a build."""
    with explained("read the state of the build", id):
        [found] = clients.client("codebuild").batch_get_builds(ids=[id])["builds"]
    return _build(found)


def _build(record: Mapping[str, Any]) -> Build:
    logs = record.get("logs") or {}
    causes = [
        f"{phase['phaseType'].lower()}: {context['message']}"
        for phase in record.get("phases") or ()
        for context in phase.get("contexts") or ()
        if phase.get("phaseStatus") not in (None, "SUCCEEDED") and context.get("message")
    ]
    return Build(
        id=record["id"],
        status=record.get("buildStatus", "IN_PROGRESS"),
        phase=record.get("currentPhase") or "",
        group=logs.get("groupName") or "",
        stream=logs.get("streamName") or "",
        causes=tuple(causes),
    )


def _lines(build: Build, position: dict[str, Any], clients: Clients) -> Iterator[str]:
    """The lines of the log since the ``position``, which is updated."""
    if not build.group or not build.stream:
        return
    while True:
        try:
            with explained("read the log of the build", build.group):
                page = clients.client("logs").get_log_events(
                    logGroupName=build.group,
                    logStreamName=build.stream,
                    startFromHead=True,
                    **position,
                )
        except (
            TidegateError,
            Missing,
        ):  # not created yet, or not readable
            return
        token = page["nextForwardToken"]
        for event in page["events"]:
            yield event["message"].rstrip("\n")
        if position.get("nextToken") == token or not page["events"]:
            position["nextToken"] = token
            return
        position["nextToken"] = token
