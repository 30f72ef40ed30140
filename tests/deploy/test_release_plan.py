"""The plan: every resource, without the CDK."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_text import plan_text
from release_samples import (
    DIGEST,
    KEYS,
    OPTIONS,
    REGION,
    ingest,
    many,
    plan_of,
    several,
    texts,
    vap,
)

from tidegate.config.models import AwsKeys
from tidegate.deploy.core.place import Place
from tidegate.deploy.design import metrics, placement
from tidegate.deploy.design.model import ConfigResources, Image, Plan
from tidegate.deploy.design.plan import OVERHEAD, Options, plan_release
from tidegate.deploy.design.roles import literal
from tidegate.errors import ConfigurationError
from tidegate.runtime.events import ScheduleDue
from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.targets.aws.messages import FunctionScope, read
from tidegate.targets.aws.settings import Settings

ANY_TIME = datetime(2026, 11, 23, 4, tzinfo=timezone.utc)


def only(config: Config, **more: object) -> ConfigResources:
    [stack] = plan_of(config, **more).stacks  # type: ignore[arg-type]
    [resources] = stack.configs
    return resources


def statements(resources: ConfigResources) -> dict[str, set[tuple[str, str]]]:
    """By statement, each action on each resource."""
    return {
        statement.sid: {(action, on) for action in statement.actions for on in statement.resources}
        for statement in resources.role.statements
    }


def test_describe_one(snapshot: Callable[[str, str], None]) -> None:
    snapshot("plan-one.txt", plan_text(plan_of(ingest(expect_every=1200))))


def test_describe_several(snapshot: Callable[[str, str], None]) -> None:
    snapshot("plan-several.txt", plan_text(plan_of(*several())))


class TestFunction:
    def test_names_and_limits(self) -> None:
        config = ingest(timeout=120, memory=3008)
        function = only(config).function
        assert function.name == "waves-main-lambda-buoy-morro"
        assert function.log_group == "/aws/lambda/waves-main-lambda-buoy-morro"
        assert (function.memory, function.timeout) == (3008, 120 + OVERHEAD)
        assert function.image.endswith(f".dkr.ecr.{REGION}.amazonaws.com/waves-main@{DIGEST}")

    def test_time_is_limited_by_lambda(self) -> None:
        assert only(ingest(timeout=900)).function.timeout == 900

    def test_names_are_shortened(self) -> None:
        config = ingest("a" * 60, "b" * 60)
        resources = only(config)
        assert len(resources.function.name) == 64
        assert len(resources.queue.name) <= 80
        assert len(resources.role.name) <= 64

    def test_environment_is_the_recipes(self) -> None:
        function = only(ingest()).function
        assert function.environment["PIPELINE_NAME"] == "buoy"
        assert function.environment["CONFIG_ID"] == "morro"
        assert function.environment["CODE_VERSION"] == "4f2a9c1"
        assert function.environment["TSDAT_S3_BUCKET_NAME"] == "waves-products"
        assert function.environment["BRANCH"] == "main"
        assert function.environment["RETAIN_INPUT_FILES"] == "true"
        assert function.environment["LOG_LEVEL"] == "INFO"

    @pytest.mark.parametrize("config", several(), ids=lambda config: config.id)
    def test_the_function_understands_its_environment(self, config: Config) -> None:
        settings = Settings.read(only(config).function.environment)
        assert settings.config == config
        assert settings.output_bucket == "waves-products"
        assert settings.input_bucket == ("" if config.kind == "VAP" else "waves-raw")
        assert settings.table == plan_of(config).table

    def test_records_of_runs_are_kept_for_a_year_or_for_so_many_days(self) -> None:
        environment = only(ingest()).function.environment
        assert Settings.read(environment).keep_runs == timedelta(days=365)
        keys = KEYS.model_copy(update={"keep_runs": 30})
        environment = only(ingest(), keys=keys).function.environment
        assert Settings.read(environment).keep_runs == timedelta(days=30)

    def test_processor_and_disk(self) -> None:
        plain = only(ingest()).function
        assert (plain.architecture, plain.ephemeral_storage) == ("x86_64", 2048)
        chosen = only(ingest(architecture="arm64", ephemeral_storage=4096)).function
        assert (chosen.architecture, chosen.ephemeral_storage) == ("arm64", 4096)

    def test_an_environment_that_is_too_long(self) -> None:
        with pytest.raises(ConfigurationError, match="too long"):
            only(ingest(environment={"TABLE": "x" * 4000}))

    def test_one_at_a_time(self) -> None:
        resources = only(ingest(concurrency=1))
        assert resources.function.reserved == 1
        assert resources.queue.concurrency == 2  # the least that SQS takes

    def test_one_alarm_for_throttles_which_leaves_out_what_is_throttled_on_purpose(self) -> None:
        [stack] = plan_of(ingest()).stacks
        alarm = stack.alarms[0]
        assert (alarm.metrics[0].name, dict(alarm.metrics[0].dimensions)) == ("Throttles", {})
        assert (len(alarm.metrics), alarm.expression) == (1, "")
        [stack] = plan_of(ingest(concurrency=1), vap()).stacks
        alarm = stack.alarms[0]
        assert [metric.dimensions.get("FunctionName") for metric in alarm.metrics] == [
            None,
            "waves-main-lambda-buoy-morro",
        ]
        assert alarm.expression == "m0 - SUM([m1])"
        stacks = plan_of(*(ingest(f"site{n}", concurrency=1) for n in range(10))).stacks
        about = [alarm.about for stack in stacks for alarm in stack.alarms]
        assert about == []  # an alarm takes ten metrics
        first, *others = plan_of(*many(70)).stacks
        assert others
        assert [len(stack.alarms) for stack in (first, *others)] == [1, *(0 for _ in others)]

    def test_an_image_goes_by_its_digest(self) -> None:
        with pytest.raises(ValueError, match="digest"):
            Image("buoy-main")

    def test_an_image_names_its_own_commit(self) -> None:
        """So a push that leaves a pipeline alone leaves its functions alone."""
        images = {"buoy": Image(DIGEST, commit="0ldc0de")}
        environment = only(ingest(), images=images).function.environment
        assert environment["CODE_VERSION"] == "0ldc0de"
        assert only(ingest()).function.environment["CODE_VERSION"] == OPTIONS.code_version

    def test_no_image(self) -> None:
        with pytest.raises(ConfigurationError, match="no image of the pipeline buoy"):
            plan_release(KEYS, Manifest((ingest(),)), "main", {})


class TestQueue:
    @given(st.integers(1, 900), st.integers(0, 100))
    def test_limits(self, timeout: int, retries: int) -> None:
        resources = only(ingest(timeout=timeout, retries=retries))
        assert 6 * resources.function.timeout <= resources.queue.visibility <= 43_200
        assert retries < resources.queue.receives <= 1000
        assert resources.queue.retention == 14 * 86_400

    def test_concurrency(self) -> None:
        assert only(ingest(concurrency=40)).queue.concurrency == 40
        assert only(ingest()).queue.concurrency == OPTIONS.concurrency


class TestTriggers:
    def test_files(self) -> None:
        rule = only(ingest()).rule
        assert rule is not None
        assert rule.pattern == {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {
                "bucket": {"name": ["waves-raw"]},
                "object": {"key": [{"prefix": "buoy/morro/"}]},
            },
        }
        assert not only(ingest()).schedules

    def test_schedule(self) -> None:
        config = vap(schedule="15 */6 * * 1-5")
        [schedule] = only(config).schedules
        assert schedule.expression == "cron(15 0,6,12,18 ? * 2-6 *)"
        assert only(config).rule is None

    def test_the_function_understands_the_schedule(self) -> None:
        [schedule] = only(vap()).schedules
        message = schedule.message.replace("<aws.scheduler.scheduled-time>", "2026-11-23T04:00:00Z")
        [told] = read(message, ANY_TIME + timedelta(days=1), FunctionScope(vap(), ""))
        assert told == ScheduleDue("wave_vap/morro", ANY_TIME)

    def test_two_schedules_have_names_of_their_own(self) -> None:
        both = only(texts(schedule="0 3 1 * MON")).schedules
        assert len({schedule.name for schedule in both}) == 2
        assert all(re.fullmatch(r"[\w.-]{1,64}", schedule.name) for schedule in both)


class TestRole:
    def test_an_ingest_reads_its_prefix_only(self) -> None:
        on = statements(only(ingest()))
        assert on["ReadInputs"] == {("s3:GetObject", "arn:aws:s3:::waves-raw/buoy/morro/*")}
        reads = {r for pairs in on.values() for action, r in pairs if "GetObject" in action}
        assert reads == {"arn:aws:s3:::waves-raw/buoy/morro/*"}

    def test_listing_is_held_to_the_prefix(self) -> None:
        [listing] = [s for s in only(ingest()).role.statements if s.sid == "ListInputs"]
        assert listing.condition == {"StringLike": {"s3:prefix": "buoy/morro/*"}}

    def test_keys_of_ones_own_are_used_through_s3_for_the_branchs_buckets_only(self) -> None:
        [stack] = plan_of(ingest(), vap(), texts()).stacks
        for config in stack.configs:
            found = {
                s.sid: s for s in config.role.statements if any("kms:" in a for a in s.actions)
            }
            reads = config.id == "buoy/morro"
            assert set(found) == {"EncryptProducts", *(["DecryptInputs"] if reads else [])}
            for sid, statement in found.items():
                bucket = "waves-raw" if sid == "DecryptInputs" else "waves-products"
                assert statement.condition == {
                    "StringEquals": {"kms:ViaService": "s3.us-west-2.amazonaws.com"},
                    "StringLike": {
                        "kms:EncryptionContext:aws:s3:arn": [
                            f"arn:aws:s3:::{bucket}",
                            f"arn:aws:s3:::{bucket}/*",
                        ]
                    },
                }
                assert ("kms:GenerateDataKey" in statement.actions) == (sid == "EncryptProducts")

    def test_a_vap_reads_products_only(self) -> None:
        touched = {r for pairs in statements(only(vap())).values() for _, r in pairs}
        assert not any("waves-raw" in resource for resource in touched)
        assert ("s3:GetObject", "arn:aws:s3:::waves-products/*") in statements(only(vap()))[
            "ReadProducts"
        ]

    def test_texts_need_no_input_bucket(self) -> None:
        touched = {r for pairs in statements(only(texts())).values() for _, r in pairs}
        assert not any("waves-raw" in resource for resource in touched)

    @pytest.mark.parametrize("config", several(), ids=lambda config: config.id)
    def test_no_wildcards_without_a_reason(self, config: Config) -> None:
        for statement in only(config).role.statements:
            assert not any("*" in action for action in statement.actions)
            assert "*" not in statement.resources
            wild = any("*" in resource for resource in statement.resources)
            assert bool(statement.why) == wild

    def test_writes_go_to_the_output_bucket(self) -> None:
        for config in several():
            for pairs in statements(only(config)).values():
                for action, resource in pairs:
                    if action == "s3:PutObject":
                        assert resource == "arn:aws:s3:::waves-products/*"

    def test_products_are_deleted_below_the_storage_root_only(self) -> None:
        other = ingest(tsdat=Pipeline("a.B", storage_root="data/new"))
        for config, root in (
            (ingest(), "storage/root"),
            (vap(), "storage/root"),
            (other, "data/new"),
        ):
            pairs = {pair for pairs in statements(only(config)).values() for pair in pairs}
            deleted = {resource for action, resource in pairs if action == "s3:DeleteObject"}
            assert deleted == {f"arn:aws:s3:::waves-products/{root}/*"}

    def test_only_its_own_queue(self) -> None:
        for config in several():
            resources = only(config)
            queues = {
                on
                for pairs in statements(resources).values()
                for action, on in pairs
                if action.startswith("sqs:")
            }
            assert queues == {resources.queue.arn}

    def test_a_prefix_is_taken_literally(self) -> None:
        assert literal("a$b/") == "a${$}b/"

    def test_partitions(self) -> None:
        assert Place("1" * 12, "cn-north-1").bucket("b").startswith("arn:aws-cn:")
        assert Place("1" * 12, "us-gov-west-1").partition == "aws-us-gov"


class TestAlarms:
    def test_each_config_has_one(self) -> None:
        """Each costs $0.10 a month. The sweep tells people about the rest."""
        plan = plan_of(vap(), ingest(expect_every=30 * 86_400))
        for config in plan.configs:
            assert [alarm.about for alarm in config.alarms] == ["age"]
        assert [a.about for a in plan.stacks[0].alarms] == ["throttles"]
        assert all(len(alarm.metrics) == 1 for config in plan.configs for alarm in config.alarms)

    def test_metrics_are_the_functions(self) -> None:
        function = pytest.importorskip("tidegate.targets.aws.reporting")
        assert function.NAMESPACE == metrics.NAMESPACE

    def test_branches_have_metrics_of_their_own(self) -> None:
        one, other = (only(ingest(), branch=branch).monitored for branch in ("main", "dev"))
        assert one.own_metric("Failures") != other.own_metric("Failures")
        environment = only(ingest()).function.environment
        assert environment[metrics.SERVICE] == one.own_metric("Failures").dimensions["service"]

    def test_powertools_sends_these_dimensions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        powertools = pytest.importorskip("aws_lambda_powertools")
        resources = only(ingest())
        name = metrics.SERVICE
        monkeypatch.setenv(name, resources.function.environment[name])
        sender = powertools.Metrics(namespace=metrics.NAMESPACE)
        sender.set_default_dimensions(pipeline="buoy", config="morro")
        sender.add_metric(name="Failures", unit="Count", value=1)
        sent = sender.serialize_metric_set()
        [told] = sent["_aws"]["CloudWatchMetrics"]
        watched = resources.monitored.own_metric("Failures").dimensions
        assert {name: sent[name] for [*names] in told["Dimensions"] for name in names} == watched
        sender.clear_metrics()

    def test_without_metric_math(self) -> None:
        alarms = only(ingest(expect_every=60), options=Options(metric_math=False)).alarms
        assert not any(alarm.expression for alarm in alarms)
        assert all(len(alarm.metrics) == 1 for alarm in alarms)


class TestDashboard:
    def test_within_cloudwatchs_limits(self) -> None:
        for stack in plan_of(*many(100)).stacks:
            widgets = json.loads(stack.dashboard_body)["widgets"]
            drawn = [w["properties"].get("metrics", []) for w in widgets]
            assert len(widgets) <= 500
            assert all(len(lines) <= 500 for lines in drawn)
            assert sum(map(len, drawn)) <= 2500
            assert all(len(w["properties"].get("alarms", [])) <= 100 for w in widgets)
            assert all(w["x"] + w["width"] <= 24 for w in widgets)

    def test_every_config_is_on_it(self) -> None:
        plan = plan_of(*many(45))
        shown = {
            line[-1]["label"]
            for stack in plan.stacks
            for widget in json.loads(stack.dashboard_body)["widgets"]
            for line in widget["properties"].get("metrics", [])
        }
        assert shown == {config.id for config in many(45)}


class TestPlacement:
    @pytest.mark.parametrize("count", [1, 32, 33, 100, 300])
    def test_no_stack_is_too_large(self, count: int) -> None:
        plan = plan_of(*many(count))
        assert len(plan.stacks) == -(-count // 32)
        assert all(stack.count <= placement.STACK_LIMIT for stack in plan.stacks)
        assert len({stack.name for stack in plan.stacks}) == len(plan.stacks)
        assert plan.stacks[0].name == "waves-main-PipelinesStack"

    def test_another_config_moves_none(self) -> None:
        before = where(plan_of(*many(100)))
        after = where(plan_of(vap("new", "a_vap"), *many(100), present=before))
        assert {id: after[id] for id in before} == before
        assert after["a_vap/new"] == 4  # where there is room

    def test_a_place_that_is_free_is_taken(self) -> None:
        before = where(plan_of(*many(40)))
        fewer = [config for config in many(40) if config.name != "site3"]
        after = where(plan_of(*fewer, ingest("new"), present=before))
        assert after["buoy/new"] == 1
        assert all(after[id] == stack for id, stack in before.items() if id in after)

    @given(st.lists(st.integers(0, 30), unique=True), st.lists(st.integers(0, 30), unique=True))
    def test_stays_where_it_is(self, first: list[int], second: list[int]) -> None:
        before = placement.assign_stacks({str(n): 15 for n in first}, room=60)
        after = placement.assign_stacks({str(n): 15 for n in second}, before, room=60)
        assert all(after[id] == stack for id, stack in before.items() if id in after)
        sizes = [list(after.values()).count(stack) for stack in set(after.values())]
        assert max(sizes, default=0) <= 4

    def test_read_back_from_templates(self) -> None:
        metadata = [
            json.dumps({placement.METADATA: placement.metadata(["a/b", "a/c"], 1)}),
            {placement.METADATA: placement.metadata(["d/e"], 2)},
            "",
        ]
        assert placement.read_stack_numbers(metadata) == {"a/b": 1, "a/c": 1, "d/e": 2}


class TestBranches:
    def test_share_no_name(self) -> None:
        main, dev = (names(plan_of(*several(), branch=branch)) for branch in ("main", "dev"))
        assert len(main) == len(dev) > 20
        assert not main & dev

    def test_keys_are_needed(self) -> None:
        with pytest.raises(ValueError, match="region"):
            plan_of(ingest(), keys=AwsKeys(pipelines_repo_name="waves"))

    def test_tags_are_what_aws_takes(self) -> None:
        assert plan_of(ingest(), branch="fix/#12").tags["branch"] == "fix/-12"


def where(plan: Plan) -> dict[str, int]:
    return {config.id: stack.number for stack in plan.stacks for config in stack.configs}


def names(plan: Plan) -> set[str]:
    found = set()
    for stack in plan.stacks:
        found |= {stack.name, stack.dashboard, stack.schedule_group}
        found |= {stack.scheduler.name} if stack.scheduler else set()
        if stack.arrivals:
            found |= {stack.arrivals.bus, stack.arrivals.rule.name, stack.arrivals.role.name}
            found |= {stack.arrivals.dead_letters}
        for c in stack.configs:
            found |= {c.function.name, c.function.log_group, c.role.name}
            found |= {c.queue.name, c.queue.dead_letters}
            found |= {alarm.name for alarm in c.alarms}
            found |= {schedule.name for schedule in c.schedules}
            found |= {c.rule.name} if c.rule else set()
    return found
