"""An emulator of AWS as a process of this machine, ended with whatever it has started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
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
"""What the functions' interpreter must be able to import besides Tsdat."""
_PACKAGES = ("ministack>=1.5", "boto3", "aws-lambda-powertools>=3.3")
_READY = 60.0


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    endpoint: str
    """Its address."""
    account: str
    """The account that it takes its caller for: the access key says so."""
    region: str
    """Its region."""
    log: Path
    """What it prints, its functions' output among it."""

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to take this for AWS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "emulator",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }


@contextlib.contextmanager
def emulator(
    python: Sequence[str], folder: Path, *, account: str, region: str, say: Say
) -> Iterator[Emulator]:
    """Start one with this interpreter, which is to have Tsdat: functions run in it.

    Raises:
        PythonEnvironmentError: it cannot be installed, or does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    extra = _packages(python, folder / "packages", say)
    port, log = _free_port(), folder / "emulator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*python, "-m", "ministack"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(folder, port, region, extra),
            cwd=folder,
            start_new_session=True,  # Ctrl-C is for us: it is ended in order
        )
    running = Emulator(f"http://127.0.0.1:{port}", account, region, log)
    try:
        _wait_until_ready(running, process)
        yield running
    finally:
        _end(process)


def clients(running: Emulator) -> Clients:
    """The way to an emulator, for this process."""
    os.environ.update(running.environment)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    return Clients(region=running.region, endpoint=running.endpoint)


def _packages(python: Sequence[str], folder: Path, say: Say) -> list[str]:
    """Folders to add to the path, so that the emulator and the handler can be imported."""
    found = ", ".join(NEEDED)
    asked = subprocess.run([*python, "-c", f"import {found}"], capture_output=True, check=False)
    if asked.returncode == 0:
        return []
    if not (folder / ".complete").exists():
        say("installing the emulator, once for this workspace")
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
                next="it comes from PyPI (ministack); look at the network, and try again",
            )
        (folder / ".complete").touch()
    return [str(folder)]


def _environment(folder: Path, port: int, region: str, extra: Sequence[str]) -> dict[str, str]:
    """No AWS_* of ours: its functions would inherit them."""
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
        next=f"look into {running.log}",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
