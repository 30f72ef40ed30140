"""What user code may do, in a real worker beside a real Tsdat: nothing of it breaks the runtime."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import xarray
from runtime_repository import CSV, Real, descriptors

from tidegate.runtime.process import WorkerProcess

pytestmark = pytest.mark.slow  # a worker takes seconds to start, and some tests kill it


NUMBERS = itertools.count()


@pytest.fixture
def real(worker, repository, tmp_path, request):
    """A function that adds a pipeline with a hook's body and gives a bench that runs it."""
    number = next(NUMBERS)
    name = f"{request.node.originalname}_{number}"

    def make(body, *, pipeline=None, repo=None, **changes):
        if pipeline is None:
            hook = "def hook_customize_dataset(self, dataset):\n"
            lines = [f"    {line}" for line in body.strip().splitlines()]
            pipeline = hook + "\n".join([*lines, "    return dataset\n"])
        config = repository.add(name, pipeline, **(repo or {}))
        return Real(tmp_path, worker, config, **changes)

    return make


def works(worker, repository, tmp_path):
    """Whether the next run on that worker is fine."""
    config = repository.add("plain")
    record = Real(tmp_path / "next", worker, config).arrive()
    assert (record.state, record.failure) == ("succeeded", None)
    return True


# --- what it says --------------------------------------------------------------------------------

SAYS = """
print("printed")
print("to stderr", file=sys.stderr)
print("to the first stdout", file=sys.__stdout__)
os.write(1, b"descriptor 1\\n")
os.write(2, b"descriptor 2 \\xff\\n")
sys.stdout.buffer.write(b"bytes\\n")
logging.getLogger("mine").info("logged %s", "at info")
logging.getLogger("mine").warning("logged badly %d", "x")
warnings.warn("a warning")
subprocess.run(["echo", "a child"], check=True)
subprocess.run(["sh", "-c", "echo a redirected child"], stdout=sys.stdout, check=True)
ctypes.CDLL(None).puts(b"from C")
print('{"outcome": {}}')
os.write(1, b'{"outcome": {}}\\n')
print("\\ud800 surrogate")
print("héllo ☃")
print("without a newline", end="")
"""


def test_all_that_it_says_is_in_the_log(real, worker, repository, tmp_path):
    run = real(SAYS)
    record = run.arrive()
    assert record.state == "succeeded", run.bench.logs[-1]
    said = run.said()
    for expected in (
        "printed", "without a newline", "to stderr", "to the first stdout", "descriptor 1",
        "descriptor 2 \ufffd", "bytes", "logged at info", "a child", "a redirected child", "from C",
        "\ud800 surrogate", "héllo ☃", "UserWarning: a warning",
    ):  # fmt: skip
        assert expected in said, expected
    assert said.count('{"outcome": {}}') == 2
    assert any("logged badly" in text for text in said)
    (warning,) = [line for line in run.log if "a warning" in line["message"]]
    assert warning["where"].endswith(".py:26") or "pipeline.py:" in warning["where"]
    assert {line["run"] for line in run.log} == {record.key[:12]}
    assert works(worker, repository, tmp_path)


def test_streams_that_it_kept_lead_to_the_log_of_each_run(repository, worker, tmp_path):
    code = """
from sys import stdout
import logging
from tsdat import IngestPipeline
kept = logging.getLogger("kept")
kept.propagate = False
kept.addHandler(logging.StreamHandler())


class Tiny(IngestPipeline):
    def hook_customize_dataset(self, dataset):
        logging.info("the root's")
        print("kept stream", file=stdout)
        kept.warning("kept handler")
        stdout.close()
        logging.disable(logging.CRITICAL)
        return dataset
"""
    run = Real(tmp_path, worker, repository.add("keeps_streams", code=code))
    for number in range(3):
        run.arrive(f"raw/{number}.csv")
        assert "kept stream" in run.said("print")
        assert "kept handler" in run.said("print")
        assert "the root's" in run.said("log")


