"""The example pipelines beside each version of Tsdat, against plain Tsdat in the same place."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from runtime_doubles import NOON, Bench

from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Config
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.runs import QualitySummary

pytestmark = [
    pytest.mark.slow,
    # Harmless, and NumPy's own advice is to ignore it: netCDF4 built for another NumPy.
    pytest.mark.filterwarnings("ignore:numpy.ndarray size changed:RuntimeWarning"),
]

HERE = Path(__file__).parents[1]
KEY = "lidar/humboldt/lidar.z05.00.20201201.000000.sta.7z"
INGEST = Config(
    "lidar", "humboldt", "Ingest", "S3", "pipelines/lidar/config/pipeline_humboldt.yaml",
    input_path="lidar/humboldt/",
)  # fmt: skip
VAP = Config(
    "lidar_vap", "humboldt", "VAP", "Cron", "pipelines/lidar_vap/config/pipeline.yaml",
    schedule="0 * * * *", window="day",
)  # fmt: skip
MAY_DIFFER = {"history", "inputs"}


@pytest.fixture(scope="module")
def raw_file(tmp_path_factory):
    """A raw file of one day."""
    path = HERE.parent / "examples" / "make_raw.py"
    spec = importlib.util.spec_from_file_location("runtime_make_raw", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = tmp_path_factory.mktemp("raw")
    (made,) = module.make_files(out, module.SITES["humboldt"], date(2020, 12, 1), 7)
    return made


def plain(python, repository, *jobs):
    """Run plain Tsdat in a process of its own: (config, inputs, storage root)."""
    names = ("config", "inputs", "storage_root")
    lines = "".join(json.dumps(dict(zip(names, job))) + "\n" for job in jobs)
    command = [str(python), str(HERE / "examples" / "tsdat_runner.py"), str(repository)]
    done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(result["ok"] for result in results), results
    return results


class Done:
    """What Tidegate and plain Tsdat made of the same."""


@pytest.fixture(scope="module")
def done(tsdat_python, examples, raw_file, tmp_path_factory):
    """The ingest and, where Tsdat can, the VAP: by Tidegate and by plain Tsdat."""
    folder = tmp_path_factory.mktemp("done")
    done = Done()
    worker = WorkerProcess([str(tsdat_python)], examples)
    try:
        done.ingest, done.vap = (
            worker.describe(INGEST.config_file),
            worker.describe(VAP.config_file),
        )
        done.ready = worker.ready
        able = not isinstance(done.vap, ConfigurationError)
        vap = replace(VAP, tsdat=done.vap if able else None)
        done.bench = bench = Bench(folder, replace(INGEST, tsdat=done.ingest), vap)
        bench.perform = worker.perform
        bench.context = replace(bench.context, now=lambda: datetime.now(timezone.utc))
        (done.record,) = bench.arrive(KEY, raw_file.read_bytes())
        done.log = bench.logs[-1]
        done.vap_records = bench.due(vap) if able else []
        done.again = bench.due(vap) if able else []
    finally:
        worker.close()
    done.root = bench.outputs.root / "storage/root"
    done.plain, done.plain_vap = folder / "plain", folder / "plain_vap"
    jobs = [(INGEST.config_file, [str(raw_file)], str(done.plain))]
    if able:
        shutil.copytree(done.root / "data", done.plain_vap / "data", ignore=lambda *_: {VAP_FOLDER})
        window = ["20201201.000000", "20201202.000000"]
        jobs.append((VAP.config_file, window, str(done.plain_vap)))
    plain(tsdat_python, examples, *jobs)
    return done


VAP_FOLDER = "humboldt.buoy_z05-wind-1h.c1"


def only(root, pattern):
    """The one file that fits."""
    (path,) = root.rglob(pattern)
    return path


def anatomy(path, *, leave=MAY_DIFFER):
    """All that is in a netCDF file, as it is stored: nothing is decoded, scaled or masked."""
    import netCDF4

    with netCDF4.Dataset(path) as dataset:
        dataset.set_auto_maskandscale(False)
        dataset.set_auto_chartostring(False)
        found = {
            "format": dataset.data_model,
            "groups": list(dataset.groups),
            "dimensions": {n: (len(d), d.isunlimited()) for n, d in dataset.dimensions.items()},
            "attributes": {
                n: told(dataset.getncattr(n)) for n in dataset.ncattrs() if n not in leave
            },
            "order": list(dataset.variables),
        }
        for name, variable in dataset.variables.items():
            found[name] = {
                "dimensions": variable.dimensions,
                "dtype": str(variable.dtype),
                "attributes": {n: told(variable.getncattr(n)) for n in variable.ncattrs()},
                "filters": variable.filters(),
                "chunking": variable.chunking(),
                "endian": variable.endian(),
                "values": told(variable[:]),
            }
        return found


def told(value):
    """A value with its type, such that NaN equals NaN."""
    dtype = getattr(value, "dtype", None)
    plain = value.tolist() if dtype is not None else value
    return type(value).__name__, str(dtype), repr(plain)


def same(ours, theirs):
    """Two netCDF files hold the same."""
    one, two = anatomy(ours), anatomy(theirs)
    assert one.keys() == two.keys()
    for name in one:
        assert one[name] == two[name], name
    assert len(one) > 7


def test_the_worker_says_what_it_is(done, tsdat_python):
    old = "tsdat-" in str(tsdat_python)
    assert done.ready["python"].startswith("3.10" if old else "3.11")
    expected = tsdat_python.parents[1].name.removeprefix("tsdat-") if old else "0.10"
    assert done.ready["tsdat"].startswith(expected)
    assert done.ingest.tsdat == done.ready["tsdat"]


def test_the_ingest_is_described(done):
    pipeline = done.ingest
    assert pipeline.classname == "pipelines.lidar.pipeline.Lidar"
    assert pipeline.triggers == (r".*lidar/humboldt/lidar\.z05\..*\.sta\.7z$",)
    assert (pipeline.datastreams, pipeline.pad_before, pipeline.pad_after) == ((), 0, 0)
    assert pipeline.storage_root == "storage/root"
    assert pipeline.data_path == "data/{location_id}/{datastream}"
    assert "{yyyy}{mm}{dd}" in pipeline.data_filename or "{date_time}" in pipeline.data_filename
    assert pipeline.datastream == "humboldt.buoy_z05-lidar-10m.a1"


def test_the_vap_is_described(done):
    if done.ready["tsdat"].startswith("0.8"):
        # It has no transform_v2: the message says what is missing and where.
        assert isinstance(done.vap, ConfigurationError)
        assert done.vap.what == f"Tsdat cannot set up {VAP.config_file}"
        assert "No module named 'tsdat.transform_v2'" in done.vap.why
        return
    assert done.vap.datastreams == ("humboldt.buoy_z05-lidar-10m.a1",)
    assert (done.vap.pad_before, done.vap.pad_after) == (86400.0, 0.0)


def test_the_ingest_succeeds_with_keys_as_tsdats_s3_storage_has_them(done):
    assert (done.record.state, done.record.failure, done.record.plots_failed) == (
        "succeeded",
        None,
        "",
    )
    ours = sorted(p.key for p in done.record.products)
    theirs = sorted(
        f"storage/root/{p.relative_to(done.plain).as_posix()}"
        for p in done.plain.rglob("*") if p.is_file()
    )  # fmt: skip
    assert ours == theirs
    assert ours[1].startswith("storage/root/data/humboldt/humboldt.buoy_z05-lidar-10m.a1/humboldt.")
    assert [p.kind for p in sorted(done.record.products, key=lambda p: p.key)] == [
        "ancillary",
        "data",
    ]


def test_the_product_equals_plain_tsdats(done):
    same(only(done.root, "*-lidar-10m*.nc"), only(done.plain, "*.nc"))


def test_inputs_names_the_arrival(done):
    import netCDF4

    with netCDF4.Dataset(only(done.root, "*-lidar-10m*.nc")) as dataset:
        assert dataset.getncattr("inputs") == KEY
        texts = [str(dataset.getncattr(name)) for name in dataset.ncattrs()]
    assert not [text for text in texts if "/work/" in text or "/in/" in text]


def test_the_plot_equals_plain_tsdats(done):
    ours, theirs = only(done.root, "*.png"), only(done.plain, "*.png")
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_record_of_the_product(done):
    import netCDF4

    (product,) = [p for p in done.record.products if p.kind == "data"]
    path = done.bench.outputs.root / product.key
    assert product.size == path.stat().st_size
    assert product.datastream == "humboldt.buoy_z05-lidar-10m.a1"
    with netCDF4.Dataset(path) as dataset:
        time = dataset["time"]
        first, last = netCDF4.num2date(
            [time[:].min(), time[:].max()], time.units, only_use_cftime_datetimes=False
        )
        assert product.dimensions == {n: len(d) for n, d in dataset.dimensions.items()}
    assert (product.begin, product.end) == tuple(
        t.replace(tzinfo=timezone.utc) for t in (first, last)
    )
    assert done.record.peak_memory > 100
    assert {"load", "run", "sum up", "stage", "publish", "total"} == set(done.record.seconds)


def counted(path):
    """The quality summaries of a file by the flags' own attributes, value by value."""
    import netCDF4

    found = []
    with netCDF4.Dataset(path) as dataset:
        dataset.set_auto_mask(False)
        for name, variable in dataset.variables.items():
            if not name.startswith("qc_"):
                continue
            listed = [variable.getncattr(n) for n in ("flag_masks", "flag_assessments")]
            masks, assessments = (
                list(v) if hasattr(v, "__len__") and not isinstance(v, str) else [v] for v in listed
            )
            bad = other = 0
            values = [int(v) for v in variable[:].ravel()]
            for value in values:
                how = {str(a) for m, a in zip(masks, assessments) if value & int(m)}
                bad += "Bad" in how
                other += how == {"Indeterminate"}
            found.append(QualitySummary(name[3:], len(values), bad, other))
    return found


