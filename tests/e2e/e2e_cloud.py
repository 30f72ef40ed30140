"""The branch as it is deployed: on MiniStack, by CloudFormation, from the synthesized templates."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from e2e_repository import ACCOUNT, FAST, HOME, PRODUCTS, RAW, REGION
from ministack_process import MiniStack

from tidegate.deploy.bootstrap import data_stores
from tidegate.deploy.cloudformation.stacks import Stacks
from tidegate.deploy.cloudformation.upload import upload_to
from tidegate.deploy.core.package import Tool
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.codepipeline import plan_codepipeline
from tidegate.deploy.design.model import Plan, Zip
from tidegate.deploy.design.plan import Options, plan_release
from tidegate.deploy.design.templates import Template, synthesize
from tidegate.deploy.images.content import PACKAGE, runtime_files
from tidegate.runtime.runs import FINISHED, Input, RunRecord
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.names import Names
from tidegate.workspace.loading import LoadedWorkspace

T = TypeVar("T")
BRANCH, CODE = "main", "code.zip"
TOOL = Tool("0", "0", "tidegate.whl", "0" * 64, "constraints.txt", "0" * 64)
"""The Tidegate of builds: none are made here."""
PATIENCE = 240.0
"""How long something may take that takes seconds on a machine that is not busy, s."""
NOBODY: Mapping[str, str] = {}
"""No other credentials than those of the one who has deployed it all."""
_LEFT_OUT = ("__pycache__", ".venv")


def created(input: Input) -> dict[str, Any]:
    """What EventBridge says when an object was made, as far as it is read."""
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "detail": {
            "bucket": {"name": RAW},
            "object": {"key": input.key, "size": input.size, "etag": input.version},
        },
    }


def eventually(
    look: Callable[[], T], otherwise: Callable[[], object] = lambda: "", seconds: float = PATIENCE
) -> T:
    """What ``look`` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"it does not come: {otherwise()}"
        time.sleep(0.1)
    return found


