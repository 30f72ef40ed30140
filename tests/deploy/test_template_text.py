"""Templates as CloudFormation gives them back, whoever has written them."""

import json

import pytest
import yaml

from tidegate.deploy.cloudformation.template_text import parse_template

SHORT = """\
AWSTemplateFormatVersion: 2010-09-09
Conditions:
  Here: !Equals [!Ref AWS::Region, us-west-2]
Resources:
  Raw:
    Type: AWS::S3::Bucket
    Condition: Here
    Properties:
      BucketName: !Sub "raw-${AWS::AccountId}"
      VersioningConfiguration: {Status: Enabled}
      Tags:
      - {Key: account, Value: 012345678901}
      - {Key: at, Value: 1:30}
      - {Key: no, Value: no}
      - {Key: empty, Value: }
  Policy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Raw
      PolicyDocument:
        Version: 2012-10-17
        Statement:
        - Effect: Deny
          Resource: !GetAtt Raw.Arn
          Condition: {Bool: {"aws:SecureTransport": false}, NumericLessThan: {x: 1.5, y: 12}}
        - !If [Here, !Join ["", [a, !GetAtt [Raw, Arn]]], !Ref AWS::NoValue]
"""


def test_short_forms_and_what_is_text():
    template = parse_template(SHORT)
    assert json.loads(json.dumps(template)) == template, "it can be sent as JSON"
    assert template["AWSTemplateFormatVersion"] == "2010-09-09"
    assert template["Conditions"]["Here"] == {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-west-2"]}
    raw = template["Resources"]["Raw"]
    assert raw["Condition"] == "Here"
    assert raw["Properties"]["BucketName"] == {"Fn::Sub": "raw-${AWS::AccountId}"}
    assert [tag["Value"] for tag in raw["Properties"]["Tags"]] == [
        *("012345678901", "1:30", "no"),
        None,
    ]
    document = template["Resources"]["Policy"]["Properties"]["PolicyDocument"]
    assert document["Version"] == "2012-10-17"
    first, second = document["Statement"]
    assert first["Resource"] == {"Fn::GetAtt": ["Raw", "Arn"]}
    assert first["Condition"] == {
        "Bool": {"aws:SecureTransport": False},
        "NumericLessThan": {"x": 1.5, "y": 12},
    }
    joined = {"Fn::Join": ["", ["a", {"Fn::GetAtt": ["Raw", "Arn"]}]]}
    assert second == {"Fn::If": ["Here", joined, {"Ref": "AWS::NoValue"}]}


LONG = {
    "Resources": {
        "A": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Ref": "X"}}},
        "B": {"N": 1, "F": -2.5, "T": True, "S": "true", "Z": "007", "D": "2012-10-17", "E": ""},
    }
}


@pytest.mark.parametrize("body", [LONG, json.dumps(LONG), yaml.safe_dump(LONG)])
def test_the_same_in_each_form(body):
    assert parse_template(body) == LONG


def test_a_mapping_is_copied():
    body = {"Resources": {}}
    parse_template(body)["Resources"]["A"] = 1
    assert body == {"Resources": {}}


@pytest.mark.parametrize("body", ["", "no mapping", "[1]", "a: [", "a: *b", "{"])
def test_no_template(body):
    with pytest.raises(ValueError):  # noqa: PT011  whatever YAML says of it
        parse_template(body)
