"""What commands print: tables with colours on a terminal, plain lines in a pipe, or JSON."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tidegate.cli.listing import shorten_start
from tidegate.errors import TidegateError
from tidegate.runtime.records import to_json
from tidegate.runtime.runs import Product, Run, RunRecord
from tidegate.runtime.wording import quantity
from tidegate.workspace.adoption.command import StreamSummary

COLOURS = {
    "succeeded": "green",
    "empty": "yellow",
    "failed": "red",
    "retrying": "yellow",
    "running": "cyan",
    "queued": "cyan",
    "superseded": "bright_black",
}
"""The colour of each state of a run."""

_WIDE = 130
"""Columns of a terminal from which on tables are complete."""
_NO_WRAP = ("run", "config", "started", "outcome", "products", "took", "kind", "size", "bad")


class _Console(Console):
    """Rich's console, which raises BrokenPipeError when the reader of a pipe has ended."""

    def on_broken_pipe(self) -> None:
        """Rich itself would end the process or the printing thread."""
        discard_output()
        raise BrokenPipeError


def discard_output() -> None:
    """Discard all output from now on: the reader of the pipe has ended."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def end_output() -> None:
    """Flush standard output; ignore that the reader of the pipe has ended."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def _share_a_terminal() -> bool:
    """Whether standard output and standard error are the same terminal."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return False
    try:
        return os.ttyname(sys.stdout.fileno()) == os.ttyname(sys.stderr.fileno())
    except (OSError, ValueError):
        return False


class View:
    """Prints results to standard output, notes and errors to standard error."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = _Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        # A terminal would break lines within words; in a pipe, lines have no limit.
        self.err = _Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        if _share_a_terminal():  # only one console can print above a progress line
            self.err = self.out

    def note(self, text: str) -> None:
        """Print a note, which is not part of the result."""
        self.err.print(escape(text))

    def error(self, error: TidegateError) -> None:
        """Print an error: what happened, why, and what to do next."""
        where = f"{error.where}: " if error.where else ""
        self.err.print(f"[bold red]error:[/] {escape(where + error.what)}")
        if error.why:
            self.err.print(escape(error.why))
        if error.next:
            self.err.print(f"[bold]next:[/] {escape(error.next)}")

    def data(self, value: Any) -> None:
        """Print one JSON document."""
        sys.stdout.write(json.dumps(value, indent=2) + "\n")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        empty: str = "",
        wide: Sequence[str] = (),
    ) -> None:
        """Print a table; in a pipe, one line a row, with tabs between the columns.

        Cells are Rich markup; use ``plain`` for any other text. Columns in ``wide`` are left out
        on a narrow terminal. ``empty`` is printed as a note if there are no rows.
        """
        rows = list(rows)
        if not rows and empty:
            self.note(empty)
        elif self.out.is_terminal:
            table = Table(box=None, header_style="bold", pad_edge=False)
            shown = [i for i, name in enumerate(columns) if not (name in wide and self._narrow())]
            for i in shown:
                table.add_column(columns[i], overflow="fold", no_wrap=columns[i] in _NO_WRAP)
            for row in rows:
                table.add_row(*(row[i] for i in shown))
            self.out.print(table)
        else:
            for row in rows:
                # Not with Rich, which turns tabs into blanks.
                self.out.file.write("\t".join(Text.from_markup(c).plain for c in row) + "\n")

    @property
    def columns(self) -> int:
        """How wide the terminal is; 0 in a pipe, where lines have no limit."""
        return self.out.width if self.out.is_terminal else 0

    def _narrow(self) -> bool:
        return self.out.width < _WIDE

    def line(self, text: str) -> None:
        """Print a line of Rich markup."""
        self.out.print(text)

    def progress(self) -> Progress:
        """A progress bar on standard error; invisible if that is not a terminal."""
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.err,
            disable=self.as_json or not self.err.is_terminal,
            transient=True,
        )


def plain(text: object) -> str:
    """Escape text for Rich: nothing in it is markup, and it stays on one line."""
    return escape(printable(text))


def printable(text: object) -> str:
    """Text on one line, without anything that a terminal cannot show."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
    return shown.encode("utf-8", "backslashreplace").decode()


def plain_lines(text: str) -> str:
    """Escape text of several lines for Rich."""
    return "\n".join(map(plain, text.splitlines()))


def outcome(record: RunRecord) -> str:
    """The outcome of a run, in its colour."""
    return f"[{outcome_colour(record)}]{record.outcome}[/]"


def outcome_colour(record: RunRecord) -> str:
    """The colour of a run's outcome."""
    marked = record.plots_failed or (record.state == "succeeded" and record.warnings)
    return "yellow" if marked else COLOURS.get(record.state, "white")


_SHORT_KEY = 7


def short_key(key: str) -> str:
    """The first digits of a run's key, which commands take for the whole."""
    return key[:_SHORT_KEY]


def about(run: Run, *, full: bool = False) -> str:
    """What a run is about: its files, without their folders unless ``full``; or its window."""
    if full or run.window is not None or not run.inputs:
        return printable(run.title)
    more = f" and {len(run.inputs) - 1} more" if len(run.inputs) > 1 else ""
    return file_name(run.inputs[0].key) + more


