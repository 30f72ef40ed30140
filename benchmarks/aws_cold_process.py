"""A function's environment from its very start: ``aws_cold_process.py ours|plain EVENT [CORES]``.

Imports the handler, tells so, waits for a line, handles the event, tells so, and waits for the
next. What it tells is a line of JSON: ``{"what": …, "at": seconds since 1970}``. The plain handler
is Tsdat's as simple as can be, with its own ``FileSystemS3``; nothing of Tidegate's is in it.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


class Context:
    """Lambda's context, as far as it is used."""

    function_name = "lidar-humboldt"

    def get_remaining_time_in_millis(self) -> int:
        """How much time is left."""
        return 900_000


def main() -> None:
    """Import, handle, and stay until standard input ends."""
    kind, event = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    if len(sys.argv) > 3:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[3])])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is logged is no answer

    def tell(what: str, **more: Any) -> None:
        print(json.dumps({"what": what, "at": time.time(), **more}), file=answers, flush=True)

    if kind == "ours":
        from tidegate.targets.aws.lambda_handler import handler, worker

        tell("imported")
        if sys.stdin.readline() == "rest\n":
            worker.start()
            tell("at rest")
            sys.stdin.readline()
        if handler(event, Context()).get("batchItemFailures"):
            sys.exit("the run failed")
        (record,) = handler.__self__.context.target.ledger.records(limit=1)  # type: ignore[attr-defined]
        tell("done", state=record.state, seconds=dict(record.seconds))
    else:
        handle = plain_handler(tell)
        if sys.stdin.readline() == "rest\n":
            tell("at rest")
            sys.stdin.readline()
        handle(event)
        tell("done", state="succeeded", seconds={})
    sys.stdin.readline()


def plain_handler(tell: Any) -> Any:
    """Imports what a handler imports that runs Tsdat; returns it."""
    import boto3
    from tsdat import PipelineConfig

    sys.path.insert(0, os.getcwd())
    tell("imported")

    def handle(event: Any) -> None:
        for record in event["Records"]:
            detail = json.loads(record["body"])["detail"]
            key = detail["object"]["key"]
            file = Path(os.environ["TIDEGATE_WORK"], key)
            file.parent.mkdir(parents=True, exist_ok=True)
            s3 = boto3.client("s3")
            s3.download_file(detail["bucket"]["name"], key, str(file))
            config = PipelineConfig.from_yaml(Path(os.environ["BENCH_CONFIG_FILE"]))
            config.storage.classname = "tsdat.io.storage.FileSystemS3"
            config.instantiate_pipeline().run([str(file)])

    return handle


if __name__ == "__main__":
    main()
