"""The pipe between a service and its worker: nonsense on either side, and what the worker loads."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from runtime_doubles import INGEST
from runtime_repository import PYTHONS, descriptors, missing

import tidegate
from tidegate.errors import (
    ConfigurationError,
    PythonEnvironmentError,
    RunOutOfMemory,
    RunTimeout,
    WorkerLost,
)
from tidegate.runtime import process
from tidegate.runtime.manifest import Pipeline
from tidegate.runtime.memory import memory_by_ps, resident_memory
from tidegate.runtime.process import BOOT, PACKAGE, WorkerProcess
from tidegate.runtime.records import to_json
from tidegate.runtime.runs import Run
from tidegate.runtime.task import Outcome, Task

TASK = Task(Run(INGEST.id), INGEST, ("a",), "/no/such/folder")
PREAMBLE = """
import json, os, subprocess, sys, time
hear = sys.stdin.readline
def say(answer): print(json.dumps(answer), flush=True)
"""
READY = 'print(\'{"ready": {"python": "3", "tsdat": "0"}}\', flush=True); '


# --- fuzz ----------------------------------------------------------------------------------------


class Raw:
    """A real worker, spoken to line by line."""

    def __init__(self, repository) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOOT, str(PACKAGE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=repository.root,
            env={**os.environ, **process.ENVIRONMENT},
        )  # fmt: skip
        assert "ready" in json.loads(self.process.stdout.readline())

    def ask(self, line: bytes):
        """The answer to one line."""
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def raw(repository):
    """One worker for all that is thrown at it; it must live to the end."""
    raw = Raw(repository)
    yield raw
    assert raw.process.poll() is None
    raw.process.stdin.close()
    assert raw.process.stdout.read() == b""  # it has answered each line once, and said no more
    assert raw.process.wait(20) == 0
    raw.process.stdout.close()


def one_error(raw, line: bytes):
    """One line is answered by one error; the answer after it is its own."""
    answer = raw.ask(line)
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"type", "what", "why", "next", "where"}
    assert raw.ask(b'{"op": "ping"}')["error"]["what"] == "ValueError: unknown op 'ping'"


fuzz = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
GOOD = json.dumps({"op": "run", "task": to_json(TASK)}).encode()


@pytest.mark.slow
@fuzz
@given(st.binary().filter(lambda line: b"\n" not in line))
@example(b"")
@example(b"\xff\xfe")
@example(b"[" * 100_000)
@example(b"9" * 5_000)
def test_any_bytes(raw, line):
    one_error(raw, line)


@pytest.mark.slow
@fuzz
@given(JSON)
@example({"op": ["run"]})
@example({"op": "run"})
@example({"op": "describe"})
@example({"op": "describe", "file": None})
@example({"op": "describe", "file": "\0"})
@example({"op": "describe", "file": "/etc/passwd"})
@example({"op": "describe", "file": "../" * 5000})
def test_any_json(raw, value):
    one_error(raw, json.dumps(value).encode())


@pytest.mark.slow
@fuzz
@given(st.integers(0, len(GOOD) - 1))
def test_truncated_tasks(raw, length):
    one_error(raw, GOOD[:length])


@pytest.mark.slow
@fuzz
@given(st.sampled_from(["run", "config", "arguments", "work", "release"]), JSON)
def test_tasks_of_which_a_part_is_anything(raw, name, value):
    task = {**to_json(TASK), name: value}
    answer = raw.ask(json.dumps({"op": "run", "task": task}).encode())
    assert "error" in answer or answer["outcome"]["failure"]["kind"] == "configuration"
    assert raw.ask(b'{"op": "ping"}')["error"]["what"] == "ValueError: unknown op 'ping'"


# --- fake workers --------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A function that makes a ``WorkerProcess`` of a line of Python; nothing of it may be left."""
    before, made = descriptors(), []

    def make(code, *more):
        monkeypatch.setattr(process, "BOOT", PREAMBLE + code)
        made.append(WorkerProcess([sys.executable, "-S", *more], tmp_path))
        return made[-1]

    yield make
    pids = [worker.pid for worker in made if worker.pid]
    for worker in made:
        worker.close()
        worker.close()  # twice does no harm
    assert descriptors() == before
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert zombies() == []


