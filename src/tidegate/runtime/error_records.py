"""Errors as JSON, and back: how one process tells another what failed."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from tidegate import errors
from tidegate.errors import ConfigurationError, TidegateError


def error_data(error: BaseException) -> dict[str, str]:
    """An error as JSON."""
    if isinstance(error, TidegateError):
        return {
            "type": type(error).__name__,
            "what": error.what,
            "why": error.why,
            "next": error.next,
            "where": error.where,
        }
    what = traceback.format_exception_only(type(error), error)[-1].strip()
    return {"type": type(error).__name__, "what": what, "why": "", "next": "", "where": ""}


def error_of(answer: Mapping[str, Any]) -> TidegateError:
    """The error in an answer: ``{"error": …}``."""
    error = answer.get("error")
    if not isinstance(error, dict):
        error = {"what": f"an answer that cannot be read: {str(answer)[:200]}"}
    cls = getattr(errors, str(error.get("type")), None)
    if not (isinstance(cls, type) and issubclass(cls, TidegateError)):
        cls = ConfigurationError
    return cls(
        str(error.get("what", "unknown error")),
        why=str(error.get("why", "")),
        next=str(error.get("next", "")),
        where=str(error.get("where", "")),
    )
