"""Stacks planned, deployed, broken and mended: real calls of CloudFormation's to the emulator.

What AWS answers and the emulator does not bring about is in ``test_release_causes`` and
``test_release_changes``. Waiting is brought about by wait conditions, which are signalled when a
test has seen enough; failing by a custom resource, which a function answers for.
"""

from __future__ import annotations

import io
import itertools
import json
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("boto3")

from ministack_process import CREDENTIALS, REGION, MiniStack, ministack
from release_samples import KEYS, ingest, plan_of, vap

from tidegate.deploy.cloudformation import change_report, changes
from tidegate.deploy.cloudformation.event_tailing import (
    DeploymentFailed,
    Interrupted,
    WatchingFailed,
)
from tidegate.deploy.cloudformation.stack_api import CloudFormationError
from tidegate.deploy.cloudformation.stacks import (
    PlanOutdated,
    StackBusy,
    Stacks,
    StackStuck,
    unneeded,
)
from tidegate.deploy.cloudformation.states import Event
from tidegate.deploy.cloudformation.upload import upload_to
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.model import Zip
from tidegate.deploy.design.placement import stack_name
from tidegate.deploy.design.plan import Options
from tidegate.deploy.design.templates import Template
from tidegate.errors import ConfigurationError
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.names import Names

pytestmark = [pytest.mark.slow, pytest.mark.aws]

PLACE = Place("000000000000", REGION)
WHO = "arn:aws:sts::000000000000:assumed-role/admin/ann"
THING = f"arn:aws:lambda:{REGION}:{PLACE.account}:function:thing"
ANSWERS = """
import json, urllib.request
def handler(event, context):
    failing = event["ResourceProperties"].get("Fail", "").split(",")
    body = {
        "Status": "FAILED" if event["RequestType"] in failing else "SUCCESS",
        "Reason": "told to fail at " + event["RequestType"],
        "PhysicalResourceId": event.get("PhysicalResourceId", event["LogicalResourceId"] + "-1"),
        "StackId": event["StackId"], "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    data = json.dumps(body).encode()
    urllib.request.urlopen(urllib.request.Request(event["ResponseURL"], data=data, method="PUT"))
"""
numbers = itertools.count(1)


