"""A server that answers for services of AWS that no emulator has, or answers with errors only."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answering:
    """What it answers, and what it was asked."""

    endpoint: str = ""
    answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """By the target of the request, such as ``com.amazonaws.…Service.GetConnection``, or by its
    method and path for services without targets."""
    page: str = ""
    """What it answers instead to everything, such as a page of some other server."""
    status: int = 403
    """How it answers anything else."""
    asked: list[str] = field(default_factory=list)
    """The targets of all requests."""


@contextlib.contextmanager
def answering(**more: Any) -> Iterator[Answering]:
    """The server, for as long as it is entered."""
    state = Answering(**more)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            target = self.headers.get("X-Amz-Target", "")
            state.asked.append(target or self.path)
            path = self.path.partition("?")[0].rstrip("/")
            answer = state.answers.get(target or f"{self.command} {path}")
            body = json.dumps(answer or {"__type": "AccessDeniedException", "message": "no"})
            if answer is None and not target:  # the older services speak XML
                error = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
                body = f"<ErrorResponse>{error}</ErrorResponse>"
            body = state.page or body
            self.send_response(200 if answer is not None else state.status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
