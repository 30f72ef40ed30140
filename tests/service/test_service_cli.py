"""What the commands print: for people, for pipes and for scripts."""

import json
import shutil
import signal
import subprocess
import sys
import zipfile
from datetime import UTC, datetime

import pytest
from service_workspace import COMMAND, PATIENCE, VAP, config, csv, ingest, make

from tidegate import cli
from tidegate.targets.local.look import LookProgress
from tidegate.workspace.folder import Workspace

pytestmark = pytest.mark.slow

COMMANDS = [
    *("check", "env", "up", "run", "runs", "show", "products", "retry", "reprocess", "demo"),
    *("status", "logs"),
]
RUN_KEYS = {"key", "about", "outcome", "run", "state", "attempt", "started"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A workspace with runs of every kind on record."""
    place = make(
        tmp_path_factory.mktemp("cli") / "workspace",
        config(ingest("one"), rest=VAP.replace('"* * * * *"', "Monthly")),
    )
    place.put("tiny/one/good.csv", csv())
    place.put("tiny/one/bad [red].csv", csv("2022-04-02T00:00:00", ask="raise [bold]no"))
    place.put(b"tiny/one/bytes-\xff.csv", csv("2022-04-03T00:00:00"))
    place.put("tiny/one/empty.csv", csv("2022-04-04T00:00:00", [float("nan")] * 2))
    place.put("tiny/one/later.csv.part", "")
    place.age()
    done = place.once("--json", code=1)
    place.said = done.out
    return place


@pytest.fixture
def tidegate(done, monkeypatch, capsys):
    """Run a command in this process; returns its exit code and what it printed."""
    monkeypatch.chdir(done.root)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments):
        capsys.readouterr()
        code = cli.main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_up_prints_one_json_document_a_line(done):
    runs = [json.loads(line) for line in done.said.splitlines()]
    assert (
        sorted(run["outcome"] for run in runs) == ["failed"] + ["succeeded"] * 3 or len(runs) >= 4
    )
    for run in runs:
        assert set(run) >= RUN_KEYS


def test_runs_and_show(done, tidegate):
    code, out, _ = tidegate("runs", "--json")
    assert code == 0
    runs = json.loads(out)
    assert len(runs) == len(done.records())
    for run in runs:
        assert set(run) >= RUN_KEYS
    [failed] = json.loads(tidegate("runs", "--failed", "--json")[1])
    assert failed["failure"]["kind"] == "bad-input"
    warned = json.loads(tidegate("runs", "--warnings", "--json")[1])
    assert "tiny/one/empty.csv" in [run["about"] for run in warned]
    assert {run["outcome"] for run in warned} == {"succeeded with warnings"}
    assert len(warned) < len(runs) - 2
    assert [r["about"] for r in json.loads(tidegate("runs", "-n", "1", "--json")[1])] == [
        runs[0]["about"]
    ]
    assert json.loads(tidegate("runs", "--state", "queued", "--json")[1]) == []
    code, out, _ = tidegate("show", failed["key"][:6], "--json")
    shown = json.loads(out)
    assert set(shown) >= RUN_KEYS | {"failure", "log_lines"}
    assert any("[bold]no" in line for line in shown["log_lines"])


def test_status_of_this_machine(done, tidegate):
    code, out, _ = tidegate("status", "--json")
    assert code == 0
    status = json.loads(out)
    (one,) = (config for config in status["configs"] if config["config"] == "tiny/one")
    assert (one["failures"], one["waiting"], one["stale"]) == (1, 0, False)
    assert one["warnings"] >= 1
    assert None not in (one["last_arrival"], one["last_product"], one["newest_data"])
    assert [files["examples"] for files in status["not_taken"]] == [["tiny/one/later.csv.part"]]
    sizes = {part["name"]: part["bytes"] for part in status["disk"]}
    assert sizes["output"] == sum(p.stat().st_size for p in done.output.rglob("*") if p.is_file())
    assert status["service"] == ""
    code, out, _ = tidegate("status")
    assert code == 0
    assert any(line.endswith("tiny/one") and "\t1\t" in line for line in out.splitlines())


def test_status_shows_how_far_a_running_service_has_looked_for_files(done, tidegate):
    with Workspace(done.root).lock(), done.ledger() as ledger:
        before = ledger.state("intake/look")
        progress = LookProgress(ledger, lambda: datetime.now(UTC))
        look = json.loads(tidegate("status", "--json")[1])["look"]
        assert look["expected"] == 4
        assert "of about 4" in tidegate("status")[1]
        progress.end()
        assert "look" not in json.loads(tidegate("status", "--json")[1])
        ledger.set_state("intake/look", before)


def test_a_config_that_does_not_exist_is_an_error_everywhere(tidegate):
    for command in ("runs", "products"):
        code, _, err = tidegate(command, "--config", "tiny/none")
        assert (code, "tiny/none" in err, "tiny/one" in err) == (2, True, True)
    for arguments in (("logs", "tiny/none"), ("reprocess", "none", "--python", sys.executable)):
        assert tidegate(*arguments)[0] == 2


def test_a_failed_run_fails_in_the_same_way_elsewhere(done, tidegate, tmp_path, monkeypatch):
    [failed] = json.loads(tidegate("runs", "--failed", "--json")[1])
    file = tmp_path / "failed.zip"
    made = done.root / ".tidegate" / "env" / "0123"
    (made / "lib/python3.11/site-packages/tsdat-0.10.0.dist-info").mkdir(parents=True)
    (made / "tidegate-ok.json").write_text("{}")
    code, _, err = tidegate("show", failed["key"][:8], "--failure-bundle", str(file))
    assert code == 0
    assert "may be private" in err
    assert "not in the bundle" not in err
    with zipfile.ZipFile(file) as archive:
        assert json.loads(archive.read("bundle.json"))["packages"] == ["tsdat==0.10.0"]
    shutil.rmtree(made)
    assert tidegate("show", failed["key"][:8], "--failure-bundle", str(file))[0] == 2  # it exists
    monkeypatch.chdir(tmp_path)
    code, out, err = tidegate(
        "run", "--from-bundle", str(file), "--python", sys.executable, "--json"
    )
    [again] = json.loads(out)
    assert code == 1
    assert (again["about"], again["state"]) == (failed["about"], "failed")
    assert again["failure"]["message"] == failed["failure"]["message"]
    assert failed["failure"]["message"] in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failed", "failed.zip"]


def test_a_run_of_a_vap_is_repeated_elsewhere(done, tidegate, tmp_path, monkeypatch):
    file, python = tmp_path / "vap.zip", ("--python", sys.executable, "--json")
    days = ("--begin", "20220401", "--end", "20220402")
    code, out, err = tidegate("run", "tiny_vap/one", *days, *python)
    assert code == 0, err
    [run] = json.loads(out)
    assert tidegate("show", run["key"], "--failure-bundle", str(file))[0] == 0
    with zipfile.ZipFile(file) as archive:
        found = {name for name in archive.namelist() if name.startswith(("input/", "output/"))}
    assert found == {f"output/{ref['key']}" for ref in run["run"]["products"]}
    monkeypatch.chdir(tmp_path)
    code, out, err = tidegate("run", "--from-bundle", str(file), *python)
    assert code == 0, err
    [again] = json.loads(out)
    assert (again["key"], again["state"]) == (run["key"], "succeeded")
    assert [p["key"] for p in again["products"]] == [p["key"] for p in run["products"]]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_command_in_a_script_s_background_can_be_stopped(done, number, code):
    """A shell starts it with SIGINT ignored, and a child inherits that."""
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, *COMMAND, "logs", "--follow"],
        cwd=done.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline()  # it follows now
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == code


def test_logs(done, tidegate):
    code, out, _ = tidegate("logs")
    assert code == 0
    assert "raise [bold]no" not in out.splitlines()[0]
    assert {line.split()[3] for line in out.splitlines() if line.startswith("20")} >= {"tiny/one"}
    [failed] = json.loads(tidegate("runs", "--failed", "--json")[1])
    code, out, _ = tidegate("logs", "--run", failed["key"][:8], "--target", "local", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert any("[bold]no" in line["message"] for line in lines)
    assert {(line["config_id"], line["run"]) for line in lines} == {
        ("tiny/one", failed["key"][:12])
    }
    code, out, err = tidegate("logs", "--target", "local", "--since", "2100-01-01")
    assert (code, out) == (0, "")
    assert "no log lines since 2100-01-01" in err


def test_products(done, tidegate):
    products = json.loads(tidegate("products", "--json")[1])
    assert {product["key"] for product in products} == set(done.outputs())
    assert set(products[0]) >= {"key", "kind", "size", "sha256", "datastream", "begin", "end"}
    some = json.loads(
        tidegate("products", "--config", "tiny/one", "--end", "20220402", "--json")[1]
    )
    assert 0 < len(some) < len(products)


def test_check_prints_what_will_run(tidegate):
    code, out, _ = tidegate("check", "--python", sys.executable, "--json")
    assert code == 0
    checked = json.loads(out)
    assert checked["ok"] is True
    assert [row["config"] for row in checked["configs"]] == ["tiny/one", "tiny_vap/one"]


def test_commands_that_run_answer_in_json(done):
    done_again = done.tidegate("run", "input/tiny/one/good.csv", "--json").json
    assert [set(run) >= RUN_KEYS for run in done_again] == [True]
    assert done.tidegate("retry", "--failed", "--json", code=1).json[0]["outcome"] == "failed"
    dry = done.tidegate("reprocess", "tiny/one", "--dry-run", "--json").json
    assert {frozenset(run) for run in dry} == {frozenset({"key", "about"})}


def test_in_a_pipe_lines_are_plain(tidegate):
    for command in (["runs"], ["products"], ["runs", "--failed"]):
        code, out, _ = tidegate(*command)
        assert code == 0
        assert "\x1b" not in out
    assert "no such runs" in tidegate("runs", "--state", "superseded")[2]
    rows = [line.split("\t") for line in tidegate("runs")[1].splitlines()]
    assert {len(row) for row in rows} == {8}
    assert "bad [red].csv" in [row[3] for row in rows]
    assert "\ttiny/one/bad [red].csv\t" in tidegate("runs", "--full")[1]
    assert any("[bold]no" in row[7] for row in rows)
    assert any("bytes-\\udcff.csv" in row[3] for row in rows)
    key = next(row[0] for row in rows if "bad" in row[3])
    _, out, _ = tidegate("show", key)
    assert "\x1b" not in out
    assert "RuntimeError: [bold]no" in out
    assert "bad-input" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(tidegate, command):
    code, out, _ = tidegate(command, "--help")
    assert code == 0
    assert "Example" in out
    assert f"tidegate {command}" in out


def test_every_command_is_listed(tidegate):
    code, out, _ = tidegate("--help")
    assert code == 0
    for command in COMMANDS:
        assert f" {command} " in out


@pytest.mark.parametrize(
    ("arguments", "what", "next_"),
    [
        (["runs", "-w", "nowhere"], "there is no folder nowhere", "tidegate demo"),
        (["up", "input"], "input has no pipelines_config.yml", "tidegate demo"),
        (["show", "ffffffffff"], "no run begins with ffffffffff", "tidegate runs"),
        (["show", "x"], "'x' does not name a run", "first digits"),
        (["runs", "--state", "lost"], "there is no state 'lost'", "succeeded"),
        (["retry"], "name the runs to retry", "tidegate runs --failed"),
        (["retry", "ffffffffff"], "no run begins with", "tidegate runs"),
        (["reprocess", "no/such"], "there is no config no/such", "tiny/one"),
        (["reprocess", "tiny/one", "--begin", "soon"], "'soon' is not a time", "20220405"),
        (["run", "missing.csv"], "there is no file missing.csv", "files that exist"),
        (["run", "tiny/one", "--begin", "20220401", "--end", "20220402"], "not a VAP", "files"),
        (["run", "tiny_vap/one", "--begin", "20220401"], "--begin and --end", "tidegate run"),
        (
            ["run", "tiny_vap/one", "--begin", "20220402", "--end", "20220401"],
            "must end after it begins",
            "--end must be later than",
        ),
        (["demo", "input"], "input is not empty", "tidegate demo"),
    ],
)
def test_what_cannot_be_done_is_told_in_three_parts(tidegate, arguments, what, next_):
    python = ["--python", sys.executable]
    runs = arguments[0] in ("up", "retry", "reprocess", "run", "demo")
    code, out, err = tidegate(*arguments, *(python if runs else []))
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert what in err
    assert "next: " in err
    assert next_ in err.split("next: ")[1]
    assert "Traceback" not in err


def test_usage_that_typer_refuses(tidegate):
    for arguments in (["fly"], ["runs", "--nonsense"], ["runs", "-n", "0"]):
        code, _, err = tidegate(*arguments)
        assert code == 2
        assert "Traceback" not in err


def test_a_reader_that_has_seen_enough(done):
    command = " ".join(COMMAND)
    for arguments in ("runs", "runs --json", "products", "show --help"):
        line = f"{command} {arguments} | head -1"
        ended = subprocess.run(
            line, shell=True, cwd=done.root, env=done.variables(), capture_output=True, check=True
        )
        assert ended.stderr == b""
        assert len(ended.stdout.splitlines()) == 1


def test_the_workspace_may_be_named_by_the_environment(done, tmp_path):
    extra = {"TIDEGATE_WORKSPACE": str(done.root)}
    ended = subprocess.run(
        [*COMMAND, "runs", "--json"],
        cwd=tmp_path,
        env={**done.variables(), **extra},
        capture_output=True,
        check=True,
    )
    assert len(json.loads(ended.stdout)) == len(done.records())


def test_completion_can_be_installed(done):
    environment = {
        **done.variables(),
        "SHELL": "/bin/bash",
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    ended = subprocess.run(
        [*COMMAND, "--show-completion", "bash"], env=environment, capture_output=True, check=True
    )
    assert b"_TIDEGATE_COMPLETE" in ended.stdout
    environment.update(_TIDEGATE_COMPLETE="complete_bash", COMP_WORDS="tidegate re", COMP_CWORD="1")
    ended = subprocess.run(COMMAND, env=environment, capture_output=True, check=False)
    assert {b"retry", b"reprocess"} <= set(ended.stdout.split())
