"""(g) Cold start, from the interpreter's start to the first product; (h) memory at rest.

Ours is the real handler with its worker, beside a handler that imports Tsdat and runs it with its
own ``FileSystemS3``. Both on all processors, and on one as a function with less than 1,769 MB has.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import workspaces
from benchmarks.aws_warm import LIDAR, arrival, settings_for
from benchmarks.emulator import Emulator, emulator
from benchmarks.report import Figure, median
from tidegate.runtime.process import ENVIRONMENT
from tidegate.runtime.records import dumps
from tidegate.targets.aws.settings import Settings

TARGET = 1.0
"""A first product is not to come later than from a handler that imports Tsdat and runs."""
_PROCESS = Path(__file__).with_name("aws_cold_process.py")
_IMPORTED = ("tsdat", "act", "xarray", "pandas", "boto3", "tidegate.targets.aws.function")


@dataclass(frozen=True)
class Start:
    """One environment, from its start to its first product."""

    imported: float
    """When the handler was imported, s after the interpreter's start."""
    done: float
    """When the first run was published and recorded, s after the interpreter's start."""
    cpu: float
    """Processor time by then, of all its processes, s."""
    seconds: Mapping[str, float]
    """The phases of our run, s."""


def measure_cold(folder: Path, quick: bool) -> list[Figure]:
    """Turn and turn about; then where the time goes."""
    warm_up, count = (0, 1) if quick else (1, 12)
    cores = len(os.sched_getaffinity(0))
    figures: list[Figure] = []
    with emulator(folder / "emulator") as aws:
        site = _Site(aws, folder / "off", "off")
        for number in (cores, 1) if cores > 1 and not quick else (1,):
            starts = [site.pair(number, turn) for turn in range(warm_up + count)][warm_up:]
            name = "one core" if number == 1 else f"{number} cores"
            figures += _figures(*zip(*starts), name)
        plots = _Site(aws, folder / "on", "on")
        figures += _fonts(plots, folder, warm_up, 1 if quick else 5)
    return [*figures, *_imports(1 if quick else 5)]


def _figures(ours: Sequence[Start], plain: Sequence[Start], name: str) -> list[Figure]:
    ratios = [p.done / o.done for o, p in zip(ours, plain)]
    phases = list(dict.fromkeys(phase for start in ours for phase in start.seconds))
    return [
        median("g", f"cold start, {name}: plain's time to ours", ratios, "", at_least=TARGET),
        median("g", "  plain, to the first product", [s.done for s in plain], "s"),
        median("g", "  ours, to the first product", [s.done for s in ours], "s"),
        median("g", "  plain, its processor time", [s.cpu for s in plain], "s"),
        median("g", "  ours, its processor time", [s.cpu for s in ours], "s"),
        median("g", "  plain, handler imported", [s.imported for s in plain], "s"),
        median("g", "  ours, handler imported", [s.imported for s in ours], "s"),
        *(
            median("g", f"    ours, {phase}", [s.seconds.get(phase, 0.0) for s in ours], "s")
            for phase in phases
        ),
    ]


def _fonts(site: _Site, folder: Path, warm_up: int, count: int) -> list[Figure]:
    """With plots: matplotlib's list of fonts in the image, or looked for at each start."""
    cores = len(os.sched_getaffinity(0))
    for _ in range(warm_up):
        site.start("ours", cores)
    pairs = [
        (
            site.start("ours", cores).cpu,
            site.start("ours", cores, {"MPLCONFIGDIR": str(folder / f"bare {n}")}).cpu,
        )
        for n in range(count)
    ]
    return [
        median(
            "g", "with plots, processor time, fonts listed beforehand", [p[0] for p in pairs], "s"
        ),
        median("g", "with plots, processor time, fonts to be listed", [p[1] for p in pairs], "s"),
    ]


