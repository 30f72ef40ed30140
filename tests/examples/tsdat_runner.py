"""Runs Tsdat pipelines in a process of their own, for the tests.

Tsdat needs the pipelines repository as working directory and on `sys.path`, and reads the storage
root from the environment: nothing that a test should do to its own process.

    python tsdat_runner.py REPOSITORY < jobs.jsonl > results.jsonl

A job is `{"config": path, "inputs": [...], "storage_root": path}`; its result says how long it took
and how much memory it added to the process's peak, and, if it failed, how.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path


def run(job):
    """Run one job and say how it went."""
    from tsdat import PipelineConfig

    os.environ["TSDAT_STORAGE_ROOT"] = job["storage_root"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    result = {"ok": True}
    try:
        pipeline = PipelineConfig.from_yaml(Path(job["config"])).instantiate_pipeline()
        pipeline.run(job["inputs"])
    except Exception as error:
        result = {"ok": False, "error": type(error).__name__, "message": str(error)}
    result["seconds"] = time.perf_counter() - started
    # On Linux ru_maxrss is in kB.
    result["peak_growth"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return result


def main():
    """Run the jobs of standard input one after the other."""
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever Tsdat prints is not a result
    os.chdir(sys.argv[1])
    sys.path.insert(0, os.getcwd())
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=results, flush=True)


if __name__ == "__main__":
    main()
