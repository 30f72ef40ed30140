"""Addresses of pages and files: those of a server, or relative ones of a static copy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import quote, urlencode

from tidegate.web.endpoints import Endpoint

FILES = {
    "static": "/static/{name}",
    "file": "/files/{key:path}",
    "image": "/images/{key:path}",
    "quicklook": "/quicklook/{key:path}",
    "difference": "/compare/difference.png",
    "log": "/runs/{key}/log",
    "gaps": "/availability/gaps.csv",
    "days": "/availability/days.csv",
    "retry": "/runs/{key}/retry",
    "acknowledge": "/runs/{key}/acknowledge",
    "reprocess": "/reprocess",
    "pause-job": "/jobs/{job}/pause",
    "resume-job": "/jobs/{job}/resume",
    "cancel-job": "/jobs/{job}/cancel",
    "login": "/login",
    "logout": "/logout",
    "api": "/api/openapi.json",
}
"""What is there besides the pages."""

_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


class Links(Protocol):
    """Gives the address of a page or file."""

    def __call__(self, name: str, /, **parameters: object) -> str:
        """Those of ``parameters`` that are not in its path go into the query; empty ones do not."""


def paths_of(endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """The path of each page and file, by its name."""
    return {**FILES, **{endpoint.name: endpoint.path for endpoint in endpoints}}


def fill_path(path: str, parameters: Mapping[str, object]) -> tuple[str, dict[str, str]]:
    """A path with its parameters, quoted; and the parameters that are left, as text."""
    left = {name: str(value) for name, value in parameters.items() if value not in (None, "")}

    def fill(match: re.Match[str]) -> str:
        value = left.pop(match[1], "")
        safe = "/" if match[2] else ""
        return quote(value.encode("utf-8", "surrogateescape"), safe=safe)

    return _PARAMETER.sub(fill, path), left


class ServerLinks:
    """Addresses on a server, from its root."""

    def __init__(self, paths: Mapping[str, str], version: str = "") -> None:
        self._paths = paths
        self._version = version

    def __call__(self, name: str, /, **parameters: object) -> str:
        """See ``Links``."""
        if name == "static":
            parameters = {**parameters, "v": self._version}
        path, query = fill_path(self._paths[name], parameters)
        return f"{path}?{_query(query)}" if query else path


def _query(query: Mapping[str, str]) -> str:
    pairs = [(name, value.encode("utf-8", "surrogateescape")) for name, value in query.items()]
    return urlencode(pairs)
