"""The command ``compare``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli.options import (
    HERE,
    MAIN,
    Branch,
    In,
    Json,
    Profile,
    Python,
    Region,
    Target,
)
from tidegate.cli.view import View, file_name, plain
from tidegate.errors import TidegateError
from tidegate.quality.comparison import Rules, ValueDifference
from tidegate.quality.product_changes import Change, Changes, VariableChange
from tidegate.runtime.records import to_json
from tidegate.runtime.wording import quantity
from tidegate.workspace import session
from tidegate.workspace.product_comparison import (
    FileDifference,
    FolderComparison,
    ProductComparer,
    is_folder,
    open_pair,
)
from tidegate.workspace.session import RunOptions, TargetOptions

app = typer.Typer()
_SHOWN = 100
_DIFFERENT, _ERROR = 1, 2
_COLUMNS = ("variable", "differ", "largest", "mean abs.", "mean", "missing", "bad", "where")


@app.command(
    epilog="Examples: tidegate compare before/ output/   ·   "
    "tidegate compare a.20220405.000000.nc b.20220405.000000.nc   ·   "
    "tidegate compare KEY OTHER_KEY --target aws --json"
)
def compare(
    first: Annotated[
        str, typer.Argument(help="A file, a folder of products, or the key of a product.")
    ],
    second: Annotated[str, typer.Argument(help="What to compare with it, of the same kind.")],
    rtol: Annotated[
        float, typer.Option("--rtol", min=0, help="How far values may be apart, relative to them.")
    ] = 0.0,
    atol: Annotated[
        float, typer.Option("--atol", min=0, help="How far values may be apart, in their units.")
    ] = 0.0,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="A variable or attribute that may differ; may be repeated."),
    ] = None,
    directory: In = HERE,
    python: Python = None,
    target: Target = "local",
    branch: Branch = MAIN,
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show what differs between two products, or two folders; exit code 1 if they differ."""
    out = View(as_json=as_json)
    where = TargetOptions(directory, target, branch, profile, region)
    rules = Rules(rtol, atol, ignore=tuple(ignore or ()))
    try:
        code = _compare(out, where, RunOptions(python, say=out.note), (first, second), rules)
    except TidegateError as error:
        error.exit_code = max(error.exit_code, _ERROR)
        raise
    if code:
        raise typer.Exit(code)


def _compare(
    out: View, where: TargetOptions, options: RunOptions, names: tuple[str, str], rules: Rules
) -> int:
    """Compare, show, and return the exit code."""
    opened = session.open_for_reading(where, options)
    with opened.ledger() as ledger, ExitStack() as stack:
        pair = open_pair(opened, ledger, *names, stack)
        comparer = stack.enter_context(ProductComparer(opened))
        if not is_folder(pair[0]):
            changes = comparer.compare_files(*pair, rules)
            if out.as_json:
                out.data({"equal": changes.equal, **to_json(changes)})
            else:
                show_changes(out, changes, names)
            return 0 if changes.equal else _DIFFERENT
        found = _compare_folders(out, comparer, pair, rules)
        if out.as_json:
            out.data({"equal_files": found.equal, **_folder_data(found)})
        else:
            _show_folders(out, found)
        if found.unreadable:
            return _ERROR
        return _DIFFERENT if found.differences else 0


def _compare_folders(
    out: View, comparer: ProductComparer, pair: tuple[Path, Path], rules: Rules
) -> FolderComparison:
    with out.progress() as progress:
        task = progress.add_task("files", total=None)
        return comparer.compare_folders(
            *pair,
            rules,
            lambda done, total: progress.update(task, completed=done, total=total),
        )


def _folder_data(found: FolderComparison) -> dict[str, Any]:
    return {
        "files": found.files,
        "differences": [to_json(one) for one in found.differences],
    }


def _show_folders(out: View, found: FolderComparison) -> None:
    rows = [
        (
            # Not the folders, where there is little room.
            plain(file_name(one.file) if out.columns else one.file),
            one.what,
            _in_short(one),
        )
        for one in found.differences[:_SHOWN]
    ]
    out.table(("file", "what", "variables"), rows)
    more = len(found.differences) - _SHOWN
    shown = f"; {more} of them are not shown, --json has all" if more > 0 else ""
    counts = f"{found.equal} equal, {len(found.differences)} differ"
    out.note(f"{quantity(found.files, 'file')}: {counts}{shown}")
    if found.differences:
        out.note("`tidegate compare` with two files shows what has changed in them")


def _in_short(one: FileDifference) -> str:
    """The variables that have changed, or why it is not known."""
    if one.changes is None:
        return plain(one.error)
    names = [variable.name for variable in one.changes.variables]
    if not names:
        return "attributes" if one.changes.attributes else "dimensions"
    return plain(", ".join(names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def show_changes(out: View, changes: Changes, names: tuple[str, str]) -> None:
    """What is different in the second of two files."""
    if changes.equal:
        out.line("[green]equal[/]: all values and attributes, except when it was made")
        return
    out.line(f"first:  {plain(names[0])}")
    out.line(f"second: {plain(names[1])}")
    if changes.days_apart:
        later = "later" if changes.days_apart > 0 else "earlier"
        days = quantity(abs(changes.days_apart), "day")
        out.line(f"the second is {days} {later}: values at the same time of day are compared")
    for text in changes.text:
        out.line(plain(text))
    _show_pairs(out, "dimension", changes.dimensions)
    _show_pairs(out, "coordinates", changes.labels)
    if changes.variables:
        out.line("")
        out.table(_COLUMNS, [row(one) for one in changes.variables], wide=("mean", "where"))
    if changes.unchanged:
        out.line(f"\nequal: {plain(', '.join(changes.unchanged))}")
    of_variables = [pair for one in changes.variables for pair in _pairs(one)]
    _show_pairs(out, "attribute", [*of_variables, *changes.attributes])


def _pairs(one: VariableChange) -> Iterator[Change]:
    if one.form is not None:
        yield Change(f"{one.name} (type)", one.form.first, one.form.second)
    yield from one.attributes


def _show_pairs(out: View, what: str, pairs: Sequence[Change]) -> None:
    if pairs:
        out.line("")
        rows = [(plain(p.name), *(plain(t or "-") for t in (p.first, p.second))) for p in pairs]
        out.table((what, "first", "second"), rows)


def row(one: VariableChange) -> tuple[str, ...]:
    """A variable as a row of ``_COLUMNS``."""
    name = plain(one.name)
    if one.only_in:
        return (name, f"only in the {one.only_in}", *("-",) * 6)
    values = one.values
    differ = f"{values.count} of {values.total}" if values else f"0 of {one.compared}"
    if not one.compared:
        differ = "not comparable"
    bad = f"{one.quality.bad_first} → {one.quality.bad_second}" if one.quality else "-"
    if values is None:
        return (name, differ, "-", "-", "-", "-", bad, "-")
    return (
        name,
        differ,
        number(values.largest),
        number(values.mean_absolute),
        number(values.mean),
        _missing(values),
        bad,
        plain(", ".join(f"{dim}={label}" for dim, label in values.where.items())) or "-",
    )


def number(value: float | None) -> str:
    """A difference with four digits."""
    return "-" if value is None else f"{value:.4g}"


def _missing(values: ValueDifference) -> str:
    """How many values went missing, and how many are there now that were missing."""
    texts = [
        f"{sign}{count}"
        for sign, count in (("+", values.now_missing), ("-", values.now_present))
        if count
    ]
    return " ".join(texts) or "-"
