"""What tests, or `tidegate emulate`, start under the guard ends with them, however those end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tidegate.deploy.emulator import guard

PARENT = """
import subprocess, sys, time
watched = [sys.executable, sys.argv[1], sys.executable, "-c", sys.argv[2]]
subprocess.Popen(watched, stdin=subprocess.PIPE)
time.sleep(600)
"""
CHILD = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.mark.functional
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_all_end_when_the_parent_is_killed(number: signal.Signals) -> None:
    """SIGTERM goes to all processes of the parent's group, as from `timeout` or Ctrl-C."""
    text = Path(guard.__file__).read_text()
    hurry = text.replace("_GRACE = 5.0", "_GRACE = 0.5")
    assert hurry != text
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.replace("sys.argv[1],", f"'-c', {hurry!r},", 1), "", CHILD],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        if number == signal.SIGKILL:
            parent.kill()
        else:
            os.killpg(parent.pid, number)
    deadline = time.monotonic() + 120
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < deadline, "it goes on without the tests"
        time.sleep(0.1)
