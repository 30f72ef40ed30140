"""A worker that carries each request out in a copy of itself: nothing is left for the next one."""

import contextlib
import os
import textwrap

import pytest
from runtime_repository import PYTHONS, Real

from tidegate.errors import ConfigurationError, TidegateError, WorkerLost
from tidegate.runtime.process import WorkerProcess

pytestmark = pytest.mark.functional


@pytest.fixture(scope="module")
def forking(repository):
    """A worker that forks."""
    worker = WorkerProcess([str(PYTHONS["0.10"])], repository.root, fork=True)
    yield worker
    worker.close()


@pytest.mark.functional
def test_a_changed_file_is_read_again(tmp_path, repository, forking):
    """The same process, but the code of now: no module is kept."""
    outcomes = []
    for value in (3, 4):
        body = f"""
        def hook_customize_dataset(self, dataset):
            dataset.attrs["title"] = "{value}"
            print("value", {value})
            return dataset
        """
        config = repository.add("edited", body)
        real = Real(tmp_path / str(value), forking, config)
        assert real.arrive().state == "succeeded"
        outcomes.append(forking.pid)
        assert f"value {value}" in real.said("print")
    assert outcomes[0] == outcomes[1]


@pytest.mark.functional
@pytest.mark.parametrize("code", ["os._exit(7)", "os.kill(os.getpid(), 11)"])
def test_a_run_that_dies_leaves_the_worker_alive(tmp_path, repository, forking, code):
    forking.start()
    pid = forking.pid
    body = f"""
    def hook_customize_dataset(self, dataset):
        {code}
    """
    record = Real(tmp_path, forking, repository.add(f"dying_{len(code)}", body)).arrive()
    assert record.failure is not None
    assert record.failure.kind == "transient"
    assert ("exit code 7" if "_exit" in code else "SIGSEGV") in record.failure.message
    assert forking.pid == pid
    assert Real(tmp_path / "after", forking, repository.add("alive")).arrive().state == "succeeded"


@pytest.mark.functional
def test_a_fork_that_user_code_forgets_answers_nothing(tmp_path, repository, forking):
    body = """
    def hook_customize_dataset(self, dataset):
        os.fork()
        return dataset
    """
    assert Real(tmp_path, forking, repository.add("forks", body)).arrive().state == "succeeded"
    assert Real(tmp_path / "after", forking, repository.add("alone")).arrive().state == "succeeded"


@pytest.mark.functional
def test_memory_counts_the_run_and_not_the_process_it_is_a_copy_of(tmp_path, repository, forking):
    forking.start()
    body = """
    def hook_customize_dataset(self, dataset):
        self.__dict__["much"] = bytearray(600 * 2**20)
        time.sleep(60)
        return dataset
    """
    record = Real(tmp_path, forking, repository.add("large", body), memory=700).arrive()
    assert record.failure is not None
    assert record.failure.kind == "out-of-memory"
    small = Real(tmp_path / "small", forking, repository.add("small"), memory=700).arrive()
    assert small.state == "succeeded"


@pytest.mark.functional
def test_a_function_is_called_beside_tsdat(forking):
    answer = forking.call("tidegate.quality.datasets.is_dataset", {"name": "a.nc"})
    assert answer is True


@pytest.mark.functional
@pytest.mark.parametrize(
    "function", ["os.getcwd", "tidegate.quality.datasets.nothing", "tidegate.nothing.at_all"]
)
def test_only_functions_of_tidegate_are_called(forking, function):
    with pytest.raises(TidegateError):
        forking.call(function, {})


@pytest.mark.functional
def test_what_a_call_raises_is_told(forking, tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        forking.call(
            "tidegate.quality.content.describe_product", {"path": str(tmp_path / "none.nc")}
        )


@pytest.mark.functional
def test_a_worker_that_died_between_requests_is_replaced(repository, forking):
    forking.start()
    os.kill(forking.pid, 9)
    with contextlib.suppress(WorkerLost):  # noticed when it is started, or when it is asked
        forking.call("tidegate.quality.datasets.is_dataset", {"name": "a"})
    assert forking.call("tidegate.quality.datasets.is_dataset", {"name": "a.zarr"}) is True


@pytest.mark.functional
def test_describe_sees_the_config_of_now(repository, forking):
    file = repository.add("described")
    assert forking.describe(file).triggers == (".*described.*",)
    text = (repository.root / file).read_text().replace(".*described.*", ".*other.*")
    (repository.root / file).write_text(textwrap.dedent(text))
    assert forking.describe(file).triggers == (".*other.*",)