@pytest.mark.parametrize(
    "body",
    [
        'for i in range(300_000): print("0123456789" * 10)',
        'print("x" * 30_000_000)',
        'for i in range(200_000): print("x", end="")',
        'os.write(1, b"y" * 30_000_000)',
    ],
    ids=["lines", "line", "pieces", "descriptor"],
)
def test_megabytes_of_output(real, body):
    run = real(body)
    record = run.arrive()
    assert record.state == "succeeded"
    assert record.seconds["total"] < 60
    assert 100_000 < len(run.bench.logs[-1]) < 20_000_000
    assert all(line["run"] for line in run.log)


def test_a_program_that_floods_its_output_is_limited_while_it_runs(real):
    flood = "echo first; yes | head -c 300000000; echo last"
    run = real(
        f"subprocess.run({flood!r}, shell=True)\nwork = os.environ['TMPDIR'] + '/..'\n"
        "print('BYTES', sum(os.stat(work + '/' + n).st_size for n in os.listdir(work)))"
    )
    record = run.arrive()
    assert record.state == "succeeded"
    (size,) = [int(text.split()[1]) for text in run.said("print") if text.startswith("BYTES")]
    assert size < 10_000_000
    said = run.said("output")
    assert (said[0], said[-1]) == ("first", "last")
    assert any("bytes of output are left out" in text for text in said)
    assert any("lines of output are left out" in text for text in said)


# --- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ('raise ValueError("bad  data\\nhere")', "bad-input", "ValueError: bad data here"),
        ("raise SystemExit(3)", "bad-input", "SystemExit 3"),
        ("sys.exit()", "bad-input", "SystemExit None"),
        ("raise KeyboardInterrupt", "bad-input", "KeyboardInterrupt: no message"),
        ("raise BaseException('odd')", "bad-input", "BaseException: odd"),
        ("raise MemoryError", "out-of-memory", "MemoryError"),
        ("import no_such_module", "configuration", "No module named 'no_such_module'"),
        ("no_such_name", "configuration", "NameError: name 'no_such_name'"),
        ("raise ConnectionResetError('peer')", "transient", "ConnectionResetError: peer"),
        ("import socket; raise socket.gaierror(-2, 'unknown')", "transient", "gaierror"),
        ("from urllib.error import URLError; raise URLError(TimeoutError())", "transient", "URLE"),
        ("raise OSError(28, 'No space left')", "transient", "No space left"),
        ("raise OSError(2, 'No such file')", "bad-input", "No such file"),
        (
            "class E(Exception):\n  def __str__(self): raise OSError('no')\nraise E()",
            "bad-input",
            "E: its text cannot be printed (OSError)",
        ),
        ("dataset.no_such_variable", "bad-input", "AttributeError"),
        ("def f(): return f()\nf()", "bad-input", "RecursionError"),
        ("os.chdir('/'); raise ValueError('far from home')", "bad-input", "far from home"),
        ("raise ValueError('x' * 100_000)", "bad-input", "ValueError: xxx"),
    ],
)
def test_what_it_raises(real, body, kind, message):
    run = real(body)
    record = run.arrive()
    # A full disk is tried again until there is room, whatever `retries` says.
    state = "retrying" if "No space left" in message else "failed"
    assert (record.state, record.failure.kind) == (state, kind)
    assert message in record.failure.message
    assert len(record.failure.message) < 1000
    assert "\n" not in record.failure.message
    name, _, line = record.failure.where.rpartition(":")
    assert name.startswith("pipelines/test_what_it_raises")
    assert int(line) > 7
    assert "Traceback" in run.bench.logs[-1]
    assert not run.root.exists()


HUNGRY = "x = bytearray(900 * 2**20); import time; time.sleep(60)"


