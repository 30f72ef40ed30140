"""Options that several commands have, and what they all do at Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from tidegate.cli.view import View

Dir = Annotated[Path, typer.Argument(help="The workspace: the folder with pipelines_config.yml.")]
In = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace.", envvar="TIDEGATE_WORKSPACE")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Python = Annotated[
    str | None, typer.Option("--python", help="The interpreter to run the pipelines with.")
]
Workers = Annotated[
    int, typer.Option("--workers", "-j", min=1, max=64, help="How many runs go on at once.")
]
Target = Annotated[
    Literal["local", "aws"],
    typer.Option("--target", envvar="TIDEGATE_TARGET", help="Where: on this machine, or on AWS."),
]
Branch = Annotated[str, typer.Option("--branch", help="AWS: the branch whose deployment is meant.")]
Profile = Annotated[
    str | None, typer.Option("--profile", help="AWS: the profile of your credentials.")
]
Region = Annotated[
    str | None, typer.Option("--region", help="AWS: the region, if it is not the config's.")
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait", min=0, help="AWS: wait so long for news of the runs, in seconds; 0: only ask."
    ),
]
MAIN = "main"
AN_HOUR = 3600.0
CPUS = max(1, min(os.cpu_count() or 1, 8))
HERE = Path(".")


@contextmanager
def stopping(stop: Callable[[], object], out: View) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop in order; the second Ctrl-C ends at once."""
    asked: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        if asked:
            os._exit(128 + number)
        asked.append(number)
        # Not in here: what was interrupted may hold the very locks that stopping and printing need.
        threading.Thread(target=stop_and_say, daemon=True).start()

    def stop_and_say() -> None:
        stop()
        out.note("stopping: what runs may end; once more to stop at once")

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
