"""What commands print of runs and products: on 80 columns, with nothing important left out."""

import contextlib
import io
import json
import os
import re
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tidegate.cli import run_list
from tidegate.cli.activity import FEW, Activity
from tidegate.cli.job_view import show_summary
from tidegate.cli.view import View, readable_log
from tidegate.runtime.jobs import Job, JobCounts
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.runs import Failure, Input, Product, Run, RunRecord, Window
from tidegate.runtime.testing import MemoryLedger
from tidegate.workspace.newest_products import ProductFilter, newest_products

NOON = datetime(2022, 4, 5, 12, tzinfo=timezone.utc)
CONFIG = "lidar/humboldt"


class Screen(View):
    """A view of 80 columns, and what it has printed."""

    def __init__(self, *, terminal=True):
        super().__init__()
        self.printed = io.StringIO()
        self.out = Console(
            file=self.printed, force_terminal=terminal, width=80, highlight=False, color_system=None
        )
        self.err = Console(file=io.StringIO())

    @property
    def lines(self):
        return self.printed.getvalue().splitlines()


@pytest.fixture
def screen():
    return Screen()


def name_of(number):
    return f"lidar.z05.00.202204{number:02}.000000.sta.7z"


def ended(number=1, state="succeeded", *, modified=None, **more):
    """The record of a run over one file."""
    input = Input(f"lidar/humboldt/{name_of(number)}", f"v{number}", 10, modified)
    failure = Failure("bad-input", "the file is cut off, " * 8) if state == "failed" else None
    at = NOON + timedelta(minutes=number)
    more = {"started": at, "finished": at, "failure": failure, **more}
    return RunRecord(Run(CONFIG, inputs=(input,)), state, 1, **more)


def window(hour, state="succeeded"):
    begin = NOON.replace(hour=0) + timedelta(hours=hour)
    run = Run("vap/x", window=Window(begin, begin + timedelta(hours=1)))
    return RunRecord(run, state, 1, NOON, finished=NOON)


def product(number, stream="humboldt.buoy_z05-lidar-10m.a1", **more):
    at = NOON + timedelta(days=number)
    name = f"{stream}.{at:%Y%m%d}.001000"
    times = {"begin": at, "end": at + timedelta(hours=1), **more}
    key = f"storage/root/data/humboldt/{stream}/{name}.nc"
    return Product(
        key, "data", 400_000, f"{number}", stream, run="ab12" * 16, config=CONFIG, **times
    )


def test_runs_fit_80_columns_and_name_run_file_and_reason(screen):
    records = [ended(1), ended(2, "failed"), ended(3)]
    run_list.show_runs(screen, [], records, full=False, empty="")
    assert all(len(line.rstrip()) <= 80 for line in screen.lines)
    assert sum("2022-04-05" in line for line in screen.lines) == 1, "one heading for the day"
    for record in records:
        (line,) = (line for line in screen.lines if line.startswith(record.key[:7]))
        assert line.rstrip().endswith(record.run.inputs[0].key[-20:])
    assert any("cut off" in line for line in screen.lines)
    whole = Screen()
    run_list.show_runs(whole, [], records, full=True, empty="")
    assert "…" in whole.printed.getvalue(), "a path is longer than the line, and is cut visibly"


def test_a_pipe_gets_a_line_a_run_with_tabs(screen):
    pipe = Screen(terminal=False)
    waiting = [(ended(4).run, NOON)]
    run_list.show_runs(pipe, waiting, [ended(1), ended(2, "failed")], full=False, empty="")
    rows = [line.split("\t") for line in pipe.lines]
    assert [len(row) for row in rows] == [8, 8, 8]
    assert [row[3] for row in rows] == [name_of(1), name_of(2), name_of(4)]
    assert [row[4] for row in rows] == ["succeeded", "failed", "queued"]


def test_products_stand_below_their_datastreams(screen):
    products = [product(n, s) for n in (3, 2, 1) for s in ("a.one.a1", "b.two.a1")]
    run_list.show_products(screen, products, full=False)
    assert all(len(line.rstrip()) <= 80 for line in screen.lines)
    headings = [line.split()[0] for line in screen.lines if CONFIG in line]
    assert headings == ["a.one.a1", "b.two.a1"]
    assert sum(line.startswith("ab12ab1") for line in screen.lines) == 6
    assert screen.lines[0].split()[:1] == ["run"], "what the columns are"


def test_of_several_tracebacks_in_a_log_only_the_last_is_shown():
    lines = [
        json.dumps({"level": "ERROR", "message": text, "time": NOON.isoformat(), "action": "log"})
        for text in ("wrong 1\nTraceback 1\n  in a", "fine", "wrong 2\nTraceback 2\n  in b")
    ]
    shown = "\n".join(readable_log(lines, whole=False))
    assert [text in shown for text in ("wrong 1", "Traceback 1", "fine", "Traceback 2")] == [
        True, False, True, True
    ]  # fmt: skip
    assert "Traceback 1" in "\n".join(readable_log(lines, whole=True))
    assert len(readable_log(lines * 20, whole=False)) == 20


def test_a_backlog_is_a_line_for_each_config_and_each_failure(screen):
    activity = Activity(screen)
    with activity.shown():
        for number in range(1, 21):
            activity.waiting(30 - number)
            activity.record(ended(number, "failed" if number == 7 else "succeeded"))
            activity.record(window(number))
        assert len([line for line in screen.lines if name_of(7) in line]) == 1
        shown = len(screen.lines)
        activity.waiting(0)
        activity.waiting(0)
        assert len(screen.lines) == shown + 2
    one, other = screen.lines[-2:]
    assert "20 files: 19 ok, 1 failed" in one
    assert "20 windows 2022-04-05: 20 ok" in other