@pytest.mark.parametrize(
    ("body", "kind", "message", "changes"),
    [
        ("ctypes.string_at(0)", "transient", "SIGSEGV", {}),
        ("os.closerange(3, 1000); os._exit(1)", "transient", "exit code 1", {}),
        ("while True: pass", "timeout", "stopped after 2 s", {"timeout": 2}),
        ("x = [bytearray(2**24) for _ in range(500)]", "out-of-memory", "700 MB", {"memory": 700}),
        (
            "subprocess.run([sys.executable, '-c', HUNGRY])".replace("HUNGRY", repr(HUNGRY)),
            "out-of-memory", "700 MB", {"memory": 700},
        ),
        (
            "if os.fork(): os.kill(os.getpid(), 9)\nos.setsid(); time.sleep(5)",
            "transient", "SIGKILL", {},
        ),
    ],
    ids=["segfault", "exits", "loops", "memory", "childs-memory", "fork"],
)  # fmt: skip
def test_what_ends_its_worker_fails_that_run_alone(
    real, worker, repository, tmp_path, body, kind, message, changes
):
    run = real('print("before the end", flush=True)\n' + body, **changes)
    record = run.arrive()
    assert (record.state, record.failure.kind) == ("failed", kind)
    assert message in record.failure.message
    assert "before the end" in run.said()
    assert worker.pid is None
    assert works(worker, repository, tmp_path)


def test_a_segfault_leaves_a_traceback_in_the_log(real):
    run = real("ctypes.string_at(0)")
    run.arrive()
    assert any("Segmentation fault" in text for text in run.said("output"))
    assert any("hook_customize_dataset" in text for text in run.said("output"))


def test_a_forgotten_fork_does_not_answer(real, worker, repository, tmp_path):
    forks = """
    def run(self, inputs, **kwargs):
        dataset = super().run(inputs, **kwargs)
        os.fork()
        return dataset
    """
    run = real(None, pipeline=forks)
    pid = None
    for number in range(3):
        record = run.arrive(f"raw/{number}.csv")
        assert record.state == "succeeded"
        pid = pid or worker.pid
    assert worker.pid == pid
    assert works(worker, repository, tmp_path)


# --- what it does to its process -----------------------------------------------------------------

CHANGES = {
    "closes descriptor 1": "os.close(1); os.close(2)",
    "closes stdout": "sys.stdout.close(); sys.stderr.close()",
    "replaces stdout": "import io; sys.stdout = sys.stderr = io.StringIO()",
    "detaches stdout": "sys.__stdout__.close()",
    "changes its directory": "os.chdir('/')",
    "changes its environment": "e = os.environ; e['MINE'] = 'x'; del e['PATH'], e['MPLBACKEND']",
    "leaves a child": "subprocess.Popen(['sleep', '600'])",
    "reads stdin": "assert sys.stdin.read() == ''; assert os.read(0, 1) == b''",
    "sets a handler": "logging.basicConfig(force=True); logging.getLogger().handlers.clear()",
    "ignores warnings": "warnings.simplefilter('ignore'); warnings.showwarning = None",
}  # fmt: skip


@pytest.mark.parametrize("body", CHANGES.values(), ids=list(CHANGES))
def test_changes_to_its_process_end_with_the_run(real, worker, repository, tmp_path, body):
    run = real(body)
    record = run.arrive()
    assert (record.state, record.failure) == ("succeeded", None)
    pid = worker.pid
    home = str(repository.root)
    after = repository.add(
        "sees",
        f"""
        def hook_customize_dataset(self, dataset):
            assert os.getcwd() == {home!r}, os.getcwd()
            assert "MINE" not in os.environ and "PATH" in os.environ
            assert os.environ["MPLBACKEND"] == "Agg"
            print("heard")
            logging.getLogger().info("logged")
            os.write(1, b"written\\n")
            warnings.warn("warned")
            return dataset
        """,
    )
    after = Real(tmp_path / "after", worker, after)
    assert after.arrive().failure is None
    assert {"heard", "logged", "written", "UserWarning: warned"} <= set(after.said())
    assert worker.pid == pid


LEAKS = {  # what cannot be set back
    "threads": "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "limit": "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))",
    "handler": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "alarm": "import signal; signal.alarm(500)",
    "function": "os.getlogin = lambda: 'me'",
}

SETTINGS = {
    "umask": ("os.umask(0o077)", "os.umask(0o22) == 0o22"),
    "numpy": ("import numpy; numpy.seterr(all='raise')", "numpy.geterr()['over'] == 'warn'"),
    "decimal": (
        "import decimal; decimal.getcontext().prec = 2",
        "__import__('decimal').getcontext().prec == 28",
    ),
    "socket": (
        "import socket; socket.setdefaulttimeout(0.001)",
        "__import__('socket').getdefaulttimeout() is None",
    ),
    "matplotlib": (
        "import matplotlib; matplotlib.rcParams['font.size'] = 33",
        "__import__('matplotlib').rcParams['font.size'] == 10",
    ),
    "recursion": ("sys.setrecursionlimit(5000)", "sys.getrecursionlimit() != 5000"),
}


