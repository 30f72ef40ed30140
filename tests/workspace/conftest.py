"""A branch on MiniStack, with functions that stand in for Lambda's, and the command line on it."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aws_bench import INGEST, VAP, Bench
from command_here import run_here
from ministack_process import REGION, MiniStack

from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.records import dumps
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger, create_table
from tidegate.targets.aws.names import Names

TSDAT = Pipeline(
    "Class",
    data_path="data/{location_id}/{datastream}",
    data_filename="{datastream}.{date_time}.{extension}",
    plot_path="ancillary/{location_id}/{datastream}",
    plot_filename="{datastream}.{date_time}.{title}.{extension}",
)
LIDAR = replace(INGEST, tsdat=replace(TSDAT, datastream="humboldt.lidar.a1"))
WIND = replace(
    VAP, tsdat=replace(TSDAT, datastreams=("humboldt.lidar.a1",), datastream="humboldt.wind.c1")
)
CONFIG = f"""\
pipelines_repo_name: example
region: {REGION}
account_id: "000000000000"
input_bucket_name: example-input
output_bucket_name: example-output
repository: nowhere-on-this-machine
branches:
  dev: {{output_bucket_name: example-output-dev}}
pipelines:
- name: lidar
  type: Ingest
  trigger: S3
  configs:
    humboldt:
      input_bucket_path: lidar/humboldt/
      config_file_path: pipeline.yaml
- name: wind
  type: VAP
  trigger: Cron
  schedule: Hourly
  configs:
    humboldt:
      config_file_path: vap.yaml
"""


@pytest.fixture(autouse=True)
def fresh_log() -> Iterator[None]:
    """Powertools sets a logger up once a process, for the standard output that there is then."""
    logger: Any = logging.getLogger("tidegate")
    handlers, level = logger.handlers[:], logger.level

    def reset() -> None:
        for name in ("init", "powertools_handler", "logger_handler"):
            vars(logger).pop(name, None)
        logger.handlers[:] = handlers
        logger.setLevel(level)

    reset()
    yield
    reset()


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)


@dataclass
class Branch:
    """One branch's deployment, and a folder to give commands in."""

    stack: MiniStack
    clients: Clients
    folder: Path
    name: str
    benches: dict[str, Bench] = field(default_factory=dict)
    at_work: bool = False
    """Whether its functions are at work."""

    @property
    def names(self) -> Names:
        """What everything is called."""
        return Names("example", self.name)

    @property
    def ledger(self) -> DynamoLedger:
        """The branch's ledger."""
        return DynamoLedger(self.names.ledger_table, self.clients)

    def tidegate(self, *arguments: str, code: int = 0, **environment: str) -> Done:
        """The command, on this branch; its exit code is checked."""
        words = [*arguments, "--target", "aws", "--branch", self.name]
        if self.at_work or "PYTHONPATH" in environment:  # functions print what they log
            done = self._run_apart(words, environment)
        else:
            done = Done(*run_here(words, self.folder, environment))
        assert done.code == code, f"{arguments}\n{done.out}\n{done.err}"
        return done

    def _run_apart(self, words: list[str], environment: dict[str, str]) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "tidegate", *words],
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def deploy(self, *configs: Config) -> None:
        """A table; for each config a queue, and a function of which only its variables are used."""
        create_table(self.names.ledger_table, self.clients)
        for config in configs:
            queue = self.names.queue(config.pipeline, config.name)
            url = self.clients.sqs.create_queue(QueueName=queue)["QueueUrl"]
            self.clients.sqs.create_queue(QueueName=self.dead_letters(config))
            bench = Bench(
                self.clients, {"queue": lambda url=url: url}, self.folder, config,
                input_bucket="example-input", output_bucket="example-output",
                table=self.names.ledger_table,
            )  # fmt: skip
            self.benches[config.id] = bench
            manifest = Manifest((config,), {config.pipeline: "release 1"})
            self.clients.client("lambda").create_function(
                FunctionName=self.names.function(config.pipeline, config.name),
                Runtime="python3.12", Role="arn:aws:iam::000000000000:role/any", Handler="x.y",
                Code={"ZipFile": _zip()},
                Environment={"Variables": {"TIDEGATE_MANIFEST": dumps(manifest)}},
            )  # fmt: skip

    def dead_letters(self, config: Config) -> str:
        """The name of a config's dead-letter queue."""
        return self.names.dead_letter_queue(config.pipeline, config.name)

    def working(self) -> Working:
        """The functions, at work for as long as it is entered."""
        return Working(self)

    def arrive(self, key: str, content: bytes = b"raw") -> None:
        """A raw file arrives and is run."""
        self.benches["lidar/humboldt"].arrive(key, content)


class Working:
    """What Lambda's event source mapping does: polls queues, and invokes."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._stop.is_set():
            for bench in self._branch.benches.values():
                if bench.visible():
                    bench.poll()
            time.sleep(0.1)

    def __enter__(self) -> None:
        self._branch.at_work = True
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._branch.at_work = False


def _zip() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x.py", "def y(event, context): pass\n")
        return file.getvalue()


@pytest.fixture
def nothing(aws: MiniStack, tmp_path: Path) -> Iterator[Branch]:
    """A config whose branch is not deployed; its buckets are there."""
    (tmp_path / "pipelines_config.yml").write_text(CONFIG)
    clients = aws.clients()
    for bucket in ("example-input", "example-output"):
        clients.s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    yield Branch(aws, clients, tmp_path, "main")
    import urllib.request

    reset = urllib.request.Request(f"{aws.endpoint}/_ministack/reset", method="POST")
    urllib.request.urlopen(reset).close()


@pytest.fixture
def half(nothing: Branch) -> Branch:
    """A branch of which one config is deployed."""
    nothing.deploy(LIDAR)
    return nothing


@pytest.fixture
def branch(nothing: Branch) -> Branch:
    """A branch that is deployed."""
    nothing.deploy(LIDAR, WIND)
    return nothing
