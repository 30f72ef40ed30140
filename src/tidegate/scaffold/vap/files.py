"""The files of a drafted VAP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tidegate.runtime.runs import Window
from tidegate.runtime.stage import tsdat_time
from tidegate.scaffold.ingest.files import QUALITY
from tidegate.scaffold.ingest.python_text import PLOTS
from tidegate.scaffold.vap.datastreams import Datastream, SourceVariable
from tidegate.scaffold.yaml_text import MARK, scalar, todo


@dataclass(frozen=True)
class VapDraft:
    """The VAP as it would be written."""

    name: str
    """The pipeline's name, and that of its folder."""
    datastreams: tuple[Datastream, ...]
    """What it reads."""
    every: str
    """The interval of its means, as pandas writes it."""
    location: str
    """The location_id."""
    window: Window
    """The window of its test."""

    @property
    def classname(self) -> str:
        """The name of the pipeline's class."""
        return "".join(word[:1].upper() + word[1:] for word in self.name.split("_"))

    @property
    def datastream(self) -> str:
        """The datastream that it makes."""
        return f"{self.location}.{self.name}.c1"

    @property
    def variables(self) -> list[tuple[str, SourceVariable]]:
        """The variables by their names in the product: the same, unless two are called so."""
        names = [v.name for stream in self.datastreams for v in stream.variables]
        found = []
        for stream in self.datastreams:
            dataset = re.sub(r"\W+", "_", ".".join(stream.name.split(".")[1:-1]))
            for variable in stream.variables:
                twice = names.count(variable.name) > 1
                found.append((f"{dataset}_{variable.name}" if twice else variable.name, variable))
        return found


def vap_files(draft: VapDraft) -> dict[str, str | bytes]:
    """All files of the VAP but its expected product, by their paths in the repository."""
    folder = f"pipelines/{draft.name}"
    files: dict[str, str | bytes] = {
        f"{folder}/__init__.py": "",
        f"{folder}/pipeline.py": pipeline_text(draft),
        f"{folder}/config/pipeline.yaml": _pipeline(draft),
        f"{folder}/config/retriever.yaml": "\n".join(_retriever(draft)) + "\n",
        f"{folder}/config/dataset.yaml": "\n".join(_dataset(draft)) + "\n",
        f"{folder}/config/quality.yaml": QUALITY,
        f"{folder}/test/data/tests.yaml": _tests(draft),
    }
    for stream in draft.datastreams:
        files[f"{folder}/test/data/input/{stream.file.name}"] = stream.file.read_bytes()
    return files


def _pipeline(draft: VapDraft) -> str:
    folder = f"pipelines/{draft.name}"
    streams = "\n".join(f"    - {scalar(stream.name)}" for stream in draft.datastreams)
    return f"""\
classname: pipelines.{draft.name}.pipeline.{draft.classname}
parameters:
  datastreams:
{streams}

triggers: []  # runs on a schedule

retriever:
  path: {folder}/config/retriever.yaml

dataset:
  path: {folder}/config/dataset.yaml

quality:
  path: {folder}/config/quality.yaml

storage:
  path: shared/storage.yaml
"""


def _retriever(draft: VapDraft) -> Iterator[str]:
    yield "classname: tsdat.io.retrievers.StorageRetriever"
    yield "parameters:"
    yield "  fetch_parameters:"
    yield "    # Tsdat finds files by the time in their names, that of the first sample: a file"
    yield "    # with samples of the window may be named by a time up to a day before it."
    yield "    time_padding: -24h"
    yield "  transformation_parameters:"
    yield "    # An interval is labelled with its start; pipeline.py says when each sample begins."
    yield "    alignment:"
    yield "      time: LEFT"
    yield "    range:"
    yield "      time: 0s"
    yield "    width:"
    yield f"      time: {draft.every}"
    yield ""
    yield "coords:"
    yield "  time:"
    yield "    name: time"
    yield "    data_converters:"
    yield "      - classname: tsdat.transform.CreateTimeGrid"
    yield f"        interval: {draft.every}"
    yield ""
    yield "data_vars:"
    several = len(draft.datastreams) > 1
    for name, variable in draft.variables:
        yield f"  {name}:"
        blank = "    "
        if several:
            yield f"    {scalar(f'.*{re.escape(variable.datastream)}.*')}:"
            blank = "      "
        yield f"{blank}name: {scalar(variable.name)}"
        yield f"{blank}data_converters:"
        if variable.is_direction:
            yield f"{blank}  # {MARK}: the nearest sample; a mean is wrong across north"
            yield f"{blank}  - classname: tsdat.transform_v2.NearestNeighbor"
        else:
            yield f"{blank}  - classname: tsdat.transform_v2.BinAverage"
            yield f"{blank}    keep_qc: false  # the checks of quality.yaml come after"
            yield f"{blank}    keep_metrics: false"


