"""(b) 500 files without plots on 2 workers, against a plain loop in one warm process."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks import workspaces
from benchmarks.plain import PlainTsdat
from benchmarks.report import Figure, median
from benchmarks.running import Running
from tidegate.workspace.folder import Workspace

TARGET = 1.7
WORKERS = 2
SITES = {"humboldt": workspaces.HUMBOLDT, "morro": workspaces.MORRO}
_SETTLED = 60.0


@dataclass(frozen=True)
class Block:
    """The same number of files by plain Tsdat and by the service, one right after the other."""

    plain: float
    """How long plain Tsdat took, s."""
    ours: float
    """From when the files appeared to when the last was recorded, s."""
    side_by_side: float
    """How long two plain processes took for them, half each: what the machine gives at most, s."""
    plain_cpu: float
    """Processor time of plain Tsdat, s."""
    side_by_side_cpu: float
    """Processor time of the two plain processes, s: both cores at work slow each other down."""
    our_cpu: float
    """Processor time of the service and its workers, s."""


def measure(folder: Path, quick: bool) -> list[Figure]:
    """Ratios: with warm workers block by block, and as a whole with all that starting costs."""
    warm, count, blocks = (2, 4, 1) if quick else (8, 500, 10)
    folder.mkdir(exist_ok=True)
    raw = folder / "raw"
    files = workspaces.raw_files(raw, (count + warm) // 2, sites=tuple(SITES))
    warm_up, files = files[:warm], files[warm:]
    measured = list(_blocks(folder, raw, warm_up, files, blocks))
    whole, inner = _whole(folder, raw, files)
    return [*_warm(measured, count), *_started(measured, whole, inner)]


def _warm(blocks: Sequence[Block], count: int) -> list[Figure]:
    size = count // len(blocks)
    ratios = [block.plain / block.ours for block in blocks]
    limits = [block.plain / block.side_by_side for block in blocks]
    plain, ours = min(b.plain for b in blocks), min(b.ours for b in blocks)
    work = [block.our_cpu / block.plain_cpu for block in blocks]
    fair = [block.our_cpu / block.side_by_side_cpu for block in blocks]
    part = [block.side_by_side / block.ours for block in blocks]
    return [
        median("b", "files a second to plain's, warm workers", ratios, "", at_least=TARGET),
        Figure("b", "  the quickest block of each", plain / ours, ""),
        median("b", "  two plain processes side by side, to one", limits, ""),
        median("b", "  files a second to those of the two", part, ""),
        median("b", "  plain loop, files a second", [size / b.plain for b in blocks], "/s"),
        median("b", "  warm service, files a second", [size / b.ours for b in blocks], "/s"),
        median("b", "  processor time a file, to plain's", work, ""),
        median("b", "  processor time a file, to that of the two", fair, ""),
    ]


def _started(blocks: Sequence[Block], whole: float, inner: float) -> list[Figure]:
    plain = sum(block.plain for block in blocks)
    return [
        Figure("b", "`up --once`, start to exit, to plain's", plain / whole, "", at_least=TARGET),
        Figure("b", "  without start-up", plain / inner, ""),
        Figure("b", "  start-up and exit", whole - inner, "s"),
    ]


def _blocks(
    folder: Path, raw: Path, warm_up: Sequence[Path], files: Sequence[Path], blocks: int
) -> Iterator[Block]:
    workspace = _workspace(folder / "warm")
    repository = workspace.root / "pipelines"
    with (
        PlainTsdat(repository, folder / "plain") as plain,
        PlainTsdat(repository, folder / "other") as other,
        Running(workspace, workers=WORKERS) as service,
    ):
        plain.run_all(_jobs(warm_up))
        other.run_all(_jobs(warm_up))
        _deliver(workspace, raw, warm_up, "warm-up")
        service.next_ones(len(warm_up))
        left = iter(files)
        for number in range(blocks):
            block = list(islice(left, len(files) // blocks))
            began = time.time()
            runs = plain.run_all(_jobs(block))
            alone = time.time() - began
            cpu = service.cpu()
            began = _deliver(workspace, raw, block, str(number))
            reports = service.next_ones(len(block))
            ours = reports[-1].at - began
            cpu = service.cpu() - cpu
            both, both_cpu = _side_by_side(plain, other, block)
            yield Block(alone, ours, both, sum(run.cpu for run in runs), both_cpu, cpu)


def _side_by_side(one: PlainTsdat, other: PlainTsdat, files: Sequence[Path]) -> tuple[float, float]:
    """How long two plain processes take with half of the files each, and at what cost; both s."""
    began = time.time()
    with ThreadPoolExecutor() as threads:
        beside = threads.submit(other.run_all, _jobs(files[1::2]))
        runs = one.run_all(_jobs(files[::2])) + beside.result()
    return time.time() - began, sum(run.cpu for run in runs)


def _whole(folder: Path, raw: Path, files: Sequence[Path]) -> tuple[float, float]:
    """All files by ``tidegate up --once``: from start to exit, and without starting and ending."""
    workspace = _workspace(folder / "whole")
    with Running(workspace, "--once", workers=WORKERS) as service:
        service.rest()  # with nothing there: Tsdat has been asked about the configs once
    _deliver(workspace, raw, files, "all")
    with Running(workspace, "--once", workers=WORKERS) as service:
        service.rest()
        ended = time.time()
        reports = service.next_ones(len(files))
    claims = sorted(one.record.started.timestamp() for one in reports)
    # The first run of each worker waits for its import of Tsdat: it does not count here.
    return ended - service.began, (reports[-1].at - claims[WORKERS]) * len(reports) / (
        len(reports) - WORKERS
    )


def _workspace(root: Path) -> Workspace:
    root.mkdir(parents=True)
    return workspaces.make(root, "off")


def _jobs(files: Sequence[Path]) -> list[tuple[str, Path]]:
    return [(SITES[file.parent.name], file) for file in files]


def _deliver(workspace: Workspace, raw: Path, files: Sequence[Path], name: str) -> float:
    """Let all files appear at once, a folder for each site; returns when, s since 1970."""
    old = time.time() - _SETTLED
    folders: dict[str, Path] = {}
    for file in files:
        site = file.parent.name
        waiting = folders.setdefault(site, workspace.root / "waiting" / site / name)
        waiting.mkdir(parents=True, exist_ok=True)
        copy = waiting / file.name
        shutil.copyfile(file, copy)
        os.utime(copy, (old, old))  # they have rested
    now = time.time()
    for site, waiting in folders.items():
        place = workspace.input / "lidar" / site / name
        place.parent.mkdir(parents=True, exist_ok=True)
        waiting.rename(place)
    return now
