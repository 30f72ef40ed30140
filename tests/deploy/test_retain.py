"""What a stack would take along, and the template that lets it go."""

from __future__ import annotations

import copy
from typing import Any

from tidegate.deploy.cloudformation.retain import data_resources, retaining

OLDER: dict[str, Any] = {
    "Parameters": {"BootstrapVersion": {"Type": "String"}},
    "Resources": {
        "raw1A2B": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketName": "waves-raw",
                "Tags": [{"Key": "aws-cdk:auto-delete-objects", "Value": "true"}],
            },
            "UpdateReplacePolicy": "Delete",
            "DeletionPolicy": "Delete",
            "Metadata": {"aws:cdk:path": "Stack/raw/Resource"},
        },
        "rawPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"Bucket": {"Ref": "raw1A2B"}},
        },
        "rawAutoDelete": {
            "Type": "Custom::S3AutoDeleteObjects",
            "Properties": {"ServiceToken": "arn", "BucketName": {"Ref": "raw1A2B"}},
            "DependsOn": ["rawPolicy"],
            "UpdateReplacePolicy": "Delete",
            "DeletionPolicy": "Delete",
        },
        "artifacts": {
            "Type": "AWS::S3::Bucket",
            "UpdateReplacePolicy": "Retain",
            "DeletionPolicy": "Retain",
        },
        "half": {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "Retain"},
        "images": {"Type": "AWS::ECR::Repository", "DeletionPolicy": "Delete"},
    },
}
"""As the CDK writes it for the older recipe: buckets that are emptied and go with the stack."""


def test_what_would_go_along() -> None:
    assert data_resources(OLDER) == ("raw1A2B", "rawPolicy", "rawAutoDelete", "half")


def test_nothing_else_is_changed() -> None:
    before = copy.deepcopy(OLDER)
    after = retaining(OLDER)
    assert before == OLDER
    assert data_resources(after) == ()
    assert after["Parameters"] == OLDER["Parameters"]
    assert set(after["Resources"]) == set(OLDER["Resources"])
    for logical, resource in after["Resources"].items():
        was = dict(OLDER["Resources"][logical])
        policies = {"DeletionPolicy", "UpdateReplacePolicy", "Metadata"}
        assert {k: v for k, v in resource.items() if k not in policies} == {
            k: v for k, v in was.items() if k not in policies
        }
    untouched = after["Resources"]
    assert untouched["artifacts"] == OLDER["Resources"]["artifacts"]
    assert untouched["images"] == OLDER["Resources"]["images"]
    # CloudFormation takes no update of policies alone.
    metadata = untouched["raw1A2B"]["Metadata"]
    assert metadata["aws:cdk:path"] == "Stack/raw/Resource"
    assert metadata != OLDER["Resources"]["raw1A2B"]["Metadata"]


def test_a_stack_without_data() -> None:
    template = {"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}
    assert data_resources(template) == ()
    assert retaining(template) == template
    assert data_resources({}) == ()
