"""Stand-ins of sbatch, squeue and scancel that really start processes; by a server, as in Slurm.

python fake_slurm.py serve SPOOL           start the jobs that are in the folder SPOOL
python fake_slurm.py sbatch SPOOL SCRIPT   add a job
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "scancel")


def install(bin: Path, spool: Path) -> None:
    """Write the commands into a folder for PATH."""
    for folder in (bin, spool):
        folder.mkdir(parents=True)
    for name in COMMANDS:
        script = bin / name
        script.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "{spool}" "$@"\n'
        )
        script.chmod(0o755)


def serve(spool: Path) -> None:
    """Start jobs, and end those that are cancelled, until this process is ended."""
    jobs: dict[str, subprocess.Popen[bytes]] = {}
    while True:
        for script in sorted(spool.glob("*.job")):
            if script.stem not in jobs:
                log = (spool / f"{script.stem}.log").open("ab")
                jobs[script.stem] = subprocess.Popen(["bash", script], stdout=log, stderr=log)
        for cancelled in spool.glob("*.cancel"):
            job = jobs.get(cancelled.stem)
            if job is not None and job.poll() is None:
                end(job.pid)
        for name, job in jobs.items():
            if job.poll() is not None:
                (spool / f"{name}.ended").touch()
        time.sleep(0.1)


def end(pid: int) -> None:
    """End a process and all that it has started."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            children += map(int, tasks.read_text().split())
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGTERM)
    for child in children:
        end(child)


def main() -> None:
    """One of the commands, or the server."""
    command, spool, arguments = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    if command == "serve":
        serve(spool)
    elif command == "sbatch":
        script = Path(arguments[-1])
        if "-p closed" in script.read_text():
            sys.exit("sbatch: error: invalid partition specified: closed")
        number = 1001 + len(list(spool.glob("*.job")))
        shutil.copy(script, spool / "new")
        os.replace(spool / "new", spool / f"{number}.job")
        print(f"Submitted batch job {number}")
    elif command == "scancel":
        for number in arguments:
            (spool / f"{number}.cancel").touch()
    elif command == "squeue":
        print("\n".join(sorted(script.stem for script in spool.glob("*.job"))))


if __name__ == "__main__":
    main()
