"""How ``tidegate try`` and ``tidegate test`` show what came out: tables, differences, failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tidegate.cli import view
from tidegate.cli.view import View, plain
from tidegate.quality.comparison import Comparison, ValueDifference
from tidegate.quality.content import Content, Variable
from tidegate.runtime.records import to_json
from tidegate.runtime.wording import quantity
from tidegate.testing.compliance import Compliance, Finding
from tidegate.testing.trial import TrialProduct
from tidegate.testing.trying import Tried
from tidegate.workspace.loading import short_path

_AROUND = 2
_MOST = 12
_COLUMNS = ("variable", "dimensions", "type", "units", "valid", "bad", "doubtful", "least", "most")


def show_tried(out: View, tried: Tried, repository: Path, *, whole_log: bool = False) -> None:
    """One run that was tried."""
    record = tried.trial.record
    total = view.duration(record.seconds.get("total", 0.0))
    steps = ", ".join(f"{name} {view.duration(s)}" for name, s in record.seconds.items())
    memory = f"  {record.peak_memory:.0f} MB at most" if record.peak_memory else ""
    out.line(
        f"[bold]{plain(record.run.config)}[/]  {plain(record.run.title)}  {view.outcome(record)}"
        f"  {total} [bright_black]({steps})[/]{memory}"
    )
    if record.failure is not None:
        show_failure(out, record.failure.message, record.failure.where, repository)
        out.line(f"[bold]next:[/] {plain(record.failure.next)}")
    if record.plots_failed:
        out.line(f"[yellow]plots failed:[/] {plain(record.plots_failed)}")
    for warning in record.warnings:
        out.line(f"[yellow]{plain(warning)}[/]")
    if record.state == "empty":
        out.line("[yellow]it made no product[/]")
    for product in tried.trial.products:
        if product.product.kind == "data":
            show_product(out, product)
            _show_difference_from_record(out, tried, product.product.key)
    plots = [product for product in tried.trial.products if product.product.kind != "data"]
    if plots:
        out.line("\n[bold]plots and other files[/]")
        for product in plots:
            out.line(f"  {plain(product.file)}  {view.size(product.product.size)}")
    for key in tried.not_made:
        out.line(f"[yellow]on record, and not made any more:[/] {plain(key)}")
    if whole_log:
        out.line("\n[bold]log[/]")
        for line in tried.trial.log:
            out.line(view.log_line(line))


def show_failure(out: View, message: str, where: str, repository: Path) -> None:
    """What went wrong, and the lines of the code where it did."""
    out.line(f"[red]{plain(message)}[/]")
    file, _, line = where.rpartition(":")
    if not line.isdigit():
        return
    out.line(f"[bold]{plain(short_path(repository / file))}:{line}[/]")
    for number, text in excerpt(repository / file, int(line)):
        mark = "[red]>[/]" if number == int(line) else " "
        out.line(f"  {mark} {number:4} {plain(text)}")


def excerpt(file: Path, line: int) -> list[tuple[int, str]]:
    """The lines around one line of a file, with their numbers."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    first = max(1, line - _AROUND)
    return list(enumerate(lines[first - 1 : line + _AROUND], first))


def show_product(out: View, product: TrialProduct) -> None:
    """What a product holds: variables with valid shares, and the quality checks that failed."""
    made, content = product.product, product.content
    times = f"  {view.moment(made.begin)} to {view.moment(made.end)}" if made.begin else ""
    out.line(f"\n[bold]{plain(product.name)}[/]  {view.size(made.size)}{times}")
    out.line(f"  {plain(product.file)}")
    if content is None:
        return
    sizes = ", ".join(f"{name} {size}" for name, size in content.dimensions.items())
    out.line(f"  dimensions: {plain(sizes) or 'none'}")
    out.table(_COLUMNS, [_row(variable) for variable in content.variables], wide=("dimensions",))
    tests = list(_failed_tests(content))
    checked = sum(variable.checked for variable in content.variables)
    if tests:
        out.line("\n[bold]quality checks that failed[/]")
        out.table(("variable", "check", "assessment", "failed"), tests)
    elif checked:
        out.line(f"\nall quality checks of {quantity(checked, 'variable')} passed")
    else:
        out.line("\n[yellow]no variable has quality checks[/]")


