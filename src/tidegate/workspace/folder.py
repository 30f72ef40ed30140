"""A workspace: a folder with the config, the pipelines, raw files, products and the ledger."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from tidegate.errors import UsageError, WorkspaceBusy
from tidegate.targets.local.places import Places

CONFIG = "pipelines_config.yml"
_LOCK_TIMEOUT = 0.3  # s; ``busy`` holds the lock for a shorter time


def _stamp(config: Path) -> tuple[int, int]:
    try:
        status = config.stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=8)
def _named_folders(config: Path, stamp: tuple[int, int]) -> dict[str, str]:
    """The config's ``input`` and ``output``; none where it cannot be read, which others report."""
    try:
        content = yaml.load(config.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    found = content if isinstance(content, dict) else {}
    return {
        key: found[key]
        for key in ("input", "output")
        if isinstance(found.get(key), str) and found[key].strip()
    }


@dataclass(frozen=True)
class Workspace:
    """The paths of a workspace; ``input`` and ``output`` are read from the config."""

    root: Path
    """The folder itself, absolute."""

    @property
    def config(self) -> Path:
        """``pipelines_config.yml``."""
        return self.root / CONFIG

    @property
    def input(self) -> Path:
        """Where raw files arrive: ``input/``, or the folder that the config names."""
        return self._folder("input")

    @property
    def output(self) -> Path:
        """Where products go: ``output/``, or the folder that the config names."""
        return self._folder("output")

    @property
    def state(self) -> Path:
        """Tidegate's own files."""
        return self.root / ".tidegate"

    @property
    def ledger(self) -> Path:
        """The ledger, an SQLite database."""
        return self.state / "ledger.db"

    @property
    def logs(self) -> Path:
        """The logs of runs."""
        return self.state / "logs"

    @property
    def work(self) -> Path:
        """The work folders of runs."""
        return self.state / "work"

    @property
    def places(self) -> Places:
        """The folders that a service works with."""
        return Places(self.input, self.output, self.ledger, self.logs, self.work)

    def _folder(self, key: str) -> Path:
        named = _named_folders(self.config, _stamp(self.config)).get(key, key)
        return Path(os.path.abspath(self.root / Path(named).expanduser()))

    @classmethod
    def at(cls, folder: Path) -> Workspace:
        """The workspace in ``folder``; raises UsageError if it is not a workspace."""
        root = Path(os.path.abspath(folder))
        if root.name == CONFIG and root.is_file():
            root = root.parent
        if not root.is_dir():
            raise UsageError(
                f"there is no folder {folder}",
                next=f"name a folder with a {CONFIG}, or try `tidegate demo`",
            )
        if not (root / CONFIG).exists():
            raise UsageError(
                f"{folder} has no {CONFIG}, so it is not a workspace",
                next="name the folder of a workspace, write a config (docs/configuration.md), or"
                " try `tidegate demo` for an example",
            )
        return cls(root)

    def prepare(self) -> None:
        """Make the folders of the workspace.

        Raises:
            StorageError: one cannot be made.
        """
        self.places.prepare()
        with suppress(OSError):  # only so that `git status` does not list it
            ignore = self.state / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the service; it is released when the process ends, even after a crash.

        Raises:
            WorkspaceBusy: another service holds it.
        """
        self.prepare()
        lock = FileLock(self.state / "service.lock")
        try:
            lock.acquire(timeout=_LOCK_TIMEOUT, poll_interval=0.05)
        except Timeout:
            raise self._taken() from None
        try:
            (self.state / "service.pid").write_text(f"{os.getpid()} {time.time():.0f}\n")
            yield
        finally:
            (self.state / "service.pid").unlink(missing_ok=True)
            lock.release()

    def check_free(self) -> None:
        """Raise WorkspaceBusy if a service runs in this workspace."""
        if self.busy():
            raise self._taken()

    def _taken(self) -> WorkspaceBusy:
        process = self.service_process()
        return WorkspaceBusy(
            f"a service is already running in {self.root}" + (f" ({process})" if process else ""),
            next="stop it first, or let it do the work; `tidegate runs` shows its runs",
        )

    def busy(self) -> bool:
        """Whether a service runs in this workspace."""
        if not (self.state / "service.lock").exists():
            return False
        lock = FileLock(self.state / "service.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def service_process(self) -> str:
        """The process of the service that runs, as in ``process 4711``; "" if it is not known."""
        try:
            pid = (self.state / "service.pid").read_text().split()[0]
        except (OSError, IndexError):
            return ""
        return f"process {pid}"
