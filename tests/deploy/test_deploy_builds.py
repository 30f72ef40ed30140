"""Builds by CodeBuild: started and followed, on the emulator, which runs none of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3")

from ministack_process import CREDENTIALS, REGION, ministack

from tidegate.deploy.workflow import builds
from tidegate.deploy.workflow.builds import BuildFailed, Source
from tidegate.targets.aws.clients import Clients

pytestmark = [pytest.mark.slow, pytest.mark.aws]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with ministack(tmp_path_factory.mktemp("builds")) as running:
            clients = running.clients()
            clients.s3.create_bucket(
                Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION}
            )
            clients.client("codebuild").create_project(
                name="waves-main-build",
                source={"type": "NO_SOURCE", "buildspec": "version: 0.2"},
                artifacts={"type": "NO_ARTIFACTS"},
                environment={
                    "type": "LINUX_CONTAINER",
                    "image": "aws/codebuild/standard:7.0",
                    "computeType": "BUILD_GENERAL1_SMALL",
                },
                serviceRole="arn:aws:iam::000000000000:role/build",
            )
            yield clients


def test_a_bundle_is_sent_once(clients: Clients, tmp_path: Path) -> None:
    file = tmp_path / "code.zip"
    file.write_bytes(b"zip")
    first = builds.upload("artifacts", "sources/", file, "ab12", clients)
    assert first == Source("artifacts", "sources/ab12.zip")
    written = clients.s3.head_object(Bucket="artifacts", Key=first.key)["LastModified"]
    file.write_bytes(b"never read: its content is said to be there")
    assert builds.upload("artifacts", "sources/", file, "ab12", clients) == first
    again = clients.s3.get_object(Bucket="artifacts", Key=first.key)
    assert (again["Body"].read(), again["LastModified"]) == (b"zip", written)


def test_a_build_is_followed_to_its_end(clients: Clients) -> None:
    said: list[str] = []
    main, other = Source("artifacts", "a.zip"), Source("artifacts", "b.zip")
    begun = builds.start(
        "waves-main-build", main, {"pipelines": other}, {"TIDEGATE_COMMIT": "4f2a9c1"}, clients
    )
    assert begun.id.startswith("waves-main-build:")
    ended = builds.follow(begun, clients, said.append, poll=0.1)
    assert ended.status == "SUCCEEDED"
    assert any(line.startswith("build:") for line in said)


def test_a_project_that_is_not_there(clients: Clients) -> None:
    with pytest.raises(Exception, match="none-build"):
        builds.start("none-build", Source("artifacts", "a.zip"), {}, {}, clients)


class _CodeBuild:
    """What CodeBuild and CloudWatch tell of a build that fails: no emulator runs builds.

    The shapes are those of their API references (BatchGetBuilds, GetLogEvents).
    """

    def __init__(self) -> None:
        self.looks = 0

    def client(self, service: str) -> Any:
        return self

    def batch_get_builds(self, ids: list[str]) -> dict[str, Any]:
        self.looks += 1
        [id] = ids
        running = {"id": id, "buildStatus": "IN_PROGRESS", "currentPhase": "BUILD"}
        if self.looks == 1:
            return {"builds": [running]}
        logs = {"groupName": "/aws/codebuild/waves-main-build", "streamName": "s"}
        if self.looks == 2:
            return {"builds": [{**running, "logs": logs}]}
        context = {"statusCode": "COMMAND_EXECUTION_ERROR", "message": "tidegate: exit status 1"}
        phases = [
            {"phaseType": "INSTALL", "phaseStatus": "SUCCEEDED", "contexts": [{"message": ""}]},
            {"phaseType": "BUILD", "phaseStatus": "FAILED", "contexts": [context]},
        ]
        ended = {"id": id, "buildStatus": "FAILED", "currentPhase": "COMPLETED", "logs": logs}
        return {"builds": [{**ended, "phases": phases}]}

    def get_log_events(self, **arguments: Any) -> dict[str, Any]:
        assert arguments["startFromHead"]
        at = int(arguments.get("nextToken", "0"))
        lines = [f"line {n}\n" for n in range(self.looks * 2)][at:]
        return {
            "events": [{"message": line} for line in lines],
            "nextForwardToken": str(at + len(lines)),
        }


def test_the_log_of_a_build_that_fails() -> None:
    said: list[str] = []
    told: Any = _CodeBuild()
    begun = builds.Build(f"waves-main-build:{uuid.uuid4()}", "IN_PROGRESS")
    with pytest.raises(BuildFailed, match=r"failed\nbuild: tidegate: exit status 1"):
        builds.follow(begun, told, said.append, poll=0)
    lines = [line for line in said if "line" in line]
    assert lines == [f"  line {n}" for n in range(6)]  # each once
