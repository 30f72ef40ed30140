"""Change sets in words, from records of the shape that AWS's API reference gives.

(``DescribeChangeSet``, ``ResourceChange``, ``ResourceChangeDetail``.) Change sets of the emulator
are in ``test_cloudformation_stacks``.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.deploy.cloudformation import change_report, changes
from tidegate.deploy.cloudformation.changes import Change, ChangeSet, read
from tidegate.deploy.cloudformation.differences import differences
from tidegate.deploy.resources import EMPTY

ID = "arn:aws:cloudformation:us-west-2:123456789012:changeSet/tidegate-1/2"


def describe(change_set: ChangeSet, *, whole: bool = False) -> str:
    return "".join(f"{line.text}\n" for line in change_report.lines(change_set, whole=whole))


def template(*configs: str, **resources: Any) -> dict[str, Any]:
    return {"Metadata": {"Tidegate": {"configs": list(configs)}}, "Resources": resources}


def tagged(pipeline: str, config: str) -> list[dict[str, str]]:
    return [{"Key": "config", "Value": config}, {"Key": "pipeline", "Value": pipeline}]


def queue(name: str, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name, **more}}


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": name, **more}}


def change(action: str, logical: str, kind: str, *details: Any, **more: Any) -> dict[str, Any]:
    entry = {
        "Action": action,
        "LogicalResourceId": logical,
        "ResourceType": kind,
        "Scope": [],
        "Details": list(details),
        **more,
    }
    return {"Type": "Resource", "ResourceChange": entry}


def detail(
    name: str,
    recreation: str = "Never",
    evaluation: str = "Static",
    source: str = "DirectModification",
    **more: str,
) -> dict[str, Any]:
    target = {"Attribute": "Properties", "Name": name, "RequiresRecreation": recreation}
    return {"Target": target, "Evaluation": evaluation, "ChangeSource": source, **more}


def refers(name: str, cause: str, recreation: str = "Never") -> dict[str, Any]:
    return detail(name, recreation, "Dynamic", "ResourceAttribute", CausingEntity=cause)


def page(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "ChangeSetId": ID,
        "Status": "CREATE_COMPLETE",
        "ExecutionStatus": "AVAILABLE",
        "Changes": list(entries),
        **more,
    }


def modified(logical: str, kind: str, *details: Any, replacement: str = "False") -> dict[str, Any]:
    return change("Modify", logical, kind, *details, Replacement=replacement)


QUEUE, FUNCTION, MAPPING = (
    "AWS::SQS::Queue",
    "AWS::Lambda::Function",
    "AWS::Lambda::EventSourceMapping",
)


def test_all_pages_and_each_kind() -> None:
    before = template(
        "buoy/morro",
        "buoy/old",
        buoymorroQueue1=queue("q", VisibilityTimeout=60),
        buoymorroFunction1=function("f", MemorySize=1024, Code={"ImageUri": "a"}),
        buoyoldQueue1=queue("old"),
    )
    after = template(
        "buoy/morro",
        Dashboard={"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardName": "d"}},
        buoymorroQueue1=queue("q2", VisibilityTimeout=60),
        buoymorroFunction1=function("f", MemorySize=2048, Code={"ImageUri": "b"}),
    )
    pages = [
        page(
            change("Add", "Dashboard", "AWS::CloudWatch::Dashboard"),
            modified("buoymorroFunction1", FUNCTION, detail("MemorySize"), detail("Code")),
            NextToken="more",
        ),
        page(
            modified("buoymorroQueue1", QUEUE, detail("QueueName", "Always"), replacement="True"),
            change("Remove", "buoyoldQueue1", QUEUE, PolicyAction="Delete"),
        ),
    ]
    found = read("waves", pages, before=before, after=after)
    assert found.kind == "UPDATE"
    assert found.id == ID
    assert found.counts == {"created": 1, "changed": 1, "replaced": 1, "removed": 1}
    assert [c.name for c in found.endangered] == ["q2", "old"]
    assert describe(found) == (
        "stack waves: 1 created, 1 changed, 1 replaced, 1 removed; 2 of them are not empty\n"
        "  shared by all configs\n"
        "    + dashboard d\n"
        "  buoy/morro\n"
        "    ~ function f\n"
        "        MemorySize: 1024 -> 2048\n"
        "        Code.ImageUri: a -> b\n"
        "    ± queue q2 (replaced): all its messages will be lost\n"
        "        because QueueName cannot be changed in place\n"
        "        QueueName: q -> q2\n"
        "  buoy/old\n"
        "    - queue old (removed): all its messages will be lost\n"
    )


def test_what_is_known_of_contents_is_said_and_empty_is_no_danger() -> None:
    before = template("a/b", Q1=queue("one"), Q2=queue("two"), Q3=queue("three"))
    entries = [
        change("Remove", "Q1", QUEUE, PolicyAction="Delete"),
        change("Remove", "Q2", QUEUE, PolicyAction="Delete"),
        change("Remove", "Q3", QUEUE, PolicyAction="Retain"),
    ]
    found = read("s", [page(*entries)], before=before, after=template())
    told = changes.with_contents(found, {"Q1": "12 messages", "Q2": EMPTY})
    assert [(c.name, c.lost) for c in told.endangered] == [("one", "12 messages will be lost")]
    marks = {
        line.text.split()[2]: line.mark
        for line in change_report.lines(told)
        if "queue" in line.text
    }
    assert marks == {"one": "danger", "two": "removed", "three": "removed"}
    assert "three (removed), kept outside the stack" in describe(told)


def test_what_only_refers_to_what_changes_in_place_is_not_affected() -> None:
    """A queue's timeout changes; its mapping, and what refers to that, are listed by AWS."""
    before = template(
        "a/b",
        Q=queue("q", VisibilityTimeout=1),
        M={"Type": MAPPING, "Properties": {"EventSourceArn": {"Fn::GetAtt": ["Q", "Arn"]}}},
        N={"Type": MAPPING, "Properties": {"FunctionName": {"Ref": "M"}}},
    )
    after = json.loads(
        json.dumps(before).replace('"VisibilityTimeout": 1', '"VisibilityTimeout": 2')
    )
    pages = [
        page(
            modified("N", MAPPING, refers("FunctionName", "M"), replacement="Conditional"),
            modified(
                "M",
                MAPPING,
                refers("EventSourceArn", "Q.Arn", "Always"),
                # AWS adds this where a reference is; the template is the same.
                detail("EventSourceArn", "Always", "Dynamic"),
                replacement="Conditional",
            ),
            modified("Q", QUEUE, detail("VisibilityTimeout")),
        )
    ]
    found = read("s", pages, before=before, after=after)
    assert {c.logical: c.kind for c in found.changes} == {
        "Q": "changed",
        "M": "unaffected",
        "N": "unaffected",
    }
    assert "2 more" in describe(found).splitlines()[-1]


