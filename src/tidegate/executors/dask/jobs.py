"""Dask workers as jobs of Slurm, PBS or LSF, by dask-jobqueue."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from typing import Any

from tidegate.errors import ClusterError, UsageError
from tidegate.executors.options import ExecutorChoice, Say

# Its import replaces what Ctrl-C does in this process; then Ctrl-C would end the service at once.
_on_ctrl_c = signal.getsignal(signal.SIGINT)
try:
    import dask_jobqueue
finally:
    signal.signal(signal.SIGINT, _on_ctrl_c)

CLUSTERS: Mapping[str, Any] = {
    "slurm": dask_jobqueue.SLURMCluster,
    "pbs": dask_jobqueue.PBSCluster,
    "lsf": dask_jobqueue.LSFCluster,
}
_CORES, _MEMORY = 1, "4GB"


def open_jobs(choice: ExecutorChoice) -> tuple[Any, int]:
    """A cluster that submits jobs once it is scaled, and how many runs a job carries out at once.

    Raises:
        ClusterError: this machine cannot submit jobs.
        UsageError: the options are wrong.
    """
    kind = choice.dask.cluster
    command = str(CLUSTERS[kind].job_cls.submit_command).split()[0]
    if shutil.which(command) is None:
        raise ClusterError(
            f"this machine has no command {command}",
            why=f"it submits jobs to {kind.upper() if kind != 'slurm' else 'Slurm'}",
            next="start Tidegate on a login node of the cluster, or load the module that has it",
        )
    keywords = job_keywords(choice)
    reporting = _reporting(CLUSTERS[kind].job_cls, command, choice.say)
    try:
        return CLUSTERS[kind](job_cls=reporting, **keywords), int(keywords["cores"])
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the options for {kind} jobs cannot be used",
            why=str(error).splitlines()[0],
            next="docs/dask.md lists them",
        ) from error


def job_keywords(choice: ExecutorChoice) -> dict[str, Any]:
    """What dask-jobqueue is given: the options, and defaults for those that are left out.

    Raises:
        UsageError: an option that Tidegate sets itself.
    """
    given = {name.replace("-", "_"): value for name, value in choice.dask.options.items()}
    for name in ("processes", "n_workers", "job_cls"):
        if name in given:
            raise UsageError(
                f"the option {name} for jobs cannot be set",
                why="each job has one Dask worker, with as many runs at once as it has `cores`",
                next="leave it out; `--dask-max` says how many runs there are at once",
            )
    place = choice.state / "dask"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    scheduler = {"dashboard_address": "127.0.0.1:8787", **given.pop("scheduler_options", {})}
    defaults = {
        "cores": _CORES,
        "memory": _MEMORY,
        "processes": 1,
        "job_name": "tidegate",
        "log_directory": str(place),
        # Whoever can connect can run code: without TLS that is everybody on the cluster.
        "security": True,
        "shared_temp_directory": str(place),
    }
    return {**defaults, **given, "scheduler_options": scheduler}


def _reporting(job: Any, command: str, say: Say) -> Any:
    """The class of jobs, which says it when a job is not accepted: Dask only logs that."""

    async def start(self: Any) -> None:
        try:
            await job.start(self)
        except Exception as error:
            said = [line for line in str(error).splitlines() if line.strip()]
            say(f"{command} did not accept a job: {said[-1] if said else type(error).__name__}")
            raise

    return type(job.__name__, (job,), {"start": start})
