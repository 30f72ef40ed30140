"""``tidegate test`` over real pipelines: what differs, what is missing, and what is put right."""

import shutil
import sys
import xml.etree.ElementTree as ET

import pytest
import xarray as xr
from testing_workspace import EXAMPLES, NAME, RAW, Bench, listing

pytestmark = pytest.mark.functional


@pytest.fixture
def tested(bench):
    """A workspace with a test of the ingest that passes."""
    bench.sample()
    bench.tidegate("test", "tiny", "--update", "--yes")
    return bench


def test_the_example_pipelines_are_green():
    """Their expected products were made by plain Tsdat."""
    before = listing(EXAMPLES / "pipelines/pipelines")
    found = Bench(EXAMPLES).tidegate("test")
    assert (found["passed"], found["failed"], found["without_tests"]) == (3, 0, [])
    assert all(len(test["products"]) == 1 for test in found["tests"])
    assert listing(EXAMPLES / "pipelines/pipelines") == before
    assert not (EXAMPLES / ".tidegate").exists()


def test_no_test_is_no_success(bench):
    found = bench.tidegate("test", code=1)
    assert found["ok"] is False
    assert found["without_tests"] == ["tiny", "tiny_vap"]
    assert "no test ran" in bench.run("test").stdout


def test_update_needs_a_person_or_yes(bench):
    bench.sample()
    assert bench.run("test", "--update").returncode == 2
    assert not (bench.data / "expected").exists()


def test_an_expected_file_that_is_missing(bench):
    bench.sample()
    (test,) = bench.tidegate("test", code=1)["tests"]
    (product,) = test["products"]
    assert product["expected"].endswith(f"test/data/expected/{NAME}")
    assert (product["equal"], product["problem"]) == (False, "there is no expected file")
    assert "--update" in test["next"]
    assert bench.tidegate("test", "--update", "--yes")["ok"] is False  # as it was before
    assert bench.tidegate("test")["ok"] is True


def test_an_edit_that_changes_a_value_is_found(tested):
    tested.change_values("data.x + (data.index == 1) * 0.5")
    found = tested.tidegate("test", "--junit", tested.root / "out/results.xml", code=1)
    (test,) = found["tests"]
    (value,) = test["products"][0]["difference"]["values"]
    assert (value["variable"], value["count"], value["total"]) == ("x", 1, 2)
    assert value["largest"] == 0.5
    assert value["where"] == {"time": "2022-04-01T00:01:00"}
    assert (value["expected"], value["new"]) == ("2", "2.5")
    root = ET.parse(tested.root / "out/results.xml").getroot()
    (failure,) = root.iter("failure")
    assert "x: 1 of 2 values differ, at most by 0.5" in failure.text
    names = {case.get("name"): case for case in root.iter("testcase")}
    assert names["no test"].find("skipped") is not None
    # A tolerance that covers it, and one that does not.
    for atol, code in ((0.5, 0), (0.4, 1)):
        tested.write(
            "pipelines/tiny/test/data/tests.yaml",
            f"tolerances: {{variables: {{x: {{atol: {atol}}}}}}}",
        )
        tested.tidegate("test", code=code)


def test_an_expected_product_that_nothing_makes(tested):
    shutil.copy(tested.data / "expected" / NAME, tested.data / "expected/one.tiny.a1.20200101.nc")
    found = tested.tidegate("test", code=1)
    assert [test["state"] for test in found["tests"]] == ["passed", "failed"]
    assert found["tests"][1]["products"][0]["problem"] == "no product was made for it"
    tested.tidegate("test", "--update", "--yes")
    assert [path.name for path in (tested.data / "expected").iterdir()] == [NAME]


