"""Runs container images as Lambda does, without Docker.

The emulator hands each invocation on to an address (``MINISTACK_LAMBDA_PROXY_…``). Behind it is a
Runtime API of AWS's, as far as AWS's own runtime interface client asks for it; that client runs in
the image, chrooted by buildah, with the image's own entry point and the function's variables. So
what answers is the image itself, from its file system to its command.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_API = "/2018-06-01/runtime/"


Run = Callable[[Mapping[str, str]], Sequence[str]]
"""The command that runs an image's entry point with these variables."""


@dataclass
class Invocation:
    """One event, and what came of it."""

    id: str
    headers: Mapping[str, str]
    event: bytes
    answered: threading.Event = field(default_factory=threading.Event)
    answer: bytes = b""
    status: int = 500


class Environment:
    """One execution environment: a process in the image, and the Runtime API it talks to."""

    def __init__(self, run: Run, variables: Mapping[str, str], log: Path) -> None:
        self._waiting: queue.Queue[Invocation | None] = queue.Queue()
        self._open: dict[str, Invocation] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._log = log.open("ab")
        own = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_address[1]}",
            "AWS_EXECUTION_ENV": "AWS_Lambda_Image",
            "HOME": "/tmp",
        }
        self._process = subprocess.Popen(
            list(run({**own, **variables})),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def invoke(self, headers: Mapping[str, str], event: bytes) -> Invocation:
        """Hand an event to the process, one at a time, and wait for its answer."""
        with self._lock:
            deadline = int(headers["X-Amzn-Lambda-Deadline-Ms"]) / 1000
            made = Invocation(headers["X-Amzn-Lambda-Request-Id"], headers, event)
            self._open[made.id] = made
            self._waiting.put(made)
            while not made.answered.wait(0.2):
                over = time.time() > deadline
                if over or self._process.poll() is not None:
                    what = "timed out" if over else f"exited with {self._process.returncode}"
                    made.answer = json.dumps({"errorMessage": f"the function {what}"}).encode()
                    self.close()
                    break
            return made

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._waiting.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._log.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        environment = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == f"{_API}invocation/next"
                made = environment._waiting.get()
                if made is None:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", made.id)
                for name, source in (
                    ("Lambda-Runtime-Deadline-Ms", "X-Amzn-Lambda-Deadline-Ms"),
                    ("Lambda-Runtime-Invoked-Function-Arn", "X-Amzn-Lambda-Function-Arn"),
                ):
                    self.send_header(name, made.headers[source])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(made.event)))
                self.end_headers()
                self.wfile.write(made.event)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = self.path.removeprefix(_API).split("/")
                if parts[0] == "invocation":
                    made = environment._open.pop(parts[1])
                    made.answer, made.status = body, 200 if parts[2] == "response" else 500
                    made.answered.set()
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


class Functions:
    """The address that the emulator hands invocations to: by the image that a function has now."""

    def __init__(
        self, image_of: Callable[[str], tuple[str, Mapping[str, str]]], run: Callable[[str], Run],
        extra: Mapping[str, str], log: Path,
    ) -> None:  # fmt: skip
        self._image_of, self._run, self._extra, self._log = image_of, run, extra, log
        self._environments: dict[tuple[str, str], Environment] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def _environment(self, function: str) -> Environment:
        """A warm environment, where the function's image and settings are what they were."""
        image, variables = self._image_of(function)
        name = (function, json.dumps([image, sorted(variables.items())]))
        with self._lock:
            found = self._environments.get(name)
            if found is None or not found.alive:
                own = {**variables, **self._extra, "AWS_LAMBDA_FUNCTION_NAME": function}
                found = Environment(self._run(image), own, self._log)
                self._environments[name] = found
            return found

    def close(self) -> None:
        for environment in self._environments.values():
            if environment.alive:
                environment.close()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        functions = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                environment = functions._environment(self.headers["X-Amzn-Lambda-Function-Name"])
                made = environment.invoke(self.headers, body)
                self.send_response(made.status)
                self.send_header("Content-Length", str(len(made.answer)))
                self.end_headers()
                self.wfile.write(made.answer)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@contextlib.contextmanager
def functions(*arguments: Any) -> Iterator[Functions]:
    """Functions, ended with all their processes."""
    made = Functions(*arguments)
    try:
        yield made
    finally:
        made.close()