def zipped(code: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", code)
    return buffer.getvalue()


def make_thing(clients: Clients) -> None:
    clients.client("lambda").create_function(
        FunctionName="thing",
        Runtime="python3.12",
        Role=f"arn:aws:iam::{PLACE.account}:role/thing",
        Handler="index.handler",
        Code={"ZipFile": zipped(ANSWERS)},
        Timeout=30,
    )


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with ministack(tmp_path_factory.mktemp("stacks")) as running:
            make_thing(running.clients())
            yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    """The emulator, with its checks of permissions switched on."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with ministack(tmp_path_factory.mktemp("strict"), {"AUTH": "true"}) as running:
            yield running


@pytest.fixture(scope="module")
def code(aws: MiniStack) -> Zip:
    clients = aws.clients()
    clients.s3.create_bucket(
        Bucket="waves-code", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    clients.s3.put_object(Bucket="waves-code", Key="a.zip", Body=zipped("def handler(e, c): pass"))
    return Zip("waves-code", "a.zip", handler="index.handler", runtime="python3.12")


@pytest.fixture
def clients(aws: MiniStack) -> Clients:
    return aws.clients()


@pytest.fixture
def stacks(clients: Clients) -> Stacks:
    return Stacks(clients, PLACE, who=WHO, poll=0.05)


@pytest.fixture
def name() -> str:
    return f"waves-{next(numbers)}"


def template(stack: str, metadata: Any = None, **resources: Any) -> Template:
    body = {"Resources": resources, **({"Metadata": metadata} if metadata else {})}
    return Template(stack, json.dumps(body), {"branch": "main"})


def queue(name: str, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name, **more}}


def thing(value: str, fail: str = "", **more: Any) -> dict[str, Any]:
    properties = {"ServiceToken": THING, "Value": value, "Fail": fail}
    return {"Type": "Custom::Thing", "Properties": properties, **more}


def gate() -> dict[str, Any]:
    """A resource that is not done before it is signalled."""
    policy = {"ResourceSignal": {"Count": 1, "Timeout": "PT5M"}}
    return {"Type": "AWS::CloudFormation::WaitCondition", "CreationPolicy": policy}


def deploy(stacks: Stacks, wanted: Template, **more: Any) -> list[Event]:
    seen: list[Event] = []
    stacks.execute(stacks.plan(wanted, **more), seen.append)
    return seen


def eventually(look: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)
    return found


def open_gate(clients: Clients, stack: str) -> None:
    client = clients.client("cloudformation")
    waits = "wait condition Gate: being created"
    api = Stacks(clients, PLACE).api
    eventually(lambda: any(e.text == waits for e in api.events(stack)))
    client.signal_resource(
        StackName=stack, LogicalResourceId="Gate", UniqueId="1", Status="SUCCESS"
    )


@contextmanager
def going_on(stacks: Stacks, clients: Clients, wanted: Template) -> Iterator[Future[Any]]:
    """A deployment that goes on for as long as this does."""
    with ThreadPoolExecutor(1) as pool:
        deployment = pool.submit(deploy, stacks, wanted)
        try:
            eventually(lambda: deployment.done() or stacks.state(wanted.stack).condition == "busy")
            assert not deployment.done()
            yield deployment
        finally:
            open_gate(clients, wanted.stack)
            deployment.result(60)


def queues(clients: Clients, prefix: str) -> set[str]:
    urls = clients.sqs.list_queues(QueueNamePrefix=prefix).get("QueueUrls", [])
    return {url.rsplit("/", 1)[-1] for url in urls}


class TestPlanning:
    def test_a_plan_changes_nothing_and_leaves_nothing(self, stacks: Stacks, name: str) -> None:
        planned = stacks.plan(template(name, A=queue(f"{name}-a")))
        assert planned.changes.counts == {"created": 1}
        assert stacks.state(name).is_empty
        assert not queues(stacks.api.clients, name)
        stacks.discard(planned)
        assert not stacks.state(name).exists

    def test_another_ones_plan_keeps_the_empty_stack(self, stacks: Stacks, name: str) -> None:
        mine = stacks.plan(template(name, A=queue(f"{name}-a")))
        client = stacks.api.client
        client.create_change_set(
            StackName=name,
            ChangeSetName="another",
            ChangeSetType="UPDATE",
            TemplateBody=template(name, A=queue(f"{name}-b")).body,
        )
        stacks.discard(mine)
        assert stacks.state(name).is_empty
        assert [s["ChangeSetName"] for s in stacks.api.change_sets(name)] == ["another"]

    def test_create_update_and_nothing(self, stacks: Stacks, name: str) -> None:
        seen = deploy(stacks, template(name, A=queue(f"{name}-a", VisibilityTimeout=30)))
        assert [e.text for e in seen] == [
            f"stack {name}: being created",
            f"queue {name}-a: being created",
            f"queue {name}-a: created",
            f"stack {name}: created",
        ]
        planned = stacks.plan(template(name, A=queue(f"{name}-a", VisibilityTimeout=60)))
        assert [line.text for line in change_report.lines(planned.changes)] == [
            f"stack {name}: 1 changed",
            "  shared by all configs",
            f"    ~ queue {name}-a",
            "        VisibilityTimeout: 30 -> 60",
        ]
        outcome = stacks.execute(planned)
        assert (outcome.status, outcome.resources) == ("UPDATE_COMPLETE", 1)
        again = stacks.plan(template(name, A=queue(f"{name}-a", VisibilityTimeout=60)))
        assert again.empty
        assert not stacks.api.change_sets(name)[1:], "only the one that was executed"
        assert stacks.execute(again).resources == 0

    def test_a_long_history_costs_nothing(self, stacks: Stacks, name: str) -> None:
        """More events than are told of at once, on AWS as here."""
        many = {f"Q{n}": queue(f"{name}-{n}") for n in range(60)}
        deploy(stacks, template(name, **many))
        asked: list[str] = []
        stacks.api.client.meta.events.register(
            "provide-client-params.cloudformation.DescribeStackEvents",
            lambda params, **more: asked.append(params.get("NextToken", "")),
            unique_id="asked",
        )
        seen = deploy(stacks, template(name, **{**many, "Q0": queue(f"{name}-0", DelaySeconds=1)}))
        stacks.api.client.meta.events.unregister(
            "provide-client-params.cloudformation.DescribeStackEvents", unique_id="asked"
        )
        assert {e.status.split("_")[0] for e in seen} == {"UPDATE"}
        assert len(list(stacks.api.events(name))) > 100
        assert asked

    def test_only_events_of_its_own(self, stacks: Stacks, name: str) -> None:
        deploy(stacks, template(name, A=queue(f"{name}-a")))
        seen = deploy(stacks, template(name, A=queue(f"{name}-a"), B=queue(f"{name}-b")))
        assert {e.status.split("_")[0] for e in seen} == {"UPDATE"}
        assert len({e.token for e in seen}) == 1

    def test_what_is_in_a_queue_that_goes(self, stacks: Stacks, name: str) -> None:
        both = template(name, A=queue(f"{name}-a"), B=queue(f"{name}-b"), C=queue(f"{name}-c"))
        deploy(stacks, both)
        url = stacks.api.clients.sqs.get_queue_url(QueueName=f"{name}-a")["QueueUrl"]
        for n in range(3):
            stacks.api.clients.sqs.send_message(QueueUrl=url, MessageBody=str(n))
        planned = stacks.plan(template(name, C=queue(f"{name}-c")))
        assert [(c.name, c.lost) for c in planned.changes.endangered] == [
            (f"{name}-a", "3 messages will be lost")
        ]
        assert planned.changes.counts == {"removed": 2}
        stacks.discard(planned)
        goes = stacks.plan_removal(stacks.state(name))
        assert goes.counts == {"removed": 3}
        assert [c.name for c in goes.endangered] == [f"{name}-a"]

    def test_a_long_template_goes_by_way_of_a_bucket(self, stacks: Stacks, name: str) -> None:
        stacks.api.clients.s3.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        long = {f"Q{n}": queue(f"{name}-{n}", Tags=[{"Key": "k", "Value": "v" * 250}])
                for n in range(200)}  # fmt: skip
        wanted = template(name, **long)
        assert wanted.needs_upload
        with pytest.raises(ConfigurationError, match="too long"):
            stacks.plan(wanted)
        assert not stacks.state(name).exists
        deploy(stacks, wanted, upload=upload_to(name, stacks.api.clients, PLACE))
        assert len(stacks.api.resources(name)) == 200
        assert stacks.plan(wanted, upload=upload_to(name, stacks.api.clients, PLACE)).empty
        [stored] = stacks.api.clients.s3.list_objects_v2(Bucket=name)["Contents"]
        assert stored["Key"].startswith(f"templates/{name}/")

    def test_a_template_that_aws_does_not_take(self, stacks: Stacks, name: str) -> None:
        with pytest.raises(CloudFormationError, match="cannot plan"):
            stacks.plan(template(name, A={"Type": "AWS::No::Such"}))
        assert not stacks.state(name).exists

    def test_old_plans_are_swept_away(
        self, stacks: Stacks, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = template(name, A=queue(f"{name}-a"))
        deploy(stacks, wanted)
        left = stacks.plan(template(name, A=queue(f"{name}-a"), B=queue(f"{name}-b")))
        assert stacks.plan(wanted).empty
        found = [s["ChangeSetId"] for s in stacks.api.change_sets(name)]
        assert left.changes.id in found, "someone may still think about it"
        monkeypatch.setattr("tidegate.deploy.cloudformation.change_sets.MAX_AGE", -1)
        assert stacks.plan(wanted).empty
        assert not stacks.api.change_sets(name)

    def test_parameters(self, stacks: Stacks, name: str) -> None:
        body = {
            "Parameters": {"Seconds": {"Type": "Number"}},
            "Resources": {"A": queue(f"{name}-a", VisibilityTimeout={"Ref": "Seconds"})},
        }
        wanted = Template(name, json.dumps(body), {})
        deploy(stacks, wanted, parameters={"Seconds": "33"})
        planned = stacks.plan(wanted, parameters={"Seconds": "44"})
        assert planned.changes.counts == {"changed": 1}
        assert stacks.execute(planned).status == "UPDATE_COMPLETE"
        assert stacks.plan(wanted, parameters={"Seconds": "44"}).empty


class TestFailing:
    def test_a_creation_that_fails_and_the_next_that_works(self, stacks: Stacks, name: str) -> None:
        wanted = template(name, A=queue(f"{name}-a"), B=thing("1", "Create", DependsOn="A"))
        with pytest.raises(DeploymentFailed) as failed:
            deploy(stacks, wanted)
        assert failed.value.what == f"the creation of the stack {name} failed: Custom::Thing B"
        assert failed.value.why.startswith("told to fail at Create\n")
        assert failed.value.state.status == "ROLLBACK_COMPLETE"
        assert stacks.state(name).status == "ROLLBACK_COMPLETE"
        assert not queues(stacks.api.clients, name)

        planned = stacks.plan(template(name, A=queue(f"{name}-a"), B=thing("1")))
        assert planned.first == "delete"
        assert len(planned.changes.notes) == 1
        assert stacks.state(name).status == "ROLLBACK_COMPLETE", "a plan deletes nothing"
        assert stacks.execute(planned).status == "CREATE_COMPLETE"
        assert queues(stacks.api.clients, name) == {f"{name}-a"}

    def test_an_update_that_fails_leaves_what_ran_before(self, stacks: Stacks, name: str) -> None:
        before = template(name, A=queue(f"{name}-a", VisibilityTimeout=30), B=thing("1"))
        deploy(stacks, before)
        broken = template(
            name,
            A=queue(f"{name}-a", VisibilityTimeout=60),
            B=thing("2", "Update", DependsOn="A"),
            C=queue(f"{name}-c"),
        )
        with pytest.raises(DeploymentFailed) as failed:
            deploy(stacks, broken)
        assert failed.value.cause is not None
        assert failed.value.cause.why == "told to fail at Update"
        assert failed.value.state.status == "UPDATE_ROLLBACK_COMPLETE"
        assert queues(stacks.api.clients, name) == {f"{name}-a"}
        url = stacks.api.clients.sqs.get_queue_url(QueueName=f"{name}-a")["QueueUrl"]
        told = stacks.api.clients.sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["VisibilityTimeout"]
        )
        assert told["Attributes"]["VisibilityTimeout"] == "30"
        assert stacks.plan(before).empty
        mended = template(name, A=queue(f"{name}-a"), B=thing("2"), C=queue(f"{name}-c"))
        deploy(stacks, mended)
        assert queues(stacks.api.clients, name) == {f"{name}-a", f"{name}-c"}

    def test_what_is_found_before_anything_begins(self, stacks: Stacks, name: str) -> None:
        """The name of a bucket that is someone else's: CloudFormation tells of it apart."""
        stacks.api.clients.s3.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}
        with pytest.raises(DeploymentFailed) as failed:
            deploy(stacks, template(name, B=bucket))
        assert failed.value.cause is not None
        assert failed.value.cause.kind == "taken"
        assert f"identifier '{name}' already exists" in failed.value.why
        assert failed.value.what.endswith("failed: bucket B")

    def test_a_stack_that_cannot_go_back(self, stacks: Stacks, name: str) -> None:
        deploy(stacks, template(name, B=thing("1", "Update")))
        wanted = template(name, B=thing("2"))
        with pytest.raises(DeploymentFailed) as failed:
            deploy(stacks, template(name, A=queue(f"{name}-a"), B=thing("2", "Update")))
        assert stacks.state(name).status == "UPDATE_ROLLBACK_FAILED"
        assert "--continue-rollback" in failed.value.next

        with pytest.raises(StackStuck) as stuck:
            stacks.plan(wanted)
        assert "B, Custom::Thing B-1: told to fail at Update" in stuck.value.why
        with pytest.raises(DeploymentFailed, match="rollback of the stack"):
            stacks.continue_rollback(name)
        assert stacks.continue_rollback(name, skip=["B"]).status == "UPDATE_ROLLBACK_COMPLETE"
        with pytest.raises(CloudFormationError, match="no failed rollback"):
            stacks.continue_rollback(name)
        deploy(stacks, wanted)

    def test_a_stack_that_cannot_be_deleted(self, stacks: Stacks, name: str) -> None:
        deploy(stacks, template(name, A=queue(f"{name}-a"), B=thing("1", "Delete")))
        with pytest.raises(DeploymentFailed) as failed:
            stacks.delete(name)
        assert failed.value.why.startswith("told to fail at Delete\n")
        assert "--retain B" in failed.value.next
        assert stacks.state(name).status == "DELETE_FAILED"
        planned = stacks.plan(template(name, C=queue(f"{name}-c")))
        assert "B (Custom::Thing)" in planned.changes.notes[1]
        assert stacks.delete(name, retain=["B"]).status == "DELETE_COMPLETE"
        assert not stacks.state(name).exists
        assert not queues(stacks.api.clients, name)

    def test_a_protected_stack(self, stacks: Stacks, name: str) -> None:
        deploy(stacks, template(name, A=queue(f"{name}-a")))
        protect = stacks.api.client.update_termination_protection
        protect(StackName=name, EnableTerminationProtection=True)
        with pytest.raises(CloudFormationError, match="protected"):
            stacks.delete(name)
        protect(StackName=name, EnableTerminationProtection=False)
        stacks.delete(name)
        assert stacks.delete(name).status == "DELETE_COMPLETE", "twice is as good as once"


