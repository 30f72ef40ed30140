"""What the tests of the example pipelines share: raw files, and one process that runs them all."""

import importlib.util
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PIPELINES = REPOSITORY / "examples" / "pipelines"
DAY = date(2020, 12, 1)


def load_make_raw():
    """Import examples/make_raw.py, which is no package's."""
    path = REPOSITORY / "examples" / "make_raw.py"
    spec = importlib.util.spec_from_file_location("tidegate_example_make_raw", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_raw():
    """The module that makes raw files."""
    return load_make_raw()


@pytest.fixture(scope="session")
def seed():
    """The seed of the raw files, with which each site's day has every kind of fault."""
    return 7


@pytest.fixture(scope="session")
def real_data():
    """Real raw files and products, which are not part of the repository."""
    folder = REPOSITORY.parent / "shared" / "data" / "lidar"
    if not folder.is_dir():
        pytest.skip(f"real lidar files are not here: {folder}")
    return folder


@pytest.fixture(scope="session")
def run_tsdat():
    """Run jobs (config, inputs, storage root) in one Tsdat process and return their results."""
    runner = Path(__file__).with_name("tsdat_runner.py")
    process = subprocess.Popen(
        [sys.executable, str(runner), str(PIPELINES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(config, inputs, storage_root):
        job = {
            "config": config,
            "inputs": [str(item) for item in inputs],
            "storage_root": str(storage_root),
        }
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield run
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()


@pytest.fixture(scope="session")
def raw_day(make_raw, seed, tmp_path_factory):
    """Raw files of two days at both sites, by site."""
    out = tmp_path_factory.mktemp("raw")
    return {
        name: [
            path
            for days in range(2)
            for path in make_raw.make_files(
                out, site, date.fromordinal(DAY.toordinal() + days), seed
            )
        ]
        for name, site in make_raw.SITES.items()
    }