def _row(variable: Variable) -> tuple[str, ...]:
    share = percent(variable.valid, variable.values)
    if not variable.valid and variable.values:
        share = f"[red]{share}[/]"
    elif variable.valid < variable.values:
        share = f"[yellow]{share}[/]"
    return (
        plain(variable.name),
        plain(", ".join(variable.dims)),
        plain(variable.dtype),
        plain(variable.units),
        share,
        percent(variable.bad, variable.values) if variable.checked else "-",
        percent(variable.indeterminate, variable.values) if variable.checked else "-",
        plain(variable.least),
        plain(variable.most),
    )


def percent(part: int, whole: int) -> str:
    """A share in percent; never 0 or 100 for what only rounds to it."""
    if not whole:
        return "-"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1 %"
    if 99.9 < share < 100:
        return ">99.9 %"
    return f"{share:.1f} %" if share % 1 else f"{share:.0f} %"


def _failed_tests(content: Content) -> Iterator[tuple[str, ...]]:
    for variable in content.variables:
        for test in variable.tests:
            if test.failed:
                share = percent(test.failed, variable.values)
                failed = f"{test.failed} of {variable.values} ({share})"
                yield plain(variable.name), plain(test.meaning), plain(test.assessment), failed


def _show_difference_from_record(out: View, tried: Tried, key: str) -> None:
    if key not in tried.differences:
        return
    found = tried.differences[key]
    if found is None:
        out.line("\nthere is no such product on record")
    elif found.equal:
        out.line("\nequal to the product on record")
    else:
        out.line("\n[bold]differences from the product on record[/]")
        for line in difference_lines(found, "on record"):
            out.line(f"  {plain(line)}")


def difference_lines(found: Comparison, expected: str = "expected") -> list[str]:
    """The differences in words, at most a few of each kind."""
    lines = _limited(found.structure)
    lines += _limited([value_line(value, expected) for value in found.values])
    return lines + _limited(found.attributes)


def value_line(value: ValueDifference, expected: str = "expected") -> str:
    """``wind_speed: 3 of 144 values differ, at most by 0.5, at time=…: 7.5, expected 7``."""
    text = f"{value.variable}: {value.count} of {quantity(value.total, 'value')} differ"
    if value.largest is not None:
        text += f", at most by {value.largest:.6g}"
    where = ", ".join(f"{name}={label}" for name, label in value.where.items())
    at = f", at {where}" if where else ""
    text += f"{at}: {value.new}, {expected} {value.expected}"
    if value.now_missing:
        text += f"; {value.now_missing} now missing"
    if value.now_present:
        text += f"; {value.now_present} no longer missing"
    return text


def _limited(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return [*lines[:_MOST], *more]


def show_compliance(out: View, name: str, found: Compliance, *, every: bool = False) -> None:
    """What CF and ACDD ask for; without ``every``, only what they insist on."""
    if found.unknown:
        out.note(found.unknown)
        return
    shown = [one for one in found.findings if every or one.priority == "high"]
    out.line(f"\n[bold]attributes of {plain(name)} for CF and ACDD[/]")
    if not shown:
        out.line("  nothing that they insist on is missing")
    for one in shown:
        out.line(f"  {plain(one.standard)}: {plain(finding_text(one))}")
    left = len(found.findings) - len(shown)
    if left:
        out.line(f"  [bright_black]and {quantity(left, 'recommendation')} (--all-attributes)[/]")


def finding_text(one: Finding) -> str:
    """A finding with the variables that it is about."""
    if not one.variables:
        return one.what
    names = ", ".join(one.variables[:4])
    more = f" and {len(one.variables) - 4} more" if len(one.variables) > 4 else ""
    return f"{one.what}: {names}{more}"


def tried_data(tried: Tried, compliance: dict[str, Compliance]) -> dict[str, Any]:
    """A run that was tried as ``--json`` gives it."""
    products = []
    for product in tried.trial.products:
        key = product.product.key
        data = {**view.product_data(product.product), "file": str(product.file)}
        if product.content is not None:
            data["content"] = to_json(product.content)
        if key in tried.differences:
            found = tried.differences[key]
            data["on_record"] = found is not None
            if found is not None:
                data["difference"] = to_json(found)
        if key in compliance:
            data["compliance"] = to_json(compliance[key])
        products.append(data)
    return {
        **view.run_data(tried.trial.record),
        "products": products,
        "not_made": list(tried.not_made),
        "log_lines": list(tried.trial.log),
    }
