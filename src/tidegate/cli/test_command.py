"""``tidegate test``: the pipelines' sample files against their expected products."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli import view
from tidegate.cli.options import CPUS, HERE, In, Json, Python, Workers
from tidegate.cli.trial_view import difference_lines, excerpt
from tidegate.cli.try_command import interruptible
from tidegate.cli.view import View, plain
from tidegate.errors import StorageError, UsageError
from tidegate.runtime.records import to_json
from tidegate.runtime.wording import quantity
from tidegate.testing.cases import Suite, find_suites
from tidegate.testing.pipelines import Pipelines, open_pipelines
from tidegate.testing.results import CaseResult, ProductResult, State, Summary, changes
from tidegate.testing.running import Runner
from tidegate.workspace.loading import short_path

app = typer.Typer()

_MARKS: dict[State, str] = {
    "passed": "[green]passed[/]",
    "failed": "[red]failed[/]",
    "skipped": "[yellow]skipped[/]",
}


@app.command(
    "test",
    epilog="Examples: tidegate test   ·   tidegate test lidar --update   ·   "
    "tidegate test --junit results.xml",
)
def test_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PIPELINE]...", help="Pipelines; all of them if none is named."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Take the new products as the expected ones.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Update without asking.")] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write the results to this file as JUnit XML.")
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Show the logs of tests that fail.")] = False,
    directory: In = HERE,
    python: Python = None,
    workers: Workers = CPUS,
    as_json: Json = False,
) -> None:
    """Run the pipelines' sample files and compare what comes out with the expected products."""
    out = View(as_json=as_json)
    if update and not yes and not sys.stdin.isatty():
        raise UsageError(
            "nobody is there to look at the changes",
            next="run `tidegate test --update` in a terminal, or add --yes",
        )
    with interruptible(130):
        pipelines = open_pipelines(directory, python=python, say=out.note)
        suites = _chosen(find_suites(pipelines), names or [])
        place = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
        try:
            summary = _run(out, pipelines, suites, place, workers, log)
            if junit is not None:
                from tidegate.testing.junit import write_junit

                texts = enumerate(summary.results)
                write_junit(junit, summary, {n: "\n".join(_problems(r)) for n, r in texts})
            if as_json:
                out.data(_data(summary))
            else:
                _conclude(out, summary)
            updated = update and _update(out, pipelines, summary, yes)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    if not summary.ok and not updated:
        raise typer.Exit(1)


def _chosen(suites: tuple[Suite, ...], names: list[str]) -> tuple[Suite, ...]:
    """The suites that were named, by the pipeline's name or its folder."""
    chosen: dict[str, Suite] = {}
    for name in names:
        found = {
            suite.folder: suite
            for suite in suites
            if name.rstrip("/") in (suite.pipeline, suite.folder, suite.folder.rpartition("/")[2])
        }
        if not found:
            known = ", ".join(suite.pipeline for suite in suites)
            raise UsageError(f"there is no pipeline {name}", next=f"there is: {known}")
        chosen.update(found)
    return tuple(chosen.values()) if names else suites


def _run(
    out: View,
    pipelines: Pipelines,
    suites: tuple[Suite, ...],
    place: Path,
    workers: int,
    log: bool,
) -> Summary:
    runner = Runner(pipelines, place, workers)
    results = []
    total = sum(len(suite.cases) for suite in suites)
    with out.progress() as progress:
        task = progress.add_task("tests", total=total)
        for result in runner.run(suites):
            progress.advance(task)
            results.append(result)
            if not out.as_json:
                _show(out, pipelines, result, log)
    return Summary(tuple(results), tuple(suite for suite in suites if not suite.cases))


def _show(out: View, pipelines: Pipelines, result: CaseResult, log: bool) -> None:
    case = result.case
    out.line(
        f"{_MARKS[result.state]}  [bold]{plain(case.pipeline)}[/]  {plain(case.name)}"
        f"  [bright_black]{view.duration(result.seconds)}[/]"
    )
    if result.state == "passed" and not result.products:
        out.line("          it runs; nothing is compared")
    for line in _problems(result):
        out.line(f"          {plain(line)}")
    if result.state == "failed":
        _show_code(out, pipelines, result)
        out.line(f"          [bright_black]{plain(case.source)}[/]")
        if result.next:
            out.line(f"          [bold]next:[/] {plain(result.next)}")
        for line in result.log if log else ():
            out.line(view.log_line(line))
    for warning in result.warnings:
        out.line(f"          [yellow]{plain(warning)}[/]")


