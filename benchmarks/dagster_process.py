"""The process behind ``dagster_peer``: Dagster's in-process executor calls the same pipelines.

It runs in an environment of its own, with Dagster and Tsdat and without Tidegate. In and out are as
in ``plain_process``. Each file is a run of a job with one op; the instance in DAGSTER_HOME keeps
its record in SQLite, as Tidegate's ledger does.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import dagster


class RawFile(dagster.Config):
    """What an op is to do."""

    pipeline: str
    file: str


_pipelines: dict[str, Any] = {}


@dagster.op
def ingest(config: RawFile) -> None:
    """Run one file through a pipeline, which is made once, as for the plain runs."""
    from tsdat import PipelineConfig

    if config.pipeline not in _pipelines:
        made = PipelineConfig.from_yaml(Path(config.pipeline)).instantiate_pipeline()
        _pipelines[config.pipeline] = made
    _pipelines[config.pipeline].run([config.file])


@dagster.job
def one_file() -> None:
    """The job of one file."""
    ingest()


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, os.getcwd())
    instance = dagster.DagsterInstance.get()
    for line in sys.stdin:
        job = json.loads(line)
        began, cpu = time.perf_counter(), time.process_time()
        given = {"pipeline": job["config"], "file": job["file"]}
        settings = {"ops": {"ingest": {"config": given}}}
        if not one_file.execute_in_process(run_config=settings, instance=instance).success:
            raise SystemExit(f"{job['file']} failed")
        answer = {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - cpu,
            "memory": 0.0,
        }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