class TestGoingOn:
    def test_a_second_deployment_is_told_who_is_at_it(self, stacks: Stacks, name: str) -> None:
        wanted = template(name, A=queue(f"{name}-a"), Gate=gate())
        with going_on(stacks, stacks.api.clients, wanted):
            for attempt in (stacks.plan, lambda t: stacks.delete(t.stack)):
                with pytest.raises(StackBusy) as busy:
                    attempt(wanted)
                assert busy.value.exit_code == 4
                assert "is being created since 20" in busy.value.what
                assert "by a deployment by ann with Tidegate" in busy.value.what
        assert stacks.plan(wanted).empty

    def test_or_waits(self, stacks: Stacks, name: str) -> None:
        wanted = template(name, Gate=gate())
        said: list[str] = []
        patient = Stacks(stacks.api.clients, PLACE, say=said.append, poll=0.05)
        with ThreadPoolExecutor(1) as pool:
            with going_on(stacks, stacks.api.clients, wanted):
                later = template(name, Gate=gate(), A=queue(f"{name}-a"))
                second = pool.submit(patient.plan, later, wait=True)
                eventually(lambda: said)
                assert not second.done()
            assert second.result(60).changes.counts == {"created": 1}
        assert "waiting for it" in said[0]

    def test_ctrl_c_ends_the_watching_only(self, stacks: Stacks, name: str) -> None:
        wanted = template(name, Gate=gate())
        planned = stacks.plan(wanted)

        def interrupt(event: Event) -> None:
            if event.logical == "Gate":
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(Interrupted) as interrupted:
            stacks.execute(planned, interrupt)
        assert interrupted.value.exit_code == 130
        assert "AWS continues the creation" in interrupted.value.why
        assert "tidegate status" in interrupted.value.next
        assert stacks.state(name).status == "CREATE_IN_PROGRESS"
        open_gate(stacks.api.clients, name)
        assert stacks.wait(name).status == "CREATE_COMPLETE"

    def test_ctrl_c_while_it_is_planned_leaves_nothing(
        self, stacks: Stacks, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*arguments: Any, **more: Any) -> None:
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(changes, "read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stacks.plan(template(name, A=queue(f"{name}-a")))
        assert not stacks.state(name).exists

    def test_someone_else_deployed_since_the_plan(self, stacks: Stacks, name: str) -> None:
        deploy(stacks, template(name, A=queue(f"{name}-a")))
        mine = stacks.plan(template(name, A=queue(f"{name}-a"), B=queue(f"{name}-b")))
        deploy(stacks, template(name, A=queue(f"{name}-a"), C=queue(f"{name}-c")))
        with pytest.raises(PlanOutdated, match="out of date"):
            stacks.execute(mine)
        assert queues(stacks.api.clients, name) == {f"{name}-a", f"{name}-c"}


class TestRights:
    """The emulator with its checks of permissions switched on."""

    @pytest.fixture
    def someone(
        self, strict: MiniStack, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> Callable[..., tuple[Stacks, Callable[[], None]]]:
        """Stacks in the hands of a user with these permissions; and a way to end them."""
        root = strict.clients()
        iam = root.client("iam")

        def make(*actions: str) -> tuple[Stacks, Callable[[], None]]:
            allow = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
            key = iam.create_access_key(UserName=name)["AccessKey"]
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
            theirs = strict.clients()
            theirs.client("cloudformation")  # boto3 reads the environment when it is made

            def end() -> None:
                iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])

            return Stacks(theirs, PLACE, poll=0.05), end

        return make

    def test_a_denied_permission_is_named(self, someone: Any, name: str) -> None:
        stacks, _ = someone("cloudformation:Describe*")
        with pytest.raises(CloudFormationError) as denied:
            stacks.plan(template(name, A=queue(f"{name}-a")))
        assert "cloudformation:CreateChangeSet" in f"{denied.value.why} {denied.value.next}"
        assert f"stack/{name}" in denied.value.what

    def test_credentials_that_end_while_aws_works(
        self, strict: MiniStack, someone: Any, name: str
    ) -> None:
        """By deleting the key: AWS refuses an expired token in the same way, by another code."""
        root = Stacks(strict.clients(), PLACE, poll=0.05)
        root.state(name)  # before the user's key is in the environment
        stacks, end = someone("cloudformation:*")
        planned = stacks.plan(template(name, Gate=gate()))
        ended = threading.Event()

        def meanwhile(event: Event) -> None:
            if event.logical == "Gate" and not ended.is_set():
                ended.set()
                end()

        with pytest.raises(WatchingFailed) as lost:
            stacks.execute(planned, meanwhile)
        assert "aws sso login" in lost.value.next
        open_gate(root.api.clients, name)
        assert root.wait(name).status == "CREATE_COMPLETE"

    def test_credentials_that_ended_before(self, someone: Any, name: str) -> None:
        stacks, end = someone("cloudformation:*")
        planned = stacks.plan(template(name, A=queue(f"{name}-a")))
        end()
        with pytest.raises(ConfigurationError, match="does not accept the credentials"):
            stacks.execute(planned)