def test_what_refers_to_what_is_replaced_may_be_replaced() -> None:
    before = template(
        Q=queue("q"),
        M={"Type": MAPPING, "Properties": {"EventSourceArn": {"Fn::GetAtt": ["Q", "Arn"]}}},
    )
    after = template(Q=queue("p"), M=before["Resources"]["M"])
    pages = [
        page(
            modified("Q", QUEUE, detail("QueueName", "Always"), replacement="True"),
            modified(
                "M", MAPPING, refers("EventSourceArn", "Q.Arn", "Always"), replacement="Conditional"
            ),
        )
    ]
    mapping = next(
        c for c in read("s", pages, before=before, after=after).changes if c.type == MAPPING
    )
    assert mapping.kind == "perhaps replaced"
    assert mapping.why == "EventSourceArn (from Q.Arn) cannot be changed in place"
    assert not mapping.endangers


def test_a_reference_that_changes_itself_counts() -> None:
    before = template(Q=queue("q"), F=function("f", Role={"Fn::GetAtt": ["R", "Arn"]}))
    after = template(Q=queue("q"), F=function("f", Role={"Fn::GetAtt": ["S", "Arn"]}))
    pages = [page(modified("F", FUNCTION, detail("Role", evaluation="Dynamic")))]
    [found] = read("s", pages, before=before, after=after).changes
    assert found.kind == "changed"
    assert [str(d) for d in found.differences] == ["Role: Arn of R -> Arn of S"]


def test_a_replacement_that_aws_will_refuse_is_told_before() -> None:
    before = template(F=function("f", PackageType="Zip"))
    after = template(F=function("f", PackageType="Image"))
    pages = [
        page(modified("F", FUNCTION, detail("PackageType", "Always"), replacement="True")),
    ]
    found = read("s", pages, before=before, after=after)
    assert "function f" in found.notes[0]


def test_only_what_the_stack_says_of_itself() -> None:
    """AWS makes a change set without changes when only outputs or metadata are different."""
    found = read("s", [page()], before=template(), after=template("a/b"))
    assert not found.empty
    assert found.counts == {}


def test_nothing_to_change() -> None:
    """AWS fails such a change set."""
    told = page(Status="FAILED", ExecutionStatus="UNAVAILABLE")
    found = read("s", [told], before=template(Q=queue("q")), after=template(Q=queue("q")))
    assert found.empty
    assert describe(found) == "stack s: nothing to change\n"


@pytest.mark.parametrize("action", ["Dynamic", "SyncWithActual", "Import"])
def test_other_actions(action: str) -> None:
    found = read("s", [page(change(action, "Q", QUEUE))], before=template(Q=queue("q")))
    kinds = {
        "Dynamic": "perhaps replaced",
        "SyncWithActual": "unaffected",
        "Import": "imported",
    }
    assert [c.kind for c in found.changes] == [kinds[action]]


