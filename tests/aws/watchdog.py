"""Run a command in a process group of its own, and end the group when standard input ends.

The tests hold the other end of standard input. However they end, even by SIGKILL, it closes, and no
emulator is left running. Usage: ``python watchdog.py COMMAND...``
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

GRACE = 10.0


def main() -> None:
    """Returns when the command has ended, or has been ended."""
    # Ctrl-C and `timeout` send their signal to this process, too: it must outlive the tests.
    # (A handler, since the command would inherit that a signal is ignored.)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    while child.poll() is None and not select.select([0], [], [], 0.5)[0]:
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        # The second signal is for what the command started and did not end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)


if __name__ == "__main__":
    main()