def zipped(repository: Path) -> bytes:
    """The functions' code: the runtime and the pipelines repository; Tsdat is there already."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in runtime_files():
            archive.write(file, file.relative_to(PACKAGE.parent))
        for file in repository.rglob("*"):
            if file.is_file() and not set(file.parts) & set(_LEFT_OUT):
                archive.write(file, file.relative_to(repository))
    return buffer.getvalue()


def images(session: LoadedWorkspace, bucket: str, folder: Path) -> dict[str, Zip]:
    """The code of each pipeline. The tiny ones start faster (``FAST``): they need no ``act``."""
    made = {}
    for pipeline in {config.pipeline for config in session.manifest.configs}:
        environment = {"TIDEGATE_WORK": str(folder / "work")}
        if pipeline.startswith("tiny"):
            environment["PYTHONPATH"] = str(FAST)
        made[pipeline] = Zip(bucket, CODE, environment=environment)
    return made


@dataclass
class Cloud:
    """What is deployed, and what can be done with it from outside."""

    stack: MiniStack
    clients: Clients
    session: LoadedWorkspace
    plan: Plan
    bundle: Path
    """The certificate that the emulator is known by."""
    names: Names = field(default_factory=lambda: Names("e2e", BRANCH))

    def __post_init__(self) -> None:
        self.ledger = DynamoLedger(self.plan.table, self.clients)
        self.s3, self.sqs = self.clients.s3, self.clients.sqs

    # What happens.

    def put(self, key: str, body: bytes | str) -> Input:
        """A raw file is uploaded, and S3 tells whoever it is to tell."""
        content = body.encode() if isinstance(body, str) else body
        answer = self.s3.put_object(Bucket=RAW, Key=key, Body=content)
        return Input(key, answer["ETag"].strip('"'), len(content))

    def send(self, config: str, *messages: Mapping[str, Any] | str) -> None:
        """Messages into the queue of a config."""
        for message in messages:
            body = message if isinstance(message, str) else json.dumps(message)
            self.sqs.send_message(QueueUrl=self.queue(config), MessageBody=body)

    def fire(self, config: str) -> None:
        """The deployed schedule, once more and at once: by the emulator's scheduler."""
        scheduler = self.clients.client("scheduler")
        name, group = self.names.schedule(*config.split("/")), self.names.schedule_group
        deployed = scheduler.get_schedule(Name=name, GroupName=group)
        scheduler.create_schedule(
            Name=f"once-{time.time_ns()}",
            GroupName=group,
            ScheduleExpression=f"at({datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=deployed["Target"],
        )

    def sweep(self) -> None:
        """Have the branch swept, as when its schedule is due, which it never is by itself."""
        schedule = self.clients.client("scheduler").get_schedule(
            Name=self.names.sweep("schedule"), GroupName=self.names.schedule_group
        )
        answer = self.clients.client("lambda").invoke(
            FunctionName=self.names.sweep("function"),
            Payload=schedule["Target"]["Input"].encode(),
        )
        assert "FunctionError" not in answer, answer["Payload"].read()

    # What comes of it.

    def records(self, config: str) -> list[RunRecord]:
        """What is on record of a config, the latest first."""
        return list(self.ledger.records(config=config))

    def record(self, config: str, key: str) -> RunRecord | None:
        """The latest run about a file."""
        found = self.ledger.about(config, key)
        return found[0] if found else None

    def ended(self, config: str, key: str, attempt: int = 1) -> RunRecord:
        """The run about a file, once it has ended."""

        def look() -> RunRecord | None:
            record = self.record(config, key)
            over = record is not None and record.state in FINISHED and record.attempt >= attempt
            return record if over else None

        found = eventually(look, lambda: (self.record(config, key), self.stack.log))
        assert found is not None
        return found

    def told(self, config: str) -> int:
        """How many events the emulator says that a config's queue was sent by its rule."""
        name = self.names.queue(*config.split("/"))
        return self.stack.log.read_text(errors="replace").count(f"EventBridge → SQS {name}\n")

    def rest(self, *configs: str, seconds: float = PATIENCE) -> None:
        """Wait until these configs have nothing to do any more."""
        queues = [self.queue(config) for config in configs]
        eventually(
            lambda: not any(map(self.count, queues)),
            lambda: [(queue, self.count(queue)) for queue in queues],
            seconds,
        )

    @property
    def queues(self) -> list[str]:
        """The queues of all configs, dead letters aside."""
        return [self.queue(config.id) for config in self.session.manifest.configs]

    def queue(self, config: str, *, dead: bool = False) -> str:
        """The queue of a config, or its dead letters."""
        name = self.names.dead_letter_queue if dead else self.names.queue
        return str(self.sqs.get_queue_url(QueueName=name(*config.split("/")))["QueueUrl"])

    def count(self, queue: str) -> int:
        """How many messages lie in a queue: to be fetched, being handled, or waiting."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(
            QueueUrl=queue,
            AttributeNames=names,  # type: ignore[arg-type]
        )
        return sum(int(value) for value in answer["Attributes"].values())

    def dead(self, config: str) -> list[str]:
        """The dead letters of a config, as far as they are few; they are left where they are."""
        answer = self.sqs.receive_message(
            QueueUrl=self.queue(config, dead=True), MaxNumberOfMessages=10, VisibilityTimeout=0
        )
        return [message["Body"] for message in answer.get("Messages", [])]

    def tidegate(
        self,
        *arguments: str,
        credentials: Mapping[str, str] = NOBODY,
        codes: Sequence[int] = (0,),
    ) -> str:
        """The command, in the workspace that was deployed, and what it says.

        ``codes`` are the exit codes that it may end with: what other tests have had fail may fail
        once more.
        """
        environment = {name: v for name, v in os.environ.items() if not name.startswith("AWS_")}
        environment |= {**self.environment, "PYTHONPATH": str(HOME / "src"), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-m", "tidegate", *arguments, "--target", "aws"],
            cwd=self.session.workspace.root,
            env=environment | credentials,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode in codes, done.stdout
        return done.stdout

    def log(self, record: RunRecord) -> str:
        """The log of a run."""
        bucket, _, key = record.log.removeprefix("s3://").partition("/")
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()

    def outputs(self, prefix: str = "") -> dict[str, bytes]:
        """All that lies in the output bucket under a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=PRODUCTS, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key: self.s3.get_object(Bucket=PRODUCTS, Key=key)["Body"].read() for key in keys}

    def function(self, config: str) -> str:
        """The name of a config's function."""
        return self.names.function(*config.split("/"))

    def invocations(self, config: str) -> int:
        """How often the emulator says that it has called a function, with one message each."""
        text = self.stack.log.read_text(errors="replace")
        return text.count(f"ESM: Lambda {self.function(config)} processed ")

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs in its environment to take the emulator for AWS."""
        return {**self.stack.environment, "AWS_CA_BUNDLE": str(self.bundle)}


def deploy(stack: MiniStack, session: LoadedWorkspace, folder: Path, bundle: Path) -> Cloud:
    """As a deployment does: what holds data, then the CodePipeline stack, then the pipelines'."""
    clients, place, model = stack.clients(), Place(ACCOUNT, REGION), session.config.require()
    keys, names = model.for_branch(BRANCH), Names("e2e", BRANCH)
    data_stores.apply(
        data_stores.plan_data_stores(keys, names, clients, model=model), clients, print
    )
    artifacts = names.artifacts_bucket(ACCOUNT, REGION)
    clients.s3.put_object(Bucket=artifacts, Key=CODE, Body=zipped(session.repository))
    codes = images(session, artifacts, folder)
    first = plan_codepipeline(keys, BRANCH, TOOL, sorted(codes))
    options = Options(concurrency=2, metric_math=False)
    plan = plan_release(keys, session.manifest, BRANCH, codes, options)
    stacks, upload = Stacks(clients, place, poll=0.2), upload_to(artifacts, clients, place)
    for template in (*synthesize(first), *synthesize(plan)):
        role = "" if template.stack == first.stack else place.role(names.deploy_role)
        planned = stacks.plan(
            _without_sweeps(_with_batches(template)), role_arn=role, upload=upload
        )
        stacks.execute(planned)
    _bound(clients, plan)
    return Cloud(stack, clients, session, plan, bundle)


