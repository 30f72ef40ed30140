"""Reads a CSV; a line such as ``#! hang 60`` in it makes the pipeline misbehave in that way."""

import ctypes
import os
import sys
import time
from pathlib import Path

from tsdat import CSVReader


class TinyReader(CSVReader):
    """A CSV reader that does what the file tells it to."""

    def read(self, input_key: str):
        """Read a file."""
        with open(input_key, "rb") as file:
            first = file.readline(200).decode("utf-8", "replace")
        if first.startswith("#!"):
            misbehave(first[2:].split())
        return super().read(input_key)


def misbehave(words: list[str]) -> None:
    """Do the one thing that the first word names."""
    what, rest = words[0], words[1:]
    if what == "segfault":
        ctypes.string_at(0)
    elif what == "die":
        os._exit(int(rest[0]))
    elif what in ("hang", "slow"):
        time.sleep(float(rest[0]))
    elif what == "while":  # that file is there
        time.sleep(0.1)
        while Path(rest[0]).exists():
            time.sleep(0.05)
    elif what == "memory":
        held = []
        while True:
            held.append(b"x" * (1 << 25))
            time.sleep(0.005)
    elif what == "exit":
        sys.exit(7)
    elif what == "raise":
        raise RuntimeError(" ".join(rest) or "asked for")
    elif what == "once":  # a network that fails once, and works when it is asked again
        mark = Path(rest[0])
        if not mark.exists():
            mark.touch()
            raise ConnectionError("the network is down")
    elif what == "offline":
        raise ConnectionError("the network is down")
    elif what == "print":
        print("\n".join(rest))
