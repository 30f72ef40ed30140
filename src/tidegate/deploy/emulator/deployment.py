"""A workspace on the emulator: deployed as on AWS, with its raw files uploaded."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.config import AwsKeys
from tidegate.deploy.design.model import Code, Plan, Zip
from tidegate.deploy.design.plan import Options, plan_release
from tidegate.deploy.design.templates import synthesize
from tidegate.deploy.images.content import PACKAGE, runtime_files
from tidegate.errors import StorageError
from tidegate.runtime.code_files import walk
from tidegate.runtime.runs import FINISHED, RunRecord
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.names import Names
from tidegate.targets.local.inputs import FolderInputs, RawFile
from tidegate.workspace.loading import LoadedWorkspace

Say = Callable[[str], None]
OnEnd = Callable[[RunRecord], None]
CODE = "tidegate-code"
"""The bucket of the functions' code, which replaces the images."""
_ACCOUNT, _REGION = "000000000000", "us-west-2"
_POLL = 1.0
_RECORDS = 500


def emulator_keys(opened: LoadedWorkspace, branch: str) -> AwsKeys:
    """The keys for AWS, with defaults for those that the config does not have."""
    keys = opened.config.require().for_branch(branch)
    name = keys.pipelines_repo_name or "pipelines"
    return keys.model_copy(
        update={
            "pipelines_repo_name": name,
            "account_id": keys.account_id or _ACCOUNT,
            "region": keys.region or _REGION,
            "input_bucket_name": keys.input_bucket_name or "raw",
            "output_bucket_name": keys.output_bucket_name or "products",
        }
    )


