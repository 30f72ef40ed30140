"""The templates, deployed to the emulator through CloudFormation."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from release_samples import KEYS, ingest, plan_of, texts, vap

from tidegate.deploy.design.model import Zip
from tidegate.deploy.design.plan import Options

pytest.importorskip("boto3")

from ministack_process import CREDENTIALS, MiniStack, ministack

from tidegate.deploy.design.templates import synthesize

pytestmark = pytest.mark.slow

# MiniStack's own account.
EMULATED = KEYS.model_copy(update={"account_id": "000000000000"})
HANDLER = """
import json, os, boto3
def handler(event, context):
    s3 = boto3.client("s3")
    for record in event["Records"]:
        body = record["body"].encode()
        key = os.environ["CONFIG_ID"] + "/" + record["messageId"]
        s3.put_object(Bucket=os.environ["TSDAT_S3_BUCKET_NAME"], Key=key, Body=body)
    return {"batchItemFailures": []}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with ministack(tmp_path_factory.mktemp("release")) as running:
            yield running


def deploy(client: Any, template: Any, *, update: bool) -> None:
    """By a change set, as the release does."""
    kind = "UPDATE" if update else "CREATE"
    name = f"release-{kind.lower()}"
    client.create_change_set(
        StackName=template.stack,
        ChangeSetName=name,
        ChangeSetType=kind,
        TemplateBody=template.body,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Tags=[{"Key": key, "Value": value} for key, value in template.tags.items()],
    )
    client.get_waiter("change_set_create_complete").wait(
        StackName=template.stack, ChangeSetName=name, WaiterConfig={"Delay": 1}
    )
    client.execute_change_set(StackName=template.stack, ChangeSetName=name)
    waiter = client.get_waiter(f"stack_{kind.lower()}_complete")
    try:
        waiter.wait(StackName=template.stack, WaiterConfig={"Delay": 1})
    except Exception as error:
        events = client.describe_stack_events(StackName=template.stack)["StackEvents"]
        reasons = [e["ResourceStatusReason"] for e in events if e.get("ResourceStatusReason")]
        raise AssertionError("\n".join(reversed(reasons))) from error


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", HANDLER)
    return buffer.getvalue()


def eventually(look: Any, seconds: float = 60) -> Any:
    import time

    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.3)
    return found


def test_deploy_run_update_and_remove(stack: MiniStack, tmp_path: Path) -> None:
    clients = stack.clients()
    s3, cloudformation = clients.s3, clients.client("cloudformation")
    for bucket in ("waves-raw", "waves-products", "waves-code"):
        s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
        )
    s3.put_bucket_notification_configuration(
        Bucket="waves-raw", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket="waves-code", Key="abc.zip", Body=zipped())
    code = Zip("waves-code", "abc.zip", handler="index.handler", runtime="python3.12")
    images = {"buoy": code, "wave_vap": code, "tides": code}
    options = Options(support=True, metric_math=False)
    configs = (ingest(expect_every=1200), vap(schedule="* * * * *"), texts())

    plan = plan_of(*configs, options=options, images=images, keys=EMULATED)
    [template] = synthesize(plan)
    deploy(cloudformation, template, update=False)
    made = cloudformation.describe_stack_resources(StackName=template.stack)["StackResources"]
    assert len(made) == plan.stacks[0].count
    assert {resource["ResourceStatus"] for resource in made} == {"CREATE_COMPLETE"}

    # A file that arrives goes to its function, and one outside every prefix to none.
    s3.put_object(Bucket="waves-raw", Key="elsewhere/a.csv", Body=b"1")
    s3.put_object(Bucket="waves-raw", Key="buoy/morro/a +%20é.csv", Body=b"1")

    def products(prefix: str) -> list[str]:
        found = s3.list_objects_v2(Bucket="waves-products", Prefix=prefix)
        return [item["Key"] for item in found.get("Contents", ())]

    eventually(lambda: products("morro/"))
    [body] = [
        json.loads(s3.get_object(Bucket="waves-products", Key=key)["Body"].read())
        for key in products("morro/")
        if b'"aws.s3"' in s3.get_object(Bucket="waves-products", Key=key)["Body"].read()
    ]
    assert body["detail"]["object"]["key"] == "buoy/morro/a +%20é.csv"

    # A config that is taken out takes its resources along, and no others.
    fewer = plan_of(configs[0], options=options, images=images, keys=EMULATED)
    [template] = synthesize(fewer)
    deploy(cloudformation, template, update=True)
    names = [f["FunctionName"] for f in clients.client("lambda").list_functions()["Functions"]]
    assert sorted(names) == ["waves-main-lambda--sweep", "waves-main-lambda-buoy-morro"]

    cloudformation.delete_stack(StackName=template.stack)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=template.stack, WaiterConfig={"Delay": 1}
    )
    assert not clients.client("lambda").list_functions()["Functions"]
    assert plan.table in clients.dynamodb.list_tables()["TableNames"], "data are kept"
    assert not clients.sqs.list_queues().get("QueueUrls")
