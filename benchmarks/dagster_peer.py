"""(q) The same files by Dagster's in-process executor, by Tidegate and by plain Tsdat."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import uv

from benchmarks import workspaces
from benchmarks.overhead import recorded
from benchmarks.plain import PlainTsdat
from benchmarks.report import Figure, median
from benchmarks.running import Running, arrive
from tidegate.targets.local.ledger import SqliteLedger

LOCK = Path(__file__).resolve().parent.parent / "requirements" / "dagster.txt"
_SETTINGS = "telemetry:\n  enabled: false\n"


def measure(folder: Path, quick: bool) -> list[Figure]:
    """What each adds to plain ``pipeline.run``, one file after the other, taking turns."""
    warm_up, count = (1, 2) if quick else (5, 40)
    python = _environment(folder / "environment")
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(_SETTINGS)
    (folder / "workspace").mkdir()
    workspace = workspaces.make(folder / "workspace", "off")
    repository, raw = workspace.root / "pipelines", folder / "raw"
    times: dict[str, list[float]] = {"plain": [], "dagster": [], "tidegate": []}
    process = Path(__file__).with_name("dagster_process.py")
    with (
        PlainTsdat(repository, folder / "plain") as plain,
        PlainTsdat(
            repository, folder / "by-dagster", [str(python), "-P", str(process)],
            DAGSTER_HOME=str(home),
        ) as dagster,
        Running(workspace) as service,
        SqliteLedger(workspace.ledger) as ledger,
    ):  # fmt: skip
        for number, file in enumerate(workspaces.raw_files(raw, warm_up + count)):
            copy = folder / "copies" / file.relative_to(raw)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            found = {
                name: peer.run(workspaces.HUMBOLDT, copy).seconds
                for name, peer in (("plain", plain), ("dagster", dagster))
            }
            arrived = arrive(workspace, file, raw)
            found["tidegate"] = recorded(ledger, file.relative_to(raw).as_posix()) - arrived
            service.next()
            if number >= warm_up:
                for name, seconds in found.items():
                    times[name].append(seconds)
    return _figures(times)


def _figures(times: dict[str, list[float]]) -> list[Figure]:
    plain = times["plain"]
    over = {
        name: [1e3 * (a - b) for a, b in zip(times[name], plain)]
        for name in ("dagster", "tidegate")
    }
    ratio = statistics.median(over["tidegate"]) / max(statistics.median(over["dagster"]), 1e-9)
    return [
        median("q", "plain pipeline.run", [1e3 * seconds for seconds in plain], "ms"),
        median("q", "  Dagster's in-process executor: more than plain", over["dagster"], "ms"),
        median("q", "  Tidegate, from arrival to record: more than plain", over["tidegate"], "ms"),
        Figure("q", "Tidegate's overhead to Dagster's", ratio, "", at_most=1.0),
    ]


def _environment(folder: Path) -> Path:
    """Dagster and Tsdat in an environment of their own; returns its interpreter."""
    tool = uv.find_uv_bin()
    python = folder / "bin" / "python"
    commands = (
        ["venv", "--quiet", "--python", sys.executable, str(folder)],
        ["pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(LOCK)],
    )
    for command in commands:
        subprocess.run([tool, *command], check=True, env=_without_venv())
    return python


def _without_venv() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