def _show_code(out: View, pipelines: Pipelines, result: CaseResult) -> None:
    file, _, line = result.where.rpartition(":")
    if not line.isdigit():
        return
    out.line(f"          [bold]{plain(short_path(pipelines.repository / file))}:{line}[/]")
    for number, text in excerpt(pipelines.repository / file, int(line)):
        mark = "[red]>[/]" if number == int(line) else " "
        out.line(f"          {mark} {number:4} {plain(text)}")


def _problems(result: CaseResult) -> list[str]:
    """What is wrong, line by line."""
    lines = result.why.splitlines()
    for product in result.products:
        if product.equal:
            continue
        shown = short_path(product.expected)
        if product.comparison is None:
            lines.append(f"{shown}: {product.problem}")
        else:
            lines.append(f"{shown}: the product differs")
            lines += [f"  {line}" for line in difference_lines(product.comparison)]
    return lines


def _conclude(out: View, summary: Summary) -> None:
    for suite in summary.without:
        out.line(f"[yellow]no test[/] [bold]{plain(suite.pipeline)}[/]  {plain(suite.folder)}")
    counts = [f"{summary.count(state)} {state}" for state in _MARKS if summary.count(state)]
    if summary.without:
        counts.append(f"{quantity(len(summary.without), 'pipeline')} without a test")
    out.line(f"[bold]{', '.join(counts) or 'no test'}[/]")
    if not summary.count("passed") and not summary.count("failed"):
        out.line("[red]no test ran[/]")
        out.note("put a raw file into test/data/input of a pipeline, then `tidegate test --update`")


def _update(out: View, pipelines: Pipelines, summary: Summary, yes: bool) -> bool:
    """Write the new products as the expected ones; whether all that failed is put right by that."""
    wanted = changes(summary.results)
    for path, made in wanted:
        what = "remove" if made is None else "replace" if path.exists() else "add"
        out.note(f"{what} {short_path(path)}")
    if not wanted:
        out.note("there is nothing to update")
        return summary.ok
    if not yes and not typer.confirm("Update these files?", default=False, err=True):
        return False
    for path, made in wanted:
        _write(path, made)
    changed = {path for path, _ in wanted}
    return all(
        result.state != "failed" or _is_put_right(result, changed) for result in summary.results
    )


def _is_put_right(result: CaseResult, changed: set[Path]) -> bool:
    """Whether a test failed only by files that were updated."""
    return (
        not result.why
        and bool(result.products)
        and all(product.equal or product.expected in changed for product in result.products)
    )


def _write(path: Path, made: Path | None) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        if made is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if made.is_dir():
            shutil.copytree(made, path)
        else:
            shutil.copyfile(made, path)
    except OSError as error:
        raise StorageError(
            f"cannot update {path}", why=error.strerror or str(error), next="make it writable"
        ) from error


def _data(summary: Summary) -> dict[str, Any]:
    return {
        "ok": summary.ok,
        "passed": summary.count("passed"),
        "failed": summary.count("failed"),
        "skipped": summary.count("skipped"),
        "tests": [_result_data(result) for result in summary.results],
        "without_tests": [suite.pipeline for suite in summary.without],
    }


def _result_data(result: CaseResult) -> dict[str, Any]:
    case = result.case
    return {
        "pipeline": case.pipeline,
        "name": case.name,
        "config": case.config.id if case.config else None,
        "source": case.source,
        "state": result.state,
        "why": result.why,
        "where": result.where,
        "next": result.next,
        "seconds": result.seconds,
        "warnings": list(result.warnings),
        "products": [_product_data(product) for product in result.products],
    }


def _product_data(product: ProductResult) -> dict[str, Any]:
    return {
        "expected": str(product.expected),
        "equal": product.equal,
        "problem": product.problem,
        "difference": to_json(product.comparison) if product.comparison else None,
    }
