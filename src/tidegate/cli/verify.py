"""The command ``verify``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Annotated

import typer

from tidegate.cli import view
from tidegate.cli.options import stopping
from tidegate.cli.run_options import RunArguments, takes_run_options
from tidegate.cli.view import View, plain
from tidegate.runtime.runs import RunRecord
from tidegate.runtime.wording import quantity
from tidegate.workspace import session, verification
from tidegate.workspace.adoption import command as adoption
from tidegate.workspace.session import Session
from tidegate.workspace.verification import Verification

app = typer.Typer()
_SHOWN = 100


@app.command(
    epilog="Examples: tidegate verify   ·   tidegate verify --repair   ·   "
    "tidegate verify --target aws --quick --json"
)
@takes_run_options
def verify(
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare names and sizes only, not the content.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Make missing and changed products again, and record unknown ones where their"
            " names fit a config.",
        ),
    ] = False,
    *,
    given: RunArguments,
) -> None:
    """Compare the products in storage with those on record; exit code 1 if they differ."""
    out = View(as_json=given.as_json)
    open_it = session.open_session if repair else session.open_for_reading
    opened = open_it(given.where, given.run_options(out.note))
    found = _verify(opened, out, quick=quick)
    if repair:
        before = found
        if found.differences:
            _repair(opened, out, found)
            found = _verify(opened, out, quick=quick)
        opened.bind_outputs()
        if not given.as_json:
            done = len(before.differences) - len(found.differences)
            out.note(f"{quantity(max(done, 0), 'difference')} repaired")
    if given.as_json:
        out.data(asdict(found))
    else:
        _show(out, found)
    if found.differences:
        raise typer.Exit(1)


def _verify(opened: Session, out: View, *, quick: bool) -> Verification:
    with out.progress() as progress, opened.ledger() as ledger:
        task = progress.add_task("products", total=None)
        with opened.product_files(exclusive=False) as store:
            return verification.verify(
                ledger, store, quick=quick, advance=lambda count: progress.advance(task, count)
            )


def _repair(opened: Session, out: View, found: Verification) -> None:
    """Run again what made missing and changed products; adopt the unknown ones."""
    configs = {config.id for config in opened.manifest.configs}
    with opened.ledger() as ledger:
        runs, left = verification.repairing_runs(
            ledger, found.of("missing", "changed"), configs, datetime.now(timezone.utc)
        )
    if left:
        out.note(
            f"{quantity(len(left), 'product')} cannot be made again, such as {left[0].key}:"
            " adopted, without inputs, or of a config that is gone; put the files back"
        )
    if runs:
        out.note(quantity(len(runs), "run"))

        def ended(record: RunRecord) -> None:
            if not out.as_json:
                out.line(view.record_line(record))

        with opened.carrying_out(runs, ended, out.note) as job, stopping(job.stop, out):
            job.run()
    if found.of("unknown"):
        report = adoption.adopt(
            opened, adoption.AdoptOptions(), out.note, lambda title, total: lambda count: None
        )
        out.note(f"{quantity(report.adopted, 'file')} adopted")


def _show(out: View, found: Verification) -> None:
    if not found.differences:
        out.line(
            f"{quantity(found.products, 'product')} on record, and all are in {plain(found.place)}"
        )
        return
    rows = [(d.kind, plain(d.key), plain(d.config) or "-") for d in found.differences[:_SHOWN]]
    out.table(("what", "product", "config"), rows)
    counts = [
        f"{len(differences)} {kind}"
        for kind in ("missing", "changed", "unknown")
        if (differences := found.of(kind))
    ]
    more = len(found.differences) - _SHOWN
    shown = f" ({more} more not shown)" if more > 0 else ""
    out.note(
        f"{found.place} differs from the {quantity(found.products, 'product')} on record: "
        f"{', '.join(counts)}{shown}; `tidegate verify --repair` makes products again and adopts"
        " unknown ones"
    )
