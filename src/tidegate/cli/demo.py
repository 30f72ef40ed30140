"""The command ``demo``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli import view
from tidegate.cli.activity import Activity
from tidegate.cli.options import CPUS, Json, Python, Workers, stopping
from tidegate.cli.view import View, plain
from tidegate.runtime.runs import RunRecord
from tidegate.runtime.wording import quantity
from tidegate.scaffold import demo as files
from tidegate.targets.local.listener import Listener
from tidegate.workspace import commands
from tidegate.workspace.loading import LoadedWorkspace, load_workspace, short_path

app = typer.Typer()


@app.command(epilog="Example: tidegate demo my-demo")
def demo(
    directory: Annotated[Path, typer.Argument(help="The folder to make.")] = Path("demo"),
    python: Python = None,
    workers: Workers = CPUS,
    as_json: Json = False,
) -> None:
    """Make a workspace with example pipelines and three days of raw lidar files, and run it."""
    out = View(as_json=as_json)
    workspace = files.make_workspace(directory)
    command = [python] if python else files.default_python()
    out.note(f"writing {files.DAYS} days of raw lidar files to {short_path(workspace.input)}")
    files.write_raw_files(workspace, command)
    if os.sep in command[0]:
        files.link_environment(workspace, command[0])
    loaded = load_workspace(workspace, python=command[0], say=out.note)
    records: list[RunRecord] = []
    _run_once(out, loaded, workers, records)
    files.deliver_again(workspace)
    out.note(f"delivering {files.DUPLICATE} a second time: the content is the same, so no run")
    _run_once(out, loaded, workers, records)
    _show(out, loaded, records)


def _run_once(out: View, loaded: LoadedWorkspace, workers: int, records: list[RunRecord]) -> None:
    activity = Activity(out)

    def ended(record: RunRecord) -> None:
        records.append(record)
        if not out.as_json:  # the demo prints one document at its end
            activity.record(record)

    heard = Listener(ended, out.note, waiting=activity.waiting)
    with (
        commands.service(loaded, workers, heard) as service,
        stopping(service.stop, out),
        activity.shown(),
    ):
        service.once()


def _show(out: View, loaded: LoadedWorkspace, records: Sequence[RunRecord]) -> None:
    with loaded.ledger() as ledger:
        products = list(ledger.products())
        counts = ledger.counts()
    if out.as_json:
        out.data(
            {
                "runs": counts,
                "products": [view.product_data(product) for product in products],
                "ended": [record.key for record in records],
            }
        )
        return
    folder = str(short_path(loaded.workspace.root))
    data = {product.datastream: product for product in products if product.kind == "data"}
    plots = [product for product in products if product.key.endswith(".png")]
    out.line(f"\n{quantity(len(products), 'product')} in {plain(folder)}/output, for example")
    for product in [*list(data.values())[-2:], *plots[:1]]:
        out.line(f"  {plain(view.file_name(product.key))}  {view.size(product.size)}")
    out.line("\n[bold]try next[/]")
    steps = (
        (f"tidegate status -w {folder}", "each config: last data, failures, quality"),
        (f"tidegate runs -w {folder} --failed", "the file that was cut off, and why it failed"),
        (f"tidegate products -w {folder}", "all products with times and quality"),
        (f"tidegate up {folder}", "process new files in input/ as they arrive"),
        (f"ls {folder}/pipelines", "the pipelines: change one, then reprocess"),
    )
    longest = max(len(text) for text, _ in steps)
    for text, why in steps:
        out.line(f"  [bold]{plain(text)}[/]{' ' * (longest - len(text))}  {why}")
