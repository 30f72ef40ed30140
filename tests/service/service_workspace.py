"""Workspaces with tiny pipelines, and the command ``tidegate`` as a real process over them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tidegate.runtime.memory import descendants
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import RunRecord
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.queue import SqliteQueue
from tidegate.workspace.binding import MARK
from tidegate.workspace.folder import Workspace

HERE = Path(__file__).parent
TINY = HERE / "tiny"
COMMAND = [sys.executable, "-m", "tidegate"]
PATIENCE = 180.0
"""How long something may take that takes a second on a machine that is not busy, s."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)


@dataclass
class Place:
    """A workspace on the disk, and what can be done in it."""

    root: Path
    repository: Path | None = None
    """The pipelines repository, where it is not the workspace's own."""
    said: str = ""
    """What a service of this workspace has printed, where a fixture keeps it."""

    # --- files ------------------------------------------------------------------------------

    @property
    def input(self) -> Path:
        """Where raw files arrive."""
        return self.root / "input"

    @property
    def output(self) -> Path:
        """Where products go."""
        return self.root / "output"

    def configure(self, text: str) -> None:
        """Write pipelines_config.yml."""
        repository = self.repository or "pipelines"
        (self.root / "pipelines_config.yml").write_text(f"repository: {repository}\n{text}")

    def put(self, key: str | bytes, content: str | bytes, *, rename: bool = True) -> Path:
        """Deliver a file: at once by renaming it into place, or written there."""
        place = self.input / os.fsdecode(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        if not rename:
            place.write_bytes(data)
            return place
        part = self.root / "delivery"
        part.write_bytes(data)
        part.rename(place)
        return place

    def outputs(self) -> dict[str, str]:
        """All files in output/, hidden ones too, by key, with their sha256."""
        found = {}
        for folder, _, names in os.walk(self.output):
            for name in names:
                path = Path(folder, name)
                if name == MARK:
                    continue
                found[path.relative_to(self.output).as_posix()] = content_hash(path)[1]
        return found

    # --- the ledger -------------------------------------------------------------------------

    @contextlib.contextmanager
    def ledger(self) -> Iterator[SqliteLedger]:
        """The ledger, beside whatever service is at work on it."""
        with SqliteLedger(Workspace(self.root).ledger) as ledger:
            yield ledger

    def records(self, config: str | None = None) -> list[RunRecord]:
        """What is on record, the latest first."""
        if not Workspace(self.root).ledger.exists():
            return []
        with self.ledger() as ledger:
            return list(ledger.records(config=config))

    def record(self, key: str, config: str | None = None) -> RunRecord | None:
        """The latest run over that file."""
        for record in self.records(config):
            if any(input.key == key for input in record.run.inputs):
                return record
        return None

    def queued(self) -> int:
        """How many runs wait or go on."""
        with self.ledger() as ledger:
            return SqliteQueue(ledger).count()

    def ended(
        self, key: str, *states: str, attempt: int = 1, config: str | None = None
    ) -> RunRecord:
        """Wait for the run over a file to end, and in one of these states where any is given."""

        def look() -> RunRecord | None:
            record = self.record(key, config)
            over = record is not None and record.finished is not None
            if not over or record is None or record.attempt < attempt:
                return None
            return record if record.state in (states or _FINAL) else None

        return eventually(look, lambda: f"{key}: {self.record(key, config)}")

    def age(self) -> None:
        """Make all files look as if they had been there for long, so that none has to settle."""
        for path in self.input.rglob("*"):
            os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)

    def assert_whole(self) -> None:
        """The ledger agrees with the disk, and nothing is left over anywhere."""
        with self.ledger() as ledger:
            on_record = {product.key: product.sha256 for product in ledger.products()}
            waiting = SqliteQueue(ledger).count()
        assert self.outputs() == on_record
        assert waiting == 0
        assert [path.name for path in Workspace(self.root).work.iterdir()] == []

    # --- commands ---------------------------------------------------------------------------

    def variables(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a command."""
        environment = {**os.environ, "PYTHONPATH": str(HERE / "hooks"), "COLUMNS": "200"}
        for name in ("FORCE_COLOR", "NO_COLOR", "TIDEGATE_WORKSPACE", "TIDEGATE_DEBUG"):
            environment.pop(name, None)
        return {**environment, **(extra or {})}

    def run(self, *arguments: str | Path, timeout: float = 2 * PATIENCE, **extra: str) -> Done:
        """``tidegate`` with these arguments in this workspace, to its end."""
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=self.root,
            env=self.variables(extra),
            capture_output=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def tidegate(self, command: str, *arguments: str | Path, code: int = 0, **extra: str) -> Done:
        """A command that runs pipelines, in this interpreter; its exit code is checked."""
        done = self.run(command, *arguments, "--python", sys.executable, **extra)
        assert done.code == code, f"{command} {arguments}: {done}"
        return done

    def once(self, *arguments: str, code: int = 0, **extra: str) -> Done:
        """``tidegate up --once``, with one worker unless it is told otherwise."""
        workers = () if "--workers" in arguments else ("--workers", "1")
        return self.tidegate("up", "--once", *workers, *arguments, code=code, **extra)

    @contextlib.contextmanager
    def up(self, *arguments: str, workers: int = 1, **extra: str) -> Iterator[Up]:
        """``tidegate up``; stopped at the end, and its exit code is checked."""
        service = Up(self, ["--workers", str(workers), *arguments], extra)
        try:
            service.ready()
            yield service
        finally:
            if service.process.poll() is None:
                service.stop()
            service.close()
        assert service.code in (0, -signal.SIGKILL), service.said

    def start(self, *arguments: str, workers: int = 2, **extra: str) -> Up:
        """``tidegate up``, for who ends it himself."""
        return Up(self, ["--workers", str(workers), *arguments], extra)


_FINAL = ("succeeded", "empty", "failed", "superseded")


class Up:
    """A service as a process of its own."""

    def __init__(
        self,
        place: Place,
        arguments: Sequence[str],
        extra: Mapping[str, str],
        command: str = "up",
    ) -> None:
        # A service that is started with SIGHUP ignored (nohup) goes on ignoring it.
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            self.process = subprocess.Popen(
                [*COMMAND, command, *arguments, "--python", sys.executable],
                cwd=place.root,
                env=place.variables(extra),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="backslashreplace",
            )
        finally:
            signal.signal(signal.SIGHUP, before)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def said(self) -> str:
        """All that it has printed so far."""
        return "".join(self._lines)

    @property
    def code(self) -> int | None:
        """Its exit code, once it has ended."""
        return self.process.poll()

    def ready(self) -> None:
        """Wait until it watches."""
        self.says("watching ")

    def says(self, text: str, seconds: float = PATIENCE) -> None:
        """Wait until it has said that."""
        eventually(
            lambda: text in self.said or self.process.poll() is not None,
            lambda: f"{text!r} was not said: {self.said}",
            seconds,
        )
        self._reader.join(0.0 if self.process.poll() is None else PATIENCE)
        assert text in self.said, self.said

    def workers(self) -> list[int]:
        """The ids of its worker processes, but not of the process that forks them."""
        me = self.process.pid
        return [
            pid
            for pid in descendants(me)[1:]
            if b"runtime.worker" in (words := command_line(pid))
            or (b"runtime.fork_server" in words and parent_of(pid) != me)
        ]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and wait until it has."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self.close()

    def close(self) -> None:
        """Wait for the last of what it said."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


def parent_of(pid: int) -> int:
    """The process that started it; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def command_line(pid: int) -> bytes:
    """How a process was started; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def eventually(
    look: Callable[[], Any], otherwise: Callable[[], str] = lambda: "", seconds: float = PATIENCE
) -> Any:
    """What ``look`` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.05)
    return found


def csv(
    begin: str = "2022-04-01T00:00:00", values: Sequence[float] = (1.0, 2.0), *, ask: str = ""
) -> str:
    """A file for the tiny ingest: one value a minute; ``ask`` makes its pipeline misbehave."""
    first = datetime.fromisoformat(begin)
    rows = [
        f"{first + timedelta(minutes=n):%Y-%m-%dT%H:%M:%S},{value}"
        for n, value in enumerate(values)
    ]
    head = f"#! {ask}\n" if ask else ""
    return head + "\n".join(["time,x", *rows]) + "\n"


def product(site: str, begin: str, *, dataset: str = "tiny.a1", kind: str = "data") -> str:
    """The key of a product of the tiny ingest."""
    stamp = datetime.fromisoformat(begin).strftime("%Y%m%d.%H%M%S")
    ending = "nc" if kind == "data" else "summary.txt"
    return f"storage/root/{kind}/{site}/{site}.{dataset}/{site}.{dataset}.{stamp}.{ending}"


def contents(place: Place) -> dict[str, Any]:
    """What is in each product, without the time at which it was made."""
    import netCDF4

    found: dict[str, Any] = {}
    for key, sha256 in place.outputs().items():
        found[key] = sha256
        if key.endswith(".nc"):
            with netCDF4.Dataset(place.output / key) as file:
                attributes = {name: str(file.getncattr(name)) for name in file.ncattrs()}
                attributes.pop("history")
                variables = {
                    name: (variable[:].tobytes(), str(variable.__dict__))
                    for name, variable in file.variables.items()
                }
            found[key] = (attributes, variables)
    return found


@contextlib.contextmanager
def mounting() -> Iterator[Callable[..., None]]:
    """Yields a function that mounts something on a folder, for as long as it is entered."""
    mounted: list[str] = []

    def do(*arguments: str) -> None:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.strip()}")
        if arguments[-1] not in mounted:
            mounted.append(arguments[-1])

    yield do
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with file.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(bytes(4096)):
            pass


def ingest(name: str, path: str | None = None, **more: object) -> str:
    """One config of the tiny ingest, as lines of pipelines_config.yml."""
    lines = [
        f"    {name}:",
        f"      input_bucket_path: {path or f'tiny/{name}/'}",
        f"      config_file_path: pipelines/tiny/config/pipeline_{name}.yaml",
        *(f"      {key}: {value}" for key, value in more.items()),
    ]
    return "\n".join(lines) + "\n"


def config(*configs: str, rest: str = "", defaults: str = "") -> str:
    """pipelines_config.yml with these configs of the tiny ingest."""
    head = f"defaults: {{{defaults}}}\n" if defaults else ""
    tiny = "- name: tiny\n  type: Ingest\n  trigger: S3\n  configs:\n" + "".join(configs)
    return f"{head}pipelines:\n{tiny}{rest}"


VAP = """\
- name: tiny_vap
  type: VAP
  trigger: Cron
  schedule: "* * * * *"
  window: day
  configs:
    one:
      config_file_path: pipelines/tiny_vap/config/pipeline.yaml
"""


SITES = ("one", "two", "three", "four", "slow", "quiet", "hang", "memory", "crash", "clumped")
SHARED: list[Path] = []
"""The repository that most workspaces share; made once by a fixture."""
_KNOWN: dict[str, Path] = {}


def make_repository(root: Path) -> Path:
    """A copy of the tiny repository, with a ``pipeline_NAME.yaml`` for each site."""
    shutil.copytree(TINY, root, ignore=shutil.ignore_patterns("__pycache__"))
    folder = root / "pipelines/tiny/config"
    plain = (folder / "pipeline.yaml").read_text()
    for name in SITES:
        site = f"  overrides:\n    /attrs/location_id: {name}\n"
        (folder / f"pipeline_{name}.yaml").write_text(
            plain.replace("quality:", site + "quality:").replace(".*tiny", f".*{name}")
        )
    return root


def make(root: Path, text: str | None = None, *, own: bool = False) -> Place:
    """A workspace with the tiny pipelines: a repository of its ``own``, or the shared one.

    What Tsdat has said of the same config files is handed on: asking it takes seconds.
    """
    root.mkdir(parents=True)
    if own:
        make_repository(root / "pipelines")
    place = Place(root, None if own else SHARED[0])
    text = text or config(ingest("one"))
    place.configure(text)
    place.input.mkdir()
    known = _KNOWN.setdefault(text, root) / ".tidegate/described.json"
    if not own and known.is_file():
        (root / ".tidegate").mkdir()
        shutil.copy(known, root / ".tidegate")
    return place
