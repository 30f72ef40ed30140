"""This machine and AWS, given the same arrivals in the same order, end up the same."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_bench import Bench
from e2e_cloud import Cloud
from e2e_repository import REGION, csv
from e2e_same import (
    Arrival,
    Clock,
    Deployed,
    Functions,
    Lasting,
    Local,
    Put,
    Tick,
    assert_same,
    only,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tidegate.targets.aws.ledger import create_table
from tidegate.workspace.loading import LoadedWorkspace

CONFIGS = ("tiny/same", "tiny/other", "tiny_vap/same")
numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def fresh_log() -> Iterator[None]:
    """Powertools sets a logger up once a process, for the standard output that there is then."""
    logger: Any = logging.getLogger("tidegate")
    handlers, level = logger.handlers[:], logger.level
    yield
    for name in ("init", "powertools_handler", "logger_handler"):
        vars(logger).pop(name, None)
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def functions(
    session: LoadedWorkspace, cloud: Cloud, worker: Lasting, tmp_path: Path
) -> Callable[[], Functions]:
    def make() -> Functions:
        clients, number, clock = cloud.clients, next(numbers), Clock()
        shared = {
            "input_bucket": f"same-raw-{number}",
            "output_bucket": f"same-products-{number}",
            "table": f"same-{number}",
        }
        for bucket in (shared["input_bucket"], shared["output_bucket"]):
            clients.s3.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
            )
        create_table(shared["table"], clients)
        new = {
            "queue": lambda: clients.sqs.create_queue(QueueName=f"same-{next(numbers)}")["QueueUrl"]
        }
        manifest, benches = only(session.manifest, CONFIGS), {}
        for config in manifest.configs:
            own = replace(manifest, configs=(config,))
            benches[config.id] = Bench(
                clients, new, tmp_path, config, worker, clock, manifest=own,
                repository=session.repository, **shared,
            )  # fmt: skip
        return Functions(benches, clock)

    return make


def feed(arrivals: Sequence[Arrival], *sides: Any) -> None:
    """All arrivals to all sides, in the same order; and all is the same then."""
    for side in sides:
        for arrival in arrivals:
            side.arrive(arrival)
    assert_same(*sides, CONFIGS)


DAY1, DAY2, DAY3 = (f"2022-04-0{n}T00:00:00" for n in (1, 2, 3))
VAP = Tick("tiny_vap/same")
STORY: list[Arrival] = [
    VAP,
    Put("tiny/same/a.csv", csv(DAY1)),
    Put("tiny/same/b +%20é.csv", csv(DAY2), told=3),
    Put("tiny/other/a.csv", csv(DAY1)),
    VAP,
    VAP,
    Put("tiny/same/bad.csv", csv(DAY1, ask="reject")),
    Put("tiny/same/empty.csv", b""),
    Put("tiny/same/skip.csv", csv(ask="skip")),
    Put("tiny/same/plotless.csv", csv("2022-04-02T12:00:00", [-99.0])),
    Put("tiny/same/off.csv", csv(ask="offline")),  # tried again after a pause
    Put("tiny/same/late.csv", csv(DAY3)),
    Put("tiny/same/a.csv", csv(DAY1, [5, 6, 7])),
    VAP,
    Put("tiny/same/a.csv", csv(DAY1)),
    VAP,
    Put("tiny/same/b +%20é.csv", csv("2022-04-05T06:00:00")),  # its product has another name now
    VAP,
]


def test_the_whole_deployment(cloud: Cloud, new_local: Callable[..., Local]) -> None:
    feed(STORY, new_local(CONFIGS), Deployed(cloud, CONFIGS))


names = st.sampled_from(["a.csv", "b.csv", "sub/c +.csv"])
begins = st.sampled_from([DAY1, "2022-04-01T23:59:00", DAY2])
values = st.lists(st.sampled_from([1, 2, 3, -99]), min_size=1, max_size=2)
asks = st.sampled_from(["", "", "", "", "reject", "skip"])
contents = st.one_of(st.builds(csv, begins, values, asks), st.just(""))
puts = st.builds(
    lambda site, name, content, told: Put(f"tiny/{site}/{name}", content, told),
    st.sampled_from(["same", "same", "other"]), names, contents, st.integers(1, 3),
)  # fmt: skip
stories = st.lists(st.one_of(puts, puts, st.just(VAP)), min_size=2, max_size=9)


EXAMPLES = os.environ.get("TIDEGATE_EXAMPLES")
"""How many to try, other ones each time; not set, it is always the same few."""


@settings(
    max_examples=int(EXAMPLES or 15),
    deadline=None,
    derandomize=EXAMPLES is None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(arrivals=stories)
def test_any_arrivals(
    new_local: Callable[..., Local], functions: Callable[[], Functions], arrivals: list[Arrival]
) -> None:
    feed(arrivals, new_local(CONFIGS), functions())
