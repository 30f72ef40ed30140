"""A MiniStack process of the tests' own: AWS on a free port of this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tidegate.deploy.emulator import guard
from tidegate.targets.aws.clients import Clients

REGION = "us-west-2"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
}
_READY = 180.0
WATCHDOG = [sys.executable, "-S", str(Path(guard.__file__))]
"""Before a command: it ends when its standard input ends, as it does with the tests."""
LIKE_AWS = Path(__file__).with_name("ministack_like_aws.py")
"""MiniStack, with more of AWS's rules."""


@dataclass(frozen=True)
class MiniStack:
    """A running emulator."""

    endpoint: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to take this for AWS."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    def clients(self) -> Clients:
        """Clients for it; the credentials are in the environment (``conftest``)."""
        return Clients(region=REGION, endpoint=self.endpoint)


@contextlib.contextmanager
def ministack(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[MiniStack]:
    """Start one; it and all that it starts end with the block, or with this process."""
    if importlib.util.find_spec("ministack") is None:
        pytest.skip(
            "ministack is not installed in this environment: "
            f"uv pip install --python {sys.executable} 'ministack>=1.5' boto3 aws-lambda-powertools"
        )
    port = _free_port()
    (folder / "tmp").mkdir(parents=True)
    # No AWS_* of ours: its Lambda workers would inherit them.
    environment = {name: v for name, v in os.environ.items() if not name.startswith("AWS_")} | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "TMPDIR": str(folder / "tmp"),
        "STATE_DIR": str(folder / "state"),
        **(more or {}),
    }
    with (folder / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [*WATCHDOG, sys.executable, str(LIKE_AWS)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder,
        )
    scheme = "https" if environment.get("USE_SSL") == "1" else "http"
    stack = MiniStack(f"{scheme}://127.0.0.1:{port}", folder / "ministack.log")
    try:
        _wait_until_ready(stack, process)
        yield stack
    finally:
        process.communicate()  # closes its standard input, which ends it


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(stack: MiniStack, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY
    trust = ssl._create_unverified_context()  # it makes its own certificate
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with (
            contextlib.suppress(urllib.error.URLError, OSError, json.JSONDecodeError),
            urllib.request.urlopen(
                f"{stack.endpoint}/_ministack/health", timeout=2, context=trust
            ) as answer,
        ):
            json.load(answer)
            return
        time.sleep(0.1)
    raise RuntimeError(f"MiniStack does not start:\n{stack.log.read_text()[-2000:]}")