def _dataset(draft: VapDraft) -> Iterator[str]:
    sources = ", ".join(stream.name for stream in draft.datastreams)
    title = draft.name.replace("_", " ")
    yield "attrs:"
    yield f"  title: {scalar(title[:1].upper() + title[1:])}{todo('made of the name')}"
    described = f"Means over {draft.every} of {sources}; bad samples are left out."
    yield f"  description: {scalar(described)}"
    yield "  Conventions: CF-1.11"
    yield "  featureType: timeSeries"
    yield f"  location_id: {draft.location}"
    yield f"  dataset_name: {draft.name}"
    yield "  data_level: c1"
    yield ""
    yield "coords:"
    yield "  time:"
    yield "    dims: [time]"
    yield "    dtype: datetime64[ns]"
    yield "    attrs:"
    yield "      units: Seconds since 1970-01-01 00:00:00"
    yield "      standard_name: time"
    yield "      long_name: Time (UTC)"
    yield "      comment: The start of the interval."
    yield ""
    yield "data_vars:"
    for name, variable in draft.variables:
        yield f"  {name}:"
        yield "    dims: [time]"
        yield "    dtype: float32"
        yield "    attrs:"
        for key, value in variable.attrs.items():
            yield f"      {key}: {scalar(value)}"
        if not variable.is_direction:
            yield '      cell_methods: "time: mean"'


def _tests(draft: VapDraft) -> str:
    files = [stream.file.name for stream in draft.datastreams]
    return f"""\
# What `tidegate test` runs: the window over the products in input/, against those in expected/.
tests:
  - inputs: {scalar(files)}
    begin: "{tsdat_time(draft.window.begin)}"
    end: "{tsdat_time(draft.window.end)}"
"""


def pipeline_text(draft: VapDraft) -> str:
    """``pipeline.py``."""
    step = max(stream.step for stream in draft.datastreams)
    values = {
        "every": str(draft.every),
        "names": ", ".join(stream.name for stream in draft.datastreams),
        "mark": MARK,
        "seconds": f"{step.total_seconds():g}s",
        "classname": draft.classname,
        "plots": PLOTS,
    }
    return re.sub(
        r"@(every|names|mark|seconds|classname|plots)@", lambda m: values[m[1]], _PIPELINE
    )


_PIPELINE = '''\
"""Means over @every@ of @names@."""

import logging
from typing import Any, Dict, List

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from tsdat import TransformationPipeline
from tsdat.io.retrievers import StorageRetrieverInput

logger = logging.getLogger(__name__)

# @mark@: each sample counts for the interval that begins at its time.
INTERVAL = pd.Timedelta("@seconds@")
"""How long a sample lasts."""
PANELS = 6
"""Variables in one picture."""


class NoDataError(ValueError):
    """There is nothing to make a product of."""


class @classname@(TransformationPipeline):
    """Leaves bad samples out; Tsdat's BinAverage takes the means."""

    def run(self, inputs: List[str], **kwargs: Any) -> xr.Dataset:
        """Run for one window. One in which nothing was measured makes no product: no failure."""
        try:
            return super().run(inputs, **kwargs)
        except NoDataError as reason:
            logger.info("nothing to do: %s", reason)
            return xr.Dataset()

    def hook_customize_input_datasets(
        self, input_datasets: Dict[str, xr.Dataset], **kwargs: Any
    ) -> Dict[str, xr.Dataset]:
        """Select the window, remove bad values, and say when each sample begins and ends."""
        selected = {}
        for key, dataset in input_datasets.items():
            window = StorageRetrieverInput(key)
            if "time" not in dataset:
                raise NoDataError(f"no data of {window.datastream}")
            dataset = dataset.sortby("time").drop_duplicates("time")
            begin, end = pd.Timestamp(window.start), pd.Timestamp(window.end)
            times = dataset["time"].values
            dataset = dataset.isel(time=(times >= begin.to_numpy()) & (times < end.to_numpy()))
            if not dataset.sizes["time"]:
                raise NoDataError(f"no data of {window.datastream} from {begin} to {end}")
            for name in list(dataset.data_vars):
                if f"qc_{name}" in dataset:
                    dataset[name] = dataset[name].where(~is_bad(dataset[f"qc_{name}"]))
            # BinAverage would take a time as the middle of its sample.
            times = dataset["time"].values
            bounds = np.stack([times, times + INTERVAL.to_timedelta64()], axis=1)
            selected[key] = dataset.assign(time_bounds=(("time", "bound"), bounds))
        return selected

@plots@

def is_bad(flags: xr.DataArray) -> xr.DataArray:
    """Say where a variable has failed a check that was assessed as bad."""
    # netCDF gives a list of one back as a scalar.
    masks = np.atleast_1d(flags.attrs["flag_masks"])
    assessments = np.atleast_1d(flags.attrs["flag_assessments"])
    bad = sum(int(mask) for mask, how in zip(masks, assessments) if str(how).lower() == "bad")
    return (flags.fillna(0).astype("int64") & bad) != 0
'''
