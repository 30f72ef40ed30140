"""The server: the application on a port, in a thread of its own."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

import uvicorn

from tidegate.errors import TidegateError, UsageError
from tidegate.web.actions import Actions
from tidegate.web.app import Dashboard, create_app, warm_up
from tidegate.web.options import WebOptions, check_options
from tidegate.web.security import Guard
from tidegate.web.site import Site
from tidegate.workspace.session import TargetOptions

_GRACE = 3.0


class WebServer:
    """A dashboard; it answers requests inside of its ``with`` block, until it is stopped.

    Raises:
        UsageError: the address is in use, or other machines could reach it without a token.
        TidegateError: the config is not valid, or the target cannot be used.
    """

    def __init__(
        self,
        target: TargetOptions,
        options: WebOptions,
        *,
        python: str | None = None,
        workers: int = 1,
    ) -> None:
        self._options = check_options(options)
        self._socket = _listen(options)
        try:
            self._site = Site(
                target, read_only=options.read_only, python=python, earlier=options.earlier
            )
        except BaseException:
            self._socket.close()
            raise
        self._actions = Actions(self._site, python=python, workers=workers)
        self._dashboard = Dashboard(self._site, Guard(options), self._actions)
        config = uvicorn.Config(
            create_app(self._dashboard),
            log_config=None,
            log_level="critical",  # errors are logged where they are answered
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=int(_GRACE),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="tidegate-web", daemon=True)
        self._warming = threading.Thread(
            target=warm_up, args=(self._dashboard,), name="tidegate-web-start", daemon=True
        )
        self._error: BaseException | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self._socket.getsockname()[:2]
        host = self._options.host if not _is_any(host) else "127.0.0.1"
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    @property
    def at_work(self) -> bool:
        """Whether runs are being carried out that a reader asked for."""
        return self._actions.at_work

    def __enter__(self) -> WebServer:
        self._actions.start()
        self._thread.start()
        self._warming.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._thread.join(_GRACE + 2.0)
        self._warming.join(_GRACE)
        self._actions.close()
        self._socket.close()
        self._site.close()

    def wait(self) -> None:
        """Wait until it is stopped.

        Raises:
            TidegateError: it ended by itself.
        """
        while self._thread.is_alive():
            self._thread.join(0.2)
        if self._error is not None:
            raise TidegateError(
                "the dashboard has stopped", why=repr(self._error), next="start it again"
            ) from self._error

    def stop(self) -> None:
        """Stop it; may be called from any thread."""
        self._server.should_exit = True

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:
            self._error = error


def _listen(options: WebOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot listen on {options.host}, port {options.port}",
            why=error.strerror or str(error),
            next="choose another one with --port, or --port 0 for any that is free",
        ) from error
    return listening


def _is_any(host: str) -> bool:
    return host in ("0.0.0.0", "::")
