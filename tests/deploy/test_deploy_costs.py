"""What a branch costs: from runs on record, from assumptions, and in words.

That a run makes as many requests as is reckoned is tested on the emulator, in
``test_aws_requests_of_a_run``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from release_samples import KEYS, ingest, plan_of, several, vap

from tidegate.deploy.costs import estimate as costs
from tidegate.deploy.costs import prices
from tidegate.deploy.costs.estimate import (
    POLLS,
    Estimate,
    Resources,
    describe,
    estimate,
    resources_of,
)
from tidegate.deploy.costs.usage import (
    Usage,
    assumed_usage,
    due,
    expected_usage,
    observed_usage,
)
from tidegate.deploy.design.plan import Options
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.runs import (
    ADOPTED,
    Failure,
    Input,
    Product,
    ProductRef,
    Run,
    RunRecord,
    State,
)

BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)
NOTHING = Resources(
    queues=0, alarm_metrics=0, dashboards=0, pipelines=0, builds=0, stored=0, images=0
)


def one(load: Usage, resources: Resources = NOTHING, **more: object) -> Estimate:
    return estimate({load.config: load}, resources, **more)  # type: ignore[arg-type]


def amount(found: Estimate, kind: str) -> float:
    return sum(line.amount for line in found.lines if line.price == kind)


def record(
    config: Config, at: datetime, *, seconds: float = 4.0, products: int = 2, tries: int = 1
) -> RunRecord:
    inputs = (Input(f"{config.input_path}{at:%H%M%S}.csv", "v", 1_000_000),)
    made = tuple(
        Product(f"{at:%d%H%M%S}.{n}", "ancillary", 500_000, "0" * 64) for n in range(products)
    )
    run = Run(config.id, inputs)
    return RunRecord(run, "succeeded", tries, at, tries, products=made, seconds={"total": seconds})


def hourly(config: Config, count: int, **more: object) -> list[RunRecord]:
    return [record(config, BEGIN + timedelta(hours=n), **more) for n in range(count)]  # type: ignore[arg-type]


class TestEstimate:
    def test_to_the_cent(self) -> None:
        """A thousand runs of 10 s with 2 GB: by hand."""
        load = Usage(
            "buoy/morro", runs=1000, billed=10, memory=2048, inputs=1, products=3,
            added_bytes=6e6,
        )  # fmt: skip
        found = one(load, replace(NOTHING, tmp={"buoy/morro": 2560}))
        assert amount(found, "lambda-x86") == 20_000
        assert amount(found, "lambda-requests") == 1000
        assert amount(found, "lambda-tmp") == 20_000
        assert amount(found, "s3-put") == 5000
        assert amount(found, "s3-get") == 2000
        assert amount(found, "sqs") == 4000 + POLLS
        assert amount(found, "eventbridge") == amount(found, "event-bus") == 1000
        assert amount(found, "logs") == pytest.approx(0.02)
        assert "metrics" not in {line.price for line in found.lines}
        assert amount(found, "dynamodb-write") == 49_000
        by_hand = {
            "lambda-x86": 0.333334, "lambda-requests": 0.0002, "lambda-tmp": 0.000618,
            "s3-put": 0.025, "s3-get": 0.0008, "sqs": 0.2644, "eventbridge": 0.001,
            "event-bus": 0.001, "logs": 0.01, "dynamodb-write": 0.030625,
        }  # fmt: skip
        assert {
            line.price: round(line.monthly, 6) for line in found.lines if line.price in by_hand
        } == pytest.approx(by_hand, rel=1e-3)
        assert found.configs["buoy/morro"] == pytest.approx(sum(by_hand.values()), abs=0.005)
        assert found.growth == pytest.approx(1000 * 6e6 / 1e9 * 0.023)

    def test_what_stands_costs_though_nothing_runs(self) -> None:
        plan = plan_of(ingest(expect_every=1200), vap())
        found = estimate({}, resources_of(plan, stored=int(100e9), images=int(5e9)))
        told = {line.price: line.monthly for line in found.lines}
        assert told["s3-storage"] == pytest.approx(2.3)
        assert told["ecr"] == pytest.approx(0.5)
        assert told["dashboards"] == 3
        alarms = [a for c in plan.stacks[0].configs for a in c.alarms] + [*plan.stacks[0].alarms]
        alarms.append(plan.stacks[0].sweep.alarm)
        assert amount(found, "alarms") == sum(len(a.metrics) for a in alarms)
        assert told["codebuild"] == pytest.approx(20 * 6 * 0.01)
        assert told["codepipeline"] == pytest.approx((20 * 6 + 40) * 0.002)

    def test_arm_is_cheaper_and_shares_what_is_free(self) -> None:
        load = Usage("a/b", runs=100_000, billed=10, memory=1024)
        x86, arm = one(load), one(load, replace(NOTHING, arm=frozenset(["a/b"])))
        assert arm.total < x86.total
        both = estimate(
            {"a/b": load, "c/d": replace(load, config="c/d")},
            replace(NOTHING, arm=frozenset(["a/b"])),
        )
        gigabyte_seconds = 400_000 * prices.PRICES["lambda-x86"].usd
        assert both.free - gigabyte_seconds < x86.free

    def test_elsewhere(self) -> None:
        load = Usage("a/b", runs=1000, billed=10, memory=1024)
        here, there = one(load), one(load, region="eu-central-1")
        assert there.total == pytest.approx(1.2 * here.total)
        assert there.free == pytest.approx(1.2 * here.free)
        assert any("20 % above" in text for text in there.assumptions)
        assert not any("above" in text for text in here.assumptions)
        assert one(load, region="xx-new-1").total == pytest.approx(1.25 * here.total)

    @given(
        st.lists(
            st.builds(
                Usage,
                config=st.sampled_from(["a/b", "c/d", "e/f"]),
                runs=st.floats(0, 1e7),
                billed=st.floats(0, 900),
                memory=st.integers(128, 10_240),
                inputs=st.floats(0, 100),
                products=st.floats(0, 100),
                scheduled=st.floats(0, 1e5),
            ),
            unique_by=lambda load: load.config,
        )
    )
    def test_more_never_costs_less(self, given: list[Usage]) -> None:
        by_config = {load.config: load for load in given}
        more = {id: replace(load, runs=2 * load.runs + 1) for id, load in by_config.items()}
        found, doubled = estimate(by_config, NOTHING), estimate(more, NOTHING)
        assert 0 <= found.free <= found.total <= doubled.total
        assert sum(found.configs.values()) <= found.total + 1e-9
        assert json.loads(json.dumps(costs.as_data(found)))["total"] >= 0


class TestLoads:
    def test_from_runs_on_record(self) -> None:
        config = ingest(memory=2048)
        records = hourly(config, 48, seconds=4.0)
        seen = observed_usage(
            Manifest((config,)), records, begin=BEGIN, end=BEGIN + timedelta(days=2)
        )["buoy/morro"]
        assert seen.runs == pytest.approx(730)
        assert seen.billed == pytest.approx(4 + 10), "an hour's pause: started anew each time"
        assert (seen.inputs, seen.products, seen.added_bytes) == (1, 2, 2e6)
        assert seen.recorded
        assert not seen.scheduled

    def test_runs_close_together_start_once(self) -> None:
        config = ingest()
        records = [record(config, BEGIN + timedelta(minutes=n)) for n in range(100)]
        seen = observed_usage(
            Manifest((config,)), records, begin=BEGIN, end=BEGIN + timedelta(days=1)
        )
        assert seen[config.id].billed == pytest.approx(4 + 10 / 100)

    def test_attempts_are_paid_for(self) -> None:
        config = ingest()
        records = hourly(config, 24, tries=3)
        seen = observed_usage(
            Manifest((config,)), records, begin=BEGIN, end=BEGIN + timedelta(days=1)
        )
        assert seen[config.id].billed == pytest.approx(3 * 4 + 10)

    def test_what_a_vap_reads(self) -> None:
        config = vap()
        run = Run(config.id, products=tuple(ProductRef(str(n), "v") for n in range(12)))
        told = RunRecord(run, "failed", 1, BEGIN, failure=Failure("bad-input", "no"))
        seen = observed_usage(
            Manifest((config,)), [told], begin=BEGIN, end=BEGIN + timedelta(days=1)
        )
        assert seen[config.id].staged == 12
        assert seen[config.id].scheduled == pytest.approx(730)

    def test_what_was_not_run_here_and_what_lies_outside_does_not_count(self) -> None:
        config = ingest()
        adopted = RunRecord(Run(config.id, arguments=(ADOPTED, "x")), "succeeded", 1, BEGIN)
        late = record(config, BEGIN + timedelta(days=3))
        manifest, end = Manifest((config,)), BEGIN + timedelta(days=2)
        assert not observed_usage(manifest, [adopted, late], begin=BEGIN, end=end)
        soon = BEGIN + timedelta(hours=3)
        assert not observed_usage(manifest, hourly(config, 3), begin=BEGIN, end=soon), "too little"

    def test_assumed_where_nothing_was_seen(self) -> None:
        configs = (ingest(), ingest("humboldt", expect_every=1200), vap())
        manifest = Manifest(configs)
        seen = observed_usage(
            manifest, hourly(configs[0], 24), begin=BEGIN, end=BEGIN + timedelta(days=1)
        )
        found = expected_usage(manifest, seen)
        assert found["buoy/morro"] is seen["buoy/morro"]
        assert found["buoy/humboldt"].runs == pytest.approx(730 * 3), "as often as it is expected"
        assert found["wave_vap/morro"].runs == pytest.approx(730)
        assert assumed_usage(ingest()).runs == pytest.approx(730), "24 a day"
        words = estimate(found, resources_of(plan_of(*configs))).assumptions
        assert "1 of 3 configs" in words[0]
        assert "buoy/humboldt, wave_vap/morro" in words[1]

    @pytest.mark.parametrize(
        ("schedule", "times"),
        [("0 * * * *", 730), ("*/5 * * * *", 8760), ("0 3 1 * *", 1), ("0 0 1 1 *", 1 / 12)],
    )
    def test_how_often_a_schedule_is_due(self, schedule: str, times: float) -> None:
        assert due(vap(schedule=schedule)) == pytest.approx(times, rel=0.02)


def test_the_ledgers_backups_are_a_choice() -> None:
    usage = expected_usage(Manifest((ingest(),)))
    for chosen, backups in ((None, True), (True, True), (False, False)):
        keys = KEYS.model_copy(update={"ledger_backups": chosen})
        found = estimate(usage, resources_of(plan_of(ingest(), keys=keys)))
        assert ("dynamodb-backup" in {line.price for line in found.lines}) == backups


class TestPrices:
    def test_each_says_where_it_is_from(self) -> None:
        for kind, price in prices.PRICES.items():
            assert price.page.startswith("https://aws.amazon.com/"), kind
            assert price.usd > 0

    def test_what_could_not_be_confirmed_is_said(self) -> None:
        doubtful = [kind for kind, price in prices.PRICES.items() if price.checked == "unconfirmed"]
        last = one(Usage("a/b", 1, 1, 128)).assumptions[-1]
        assert prices.DATED in last
        assert all(prices.PRICES[kind].what in last for kind in doubtful)


@pytest.mark.parametrize(
    ("config", "state", "sent"),
    [
        (ingest(expect_every=3600), "succeeded", []),
        (ingest(), "failed", ["Failures"]),
    ],
)
def test_only_failures_are_sent_as_a_custom_metric(
    config: Config, state: State, sent: list[str]
) -> None:
    reporting = pytest.importorskip("tidegate.targets.aws.reporting")
    ended = replace(record(config, BEGIN), state=state)
    assert [name for name, _, _ in reporting.measures(ended)] == sent


def test_in_words() -> None:
    configs = several()
    plan = plan_of(*configs, options=Options())
    text = describe(estimate(expected_usage(Manifest(configs)), resources_of(plan)))
    first, *rest = text.splitlines()
    assert first.startswith("about $")
    assert first.endswith(f"a month in us-west-2 (prices of {prices.DATED})")
    assert any("alarms: " in line and "at $0.1" in line for line in rest)
    assert any(line.startswith("up to $") for line in rest)
    assert any(line.startswith("and $") for line in rest)
    assert any("not confirmed" in line for line in rest)