def test_owners_by_tags_and_by_logical_ids() -> None:
    """Two configs whose logical ids begin alike: tags tell, and else the longer name."""
    found = changes.owners(
        template(
            "buoy/morro",
            "buoy/morro_bay",
            Alerts={"Type": "AWS::SNS::Topic"},
            buoymorrobayQueue1=queue("a"),
            buoymorrobayX=queue("b", Tags=tagged("buoy", "morro")),
            buoymorroQueuePolicy1={"Type": "AWS::SQS::QueuePolicy"},
            F=function("f", Tags={"pipeline": "buoy", "config": "morro_bay"}),
            elsewhere=queue("c", Tags=tagged("no", "config")),
        )
    )
    assert found == {
        "buoymorrobayQueue1": "buoy/morro_bay",
        "buoymorrobayX": "buoy/morro",
        "buoymorroQueuePolicy1": "buoy/morro",
        "F": "buoy/morro_bay",
    }


def whole_config(name: str) -> dict[str, Any]:
    return {
        f"buoy{name}Function": function(f"f-{name}"),
        f"buoy{name}Queue": queue(f"q-{name}"),
        f"buoy{name}Dead": queue(f"d-{name}"),
        f"buoy{name}Logs": {"Type": "AWS::Logs::LogGroup"},
        f"buoy{name}Policy": {"Type": "AWS::SQS::QueuePolicy"},
        f"buoy{name}Other": {"Type": "AWS::SQS::QueuePolicy"},
    }


def test_a_config_that_comes_or_goes_altogether_is_one_line() -> None:
    made = changes.created("s", template("buoy/new", **whole_config("new")), ["mind this"])
    assert describe(made) == (
        "stack s (new): 6 created\n"
        "  mind this\n"
        "  + buoy/new (created): 2 queues, function, log group, 2 queue policies\n"
    )
    assert describe(made, whole=True).count("\n") == 9
    resources = [
        {"LogicalResourceId": id, "ResourceType": r["Type"], "PhysicalResourceId": f"x/{id}"}
        for id, r in whole_config("old").items()
    ]
    gone = changes.removal("s", resources, template("buoy/old", **whole_config("old")))
    told = changes.with_contents(gone, {"buoyoldQueue": "1 message", "buoyoldDead": "nothing"})
    assert describe(told) == (
        "stack s (will be deleted): 6 removed; 2 of them are not empty\n"
        "  - buoy/old (removed): 2 queues, function, log group, 2 queue policies\n"
        "    - log group x/buoyoldLogs (removed): all its logs will be lost\n"
        "    - queue q-old (removed): 1 message will be lost\n"
    )


def test_recreated_takes_the_place_of_what_aws_lists() -> None:
    found = ChangeSet("s", "UPDATE", (Change("changed", "F", FUNCTION),))
    told = changes.with_recreated(found, {"F": Change("recreated", "F", FUNCTION, "f")})
    assert [(c.logical, c.kind) for c in told.changes] == [("F", "recreated")]
    assert not told.empty


def test_json_says_all_that_the_text_does() -> None:
    found = changes.removal("s", [{"LogicalResourceId": "Q", "ResourceType": QUEUE}])
    data = json.loads(json.dumps(change_report.as_data(found)))
    assert data["counts"] == {"removed": 1}
    assert data["changes"][0]["endangers"] is True
    assert data["changes"][0]["what"] == "queue"


class TestDifferences:
    def told(self, before: Any, after: Any) -> list[str]:
        found = differences({"Properties": before}, {"Properties": after})
        return [str(difference) for difference in found]

    def test_looks_into_json_in_strings(self) -> None:
        old = {"Environment": {"Variables": {"M": json.dumps({"configs": [{"timeout": 900}]})}}}
        new = {"Environment": {"Variables": {"M": json.dumps({"configs": [{"timeout": 60}]})}}}
        assert self.told(old, new) == ["Environment.Variables.M.configs[0].timeout: 900 -> 60"]

    def test_tags_by_key(self) -> None:
        old, new = tagged("a", "b"), [*tagged("a", "c")]
        assert self.told({"Tags": old}, {"Tags": new}) == ["Tags.config: b -> c"]

    def test_what_comes_and_what_goes(self) -> None:
        assert self.told({"A": 1}, {"B": ""}) == ["A: 1 is removed", 'B: "" (new)']

    def test_digests_are_cut(self) -> None:
        old, new = "x@sha256:" + "a" * 64, "x@sha256:" + "b" * 64
        assert self.told({"I": old}, {"I": new}) == [
            "I: x@sha256:aaaaaaaaaaaa… -> x@sha256:bbbbbbbbbbbb…"
        ]

    def test_long_values_that_look_alike(self) -> None:
        old, new = "x" * 100 + "1" + "y" * 100, "x" * 100 + "2" + "y" * 100
        assert self.told({"A": old}, {"A": new}) == ["A changes"]

    def test_policies_count(self) -> None:
        found = differences({"DeletionPolicy": "Retain"}, {})
        assert [str(d) for d in found] == ["DeletionPolicy: Retain is removed"]

    def test_a_value_for_a_reference(self) -> None:
        assert self.told({"A": {"Ref": "Q"}}, {"A": "q"}) == ["A: reference to Q -> q"]
