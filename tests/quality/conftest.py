"""Datasets for the tests of quality."""

import numpy as np
import pytest
import xarray as xr


@pytest.fixture
def waves():
    """Six times, two heights; one missing value, and quality flags."""
    times = np.datetime64("2022-04-05", "ns") + np.arange(6) * np.timedelta64(10, "m")
    speed = np.arange(12, dtype="float32").reshape(6, 2)
    speed[2, 1] = np.nan
    flags = np.zeros((6, 2), "int32")
    flags[2, 1], flags[0, 0], flags[5, 1] = 1, 2, 3
    qc = {
        "flag_masks": np.array([1, 2], "int32"),
        "flag_meanings": ["Value is missing", "Unusually low"],
        "flag_assessments": ["Bad", "Indeterminate"],
    }
    return xr.Dataset(
        {
            "speed": (("time", "height"), speed, {"units": "m/s"}),
            "qc_speed": (("time", "height"), flags, qc),
            "count": ("time", np.arange(6, dtype="int64")),
            "name": ("time", np.array(list("abcdef"))),
        },
        {"time": times, "height": [10.0, 20.0]},
        {"datastream": "here.tiny.a1", "history": "now", "inputs": "/tmp/x/a.csv"},
    )
