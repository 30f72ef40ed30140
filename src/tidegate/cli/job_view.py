"""Prints jobs: what one would take, its progress, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rich.live import Live
from rich.markup import escape
from rich.text import Text

from tidegate.cli import view
from tidegate.cli.view import View, plain
from tidegate.runtime.jobs import OPEN, Job, JobCounts, time_left
from tidegate.runtime.records import to_json
from tidegate.runtime.wording import quantity
from tidegate.workspace.job_estimate import JobEstimate

_EVERY = 60.0
_SHOWN = 3
STATE_COLOURS = {
    "running": "cyan",
    "paused": "yellow",
    "interrupted": "yellow",
    "cancelled": "yellow",
    "done": "green",
}


def estimate_lines(estimate: JobEstimate, workers: int) -> list[str]:
    """What a job takes: a line for each config, and what it takes together."""
    lines = []
    for one in estimate.configs:
        words = [f"{one.config}: {quantity(one.runs, 'run')}"]
        if one.runs and one.seconds is not None and one.size is not None:
            took = timedelta(seconds=round(one.seconds * one.runs / min(workers, one.runs)))
            words += [f"about {took} (h:mm:ss)", f"{view.size(round(one.size * one.runs))}"]
        elif one.runs:
            words.append("no run on record says how long they take")
        lines.append(", ".join(words))
    if not estimate.runs:
        return lines
    total, size, more = estimate.time(workers), estimate.size, estimate.more
    if len(estimate.configs) > 1:
        about = f", about {total}" if total is not None else ""
        lines.append(f"together: {quantity(estimate.runs, 'run')}{about}")
    if total is not None and size is not None and more is not None:
        free = f"; {view.size(estimate.free)} are free" if estimate.free is not None else ""
        lines.append(f"with {quantity(workers, 'worker')}, estimated from past runs")
        lines.append(f"disk: {view.size(round(more))} more than now{free}")
        if estimate.free is not None and more > estimate.free:
            lines.append("that is more than is free: make room first, or do a part of it")
    return lines


def progress_text(job: Job) -> str:
    """How far a job is, in one line."""
    counts = job.counts
    share = f" ({100 * counts.ended / job.total:.0f} %)" if job.total else ""
    words = [f"{counts.ended:,} of {job.total:,} runs{share}"]
    words += [f"{counts.failures:,} failed"] if counts.failures else []
    if len(job.stages) > 1:
        words.append(f"stage {min(job.stage + 1, len(job.stages))} of {len(job.stages)}")
    left = time_left(job)
    words += [f"about {left} left"] if left is not None else []
    return ", ".join(words)


@dataclass
class JobProgress:
    """Shows how far a job is: as one line at the end of a terminal, else a line each minute."""

    out: View
    job: Job | None = None
    _said: float = field(default_factory=time.monotonic)
    _live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it inside the block."""
        if not self.out.err.is_terminal or self.out.as_json:
            yield
            return
        with Live(console=self.out.err, get_renderable=self._line, transient=True) as live:
            self._live = live
            yield
        self._live = None

    def seen(self, job: Job) -> None:
        """The job as it is now."""
        self.job = job
        if self._live is None and not self.out.as_json and time.monotonic() - self._said > _EVERY:
            self._said = time.monotonic()
            self.out.note(progress_text(job))

    def _line(self) -> Text:
        text = progress_text(self.job) if self.job is not None else ""
        return Text(text, no_wrap=True, overflow="ellipsis")


