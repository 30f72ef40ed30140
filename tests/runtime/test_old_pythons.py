"""The runtime beside the oldest and the newest Pythons: an ingest with a plot, and a VAP on it.

``test_versions`` compares products with plain Tsdat's, on Python 3.10 and 3.11; Tsdat 0.8 cannot
run the VAP there.
"""

from __future__ import annotations

import json
import typing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from runtime_doubles import Bench
from runtime_repository import FILES, HOME, STORAGE, TinyRepository

from tidegate.errors import ConfigurationError
from tidegate.runtime import manifest, runs
from tidegate.runtime.manifest import Config, Pipeline
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.type_hints import old_hint

PAIRS = {"0.4": "3.8", "0.5": "3.8", "0.7.1": "3.9", "0.8.5": "3.10", "0.10": "3.13"}
"""Versions of Tsdat, and the Python that each is tested on here."""

INGEST = """\
from __future__ import annotations
import inspect
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
from tsdat import IngestPipeline


class Tiny(IngestPipeline):
    def hook_plot_dataset(self, dataset):
        old = inspect.signature(self.storage.uploadable_dir).parameters  # before Tsdat 0.6
        stream = dataset.attrs["datastream"]
        with self.storage.uploadable_dir(*([stream] if "datastream" in old else [])) as folder:
            figure, axes = plt.subplots()
            axes.plot(dataset.time, dataset.value)
            if hasattr(self, "get_ancillary_filepath"):
                path = self.get_ancillary_filepath("values", dataset=dataset, root_dir=folder)
            else:
                from tsdat.utils import get_filename

                path = folder / get_filename(dataset, title="values", extension="png")
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path)
"""
VAP = """\
from __future__ import annotations
from tsdat import TransformationPipeline


class Tiny(TransformationPipeline):
    pass
"""
VAP_FILES = {
    "pipelines/vap/__init__.py": "",
    "pipelines/vap/pipeline.py": VAP,
    "pipelines/vap/config/pipeline.yaml": """
        classname: pipelines.vap.pipeline.Tiny
        parameters:
          datastreams: [here.tiny.a1]
        triggers: []
        retriever:
          path: pipelines/vap/config/retriever.yaml
        dataset:
          path: shared/dataset.yaml
          overrides:
            /attrs/data_level: c1
        quality:
          managers: []
        storage:
          path: shared/storage.yaml
        """,
    "pipelines/vap/config/retriever.yaml": """
        classname: tsdat.io.retrievers.StorageRetriever
        coords:
          time:
            name: time
        data_vars:
          value:
            name: value
        """,
}
CSV = "time,value\n2022-04-05 00:00:00,1.0\n2022-04-05 06:00:00,500.0\n"


@pytest.mark.functional
@pytest.mark.parametrize("tsdat", PAIRS)
def test_an_ingest_its_plot_and_a_vap(tsdat: str, tmp_path: Path) -> None:
    python = HOME / f".venvs/tsdat-{tsdat}/bin/python"
    if not python.is_file():
        pytest.skip(f"no {python}: `make old-tsdat` makes it, with Python {PAIRS[tsdat]}")
    repository = TinyRepository(tmp_path / "repository")
    if tsdat in ("0.4", "0.5"):  # there, each check names its bit
        quality = FILES["shared/quality.yaml"]
        for bit, assessment in ((1, "indeterminate"), (2, "bad")):
            given = f"assessment: {assessment}"
            quality = quality.replace(given, f"{given}\n                  bit: {bit}")
        repository.write("shared/quality.yaml", quality)
    file = repository.add("tiny", code=INGEST, storage=STORAGE)
    ingest = Config("tiny", "one", "Ingest", "S3", file, input_path="raw/", timeout=300)
    for name, text in VAP_FILES.items():
        repository.write(name, text)
    vap = Config("vap", "one", "VAP", "Cron", "pipelines/vap/config/pipeline.yaml",
                 schedule="0 * * * *", window="day", timeout=300)  # fmt: skip
    worker = WorkerProcess([str(python)], repository.root)
    try:
        described = [worker.describe(config.config_file) for config in (ingest, vap)]
        assert worker.ready["python"].startswith(PAIRS[tsdat])
        configs = [ingest, vap]
        if tsdat == "0.4":  # it has no VAPs
            refused = described.pop()
            assert isinstance(refused, ConfigurationError)
            assert "VAPs need Tsdat 0.5 or newer" in refused.next
            configs = [ingest]
        assert [type(answer) for answer in described] == [Pipeline] * len(configs), described
        assert {answer.storage_root for answer in described} == {"storage/root"}
        configs = [replace(c, tsdat=d) for c, d in zip(configs, described, strict=True)]
        bench = Bench(tmp_path, *configs)
        bench.perform = worker.perform
        bench.context = replace(bench.context, now=lambda: datetime.now(timezone.utc))
        (record,) = bench.arrive("raw/file.csv", CSV.encode())
        windows = bench.due(configs[1]) if len(configs) > 1 else []
    finally:
        worker.close()
    log = [json.loads(line)["message"] for line in bench.logs[0].splitlines()]
    assert (record.state, record.plots_failed) == ("succeeded", ""), (record.failure, log)
    assert sorted(p.key.rsplit(".", 1)[1] for p in record.products) == ["nc", "png"]
    assert all(p.key.startswith("storage/root/") for p in record.products)
    (data,) = (p for p in record.products if p.kind == "data")
    assert {q.variable: q.bad for q in data.quality}["value"] == 1
    made = [(w.state, [p.datastream for p in w.products]) for w in windows]
    assert made == [("succeeded", ["here.tiny.c1"])] * (len(configs) - 1), windows


def test_annotations_that_old_pythons_cannot_evaluate() -> None:
    names = {**vars(manifest), **vars(runs), "typing": typing}
    for annotation, hint in {
        "datetime | None": "typing.Optional[datetime.datetime]",
        "tuple[Input, ...]": "typing.Tuple[tidegate.runtime.runs.Input, ...]",
        "Mapping[str, float]": "typing.Mapping[str, float]",
        "None | tuple[str, ...]": "typing.Optional[typing.Tuple[str, ...]]",
    }.items():
        assert str(old_hint(annotation, names)) == hint
