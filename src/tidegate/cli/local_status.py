"""What ``tidegate status`` prints of this machine."""

from __future__ import annotations

from datetime import datetime, timezone

from tidegate.cli import view
from tidegate.cli.listing import Row, print_list
from tidegate.cli.view import View, plain
from tidegate.runtime.records import to_json
from tidegate.targets.local.look import Look
from tidegate.workspace import local_session
from tidegate.workspace.config_summary import MOST_FAILURES
from tidegate.workspace.local_status import (
    LATEST,
    ConfigStatus,
    LocalStatus,
    collect_local_status,
)
from tidegate.workspace.session import RunOptions, TargetOptions

_COLUMNS = ("last data", "product", "waiting", "failed", "warned", "bad", "config")


def show_local_status(out: View, where: TargetOptions) -> None:
    """Print the state of the workspace; no AWS keys are needed, and nothing is started."""
    now = datetime.now(timezone.utc)
    found = collect_local_status(local_session.open_for_reading(where, RunOptions()), now)
    if out.as_json:
        out.data(to_json(found))
        return
    service = f"runs ({found.service})" if found.service else "[yellow]does not run[/]"
    out.line(f"[bold]{plain(found.workspace)}[/]: the service {service}")
    if found.look is not None:
        out.line(_look(found.look))
    out.line("")
    _show_configs(out, found, now)
    out.line("")
    if found.outputs:
        out.line(f"[bold red]outputs[/]  {plain(found.outputs)}")
    for files in found.not_taken:
        out.line(f"[yellow]not taken[/]  {plain(files)}")
    parts = ", ".join(f"{disk.name} {view.size(disk.bytes)}" for disk in found.disk)
    out.line(f"[bold]disk[/]  {parts}; {view.size(found.free)} free")
    if any(config.failures for config in found.configs):
        out.note(
            "`tidegate runs --failed` lists open failures, `tidegate retry --failed` runs them"
        )


def _look(look: Look) -> str:
    of = f" of about {look.expected:,}" if look.expected > look.files else ""
    return (
        f"[bold]input[/]  looking through the files that were there at the start:"
        f" {look.files:,}{of} so far, {look.new:,} to run; files that arrive now go first"
    )


def _show_configs(out: View, found: LocalStatus, now: datetime) -> None:
    rows = [_cells(config, now) for config in found.configs]
    if not out.out.is_terminal:
        out.table(_COLUMNS, rows)
        return
    header = tuple(f"[bright_black]{name}[/]" for name in _COLUMNS[:-1])
    lines = [Row(header, _COLUMNS[-1])]
    lines += [
        Row(row[:-1], config.config, below=("[red]stale[/]: no new data for too long",))
        if config.stale
        else Row(row[:-1], config.config)
        for row, config in zip(rows, found.configs, strict=True)
    ]
    print_list(out.out, lines)
    out.note(f"(warned: of the latest {LATEST} runs; bad: of the last day)")


def _cells(config: ConfigStatus, now: datetime) -> tuple[str, ...]:
    arrived = _age(config.last_arrival, now)
    most = "+" if config.failures >= MOST_FAILURES else ""
    return (
        f"[red]{arrived}[/]" if config.stale else arrived,
        _age(config.last_product, now),
        f"{config.waiting + config.running:,}",
        f"[red]{config.failures:,}{most}[/]" if config.failures else "0",
        f"[yellow]{config.warnings}[/]" if config.warnings else "0",
        "-" if config.bad is None else f"{100 * config.bad:.1f} %",
        plain(config.config),
    )


def _age(when: datetime | None, now: datetime) -> str:
    """How long ago something was, in the largest unit of which it is at least two."""
    if when is None:
        return "never"
    seconds = max((now - when).total_seconds(), 0.0)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