@pytest.mark.parametrize("body", LEAKS.values(), ids=list(LEAKS))
def test_a_worker_that_a_run_has_changed_is_replaced(real, worker, body):
    record = real(body).arrive()
    assert (record.state, record.failure) == ("succeeded", None)
    assert worker.pid is None


@pytest.mark.parametrize(("body", "check"), SETTINGS.values(), ids=list(SETTINGS))
def test_settings_are_set_back_and_the_worker_is_kept(
    real, worker, repository, tmp_path, body, check
):
    """Many pipelines change matplotlib's settings in each run: a new process each time is slow."""
    assert real(body).arrive().failure is None
    pid = worker.pid
    assert pid is not None
    hook = f"""
        def hook_customize_dataset(self, dataset):
            import numpy
            assert {check}
            return dataset
        """
    after = Real(tmp_path / "after", worker, repository.add("after", hook))
    assert after.arrive().failure is None
    assert worker.pid == pid


def test_a_worker_that_no_run_has_changed_is_kept(real, worker):
    run = real(
        "import concurrent.futures as f; pool = f.ThreadPoolExecutor(); "
        "pool.submit(int).result(); sys.kept_pool = pool"
    )
    run.arrive("raw/one.csv")
    pid = worker.pid
    assert pid is not None
    run.arrive("raw/two.csv")
    assert worker.pid == pid


@pytest.mark.parametrize("how", ["", "setsid ", "setsid sh -c 'sleep 600 & exit' & exec "])
def test_what_a_run_has_started_ends_with_it(real, worker, how):
    run = real(f"subprocess.Popen({how + 'sleep 600'!r}, shell=True); time.sleep(0.3)")
    assert run.arrive().state == "succeeded"
    children = [p.read_text() for p in Path(f"/proc/{worker.pid}/task").glob("*/children")]
    assert "".join(children).split() == []


def test_its_variables(real):
    body = (
        "print('|'.join(os.environ[n] for n in ('PIPELINE_NAME', 'CONFIG_ID', 'MINE', 'TMPDIR')))"
    )
    run = real(
        body + "\nimport tempfile; print(tempfile.gettempdir())",
        environment={"MINE": "x=y z"}, pipeline=None,
    )  # fmt: skip
    run.arrive()
    work = run.bench.tasks[0].work
    assert run.said("print")[:2] == [f"tiny|one|x=y z|{work}/tmp", f"{work}/tmp"]


LEAVING = """
classname: tsdat.io.storage.FileSystem
parameters:
  data_storage_path: ../../../outside
handler:
  classname: tsdat.io.handlers.NetCDFHandler
"""


@pytest.mark.parametrize(
    ("body", "repo"),
    [
        ('dataset.attrs["datastream"] = "../../../../outside"', {}),
        ('dataset.attrs["datastream"] = "/outside"', {}),
        ("pass", {"storage": LEAVING}),
    ],
)
def test_a_product_that_leaves_the_store_fails_with_its_name(real, tmp_path, body, repo):
    run = real(body, repo=repo)
    run.bench.context = replace(run.bench.context, discard=lambda work: None)  # to look into it
    record = run.arrive()
    assert (record.state, record.failure.kind, record.products) == ("failed", "bad-input", ())
    assert "outside" in record.failure.message
    assert record.failure.next
    assert not [path for path in tmp_path.rglob("*") if "outside" in path.name]


def test_plots_that_leave_the_store_fail_alone(real, tmp_path):
    plots = """
    def hook_plot_dataset(self, dataset):
        root = self.storage.parameters.storage_root
        Path("plot.txt").write_text("x")
        self.storage.save_ancillary_file(Path("plot.txt"), root / ".." / ".." / "outside.txt")
    """
    run = real(None, pipeline=plots)
    record = run.arrive()
    assert (record.state, len(record.products)) == ("succeeded", 1)
    assert "outside.txt" in record.plots_failed