def file_name(key: str) -> str:
    """The name at the end of a key, on one line."""
    return printable(key.rstrip("/").rsplit("/", 1)[-1])


_PLOTS = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf", ".webp")


def product_words(products: Iterable[Product]) -> str:
    """How many products of each kind there are: ``1 data, 2 plots``."""
    products = list(products)
    data = sum(product.kind == "data" for product in products)
    plots = sum(p.kind != "data" and p.key.lower().endswith(_PLOTS) for p in products)
    other = len(products) - data - plots
    words = [f"{data} data"] if data else []
    words += [quantity(plots, "plot")] if plots else []
    return ", ".join(words + ([f"{other} other"] if other else []))


def moment(value: datetime | None) -> str:
    """A time in UTC, to the second."""
    if value is None:
        return "-"
    return f"{value.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}"


def size(value: int) -> str:
    """A number of bytes with a suitable unit."""
    number = float(value)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def duration(seconds: float) -> str:
    """A number of seconds with a suitable unit."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def record_line(record: RunRecord, width: int = 0) -> str:
    """One line about a run that has ended; its failure and its warnings on lines below.

    With a ``width``, what does not fit on that many columns is left out, from the end.
    """
    at = record.finished or record.started
    parts = [
        f"{at.astimezone(timezone.utc):%H:%M:%S}",
        short_key(record.key),
        f"[bold]{plain(record.run.config)}[/]",
        "",
        outcome(record),
    ]
    room = max(width - _length(parts), 20) if width else 10**6
    parts[3] = escape(shorten_start(about(record.run), room))
    more = [duration(record.seconds.get("total", 0.0)), product_words(record.products)]
    for part in [*more, *quality_words(record.products)]:
        if part and not (width and _length([*parts, part]) > width):
            parts.append(part)
    line = "  ".join(parts)
    reason = record.failure.message if record.failure else record.plots_failed
    if reason:
        line += "".join(f"\n{_INDENT}{text}" for text in _wrapped(reason, width))
    for warning in record.warnings:
        line += "".join(f"\n{_INDENT}[yellow]{text}[/]" for text in _wrapped(warning, width))
    return line


_INDENT = " " * 10


def _wrapped(text: str, width: int) -> list[str]:
    """Markup for the lines of a text below a run's line."""
    room = max(width - len(_INDENT), 20) if width else 10**6
    return [escape(line) for line in textwrap.wrap(printable(text), room) or [""]]


def _length(parts: Sequence[str]) -> int:
    return Text.from_markup("  ".join(parts)).cell_len


def quality_words(products: Iterable[Product]) -> list[str]:
    """The share of bad samples, and of missing values, where there are any."""
    products = list(products)
    checked = sum(quality.samples for product in products for quality in product.quality)
    bad = sum(quality.bad for product in products for quality in product.quality)
    shares = [share for product in products for share in product.valid.values()]
    missing = 1 - sum(shares) / len(shares) if shares else 0.0
    words = [f"{100 * bad / checked:.1f} % bad"] if checked else []
    return words + ([f"{100 * missing:.1f} % missing"] if missing >= 0.0005 else [])


def run_row(record: RunRecord, *, full: bool = False) -> tuple[str, ...]:
    """A run as a row of ``tidegate runs`` in a pipe."""
    reason = record.failure.message if record.failure else record.plots_failed
    return (
        record.key[:10],
        moment(record.started),
        plain(record.run.config),
        escape(about(record.run, full=full)),
        outcome(record),
        product_words(record.products),
        duration(record.seconds.get("total", 0.0)),
        plain(reason[:120]),
    )


def queued_row(run: Run, due: datetime, *, full: bool = False) -> tuple[str, ...]:
    """A queued run as a row of ``tidegate runs`` in a pipe."""
    state = f"[{COLOURS['queued']}]queued[/]"
    shown = escape(about(run, full=full))
    return (run.key[:10], f"due {moment(due)}", plain(run.config), shown, state, "", "", "")


def queued_data(run: Run, due: datetime) -> dict[str, Any]:
    """A queued run for ``--json``."""
    data = {"key": run.key, "about": run.title, "outcome": "queued", "state": "queued"}
    return {**data, "due": due.isoformat(), "run": to_json(run)}


RUN_COLUMNS = ("run", "started", "config", "about", "outcome", "products", "took", "why")
PRODUCT_COLUMNS = (
    *("product", "datastream", "first (UTC)", "last (UTC)", "size", "bad", "config", "run"),
)


def product_row(product: Product, *, full: bool = False) -> tuple[str, ...]:
    """A product as a row of ``tidegate products`` in a pipe."""
    return (
        plain(product.key) if full else escape(file_name(product.key)),
        plain(product.datastream),
        moment(product.begin),
        moment(product.end),
        size(product.size),
        bad_share(product),
        plain(product.config),
        product.run[:10],
    )


def bad_share(product: Product) -> str:
    """The share of checked samples that are bad, in per cent."""
    checked = sum(quality.samples for quality in product.quality)
    bad = sum(quality.bad for quality in product.quality)
    return f"{100 * bad / checked:.1f} %" if checked else "-"


