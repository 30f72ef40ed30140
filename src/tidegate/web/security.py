"""Who may do what: checks of Host, Origin, token and forms, and the headers of every answer.

A page on another site can make a reader's browser send requests here. It cannot read the answers,
it cannot set our cookie, and requests that change something need a value from one of our forms.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from tidegate.web.options import WebOptions, is_loopback

COOKIE = "tidegate"
SAFE = ("GET", "HEAD")
OPEN_PATHS = ("/healthz", "/login")
"""Anybody may ask for these; and for files in /static/."""

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""In every answer: nothing from other sites, no inline code, not in another site's frame."""

DATA_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
"""For files made by pipelines: they may show something, but run nothing."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    """The HTTP status."""
    what: str
    """What happened."""
    next: str
    """What to do."""


@dataclass(frozen=True)
class Guard:
    """Checks requests, for one server."""

    options: WebOptions
    """Where it listens, and its token."""
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """The value in forms; new at each start."""

    @property
    def cookie(self) -> str:
        """The cookie of a reader who knows the token: it does not give the token away."""
        token = self.options.token.encode()
        return hmac.new(token, b"cookie of the dashboard", hashlib.sha256).hexdigest()

    def check(
        self, method: str, path: str, headers: Mapping[str, str], cookies: Mapping[str, str]
    ) -> Refusal | None:
        """Why the request is refused; None if it is not. Does not look at forms."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return Refusal(
                421,
                "This server does not answer to that name",
                "Use its address, or start it with `--name` and the name that you use.",
            )
        if method not in SAFE and not self._same_origin(host, headers):
            return Refusal(
                403,
                "The request comes from another site",
                "Go to the page here and use its buttons.",
            )
        if self.options.token and not (
            path in OPEN_PATHS or path.startswith("/static/") or self.knows(headers, cookies)
        ):
            return Refusal(401, "You need the token of this dashboard", "Log in with it.")
        return None

    def knows(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
        """Whether the reader has shown the token: in a cookie, or as bearer."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(token.strip())
        return hmac.compare_digest(cookies.get(COOKIE, "").encode(), self.cookie.encode())

    def is_token(self, token: str) -> bool:
        """Whether this is the token; takes equally long for every wrong one."""
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(given, hashlib.sha256(self.options.token.encode()).digest())

    def is_csrf(self, value: str) -> bool:
        """Whether a form is one of ours."""
        given = value.encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self.csrf.encode())

    def _is_ours(self, host: str) -> bool:
        """Whether a ``Host`` is a name of this server.

        Another site could have its own name lead here (DNS rebinding), and then read the answers.
        """
        name = _name(host)
        if name is None:
            return False
        own = {self.options.host.lower().strip("[]"), *(n.lower() for n in self.options.names)}
        if is_loopback(name) or name in own:
            return True
        if self.options.loopback:
            return False
        machine = {socket.gethostname().lower(), socket.getfqdn().lower()}
        return _is_address(name) or name in machine

    def _same_origin(self, host: str, headers: Mapping[str, str]) -> bool:
        """Whether a request that changes something comes from one of our pages, or no browser."""
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _name(host: str) -> str | None:
    """The name or address in a ``Host``; None if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    clean = not (parts.path or parts.query or parts.fragment or "@" in host)
    return parts.hostname if clean else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