def test_the_quality_summary_is_what_the_file_says(done):
    for record in [done.record, *done.vap_records[:1]]:
        (product,) = [p for p in record.products if p.kind == "data"]
        expected = counted(done.bench.outputs.root / product.key)
        assert [replace(quality, tests=()) for quality in product.quality] == expected
        assert len(expected) > 5
    wind = next(q for q in done.record.products[0].quality if q.variable == "wind_speed")
    assert wind.bad > 0


def test_the_log_holds_what_tsdat_says(done):
    assert all(json.loads(line)["message"] for line in done.log.splitlines())


def test_the_vap_equals_plain_tsdats_on_the_same_products(done):
    if done.ready["tsdat"].startswith("0.8"):
        pytest.skip("Tsdat 0.8 has no transform_v2, which this VAP uses")
    record, after = done.vap_records
    # The day's last sample is labelled with the midnight that ends it, where the next day begins;
    # what was measured in that next day is nothing.
    assert (str(after.run.window), after.state) == ("2020-12-02 to 2020-12-03", "empty")
    assert (record.state, record.failure, record.plots_failed) == ("succeeded", None, "")
    assert str(record.run.window) == "2020-12-01 to 2020-12-02"
    assert [p.key for p in record.run.products] == [
        p.key for p in done.record.products if p.kind == "data"
    ]
    (product,) = record.products
    assert product.key.startswith(f"storage/root/data/humboldt/{VAP_FOLDER}/")
    assert product.dimensions["time"] == 24
    same(only(done.root, "*wind-1h*.nc"), only(done.plain_vap, "*wind-1h*.nc"))
    assert done.again == []


def test_clocks_of_records(done):
    assert abs(done.record.started - datetime.now(timezone.utc)) < timedelta(minutes=30)
    assert done.record.started != NOON