STREAM_COLUMNS = ("config", "datastream", "data", "other", "first (UTC)", "last (UTC)")


def stream_row(stream: StreamSummary) -> tuple[str, ...]:
    """The files of one datastream as a row of ``tidegate adopt``."""
    return (
        plain(stream.config),
        plain(stream.datastream),
        str(stream.data),
        str(stream.others),
        moment(stream.begin),
        moment(stream.end),
    )


def run_data(record: RunRecord) -> dict[str, Any]:
    """A run for ``--json``: its record, with key, title and outcome."""
    data = {"key": record.key, "about": record.run.title, "outcome": record.outcome}
    return {**data, **_dict(to_json(record))}


def product_data(product: Product) -> dict[str, Any]:
    """A product for ``--json``."""
    return _dict(to_json(product))


def show_run(
    view: View,
    record: RunRecord,
    log: Iterable[str],
    packages: Sequence[str] = (),
    *,
    full: bool = False,
) -> None:
    """Print everything about one run, and lines of its log, in a readable form; ``full`` shows
    whole paths, and the names of all ``packages`` that it was made with."""
    rows = list(_facts(record, full=full))
    if packages:
        some = f"{len(packages)} were installed (--full lists them)"
        rows.append(("packages", plain(", ".join(packages)) if full else some))
    view.table(("", ""), rows)
    quality = [
        q for product in record.products for q in product.quality if q.bad or q.indeterminate
    ]
    if quality:
        view.line("\n[bold]quality[/]")
        view.table(
            ("variable", "samples", "bad", "indeterminate"),
            [
                (plain(q.variable), str(q.samples), str(q.bad), str(q.indeterminate))
                for q in quality
            ],
        )
    lines = list(log)
    if lines:
        view.line(f"\n[bold]log[/] [bright_black]{plain(record.log)}[/]")
        for line in lines:
            view.line(line)


def _facts(record: RunRecord, *, full: bool) -> Iterator[tuple[str, str]]:
    """The rows about a run."""

    def name(key: str) -> str:
        return plain(key) if full else escape(file_name(key))

    yield from (
        ("run", record.key),
        ("config", plain(record.run.config)),
        ("about", escape(about(record.run, full=full))),
        ("outcome", outcome(record)),
        ("attempt", str(record.attempt)),
        ("arrived", f"{moment(record.run.arrived)} UTC"),
        ("started", f"{moment(record.started)} UTC"),
        ("finished", f"{moment(record.finished)} UTC" if record.finished else "-"),
        ("release", record.release or "-"),
        ("took", ", ".join(f"{name} {duration(s)}" for name, s in record.seconds.items())),
        ("memory", f"peak {record.peak_memory:.0f} MB" if record.peak_memory else "-"),
    )
    for input in record.run.inputs:
        yield "input", f"{name(input.key)}  {size(input.size)}  {input.version[:12]}"
    yield from (("input", name(p.key)) for p in record.run.products)
    yield from (("argument", plain(text)) for text in record.run.arguments)
    if record.failure:
        yield "failure", f"[red]{record.failure.kind}[/]: {plain(record.failure.message)}"
        if record.failure.where:
            yield "where", plain(record.failure.where)
        if record.failure.next:
            yield "next", plain(record.failure.next)
    if record.plots_failed:
        yield "plots", f"[yellow]{plain(record.plots_failed)}[/]"
    yield from (("warning", f"[yellow]{plain(text)}[/]") for text in record.warnings)
    for product in record.products:
        kind = "plot" if product_words([product]) == "1 plot" else product.kind
        yield kind, f"{name(product.key)}  {size(product.size)}"
    yield from (("replaced", name(key)) for key in record.retired)
    for product in record.products:
        if product.empty:
            yield "empty", f"[yellow]{plain(', '.join(product.empty))}[/]"


_LAST_LINES = 20


def readable_log(lines: Sequence[str], *, whole: bool) -> list[str]:
    """The lines of a run's log as Rich markup; unless ``whole``, the last ones, and of a message of
    several lines, such as a traceback, only the last."""
    if whole:
        return [log_line(line) for line in lines]
    shown = [log_line(line) for line in lines[-_LAST_LINES:]]
    long = [number for number, line in enumerate(shown) if "\n" in line]
    for number in long[:-1]:
        shown[number] = f"{shown[number].splitlines()[0]} [bright_black](more with --log)[/]"
    return shown


def log_line(text: str) -> str:
    """A JSON line of a run's log, in a readable form."""
    try:
        entry: Mapping[str, Any] = json.loads(text)
        level, message = str(entry["level"]), str(entry["message"])
        at, action = str(entry["time"])[11:23], str(entry["action"])
    except (ValueError, KeyError, TypeError):
        return plain(text)
    colour = {"ERROR": "red", "WARNING": "yellow"}.get(level, "white")
    lines = "\n    ".join(plain(line) for line in message.splitlines())
    return f"{at} [{colour}]{level:<7}[/] [bright_black]{plain(action)}[/] {lines}"


def _dict(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value
