"""How the answer to a request reaches the control process: as an event, or as Dask's result."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from tidegate.executors.dask.clusters import DaskCluster
from tidegate.executors.dask.messages import Refused


@dataclass
class Handle:
    """Dask's handle of a request, in a state that a test chooses."""

    status: str = "pending"
    value: object = None

    def result(self, timeout):
        return self.value

    def exception(self, timeout):
        return self.value


@dataclass
class Client:
    """A client that sends nothing."""

    status: str = "closed"  # so that nobody asks it for workers
    scheduler: object = field(default_factory=lambda: SimpleNamespace(address="tcp://nowhere"))
    requests: dict = field(default_factory=dict)
    listen: object = None

    def subscribe_topic(self, topic, handler):
        self.listen = handler

    def submit(self, function, text, name, *, key, **how):
        if text == "no scheduler":
            raise RuntimeError("the client is closed")
        self.requests[key] = Handle()
        return self.requests[key]


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def cluster(client):
    cluster = DaskCluster(client, None, 4, lambda text: None)
    cluster._reconnect_at = float("inf")
    return cluster


def submit(cluster, ends, text="request", within=60.0):
    return cluster.submit(text, name="run", address="tcp://w", within=within, ended=ends.append)


def test_an_event_is_the_answer(cluster, client):
    ends, others = [], []
    submit(cluster, ends)
    submit(cluster, others)
    key = next(iter(client.requests))
    client.listen((0.0, (key, "answer")))
    client.listen((0.0, (key, "again")))
    client.listen((0.0, ("of another service", "answer")))
    assert (ends, others) == (["answer"], [])


def test_without_its_event_the_result_is_the_answer(cluster, client):
    ends = []
    submit(cluster, ends)
    cluster.workers()
    assert not ends
    for handle in client.requests.values():
        handle.status, handle.value = "finished", "answer"
    cluster.workers()
    assert not ends, "the event may still be on its way"
    cluster.workers()
    cluster.workers()
    assert ends == ["answer"]


def test_what_dask_gives_up_is_reported(cluster, client):
    ends = []
    submit(cluster, ends)
    submit(cluster, ends)
    submit(cluster, ends, text="no scheduler")
    submit(cluster, ends, within=-1.0)
    withdraw = submit(cluster, ends)
    withdraw()
    cancelled, failed, *_ = client.requests.values()
    cancelled.status = "cancelled"
    failed.status, failed.value = "error", ImportError("no module named tidegate")
    cluster.workers()
    cluster.workers()
    kinds = [type(end) for end in ends]
    assert kinds == [asyncio.CancelledError, Refused, RuntimeError, TimeoutError]