def test_a_pipeline_that_cannot_be_loaded_or_crashes_stops_itself_alone(tested):
    broken = tested.repository / "pipelines/broken"
    shutil.copytree(tested.repository / "pipelines/tiny", broken)
    for path in broken.rglob("*.yaml"):
        path.write_text(path.read_text().replace("pipelines.tiny.", "pipelines.broken."))
    (broken / "pipeline.py").write_text("import nothing_like_it\n")
    tested.sample("one/crash.csv", f"#! segfault\n{RAW}")
    found = tested.tidegate("test", "--workers", "2", code=1)
    by_name = {(test["pipeline"], test["name"]): test for test in found["tests"]}
    assert by_name["tiny", "one/a.csv"]["state"] == "passed"
    assert "SIGSEGV" in by_name["tiny", "one/crash.csv"]["why"]
    lost = by_name["broken", "one/a.csv"]
    assert lost["where"] == "pipelines/broken/pipeline.py:1"
    assert "nothing_like_it" in lost["why"]
    text = tested.run("test", "broken").stdout
    assert "import nothing_like_it" in text
    assert "Traceback" not in text


def test_a_vap_reads_samples_and_products_of_another_test(tested):
    product = f"pipelines/tiny/test/data/expected/{NAME}"
    tested.write(
        "pipelines/tiny_vap/test/data/tests.yaml",
        f"tests:\n- {{begin: 2022-04-01, end: 2022-04-02, inputs: [{product}]}}\n",
    )
    (tested.repository / "pipelines/tiny_vap/test/data/expected").mkdir()
    tested.tidegate("test", "tiny_vap", "--update", "--yes")
    (test,) = tested.tidegate("test", "tiny_vap")["tests"]
    assert test["state"] == "passed"
    (made,) = (tested.repository / "pipelines/tiny_vap/test/data/expected").iterdir()
    with xr.open_dataset(made) as dataset:
        assert dataset.x.values.tolist() == [1.0, 2.0]


def test_python_tests_are_run_as_they_are(tested):
    """By us where they can be read, with what they need first; by pytest otherwise."""
    head = "import xarray as xr\nfrom pathlib import Path\nfrom tsdat import *\n"
    load = "    config = PipelineConfig.from_yaml(Path('pipelines/{}/config/{}.yaml'))\n"
    tested.write("pipelines/tiny/test/__init__.py", "")
    tested.write(
        "pipelines/tiny/test/test_pipeline.py",
        head
        + "def test_one():\n"
        + load.format("tiny", "pipeline_one")
        + "    dataset = config.instantiate_pipeline().run(\n"
        + "        ['pipelines/tiny/test/data/input/one/a.csv'])\n"
        + f"    expected = xr.open_dataset('pipelines/tiny/test/data/expected/{NAME}')\n"
        + "    assert_close(dataset, expected, check_attrs=False)\n"
        + "def test_by_pytest():\n"
        + "    assert sum(range(3)) == 3\n"
        + "def test_fails_in_pytest():\n"
        + "    assert sum(range(3)) == 4\n",
    )
    tested.write(
        "pipelines/tiny_vap/test/test_pipeline.py",
        head
        + "def test_vap():\n"
        + "    from pipelines.tiny.test.test_pipeline import test_one\n"
        + "    test_one()\n"
        + load.format("tiny_vap", "pipeline")
        + "    pipeline = config.instantiate_pipeline()\n"
        + "    pipeline.run(['20220401.000000', '20220402.000000'])\n",
    )
    before = listing(tested.repository)
    found = tested.tidegate("test", code=1)
    states = {test["name"]: test["state"] for test in found["tests"]}
    assert states == {
        "test_one": "passed",
        "test_by_pytest": "passed",
        "test_fails_in_pytest": "failed",
        "test_vap": "passed",
    }
    after = listing(tested.repository)
    assert {name for name in after if "__pycache__" not in name} == set(before)


def test_names_and_exit_codes(tested):
    assert tested.run("test", "nothing").returncode == 2
    assert tested.run("test", "pipelines/tiny").returncode == 0
    done = tested.run("test", "--workspace", tested.root / "none")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert sys.executable  # the interpreter that all of this ran with
