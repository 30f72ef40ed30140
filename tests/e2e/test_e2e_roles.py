"""What a function's role lets it do, and what not: asked from inside a function that has it.

That each role allows what its function needs is shown by all other tests: the emulator minds IAM.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_cloud import BRANCH, Cloud
from e2e_repository import PRODUCTS, RAW, csv
from starlette.testclient import TestClient

from tidegate.web.actions import Actions
from tidegate.web.app import Dashboard, create_app
from tidegate.web.options import WebOptions
from tidegate.web.pages import ENDPOINTS
from tidegate.web.security import Guard
from tidegate.web.site import Site
from tidegate.workspace.session import TargetOptions

PROBE = """
import boto3, botocore.exceptions
def handler(event, context):
    client = boto3.client(event["service"])
    try:
        getattr(client, event["call"])(**event["arguments"])
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return "allowed"
"""
Try = Callable[..., str]


@pytest.fixture(scope="module")
def probe(cloud: Cloud) -> Iterator[Callable[[str], Try]]:
    """Functions with the roles of deployed ones, which try what they are told to."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", PROBE)
    client, made = cloud.clients.client("lambda"), []

    def probe(config: str) -> Try:
        name = f"probe-{config.replace('/', '-')}"
        if name not in made:
            client.create_function(
                FunctionName=name,
                Role=cloud.plan.place.role(
                    cloud.names.role(*config.split("/")), cloud.names.role_path
                ),
                Runtime="python3.12",
                Handler="index.handler",
                Code={"ZipFile": buffer.getvalue()},
                Timeout=60,
            )
            made.append(name)

        def attempt(service: str, call: str, **arguments: Any) -> str:
            event = {"service": service, "call": call, "arguments": arguments}
            answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
            return str(json.loads(answer["Payload"].read()))

        return attempt

    yield probe
    for name in made:
        client.delete_function(FunctionName=name)


PERSON = (
    "dynamodb:BatchGetItem",
    "dynamodb:GetItem",
    "dynamodb:Query",
    "lambda:GetFunctionConfiguration",
    "s3:GetObject",
    "s3:ListBucket",
    "sqs:GetQueueUrl",
    "sqs:SendMessage",
    "sqs:SendMessageBatch",  # as the emulator calls it
)
"""What docs/commands.md says that a person needs, to ask for runs."""


@pytest.fixture
def person(cloud: Cloud) -> Iterator[dict[str, str]]:
    """Credentials of someone who may do no more than that."""
    iam, sts = cloud.clients.client("iam"), cloud.clients.client("sts")
    account = sts.get_caller_identity()["Account"]
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "sts:AssumeRole",
    }
    version = "2012-10-17"
    made = iam.create_role(
        RoleName="person",
        AssumeRolePolicyDocument=json.dumps({"Version": version, "Statement": [trust]}),
    )
    allowed = [{"Effect": "Allow", "Action": action, "Resource": "*"} for action in PERSON]
    document = json.dumps({"Version": version, "Statement": allowed})
    iam.put_role_policy(RoleName="person", PolicyName="person", PolicyDocument=document)
    given = sts.assume_role(RoleArn=made["Role"]["Arn"], RoleSessionName="person")["Credentials"]
    yield {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }
    iam.delete_role_policy(RoleName="person", PolicyName="person")
    iam.delete_role(RoleName="person")


def denied(code: str) -> bool:
    return code in ("AccessDenied", "AccessDeniedException", "403")


def test_an_ingest_reads_its_own_prefix_alone(cloud: Cloud, probe: Callable[[str], Try]) -> None:
    own, other = "tiny/fails/probe.csv", "tiny/twice/probe.csv"
    for key in (own, other):
        cloud.put(key, csv("2022-08-01T00:00:00"))
    attempt = probe("tiny/fails")
    assert attempt("s3", "get_object", Bucket=RAW, Key=own) == "allowed"
    assert attempt("s3", "list_objects_v2", Bucket=RAW, Prefix="tiny/fails/") == "allowed"
    assert denied(attempt("s3", "get_object", Bucket=RAW, Key=other))
    assert denied(attempt("s3", "list_objects_v2", Bucket=RAW, Prefix="tiny/twice/"))
    assert denied(attempt("s3", "list_objects_v2", Bucket=RAW))
    assert denied(attempt("s3", "get_object", Bucket=RAW, Key="elsewhere.csv"))


