"""docs/first-pipeline.md, line by line, from an empty folder."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import netCDF4
import numpy as np
import pytest
from shown import ROOT, console

GUIDE = ROOT / "docs" / "first-pipeline.md"
SAMPLE = "met_20220601.csv"


@pytest.mark.functional
def test_the_first_pipeline_line_by_line(tmp_path):
    pytest.importorskip("compliance_checker")
    text = re.search(r"```csv\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]
    (tmp_path / SAMPLE).write_text(text)
    here, products = tmp_path, []
    for line in console(GUIDE):
        words = shlex.split(line.command)
        if words[0] == "cd":
            here /= words[1]
        elif words[0] == "cp":
            shutil.copyfile(here / words[1], here / words[2] / SAMPLE)
        else:
            products.append(run(words, here))
    hourly = here / "output/storage/root/data/pier/pier.met_hourly.c1"
    means = {}
    for file in sorted(hourly.glob("*.nc")):
        with netCDF4.Dataset(file) as product:
            values = np.ma.filled(product["air_temperature"][:].astype(float), np.nan)
            means[file.name.split(".")[4]] = values[0]
    assert means["000000"] == pytest.approx(np.mean([12.5, 12.75, 13.0, 13.5, 13.75]))
    assert means["010000"] == pytest.approx(np.mean([14.0, 14.25, 14.5, 14.75, 15.0, 15.25]))
    assert "pier.met.a1" in products[-1]


def run(words, folder):
    command = [sys.executable, "-m", *words]
    if words[1] in ("check", "up") or words[1:3] in (["new", "ingest"], ["new", "vap"]):
        command += ["--python", sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout
