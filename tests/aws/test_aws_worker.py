"""The function with a real worker and real Tsdat: the example pipelines, and user code's faults."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_bench import Bench, FakeContext, batch
from runtime_repository import CSV, TinyRepository

from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.records import dumps
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.s3 import S3Outputs

New = dict[str, Callable[[], str]]
EXAMPLES = Path(__file__).parents[2] / "examples"
LIDAR = Config(
    "lidar", "humboldt", "Ingest", "S3", "pipelines/lidar/config/pipeline_humboldt.yaml",
    input_path="lidar/humboldt/", timeout=300, memory=3000,
)  # fmt: skip
VAP = Config(
    "lidar_vap", "humboldt", "VAP", "Cron", "pipelines/lidar_vap/config/pipeline.yaml",
    schedule="0 * * * *", window="day", timeout=300, memory=3000,
)  # fmt: skip


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A day of raw files of one site."""
    if not (EXAMPLES / "make_raw.py").is_file():
        pytest.skip("no examples/make_raw.py")
    out = tmp_path_factory.mktemp("raw")
    subprocess.run(
        [
            sys.executable,
            EXAMPLES / "make_raw.py",
            "--out",
            out,
            "--day",
            "20201201",
            "--days",
            "1",
        ],
        check=True,
        capture_output=True,
    )
    return sorted((out / "lidar" / "humboldt").iterdir())


@pytest.fixture(scope="module")
def entry(
    clients: Clients, raw: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The function's module as Lambda imports it, with its worker."""
    folder = tmp_path_factory.mktemp("function")
    names = {"input": "tidegate-entry-raw", "output": "tidegate-entry-products"}
    for bucket in names.values():
        clients.s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
        )
    from tidegate.targets.aws.ledger import create_table

    create_table("tidegate-entry", clients)
    (folder / "manifest.json").write_text(dumps(Manifest((LIDAR,), {"lidar": "r1"})))
    environment = {
        "PIPELINE_NAME": "lidar",
        "CONFIG_ID": "humboldt",
        "CODE_VERSION": "r1",
        "TSDAT_S3_BUCKET_NAME": names["output"],
        "BRANCH": "main",
        "RETAIN_INPUT_FILES": "True",
        "LOG_LEVEL": "INFO",
        "TIDEGATE_MANIFEST": str(folder / "manifest.json"),
        "TIDEGATE_TABLE": "tidegate-entry",
        "TIDEGATE_INPUT_BUCKET": names["input"],
        "TIDEGATE_REPOSITORY": str(EXAMPLES / "pipelines"),
        "TIDEGATE_WORK": str(folder / "work"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        sys.modules.pop("tidegate.targets.aws.lambda_handler", None)
        module = importlib.import_module("tidegate.targets.aws.lambda_handler")
        yield module
        module.worker.close()
        sys.modules.pop("tidegate.targets.aws.lambda_handler", None)


@pytest.fixture
def lidar(entry: Any, clients: Clients, new: New, tmp_path: Path) -> Bench:
    """A bench around the entry's settings and worker."""
    settings = entry.settings
    return Bench(
        clients, new, tmp_path, LIDAR, entry.worker,
        repository=settings.repository, manifest=settings.manifest,
    )  # fmt: skip


def test_the_entry_point_takes_what_lambda_hands_it(
    entry: Any, clients: Clients, raw: list[Path], new: New
) -> None:
    content = raw[0].read_bytes()
    key = f"lidar/humboldt/{raw[0].name}"
    etag = clients.s3.put_object(Bucket="tidegate-entry-raw", Key=key, Body=content)["ETag"]
    found = {"key": key, "size": len(content), "etag": etag.strip('"')}
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-01-01T00:00:00Z",
        "detail": {"bucket": {"name": "tidegate-entry-raw"}, "object": found},
    }
    queue = new["queue"]()
    clients.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))
    messages = clients.sqs.receive_message(QueueUrl=queue, AttributeNames=["All"])["Messages"]
    answer = entry.handler(batch(messages), FakeContext())  # type: ignore[arg-type]
    assert answer == {"batchItemFailures": []}
    (record,) = entry.handler.__self__.context.target.ledger.records()
    assert record.state == "succeeded", record.failure
    kinds = {product.kind for product in record.products}
    assert kinds == {"data", "ancillary"}
    data = next(product for product in record.products if product.kind == "data")
    assert data.key.startswith("storage/root/")
    assert (data.begin is not None, data.dimensions["time"] > 100) == (True, True)
    assert any(quality.bad for quality in data.quality)
    assert record.release == "r1"
    assert 0 < record.peak_memory < 3000


def test_an_ingest_and_a_vap_over_it(
    lidar: Bench, raw: list[Path], clients: Clients, new: New, tmp_path: Path
) -> None:
    (record,) = lidar.arrive(f"lidar/humboldt/{raw[0].name}", raw[0].read_bytes())
    assert record.state == "succeeded", record.failure
    described = lidar.worker.describe(VAP.config_file)
    assert isinstance(described, Pipeline), described
    config = replace(VAP, tsdat=described)
    shared = {name: getattr(lidar.settings, name) for name in ("output_bucket", "table")}
    vap = Bench(
        clients, new, tmp_path, config, lidar.worker,
        input_bucket="none", repository=lidar.settings.repository, **shared,
    )  # fmt: skip
    vap.send({"tidegate": {"schedule": config.id, "time": "2020-12-02T01:00:00Z"}})
    vap.drain()
    made = [r for r in vap.records() if r.run.config == config.id]
    assert made
    # The last sample is the next day's first: that day has nothing else to work on.
    assert {r.state for r in made} <= {"succeeded", "empty"}, [r.failure for r in made]
    vap.agrees()
    (product, *_) = [p for r in made for p in r.products if p.kind == "data"]
    S3Outputs(vap.settings.output_bucket, clients).fetch(product.ref, tmp_path / "vap.nc")
    import xarray as xr

    with xr.open_dataset(tmp_path / "vap.nc") as dataset:
        assert dataset.sizes["time"] == product.dimensions["time"]


def test_a_truncated_file_is_bad_input(lidar: Bench, raw: list[Path]) -> None:
    for n, content in enumerate((b"", raw[0].read_bytes()[:1000], b"\x00\xff" * 500)):
        name = raw[0].name.replace("20201201", f"2020120{n + 2}")
        lidar.send(lidar.created(lidar.put(f"lidar/humboldt/{name}", content)))
    lidar.drain()
    failures = [r.failure for r in lidar.records()]
    assert [f.kind for f in failures if f] == ["bad-input"] * 3
    assert (lidar.hidden(), lidar.dead, lidar.outputs()) == (0, [], set())


# User code's faults.

FAULTS = {
    "fine": "def hook_customize_dataset(self, dataset):\n    return dataset\n",
    "hangs": "def hook_customize_dataset(self, dataset):\n    time.sleep(600)\n",
    "crashes": "def hook_customize_dataset(self, dataset):\n    ctypes.string_at(0)\n",
    "eats": (
        "def hook_customize_dataset(self, dataset):\n"
        "    heap = [b'x' * 2**26 for _ in range(100)]\n    time.sleep(60)\n"
    ),
    "leaves": "def hook_customize_dataset(self, dataset):\n    raise SystemExit(3)\n",
    "chats": (
        "def hook_customize_dataset(self, dataset):\n    print('hello from user code')\n"
        "    os.system('echo and from a child')\n    return dataset\n"
    ),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> TinyRepository:
    made = TinyRepository(tmp_path_factory.mktemp("tiny"))
    for name, body in FAULTS.items():
        made.add(name, body)
    return made


@pytest.fixture(scope="module")
def worker(repository: TinyRepository) -> Iterator[WorkerProcess]:
    worker = WorkerProcess([sys.executable], repository.root)
    yield worker
    worker.close()


@pytest.fixture
def tiny(
    clients: Clients, new: New, tmp_path: Path, worker: WorkerProcess, repository: TinyRepository
) -> Callable[..., Bench]:
    def make(name: str, **changes: Any) -> Bench:
        config = Config(
            name, "one", "Ingest", "S3", f"pipelines/{name}/config/pipeline.yaml",
            input_path="raw/", timeout=60, memory=3000, retries=1,
        )  # fmt: skip
        return Bench(
            clients, new, tmp_path, replace(config, **changes), worker, repository=repository.root
        )

    return make


def test_a_hang_ends_in_time_and_says_so(tiny: Callable[..., Bench]) -> None:
    bench = tiny("hangs")
    bench.worker.start()
    bench.send(bench.created(bench.put("raw/a.csv", CSV.encode())))
    began = time.monotonic()
    bench.drain(seconds=6)
    assert time.monotonic() - began < 6
    (record,) = bench.records()
    assert record.failure is not None
    assert (record.state, record.failure.kind) == ("failed", "timeout")
    assert (bench.hidden(), bench.dead) == (0, [])
    assert bench.worker.pid is not None  # a new one imports Tsdat already


def test_a_crash_is_tried_again_and_then_given_up(
    tiny: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    monkeypatch.setattr("tidegate.runtime.dispatch.backoff", lambda tries: timedelta(0))
    bench = tiny("crashes")
    (record,) = bench.arrive("raw/a.csv", CSV.encode())
    assert record.failure is not None
    assert "SIGSEGV" in record.failure.message
    assert (record.state, record.attempt, len(bench.dead)) == ("failed", 2, 1)
    assert [r.state for r in tiny("fine").arrive("raw/a.csv", CSV.encode())] == ["succeeded"]


def test_a_run_that_eats_the_memory_is_stopped(tiny: Callable[..., Bench]) -> None:
    (record,) = tiny("eats", memory=900).arrive("raw/a.csv", CSV.encode())
    assert record.failure is not None
    assert (record.state, record.failure.kind) == ("failed", "out-of-memory")


def test_code_that_exits_fails_its_run_alone(tiny: Callable[..., Bench]) -> None:
    (record,) = tiny("leaves").arrive("raw/a.csv", CSV.encode())
    assert record.failure is not None
    assert record.failure.kind == "bad-input"


def test_a_worker_that_is_killed_is_replaced(tiny: Callable[..., Bench]) -> None:
    bench = tiny("hangs")
    bench.worker.start()

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not any(r.state == "running" for r in bench.records()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(2)  # the worker has its task by then
        os.kill(bench.worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    (record,) = bench.arrive("raw/a.csv", CSV.encode())
    killer.join()
    assert record.failure is not None
    assert (record.state, record.failure.kind) == ("retrying", "transient")
    assert "SIGKILL" in record.failure.message
    assert bench.hidden() == 1


def test_what_user_code_prints_is_in_the_log(
    tiny: Callable[..., Bench], capsys: pytest.CaptureFixture[str]
) -> None:
    bench = tiny("chats")
    (record,) = bench.arrive("raw/a.csv", CSV.encode())
    assert record.state == "succeeded"
    key = record.log.partition(f"{bench.settings.output_bucket}/")[2]
    body = bench.clients.s3.get_object(Bucket=bench.settings.output_bucket, Key=key)["Body"].read()
    shown = capsys.readouterr().out
    for text in ("hello from user code", "and from a child"):
        assert text in body.decode()
        assert text in shown
    lines = [json.loads(line) for line in body.splitlines()]
    assert {"time", "level", "run", "pipeline", "config", "action", "message"} <= set(lines[0])
