"""Releases on record, in a real table of the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

pytest.importorskip("boto3")

from ministack_process import CREDENTIALS, ministack

from tidegate.deploy.core import history
from tidegate.deploy.core.history import History, Release, ReleasedImage, ReleaseInProgress
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import create_table

pytestmark = [pytest.mark.slow, pytest.mark.aws]
WHEN = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with ministack(tmp_path_factory.mktemp("history")) as running:
            yield running.clients()


@pytest.fixture
def releases(clients: Clients, request: pytest.FixtureRequest) -> History:
    table = f"releases-{abs(hash(request.node.name))}"
    create_table(table, clients)
    return History(table, clients)


def release(n: int, **more: Any) -> Release:
    when = WHEN + timedelta(hours=n)
    return Release(f"{when:%Y%m%dT%H%M%S}-c{n}", f"c{n}", "arn:someone", when, **more)


def test_the_latest_first(releases: History) -> None:
    image = ReleasedImage("lidar-abc", "sha256:" + "0" * 64, {"shared/": "1"})
    made = [release(n, images={"lidar": image}, manifest="x" * 50_000) for n in range(12)]
    for one in made:
        releases.put(one)
    assert list(releases.all()) == made[::-1]
    assert releases.get(made[3].id) == made[3]
    assert releases.get("none") is None


def test_what_runs_now_is_what_was_deployed_last(releases: History) -> None:
    assert releases.last() is None
    releases.put(history.ended(release(1), "deployed"))
    releases.put(history.ended(release(2), "failed", "the build broke"))
    releases.put(release(3))
    last = releases.last()
    assert last is not None
    assert last.commit == "c1"


def test_one_at_a_time(releases: History) -> None:
    with (
        releases.releasing(release(1)),
        pytest.raises(ReleaseInProgress, match=r"20261124T130000-c1.*\n.*arn:someone"),
        releases.releasing(release(2)),
    ):
        pass
    with releases.releasing(release(3)):
        pass


def test_one_that_died_holds_nothing_for_ever(
    releases: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LEASE", timedelta(seconds=-60))
    with releases.releasing(release(1)):
        monkeypatch.undo()
        with releases.releasing(release(2)):  # its lease was over
            pass
    with releases.releasing(release(3)):
        releases.break_lock()
        with releases.releasing(release(4)):
            pass


def test_before_the_first_deployment_there_is_none(clients: Clients) -> None:
    assert list(History("no-such-table", clients).all()) == []
    assert History("no-such-table", clients).last() is None