def zombies():
    """Children of this process that nobody has waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.append(stat.parent.name)
    return found


@pytest.mark.functional
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("print('hello', flush=True); time.sleep(60)", "broke its protocol"),
        ("print('[1]', flush=True); time.sleep(60)", "broke its protocol"),
        ("print('{}', flush=True); time.sleep(60)", "cannot be read"),
        ("print('{\"ready\": 5}', flush=True); time.sleep(60)", "cannot be read"),
        ("print('{\"error\": 5}', flush=True); time.sleep(60)", "cannot be read"),
        (
            'print(\'{"error": {"type": "X", "what": "No module named tsdat"}}\'); sys.exit(3)',
            "No module named tsdat",
        ),
        ("sys.exit(7)", "exit code 7"),
        ("print('{\"rea', end='', flush=True); sys.exit(0)", "exit code 0"),
        ("os.kill(os.getpid(), 15)", "SIGTERM"),
    ],
)
def test_a_worker_that_does_not_start(fake, code, why):
    worker = fake(code)
    with pytest.raises(PythonEnvironmentError, match="no worker can be started") as caught:
        worker.start()
    assert why in caught.value.why
    assert worker.pid is None


@pytest.mark.slow
def test_a_worker_that_never_gets_ready(fake, monkeypatch):
    monkeypatch.setattr(process, "START", 1.0)
    with pytest.raises(PythonEnvironmentError, match="no answer in time"):
        fake("time.sleep(60)").start()


@pytest.mark.functional
def test_an_interpreter_that_is_not_there(tmp_path):
    with pytest.raises(PythonEnvironmentError, match="No such file"):
        WorkerProcess([str(tmp_path / "python")], tmp_path).start()


@pytest.mark.functional
@pytest.mark.parametrize(
    ("code", "what", "why"),
    [
        ("print('hello', flush=True)", "broke its protocol", "hello"),
        ("os.write(1, b'\\xff\\xfe\\n')", "broke its protocol", "xff"),
        ("print('5', flush=True)", "broke its protocol", "5"),
        ("print('{}', flush=True)", "could not read its task", "cannot be read"),
        ('print(\'{"error": {"what": "no"}}\', flush=True)', "could not read its task", "no"),
        ('print(\'{"error": []}\', flush=True)', "could not read its task", "cannot be read"),
        ('print(\'{"outcome": []}\', flush=True)', "cannot be read", "Outcome"),
        (
            'print(\'{"outcome": {"products": "abc"}}\', flush=True)',
            "cannot be read", "expected a list",
        ),
        ("print('{\"outcome', end='', flush=True); sys.exit(4)", "exit code 4", ""),
        ("os.kill(os.getpid(), 11)", "SIGSEGV", ""),
        ("os.close(1); time.sleep(60)", "stopped answering", ""),
    ],
)  # fmt: skip
def test_a_worker_that_answers_nonsense(fake, code, what, why):
    worker = fake(READY + f"sys.stdin.readline(); {code}; time.sleep(60)")
    with pytest.raises(WorkerLost, match=what) as caught:
        worker.perform(TASK)
    assert why in caught.value.why
    assert worker.pid is None


@pytest.mark.functional
@pytest.mark.parametrize(
    "code", ["time.sleep(9000)", "print('{', end='', flush=True); time.sleep(9000)"]
)
def test_silence_is_a_timeout(fake, code):
    worker = fake(READY + f"sys.stdin.readline(); {code}")
    with pytest.raises(RunTimeout, match="stopped after 1 s"):
        worker.perform(with_limits(timeout=1))
    assert worker.pid is None


def with_limits(**limits):
    """The task with other limits."""
    return replace(TASK, config=replace(INGEST, **limits))


@pytest.mark.functional
def test_a_worker_that_does_not_read_is_a_timeout(fake):
    """The task does not fit into the pipe: writing it must not wait for ever."""
    worker = fake(READY + "time.sleep(60)")
    task = replace(with_limits(timeout=1), arguments=("x" * 1_000_000,))
    with pytest.raises(RunTimeout):
        worker.perform(task)


@pytest.mark.functional
def test_a_large_task_and_a_large_answer(fake):
    worker = fake(
        READY
        + "assert len(hear()) > 10**6; say({'outcome': {'warnings': ['y' * 3_000_000]}}); hear()"
    )
    task = replace(TASK, arguments=("x" * 1_000_000,))
    assert worker.perform(task).warnings == ("y" * 3_000_000,)


@pytest.mark.functional
def test_what_nobody_asked_for_is_no_answer(fake):
    """An answer that comes twice must not be taken for that to the next task."""
    worker = fake(
        READY
        + "sys.stdin.readline(); print('{\"outcome\": {}}\\n' * 2, flush=True); time.sleep(60)"
    )
    assert worker.perform(TASK) == Outcome()
    with pytest.raises(WorkerLost, match="broke its protocol"):
        worker.perform(TASK)
    assert worker.perform(TASK) == Outcome()  # by a new one


@pytest.mark.functional
def test_a_child_that_holds_the_pipe_open(fake):
    """The worker is dead, but the pipe does not end."""
    worker = fake(
        READY
        + "sys.stdin.readline(); os.fork() and os.kill(os.getpid(), 9); os.setsid(); time.sleep(30)"
    )
    started = time.monotonic()
    with pytest.raises(WorkerLost, match="SIGKILL"):
        worker.perform(TASK)
    assert time.monotonic() - started < 25  # it did not wait for the child


@pytest.mark.functional
def test_a_limit_of_memory(fake):
    worker = fake(READY + "sys.stdin.readline(); x = bytearray(300 * 2**20); time.sleep(60)")
    with pytest.raises(RunOutOfMemory, match="its limit is 200 MB"):
        worker.perform(with_limits(memory=200))
    assert worker.pid is None


@pytest.mark.functional
def test_a_worker_that_died_idle_is_replaced(fake):
    worker = fake(
        READY + "sys.stdin.readline(); print('{\"outcome\": {}}', flush=True); sys.exit(0)"
    )
    for _ in range(3):
        assert worker.perform(TASK) == Outcome()
        worker._process.wait(10)
    assert worker.runs == 1


@pytest.mark.functional
@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("print('{\"pipeline\": 5}', flush=True)", "not a Pipeline"),
        ("print('{}', flush=True)", "cannot be read"),
        ("sys.exit(2)", "exit code 2"),
        ('print(\'{"error": {"type": "annotations", "what": "x"}}\', flush=True)', "x"),
    ],
)
def test_describe_tells_of_nonsense(fake, code, what):
    worker = fake(READY + f"sys.stdin.readline(); {code}; time.sleep(60)")
    answer = worker.describe("p.yaml")
    assert isinstance(answer, ConfigurationError)
    assert what in str(answer)


@pytest.mark.functional
def test_describe(fake):
    worker = fake(READY + "hear(); say({'pipeline': {'classname': 'C'}}); hear()")
    assert worker.describe("p.yaml") == Pipeline("C")


@pytest.mark.functional
def test_close_lets_an_idle_worker_end_by_itself(fake):
    worker = fake(READY + "sys.stdin.read(); open('ended', 'w')")
    worker.start()
    worker.close()
    assert Path(worker._repository, "ended").exists()


@pytest.mark.functional
def test_what_a_worker_started_ends_with_it(fake, tmp_path):
    code = "p = subprocess.Popen(['sleep', '600']); open('pid', 'w').write(str(p.pid)); "
    worker = fake(code + READY + "sys.stdin.readline(); time.sleep(60)")
    with pytest.raises(RunTimeout):
        worker.perform(with_limits(timeout=1))
    pid = int((tmp_path / "pid").read_text())
    time.sleep(0.2)
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or " Z " in stat.read_text()


def test_resident_memory():
    assert 10 < resident_memory(os.getpid()) < 4000
    assert resident_memory(2**22 + 1) == 0


@pytest.mark.functional
def test_memory_where_there_is_no_proc():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        alone = memory_by_ps(os.getpid(), children=False)
        assert alone == pytest.approx(resident_memory(os.getpid(), children=False), rel=0.2)
        assert memory_by_ps(os.getpid()) > alone + memory_by_ps(child.pid) / 2 > alone
        child.communicate(b"\n")
    assert memory_by_ps(2**22 + 1) == 0


@pytest.mark.functional
def test_a_workers_environment(fake, monkeypatch):
    for name in ("TSDAT_STORAGE_ROOT", "PYTHONHOME", "VIRTUAL_ENV", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
    worker = fake(
        READY
        + "hear(); say({'outcome': {'warnings': [f'{k}={v}' for k, v in os.environ.items()]}})"
    )
    seen = dict(line.partition("=")[::2] for line in worker.perform(TASK).warnings)
    assert {"TSDAT_STORAGE_ROOT", "PYTHONHOME", "VIRTUAL_ENV"}.isdisjoint(seen)
    assert (seen["MPLBACKEND"], seen["OMP_NUM_THREADS"]) == ("Agg", "1")


# --- a real worker -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_dies_with_its_service(repository, tmp_path):
    """Killed outright, a service cannot tell its worker; nobody would hear what that answers."""
    code = f"""
