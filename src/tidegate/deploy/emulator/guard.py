"""Runs a command until it ends, or until standard input does; then ends it with all its children.

Whoever starts this process holds the other end of standard input. However it ends, by SIGKILL too,
that end is closed. Usage: ``python guard.py COMMAND...``; it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

_TICK = 0.5
_GRACE = 5.0


def main() -> int:
    """Returns the exit code of the command."""
    # The command's own process group does not get Ctrl-C; this process must outlive it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # an ignored signal would stay so in the command
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    while command.poll() is None and not select.select([0], [], [], _TICK)[0]:
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):  # the second is for what it leaves behind
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(_GRACE)
    return command.returncode or 0


if __name__ == "__main__":
    sys.exit(main())
