"""Repositories as people have them: storages, datastreams named at run time, broken configs."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from runtime_repository import CSV, PLAIN, PYTHONS, Real, TinyRepository
from test_versions import plain, same

from tidegate.errors import ConfigurationError, PythonEnvironmentError, TidegateError
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.runs import QualitySummary
from tidegate.workspace.tsdat_answers import failed_imports, refuse_if_none_can_be_imported

pytestmark = [
    pytest.mark.slow,
    # Harmless, and NumPy's own advice is to ignore it: netCDF4 built for another NumPy.
    pytest.mark.filterwarnings("ignore:numpy.ndarray size changed:RuntimeWarning"),
]
NAME = "here.tiny.a1.20220405.000000"


def storage(parameters="", *, classname="tsdat.io.storage.FileSystem", handler="NetCDFHandler"):
    """A storage.yaml."""
    lines = [f"classname: {classname}"]
    if parameters:
        lines += ["parameters:", *(f"  {line}" for line in parameters.splitlines())]
    if handler:
        lines += ["handler:", f"  classname: tsdat.io.handlers.{handler}"]
    return "\n".join(lines) + "\n"


TEMPLATES = """\
storage_root: "."
data_storage_path: "{location_id}/{dataset_name}/{data_level}/data/{year}/{month}/{day}"
ancillary_storage_path: "{location_id}/{dataset_name}/{data_level}/plots/{year}"\
"""
PLOTS = """
def hook_plot_dataset(self, dataset):
    self.get_ancillary_filepath("a").write_text("plot of " + dataset.attrs["datastream"])
"""


def keys(record):
    """Keys of a record's products, in order."""
    return [product.key for product in record.products]


def made(record):
    """What a run made, when it went well."""
    assert (record.state, record.failure) == ("succeeded", None), record
    return keys(record)


# --- storages ------------------------------------------------------------------------------------

S3 = "tsdat.io.storage.FileSystemS3"
STORAGES = {
    "default": (storage(), "storage/root"),
    "templates": (storage(TEMPLATES), ""),
    "absolute": (storage('storage_root: "/data/store"'), "data/store"),
    "above": (storage('storage_root: "../up/./x"'), "up/x"),
    "s3": (storage("bucket: some-bucket\nregion: us-west-2", classname=S3), "storage/root"),
    "s3 with templates": (storage("bucket: some-bucket\n" + TEMPLATES, classname=S3), ""),
}
"""By name: storage.yaml, and the storage root as a prefix of keys."""


def places(prefix):
    """Where data and plots go; with no prefix, by the templates."""
    if not prefix:
        return "here/tiny/a1/data/2022/04/05", "here/tiny/a1/plots/2022"
    return tuple(f"{prefix}/{kind}/here/here.tiny.a1" for kind in ("data", "ancillary"))


def test_storages(tsdat_python, tmp_path):
    """All on each Tsdat, with one worker."""
    repository = TinyRepository(tmp_path / "repository")
    worker = WorkerProcess([str(tsdat_python)], repository.root)
    try:
        for number, (name, (text, prefix)) in enumerate(STORAGES.items()):
            config = repository.add(f"store_{number}", PLOTS, storage=text)
            described = worker.describe(config)
            assert not isinstance(described, ConfigurationError), (name, described)
            assert described.storage_root == prefix, name
            run = Real(tmp_path / name, worker, config)
            data, plots = places(prefix)
            assert made(run.arrive()) == [f"{data}/{NAME}.nc", f"{plots}/{NAME}.a.png"], name
            assert "boto3" not in run.bench.logs[-1]
        # Nothing but pipelines lies in the repository.
        assert sorted(p.name for p in repository.root.iterdir()) == ["pipelines", "shared"]
    finally:
        worker.close()


def test_a_storage_class_of_the_repositorys_own(worker, repository, tmp_path):
    code = """
    from tsdat.io.storage import FileSystem

    class Mine(FileSystem):
        def save_data(self, dataset, **kwargs):
            dataset.attrs["saved_by"] = "mine"
            super().save_data(dataset, **kwargs)
    """
    repository.write("utils/__init__.py", "")
    repository.write("utils/mine.py", code)
    config = repository.add("own_storage", storage=storage(classname="utils.mine.Mine"))
    run = Real(tmp_path, worker, config)
    (key,) = made(run.arrive())
    import netCDF4

    with netCDF4.Dataset(run.root / key) as dataset:
        assert dataset.getncattr("saved_by") == "mine"


def test_csv(worker, repository, tmp_path):
    run = Real(tmp_path, worker, repository.add("as_csv", storage=storage(handler="CSVHandler")))
    record = run.arrive()
    folder = "storage/root/data/here/here.tiny.a1/here.tiny.a1.20220405.000000"
    assert made(record) == [f"{folder}.{kind}.csv" for kind in ("attrs", "hdr", "time.1d")]
    assert {(p.kind, p.datastream) for p in record.products} == {("data", "here.tiny.a1")}
    assert all(p.begin and p.begin.day == 5 and p.end.day == 6 for p in record.products)


