"""The service of a workspace: what the operating system is given, and what the commands do.

systemd itself cannot run for a user in most containers, so its command is stood in for by a script
that does what matters here: it starts the unit's ExecStart, and ends it. The unit files are checked
by systemd's own `systemd-analyze verify` where it is installed.
"""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tidegate.workspace.system_service import ServiceUnit

SYSTEMCTL = """#!{python}
import os, pathlib, shlex, signal, subprocess, sys
here = pathlib.Path({here!r}); units = here / "config/systemd/user"
words = [w for w in sys.argv[1:] if not w.startswith("--")]
verb, name = words[0], words[-1]
pid = here / (name + ".pid")
with open(here / "calls", "a") as calls: calls.write(" ".join(words) + "\\n")
def stop():
    if pid.exists():
        try: os.kill(int(pid.read_text()), signal.SIGTERM)
        except ProcessLookupError: pass
        pid.unlink()
if verb == "restart":
    stop()
    lines = (units / name).read_text().splitlines()
    value = lambda key: next(l.split("=", 1)[1] for l in lines if l.startswith(key + "="))
    command = [w.replace("$$", "$").replace("%%", "%") for w in shlex.split(value("ExecStart"))]
    log = open(here / "service.log", "w")
    started = subprocess.Popen(command, cwd=value("WorkingDirectory"), stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log, start_new_session=True)
    pid.write_text(str(started.pid))
elif verb == "disable":
    stop()
elif verb == "is-active":
    print("active" if pid.exists() else "inactive"); sys.exit(not pid.exists())
"""


@pytest.fixture
def unit(tmp_path: Path) -> ServiceUnit:
    folder = tmp_path / 'odd "name" 100% $HOME'
    folder.mkdir()
    command = (sys.executable, "-c", "pass", 'with "quotes"', "50%", "$HOME", "back\\slash")
    return ServiceUnit(folder, command, folder / "log", (("PATH", "/usr/bin:/a b"),))


@pytest.mark.functional
def test_systemd_reads_the_unit(unit: ServiceUnit, tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    file = tmp_path / "tidegate-test.service"
    file.write_text(unit.systemd())
    done = subprocess.run([verify, "verify", "--man=no", file], capture_output=True, text=True)
    about_us = [line for line in done.stderr.splitlines() if "tidegate-test" in line]
    assert not about_us, done.stderr


def test_a_unit_restarts_after_failures_and_stops_in_order(unit: ServiceUnit) -> None:
    lines = unit.systemd().splitlines()
    assert {"Restart=on-failure", "StartLimitIntervalSec=0", "WantedBy=default.target"} <= set(
        lines
    )
    [command] = [line for line in lines if line.startswith("ExecStart=")]
    assert '"50%%"' in command
    assert '"$$HOME"' in command
    assert r'"back\\slash"' in command


def test_launchd_reads_the_property_list(unit: ServiceUnit) -> None:
    found = plistlib.loads(unit.launchd())
    assert found["ProgramArguments"] == list(unit.command)
    assert found["RunAtLoad"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}


def test_each_workspace_has_a_service_of_its_own(tmp_path: Path) -> None:
    names = set()
    for folder in ("a/station", "b/station", "b/søer (1)"):
        unit = ServiceUnit(tmp_path / folder, ("x",), tmp_path / "log")
        names.add(unit.name)
        assert unit.name.isascii()
        assert " " not in unit.name
    assert len(names) == 3


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A systemctl that starts and ends processes, first on the path."""
    here = tmp_path / "systemd"
    (here / "bin").mkdir(parents=True)
    script = here / "bin" / "systemctl"
    script.write_text(SYSTEMCTL.format(python=sys.executable, here=str(here)))
    script.chmod(0o755)
    (here / "bin" / "loginctl").write_text("#!/bin/sh\nexit 1\n")
    (here / "bin" / "loginctl").chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{here / 'bin'}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(here / "config"),
        "COLUMNS": "100",
    }


def dashboard_answers(port: str) -> bool:
    """Whether a dashboard on that port can read its ledger."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
            return bool(json.load(answer) == {"status": "ok"})
    except OSError:
        return False


def tidegate(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidegate", "service", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200)


@pytest.mark.functional
@pytest.mark.skipif(sys.platform == "darwin", reason="systemd is Linux's")
def test_install_status_and_remove(tmp_path: Path, environment: dict[str, str]) -> None:
    """The service really starts, keeps the workspace's lock, and ends when it is removed."""
    from tidegate.scaffold.demo import make_workspace
    from tidegate.workspace.folder import Workspace

    folder = tmp_path / "my station"
    make_workspace(folder)
    with (folder / "pipelines_config.yml").open("a") as config:
        config.write(f"\npython: {sys.executable}\n")
    status = tidegate(environment, "status", str(folder), "--json")
    assert (status.returncode, json.loads(status.stdout)["installed"]) == (1, False)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ("--workers", "1", "--web", "--port", port)
    done = tidegate(environment, "install", str(folder), *options, "--json")
    assert done.returncode == 0, done.stderr
    installed = json.loads(done.stdout)
    assert installed["state"] == "active"
    assert "enable-linger" in installed["to_do"][0]
    workspace = Workspace.at(folder)
    deadline = time.monotonic() + 600  # it makes the pipelines' environment first
    while not workspace.busy():
        log = (tmp_path / "systemd" / "service.log").read_text()
        assert time.monotonic() < deadline, log
        time.sleep(0.2)
    while not dashboard_answers(port):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (folder / ".tidegate" / ".gitignore").read_text() == "*\n"

    removed = tidegate(environment, "remove", str(folder), "--json")
    assert json.loads(removed.stdout)["removed"] is True
    while workspace.busy():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert not Path(installed["file"]).exists()
    assert (
        json.loads(tidegate(environment, "remove", str(folder), "--json").stdout)["removed"]
        is False
    )


@pytest.mark.functional
def test_without_systemd_a_person_is_told_what_else_works(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "systemd" / "bin" / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "pipelines_config.yml").write_text("pipelines: []\n")
    done = tidegate(environment, "install", str(tmp_path))
    assert done.returncode == 2
    assert "cron" in done.stderr
    assert "Traceback" not in done.stderr