def test_saving_without_a_file_is_a_failure(real):
    nothing = """
    def run(self, inputs, **kwargs):
        object.__setattr__(self.storage.handler.writer, "write", lambda *args, **kwargs: None)
        return super().run(inputs, **kwargs)
    """
    record = real(None, pipeline=nothing).arrive()
    assert (record.state, record.failure.kind) == ("failed", "bad-input")
    assert "left no file" in record.failure.message


def test_an_empty_variable_and_errors_in_the_log_are_warnings(real):
    run = real("""
logging.getLogger("mine").error("the transform is missing")
dataset["value"][:] = float("nan")
""")
    record = run.arrive()
    assert (record.state, record.outcome) == ("succeeded", "succeeded with warnings")
    (product,) = record.products
    assert (product.empty, product.valid) == (("value",), {"value": 0.0})
    assert any("the transform is missing" in warning for warning in record.warnings)
    assert any("value" in warning for warning in record.warnings)


def test_the_valid_share_of_each_variable_is_on_record(real):
    record = real("pass").arrive()
    assert record.outcome == "succeeded"
    assert record.products[0].valid["value"] == pytest.approx(2 / 3, abs=1e-5)


@pytest.mark.parametrize("given", [{}, {"CODE_VERSION": "from the recipe"}], ids=["git", "given"])
def test_code_version_is_what_plain_tsdat_writes(given, repository, tmp_path, monkeypatch):
    monkeypatch.delenv("CODE_VERSION", raising=False)
    config = repository.add("code_version")
    worker = WorkerProcess([sys.executable], repository.root, given)
    try:
        run = Real(tmp_path, worker, config)
        run.bench.context.manifest.releases["tiny"] = "release 7"
        record = run.arrive()
    finally:
        worker.close()
    code = "from tsdat.config.utils import get_code_version as v; print(v())"
    plain = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository.root, env={**os.environ, **given}, stdout=subprocess.PIPE, text=True,
    ).stdout.strip()  # fmt: skip
    with xarray.open_dataset(run.root / record.products[0].key) as dataset:
        assert dataset.attrs["code_version"] == plain


def test_figures_are_closed(real, worker, repository, tmp_path):
    opens = """
    def hook_plot_dataset(self, dataset):
        import matplotlib.pyplot as plt
        print("open:", len(plt.get_fignums()))
        for _ in range(3):
            plt.figure()
        if "fails" in dataset.attrs["inputs"]:
            raise ValueError("no plot today")
    """
    run = real(None, pipeline=opens)
    for name in ("one", "two fails", "three"):
        run.arrive(f"raw/{name}.csv")
        assert "open: 0" in run.said()


def test_the_original_of_an_input_is_out_of_its_reach(worker, repository, tmp_path):
    body = """
    def run(self, inputs, **kwargs):
        dataset = super().run(inputs, **kwargs)
        for name in inputs:
            open(name, "a").write("scribble")
            os.unlink(name)
        return dataset
    """
    run = Real(tmp_path, worker, repository.add("writes_input", body))
    assert run.arrive().state == "succeeded"
    assert run.bench.inputs.files["raw/file.csv"] == CSV.encode()


# --- what it leaves in its store -----------------------------------------------------------------

LEAVES = """
store = Path(os.environ["TSDAT_STORAGE_ROOT"])
store.mkdir(parents=True, exist_ok=True)
raw = next(Path(os.environ["TMPDIR"], "..", "in").rglob("*.csv"))
"""


