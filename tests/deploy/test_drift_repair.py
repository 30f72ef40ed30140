"""The template that removes missing resources from a stack."""

from __future__ import annotations

import json
from typing import Any

import pytest
from release_samples import ACCOUNT, REGION

from tidegate.deploy.cloudformation.drift_repair import references, remove_missing
from tidegate.deploy.core.place import Place
from tidegate.errors import TidegateError

PLACE = Place(ACCOUNT, REGION)


def arn(logical: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [logical, "Arn"]}


def resource(type: str, **properties: Any) -> dict[str, Any]:
    return {"Type": type, "Properties": properties}


TEMPLATE: dict[str, Any] = {
    "Metadata": {"Tidegate": {"configs": ["buoy/morro"], "stack": 1}},
    "Resources": {
        "Dead": resource("AWS::SQS::Queue", QueueName="dead"),
        "DeadPolicy": resource("AWS::SQS::QueuePolicy", Queues=[{"Ref": "Dead"}]),
        "Queue": resource(
            "AWS::SQS::Queue", QueueName="q", RedrivePolicy={"deadLetterTargetArn": arn("Dead")}
        ),
        "Role": resource("AWS::IAM::Role", RoleName="r", Path="/tidegate/waves/main/"),
        "Function": resource(
            "AWS::Lambda::Function",
            Role=arn("Role"),
            Environment={"Variables": {"URL": {"Ref": "Queue"}}},
        ),
        "Mapping": resource(
            "AWS::Lambda::EventSourceMapping",
            FunctionName={"Ref": "Function"},
            EventSourceArn=arn("Queue"),
        ),
        "Rule": {
            **resource("AWS::Events::Rule", Targets=[{"Arn": arn("Queue")}]),
            "DependsOn": ["Queue", "Role"],
        },
    },
    "Outputs": {"Url": {"Value": {"Ref": "Queue"}}, "Role": {"Value": arn("Role")}},
}
PHYSICAL = {
    "Dead": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/dead",
    "Queue": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/q",
    "Role": "r",
    "Function": "f",
}


def left(*gone: str) -> tuple[set[str], set[str], dict[str, Any]]:
    reduced = remove_missing(TEMPLATE, gone, PHYSICAL, PLACE)
    template = json.loads(json.dumps(reduced.template))
    return set(template["Resources"]), set(reduced.dependents), template


def test_a_lost_function_takes_its_mapping_dependents() -> None:
    there, dependents, template = left("Function")
    assert dependents == {"Mapping"}
    assert there == set(TEMPLATE["Resources"]) - {"Function", "Mapping"}
    assert template["Metadata"] == TEMPLATE["Metadata"]
    assert template["Outputs"] == TEMPLATE["Outputs"]


def test_a_lost_queue_leaves_the_rule_and_what_else_points_to_it() -> None:
    """The rule goes on to notice files: they wait, and are tried again, until the queue is back."""
    there, dependents, template = left("Queue")
    assert dependents == {"Mapping"}
    rule = template["Resources"]["Rule"]
    assert rule["Properties"]["Targets"] == [{"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}]
    assert rule["DependsOn"] == ["Role"]
    function = template["Resources"]["Function"]["Properties"]
    assert function["Environment"]["Variables"]["URL"] == PHYSICAL["Queue"]
    assert function["Role"] == arn("Role"), "what is not lost stays a reference"
    assert set(template["Outputs"]) == {"Role"}
    assert "DeadPolicy" in there


def test_a_lost_dead_letter_queue_does_not_take_the_queue_with_its_messages() -> None:
    there, dependents, template = left("Dead")
    assert dependents == {"DeadPolicy"}
    assert "Queue" in there
    redrive = template["Resources"]["Queue"]["Properties"]["RedrivePolicy"]
    assert redrive == {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"}


def test_a_lost_role_takes_function_and_mapping_dependents() -> None:
    """Lambda encrypts for the role itself: AWS's knowledge centre, *KMS access denied*."""
    there, dependents, template = left("Role")
    assert dependents == {"Function", "Mapping"}
    assert template["Resources"]["Rule"]["DependsOn"] == ["Queue"]
    assert there == {"Dead", "DeadPolicy", "Queue", "Rule"}


def test_nothing_refers_to_what_is_taken_out() -> None:
    for id in TEMPLATE["Resources"]:
        reduced = remove_missing(TEMPLATE, [id], PHYSICAL | {"Rule": "x", "DeadPolicy": "p"}, PLACE)
        kept = set(reduced.template["Resources"])
        assert set(references(reduced.template["Resources"])) <= kept
        assert set(references(reduced.template["Outputs"])) <= kept


def test_all_ways_to_refer() -> None:
    found = references(
        {
            "DependsOn": "A",
            "x": [{"Fn::Sub": "arn:${B}:${C.Arn}"}, {"Fn::Sub": ["${D}", {"v": {"Ref": "E"}}]}],
            "y": {"Fn::GetAtt": "F.Arn"},
            "z": {"Fn::Join": ["", [{"Ref": "G"}]]},
        }
    )
    assert set(found) == set("ABCDEFG")


def test_what_nobody_knows_any_more() -> None:
    template = {
        "Resources": {
            "T": resource("AWS::SNS::Topic"),
            "Q": resource("AWS::SQS::Queue", X={"Fn::GetAtt": ["T", "TopicName"]}),
        }
    }
    with pytest.raises(TidegateError, match=r"T cannot.*\n.*TopicName"):
        remove_missing(template, ["T"], {"T": "arn:aws:sns:us-west-2:1:t"}, PLACE)
