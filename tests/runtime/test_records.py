"""Records to JSON and back."""
# ruff: noqa: DTZ001  (hypothesis wants the limits of times without a zone)

import dataclasses
import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.runtime import events, manifest, records, runs, task

TYPES = [
    *(getattr(module, name) for module in (runs, manifest, events, task) for name in vars(module)
      if dataclasses.is_dataclass(getattr(module, name))
      and getattr(module, name).__module__ == module.__name__),
]  # fmt: skip

MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone.utc))
WINDOWS = st.builds(
    lambda begin, seconds: runs.Window(begin, begin + timedelta(seconds=seconds)),
    MOMENTS,
    st.integers(1, 10**8),
)
NUMBERS = st.floats(allow_nan=False)  # NaN is not equal to itself
for _type, _strategy in ((datetime, MOMENTS), (runs.Window, WINDOWS), (float, NUMBERS)):
    st.register_type_strategy(_type, _strategy)

quick = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


def test_all_record_types_are_found():
    names = {cls.__name__ for cls in TYPES}
    assert {"Run", "RunRecord", "Product", "Config", "Manifest", "Task", "Outcome"} <= names


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
@quick
@given(data=st.data())
def test_round_trip(cls, data):
    record = data.draw(st.from_type(cls))
    text = records.dumps(record)
    assert "\n" not in text
    text.encode("ascii")
    again = records.loads(cls, text)
    assert again == record
    assert records.dumps(again) == text
    hash_of = getattr(record, "key", None)
    assert getattr(again, "key", None) == hash_of


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
@quick
@given(data=st.data())
def test_unknown_keys_are_ignored(cls, data):
    record = data.draw(st.from_type(cls))
    plain = records.to_json(record) | {"from the future": [1, {"x": None}]}
    assert records.from_json(cls, plain) == record


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
@quick
@given(data=st.data())
def test_any_other_shape_is_a_value_error(cls, data):
    """One field of a good record becomes anything: a record comes out, or a ValueError."""
    plain = records.to_json(data.draw(st.from_type(cls)))
    name = data.draw(st.sampled_from([f.name for f in dataclasses.fields(cls)]))
    plain[name] = data.draw(JSON)
    try:
        built = records.from_json(cls, plain)
    except ValueError:
        return
    assert isinstance(built, cls)
    assert records.from_json(cls, records.to_json(built)) == built or "nan" in repr(built)


@pytest.mark.parametrize(
    ("cls", "data"),
    [
        (runs.Input, []),
        (runs.Input, {}),
        (runs.Input, {"key": "a", "version": "b"}),
        (runs.Input, {"key": 1, "version": "b", "size": 1}),
        (runs.Input, {"key": "a", "version": "b", "size": "1"}),
        (runs.Input, {"key": "a", "version": "b", "size": True}),
        (runs.Input, {"key": None, "version": "b", "size": 1}),
        (runs.Run, {"config": "a/b", "inputs": "abc"}),
        (runs.Run, {"config": "a/b", "arguments": "abc"}),
        (runs.Run, {"config": "a/b", "inputs": {"key": 1}}),
        (runs.Run, {"config": "a/b", "arrived": "yesterday"}),
        (runs.Run, {"config": "a/b", "arrived": 5}),
        (runs.Run, {"config": "a/b", "arrived": "0001-01-01T00:00:00+14:00"}),
        (runs.Window, {"begin": "2022-01-02T00:00:00Z"[:-1], "end": "2022-01-01T00:00:00"}),
        (runs.Failure, {"kind": "bad luck", "message": ""}),
        (task.Outcome, {"seconds": {"run": 10**400}}),
        (task.Outcome, {"seconds": [1]}),
    ],
)  # fmt: skip
def test_wrong_shapes(cls, data):
    with pytest.raises(ValueError, match=r".+"):
        records.from_json(cls, data)


@pytest.mark.parametrize("text", ["", "{", b"\xff\xfe", "[]", "1", '"a"'])
def test_text_that_is_no_record(text):
    with pytest.raises(ValueError, match=r".*"):
        records.loads(runs.Input, text)


def test_defaults_are_left_out_and_times_are_in_utc():
    tokyo = timezone(timedelta(hours=9))
    run = runs.Run("a/b", arrived=datetime(2022, 4, 5, 9, tzinfo=tokyo))
    assert json.loads(records.dumps(run)) == {
        "config": "a/b", "arrived": "2022-04-05T00:00:00+00:00"
    }  # fmt: skip


def test_false_is_not_left_out_where_zero_is_the_default():
    assert records.to_json(manifest.Pipeline("C", pad_before=0)) == {
        "classname": "C", "pad_before": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda t: runs.Window(t, t + timedelta(1)),
        lambda t: runs.Run("a/b", arrived=t),
        lambda t: runs.Run("a/b", due=t),
        lambda t: runs.Product("a", "data", 1, "x", begin=t),
        lambda t: events.ScheduleDue("a/b", t),
    ],
)
def test_times_without_a_zone_are_refused(make):
    with pytest.raises(ValueError, match="needs a time zone"):
        make(datetime(2022, 4, 5))