@pytest.mark.parametrize("config", ["lidar/humboldt", "lidar_vap/humboldt"])
def test_nobody_writes_raw_files(cloud: Cloud, probe: Callable[[str], Try], config: str) -> None:
    attempt = probe(config)
    key = "lidar/humboldt/forged.7z"
    assert denied(attempt("s3", "put_object", Bucket=RAW, Key=key, Body="x"))
    assert denied(attempt("s3", "delete_object", Bucket=RAW, Key="lidar/humboldt/x"))
    product = "storage/root/probe"
    assert attempt("s3", "put_object", Bucket=PRODUCTS, Key=product, Body="x") == "allowed"
    assert attempt("s3", "delete_object", Bucket=PRODUCTS, Key=product) == "allowed"
    # Nothing is deleted but products.
    assert denied(attempt("s3", "delete_object", Bucket=PRODUCTS, Key="somebody-elses"))


def test_a_vap_reads_products_and_no_raw_files(cloud: Cloud, probe: Callable[[str], Try]) -> None:
    cloud.s3.put_object(Bucket=PRODUCTS, Key="a-product", Body=b"x")
    attempt = probe("lidar_vap/humboldt")
    assert attempt("s3", "get_object", Bucket=PRODUCTS, Key="a-product") == "allowed"
    assert denied(attempt("s3", "get_object", Bucket=RAW, Key="lidar/humboldt/x"))
    assert denied(probe("lidar/humboldt")("s3", "get_object", Bucket=PRODUCTS, Key="a-product"))
    cloud.s3.delete_object(Bucket=PRODUCTS, Key="a-product")


def test_no_other_queue_and_no_other_table(cloud: Cloud, probe: Callable[[str], Try]) -> None:
    attempt = probe("lidar/humboldt")
    own, other = cloud.queue("lidar/humboldt"), cloud.queue("lidar/morro")
    names = ["QueueArn"]
    asked = {"AttributeNames": names}
    assert attempt("sqs", "get_queue_attributes", QueueUrl=own, **asked) == "allowed"
    assert denied(attempt("sqs", "get_queue_attributes", QueueUrl=other, **asked))
    assert denied(attempt("sqs", "receive_message", QueueUrl=other))
    assert denied(attempt("sqs", "send_message", QueueUrl=other, MessageBody="{}"))
    item = {"pk": {"S": "probe"}, "sk": {"S": "probe"}}
    assert attempt("dynamodb", "get_item", TableName=cloud.plan.table, Key=item) == "allowed"
    assert denied(attempt("dynamodb", "scan", TableName=cloud.plan.table))
    assert denied(attempt("dynamodb", "get_item", TableName="another-table", Key=item))
    assert denied(attempt("lambda", "list_functions"))


def test_a_person_without_access_to_dead_letters(
    cloud: Cloud, person: dict[str, str], tmp_path: Path
) -> None:
    """What failed is run again all the same, and what is left is told."""
    key, mended = "tiny/odd/mended.csv", tmp_path / "mended"
    cloud.put(key, csv("2022-08-02T00:00:00", ask=f"reject unless {mended}"))
    assert cloud.ended("tiny/odd", key).state == "failed"
    mended.touch()
    said = cloud.tidegate("retry", "--failed", credentials=person, codes=(0, 1))
    assert f"(and {len(cloud.queues) - 1} other queues)" in said
    assert "allow sqs:GetQueueAttributes" in said
    assert cloud.ended("tiny/odd", key, attempt=2).state == "succeeded"


def test_a_reader_who_may_not_write_sees_every_page(
    cloud: Cloud, person: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is told what takes longer, and which permission is missing."""
    key = "tiny/odd/read.csv"
    cloud.put(key, csv("2022-08-03T00:00:00", ask="reject"))
    failed = cloud.ended("tiny/odd", key)
    for name, value in {**cloud.environment, **person}.items():
        monkeypatch.setenv(name, value)
    site, guard = (
        Site(TargetOptions(cloud.session.workspace.root, "aws", BRANCH)),
        Guard(WebOptions()),
    )
    actions = Actions(site)
    actions.start()
    try:
        app = create_app(Dashboard(site, guard, actions))
        client = TestClient(app, "http://127.0.0.1", raise_server_exceptions=False)
        for endpoint in ENDPOINTS.values():
            if "{" not in endpoint.path and endpoint.name != "day":
                page = client.get(endpoint.path)
                assert page.status_code == 200, (endpoint.path, page.text)
        assert client.get(f"/runs/{failed.key}").status_code == 200
        said = " ".join(client.get("/api/overview").json()["limits"])
        assert "allow dynamodb:PutItem" in said
        assert "allow sqs:GetQueueAttributes" in said
        form = {"csrf": guard.csrf, "who": "Ada"}
        answer = client.post(f"/runs/{failed.key}/acknowledge", data=form)
        assert (answer.status_code, "allow dynamodb:PutItem" in answer.text) == (503, True)
    finally:
        actions.close()
        site.close()
