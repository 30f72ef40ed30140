"""Plain Tsdat in a warm process of its own: what everything is compared with.

The pipeline is made once, and ``run`` is called on it for each file: no loop around Tsdat can be
faster. (A pipeline that is made for each file costs a few ms more.)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.runtime.process import ENVIRONMENT

_PROCESS = str(Path(__file__).with_name("plain_process.py"))


@dataclass(frozen=True)
class PlainRun:
    """One call of ``pipeline.run``."""

    seconds: float
    """How long it took."""
    cpu: float
    """How much processor time it took, s."""
    memory: float
    """The process's resident memory after it, MB."""


class PlainTsdat:
    """A process that runs Tsdat pipelines of one repository; products go below ``root``.

    ``command`` starts another process than ``plain_process``, with these environment variables.
    """

    def __init__(
        self,
        repository: Path,
        root: Path,
        command: Sequence[str] = (sys.executable, "-P", _PROCESS),
        **variables: str,
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=repository,
            env={**os.environ, **ENVIRONMENT, "TSDAT_STORAGE_ROOT": str(root), **variables},
        )

    def run(self, config: str, file: Path) -> PlainRun:
        """Run one file through the pipeline of that config file."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"config": config, "file": str(file)}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"plain Tsdat ended with {self._process.wait()} over {file}")
        answer: dict[str, Any] = json.loads(line)
        return PlainRun(answer["seconds"], answer["cpu"], answer["memory"])

    def run_all(self, jobs: Iterable[tuple[str, Path]]) -> list[PlainRun]:
        """Run files one after the other."""
        return [self.run(config, file) for config, file in jobs]

    def __enter__(self) -> PlainTsdat:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
