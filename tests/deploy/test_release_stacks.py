"""The templates of the pipelines stacks: what is in them, and what checks say about them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from release_checks import (
    brief,
    check_by_cfn_lint,
    listed,
    of_type,
    resources,
    statements,
)
from release_samples import ingest, many, plan_of, several, vap

from tidegate.deploy.design import placement
from tidegate.deploy.design.model import Plan, Zip
from tidegate.deploy.design.plan import Options
from tidegate.deploy.design.templates import LARGEST, Template, synthesize
from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import NoticeSettings, Pipeline
from tidegate.targets.aws.swept_config import read_event, read_undelivered

ZIP = {"wave_vap": Zip("waves-code", "abc.zip")}


@cache
def all_kinds() -> tuple[Plan, tuple[Template, ...]]:
    """One config of each kind, one from a zip file, and what the CodePipeline stack would bring."""
    options = Options(code_version="4f2a9c1", support=True)
    plan = plan_of(*several(), options=options, images=ZIP)
    return plan, synthesize(plan)


def test_template_of_one(snapshot: Callable[[str, str], None]) -> None:
    [template] = synthesize(plan_of(ingest(expect_every=1200)))
    snapshot("template-one.yaml", brief(template))


def test_resources_of_several(snapshot: Callable[[str, str], None]) -> None:
    _, [template] = all_kinds()
    lines = [f"{id}: {resource['Type']}" for id, resource in sorted(resources(template).items())]
    snapshot("template-several.txt", "\n".join(lines) + "\n")


def test_cloudformation_reads_no_secrets_for_pipelines() -> None:
    """It would replace such a text in a template, with the rights of who deploys."""
    secret = "{{resolve:secretsmanager:theirs}}"
    for config in (ingest(environment={"A": secret}), vap(tsdat=Pipeline("a.B", (secret,)))):
        with pytest.raises(ConfigurationError):
            synthesize(plan_of(config))


class TestTemplate:
    @pytest.fixture
    def template(self) -> Template:
        return all_kinds()[1][0]

    def test_holds_what_was_planned(self, template: Template) -> None:
        plan = all_kinds()[0]
        assert len(resources(template)) == plan.stacks[0].count

    def test_needs_no_bootstrap_and_no_assets(self, template: Template) -> None:
        data = json.loads(template.body)
        assert not {"Parameters", "Rules", "Conditions"} & set(data)
        assert "cdk-hnb659fds" not in template.body

    def test_says_what_it_holds(self, template: Template) -> None:
        metadata = json.dumps(json.loads(template.body)["Metadata"])
        assert placement.read_stack_numbers([metadata]) == {config.id: 1 for config in several()}

    def test_no_wildcard_action_is_allowed(self, template: Template) -> None:
        roles = of_type(template, "IAM::Role").values()
        documents = [policy["PolicyDocument"] for role in roles for policy in role["Policies"]]
        documents += [role["AssumeRolePolicyDocument"] for role in roles]
        documents += [p["PolicyDocument"] for p in of_type(template, "SQS::QueuePolicy").values()]
        for statement in (s for document in documents for s in statements(document)):
            if statement["Effect"] == "Allow":
                assert not any("*" in action for action in listed(statement["Action"]))
                assert "*" not in listed(statement.get("Resource", []))
                assert statement.get("Principal") != "*"
        assert not any("ManagedPolicyArns" in role for role in roles)

    def test_queues(self, template: Template) -> None:
        queues = of_type(template, "SQS::Queue")
        feeding = {id: queue for id, queue in queues.items() if "RedrivePolicy" in queue}
        del queues["ArrivalsDeadLetters"]
        assert len(queues) == 2 * len(feeding) == 2 * len(several())
        for queue in queues.values():
            assert queue["SqsManagedSseEnabled"] is True
            assert queue["MessageRetentionPeriod"] == 14 * 86_400
        for queue in feeding.values():
            target, _ = queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"]
            assert target in set(queues) - set(feeding)

    def test_every_queue_is_by_tls_only(self, template: Template) -> None:
        secured = set()
        for policy in of_type(template, "SQS::QueuePolicy").values():
            assert any(
                s["Effect"] == "Deny"
                and s["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                for s in statements(policy["PolicyDocument"])
            )
            secured |= {queue["Ref"] for queue in policy["Queues"]}
        assert secured == set(of_type(template, "SQS::Queue"))

    def test_mappings(self, template: Template) -> None:
        queues = of_type(template, "SQS::Queue")
        functions = of_type(template, "Lambda::Function")
        for mapping in of_type(template, "Lambda::EventSourceMapping").values():
            assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            assert mapping["ScalingConfig"]["MaximumConcurrency"] >= 2
            queue = queues[mapping["EventSourceArn"]["Fn::GetAtt"][0]]
            function = functions[mapping["FunctionName"]["Ref"]]
            assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]

    def test_functions(self, template: Template) -> None:
        logs = of_type(template, "Logs::LogGroup")
        for function in of_type(template, "Lambda::Function").values():
            variables = function["Environment"]["Variables"]
            if not function["FunctionName"].endswith("-lambda--sweep"):
                assert variables["TIDEGATE_QUEUE_URL"]["Ref"] in of_type(template, "SQS::Queue")
            group = logs[function["LoggingConfig"]["LogGroup"]["Ref"]]
            assert group["LogGroupName"] == f"/aws/lambda/{function['FunctionName']}"
            assert group["RetentionInDays"] == 90
            if "ImageUri" in function["Code"]:
                assert "@sha256:" in function["Code"]["ImageUri"]
                assert function["PackageType"] == "Image"

    def test_triggers_end_in_their_own_queue(self, template: Template) -> None:
        queues = of_type(template, "SQS::Queue")
        for id, rule in of_type(template, "Events::Rule").items():
            [target] = rule["Targets"]
            if id == "ArrivalsRule":
                assert target["Arn"] == {"Fn::GetAtt": ["EventBus", "Arn"]}
                continue
            assert rule["EventBusName"] == {"Ref": "EventBus"}
            name = queues[target["Arn"]["Fn::GetAtt"][0]]["QueueName"]
            assert name == rule["Name"].replace("-rule-", "-queue-")
            assert target["DeadLetterConfig"]
        for logical, schedule in of_type(template, "Scheduler::Schedule").items():
            assert schedule["ScheduleExpressionTimezone"] == "UTC"
            assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
            if logical == "SweepSchedule":
                assert schedule["Target"]["Arn"] == {"Fn::GetAtt": ["SweepFunction", "Arn"]}
                continue
            id = json.loads(schedule["Target"]["Input"])["tidegate"]["schedule"]
            name = queues[schedule["Target"]["Arn"]["Fn::GetAtt"][0]]["QueueName"]
            assert name == f"waves-main-queue-{id.replace('/', '-')}"
        assert len(of_type(template, "Scheduler::Schedule")) == 4  # one takes two; the sweep

    def test_the_sweep_is_given_the_configs_of_its_stack(self, template: Template) -> None:
        """As the function reads them, with the names of the queues that are in the template."""
        given = of_type(template, "Scheduler::Schedule")["SweepSchedule"]["Target"]["Input"]
        found = read_event(json.loads(given))
        assert tuple(swept.config for swept in found) == several()
        quiet = NoticeSettings(quiet="22:00-06:00")
        configs = several()
        planned = plan_of(*configs, notices={configs[0].id: quiet}).stacks[0].sweep
        found = read_event(json.loads(planned.schedule.message))
        assert [swept.notices for swept in found] == [quiet, *[NoticeSettings()] * 3]
        queues = {queue["QueueName"] for queue in of_type(template, "SQS::Queue").values()}
        named = {name for swept in found for name in (swept.queue, swept.dead_letters)}
        assert named | {read_undelivered(json.loads(given))} == queues
        [one] = synthesize(plan_of(ingest()))
        function = of_type(one, "Lambda::Function")["SweepFunction"]
        module, _, name = function["ImageConfig"]["Command"][0].rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))

    def test_alarms_go_to_the_topic(self, template: Template) -> None:
        for alarm in of_type(template, "CloudWatch::Alarm").values():
            topic = "arn:aws:sns:us-west-2:123456789012:waves-main-alerts"
            assert alarm["AlarmActions"] == [topic]
            of_sweep = alarm["AlarmName"].endswith("-alarm-sweep")
            assert alarm.get("InsufficientDataActions", []) == [topic] * of_sweep
            assert "MetricName" in alarm or alarm["Metrics"][-1]["ReturnData"] is True

    def test_tags(self, template: Template) -> None:
        untaggable = {
            "AWS::SQS::QueuePolicy",
            "AWS::SNS::TopicPolicy",
            "AWS::Scheduler::Schedule",  # its group has them
        }
        shared = {
            *("Alerts", "Dashboard", "Ledger", "SchedulerRole", "Schedules", "ThrottlesAlarm"),
            *("DeadLettersAlarm", "SilenceAlarm", "SweepAlarm"),
            *("SweepFunction", "SweepLogs", "SweepRole"),
            *("ArrivalsDeadLetters", "ArrivalsRule", "EventBus", "EventsRole"),
        }
        for id, resource in resources(template).items():
            if resource["Type"] in untaggable:
                continue
            tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
            assert tags["repository"] == "waves"
            assert tags["branch"] == "main"
            assert ({"pipeline", "config"} <= set(tags)) != (id in shared), id

    def test_the_ledger_is_kept(self, template: Template) -> None:
        [table] = [r for r in resources(template).values() if r["Type"] == "AWS::DynamoDB::Table"]
        assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
        properties = table["Properties"]
        assert properties["DeletionProtectionEnabled"] is True
        recovery = properties["PointInTimeRecoverySpecification"]
        assert recovery == {"PointInTimeRecoveryEnabled": True}

    def test_two_branches_share_nothing(self, template: Template) -> None:
        [other] = synthesize(plan_of(*several(), branch="dev", images=ZIP))
        here, there = named(template), named(other)
        assert here
        assert there
        assert not here & there
        assert not of_type(template, "S3::Bucket")  # nor is any bucket's configuration touched


def named(template: Template) -> set[tuple[str, str]]:
    found = set()
    for resource in resources(template).values():
        for key, value in resource["Properties"].items():
            if key.endswith("Name") and isinstance(value, str) and key != "MetricName":
                found.add((resource["Type"], value))
    return found


@pytest.mark.functional
def test_cfn_lint(tmp_path: Path) -> None:
    one = synthesize(plan_of(ingest(expect_every=1200)))
    [last] = synthesize(plan_of(*several(), branch="dev"))
    check_by_cfn_lint([*all_kinds()[1], *one, last], tmp_path)


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_many(count: int) -> None:
    """Within CloudFormation's limits, however many configs there are."""
    plan = plan_of(*many(count))
    templates = synthesize(plan)
    assert [template.stack for template in templates] == [stack.name for stack in plan.stacks]
    for template, stack in zip(templates, plan.stacks):
        assert len(resources(template)) == stack.count <= 500
        assert len(template.body.encode()) <= LARGEST
        for role in of_type(template, "IAM::Role").values():
            for policy in role["Policies"]:
                size = len(json.dumps(policy["PolicyDocument"], separators=(",", ":")))
                assert size <= 10_240
    assert templates[0].needs_upload == (count > 1)


def test_another_config_changes_no_other_resource() -> None:
    before = plan_of(*many(4))
    [old] = synthesize(before)
    [new] = synthesize(plan_of(vap("new"), *many(4)))
    after = resources(new)
    changed = {id for id, resource in resources(old).items() if after.get(id) != resource}
    assert changed == {"Dashboard", "SchedulerRole", "SweepSchedule"}
