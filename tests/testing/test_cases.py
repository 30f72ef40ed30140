"""Which tests a repository has: what its files say, without running any."""

import pytest
from testing_workspace import NAME, RAW

from tidegate.errors import ConfigurationError
from tidegate.quality.comparison import Rules, Tolerance
from tidegate.testing import tests_file
from tidegate.testing.cases import find_suites
from tidegate.testing.pipelines import Pipelines, _discovered
from tidegate.workspace.folder import Workspace
from tidegate.workspace.loading import load_without_tsdat


def suites(bench):
    """The tests by pipeline; nothing is started for that."""
    configs = load_without_tsdat(Workspace.at(bench.root)).manifest.configs
    found = find_suites(Pipelines(bench.repository, (), configs))
    return {suite.pipeline: suite.cases for suite in found}


def test_a_pipeline_without_tests_is_listed(bench):
    assert suites(bench) == {"tiny": (), "tiny_vap": ()}


@pytest.mark.parametrize("name", ["one/a.csv", "tiny/one/a.csv", "a.one.csv"])
def test_files_alone(bench, name):
    bench.sample(name)
    (case,) = suites(bench)["tiny"]
    assert case.config.id == "tiny/one"
    assert case.inputs == (bench.data / "input" / name,)
    assert case.folder == bench.data / "expected"
    assert case.rules == Rules()


def test_triggers_decide_before_names(bench):
    bench.edit(r".*tiny.*\.csv$", r".*special.*\.csv$", "pipelines/tiny/config/pipeline_two.yaml")
    bench.edit(r".*tiny.*\.csv$", r".*nothing$", "pipelines/tiny/config/pipeline_one.yaml")
    bench.sample("one/special.csv")
    (case,) = suites(bench)["tiny"]
    assert case.config.id == "tiny/two"


def test_a_file_that_could_be_for_two_configs(bench):
    bench.sample("a.csv")
    (case,) = suites(bench)["tiny"]
    assert isinstance(case.problem, ConfigurationError)
    assert "tests.yaml" in case.problem.next


def test_a_vap_is_run_over_the_window_of_its_expected_product(bench):
    folder = "pipelines/tiny_vap/test/data"
    bench.write(f"{folder}/input/{NAME}", "")
    bench.write(f"{folder}/expected/one.vap.b1.20220401.053000.nc", "")
    (case,) = suites(bench)["tiny_vap"]
    assert str(case.window) == "2022-04-01 to 2022-04-02"
    assert [path.name for path in case.samples] == [NAME]


def test_a_written_list(bench):
    bench.sample("a.csv")
    bench.sample("b.csv")
    bench.write("pipelines/tiny/test/data/expected/x.nc", "")
    bench.write(
        "pipelines/tiny/test/data/tests.yaml",
        "tolerances: {rtol: 0.1, times: 2, ignore: [title], variables: {x: {atol: 1}}}\n"
        "tests:\n"
        "- {config: two, inputs: [a.csv, b.csv]}\n"
        "- {config: two, inputs: [a.csv], expected: [x.nc], tolerances: {attributes: false}}\n"
        "- {config: three, inputs: [a.csv]}\n"
        "- {config: two, inputs: [c.csv]}\n"
        "- {config: two, arguments: [46013]}\n",
    )
    first, second, third, fourth, fifth = suites(bench)["tiny"]
    assert [path.name for path in first.inputs] == ["a.csv", "b.csv"]
    assert first.rules == Rules(0.1, 0, {"x": Tolerance(atol=1)}, ignore=("title",), times=2)
    assert second.folder is None
    assert second.expected == ((bench.data / "expected/x.nc", Rules(attributes=False)),)
    assert third.problem.next == "there is: one, two"
    assert "c.csv" in fourth.problem.what
    assert fifth.arguments == ("46013",)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("20220401", "20220401"),
        ("20220401.050000", "20220401.050000"),
        ("2022-04-01", "2022-04-01"),
        ("2022-04-01T05:00", "2022-04-01T05:00"),
    ],
)
def test_times_are_kept_as_they_were_written(tmp_path, written, kept):
    (tmp_path / "t.yaml").write_text(f"tests: [{{begin: {written}}}]")
    assert tests_file.read_tests_file(tmp_path / "t.yaml").tests[0].begin == kept


@pytest.mark.parametrize(
    "text", ["tests: [", "tests: 5", "toleranze: {}", "tolerances: {rtol: -1}"]
)
def test_a_list_that_cannot_be_read_is_the_only_test(bench, text):
    bench.sample("one/a.csv")
    bench.write("pipelines/tiny/test/data/tests.yaml", text)
    (case,) = suites(bench)["tiny"]
    assert "tests.yaml" in case.problem.where


def test_python_tests_go_before_files(bench):
    bench.sample("one/a.csv")
    bench.write(
        "pipelines/tiny/test/test_pipeline.py",
        "def test_one():\n"
        "    config = PipelineConfig.from_yaml(Path('pipelines/tiny/config/pipeline_one.yaml'))\n"
        "    pipeline = config.instantiate_pipeline()\n"
        "    pipeline.run(['pipelines/tiny/test/data/input/one/a.csv'])\n"
        "def test_missing():\n"
        "    config = PipelineConfig.from_yaml(Path('pipelines/tiny/config/pipeline_one.yaml'))\n"
        "    config.instantiate_pipeline().run(['pipelines/tiny/test/data/input/none.csv'])\n"
        "def test_needs_it():\n"
        "    test_missing()\n"
        "    config = PipelineConfig.from_yaml(Path('pipelines/tiny_vap/config/pipeline.yaml'))\n"
        "    config.instantiate_pipeline().run(['20220401.000000', '20220402.000000'])\n",
    )
    one, missing, needs_it = suites(bench)["tiny"]
    assert (one.config.id, one.source) == ("tiny/one", "pipelines/tiny/test/test_pipeline.py:4")
    assert "none.csv" in missing.problem.what
    assert "none.csv" in needs_it.problem.what


def test_a_bare_repository(bench):
    (bench.root / "pipelines_config.yml").unlink()
    bench.sample("one/a.csv", RAW)
    found = find_suites(Pipelines(bench.repository, (), _discovered(bench.repository)))
    assert {suite.pipeline: len(suite.cases) for suite in found} == {"tiny": 1, "tiny_vap": 0}
