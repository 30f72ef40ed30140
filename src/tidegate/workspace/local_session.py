"""The commands' view of this machine: a workspace, with or without a service that runs in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from tidegate.errors import StorageError
from tidegate.runtime.binding import explain
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Inputs, Outputs
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import SETTLED, Input, Product, Run, RunRecord
from tidegate.targets.local.files import existing_file
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.targets.local.listener import Listener
from tidegate.targets.local.outputs import FolderOutputs
from tidegate.targets.local.outside_inputs import OutsideInputs
from tidegate.targets.local.queue import SqliteQueue
from tidegate.targets.local.sightings import batched
from tidegate.targets.local.skipped import find_skipped
from tidegate.workspace import binding, commands, loading, rerun
from tidegate.workspace.environment_options import find_interpreter
from tidegate.workspace.executor_choice import choose_executor
from tidegate.workspace.product_files import ProductFiles, StoredFile
from tidegate.workspace.session import Ended, Job, RunOptions, Say, TargetOptions

_BATCH = 500
_LEAST_FREE = 1e9
_LEAST_SHARE = 0.05


def open_for_reading(target: TargetOptions, run_options: RunOptions) -> LocalSession:
    """See ``session.open_for_reading``."""
    return LocalSession(loading.load_without_tsdat(target.workspace), run_options)


def open_session(target: TargetOptions, run_options: RunOptions) -> LocalSession:
    """See ``session.open_session``."""
    if run_options.about is not None:
        known = loading.load_without_tsdat(target.workspace).manifest
        rerun.named_configs(known, run_options.about)
    loaded = loading.load_workspace(
        target.workspace, python=run_options.python, tolerant=True, say=run_options.say
    )
    return LocalSession(loaded, run_options)


@dataclass(frozen=True)
class LocalSession:
    """``session.Session`` over a workspace."""

    loaded: loading.LoadedWorkspace
    """The workspace."""
    run_options: RunOptions
    """How runs are carried out."""
    outside: dict[str, Path] = field(default_factory=dict)
    """Files outside of ``input/`` that a person named, by the keys that they get."""

    @property
    def manifest(self) -> Manifest:
        """The configs."""
        return self.loaded.manifest

    @property
    def reads_at_once(self) -> int:
        """One: reading SQLite is work for this process, and threads would double it."""
        return 1

    def ledger(self) -> AbstractContextManager[SqliteLedger]:
        """The ledger; it is created if it does not exist."""
        return self.loaded.ledger()

    def log(self, record: RunRecord) -> list[str]:
        """The lines of a run's log."""
        return self.loaded.log(record)

    def queued_runs(
        self, config: str | None, states: Sequence[str]
    ) -> Iterator[tuple[Run, datetime]]:
        """The runs that are queued and not being carried out."""
        with self.ledger() as ledger:
            for entry in commands.queued_runs(ledger, config, states):
                yield entry.run, entry.not_before

    def waiting(self) -> dict[str, int]:
        """The entries of the queue that are not being carried out."""
        with self.ledger() as ledger:
            return SqliteQueue(ledger).waiting()

    def place_problems(self) -> list[str]:
        """A disk that is nearly full, and raw files that are not taken."""
        place = self.loaded.workspace
        problems = _low_disk(place.root)
        with self.ledger() as ledger:
            judgement = binding.describe_folder(ledger, place.output)
        if text := explain(judgement, str(loading.short_path(place.output))):
            problems.append(text)
        problems += [
            f"raw files that are not taken, {skipped}"
            for skipped in find_skipped(place.input, self.manifest.configs)
        ]
        return problems

    @contextmanager
    def product_file(self, product: Product) -> Iterator[Path]:
        """The file in ``output/``."""
        yield existing_file(self.loaded.workspace.output, product.key)

    def raw_files(self, config: Config) -> list[Input]:
        """The raw files of an ingest."""
        return commands.raw_files(self.loaded, config, self.run_options.say)

    def request_missing(self, config: Config, begin: datetime | None, end: datetime | None) -> bool:
        """False: the command itself looks at the files."""
        return False

    def new_files(self, config: Config) -> tuple[int, str]:
        """How many the service has not taken in, and no run has processed; none is read."""
        inputs, new = FolderInputs(self.loaded.workspace.input), 0
        with self.ledger() as ledger:
            for found in batched(inputs.scan(config.input_path or ""), _BATCH):
                seen = ledger.seen_files.at(file.key for file in found)
                for file in found:
                    noted = seen.get(file.key)
                    taken = config.trigger == "S3" and noted is not None and noted[:5] == file
                    new += not taken and not _is_done(ledger, config, file.key)
        if config.trigger == "S3":
            return new, "`tidegate up` will process them"
        return new, "the next scheduled run will process them all"

    def file_runs(
        self, names: Sequence[str], *, config: str | None, clump: bool, all: bool
    ) -> list[Run]:
        """The runs of raw files, in ``input/`` or elsewhere."""
        files = [self._file(name, config, all=all) for name in names]
        elsewhere = [file for file, _ in files if file.key in self.outside]

        def present(config: Config) -> list[Input]:
            return [*self.raw_files(config), *self._inputs().companions(config, elsewhere)]

        now = datetime.now(timezone.utc)
        return rerun.file_runs(files, clump=clump, now=now, present=present)

    def _inputs(self) -> OutsideInputs:
        return OutsideInputs(FolderInputs(self.loaded.workspace.input), self.outside)

    def _file(self, name: str, config: str | None, *, all: bool) -> tuple[Input, list[Config]]:
        """A file that a person named, and the configs that it is for."""
        path = Path(name)
        key = loading.input_key(self.loaded.workspace, path)
        if config is not None:
            configs = [rerun.named_config(self.manifest, config)]
        else:
            configs = rerun.config_of_file(self.manifest, key, path.as_posix(), all=all)
        if key is None:
            absolute = Path(os.path.abspath(path))
            key = "/".join(part for part in absolute.parts if part != os.sep)
            self.outside[key] = absolute
        return self._inputs().input(key), configs

    def estimate(self, config: str, count: int) -> str:
        """How long so many runs will take with these workers."""
        options = self.run_options
        chosen = choose_executor(self.loaded, options.executor, options.workers, options.say)
        return commands.estimate(self.loaded, config, count, chosen.most)

    @contextmanager
    def carrying_out(self, runs: Sequence[Run], ended: Ended, say: Say) -> Iterator[Job]:
        """By the service if one runs, otherwise by this process."""
        listener, options = Listener(record=ended, message=say), self.run_options
        with commands.carrying_out(
            self.loaded, options.workers, runs, listener, self.outside, options.executor
        ) as job:
            yield job

    def redrive(self) -> int:
        """Nothing: there are no dead letters, failed runs are in the ledger."""
        return 0

    @contextmanager
    def product_files(self, *, exclusive: bool = True) -> Iterator[ProductFiles]:
        """``output/``."""
        with self.loaded.workspace.lock() if exclusive else nullcontext():
            yield FolderProductFiles(self.loaded.workspace.output)

    def bind_outputs(self) -> None:
        """See ``session.Session``."""
        with self.ledger() as ledger:
            binding.bind_folder(ledger, self.loaded.workspace.output)

    def stores(self, run: Run) -> tuple[Inputs, Outputs]:
        """``input/`` and ``output/``; a file that a person named is where it was."""
        places = self.loaded.workspace.places
        inputs = FolderInputs(places.input)
        outside = {
            input.key: Path(os.sep, input.key)
            for input in run.files
            if not (places.input / input.key).exists() and Path(os.sep, input.key).is_file()
        }
        return OutsideInputs(inputs, outside), FolderOutputs(places.output, places.work)

    def repository(self) -> Path | None:
        """The pipelines repository."""
        return self.loaded.repository.absolute()

    def interpreter(self) -> tuple[Sequence[str], Path]:
        """The pipelines' interpreter and repository; looked for now if Tsdat was not asked."""
        loaded, options = self.loaded, self.run_options
        python = loaded.python or find_interpreter(
            loaded.workspace, loaded.config, python=options.python, say=options.say
        )
        return python, loaded.repository.absolute()


