"""Asking AWS for one part, so that the others do not fail with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tidegate.deploy.status.model import Unknown
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, Missing

T = TypeVar("T")


def known(ask: Callable[[], T]) -> T | Unknown:
    """What AWS tells, or why it does not."""
    try:
        return ask()
    except TidegateError as error:
        return Unknown(": ".join(part for part in (error.what, error.why) if part))
    except Missing as error:
        return Unknown(f"AWS says that there is no such thing: {error}")


def pages(
    clients: Clients, service: str, operation: str, part: str, **arguments: Any
) -> Iterator[Any]:
    """All items of a list that AWS gives in pages."""
    for page in clients.client(service).get_paginator(operation).paginate(**arguments):
        yield from page.get(part, ())
