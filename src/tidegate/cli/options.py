"""Options that several commands have, and what all of them do on Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from tidegate.cli.view import View

Dir = Annotated[
    Path,
    typer.Argument(
        metavar="DIRECTORY", help="The workspace: the folder with pipelines_config.yml."
    ),
]
In = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        help="The workspace: the folder with pipelines_config.yml.",
        envvar="TIDEGATE_WORKSPACE",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Python = Annotated[
    str | None,
    typer.Option("--python", help="Run the pipelines with this interpreter or environment."),
]
Workers = Annotated[
    int, typer.Option("--workers", "-j", min=1, max=64, help="How many runs at the same time.")
]
Target = Annotated[
    Literal["local", "aws"],
    typer.Option("--target", envvar="TIDEGATE_TARGET", help="This machine (local) or AWS (aws)."),
]
Branch = Annotated[str, typer.Option("--branch", help="On AWS: the deployed branch.")]
BranchName = Annotated[
    str, typer.Argument(metavar="BRANCH", help="The branch of the pipelines repository.")
]
Profile = Annotated[
    str | None, typer.Option("--profile", help="On AWS: the profile with your credentials.")
]
Region = Annotated[
    str | None, typer.Option("--region", help="On AWS: the region, instead of the config's.")
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        min=0,
        help="On AWS: stop waiting for the runs after this many seconds without news;"
        " 0: do not wait.",
    ),
]
OnlyConfig = Annotated[str | None, typer.Option("--config", help="Only this config.")]
OnlyDatastream = Annotated[str | None, typer.Option("--datastream", help="Only this datastream.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
BreakLock = Annotated[
    bool,
    typer.Option(
        "--break-lock", help="Remove the lock of a release or removal that ended unexpectedly."
    ),
]
MAIN = "main"
AN_HOUR = 3600.0
CPUS = max(1, min(os.cpu_count() or 1, 8))
HERE = Path(".")


def restore_signals() -> None:
    """Handle SIGINT and SIGTERM even when the parent process ignores them.

    A shell script starts its background commands with SIGINT ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may change signal handlers
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@contextmanager
def stopping(
    stop: Callable[[], object],
    out: View,
    received: list[int] | None = None,
    *,
    at_work: Callable[[], bool] = lambda: True,
) -> Iterator[None]:
    """Call ``stop`` on the first Ctrl-C, SIGTERM or SIGHUP; end the process on the second.

    A terminal that closes sends SIGHUP. `nohup` ignores it, and then it stays ignored. The signal
    is added to ``received``. ``at_work`` says whether there are runs that are waited for.
    """
    received = [] if received is None else received

    def on_signal(number: int, frame: object) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        # In a thread: the interrupted code may hold locks that stopping and printing need.
        threading.Thread(target=stop_and_say, daemon=True).start()

    def stop_and_say() -> None:
        after = " after the runs that are at work" if at_work() else ""
        stop()
        with suppress(OSError):  # the terminal may be gone
            out.note(f"stopping{after}; press Ctrl-C again to stop now")

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