def _bound(clients: Clients, plan: Plan) -> None:
    """The emulator minds the boundaries of roles, but its CloudFormation leaves them out."""
    roles = [config.role for stack in plan.stacks for config in stack.configs]
    for role in (*roles, *(stack.sweep.role for stack in plan.stacks)):
        assert role.boundary
        clients.client("iam").put_role_permissions_boundary(
            RoleName=role.name, PermissionsBoundary=role.boundary
        )


def _with_batches(template: Template) -> Template:
    """On AWS, ``sqs:SendMessage`` is the permission for batches, too; the emulator has another."""

    def mend(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: mend(item) for key, item in value.items()}
        if not isinstance(value, list):
            return value
        more = ["sqs:SendMessageBatch"] if "sqs:SendMessage" in value else []
        return [*map(mend, value), *more]

    return replace(template, body=json.dumps(mend(json.loads(template.body))))


def _without_sweeps(template: Template) -> Template:
    """The schedule of the sweep is off: tests say when there is one."""
    body = json.loads(template.body)
    for resource in body["Resources"].values():
        properties = resource["Properties"]
        of_schedule = resource["Type"] == "AWS::Scheduler::Schedule"
        if of_schedule and properties["Name"].endswith("--sweep"):
            properties["State"] = "DISABLED"
    return replace(template, body=json.dumps(body))