class TestBranch:
    """With the templates of a release: ``synthesize`` needs the CDK."""

    def wanted(self, code: Zip, branch: str, *configs: Any) -> Template:
        from tidegate.deploy.design.templates import synthesize

        plan = plan_of(
            *configs,
            branch=branch,
            options=Options(metric_math=False),
            images={config.pipeline: code for config in configs},
            keys=KEYS.model_copy(update={"account_id": PLACE.account}),
        )
        [made] = synthesize(plan)
        return made

    def test_deleted_by_hand(self, stacks: Stacks, code: Zip) -> None:
        """A function, a dead-letter queue and a schedule; the queue's message survives."""
        clients, sqs = stacks.api.clients, stacks.api.clients.sqs
        deploy(stacks, self.wanted(code, "hand", ingest(), vap()))
        functions, rest = clients.client("lambda"), "buoy-morro"
        sqs.send_message(
            QueueUrl=sqs.get_queue_url(QueueName=f"waves-hand-queue-{rest}")["QueueUrl"],
            MessageBody="keep me",
        )
        functions.delete_function(FunctionName=f"waves-hand-lambda-{rest}")
        dead = f"waves-hand-dead-{rest}"
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=dead)["QueueUrl"])
        scheduler = clients.client("scheduler")
        schedule = {"GroupName": "waves-hand-schedules",
                    "Name": "waves-hand-schedule-wave_vap-morro"}  # fmt: skip
        scheduler.delete_schedule(**schedule)

        after = self.wanted(code, "hand", ingest(timeout=300), vap())
        planned = stacks.plan(after)
        assert {c.name or c.what for c in planned.changes.changes if c.kind == "recreated"} == {
            f"waves-hand-lambda-{rest}",
            dead,
            schedule["Name"],
            "mapping from queue to function",
            "queue policy",
        }
        assert not planned.changes.endangered
        seen: list[Event] = []
        stacks.execute(planned, seen.append)
        found = functions.get_function_configuration(FunctionName=f"waves-hand-lambda-{rest}")
        assert found["Timeout"] == 360
        assert dead in queues(clients, "waves-hand")
        assert scheduler.get_schedule(**schedule)["State"] == "ENABLED"
        [mapping] = functions.list_event_source_mappings(FunctionName=f"waves-hand-lambda-{rest}")[
            "EventSourceMappings"
        ]
        assert mapping["State"] == "Enabled"
        assert stacks.plan(after).empty

    def test_made_again_on_request(self, stacks: Stacks, code: Zip) -> None:
        """For what nobody can look for: with ``--recreate``."""
        wanted = self.wanted(code, "again", ingest())
        deploy(stacks, wanted)
        name = {"Name": "waves-again-rule-buoy-morro", "EventBusName": "waves-again-events"}
        [rule] = [r for r in stacks.api.resources(wanted.stack) if r.name == name["Name"]]
        with pytest.raises(ConfigurationError, match="Nothing"):
            stacks.plan(wanted, recreate=["Nothing"])
        planned = stacks.plan(wanted, recreate=[rule.logical])
        assert planned.changes.counts == {"recreated": 1}
        stacks.execute(planned)
        events = stacks.api.clients.client("events")
        assert events.describe_rule(**name)["State"] == "ENABLED"
        events.remove_targets(Rule=name["Name"], EventBusName=name["EventBusName"], Ids=["queue"])
        events.delete_rule(**name)
        planned = stacks.plan(wanted)
        assert planned.changes.counts == {"recreated": 1}
        stacks.execute(planned)
        assert events.describe_rule(**name)["State"] == "ENABLED"

    def test_mending_takes_away_no_more_than_was_told(self, stacks: Stacks, code: Zip) -> None:
        """Someone deploys one more config between the plan and its execution."""
        mine = self.wanted(code, "late", ingest())
        deploy(stacks, mine)
        name = "waves-late-lambda-buoy-morro"
        stacks.api.clients.client("lambda").delete_function(FunctionName=name)
        planned = stacks.plan(mine)
        deploy(stacks, self.wanted(code, "late", ingest(), ingest("humboldt")))
        with pytest.raises(PlanOutdated, match="out of date"):
            stacks.execute(planned)
        assert "waves-late-queue-buoy-humboldt" in queues(stacks.api.clients, "waves-late")
        assert stacks.execute(stacks.plan(mine)).status == "UPDATE_COMPLETE"

    def test_siblings_and_where_configs_lie(self, stacks: Stacks, name: str) -> None:
        names = Names("waves", name)

        def sibling(number: int, *configs: str) -> Template:
            said = {"Tidegate": {"configs": list(configs), "stack": number}}
            return template(stack_name(names, number), said, A=queue(f"{name}-{number}"))

        deploy(stacks, sibling(1, "buoy/morro"))
        deploy(stacks, sibling(3, "buoy/humboldt", "tides/noaa"))
        deploy(stacks, template(f"waves-{name}-PipelinesStack-other", A=queue(f"{name}-other")))
        shell = stacks.plan(sibling(4, "wave_vap/morro"))
        with pytest.raises(DeploymentFailed):
            deploy(stacks, template(stack_name(names, 5), B=thing("1", "Create")))

        found = stacks.branch_stacks(names)
        assert [state.name for state in found] == [stack_name(names, n) for n in (1, 3, 4, 5)]
        assert stacks.placed_configs(found) == {
            "buoy/morro": 1,
            "buoy/humboldt": 3,
            "tides/noaa": 3,
        }
        plan = plan_of(ingest(), branch=name, present=stacks.placed_configs(found))
        extra = unneeded(plan, found)
        assert [state.name for state in extra] == [stack_name(names, n) for n in (3, 4, 5)]
        stacks.discard(shell)
        for state in extra:
            stacks.delete(state.name)
        assert [s.name for s in stacks.branch_stacks(names)] == [stack_name(names, 1)]
        assert queues(stacks.api.clients, name) == {f"{name}-1", f"{name}-other"}