@pytest.mark.parametrize(
    ("module", "handler", "classname", "suffix"),
    [
        ("pyarrow", "ParquetHandler", "tsdat.io.storage.FileSystem", ".parquet"),
        ("zarr", "ZarrHandler", "tsdat.io.storage.ZarrLocalStorage", ".zarr"),
    ],
)
def test_other_formats(worker, repository, tmp_path, module, handler, classname, suffix):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed here")
    text = storage(handler=handler, classname=classname)
    run = Real(tmp_path, worker, repository.add(f"as_{module}", storage=text))
    (key,) = made(run.arrive())
    assert key.endswith(suffix)


def test_a_folder_is_one_product(worker, repository, tmp_path):
    """What ZarrLocalStorage writes, without zarr: a folder, which must be taken as a whole."""
    code = """
    from pydantic import Field
    from tsdat.io.base import FileHandler, FileWriter
    from tsdat.io.readers import NetCDFReader

    class Folder(FileWriter):
        file_extension: str = "zarr"

        def write(self, dataset, filepath=None, **kwargs):
            for name in ("time/0", "value/0", ".zgroup"):
                (filepath / name).parent.mkdir(parents=True, exist_ok=True)
                (filepath / name).write_text(name)

    class Handler(FileHandler):
        extension: str = "zarr"
        reader: NetCDFReader = Field(default_factory=NetCDFReader)
        writer: Folder = Field(default_factory=Folder)
    """
    repository.write("utils/__init__.py", "")
    repository.write("utils/folder.py", code)
    text = "classname: tsdat.io.storage.FileSystem\nhandler: {classname: utils.folder.Handler}\n"
    run = Real(tmp_path, worker, repository.add("as_folder", storage=text))
    record = run.arrive()
    (key,) = made(record)
    (product,) = record.products
    assert (key.endswith(f"{NAME}.zarr"), product.kind, product.size) == (True, "data", 6 + 7 + 7)
    assert (run.root / key / "time/0").read_text() == "time/0"


# --- what a pipeline writes ----------------------------------------------------------------------


def test_a_datastream_that_is_named_at_run_time(worker, repository, tmp_path):
    body = """
    def hook_finalize_dataset(self, dataset):
        dataset.attrs["location_id"] = "there"
        dataset.attrs["datastream"] = "there.tiny.a1"
        return dataset
    """
    config = repository.add("renames", body)
    run = Real(tmp_path, worker, config)
    record = run.arrive()
    assert made(record)[0].startswith("storage/root/data/there/there.tiny.a1/there.tiny.a1.2022")
    assert record.products[0].datastream == "there.tiny.a1"
    assert worker.describe(config).datastream == "here.tiny.a1"


def test_two_datasets_in_one_run_each_with_its_plot(worker, repository, tmp_path):
    body = """
    def hook_plot_dataset(self, dataset):
        self.get_ancillary_filepath("a").write_text("plot of " + dataset.attrs["datastream"])

    def run(self, inputs, **kwargs):
        dataset = super().run(inputs, **kwargs)
        second = dataset.isel(time=[1]).copy()
        second.attrs = dict(dataset.attrs, datastream="here.second.b1")
        self.storage.save_data(second)
        with self.storage.uploadable_dir() as folder:
            self._ds, self._tmp_dir = second, folder
            self.hook_plot_dataset(second)
        return dataset
    """
    run = Real(tmp_path, worker, repository.add("writes_two", body))
    record = run.arrive()
    made(record)
    found = {
        (p.kind, p.datastream, p.begin.hour, p.dimensions.get("time")) for p in record.products
    }
    assert found == {
        ("data", "here.tiny.a1", 0, 3),
        ("data", "here.second.b1", 6, 1),
        ("ancillary", "here.tiny.a1", 0, None),
        ("ancillary", "here.second.b1", 6, None),
    }
    for product in record.products:
        assert product.datastream in product.key


def counts(product):
    """The quality of a product, without the names of tests."""
    return tuple(replace(quality, tests=()) for quality in product.quality)


def test_split_files_have_their_own_spans_and_counts(worker, repository, tmp_path):
    config = repository.add("splits", storage=storage(handler="SplitNetCDFHandler"))
    run = Real(tmp_path, worker, config)
    record = run.arrive()
    assert len(made(record)) == 2
    spans = [(p.begin.day, p.begin.hour, p.dimensions["time"], counts(p)) for p in record.products]
    assert spans == [
        (5, 0, 2, (QualitySummary("value", 2, 1, 0),)),
        (6, 12, 1, (QualitySummary("value", 1, 0, 1),)),
    ]


