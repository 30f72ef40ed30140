"""The Python files of a drafted ingest: pipeline with plots, reader, test."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tidegate.scaffold.ingest.records import JSON_LINES, Draft

PLOTS = '''\
    def hook_plot_dataset(self, dataset: xr.Dataset) -> None:
        """Plot every variable over time, labelled with its units; six to a picture."""
        names = [
            name
            for name, variable in dataset.data_vars.items()
            if not str(name).startswith("qc_")
            and variable.dtype.kind in "fiu"
            and "time" in variable.dims
        ]
        for first in range(0, len(names), PANELS):
            shown = names[first : first + PANELS]
            fig, axes = plt.subplots(
                len(shown), figsize=(10, 1 + 2 * len(shown)), sharex=True, squeeze=False
            )
            for ax, name in zip(axes[:, 0], shown):
                variable = dataset[name].transpose("time", ...)
                if variable.ndim == 1 or variable.sizes["time"] == 1:
                    ax.plot(dataset["time"], variable, marker=".")
                else:
                    variable.plot(ax=ax, x="time")
                label = dataset[name].attrs.get("long_name", name)
                units = dataset[name].attrs.get("units", "1")
                ax.set_ylabel(f"{name}\\n({units})")
                ax.set_title(label, loc="left", fontsize="medium")
                ax.set_xlabel("")
            axes[-1, 0].set_xlabel("Time (UTC)")
            fig.suptitle(dataset.attrs.get("datastream", ""))
            fig.tight_layout()
            title = f"variables_{first // PANELS + 1}"
            fig.savefig(self.get_ancillary_filepath(title=title))
            plt.close(fig)
'''


def pipeline_text(draft: Draft) -> str:
    """``pipeline.py``."""
    return f'''\
"""Ingest of {draft.name}: {draft.sample.format} files to a standardized product with plots."""

import matplotlib.pyplot as plt
import xarray as xr
from tsdat import IngestPipeline

PANELS = 6
"""Variables in one picture."""


class {draft.classname}(IngestPipeline):
    """Everything is in config/; the hooks of Tsdat's IngestPipeline are for what is not."""

{PLOTS}'''


def reader_text(draft: Draft) -> str:
    """``readers.py``: for what Tsdat's readers cannot do."""
    reader = draft.reader
    reasons = []
    if reader.header_lines:
        reasons.append("header lines come again among the data")
    if reader.time_code:
        reasons.append("the time has to be computed")
    if reader.method in ("read_excel", JSON_LINES):
        reasons.append(f"they are {draft.sample.format} files")
    body = [*_read_lines(draft), *reader.time_code]
    if reader.time_code:
        used = [column for column in draft.time.columns if column != "time"]
        if used:
            body.append(f"frame = frame.drop(columns={json.dumps(used)})")
    body.append("return xr.Dataset.from_dataframe(frame)")
    text = "\n".join(f"        {line}" if line else "" for line in body)
    json_lines = reader.method == JSON_LINES
    imports = "import io\n" if reader.header_lines or json_lines else ""
    imports += "import json\n" if json_lines else ""
    opened = _OPEN if reader.header_lines or json_lines else ""
    meaning = "The encoding." if json_lines else f"For pandas.{reader.method}."
    return f'''\
"""Reads the raw files of {draft.name}, which Tsdat has no reader for: {", and ".join(reasons)}."""

{imports}from typing import Any, Dict

import pandas as pd
import xarray as xr
from pydantic import BaseModel
from tsdat import DataReader


class {draft.classname}Reader(DataReader):
    """Reads one file into a dataset with a variable for each column."""

    class Parameters(BaseModel, extra="forbid"):
        """Set in retriever.yaml."""

        keywords: Dict[str, Any] = {{}}
        """{meaning}"""

    parameters: Parameters = Parameters()

    def read(self, input_key: str) -> xr.Dataset:
        """Read a file; `input_key` is its path, or its content where it was in an archive."""
{text}
{opened}'''


def _read_lines(draft: Draft) -> list[str]:
    reader = draft.reader
    if reader.method == JSON_LINES:
        return [
            'text = read_text(input_key, self.parameters.keywords.get("encoding", "utf-8"))',
            "records = [json.loads(line) for line in text.splitlines() if line.strip()]",
            "frame = pd.DataFrame(records)",
        ]
    if not reader.header_lines:
        return [f"frame = pd.{reader.method}(input_key, **self.parameters.keywords)"]
    return [
        'encoding = self.parameters.keywords.get("encoding", "utf-8")',
        "lines = read_text(input_key, encoding).splitlines(keepends=True)",
        f"header = lines[:{reader.header_lines}]",
        "titles = {line.strip() for line in header}",
        f"data = [line for line in lines[{reader.header_lines}:] if line.strip() not in titles]",
        'text = io.StringIO("".join([*header, *data]))',
        f"frame = pd.{reader.method}(text, **self.parameters.keywords)",
    ]


_OPEN = '''

def read_text(input_key: Any, encoding: str) -> str:
    """The text of a file, or of the content of one that was in an archive."""
    if isinstance(input_key, io.BytesIO):
        return input_key.read().decode(encoding)
    with open(input_key, encoding=encoding) as file:
        return file.read()
'''


def test_text(draft: Draft, samples: Sequence[str]) -> str:
    """``test/test_pipeline.py``: as in Tsdat's pipeline-template, with the sample's product."""
    folder = f"pipelines/{draft.name}"
    inputs = "".join(f'        "{folder}/test/data/input/{sample}",\n' for sample in samples)
    datastream = f"{draft.location}.{draft.dataset}.a1"
    first = draft.time.values.min()
    expected = f"{datastream}.{first:%Y%m%d.%H%M%S}.nc"
    return f'''\
"""Runs the pipeline on its sample and compares the product with the expected one."""

from pathlib import Path

import xarray as xr
from tsdat import PipelineConfig, assert_close


def test_{draft.name}_pipeline():
    config_path = Path("{folder}/config/pipeline.yaml")
    config = PipelineConfig.from_yaml(config_path)
    pipeline = config.instantiate_pipeline()

    test_files = [
{inputs}    ]
    expected_file = "{folder}/test/data/expected/{expected}"

    dataset = pipeline.run(test_files)
    expected: xr.Dataset = xr.open_dataset(expected_file)  # type: ignore
    assert_close(dataset, expected, check_attrs=False)
'''
