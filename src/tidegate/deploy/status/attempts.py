"""Requests for one part of the status, so that a failure does not affect the other parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tidegate.deploy.status.model import Unknown
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, Missing

T = TypeVar("T")


def or_unknown(ask: Callable[[], T]) -> T | Unknown:
    """AWS's answer, or why there is none."""
    try:
        return ask()
    except TidegateError as error:
        return Unknown(": ".join(part for part in (error.what, error.why) if part))
    except Missing as error:
        return Unknown(f"AWS says that it does not exist: {error}")


def list_all(
    clients: Clients, service: str, operation: str, part: str, **arguments: Any
) -> Iterator[Any]:
    """All items of a list that AWS returns in pages; ``part`` is the key of the items."""
    for page in clients.client(service).get_paginator(operation).paginate(**arguments):
        yield from page.get(part, ())