def test_a_file_that_arrives_later_gets_its_own_line_unless_many_wait(screen):
    activity = Activity(screen)
    now = datetime.now(timezone.utc) + timedelta(seconds=1)
    with activity.shown():
        activity.waiting(0)
        activity.record(ended(1, modified=now))
        assert len(screen.lines) == 1
        activity.waiting(FEW + 1)
        activity.record(ended(2, modified=now))
        activity.record(ended(3, modified=now))
        assert len(screen.lines) == 1
    assert "2 files: 2 ok" in screen.lines[-1], "what is left is printed at the end"


def test_verbose_prints_every_run_and_nothing_twice(screen):
    activity = Activity(screen, verbose=True)
    with activity.shown():
        for number in (1, 2):
            activity.record(ended(number))
    assert [name_of(n)[-25:] in line for n, line in enumerate(screen.lines, 1)] == [True, True]
    assert len(screen.lines) == 2


@pytest.mark.parametrize("limit", [1, 3, 5, 100])
def test_the_newest_products_are_those_with_the_latest_data(limit):
    ledger = MemoryLedger()
    made = [product(-days) for days in (0, 1, 3, 40, 400, 4000)]
    made.append(product(1, begin=None, end=None))
    record = ended(1)
    claim = ledger.claim(record.run, owner="me", lease=timedelta(1), now=NOON, release="")
    ledger.finish(RunRecord(record.run, "succeeded", claim.record.attempt, NOON, owner="me",
                            finished=NOON, products=tuple(made)))  # fmt: skip
    found = newest_products(ledger, ProductFilter(end=NOON + timedelta(days=1)), limit)
    assert [p.sha256 for p in found] == [p.sha256 for p in made[:6]][:limit]
    found = newest_products(ledger, ProductFilter(), limit)
    assert [p.key for p in found] == [p.key for p in made][:limit]


def test_the_configs_that_reprocess_takes():
    from tidegate.errors import UsageError
    from tidegate.workspace.rerun import check_config, named_configs

    configs = [Config("lidar", n, "Ingest", "S3", "p.yaml") for n in ("humboldt", "morro")]
    manifest = Manifest(tuple(configs))
    assert [c.name for c in named_configs(manifest, "lidar")] == ["humboldt", "morro"]
    assert [c.name for c in named_configs(manifest, "lidar/morro")] == ["morro"]
    with pytest.raises(UsageError, match="lidar/none"):
        named_configs(manifest, "lidar/none")
    ledger = MemoryLedger()
    check_config(manifest, ledger, "lidar/morro")
    with pytest.raises(UsageError, match="old/gone"):
        check_config(manifest, ledger, "old/gone")


def test_a_run_is_found_by_as_many_digits_as_tell_it_from_others():
    from tidegate.errors import UsageError
    from tidegate.workspace.rerun import find_record

    ledger = MemoryLedger()
    records = [ended(number) for number in range(40)]  # some begin with the same digit
    for record in records:
        claim = ledger.claim(record.run, owner="me", lease=timedelta(1), now=NOON, release="")
        ledger.finish(replace(record, owner="me", attempt=claim.record.attempt))
    keys = sorted(record.key for record in records)
    for key, others in ((key, [other for other in keys if other != key]) for key in keys):
        least = next(n for n in range(1, 65) if not any(o.startswith(key[:n]) for o in others))
        assert {find_record(ledger, key[:n]).key for n in (least, least + 1, 64)} == {key}
        if least > 1:
            with pytest.raises(UsageError, match="several") as ambiguous:
                find_record(ledger, key[: least - 1])
            named = [line.split()[0] for line in ambiguous.value.why.splitlines() if line != "…"]
            assert all(find_record(ledger, digits) for digits in named)
    with pytest.raises(UsageError, match="no run begins with"):
        find_record(ledger, "0" * 63)
    with pytest.raises(UsageError, match="does not name a run"):
        find_record(ledger, "tiny/one")


def test_what_came_of_a_job(screen):
    counts = JobCounts(
        planned=1200,
        succeeded=1100,
        equal=900,
        changed=150,
        new=40,
        failed={"bad-input": 3, "timeout": 1},
        examples={"bad-input": "3f9a0c1: no time in line 2"},
    )
    job = Job("abc123", NOON, (("lidar/one",), ("vap/one",)), counts=counts, worked=3700.0)
    show_summary(screen, replace(job, expected={"lidar/one": 1200}), at_work=False)
    text = "\n".join(screen.lines)
    assert max(map(len, screen.lines)) <= 80
    assert "interrupted" in screen.lines[0]
    for part in ("1,104 of 1,200", "1:01:40", "900 equal to before", "150 changed", "40 new",
                 "10 not comparable", "failed, bad-input: 3", "no time in line 2",
                 "failed, timeout: 1"):  # fmt: skip
        assert part in text
    assert "jobs resume abc123" in screen.err.file.getvalue()


def test_jobs_are_on_this_machine_only(capsys):
    from tidegate.cli import main

    for words in ([], ["show", "3f9a0c"], ["cancel", "3f9a0c"], ["resume", "3f9a0c"]):
        assert main(["jobs", *words, "--target", "aws"]) == 2
        assert "no jobs on AWS" in capsys.readouterr().err


def test_a_line_is_printed_above_the_progress(monkeypatch):
    ours, theirs = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        out = View()
        with Live(Text("half done"), console=out.err, auto_refresh=False, transient=True):
            out.line("a run has failed")
    shown = b""
    with contextlib.suppress(OSError):  # the end; on a busy machine it comes in pieces
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    lines = re.split(r"[\r\n]|\x1b\[2K", shown.decode())
    assert any(line.startswith("half done") for line in lines)
    assert any(line.startswith("a run has failed") for line in lines), lines
