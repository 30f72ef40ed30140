"""Formats as instruments write them: each gives a pipeline with the right times, units, values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import raw_files

from tidegate.scaffold.ingest.create import Wanted, create, plan_ingest
from tidegate.scaffold.questions import Answers, Unanswered

CF = ("air_temperature", "air_pressure", "wind_speed", "wind_from_direction")
UNITS = ("degC", "hPa", "m s-1", "degree")


@dataclass(frozen=True)
class Case:
    write: Callable[[Path], None]
    suffix: str = ".csv"
    given: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = CF
    units: tuple[str, ...] = UNITS
    own_reader: bool = False
    missing: dict[int, int] = field(default_factory=dict)
    """By the row, the column that is missing there."""
    rows: tuple[int, ...] = tuple(range(raw_files.ROWS))

    @property
    def name(self) -> str:
        return self.write.__name__


GERMAN = ("temperatur", "luftdruck", "windgeschwindigkeit", "windrichtung")
NO_GAP = tuple(i for i in range(raw_files.ROWS) if not 8 <= i < 12)
CASES = [
    Case(raw_files.toa5, units=("degC", "mbar", "m s-1", "degree"), missing={5: 0}),
    Case(raw_files.decimal_comma, names=GERMAN),
    Case(raw_files.two_headers),
    Case(raw_files.excel_csv, given={"date_order": "day"}),
    Case(raw_files.day_of_year, own_reader=True),
    Case(raw_files.unix_seconds),
    Case(raw_files.gps_seconds),
    Case(raw_files.unnamed_seconds, given={"time_kind": "gps"}),
    Case(
        raw_files.am_pm,
        given={"date_order": "month"},
        units=("degC", "mbar", "m s-1", "degree"),
    ),
    Case(raw_files.gaps, missing={3: 0, 4: 1, 5: 2}, rows=NO_GAP),
    Case(raw_files.repeated_header, own_reader=True),
    Case(raw_files.trailing_comma),
    Case(raw_files.latin1, own_reader=True),
    Case(
        raw_files.netcdf,
        ".nc",
        given={"time_units": "seconds since 2022-06-01"},
        names=("temp", "press", "wspd", "wdir"),
    ),
    Case(raw_files.zip_of_csv, ".zip"),
    Case(raw_files.excel, ".xlsx", own_reader=True),
    Case(raw_files.json_lines, ".jsonl", own_reader=True),
    Case(raw_files.spaces, ".txt", own_reader=True, missing={6: 2}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_product_has_the_known_times_units_and_values(case, workspace, worker, tmp_path):
    raw = tmp_path / f"{case.name}{case.suffix}"
    case.write(raw)
    plan = plan_ingest(
        workspace, Wanted(case.name, [raw], location="pier"), Answers(case.given, yes=True)
    )
    created = create(plan, worker, approve=None)

    [file] = created.trial.data
    with netCDF4.Dataset(file) as product:
        product.set_auto_mask(False)  # it would mask what is outside the valid range
        time = product["time"]
        made = netCDF4.num2date(time[:], time.units, only_use_cftime_datetimes=False)
        assert list(made) == [raw_files.TIMES[row] for row in case.rows]
        for column, (name, unit) in enumerate(zip(case.names, case.units)):
            variable = product[name]
            assert variable.units == unit
            known = [
                np.nan if case.missing.get(row) == column else raw_files.VALUES[row][column]
                for row in case.rows
            ]
            values = variable[:].astype(float)
            values = np.where(values == variable._FillValue, np.nan, values)
            np.testing.assert_allclose(values, known, rtol=1e-6)
            if name in CF:
                assert variable.standard_name == name
    readers = workspace.root / "pipelines" / case.name / "readers.py"
    assert readers.exists() == case.own_reader
    assert [path.suffix for _, path in created.trial.files].count(".png") == 1
    assert not created.trial.record.plots_failed


QUESTIONS = [
    (raw_files.excel_csv, ".csv", "date_order"),
    (raw_files.am_pm, ".csv", "date_order"),
    (raw_files.unnamed_seconds, ".csv", "time_kind"),
    (raw_files.netcdf, ".nc", "time_units"),
]


@pytest.mark.parametrize(("write", "suffix", "key"), QUESTIONS)
def test_what_the_file_does_not_say_is_asked_even_with_yes(write, suffix, key, workspace, tmp_path):
    raw = tmp_path / f"sample{suffix}"
    write(raw)
    with pytest.raises(Unanswered) as raised:
        plan_ingest(workspace, Wanted("asked", [raw], location="pier"), Answers(yes=True))
    assert raised.value.question.key == key
    assert raised.value.exit_code == 2
    assert not (workspace.root / "pipelines" / "asked").exists()