def test_the_quality_summary_of_a_tiny_file(worker, repository, tmp_path):
    run = Real(tmp_path, worker, repository.add("plain"))
    (product,) = run.arrive().products
    assert counts(product) == (QualitySummary("value", 3, 1, 1),)
    failed = [(test.assessment, test.failed) for test in product.quality[0].tests]
    assert sorted(failed) == [("Bad", 1), ("Indeterminate", 1)]
    assert product.dimensions == {"time": 3}


def test_odd_attributes_and_times_do_not_fail_a_run(worker, repository, tmp_path):
    body = """
    def hook_finalize_dataset(self, dataset):
        dataset["qc_value"].attrs.update(flag_masks="1b, x", flag_assessments="Bad")
        dataset["qc_bytes"] = ("time", __import__("numpy").array([1, 0, 127], "int8"))
        dataset["qc_bytes"].attrs.update(flag_masks=[1, 256], flag_assessments=["Bad", "Bad"])
        return dataset
    """
    run = Real(tmp_path, worker, repository.add("odd", body))
    (product,) = run.arrive().products
    assert product.begin.day == 5


def test_a_pipeline_that_skips_its_work_is_empty(worker, repository, tmp_path):
    body = """
    def run(self, inputs, **kwargs):
        print("nothing to do")
        return xr.Dataset()
    """
    run = Real(tmp_path, worker, repository.add("skips", body))
    record = run.arrive()
    assert (record.state, record.products, record.failure) == ("empty", (), None)
    assert "nothing to do" in run.said()
    assert run.bench.arrive("raw/file.csv", CSV.encode()) == []


PLOTS_FAIL = """
def hook_plot_dataset(self, dataset):
    self.get_ancillary_filepath("first").write_text("done")
    {}
"""


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("raise ValueError('no colours')", "ValueError: no colours"),
        ("sys.exit('x')", "SystemExit: x"),
    ],
)
def test_when_only_the_plots_fail_the_data_is_published(
    worker, repository, tmp_path, what, message
):
    name = f"plots_fail_{len(what)}"
    run = Real(tmp_path, worker, repository.add(name, PLOTS_FAIL.format(what)))
    record = run.arrive()
    assert len(made(record)) == 1
    assert record.outcome == "succeeded, plots failed"
    assert record.plots_failed == message
    assert message.split(": ")[1] in run.bench.logs[-1]


def test_what_is_half_written_is_not_published(worker, repository, tmp_path):
    body = """
    def run(self, inputs, **kwargs):
        super().run(inputs, **kwargs)
        raise ValueError("after the first of two")
    """
    run = Real(tmp_path, worker, repository.add("half", body))
    assert run.arrive().failure.message == "ValueError: after the first of two"
    assert not run.root.exists()


def test_a_tiny_product_equals_plain_tsdats(worker, repository, tmp_path):
    config = repository.add("plain", PLAIN)
    run = Real(tmp_path, worker, config)
    (key,) = made(run.arrive())
    raw = tmp_path / "file.csv"
    raw.write_text(CSV)
    plain(PYTHONS["0.10"], repository.root, (config, [str(raw)], str(tmp_path / "plain")))
    same(run.root / key, tmp_path / "plain" / key.removeprefix("storage/root/"))


def test_products_of_repeated_runs_are_equal(worker, repository, tmp_path):
    """A run leaves nothing behind in its process that changes the next."""
    import netCDF4

    run = Real(tmp_path, worker, repository.add("plain"))
    values = []
    for name in "ab":
        (key,) = made(run.arrive(f"raw/{name}.csv"))
        with netCDF4.Dataset(run.root / key) as dataset:
            values.append(dataset["value"][:].filled(np.nan))
    np.testing.assert_array_equal(*values)


# --- configs and code that are broken ------------------------------------------------------------


def test_code_that_cannot_be_imported(worker, repository, tmp_path):
    answers = {}
    for name, code, message, line in (
        ("lacks", "import os\nimport no_such_package\n", "No module named 'no_such_package'", 2),
        ("wrong", "import os\n\ndef f(:\n    pass\n", "invalid syntax", 3),
        ("exits", "import sys\nsys.exit(3)\n", "SystemExit: 3", 2),
        ("raises", "x = 1\nraise ValueError('at import')\n", "at import", 2),
    ):
        config = repository.add(f"import_{name}", code=code)
        where = f"pipelines/import_{name}/pipeline.py:{line}"
        answer = answers[config] = worker.describe(config)
        kind = "environment" if name == "lacks" else "configuration"
        assert isinstance(answer, TidegateError), answer
        assert answer.what == f"Tsdat cannot set up {config}"
        assert (message in answer.why, answer.where) == (True, where), str(answer)
        run = Real(tmp_path / name, worker, config)
        record = run.arrive()
        assert (record.state, record.failure.kind) == ("failed", kind)
        assert message in record.failure.message
        assert record.failure.where == where
    # A missing package stops its own pipeline; an environment is of no use only if all fail so.
    lacking = answers["pipelines/import_lacks/config/pipeline.yaml"]
    assert "add no_such_package to requirements.txt" in lacking.next
    assert list(failed_imports(answers).values()) == [lacking]
    refuse_if_none_can_be_imported(answers)
    with pytest.raises(PythonEnvironmentError, match="no_such_package"):
        refuse_if_none_can_be_imported({"pipeline.yaml": lacking})


