"""AWS for the benchmarks: a MiniStack process, and the requests that botocore sends to it.

The emulator answers in milliseconds and on the same processors, so times on AWS are others; what is
compared is who asks how much of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.deploy.emulator import server
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import create_table

ACCOUNT, REGION = "000000000000", "us-west-2"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    environment: dict[str, str]
    """What a process needs in its environment to take it for AWS; this one has it."""
    clients: Clients
    """Clients for it."""

    def bucket(self) -> str:
        """A new bucket."""
        name = f"bench-{next(_numbers)}"
        self.clients.s3.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        return name

    def table(self) -> str:
        """A new ledger."""
        name = f"bench-{next(_numbers)}"
        create_table(name, self.clients)
        return name

    def queue(self) -> str:
        """A new queue; returns its address."""
        made = self.clients.sqs.create_queue(QueueName=f"bench-{next(_numbers)}")
        return str(made["QueueUrl"])


@contextlib.contextmanager
def emulator(folder: Path) -> Iterator[Emulator]:
    """An emulator of this benchmark's own; nothing here can reach the real AWS meanwhile."""
    saved = dict(os.environ)
    running = server.run_emulator(
        [sys.executable], folder, account=ACCOUNT, region=REGION, say=lambda text: None
    )
    with running as started:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        environment = {**started.environment, "AWS_EC2_METADATA_DISABLED": "true"}
        os.environ.update(environment)
        try:
            yield Emulator(environment, Clients(region=REGION, endpoint=started.endpoint))
        finally:
            os.environ.clear()
            os.environ.update(saved)


@dataclass
class Traffic:
    """The requests that were sent while it was watching."""

    requests: Counter[str] = field(default_factory=Counter)
    """How many, by service and operation: ``s3.GetObject``."""
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    """Operation, begin and end of each, s; an answer's body may come later."""
    _began: dict[int, float] = field(default_factory=dict)

    def watch(self, events: Any) -> None:
        """Count what clients with these event hooks send from now on."""
        events.register("before-send", self._sent)
        events.register("response-received", self._answered)

    def _sent(self, event_name: str, **_: Any) -> None:
        self.requests[_operation(event_name)] += 1
        self._began[threading.get_ident()] = time.perf_counter()

    def _answered(self, event_name: str, **_: Any) -> None:
        began = self._began.pop(threading.get_ident(), None)
        if began is not None:
            self.spans.append((_operation(event_name), began, time.perf_counter()))

    def clear(self) -> None:
        """Begin again."""
        self.requests.clear()
        self.spans.clear()

    def count(self, prefix: str) -> int:
        """How many requests there were to what begins so: ``s3``, ``s3.List``."""
        return sum(n for name, n in self.requests.items() if name.startswith(prefix))

    def seconds(self, prefix: str) -> float:
        """For how long at least one request to what begins so was on its way."""
        total, until = 0.0, 0.0
        for name, begin, end in sorted(self.spans, key=lambda span: span[1]):
            if name.startswith(prefix):
                total += max(0.0, end - max(begin, until))
                until = max(until, end)
        return total


def _operation(event: str) -> str:
    """``s3.GetObject`` of ``before-send.s3.GetObject``."""
    return event.partition(".")[2]