@dataclass
class EmulatedDeployment:
    """A workspace that is deployed to an emulator."""

    opened: LoadedWorkspace
    """The workspace."""
    keys: AwsKeys
    """The keys for AWS."""
    branch: str
    """The branch."""
    clients: Clients
    """The clients of the emulator."""
    folder: Path
    """The folder for the functions' work folders."""
    _stacks: set[str] = field(default_factory=set)
    _sent: dict[str, RawFile] = field(default_factory=dict)
    _reported: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def names(self) -> Names:
        """The names of the resources."""
        assert self.keys.pipelines_repo_name is not None
        return Names(self.keys.pipelines_repo_name, self.branch)

    @property
    def ledger(self) -> DynamoLedger:
        """The ledger."""
        return DynamoLedger(self.names.ledger_table, self.clients)

    def deploy(self) -> Plan:
        """Make the buckets, and with CloudFormation all other resources.

        Raises:
            StorageError: the emulator cannot make the stack.
        """
        assert self.keys.input_bucket_name is not None
        assert self.keys.output_bucket_name is not None
        for bucket in {self.keys.input_bucket_name, self.keys.output_bucket_name, CODE}:
            self._make_bucket(bucket)
        self.clients.s3.put_bucket_notification_configuration(
            Bucket=self.keys.input_bucket_name,
            NotificationConfiguration={"EventBridgeConfiguration": {}},
        )
        return self._deploy_stacks()

    def take_over(self, opened: LoadedWorkspace) -> Plan:
        """Deploy the workspace as it is now; functions finish what they do with the code they have.

        Raises:
            StorageError: the emulator cannot change the stack.
        """
        self.opened = opened
        return self._deploy_stacks()

    def _deploy_stacks(self) -> Plan:
        code = _zipped(self.opened.repository)
        key = f"code-{hashlib.sha256(code).hexdigest()[:16]}.zip"
        self.clients.s3.put_object(Bucket=CODE, Key=key, Body=code)
        codes: dict[str, Code] = {
            config.pipeline: Zip(
                CODE, key, environment={"TIDEGATE_WORK": str(self.folder / "work")}
            )
            for config in self.opened.manifest.configs
        }
        options = Options(concurrency=2, support=True, metric_math=False)
        plan = plan_release(self.keys, self.opened.manifest, self.branch, codes, options)
        for template in synthesize(plan):
            self._put(template.stack, template.body)
        return plan

    def _make_bucket(self, bucket: str) -> None:
        region = self.clients.s3.meta.region_name
        # S3 refuses a location constraint for this region only.
        where = {} if region == "us-east-1" else {"LocationConstraint": region}
        with explained("make the bucket", bucket):
            if where:
                self.clients.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)  # type: ignore[arg-type]
            else:
                self.clients.s3.create_bucket(Bucket=bucket)

    def _put(self, stack: str, body: str) -> None:
        """Create the stack, or update it."""
        key = f"templates/{stack}.json"
        self.clients.s3.put_object(Bucket=CODE, Key=key, Body=body.encode())
        client = self.clients.client("cloudformation")
        url = f"{self.clients.s3.meta.endpoint_url}/{CODE}/{key}"
        write = client.update_stack if stack in self._stacks else client.create_stack
        write(StackName=stack, TemplateURL=url, Capabilities=["CAPABILITY_NAMED_IAM"])
        self._stacks.add(stack)
        while (status := _status(client, stack)).endswith("_IN_PROGRESS"):
            time.sleep(0.1)
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            events = client.describe_stack_events(StackName=stack)["StackEvents"]
            reasons = [e["ResourceStatusReason"] for e in events if e.get("ResourceStatusReason")]
            raise StorageError(
                f"the emulator cannot make the stack {stack}",
                why="; ".join(reversed(reasons)),
                next="the emulator lacks some features of AWS; the stack may work on AWS",
            )

    def upload(self) -> int:
        """Upload new and changed files below ``input/``; returns how many."""
        inputs, count = FolderInputs(self.opened.workspace.input), 0
        for config in self.opened.manifest.configs:
            if config.input_path is None:
                continue
            settled = (time.time() - config.settle) * 1e9
            for found in sorted(inputs.scan(config.input_path)):
                # A file that is still being written is uploaded later.
                if self._sent.get(found.key) != found and found.mtime_ns <= settled:
                    self._upload(found.key, inputs.root / found.key)
                    self._sent[found.key] = found
                    count += 1
        return count

    def _upload(self, key: str, path: Path) -> None:
        bucket = self.keys.input_bucket_name or ""
        with explained("upload", self.clients.arn("s3", f"{bucket}/{key}")):
            self.clients.s3.upload_file(str(path), bucket, key)

    def run_schedules(self) -> int:
        """Send the message of each schedule now; returns how many."""
        scheduler, count = self.clients.client("scheduler"), 0
        for config in self.opened.manifest.configs:
            if config.trigger != "Cron":
                continue
            name = self.names.schedule(config.pipeline, config.name)
            target = scheduler.get_schedule(Name=name, GroupName=self.names.schedule_group)
            with explained("run the schedule", name):
                self.clients.sqs.send_message(
                    QueueUrl=self._queue(config.pipeline, config.name),
                    MessageBody=target["Target"]["Input"],
                )
            count += 1
        return count

    def ended_runs(self) -> Iterator[RunRecord]:
        """Runs that have ended since the last call."""
        for record in reversed(list(self.ledger.records(states=FINISHED, limit=_RECORDS))):
            seen = (record.attempt, record.state)
            if self._reported.get(record.key) != seen:
                self._reported[record.key] = seen
                yield record

    def waiting(self) -> int:
        """How many messages are in the queues, waiting or being handled."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        count = 0
        for config in self.opened.manifest.configs:
            answer = self.clients.sqs.get_queue_attributes(
                QueueUrl=self._queue(config.pipeline, config.name),
                AttributeNames=names,  # type: ignore[arg-type]
            )
            count += sum(int(value) for value in answer["Attributes"].values())
        return count

    def wait_until_idle(self, on_end: OnEnd, stopped: Callable[[], bool]) -> None:
        """Report runs until the queues are empty and no run ends any more."""
        quiet = 0
        while quiet < 2 and not stopped():
            time.sleep(_POLL)
            found = list(self.ended_runs())
            for record in found:
                on_end(record)
            quiet = 0 if found or self.waiting() else quiet + 1

    def _queue(self, pipeline: str, name: str) -> str:
        queue = self.names.queue(pipeline, name)
        return str(self.clients.sqs.get_queue_url(QueueName=queue)["QueueUrl"])


def _status(client: object, stack: str) -> str:
    [found] = client.describe_stacks(StackName=stack)["Stacks"]  # type: ignore[attr-defined]
    return str(found["StackStatus"])


def _zipped(repository: Path) -> bytes:
    """The functions' code: the runtime and the pipelines repository, without Tsdat."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in runtime_files():
            archive.write(file, file.relative_to(PACKAGE.parent))
        for file in walk(repository):
            archive.write(file, file.relative_to(repository))
    return buffer.getvalue()
