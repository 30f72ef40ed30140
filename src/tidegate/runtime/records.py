"""Frozen dataclasses to plain JSON and back.

Workers, ledgers and queues exchange records as JSON, so every record must survive the round trip.
Times are ISO 8601 with their offset, and always have a time zone.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from tidegate.runtime.type_hints import type_hints

if TYPE_CHECKING:
    from typing import TypeAlias

T = TypeVar("T")


def check_aware(record: object) -> None:
    """Raise ValueError when a datetime field of ``record`` has no time zone."""
    kind: Any = type(record)
    for name in _times_of(kind):
        value = getattr(record, name)
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"{kind.__name__}.{name} needs a time zone: {value}")


@functools.lru_cache(maxsize=None)  # not `cache`: Python 3.8 has none
def _times_of(kind: Any) -> tuple[str, ...]:
    """The fields of a class of records that may hold a time; annotations are strings."""
    return tuple(f.name for f in dataclasses.fields(kind) if "datetime" in str(f.type))


def utc(moment: datetime) -> datetime:
    """The same instant in UTC; a time without a zone is taken as UTC."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)


def to_json(value: Any) -> Any:
    """``value`` as what ``json.dumps`` takes; fields that hold their default are left out."""
    kind: Any = type(value)
    if kind in _PLAIN:  # most values are: the checks below would take most of the time
        return value
    fields = _fields_of(kind)
    if fields is not None:
        data = {}
        for name, default, made in fields:
            item = getattr(value, name)
            if item is not default and not (
                item == default and (made or type(item) is type(default))
            ):
                data[name] = item if type(item) in _PLAIN else to_json(item)
        return data
    if isinstance(value, datetime):
        return utc(value).isoformat()
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


_PLAIN = frozenset((str, int, float, bool, type(None)))


@functools.lru_cache(maxsize=None)  # not `cache`: Python 3.8 has none
def _fields_of(kind: type) -> tuple[tuple[str, Any, bool], ...] | None:
    """Each field of a class of records: its name, its default, and whether that is made by a
    factory; None for any other class."""
    if not dataclasses.is_dataclass(kind):
        return None
    return tuple((f.name, *_default_of(f)) for f in dataclasses.fields(kind))


def _default_of(field: dataclasses.Field[Any]) -> tuple[Any, bool]:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory(), True
    return field.default, False  # MISSING equals no value


def from_json(cls: type[T], data: Any) -> T:
    """The record of class ``cls`` that ``to_json`` made ``data`` of.

    Raises:
        ValueError: ``data`` does not have the shape of ``cls``. Unknown keys are ignored, so that
            an older runtime reads what a newer one wrote.
    """
    try:
        return typing.cast(T, _reader(typing.cast(Any, cls))(data))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a {cls.__name__}: {error!r}") from error


def dumps(value: Any) -> str:
    """Canonical JSON of a record: sorted keys, no blanks, one line."""
    return _encode(to_json(value))


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode
"""As ``json.dumps`` with these arguments, which would make an encoder for each call."""


def loads(cls: type[T], text: str | bytes) -> T:
    """The inverse of ``dumps``; raises ValueError on anything else."""
    return from_json(cls, json.loads(text))


Reader: TypeAlias = "Callable[[Any], Any]"


_UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))


@functools.lru_cache(maxsize=None)  # not `cache`: Python 3.8 has none
def _reader(hint: Any) -> Reader:
    """The function that converts JSON into a value of type ``hint``; cached for each type."""
    if dataclasses.is_dataclass(hint):
        return _record_reader(typing.cast(type, hint))
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        inner = _reader(next(arg for arg in args if arg is not type(None)))
        return lambda data: None if data is None else inner(data)
    if origin is tuple:
        return functools.partial(_tuple, _reader(args[0]))
    if origin is typing.Literal:
        return functools.partial(_one_of, args)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        value_of = _reader(args[1])
        return lambda data: {str(key): value_of(value) for key, value in data.items()}
    if hint is datetime:
        return lambda data: utc(datetime.fromisoformat(data))
    return functools.partial(_scalar, hint)


def _record_reader(cls: type) -> Reader:
    readers: dict[str, Reader] = {}

    def read(data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise TypeError(f"expected an object, got {type(data).__name__}")
        if not readers:  # only now, so that a record may contain one of its own type
            hints = type_hints(cls)
            readers.update((f.name, _reader(hints[f.name])) for f in dataclasses.fields(cls))
        return cls(**{name: readers[name](data[name]) for name in data if name in readers})

    return read


def _tuple(item: Reader, data: Any) -> tuple[Any, ...]:
    if not isinstance(data, (list, tuple)):
        raise TypeError(f"expected a list, got {data!r}")
    return tuple(item(value) for value in data)


def _one_of(known: tuple[Any, ...], data: Any) -> Any:
    if data not in known:
        raise TypeError(f"{data!r} is none of {known}")
    return data


def _scalar(hint: Any, data: Any) -> Any:
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    plain = hint in (str, int, float, bool)
    if plain and (not isinstance(data, hint) or (hint is int and isinstance(data, bool))):
        raise TypeError(f"expected {hint.__name__}, got {data!r}")
    return data
