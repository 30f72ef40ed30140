"""``tidegate try``: run a pipeline on files, and see what would come out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli import trial_view
from tidegate.cli.options import HERE, In, Json, Python
from tidegate.cli.view import View
from tidegate.errors import TidegateError
from tidegate.runtime.process import WorkerProcess
from tidegate.testing.compliance import Compliance, ComplianceChecker
from tidegate.testing.pipelines import Pipelines, open_pipelines
from tidegate.testing.trying import Tried, TryRequest, output_folder, try_runs
from tidegate.testing.watching import Watcher
from tidegate.workspace.commands import json_line

app = typer.Typer()


@app.command(
    "try",
    epilog="Examples: tidegate try lidar/humboldt sample.sta.7z --watch   ·   "
    "tidegate try lidar_vap/humboldt --begin 20220405 --end 20220406 --compare",
)
def try_command(
    config: Annotated[str, typer.Argument(help="The config, such as lidar/humboldt.")],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Raw files; none for a VAP.")
    ] = None,
    begin: Annotated[str | None, typer.Option("--begin", help="A VAP: the first time.")] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="A VAP: the first time after it.")
    ] = None,
    clump: Annotated[bool, typer.Option("--clump", help="All files in one run.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Run again each time the pipeline's files are saved.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show the differences from the product on record.")
    ] = False,
    attributes: Annotated[
        bool,
        typer.Option(
            "--attributes/--no-attributes", help="Check attributes for CF and ACDD, or do not."
        ),
    ] = True,
    all_attributes: Annotated[
        bool, typer.Option("--all-attributes", help="Also what CF and ACDD only recommend.")
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Show the whole log of the run.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", help="The folder for the products, of its own.")
    ] = None,
    directory: In = HERE,
    python: Python = None,
    as_json: Json = False,
) -> None:
    """Run a pipeline on files and show what comes out; ledger and outputs are left alone."""
    out = View(as_json=as_json)
    request = TryRequest(config, tuple(files or ()), begin, end, clump, compare)
    with interruptible(0 if watch else 130):
        pipelines = open_pipelines(directory, about=config, python=python, say=out.note)
        chosen = pipelines.config(config)
        folder = output or output_folder(pipelines, config)
        shown = _Shown(out, pipelines.repository, attributes, all_attributes, log)
        with _worker(pipelines) as worker:
            if not watch:
                if not _try_once(pipelines, worker, request, folder, shown):
                    raise typer.Exit(1)
                return
            watcher = Watcher(
                pipelines.repository, chosen.config_file, [Path(file) for file in request.files]
            )
            _keep_trying(pipelines, worker, request, folder, shown, watcher)


@contextmanager
def interruptible(code: int) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the command in order, with that exit code."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _worker(pipelines: Pipelines) -> Iterator[WorkerProcess]:
    worker = pipelines.worker()
    try:
        yield worker
    finally:
        worker.kill()


class _Shown:
    """Shows each run as soon as it has ended, or collects it for JSON."""

    def __init__(
        self, out: View, repository: Path, attributes: bool, all_attributes: bool, log: bool
    ) -> None:
        self.out = out
        self._repository = repository
        self._attributes = attributes
        self._all_attributes = all_attributes
        self._log = log

    def show(self, tried: Tried) -> None:
        """One run, but for its attributes: these take longer than all else."""
        if not self.out.as_json:
            trial_view.show_tried(self.out, tried, self._repository, whole_log=self._log)

    def check(self, tried: Tried, checker: ComplianceChecker) -> dict[str, Compliance]:
        """The attributes of each product of a run, by the product's key."""
        found: dict[str, Compliance] = {}
        for product in tried.trial.products if self._attributes else ():
            if product.content is None or product.file.is_dir():
                continue
            compliance = checker.check(product.file, product.content)
            if checker.stopped:
                break
            found[product.product.key] = compliance
            if not self.out.as_json:
                trial_view.show_compliance(
                    self.out, product.name, compliance, every=self._all_attributes
                )
            if compliance.unknown:
                break
        return found


def _try_once(
    pipelines: Pipelines,
    worker: WorkerProcess,
    request: TryRequest,
    folder: Path,
    shown: _Shown,
) -> bool:
    """Carry it all out once; whether each run made what it should."""
    worker.start()  # so that its time is not counted as the run's
    tried, data = [], []
    for one in try_runs(pipelines, worker, request, folder):
        tried.append(one)
        shown.show(one)
        data.append(trial_view.tried_data(one, shown.check(one, ComplianceChecker())))
    good = all(one.trial.succeeded for one in tried)
    if shown.out.as_json:
        shown.out.data({"ok": good, "runs": data})
    return good


def _keep_trying(
    pipelines: Pipelines,
    worker: WorkerProcess,
    request: TryRequest,
    folder: Path,
    shown: _Shown,
    watcher: Watcher,
) -> None:
    """Run again at each save, until Ctrl-C."""
    watcher.look()
    while True:
        tried: list[Tried] = []
        try:
            worker.start()
            for one in try_runs(pipelines, worker, request, folder):
                tried.append(one)
                shown.show(one)
        except TidegateError as error:  # such as code that does not load: the next save may do
            shown.out.error(error)
        if shown.out.as_json:
            good = all(one.trial.succeeded for one in tried)
            data = {"ok": good, "runs": [trial_view.tried_data(one, {}) for one in tried]}
            typer.echo(json_line(data), nl=False)
        shown.out.note("waiting for the next save; Ctrl-C ends it")
        with _checking(shown, tried):
            # Saved while it ran: what came out may be of the old code.
            if not watcher.look():
                watcher.wait()
        shown.out.note("saved: running again")


@contextmanager
def _checking(shown: _Shown, tried: list[Tried]) -> Iterator[None]:
    """Check attributes in the background, until the next save: an edit does not wait for that."""
    checker = ComplianceChecker()

    def check() -> None:
        for one in tried if not shown.out.as_json else ():
            shown.check(one, checker)

    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    try:
        yield
    finally:
        checker.stop()
        thread.join()
