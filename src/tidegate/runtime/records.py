"""Frozen dataclasses to plain JSON and back.

The two worlds, and the two targets, meet in JSON only: a record that cannot make the round trip
cannot cross. Dates are ISO 8601 with their offset and always aware.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, TypeVar

T = TypeVar("T")


def check_aware(record: object) -> None:
    """Raise ValueError when a datetime field of ``record`` has no time zone."""
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"{type(record).__name__}.{field.name} needs a time zone: {value}")


def utc(moment: datetime) -> datetime:
    """The same instant in UTC; a time without a zone is taken as UTC."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)


def to_json(value: Any) -> Any:
    """``value`` as what ``json.dumps`` takes; fields that hold their default are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not _is_default(field, getattr(value, field.name))
        }
    if isinstance(value, datetime):
        return utc(value).isoformat()
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(cls: type[T], data: Any) -> T:
    """The record of class ``cls`` that ``to_json`` made ``data`` of.

    Raises:
        ValueError: ``data`` does not have the shape of ``cls``. Unknown keys are ignored, so that
            an older runtime reads what a newer one wrote.
    """
    try:
        return typing.cast(T, _build(cls, data))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a {cls.__name__}: {error!r}") from error


def dumps(value: Any) -> str:
    """Canonical JSON of a record: sorted keys, no blanks, one line."""
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def loads(cls: type[T], text: str | bytes) -> T:
    """The inverse of ``dumps``; raises ValueError on anything else."""
    return from_json(cls, json.loads(text))


def _is_default(field: dataclasses.Field[Any], value: object) -> bool:
    if field.default is not dataclasses.MISSING:
        return bool(type(value) is type(field.default) and value == field.default)
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return False


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _build(hint: Any, data: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(data, Mapping):
            raise TypeError(f"expected an object, got {type(data).__name__}")
        hints = _hints(typing.cast(type, hint))
        known = {f.name for f in dataclasses.fields(hint)}
        kwargs = {name: _build(hints[name], data[name]) for name in data if name in known}
        return typing.cast(Any, hint)(**kwargs)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if data is None:
            return None
        return _build(next(arg for arg in args if arg is not type(None)), data)
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise TypeError(f"expected a list, got {data!r}")
        return tuple(_build(args[0], item) for item in data)
    if origin is typing.Literal:
        if data not in args:
            raise TypeError(f"{data!r} is none of {args}")
        return data
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {str(key): _build(args[1], item) for key, item in data.items()}
    if hint is datetime:
        return utc(datetime.fromisoformat(data))
    return _scalar(hint, data)


def _scalar(hint: Any, data: Any) -> Any:
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    plain = hint in (str, int, float, bool)
    if plain and (not isinstance(data, hint) or (hint is int and isinstance(data, bool))):
        raise TypeError(f"expected {hint.__name__}, got {data!r}")
    return data
