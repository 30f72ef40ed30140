"""Workspaces with the example's lidar ingest: its plots on, off, or its figures left open."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tidegate.workspace.folder import CONFIG, Workspace

Plots = Literal["on", "off", "left open"]

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
HUMBOLDT = "pipelines/lidar/config/pipeline_humboldt.yaml"
MORRO = "pipelines/lidar/config/pipeline_morro.yaml"
FIRST_DAY = "20200101"

_INGEST = """\
pipelines:
- name: lidar
  type: Ingest
  trigger: S3
  configs:
    humboldt:
      input_bucket_path: lidar/humboldt/
      config_file_path: pipelines/lidar/config/pipeline_humboldt.yaml
    morro:
      input_bucket_path: lidar/morro/
      config_file_path: pipelines/lidar/config/pipeline_morro.yaml
"""

_VARIANTS: dict[Plots, str] = {
    "on": "",
    "off": """

Lidar.hook_plot_dataset = IngestPipeline.hook_plot_dataset
""",
    "left open": '''

def plot_and_forget(self: Lidar, dataset: xr.Dataset) -> None:
    """As many real pipelines do: pyplot keeps the figure until somebody closes it."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots()
    axes.plot(dataset.time.values, dataset["wind_speed"].values)
    fig.savefig(self.get_ancillary_filepath("wind"))


Lidar.hook_plot_dataset = plot_and_forget
''',
}


def make(root: Path, plots: Plots, *, vap: bool = False) -> Workspace:
    """A workspace in ``root`` with the example's ingest for two sites, and perhaps its VAP."""
    ignored = shutil.ignore_patterns("__pycache__", ".venv", "*.pyc", "storage")
    shutil.copytree(EXAMPLES / "pipelines", root / "pipelines", ignore=ignored)
    if vap:
        shutil.copyfile(EXAMPLES / CONFIG, root / CONFIG)
    else:
        (root / CONFIG).write_text(_INGEST)
    with (root / "pipelines/pipelines/lidar/pipeline.py").open("a") as code:
        code.write(_VARIANTS[plots])
    workspace = Workspace.at(root)
    workspace.prepare()
    return workspace


def raw_files(
    out: Path, days: int, *, sites: Sequence[str] = ("humboldt",), minutes: int = 1440
) -> list[Path]:
    """Raw files of so many days for each site, below ``out``, the oldest first."""
    command = [sys.executable, str(EXAMPLES / "make_raw.py"), "--out", str(out), "--seed", "1"]
    command += ["--day", FIRST_DAY, "--days", str(days), "--minutes-per-file", str(minutes)]
    command += [part for site in sites for part in ("--site", site)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [Path(line) for line in done.stdout.splitlines()]
