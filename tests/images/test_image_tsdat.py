"""The example pipelines as images with all of Tsdat, in ECR, run by hand and as functions.

Where there is no engine for containers they are unpacked and chrooted into, with the environment
that they bring along, by a user who is not root, as in Lambda.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from image_kit import NOBODY, command, container, inside, says
from lambda_api import runtime_api
from ministack_process import REGION, MiniStack

from tidegate.deploy.images.base_image import read_image_recipe
from tidegate.deploy.images.builders import Buildah
from tidegate.deploy.images.building import build_images, plan_images
from tidegate.deploy.images.registry import EcrRegistry
from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.records import dumps, from_json, to_json
from tidegate.runtime.runs import Input, Run
from tidegate.runtime.task import Outcome, Task
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger, create_table

pytestmark = [
    pytest.mark.slow,
    pytest.mark.aws,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("store"),
]
EXAMPLES = Path(__file__).parents[2] / "examples"
UID = int(NOBODY.split(":")[0])
LIDAR = Config(
    "lidar", "humboldt", "Ingest", "S3", "pipelines/lidar/config/pipeline_humboldt.yaml",
    input_path="lidar/humboldt/", timeout=300, memory=3000,
)  # fmt: skip
VAP = Config(
    "lidar_vap", "humboldt", "VAP", "Cron", "pipelines/lidar_vap/config/pipeline.yaml",
    schedule="0 * * * *", window="day", timeout=300, memory=3000,
)  # fmt: skip
RAW, PRODUCTS, TABLE = "images-raw", "images-products", "images-ledger"


@pytest.fixture(scope="module")
def images(base: str, clients: Clients) -> dict[str, str]:
    """The full names of the example pipelines' images, built for this module."""
    repository = EXAMPLES / "pipelines"
    clients.client("ecr").create_repository(repositoryName="examples-main")
    registry = EcrRegistry(clients, "examples-main")
    recipe = read_image_recipe(repository, python="3.11", base=base)
    plan = plan_images(repository, Manifest((LIDAR, VAP)), recipe, registry)
    lines: list[str] = []
    built = build_images(plan, repository, Buildah(), registry, say=lines.append)
    # Another test may have built the very same environment.
    assert any(line.startswith("Python 3.11.2, tsdat 0.10") for line in lines) or any(
        "Using cache" in line for line in lines
    )
    return {name: f"{registry.address}@{image.digest}" for name, image in built.items()}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day's raw file of one site."""
    out = tmp_path_factory.mktemp("raw")
    make = [sys.executable, EXAMPLES / "make_raw.py", "--out", out, "--day", "20201201"]
    command(*make, "--days", "1")
    return sorted((out / "lidar" / "humboldt").iterdir())[0]


def line(pipe: IO[str]) -> dict[str, Any]:
    text = pipe.readline()
    assert text, "the worker has ended"
    found: dict[str, Any] = json.loads(text)
    return found


