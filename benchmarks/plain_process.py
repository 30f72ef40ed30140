"""The process behind ``plain.PlainTsdat``: it imports Tsdat, and nothing of Tidegate's.

One line in, ``{"config": …, "file": …}``; one line out, ``{"seconds": …, "cpu": …, "memory": …}``.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever Tsdat prints is no answer
    sys.path.insert(0, os.getcwd())
    from tsdat import PipelineConfig

    pipelines: dict[str, Any] = {}
    for line in sys.stdin:
        job = json.loads(line)
        config = job["config"]
        if config not in pipelines:
            pipelines[config] = PipelineConfig.from_yaml(Path(config)).instantiate_pipeline()
        began, cpu = time.perf_counter(), time.process_time()
        pipelines[config].run([job["file"]])
        answer = {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - cpu,
            "memory": _resident_memory(),
        }
        print(json.dumps(answer), file=answers, flush=True)


def _resident_memory() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
