"""What the commands ``new …`` show: drafts, files that were written, products of a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.cli.view import View, plain
from tidegate.runtime.records import to_json
from tidegate.scaffold.changes import Action

if TYPE_CHECKING:  # these need the packages of tidegate[new]
    from tidegate.scaffold.ingest.create import Created
    from tidegate.scaffold.ingest.records import Draft, Variable
    from tidegate.scaffold.ingest.trial_run import TrialRun

COLOURS: Mapping[Action, str] = {
    "written": "green",
    "changed": "green",
    "replaced": "yellow",
    "kept": "cyan",
    "unchanged": "bright_black",
}


def show_draft(out: View, draft: Draft) -> None:
    """What was recognized: the format, the times, and a line a variable."""
    sample = draft.sample
    facts = f" ({'; '.join(sample.facts)})" if sample.facts else ""
    first, last = draft.time.values.min(), draft.time.values.max()
    out.line(f"[bold]{plain(sample.format)}[/]{plain(facts)}")
    columns = ", ".join(draft.time.columns)
    out.line(f"times from {plain(columns)}: {len(draft.time.values)}, {first} to {last} UTC\n")
    rows = [
        (
            plain(variable.name),
            plain(variable.source),
            plain(variable.attrs.get("units", "")),
            plain(variable.attrs.get("standard_name", "")),
            plain(_range(variable)),
        )
        for variable in (*draft.coordinates, *draft.variables)
    ]
    out.table(("variable", "from", "units", "standard name", "sample"), rows)


def show_actions(out: View, actions: Mapping[Path, Action]) -> None:
    """What was done with each file; those that were as they should be are left out."""
    out.line("\n[bold]files[/]")
    rows = [
        (f"[{COLOURS[action]}]{action}[/]", plain(short(path)))
        for path, action in actions.items()
        if action != "unchanged"
    ]
    out.table(("", "file"), rows, empty="all files are as they should be")


def actions_data(actions: Mapping[Path, Action]) -> dict[str, str]:
    """What was done with each file, as ``--json`` gives it."""
    return {str(path): action for path, action in actions.items()}


def show_steps(out: View, steps: Sequence[str]) -> None:
    """What a person does now."""
    out.note("next:")
    for number, step in enumerate(steps, 1):
        out.note(f"  {number}. {step}")


def show_created(out: View, created: Created) -> None:
    """The files, and what the run of the sample made."""
    show_actions(out, created.actions)
    show_trial(out, created.trial)


def show_trial(out: View, trial: TrialRun) -> None:
    """The products of a sample, and their quality."""
    out.line("\n[bold]the sample's product[/]")
    for product, path in trial.files:
        sizes = ", ".join(f"{name} {size}" for name, size in product.dimensions.items())
        out.line(f"{plain(short(path))}  {plain(sizes)}".rstrip())
    quality = [q for product, _ in trial.files for q in product.quality]
    if quality:
        out.line("\n[bold]quality[/]")
        rows = [
            (plain(q.variable), str(q.samples), str(q.bad), str(q.indeterminate)) for q in quality
        ]
        out.table(("variable", "samples", "bad", "indeterminate"), rows)
    for warning in trial.record.warnings:
        out.note(warning)
    if trial.record.plots_failed:
        out.note(f"the plots failed: {trial.record.plots_failed}")


def show_guesses(out: View, draft: Draft) -> None:
    """What to check."""
    out.line("\n[bold]to check[/] (marked TODO check in the YAML)")
    rows = [(plain(g.about), plain(g.value), plain(g.reason)) for g in draft.guesses]
    out.table(("", "decided", "because"), rows, empty="nothing was guessed")


def draft_data(draft: Draft) -> dict[str, Any]:
    """The draft as ``--json`` gives it."""
    return {
        "name": draft.name,
        "format": draft.sample.format,
        "recognized": list(draft.sample.facts),
        "time": {
            "columns": list(draft.time.columns),
            "format": draft.time.format,
            "timezone": draft.time.timezone,
            "count": len(draft.time.values),
            "first": draft.time.values.min().isoformat(),
            "last": draft.time.values.max().isoformat(),
        },
        "variables": [
            {
                "name": variable.name,
                "from": variable.source,
                "dtype": variable.dtype,
                "dims": list(variable.dims),
                "attrs": dict(variable.attrs),
                "missing": list(variable.missing),
            }
            for variable in (*draft.coordinates, *draft.variables)
        ],
        "guesses": [vars(guess) for guess in draft.guesses],
    }


def products_data(trial: TrialRun) -> dict[str, Any]:
    """The products of a sample, as ``--json`` gives them."""
    products = []
    for product, path in trial.files:
        data = to_json(product)
        assert isinstance(data, dict)
        products.append({**data, "file": str(path)})
    return {"products": products, "warnings": list(trial.record.warnings)}


def short(path: Path) -> str:
    """A path as short as a person would write it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _range(variable: Variable) -> str:
    if variable.dtype == "str":
        return str(variable.values.iloc[0])[:20] if len(variable.values) else ""
    low, high = float(variable.values.min()), float(variable.values.max())
    return "no values" if low != low else f"{low:g} to {high:g}"