def test_an_image_runs_by_hand(images: dict[str, str], raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for name in ("in/lidar/humboldt", "store", "tmp"):
        (work / name).mkdir(parents=True)
    shutil.copy(raw, work / "in/lidar/humboldt")
    for path in [work, *work.rglob("*")]:
        os.chown(path, UID, UID)
    content = raw.read_bytes()
    run = Run(LIDAR.id, (Input(f"lidar/humboldt/{raw.name}", "1", len(content)),))
    staged = f"/work/in/lidar/humboldt/{raw.name}"
    task = Task(run, LIDAR, (staged,), "/work", release="r1")
    # All of it is in the registry, not only in the store of the machine that has built it.
    source = ("--src-tls-verify=false", f"docker://{images['lidar']}")
    command("skopeo", "copy", "--quiet", *source, f"dir:{tmp_path / 'pulled'}")
    with container(images["lidar"]) as box:
        worker = inside(
            box, "python", "-m", "tidegate.runtime.worker", user=NOBODY, volumes={work: "/work"}
        )
        with subprocess.Popen(
            worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            ready = line(process.stdout)["ready"]
            assert ready["tsdat"].startswith("0.10")
            assert ready["python"] == "3.11.2"
            process.stdin.write(json.dumps({"op": "run", "task": to_json(task)}) + "\n")
            process.stdin.flush()
            outcome = from_json(Outcome, line(process.stdout)["outcome"])
            other = {"op": "describe", "file": VAP.config_file}
            process.stdin.write(json.dumps(other) + "\n")
            process.stdin.flush()
            refused = line(process.stdout)
            process.stdin.close()
            assert process.wait(60) == 0
    assert outcome.failure is None
    assert outcome.plots_failed == ""
    assert {product.kind for product in outcome.products} == {"data", "ancillary"}
    import xarray as xr

    (data,) = [product for product in outcome.products if product.kind == "data"]
    with xr.open_dataset(work / "store" / data.key) as dataset:
        assert dataset.sizes["time"] == data.dimensions["time"] > 100
    log = (work / "log.jsonl").read_text()
    assert "matplotlib" not in log.lower(), "its fonts are there, and it need not say so"
    assert "error" in refused, "the other pipeline is in an image of its own"


@pytest.fixture
def function_environment(clients: Clients, aws: MiniStack) -> dict[str, str]:
    """What the stack would set for the ingest's function."""
    for bucket in (RAW, PRODUCTS):
        clients.s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    create_table(TABLE, clients)
    return {
        **aws.environment,
        "PIPELINE_NAME": "lidar",
        "CONFIG_ID": "humboldt",
        "CODE_VERSION": "r1",
        "TSDAT_S3_BUCKET_NAME": PRODUCTS,
        "TIDEGATE_MANIFEST": dumps(Manifest((LIDAR,), {"lidar": "r1"})),
        "TIDEGATE_TABLE": TABLE,
        "TIDEGATE_INPUT_BUCKET": RAW,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3000",
        "AWS_LAMBDA_FUNCTION_NAME": "waves",
    }


@contextlib.contextmanager
def function(box: str, environment: dict[str, str], log: Path) -> Iterator[None]:
    """The image as Lambda starts it: its entry point with its command."""
    start = inside(
        box, "/lambda-entrypoint.sh", "tidegate.targets.aws.lambda_handler.handler",
        user=NOBODY, environment=environment,
    )  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(start, stdout=out, stderr=out, start_new_session=True)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_an_image_is_a_function(
    images: dict[str, str],
    raw: Path,
    clients: Clients,
    function_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    key = f"lidar/humboldt/{raw.name}"
    content = raw.read_bytes()
    etag = clients.s3.put_object(Bucket=RAW, Key=key, Body=content)["ETag"].strip('"')
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-01-01T00:00:00Z",
        "detail": {
            "bucket": {"name": RAW},
            "object": {"key": key, "size": len(content), "etag": etag},
        },
    }
    message = {
        "messageId": "1",
        "receiptHandle": "1",
        "body": json.dumps(event),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(int(time.time() * 1000)),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-west-2:000000000000:waves",
        "awsRegion": REGION,
    }
    log = tmp_path / "function.log"
    with container(images["lidar"]) as box, runtime_api() as lambdas:
        environment = {**function_environment, "AWS_LAMBDA_RUNTIME_API": lambdas.address}
        with function(box, environment, log):
            try:
                answer = lambdas.invoke({"Records": [message]})
                again = lambdas.invoke({"Records": [message]})
            except Exception as error:
                raise AssertionError(log.read_text()[-5000:]) from error
    assert (answer, again) == ({"batchItemFailures": []},) * 2
    (record,) = DynamoLedger(TABLE, clients).records()
    assert record.state == "succeeded", record.failure
    assert {product.kind for product in record.products} == {"data", "ancillary"}
    for product in record.products:
        clients.s3.head_object(Bucket=PRODUCTS, Key=product.key)
    told = log.read_text()
    assert record.attempt == 1, "one run, however often it is told"
    assert "font" not in told.lower(), "matplotlib need not make its list of fonts"


def test_what_tsdat_says_of_the_vap_in_its_image(images: dict[str, str]) -> None:
    ask = json.dumps({"op": "describe", "file": VAP.config_file})
    worker = f"echo '{ask}' | python -m tidegate.runtime.worker"
    with container(images["lidar_vap"]) as box:
        _, answer = map(json.loads, says(box, "sh", "-c", worker).splitlines())
    described = from_json(Pipeline, answer["pipeline"])
    assert described.datastreams