def _imports(count: int) -> list[Figure]:
    """What an import takes in a process of its own, with all that comes with it, at best.

    By ``-X importtime``; on a machine that is shared the shortest of several says most.
    """
    found: dict[str, list[float]] = {}
    for _ in range(count):
        for statement in ("import tsdat", "import boto3", "import tidegate.targets.aws.function"):
            traced = subprocess.run(
                [sys.executable, "-X", "importtime", "-c", statement],
                env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            for micros, name in re.findall(r"\| +(\d+) \| +(\S+)", traced.stderr):
                if name in _IMPORTED and name in (statement.split()[1], *_IMPORTED[:4]):
                    found.setdefault(name, []).append(int(micros) / 1e6)
    return [
        Figure("g", f"  import of {name}, at best", min(found[name]), "s", count=count)
        for name in _IMPORTED
        if name in found
    ]


def measure_memory(folder: Path, quick: bool) -> list[Figure]:
    """Resident memory once all is imported and nothing has run, MB."""
    count = 1 if quick else 5
    ours: list[list[float]] = []
    plain: list[float] = []
    with emulator(folder / "emulator") as aws:
        site = _Site(aws, folder / "off", "off")
        for _ in range(count):
            ours.append(site.at_rest("ours"))
            plain += site.at_rest("plain")
    return [
        median("h", "memory at rest, handler and worker", [sum(one) for one in ours], "MB"),
        median("h", "  handler", [one[0] for one in ours], "MB"),
        median("h", "  worker, with Tsdat", [one[1] for one in ours], "MB"),
        median("h", "  a handler that imports Tsdat", plain, "MB"),
    ]


class _Site:
    """A function's buckets and environment, in which one process after the other is started."""

    def __init__(self, aws: Emulator, folder: Path, plots: workspaces.Plots) -> None:
        (folder / "workspace").mkdir(parents=True)
        repository = workspaces.make(folder / "workspace", plots).root / "pipelines"
        self._aws, self._folder = aws, folder
        self._files = iter(workspaces.raw_files(folder / "raw", 4, minutes=60))
        self._settings = settings_for(aws, repository, folder / "work")
        self._environment = {**os.environ, **ENVIRONMENT, **self._variables(self._settings)}
        # As in an image: what can be had beforehand is there.
        subprocess.run(
            [sys.executable, "-c", "import matplotlib.font_manager"],
            env=self._environment, check=True,
        )  # fmt: skip

    def _variables(self, settings: Settings) -> dict[str, str]:
        manifest = self._folder / "manifest.json"
        manifest.write_text(dumps(settings.manifest))
        return {
            "PIPELINE_NAME": LIDAR.pipeline,
            "CONFIG_ID": LIDAR.name,
            "TSDAT_S3_BUCKET_NAME": settings.output_bucket,
            "TIDEGATE_MANIFEST": str(manifest),
            "TIDEGATE_TABLE": settings.table,
            "TIDEGATE_INPUT_BUCKET": settings.input_bucket,
            "TIDEGATE_QUEUE_URL": settings.queue,
            "TIDEGATE_REPOSITORY": str(settings.repository),
            "TIDEGATE_WORK": str(settings.work),
            "BENCH_CONFIG_FILE": LIDAR.config_file,
            "MPLCONFIGDIR": str(self._folder / "matplotlib"),
        }

    def pair(self, cores: int, turn: int) -> tuple[Start, Start]:
        """Ours and plain, or the other way round."""
        if turn % 2:
            plain = self.start("plain", cores)
            return self.start("ours", cores), plain
        return self.start("ours", cores), self.start("plain", cores)

    def start(self, kind: str, cores: int, more: Mapping[str, str] | None = None) -> Start:
        """One environment, from its start to its first product."""
        event = arrival(self._aws, self._settings, next(self._files))
        with self._process(kind, event, str(cores), more=more) as process:
            imported = process.next("imported")["at"]
            process.send("go")
            done = process.next("done")
            if done["state"] != "succeeded":
                raise RuntimeError(f"the first run of {kind} has {done['state']}")
            return Start(
                imported - process.began, done["at"] - process.began, process.cpu(), done["seconds"]
            )

    def at_rest(self, kind: str) -> list[float]:
        """Resident memory of an environment's processes before the first run, MB."""
        with self._process(kind, {}) as process:
            process.next("imported")
            process.send("rest")
            process.next("at rest")
            return process.memory()

    @contextmanager
    def _process(
        self, kind: str, event: Mapping[str, Any], *options: str,
        more: Mapping[str, str] | None = None,
    ) -> Iterator[_Process]:  # fmt: skip
        place = self._folder / "event.json"
        place.write_text(json.dumps(event))
        command = [sys.executable, "-P", str(_PROCESS), kind, str(place), *options]
        with (self._folder / "complaints.txt").open("ab") as complaints:
            began = time.time()
            started = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                cwd=self._settings.repository,
                env={**self._environment, **(more or {})},
            )
            try:
                yield _Process(started, began, Path(complaints.name))
            finally:
                started.kill()  # its worker goes with it
                started.wait()
                for pipe in (started.stdin, started.stdout):
                    if pipe:
                        pipe.close()


@dataclass
class _Process:
    process: subprocess.Popen[str]
    began: float
    """When it was started, s since 1970."""
    complaints: Path
    _all: list[psutil.Process] = field(default_factory=list)

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def next(self, what: str) -> dict[str, Any]:
        """What it tells next, which must be that."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        if answer.get("what") != what:
            raise RuntimeError(f"not {what}:\n{self.complaints.read_text()[-2000:]}")
        return answer

    def cpu(self) -> float:
        """Processor time of it and its worker so far, s."""
        times = [process.cpu_times() for process in self._processes()]
        return sum(time.user + time.system for time in times)

    def memory(self) -> list[float]:
        """Resident memory of it and its worker, MB."""
        return [process.memory_info().rss / 2**20 for process in self._processes()]

    def _processes(self) -> list[psutil.Process]:
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]