def show_summary(out: View, job: Job, *, at_work: bool) -> None:
    """Print what came of a job, or how far it is."""
    counts = job.counts
    state = state_of(job, at_work=at_work)
    colour = STATE_COLOURS[state]
    took = timedelta(seconds=round(job.worked))
    out.line(
        f"job [bold]{job.id}[/] is [{colour}]{state}[/]: "
        f"{counts.ended:,} of {quantity(job.total, 'run')} in {took} (h:mm:ss)"
    )
    rows = [("succeeded", counts.succeeded, "green"), ("empty", counts.empty, "yellow")]
    rows += [(f"failed, {kind}", count, "red") for kind, count in sorted(counts.failed.items())]
    rows += [("input changed meanwhile", counts.superseded, "yellow")]
    rows += [("config gone", counts.dropped, "yellow")]
    for name, count, colour in rows:
        if count:
            out.line(f"  [{colour}]{name}[/]: {count:,}")
            if (example := counts.examples.get(name.removeprefix("failed, "))) is not None:
                out.line(f"    such as {plain(example)}")
            if name == "succeeded":
                out.line(f"    {_compared(counts)}")
    if job.message:
        out.line(f"[yellow]{plain(job.message)}[/]")
    if next_step := _next_step(job, state):
        out.note(next_step)


def _compared(counts: JobCounts) -> str:
    """How the products of the runs that succeeded differ from those of before."""
    unknown = counts.succeeded - counts.equal - counts.changed - counts.new
    words = [f"{counts.equal:,} equal to before", f"{counts.changed:,} changed"]
    words += [f"{counts.new:,} new"] if counts.new else []
    words += [f"{unknown:,} not comparable"] if unknown else []
    return ", ".join(words)


def _next_step(job: Job, state: str) -> str:
    if state == "paused":
        return f"`tidegate jobs resume {job.id}` goes on, `tidegate jobs cancel {job.id}` ends it"
    if state == "interrupted":
        return (
            f"`tidegate jobs resume {job.id}` goes on with it, and so does `tidegate up`;"
            f" `tidegate jobs cancel {job.id}` ends it"
        )
    if job.counts.failures and len(job.configs) == 1:
        return f"`tidegate runs --failed --config {job.configs[0]}` lists failures"
    return "`tidegate runs --failed` lists failures" if job.counts.failures else ""


COLUMNS = ("job", "state", "asked (UTC)", "configs", "runs", "failed", "left")


def job_row(job: Job, *, at_work: bool) -> tuple[str, ...]:
    """A job as a row of ``tidegate jobs``."""
    left = time_left(job) if at_work else None
    configs = ", ".join(job.configs[:_SHOWN])
    more = f" and {len(job.configs) - _SHOWN} more" if len(job.configs) > _SHOWN else ""
    state = state_of(job, at_work=at_work)
    return (
        job.id,
        f"[{STATE_COLOURS[state]}]{state}[/]",
        view.moment(job.asked)[:16],
        escape(configs + more),
        f"{job.counts.ended:,} of {job.total:,}",
        f"{job.counts.failures:,}" if job.counts.failures else "-",
        f"{left}" if left is not None else "-",
    )


def state_of(job: Job, *, at_work: bool) -> str:
    """The state of a job, as a person should read it."""
    return "interrupted" if job.state == "running" and not at_work else job.state


def job_data(job: Job, *, at_work: bool) -> dict[str, Any]:
    """A job for ``--json``."""
    left = time_left(job)
    data = to_json(job)
    assert isinstance(data, dict)
    return {
        **data,
        "state": state_of(job, at_work=at_work),
        "open": job.state in OPEN,
        "configs": list(job.configs),
        "total": job.total,
        "ended": job.counts.ended,
        "failures": job.counts.failures,
        "seconds_left": left.total_seconds() if left is not None else None,
    }


def show_jobs(out: View, jobs: Sequence[Job], *, at_work: bool) -> None:
    """Print a list of jobs."""
    if out.as_json:
        out.data([job_data(job, at_work=at_work) for job in jobs])
        return
    rows = [job_row(job, at_work=at_work) for job in jobs]
    out.table(
        COLUMNS, rows, empty="no jobs yet: `tidegate reprocess` makes them", wide=("asked (UTC)",)
    )
    for job in jobs:
        if state_of(job, at_work=at_work) == "interrupted":
            out.note(
                f"job {job.id} is not being carried out: `tidegate up` continues it, and so does"
                f" `tidegate jobs resume {job.id}`"
            )
