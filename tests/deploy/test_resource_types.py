"""The registry of resource types: each entry is complete, and names and ARNs lead to it."""

from __future__ import annotations

import pytest

from tidegate.deploy.core.place import Place
from tidegate.deploy.resources import RESOURCE_TYPES, resource_type
from tidegate.deploy.resources.base import ResourceType
from tidegate.deploy.resources.registry import (
    SEARCHABLE_TYPES,
    identify_arn,
    shown_name,
    template_name,
)

PLACE = Place("123456789012", "us-west-2")


@pytest.mark.parametrize("type", RESOURCE_TYPES)
def test_each_entry_has_what_it_promises(type: str) -> None:
    one = RESOURCE_TYPES[type]
    assert one.type == type
    assert one.count(1) == f"1 {one.label}"
    assert one.count(2) == f"2 {one.plural}"
    assert set(one.useless_without) <= set(RESOURCE_TYPES)
    if one.existence_checked:
        assert one.__class__.exists is not ResourceType.exists
    if one.holds:
        assert one.__class__.contents is not ResourceType.contents


def test_labels_tell_the_searchable_types_apart() -> None:
    assert len({one.label for one in SEARCHABLE_TYPES}) == len(SEARCHABLE_TYPES)


@pytest.mark.parametrize("one", SEARCHABLE_TYPES, ids=lambda one: one.label)
def test_an_arn_leads_back_to_its_type_and_name(one: ResourceType) -> None:
    if not one.arn_service:
        return
    assert identify_arn(one.arn(PLACE, "a-name")) == (one, "a-name")


def test_a_rule_may_be_on_an_event_bus() -> None:
    arn = RESOURCE_TYPES["AWS::Events::Rule"].arn(PLACE, "r", {"EventBusName": "b"})
    assert arn == "arn:aws:events:us-west-2:123456789012:rule/b/r"
    assert identify_arn(arn) == (RESOURCE_TYPES["AWS::Events::Rule"], "r")


@pytest.mark.parametrize(
    ("type", "physical", "name"),
    [
        ("AWS::SQS::Queue", "https://sqs.us-west-2.amazonaws.com/123456789012/q", "q"),
        ("AWS::SNS::Topic", "arn:aws:sns:us-west-2:123456789012:alerts", "alerts"),
        ("AWS::IAM::ManagedPolicy", "arn:aws:iam::123456789012:policy/p", "p"),
        ("AWS::Events::Rule", "bus|rule", "rule"),
        ("AWS::Logs::LogGroup", "/aws/lambda/f", "/aws/lambda/f"),
        ("AWS::Lambda::EventSourceMapping", "6f1c", ""),
        ("AWS::SQS::QueuePolicy", "6f1c", ""),
        ("Custom::Thing", "B-1", "B-1"),
    ],
)
def test_names_from_physical_ids(type: str, physical: str, name: str) -> None:
    assert shown_name(type, physical) == name


def test_a_type_that_is_not_in_the_registry_has_a_label_and_a_name() -> None:
    assert resource_type("AWS::Glue::Job").label == "Glue::Job"
    assert template_name({"Type": "AWS::Glue::Job", "Properties": {"Name": "j"}}) == "j"
    assert template_name({"Type": "AWS::Glue::Job"}) == ""