def _is_done(ledger: SqliteLedger, config: Config, key: str) -> bool:
    return any(record.state in SETTLED for record in ledger.about(config.id, key))


def _low_disk(folder: Path) -> list[str]:
    """A sentence about the disk of a folder if less than 5 % of it, or 1 GB, is free."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return [f"the disk of {folder} cannot be read: {error.strerror or error}"]
    if usage.free >= max(_LEAST_FREE, usage.total * _LEAST_SHARE):
        return []
    share = usage.free / usage.total if usage.total else 0.0
    free = f"{usage.free / 1e9:.1f} GB ({100 * share:.0f} %) are free"
    return [f"the disk is nearly full: {free}; make room on the disk of {folder}"]


@dataclass(frozen=True)
class FolderProductFiles:
    """``ProductFiles`` over a folder."""

    root: Path
    """The root of the keys."""

    @property
    def place(self) -> str:
        """The folder, for messages."""
        return str(loading.short_path(self.root))

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """Files below a prefix; a zarr folder counts as one file. Hidden files are skipped."""
        for folder, folders, names in os.walk(self.root / prefix):
            here = Path(folder)
            archives = [name for name in folders if name.endswith(".zarr")]
            folders[:] = sorted(
                name for name in folders if name not in archives and not name.startswith(".")
            )
            for name in sorted([*names, *archives]):
                if name.startswith("."):
                    continue
                try:
                    status = (here / name).stat()
                    size = _folder_size(here / name) if name in archives else status.st_size
                except OSError:  # it was removed, or is a broken link
                    continue
                key = (here / name).relative_to(self.root).as_posix()
                modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
                yield StoredFile(key, size, "", modified)

    def is_version(self, file: StoredFile, product: Product) -> bool:
        """Whether a file has the content on record; reads all of it."""
        try:
            return content_hash(self.root / file.key) == (product.size, product.sha256)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(
                f"cannot read {file.key}",
                why=error.strerror or str(error),
                next="make it readable; then verify again",
            ) from error

    def identify(self, file: StoredFile) -> tuple[int, str]:
        """Size and sha256."""
        try:
            return content_hash(self.root / file.key)
        except OSError as error:
            raise StorageError(
                f"cannot read {file.key}",
                why=error.strerror or str(error),
                next="make it readable, or move it away; then adopt again to continue",
            ) from error

    def copy(self, file: StoredFile) -> AbstractContextManager[Path]:
        """The file itself."""
        return nullcontext(self.root / file.key)


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
