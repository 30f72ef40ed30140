"""Files that arrive, on MiniStack: S3's events, both event buses, and the queues of configs."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ministack_process import REGION, MiniStack
from release_samples import KEYS, ingest, plan_of

from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.templates import Template, synthesize
from tidegate.deploy.design.templates.records import logical_id

ROUTES = ("AWS::SQS::Queue", "AWS::Events::EventBus", "AWS::Events::Rule")

OLDER_IDS = [logical_id((f"buoy:{site}", "Rule")) for site in ("morro", "humboldt")]
"""The logical ids of the rules before there were event buses."""


def only_routes(template: Template, *more: str) -> dict[str, Any]:
    """A template with queues, event buses and rules, and ``more`` types."""
    data = json.loads(template.body)
    data["Resources"] = {
        id: resource
        for id, resource in data["Resources"].items()
        if resource["Type"] in (*ROUTES, *more) or id == "EventsRole"
    }
    return data


def older(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same as an earlier Tidegate wrote it: with the rules of configs on the default bus."""
    found: dict[str, Any] = {}
    for id, resource in data["Resources"].items():
        if "EventBusName" in resource["Properties"]:
            properties = {k: v for k, v in resource["Properties"].items() if k != "EventBusName"}
            begin = id.replace("BusRule", "Rule")[:-8]
            [older_id] = [one for one in OLDER_IDS if one.startswith(begin)]
            found[older_id] = {**resource, "Properties": properties}
        elif not id.startswith(("Arrivals", "Event")):
            found[id] = resource
    return {**data, "Resources": found}


class Routes:
    """The routes of a plan, deployed."""

    def __init__(self, aws: MiniStack, plan: Plan, bucket: str) -> None:
        self.aws, self.plan, self.bucket = aws, plan, bucket
        self.clients = aws.clients()
        self.clients.s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.clients.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )

    def deploy(self, how: str, stack: str, data: Mapping[str, Any]) -> None:
        """Create or update a stack."""
        client = self.clients.client("cloudformation")
        key = f"{stack}.json"
        self.clients.s3.put_object(Bucket=self.bucket, Key=key, Body=json.dumps(data))
        getattr(client, f"{how}_stack")(
            StackName=stack,
            TemplateURL=f"{self.aws.endpoint}/{self.bucket}/{key}",
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        waiter = client.get_waiter(f"stack_{how}_complete")
        waiter.wait(StackName=stack, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})

    def arrive(self, key: str, expected: int) -> dict[str, int]:
        """Upload a file; returns how many events about it each config was sent."""
        before = self._sent()
        self.clients.s3.put_object(Bucket=self.bucket, Key=key, Body=b"1")
        deadline = time.monotonic() + 60
        while sum((found := self._sent() - before).values()) < expected:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return dict(found)

    def _sent(self) -> Counter[str]:
        lines = Counter(self.aws.log.read_text(errors="replace").splitlines())
        found: Counter[str] = Counter()
        for config in self.plan.configs:
            end = f"EventBridge → SQS {config.queue.name}"
            found[config.id] = sum(n for line, n in lines.items() if line.endswith(end))
        return found

    def rules(self) -> set[str]:
        """The names of the branch's rules on the default bus."""
        pages = self.clients.client("events").get_paginator("list_rules")
        prefix = self.plan.stacks[0].name.partition("-Pipelines")[0]
        return {r["Name"] for page in pages.paginate(NamePrefix=prefix) for r in page["Rules"]}

    def received(self, id: str) -> list[str]:
        """The keys in the messages that a config has."""
        [queue] = [config.queue.name for config in self.plan.configs if config.id == id]
        url = self.clients.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        answer = self.clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return [body["detail"]["object"]["key"] for body in bodies]


@pytest.fixture
def new_routes(aws: MiniStack) -> Callable[..., Routes]:
    def make(repository: str, *configs: Any) -> Routes:
        bucket = f"{repository}-raw"
        names = {"pipelines_repo_name": repository, "input_bucket_name": bucket}
        names["account_id"] = "000000000000"
        return Routes(aws, plan_of(*configs, keys=KEYS.model_copy(update=names)), bucket)

    return make


def test_more_configs_than_the_default_bus_takes_rules(new_routes: Callable[..., Routes]) -> None:
    """The emulator refuses more than 300 on a bus, as AWS does (``ministack_like_aws``)."""
    sites = [ingest(f"site{n}") for n in range(310)]
    routes = new_routes("fleet", *sites, ingest("all", input_path="buoy/"), ingest("odd", "tide"))
    for template in synthesize(routes.plan):
        routes.deploy("create", template.stack, only_routes(template))
    assert len(routes.rules()) == len(routes.plan.stacks) == 10
    assert routes.arrive("buoy/site7/a.csv", 2) == {"buoy/site7": 1, "buoy/all": 1}
    assert routes.arrive("buoy/site309/b c+%.csv", 2) == {"buoy/site309": 1, "buoy/all": 1}
    assert routes.arrive("tide/odd/c.csv", 1) == {"tide/odd": 1}
    assert routes.received("buoy/all") == ["buoy/site7/a.csv", "buoy/site309/b c+%.csv"]


def test_an_older_deployment_is_updated_without_a_gap(new_routes: Callable[..., Routes]) -> None:
    """The old rules are deleted after the new ones are there, and both may send meanwhile."""
    routes = new_routes("tides", ingest(), ingest("humboldt"))
    [template] = synthesize(routes.plan)
    new = only_routes(template, "AWS::SQS::QueuePolicy")
    routes.deploy("create", template.stack, older(new))
    assert routes.arrive("buoy/morro/1.csv", 1) == {"buoy/morro": 1}
    routes.deploy("update", template.stack, new)
    assert routes.rules() == {"tides-main-rule--arrivals"}
    assert routes.arrive("buoy/morro/2.csv", 1) == {"buoy/morro": 1}
    assert routes.received("buoy/morro") == ["buoy/morro/1.csv", "buoy/morro/2.csv"]
    # CloudFormation deletes what a template no longer has after all else, if it has another id.
    assert not set(OLDER_IDS) & set(new["Resources"])
    for id, resource in new["Resources"].items():
        if resource["Type"] == "AWS::SQS::QueuePolicy" and not id.startswith("Arrivals"):
            [allow] = [
                s
                for s in resource["Properties"]["PolicyDocument"]["Statement"]
                if s["Effect"] == "Allow"
            ]
            [now, before] = allow["Condition"]["ArnEquals"]["aws:SourceArn"]
            assert before == now.replace("rule/tides-main-events/", "rule/")