def break_config(repository, name, old, new):
    """A config with one thing changed."""
    config = repository.add(name)
    path = repository.root / config
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return config


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("no_class", "pipeline.Tiny", "pipeline.Tidy", ["Tidy"]),
        ("no_module", "pipelines.no_module.pipeline", "pipelines.nowhere", ["pipelines.nowhere"]),
        ("no_file", "shared/quality.yaml", "shared/quantity.yaml", ["shared/quantity.yaml"]),
        (
            "no_retriever",
            "retriever:\n  path: shared/retriever.yaml\n",
            "",
            ["the key 'retriever' is missing"],
        ),
        ("bad_yaml", "triggers: [", "triggers: [[", ["pipeline.yaml"]),
        ("bad_regex", '".*bad_regex.*"', '"(.*"', ["triggers"]),
        ("tabs", "retriever:\n  path", "retriever:\n\tpath", ["pipeline.yaml"]),
        ("empty", None, None, []),
    ],
)
def test_a_config_that_tsdat_rejects(worker, repository, name, old, new, words):
    config = break_config(repository, name, old, new) if old else repository.add(name)
    if not old:
        (repository.root / config).write_text("")
    answer = worker.describe(config)
    assert isinstance(answer, ConfigurationError), answer
    assert config in answer.what
    assert 0 < len(answer.why) <= 600
    assert "\n" not in answer.why
    assert "Traceback" not in str(answer)
    for word in words:
        assert word in str(answer)
    assert answer.next


def test_a_config_that_is_not_there(worker):
    answer = worker.describe("pipelines/nowhere/config/pipeline.yaml")
    assert isinstance(answer, ConfigurationError)
    assert "No such file" in answer.why


def test_broken_dataset_config_is_told_with_its_key(tsdat_python, tmp_path):
    """On each Tsdat: pydantic 1 and 2 tell of it in their own ways."""
    repository = TinyRepository(tmp_path)
    text = (repository.root / "shared/dataset.yaml").read_text()
    worker = WorkerProcess([str(tsdat_python)], repository.root)
    try:
        for name, old, new, word in (
            ("place", "  location_id: here\n", "", "location_id"),
            ("dims", "dims: [time]\n    dtype: float32", "dims: 5\n    dtype: float32", "dims"),
        ):
            assert old in text, name
            config = repository.add(f"broken_{name}", dataset=text.replace(old, new))
            answer = worker.describe(config)
            assert isinstance(answer, ConfigurationError), name
            assert word in answer.why, str(answer)
            assert len(answer.why) <= 600
    finally:
        worker.close()


BOTH = "{alignment: {time: LEFT}, range: {time: 2h}, width: {time: 600s}}"
PADDING = {
    "fetch_parameters: {time_padding: -24h}": (86400.0, 0.0),
    "fetch_parameters: {time_padding: +30min}": (0.0, 1800.0),
    "fetch_parameters: {time_padding: 1h}": (3600.0, 3600.0),
    f"transformation_parameters: {BOTH}": (7200.0, 7200.0),
}
RETRIEVER = """
classname: tsdat.io.retrievers.StorageRetriever
parameters:
  {}
coords: {{time: {{name: time}}}}
data_vars: {{value: {{name: value}}}}
"""


@pytest.mark.parametrize("text", PADDING)
def test_padding(worker, repository, text):
    """How far beyond its window a VAP looks."""
    name = f"padded_{list(PADDING).index(text)}"
    code = "from tsdat import TransformationPipeline\nclass Tiny(TransformationPipeline): pass\n"
    config = repository.add(name, code=code)
    retriever = f"pipelines/{name}/config/retriever.yaml"
    repository.write(retriever, RETRIEVER.format(text))
    path = repository.root / config
    lines = path.read_text().replace("shared/retriever.yaml", retriever)
    path.write_text(lines + "parameters: {datastreams: [here.tiny.a1]}\n")
    answer = worker.describe(config)
    assert not isinstance(answer, ConfigurationError), str(answer)
    assert answer.datastreams == ("here.tiny.a1",)
    assert (answer.pad_before, answer.pad_after) == PADDING[text]