def test_links_inside_the_store_and_hard_links_become_files(real, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("outside")
    body = f"""
(store / "a.txt").write_text("a")
(store / "latest.txt").symlink_to("a.txt")
os.link(raw, store / "raw.csv")
os.link({str(outside)!r}, store / "hard.txt")
"""
    run = real(LEAVES + body)
    record = run.arrive()
    assert (record.state, record.failure) == ("succeeded", None)
    root = run.root / "storage/root"
    assert not (root / "latest.txt").is_symlink()
    assert (root / "latest.txt").read_text() == "a"
    assert (root / "raw.csv").stat().st_nlink == 1
    assert outside.stat().st_nlink == 1


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../in/raw/file.csv", "nothing"])
def test_a_link_out_of_the_store_publishes_nothing(real, target):
    run = real(LEAVES + f'(store / "link.txt").symlink_to({target!r})')
    record = run.arrive()
    assert (record.state, record.failure.kind) == ("failed", "bad-input")
    assert "link.txt" in record.failure.message
    assert not run.root.exists()


def test_a_socket_and_a_fifo_in_the_store_are_not_published(real):
    run = real(
        LEAVES + "import socket\nos.chdir(store)\n"
        'socket.socket(socket.AF_UNIX).bind("socket")\nos.mkfifo("fifo")'
    )
    record = run.arrive()
    assert (record.state, record.failure) == ("succeeded", None)
    assert len(record.warnings) == 2
    assert [product.kind for product in record.products] == ["data"]


def test_many_saves_are_recorded_each(real):
    """From the tenth on, only the file that the template says is looked at."""
    body = """
    def hook_finalize_dataset(self, dataset):
        import numpy
        for day in range(1, 16):
            other = dataset.copy(deep=True)
            other.time.attrs.pop("units", None)
            other["time"] = other["time"] + numpy.timedelta64(day * 10, "D")
            self.storage.save_data(other)
        return dataset
    """
    run = real(None, pipeline=body)
    record = run.arrive()
    assert (record.state, record.failure) == ("succeeded", None)
    assert len(record.products) == 16
    assert {product.kind for product in record.products} == {"data"}
    assert len({product.begin for product in record.products}) == 16


# --- inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "raw/a b (1).csv",
        "raw/50%+20%2B.csv",
        'raw/it\'s "quoted".csv',
        "raw/new\nline.csv",
        "raw/ünï☃.csv",
        "raw/" + "/".join(["d" * 200] * 4) + "/" + "n" * 90 + ".csv",
    ],
    ids=["spaces", "percent", "quotes", "newline", "unicode", "900 bytes"],
)
def test_names_of_inputs(worker, repository, tmp_path, key):
    run = Real(tmp_path, worker, repository.add("named", "def f(self): pass\n"))
    record = run.arrive(key)
    assert (record.state, record.failure) == ("succeeded", None)
    assert inputs_attribute(run, record) == key


def inputs_attribute(run, record):
    """The ``inputs`` of the product."""
    import netCDF4

    (product,) = [p for p in record.products if p.kind == "data"]
    with netCDF4.Dataset(run.root / product.key) as dataset:
        return dataset.getncattr("inputs")


def test_several_inputs_in_one_run(worker, repository, tmp_path):
    from tidegate.runtime.runs import Run

    run = Real(tmp_path, worker, repository.add("several", "def f(self): pass\n"))
    rows = CSV.splitlines()
    inputs = tuple(
        run.bench.inputs.put(f"raw/{name}.csv", f"{rows[0]}\n{row}\n".encode())
        for name, row in zip("ab", rows[1:])
    )
    record = run.bench.execute(Run(run.config.id, inputs=inputs))
    assert (record.state, record.failure) == ("succeeded", None)
    assert list(inputs_attribute(run, record)) == ["raw/a.csv", "raw/b.csv"]
    assert record.products[0].dimensions == {"time": 2}


# --- what stays behind ---------------------------------------------------------------------------


def dead_children() -> set[str]:
    """The processes of this one that have ended and that nobody has waited for."""
    children = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "stat=,pid="], capture_output=True, text=True
    ).stdout
    found = (line.split() for line in children.splitlines())
    return {pid for state, pid in found if state.startswith("Z")}


def test_nothing_leaks_over_many_runs(worker, repository, tmp_path):
    run = Real(tmp_path, worker, repository.add("plain"))
    run.arrive("raw/first.csv")
    before, inside = descriptors(), len(os.listdir(f"/proc/{worker.pid}/fd"))
    dead = dead_children()  # of other tests
    for number in range(20):
        run.arrive(f"raw/{number}.csv")
    assert descriptors() == before
    assert len(os.listdir(f"/proc/{worker.pid}/fd")) <= inside
    assert list(Path(run.bench.context.work).iterdir()) == []
    assert dead_children() <= dead
