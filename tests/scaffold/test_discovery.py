"""Which pipelines there are in a repository, and what their entries would be."""

from pathlib import Path

import pytest

from tidegate.errors import UsageError
from tidegate.scaffold.deployment.answers import Answers
from tidegate.scaffold.deployment.config_text import pipeline_lines
from tidegate.workspace.discovery import Discovered, discover

EXAMPLE = Path(__file__).parents[2] / "examples" / "pipelines"
INGEST = "classname: tsdat.IngestPipeline\n"
BUOY = "pipelines/buoy/config"


def test_the_example():
    config = "pipelines/lidar/config/pipeline"
    assert discover(EXAMPLE) == (
        Discovered(
            "lidar",
            "Ingest",
            {"humboldt": f"{config}_humboldt.yaml", "morro": f"{config}_morro.yaml"},
        ),
        Discovered("lidar_vap", "VAP", {"humboldt": "pipelines/lidar_vap/config/pipeline.yaml"}),
    )


@pytest.mark.parametrize(
    ("content", "more", "kind"),
    [
        (INGEST, {}, "Ingest"),
        ("classname: tsdat.TransformationPipeline\n", {}, "VAP"),
        (INGEST + "parameters:\n  datastreams: [morro.buoy-waves.a1]\n", {}, "VAP"),
        (INGEST + "retriever:\n  classname: tsdat.io.retrievers.StorageRetriever\n", {}, "VAP"),
        (
            INGEST + "retriever:\n  path: pipelines/buoy/config/r.yaml\n",
            {f"{BUOY}/r.yaml": "classname: tsdat.StorageRetriever\n"},
            "VAP",
        ),
        (
            "classname: pipelines.buoy.pipeline.Mean\n",
            {
                "pipelines/buoy/pipeline.py": "import tsdat\n"
                "class Waves(tsdat.IngestPipeline): ...\n"
                "class Mean(tsdat.TransformationPipeline): ...\n"
            },
            "VAP",
        ),
        (
            "classname: pipelines.buoy.pipeline.Waves\n",
            {
                "pipelines/buoy/pipeline.py": "from tsdat import IngestPipeline\n"
                "class Waves(IngestPipeline): ...\n"
                "class Mean(TransformationPipeline): ...\n"
            },
            "Ingest",
        ),
        ("classname: pipelines.buoy.pipeline.Waves\n", {}, "Ingest"),
        ("classname: [\n", {}, "Ingest"),
        ("- no mapping\n", {}, "Ingest"),
    ],
)
def test_an_ingest_or_a_vap(repository, content, more, kind):
    root = repository({f"{BUOY}/pipeline_morro.yaml": content, **more})
    assert discover(root) == (Discovered("buoy", kind, {"morro": f"{BUOY}/pipeline_morro.yaml"}),)


@pytest.mark.parametrize(
    ("file", "content", "more", "name"),
    [
        ("pipeline_morro.yaml", INGEST, {}, "morro"),
        ("pipeline-morro.yml", INGEST, {}, "morro"),
        ("pipeline.morro.v2.yaml", INGEST, {}, "morro_v2"),
        ("pipeline.yaml", INGEST, {}, "default"),
        (
            "pipeline.yaml",
            INGEST + "dataset:\n  overrides:\n    /attrs/location_id: humboldt\n",
            {},
            "humboldt",
        ),
        (
            "pipeline.yaml",
            INGEST + "dataset:\n  path: pipelines/buoy/config/dataset.yaml\n",
            {f"{BUOY}/dataset.yaml": "attrs:\n  location_id: San Francisco\n"},
            "San_Francisco",
        ),
        (
            "pipeline.yaml",
            INGEST + "dataset:\n  path: pipelines/buoy/config/dataset.yaml\n  overrides: {}\n",
            {f"{BUOY}/dataset.yaml": "attrs: {location_id: morro}\n"},
            "morro",
        ),
        (
            "pipeline.yaml",
            INGEST + "dataset:\n  path: pipelines/buoy/config/dataset.yaml\n",
            {f"{BUOY}/dataset.yaml": "attrs:\n"},
            "default",
        ),
    ],
)
def test_the_name_of_a_config(repository, file, content, more, name):
    root = repository({f"{BUOY}/{file}": content, **more})
    assert discover(root) == (Discovered("buoy", "Ingest", {name: f"{BUOY}/{file}"}),)


def test_a_folder_with_both_kinds_makes_two_entries(repository):
    root = repository(
        {
            f"{BUOY}/pipeline_a.yaml": INGEST,
            f"{BUOY}/pipeline_b.yaml": "classname: tsdat.TransformationPipeline\n",
            "pipelines/buoy_vap/config/pipeline_c.yaml": INGEST,
        }
    )
    assert [(entry.name, entry.kind, [*entry.configs]) for entry in discover(root)] == [
        ("buoy", "Ingest", ["a"]),
        ("buoy_vap", "VAP", ["b"]),
        ("buoy_vap_2", "Ingest", ["c"]),
    ]


def test_two_files_of_one_name(repository):
    root = repository({f"{BUOY}/pipeline_a.yaml": INGEST, f"{BUOY}/pipeline-a.yaml": INGEST})
    assert [*discover(root)[0].configs] == ["a", "a_2"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there are no pipelines in"),
        ({"pipeline.yaml": INGEST, "pipelines/x/pipeline.yaml": INGEST}, "there are no pipelines"),
    ],
)
def test_no_pipelines(repository, files, said):
    with pytest.raises(UsageError, match=said):
        discover(repository(files))


def test_no_folder(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        discover(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "period"),
    [
        ("{datastream}.{date}.nc", "day"),
        ("{datastream}.{year}{month}{day}.nc", "day"),
        ("{datastream}.{date_time}.nc", ""),
        ("{datastream}.{date}.{time}.nc", ""),
        ("{datastream}.nc", ""),
    ],
)
def test_an_ingest_that_names_its_products_by_day(repository, name, period):
    storage = f"storage:\n  parameters:\n    data_filename_template: '{name}'\n"
    (found,) = discover(repository({f"{BUOY}/pipeline.yaml": INGEST + storage}))
    assert found.period == period
    answers = Answers(keys={}, pipelines=(found,))
    assert ("# group_by: day" in pipeline_lines(answers)) == bool(period)
