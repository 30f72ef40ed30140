"""The application: routes, checks of every request, and errors as pages that say what to do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidegate.errors import InputChanged, LedgerError, StorageError, TidegateError, UsageError
from tidegate.targets.local.listener import internal_error
from tidegate.web import files
from tidegate.web.actions import Action, Actions, reader_name
from tidegate.web.endpoints import Endpoint, NotFound, Parameters
from tidegate.web.links import FILES, ServerLinks, paths_of
from tidegate.web.metrics import metrics_text
from tidegate.web.openapi import api_path, describe_api
from tidegate.web.pages import ENDPOINTS
from tidegate.web.rendering import STATIC, render, render_message, static_version
from tidegate.web.security import COOKIE, HEADERS, Guard
from tidegate.web.site import Site

logger = logging.getLogger(__name__)

_NAME_COOKIE = "tidegate-name"
_MONTH = 30 * 24 * 3600
_LARGEST_FORM = 100_000


@dataclass(frozen=True)
class Dashboard:
    """What all handlers share."""

    site: Site
    """What is shown."""
    guard: Guard
    """Who may see it."""
    actions: Actions
    """What readers ask for."""
    links: ServerLinks = field(
        default_factory=lambda: ServerLinks(paths_of([*ENDPOINTS.values()]), static_version())
    )
    """Addresses."""


def create_app(dashboard: Dashboard) -> ASGIApp:
    """The application, for any ASGI server."""
    routes: list[BaseRoute] = [
        Route("/healthz", _health(dashboard)),
        Route("/metrics", _metrics(dashboard)),
        Route("/api/openapi.json", _openapi),
        *(Route(path, handler) for path, handler in files.routes(dashboard.site).items()),
        *(Route(api_path(e), _api(dashboard, e)) for e in ENDPOINTS.values()),
        *(Route(e.path, _page(dashboard, e)) for e in ENDPOINTS.values()),
        Route(FILES["login"], _login_form(dashboard)),
        Route(FILES["login"], _login(dashboard), methods=["POST"]),
        Route(FILES["logout"], _logout(dashboard), methods=["POST"]),
        *(Route(path, handler, methods=["POST"]) for path, handler in _buttons(dashboard)),
    ]
    handlers: dict[Any, Any] = {
        TidegateError: _on_error(dashboard),
        HTTPException: _on_http_error(dashboard),
        Exception: _on_error(dashboard),
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.mount("/static", StaticFiles(directory=STATIC))
    return _Checked(app, dashboard)


class _Checked:
    """Checks each request before anything else, and adds headers to each answer."""

    def __init__(self, app: ASGIApp, dashboard: Dashboard) -> None:
        self._app = app
        self._dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "raw_path" in scope:  # names of files need not be UTF-8
            raw = unquote_to_bytes(scope["raw_path"].split(b"?")[0])
            scope = {**scope, "path": raw.decode("utf-8", "surrogateescape")}
        request = Request(scope)
        headers = dict(HEADERS)
        if not scope["path"].startswith("/static/"):
            headers["cache-control"] = "no-store"
        elif "v" in request.query_params:
            headers["cache-control"] = f"max-age={_MONTH}, immutable"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [
                    (n.encode(), v.encode()) for n, v in headers.items() if n.encode() not in given
                ]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        guard = self._dashboard.guard
        refusal = guard.check(request.method, scope["path"], request.headers, request.cookies)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
            return
        if refusal.status == HTTPStatus.UNAUTHORIZED and _wants_page(request):
            here = self._dashboard.links("login", to=scope["path"])
            answer: Response = RedirectResponse(here, HTTPStatus.SEE_OTHER)
        else:
            answer = _error_answer(
                self._dashboard, request, refusal.status, refusal.what, next=refusal.next
            )
        await answer(scope, receive, send_with_headers)


# Pages and data.


def parameters_of(request: Request) -> Parameters:
    """The parameters of a request; the last one of several with the same name."""
    return Parameters(
        dict(request.path_params),
        dict(request.query_params),
        unquote_to_bytes(request.cookies.get(_NAME_COOKIE, "")).decode("utf-8", "replace"),
    )


def _page(dashboard: Dashboard, endpoint: Endpoint) -> Callable[[Request], Response]:
    def handle(request: Request) -> Response:
        content = _make_page(dashboard, endpoint, parameters_of(request))
        return Response(content, media_type="text/html; charset=utf-8")

    return handle


def _make_page(dashboard: Dashboard, endpoint: Endpoint, parameters: Parameters) -> bytes:
    return render(
        endpoint.view(dashboard.site, parameters),
        dashboard.site,
        dashboard.links,
        ENDPOINTS,
        here=endpoint.name,
        csrf="" if dashboard.site.read_only else dashboard.guard.csrf,
        parameters=parameters,
        can_log_out=bool(dashboard.guard.options.token),
    )


def warm_up(dashboard: Dashboard) -> None:
    """Make the overview once, so that the first reader need not wait for imports and templates."""
    try:
        _make_page(dashboard, ENDPOINTS["overview"], Parameters({}, {}))
    except Exception as error:  # the reader is going to see it
        logger.debug("the overview could not be made: %s", error)


def _api(dashboard: Dashboard, endpoint: Endpoint) -> Callable[[Request], Response]:
    def handle(request: Request) -> Response:
        return _json(endpoint.view(dashboard.site, parameters_of(request)).data)

    return handle


def _openapi(request: Request) -> Response:
    return _json(describe_api(ENDPOINTS.values()))


def _health(dashboard: Dashboard) -> Callable[[Request], Response]:
    def handle(request: Request) -> Response:
        dashboard.site.ledger.state("")  # raises when the ledger cannot be read
        return _json({"status": "ok"})

    return handle


def _metrics(dashboard: Dashboard) -> Callable[[Request], Response]:
    def handle(request: Request) -> Response:
        return Response(metrics_text(dashboard.site), media_type="text/plain; version=0.0.4")

    return handle


def _json(data: Any, status: int = HTTPStatus.OK) -> Response:
    text = json.dumps(data, indent=1, default=_day_text)
    return Response(text, status, media_type="application/json")


def _day_text(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} is not for JSON")


# Buttons.


Ask = Callable[[Actions, dict[str, str], str], Action]


def _buttons(dashboard: Dashboard) -> list[tuple[str, Any]]:
    """The addresses that forms are sent to."""

    def reprocess(actions: Actions, form: dict[str, str], who: str) -> Action:
        days = Parameters({}, form)
        only = days.one_of("only", ("missing", "stale", "failed")) or None
        begin, end = days.begin("begin"), days.end("end")
        return actions.reprocess(days.text("config"), begin, end, only, who)  # type: ignore[arg-type]

    asked: dict[str, Ask] = {
        "retry": lambda actions, form, who: actions.retry(form["key"], who),
        "acknowledge": lambda actions, form, who: actions.acknowledge(form["key"], who),
        "reprocess": reprocess,
        "pause-job": lambda actions, form, who: actions.change_job("pause", form["job"], who),
        "resume-job": lambda actions, form, who: actions.change_job("resume", form["job"], who),
        "cancel-job": lambda actions, form, who: actions.change_job("cancel", form["job"], who),
    }
    return [(FILES[name], _button(dashboard, ask)) for name, ask in asked.items()]


def _button(dashboard: Dashboard, ask: Ask) -> Any:
    async def handle(request: Request) -> Response:
        if dashboard.site.read_only:
            raise HTTPException(HTTPStatus.FORBIDDEN, "This dashboard is read-only")
        form = await _form(request)
        bearer = request.headers.get("authorization", "").lower().startswith("bearer ")
        if not dashboard.guard.is_csrf(form.get("csrf", "")) and not bearer:
            raise HTTPException(HTTPStatus.FORBIDDEN, "The page is older than the last start")
        address = request.client.host if request.client else ""
        name = form.get("who", "")
        who = reader_name(name, address)
        form.update(request.path_params)
        action = await run_in_threadpool(ask, dashboard.actions, form, who)
        if not _wants_page(request):
            return _json({"id": action.id, "state": action.state}, HTTPStatus.ACCEPTED)
        to = dashboard.links("run", key=action.about) if "key" in form else None
        to = dashboard.links("overview") if "job" in form else to
        answer = RedirectResponse(to or dashboard.links("requests"), HTTPStatus.SEE_OTHER)
        quoted = "".join(f"%{byte:02x}" for byte in name.encode("utf-8", "surrogateescape"))
        answer.set_cookie(
            _NAME_COOKIE, quoted[:400], max_age=_MONTH * 6, httponly=True, samesite="strict"
        )
        return answer

    return handle


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; the last one of several with the same name."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _LARGEST_FORM:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form is too large")
    fields = parse_qs(content.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=50)
    return {name: values[-1] for name, values in fields.items()}


# Logging in and out.


def _login_form(dashboard: Dashboard) -> Callable[[Request], Response]:
    def handle(request: Request) -> Response:
        lines = {"login": True, "to": request.query_params.get("to", "/")}
        content = render_message("Log in", lines, dashboard.links, dashboard.site.title)
        return Response(content, media_type="text/html; charset=utf-8")

    return handle


def _login(dashboard: Dashboard) -> Any:
    async def handle(request: Request) -> Response:
        form = await _form(request)
        if not dashboard.guard.is_token(form.get("token", "").strip()):
            raise HTTPException(HTTPStatus.FORBIDDEN, "That is not the token of this dashboard")
        to = form.get("to", "/")
        inside = to.startswith("/") and not to.startswith(("//", "/\\"))
        answer = RedirectResponse(to if inside else "/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            COOKIE,
            dashboard.guard.cookie,
            max_age=_MONTH,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    return handle


def _logout(dashboard: Dashboard) -> Any:
    async def handle(request: Request) -> Response:
        answer = RedirectResponse(dashboard.links("login"), HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE)
        return answer

    return handle


# Errors.


def _on_error(dashboard: Dashboard) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        if not isinstance(error, TidegateError):
            logger.error("%s failed", request.url.path, exc_info=error)
            error = internal_error(error)
        status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 500)
        what = f"{error.where}: {error.what}" if error.where else error.what
        return _error_answer(dashboard, request, status, what, why=error.why, next=error.next)

    return handle


_STATUS: dict[type[TidegateError], int] = {
    NotFound: 404,
    InputChanged: 404,
    UsageError: 400,
    LedgerError: 503,
    StorageError: 503,
    TidegateError: 500,
}

_NEXT = {
    403: "Load the page again, then try once more.",
    404: "Begin at the overview.",
    405: "Use the buttons on the pages.",
}


def _on_http_error(dashboard: Dashboard) -> Callable[[Request, HTTPException], Response]:
    def handle(request: Request, error: HTTPException) -> Response:
        what = error.detail
        if error.status_code == HTTPStatus.NOT_FOUND:
            what = "There is no such page"
        next = _NEXT.get(error.status_code, "")
        return _error_answer(dashboard, request, error.status_code, what, next=next)

    return handle


def _error_answer(
    dashboard: Dashboard, request: Request, status: int, what: str, *, why: str = "", next: str = ""
) -> Response:
    if not _wants_page(request):
        data = {"error": what, "why": why, "next": next}
        return _json({name: text for name, text in data.items() if text}, status)
    lines = {"why": why, "next": next, "status": status}
    content = render_message(what, lines, dashboard.links, dashboard.site.title)
    return Response(content, status, media_type="text/html; charset=utf-8")


def _wants_page(request: Request) -> bool:
    path = request.scope["path"]
    if path.startswith(("/api/", "/metrics", "/healthz")):
        return False
    return "text/html" in request.headers.get("accept", "text/html") or (
        "json" not in request.headers.get("accept", "")
    )
