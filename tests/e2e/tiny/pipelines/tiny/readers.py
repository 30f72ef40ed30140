"""Reads a CSV; a first line such as ``#! hang 60`` makes the pipeline misbehave in that way."""

import os
import time
from pathlib import Path

from tsdat import CSVReader


class TinyReader(CSVReader):
    """A CSV reader that does what the file tells it to."""

    def read(self, input_key: str):
        """Read a file."""
        with open(input_key, "rb") as file:
            first = file.readline(500).decode("utf-8", "replace")
        if first.startswith("#!"):
            misbehave(first[2:].split(), os.stat(input_key).st_size)
        return super().read(input_key)


def misbehave(words: list[str], size: int) -> None:
    """Do the one thing that the first word names; ``unless`` a file is there, the cause mended."""
    what, rest = words[0], words[1:]
    if "unless" in rest and Path(rest[rest.index("unless") + 1]).exists():
        return
    if what == "hang":
        time.sleep(600)
    elif what == "die":
        os._exit(7)
    elif what == "reject":
        raise ValueError(f"no wind in these {size} bytes")
    elif what == "offline":
        raise ConnectionError("the network is down")
