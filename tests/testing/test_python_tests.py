"""Test functions as repositories have them, read from their source."""

import textwrap

import pytest

from tidegate.quality.comparison import Rules
from tidegate.testing.python_tests import find_python_tests, read_python_tests

HEAD = """
import pytest
import xarray as xr
from pathlib import Path
from tsdat import PipelineConfig, assert_close
SITE = "one"
"""
TEMPLATE = """
def test_tiny():
    config_path = Path("pipelines/tiny/config/pipeline.yaml")
    config = PipelineConfig.from_yaml(config_path)
    config.storage.parameters["storage_root"] = "storage"
    pipeline = config.instantiate_pipeline()

    test_file = "pipelines/tiny/test/data/input/a.csv"
    expected_file = "pipelines/tiny/test/data/expected/a.nc"

    dataset = pipeline.run([test_file])
    expected: xr.Dataset = xr.open_dataset(expected_file)  # type: ignore
    assert_close(dataset, expected, check_attrs=False, atol=0.1)
"""


def read(tmp_path, body, head=HEAD):
    """The tests of one file."""
    (tmp_path / "test").mkdir(exist_ok=True)
    (tmp_path / "test/test_a.py").write_text(head + textwrap.dedent(body))
    return read_python_tests(tmp_path, "test/test_a.py")


def test_the_shape_of_the_template(tmp_path):
    (test,) = read(tmp_path, TEMPLATE)
    (run,) = test.runs
    assert run.config_file == "pipelines/tiny/config/pipeline.yaml"
    assert run.inputs == ("pipelines/tiny/test/data/input/a.csv",)
    ((file, rules),) = run.expected
    assert file == "pipelines/tiny/test/data/expected/a.nc"
    assert (rules.rtol, rules.atol, rules.attributes) == (1e-5, 0.1, False)
    assert rules.times > 0
    assert (test.unreadable, test.skipped) == ("", "")


def test_constants_and_conditions(tmp_path):
    (test,) = read(
        tmp_path,
        """
        def test_site():
            path = f"pipelines/{SITE}/x" + ".csv"
            if SITE != "two":
                config = Path("pipelines") / SITE / "pipeline.yaml"
            else:
                config = Path("elsewhere.yaml")
            PipelineConfig.from_yaml(config).instantiate_pipeline().run([path, "b.csv"])
        """,
    )
    (run,) = test.runs
    assert run.config_file == "pipelines/one/pipeline.yaml"
    assert run.inputs == ("pipelines/one/x.csv", "b.csv")
    assert run.expected == ()


def test_a_vap_names_the_tests_that_it_needs(tmp_path):
    (first, vap) = read(
        tmp_path,
        TEMPLATE
        + """
@pytest.mark.dependency(depends=["../other"])
def test_vap():
    from pipelines.other.test.test_pipeline import test_other as before
    before()
    test_tiny()
    pipeline = PipelineConfig.from_yaml(Path("vap.yaml")).instantiate_pipeline()
    dataset = pipeline.run(["20220401.000000", "20220402.000000"])
    expected = xr.load_dataset("vap.nc")
    xr.testing.assert_allclose(dataset, expected)
""",
    )
    assert first.name == "test_tiny"
    assert vap.before == (
        ("pipelines/other/test/test_pipeline.py", "test_other"),
        ("test/test_a.py", "test_tiny"),
    )
    assert vap.runs[0].inputs == ("20220401.000000", "20220402.000000")
    assert vap.runs[0].expected == (("vap.nc", Rules(1e-5, 1e-8, attributes=False)),)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("dataset = dataset.sel(time=slice(1, 2))", "sel"),
        ("assert dataset.x[0] == 1", "assert"),
        ("config.parameters['x'] = 1", "parameters"),
        ("for i in range(3): pass", "for"),
        ("assert_close(dataset, expected, unknown=1)", "assert_close"),
        ("print(open('x').read())", "print"),
    ],
)
def test_what_is_of_another_shape_is_left_to_pytest(tmp_path, line, part):
    (test,) = read(tmp_path, TEMPLATE + f"    {line}\n")
    assert part in test.unreadable
    assert "line 2" in test.unreadable
    assert test.runs == ()


@pytest.mark.parametrize(
    ("body", "unreadable", "skipped"),
    [
        ("def test_a(tmp_path): pass", "parameters", ""),
        ("def test_a(): pass", "no pipeline", ""),
        ("@pytest.mark.skip(reason='not yet')\ndef test_a(): pass", "", "not yet"),
        ("def test_a():\n    pytest.skip('later')\n", "", "later"),
    ],
)
def test_tests_that_are_not_run(tmp_path, body, unreadable, skipped):
    (test,) = read(tmp_path, body)
    assert unreadable in test.unreadable
    assert bool(test.unreadable) == bool(unreadable)
    assert test.skipped == skipped


def test_code_that_cannot_be_parsed(tmp_path):
    (test,) = read(tmp_path, "def test_a(:", head="")
    assert test.unreadable
    assert test.line == 1


def test_files_are_found_in_both_spellings(tmp_path):
    for name in ("a/test/test_x.py", "a/tests/test_y.py", "a/test/helper.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(find_python_tests(tmp_path, "a")) == ["a/test/test_x.py", "a/tests/test_y.py"]
