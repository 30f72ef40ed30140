"""A small Tsdat repository that tests add pipelines to, and the interpreters to run it in."""

import json
import os
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

from runtime_doubles import Bench

from tidegate.runtime.manifest import Config

HOME = Path(__file__).parents[2]
PYTHONS = {
    "0.10": Path(sys.executable),
    "0.9.3": HOME / ".venvs/tsdat-0.9.3/bin/python",
    "0.8.5": HOME / ".venvs/tsdat-0.8.5/bin/python",
}
"""The interpreter beside each version of Tsdat."""

CSV = "time,value\n2022-04-05 00:00:00,1.0\n2022-04-05 06:00:00,500.0\n2022-04-06 12:00:00,\n"
"""A raw file: one good value, one that is out of range, one that is missing."""

STORAGE = """
classname: tsdat.io.storage.FileSystem
handler:
  classname: tsdat.io.handlers.NetCDFHandler
"""

FILES = {
    "shared/storage.yaml": STORAGE,
    "shared/retriever.yaml": """
        classname: tsdat.io.retrievers.DefaultRetriever
        readers:
          .*:
            classname: tsdat.io.readers.CSVReader
        coords:
          time:
            name: time
            data_converters:
              - classname: tsdat.io.converters.StringToDatetime
                format: "%Y-%m-%d %H:%M:%S"
                timezone: UTC
        data_vars:
          value:
            name: value
        """,
    "shared/dataset.yaml": """
        attrs:
          title: Tiny
          description: A tiny dataset
          location_id: here
          dataset_name: tiny
          data_level: a1
        coords:
          time:
            dims: [time]
            dtype: datetime64[s]
            attrs:
              units: Seconds since 1970-01-01 00:00:00
        data_vars:
          value:
            dims: [time]
            dtype: float32
            attrs:
              units: m
              fail_range: [0, 100]
        """,
    "shared/quality.yaml": """
        managers:
          - name: Missing
            checker:
              classname: tsdat.qc.checkers.CheckMissing
            apply_to: [DATA_VARS]
            handlers:
              - classname: tsdat.qc.handlers.RecordQualityResults
                parameters:
                  assessment: indeterminate
                  meaning: Missing
          - name: Too high
            checker:
              classname: tsdat.qc.checkers.CheckFailRangeMax
            apply_to: [DATA_VARS]
            handlers:
              - classname: tsdat.qc.handlers.RecordQualityResults
                parameters:
                  assessment: bad
                  meaning: Too high
        """,
}

PIPELINE = """\
classname: pipelines.{name}.pipeline.Tiny
triggers: [".*{name}.*"]
retriever:
  path: shared/retriever.yaml
dataset:
  path: {dataset}
quality:
  path: shared/quality.yaml
storage:
  path: {storage}
"""

CODE = """\
import ctypes, logging, os, subprocess, sys, threading, time, warnings
from pathlib import Path
import xarray as xr
from tsdat import IngestPipeline


class Tiny(IngestPipeline):
"""

PLAIN = """
def hook_customize_dataset(self, dataset):
    return dataset
"""


def missing(version: str) -> str:
    """Why an environment is not there and tests skip, "" if they can use it.

    One that `make test` could not finish counts as there: the tests that need it fail.
    """
    python = PYTHONS[version]
    folder = python.parents[1]
    if python.is_file() or (folder.is_dir() and not (folder / ".ready").exists()):
        return ""
    return f"no {python}: `make test` makes it, where it finds Python 3.10 (Tsdat {version})"


class TinyRepository:
    """Pipelines are added while a worker runs: each has a package of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("pipelines/__init__.py", "")
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the repository."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    def add(self, name: str, body: str = PLAIN, *, storage: str = "", dataset: str = "", code=None):
        """A pipeline whose class has this body; returns its config file."""
        at = f"pipelines/{name}"
        self.write(f"{at}/__init__.py", "")
        body = textwrap.indent(textwrap.dedent(body), "    ")
        self.write(f"{at}/pipeline.py", CODE + body if code is None else code)
        files = {"storage": storage, "dataset": dataset}
        for kind, text in files.items():
            if text:
                self.write(f"{at}/config/{kind}.yaml", text)
        paths = {
            k: f"{at}/config/{k}.yaml" if text else f"shared/{k}.yaml" for k, text in files.items()
        }
        config = f"{at}/config/pipeline.yaml"
        self.write(config, PIPELINE.format(name=name, **paths))
        return config


class Real:
    """A bench whose runs are carried out by a real worker."""

    def __init__(self, folder: Path, worker, config_file: str, **changes) -> None:
        base = Config(
            "tiny", "one", "Ingest", "S3", config_file,
            input_path="raw/", timeout=120, memory=4000, retries=0,
        )  # fmt: skip
        self.config = replace(base, **changes)
        self.bench = Bench(folder, self.config)
        # Not tried again on a fresh worker, which would take seconds for each failure.
        self.bench.perform = lambda task: replace(worker.perform(task), used_worker=False)
        self.bench.published = lambda: None

    def arrive(self, key="raw/file.csv", content=CSV):
        """A file arrives: its one record."""
        data = content if isinstance(content, bytes) else content.encode()
        (record,) = self.bench.arrive(key, data)
        return record

    @property
    def root(self) -> Path:
        """The outputs."""
        return self.bench.outputs.root

    @property
    def log(self):
        """The last run's log, as a list of lines."""
        return [json.loads(line) for line in self.bench.logs[-1].splitlines()]

    def said(self, action="") -> list[str]:
        """The messages in the last log."""
        return [line["message"] for line in self.log if action in ("", line["action"])]


def descriptors() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))
