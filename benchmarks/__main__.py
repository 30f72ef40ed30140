"""``python -m benchmarks [a b c …] [--quick] [--json]``: measure, then print a table."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import (
    availability,
    aws_cold,
    aws_fleet,
    aws_history,
    aws_overview,
    aws_warm,
    control,
    dagster_peer,
    dask_feed,
    dask_overhead,
    job_planning,
    memory,
    overhead,
    scale,
    templates,
    throughput,
    workers,
)
from benchmarks.report import Figure, as_json, machine, table

Benchmark = Callable[[Path, bool], list[Figure]]

LOCAL: Mapping[str, Benchmark] = {
    "a": overhead.measure,
    "b": throughput.measure,
    "c": control.measure,
    "d": memory.measure,
    "j": availability.measure,
    "p": workers.measure,
}
AWS: Mapping[str, Benchmark] = {
    "e": aws_history.measure,
    "f": aws_warm.measure,
    "g": aws_cold.measure_cold,
    "h": aws_cold.measure_memory,
    "i": templates.measure,
    "k": aws_overview.measure,
    "l": aws_fleet.measure,
}
CLUSTER: Mapping[str, Benchmark] = {"m": dask_feed.measure}
LONG: Mapping[str, Benchmark] = {
    "n": job_planning.measure,
    "o": scale.measure,
    "q": dagster_peer.measure,
    "r": dask_overhead.measure,
}
BENCHMARKS: Mapping[str, Benchmark] = {**LOCAL, **AWS, **CLUSTER, **LONG}
_WHICH = """a overhead, b throughput, c control, d memory, j pages over a long history, p workers
(these by default); on the AWS emulator e a VAP's inputs, f warm invocation, g cold start, h memory
at rest; i templates of many configs, k requests of an overview,
l many configs with a file a minute; m runs a second to 200 Dask workers;
n choosing the runs of a job over ten years; o a million files on record, and a burst of 10,000;
q the same files by Dagster's in-process executor;
r what Dask adds to a run, on 1, 2 and 4 workers"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named, the local ones by default; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="*", help=_WHICH)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    options = parser.parse_args(arguments)
    unknown = set(options.which) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    for name in options.which or LOCAL:
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-", dir=options.folder) as folder:
            measured = BENCHMARKS[name](Path(folder), options.quick)
        for figure in measured:
            print(figure, file=sys.stderr, flush=True)
        figures += measured
    print(json.dumps(as_json(figures), indent=1) if options.json else table(figures))
    # Sizes that are tiny say nothing about the targets.
    return 0 if options.quick or all(figure.met is not False for figure in figures) else 1


if __name__ == "__main__":
    print(machine(), file=sys.stderr)
    sys.exit(main())