import sys, time
sys.path.insert(0, {str(PACKAGE.parent)!r})
from pathlib import Path
from tidegate.runtime.process import WorkerProcess
worker = WorkerProcess([sys.executable], Path({str(repository.root)!r}))
worker.start()
print(worker.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as service:
        pid = int(service.stdout.readline())
        service.kill()
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or ") Z " in stat.read_text():
            return
        time.sleep(0.1)
    pytest.fail("the worker goes on")


# --- what a worker loads -------------------------------------------------------------------------

RUNTIME = sorted(p.stem for p in (PACKAGE / "runtime").glob("*.py") if p.stem != "__init__")
IMPORT_ALL = BOOT.replace(
    "from tidegate.runtime.worker import main\nsys.exit(main())",
    "import importlib, json\n"
    f"for name in {RUNTIME!r}: importlib.import_module('tidegate.runtime.' + name)\n"
    "print(json.dumps([sorted(sys.modules), sys.path]))",
)


def loaded(python, *options):
    """All modules and the path of an interpreter that has imported the whole runtime."""
    command = [str(python), *options, "-c", IMPORT_ALL, str(PACKAGE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.functional
def test_the_standard_library_is_enough():
    assert len(RUNTIME) >= 14
    modules, path = loaded(sys.executable, "-S", "-E", "-W", "error")
    outside = {m.partition(".")[0] for m in modules} - sys.stdlib_module_names - {"tidegate"}
    assert outside <= {"__main__"}
    assert not [p for p in path if "site-packages" in p]


@pytest.mark.functional
@pytest.mark.parametrize("version", ["0.9.3", "0.8.5"])
def test_the_runtime_imports_on_python_3_10(version):
    if missing(version):
        pytest.skip(missing(version))
    modules, path = loaded(PYTHONS[version], "-W", "error")
    assert "tidegate.runtime.worker" in modules
    assert "pydantic" not in modules
    assert str(PACKAGE.parent) not in path


@pytest.mark.slow
def test_the_pipelines_see_their_own_environment_alone(tsdat_python, repository, tmp_path):
    """Its pydantic above all: the service's is another, and may not be the one that Tsdat needs."""
    config = repository.add(
        "looks",
        """
        def hook_customize_dataset(self, dataset):
            import pydantic
            print("PATH", sys.path)
            print("PYDANTIC", pydantic.VERSION, pydantic.__file__)
            print("MODULES", sorted(m for m in sys.modules if m.startswith("tidegate")))
            return dataset
        """,
    )
    from runtime_repository import Real

    worker = WorkerProcess([str(tsdat_python)], repository.root)
    try:
        run = Real(tmp_path, worker, config)
        record = run.arrive()
        assert record.failure is None
        said = {text.partition(" ")[0]: text.partition(" ")[2] for text in run.said("print")}
    finally:
        worker.close()
    home = str(tsdat_python.parents[1])
    assert said["PYDANTIC"].split()[1].startswith(home)
    old = "tsdat-0." in home
    assert said["PYDANTIC"].split(".")[0] == ("1" if old else "2")
    assert "tidegate.targets.local" not in said["MODULES"]
    paths = said["PATH"].strip("[]").replace("'", "").split(", ")
    assert paths[0] == str(repository.root)
    assert not [p for p in paths if "site-packages" in p and not p.startswith(home)]
    # (In its own environment Tidegate is installed for development, which puts it on the path.)
    assert not old or str(PACKAGE.parent) not in paths


@pytest.mark.slow
def test_what_tsdat_has_loaded_is_left_alone_and_other_garbage_collected(
    tsdat_python, repository, tmp_path
):
    config = repository.add(
        "litters",
        """
        def hook_customize_dataset(self, dataset):
            import gc, weakref
            class Knot:
                pass
            knot = Knot()
            knot.itself, gone = knot, weakref.ref(knot)
            del knot
            print("FROZEN", gc.get_freeze_count() > 100_000)
            print("ENABLED", gc.isenabled())
            gc.collect()
            print("AFTER", gone() is None)
            return dataset
        """,
    )
    from runtime_repository import Real

    worker = WorkerProcess([str(tsdat_python)], repository.root)
    try:
        run = Real(tmp_path, worker, config)
        assert run.arrive().failure is None
        assert run.said("print") == ["FROZEN True", "ENABLED True", "AFTER True"]
    finally:
        worker.close()


def test_this_package_is_the_one_that_workers_run():
    assert Path(tidegate.__file__).parent == PACKAGE
