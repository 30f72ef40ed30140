"""An emulator of AWS as a process on this machine, which ends with all its children."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from tidegate.errors import PythonEnvironmentError
from tidegate.targets.aws.clients import Clients

Say = Callable[[str], None]
NEEDED = ("ministack", "boto3", "aws_lambda_powertools")
"""Modules that the functions' interpreter must be able to import, besides Tsdat."""
_PACKAGES = ("ministack>=1.5", "boto3", "aws-lambda-powertools>=3.3")
_GUARD = str(Path(__file__).with_name("guard.py"))
_READY, _END = 60.0, 30.0


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    endpoint: str
    """Its URL."""
    account: str
    """The account of its caller, given by the access key."""
    region: str
    """Its region."""
    log: Path
    """The log of the emulator and of its functions."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which a process uses the emulator as AWS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "emulator",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }


@contextlib.contextmanager
def run_emulator(
    python: Sequence[str], folder: Path, *, account: str, region: str, say: Say
) -> Iterator[Emulator]:
    """Start an emulator with this interpreter, in which functions run, so it must have Tsdat.

    Raises:
        PythonEnvironmentError: the emulator cannot be installed, or does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    extra = _packages(python, folder / "packages", say)
    port, log = _free_port(), folder / "emulator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", _GUARD, *python, "-m", "ministack"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=_environment(folder, port, region, extra),
            cwd=folder,
            start_new_session=True,  # so that Ctrl-C reaches only this process, which then ends it
            bufsize=0,
        )
    running = Emulator(f"http://127.0.0.1:{port}", account, region, log)
    try:
        _wait_until_ready(running, process)
        yield running
    finally:
        _end(process)


def connect(running: Emulator) -> Clients:
    """Clients of an emulator. This process uses it as AWS from now on."""
    os.environ.update(running.environment)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    return Clients(region=running.region, endpoint=running.endpoint)


def _packages(python: Sequence[str], folder: Path, say: Say) -> list[str]:
    """Folders to add to PYTHONPATH so that the emulator and the handler can be imported."""
    found = ", ".join(NEEDED)
    asked = subprocess.run([*python, "-c", f"import {found}"], capture_output=True, check=False)
    if asked.returncode == 0:
        return []
    if not (folder / ".complete").exists():
        say("installing the emulator; this is needed once for each workspace")
        command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", python[0]]
        done = subprocess.run(
            [*command, "--target", str(folder), *_PACKAGES],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PythonEnvironmentError(
                "the emulator of AWS cannot be installed",
                why=done.stderr.strip(),
                next="it is the package ministack on PyPI: check the network and try again",
            )
        (folder / ".complete").touch()
    return [str(folder)]


def _environment(folder: Path, port: int, region: str, extra: Sequence[str]) -> dict[str, str]:
    """The emulator's environment, without AWS_* of this process: functions would inherit them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path: Mapping[str, str] = {"PYTHONPATH": os.pathsep.join(extra)} if extra else {}
    return {
        **kept,
        **path,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": region,
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "TMPDIR": str(folder / "tmp"),
        "STATE_DIR": str(folder / "state"),
    }


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(running: Emulator, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, OSError, json.JSONDecodeError),
            urllib.request.urlopen(f"{running.endpoint}/_ministack/health", timeout=2) as answer,
        ):
            json.load(answer)
            return
        time.sleep(0.1)
    raise PythonEnvironmentError(
        "the emulator of AWS does not start",
        why=running.log.read_text(errors="replace").strip()[-1000:],
        next=f"read {running.log}",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the guard's standard input: it ends the emulator, and then itself."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
