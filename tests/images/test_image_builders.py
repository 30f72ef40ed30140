"""What builders are told, what they say, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from image_kit import Registry, docker_registry, skip_without_tools

from tidegate.deploy.images import builders
from tidegate.deploy.images.builders import (
    Build,
    Buildah,
    BuilderMissing,
    BuildFailed,
    Buildx,
    choose_builder,
    failing_step,
    run,
)
from tidegate.deploy.images.registry import Credentials
from tidegate.errors import UsageError

SECRET = "pass word$"


# --- which one ------------------------------------------------------------------------------------


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(0o755)


@pytest.fixture
def bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


WORKS = "import sys\nprint('28.0')\n"
NO_BUILDX = "import sys\nsys.exit('buildx' in sys.argv)\n"
NO_ENGINE = "import sys\nsys.exit('info' in sys.argv)\n"


@pytest.mark.functional
def test_docker_is_taken_where_it_works_else_buildah(bin: Path) -> None:
    program(bin, "buildah", WORKS)
    assert choose_builder().name == "buildah"
    program(bin, "docker", WORKS)
    assert choose_builder().name == "buildx"
    assert choose_builder("buildah").name == "buildah"
    for broken in (NO_BUILDX, NO_ENGINE):
        program(bin, "docker", broken)
        assert choose_builder().name == "buildah"


@pytest.mark.functional
@pytest.mark.parametrize(
    ("docker", "why"),
    [
        (None, "Docker is not installed, and buildah is not installed"),
        (NO_BUILDX, "Docker is installed, but buildx is not, and buildah is not installed"),
        (
            NO_ENGINE,
            "Docker is installed, but its engine does not answer, and buildah is not installed",
        ),
    ],
)
def test_what_to_install_when_there_is_none(bin: Path, docker: str | None, why: str) -> None:
    if docker:
        program(bin, "docker", docker)
    with pytest.raises(BuilderMissing) as told:
        choose_builder()
    assert told.value.why == why
    assert "apt-get install buildah" in told.value.next
    assert "CodeBuild" in told.value.next
    with pytest.raises(BuilderMissing, match=why.split(", and")[0]):
        choose_builder("buildx")
    with pytest.raises(BuilderMissing, match="buildah"):
        choose_builder("buildah")
    with pytest.raises(UsageError, match="kaniko"):
        choose_builder("kaniko")


# --- buildx: no engine here, so what docker would be told is all that can be shown ----------------

RECORDS = """
import json, os, sys
with open({log!r}, "a") as log:
    text = sys.stdin.read() if "login" in sys.argv else ""
    log.write(json.dumps([sys.argv[1:], text]) + "\\n")
if "build" in sys.argv:
    print({says!r})
    sys.exit({code})
"""


def recorded(bin: Path, says: str = "", code: int = 0) -> Path:
    log = bin.parent / "told.jsonl"
    program(bin, "docker", RECORDS.format(log=str(log), says=says, code=code))
    return log


def build(
    folder: Path, image: str = "r.example/waves:buoy-1", architecture: str = "arm64"
) -> Build:
    return Build(folder, image, architecture, {"BASE": "b@sha256:1"})


@pytest.mark.functional
def test_what_docker_is_told(bin: Path, tmp_path: Path) -> None:
    log = recorded(bin, says="#5 done")
    said: list[str] = []
    builder = Buildx()
    with builder.signed_in(Credentials("r.example", "AWS", SECRET)):
        builder.build(build(tmp_path), said.append)
    (login, password), (arguments, _) = map(json.loads, log.read_text().splitlines())
    assert login == ["login", "--username", "AWS", "--password-stdin", "r.example"]
    assert password == SECRET
    assert arguments == [
        "buildx", "build", "--progress=plain", "--platform", "linux/arm64", "--provenance=false",
        "--sbom=false", "--push", "--tag", "r.example/waves:buoy-1", "--file",
        f"{tmp_path}/Dockerfile", "--build-arg", "BASE=b@sha256:1", str(tmp_path),
    ]  # fmt: skip
    assert said == ["#5 done"]


@pytest.mark.functional
def test_files_of_a_build_are_written_to_a_folder_and_nothing_is_pushed(
    bin: Path, tmp_path: Path
) -> None:
    log = recorded(bin)
    Buildx().export(build(tmp_path), tmp_path / "out", lambda line: None)
    [[arguments, _]] = map(json.loads, log.read_text().splitlines())
    assert arguments[arguments.index("--output") + 1] == f"type=local,dest={tmp_path / 'out'}"
    assert "--network=none" in arguments
    assert not {"--push", "--tag"} & set(arguments)
    recorded(bin, code=1)
    with pytest.raises(BuildFailed, match="cannot be checked"):
        Buildx().export(
            replace(build(tmp_path), failure="it cannot be checked"), tmp_path, lambda line: None
        )


BUILDKIT = """\
#0 building with "default" instance using docker driver
#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s
#7 [pipelines 2/2] RUN --mount=type=cache,target=/root/.cache python3 /tidegate/prepare.py pipelines
#7 0.512 Using CPython 3.12.9 interpreter at: /var/lang/bin/python3
#8 [handler 1/1] RUN python3 /tidegate/prepare.py handler
#8 0.400 Resolved 9 packages in 122ms
#7 0.912   × No solution found when resolving dependencies:
#7 0.912   ╰─▶ Because there is no version of six==99 and you require six==99
#7 0.930 error: uv pip failed
#8 CANCELED
#7 ERROR: process "/bin/sh -c python3 /tidegate/prepare.py" did not complete: exit code: 1
------
 > [pipelines 2/2] RUN python3 /tidegate/prepare.py pipelines:
0.912   × No solution found when resolving dependencies:
------
Dockerfile:14
ERROR: failed to solve: process "/bin/sh -c ..." did not complete successfully: exit code: 1"""
NO_PUSH = """\
#9 exporting to image
#9 exporting layers done
#9 pushing layers
#9 ERROR: failed to push r.example/waves:buoy-1: unexpected EOF
ERROR: failed to solve: failed to push r.example/waves:buoy-1: unexpected EOF"""


@pytest.mark.functional
def test_the_cause_of_a_failed_build(bin: Path, tmp_path: Path) -> None:
    recorded(bin, says=BUILDKIT, code=1)
    with pytest.raises(BuildFailed) as told:
        Buildx().build(build(tmp_path), lambda line: None)
    assert told.value.what == "the image waves:buoy-1 cannot be built"
    assert told.value.why.splitlines() == [
        "Using CPython 3.12.9 interpreter at: /var/lang/bin/python3",
        "  × No solution found when resolving dependencies:",
        "  ╰─▶ Because there is no version of six==99 and you require six==99",
        "error: uv pip failed",
    ]


@pytest.mark.functional
def test_a_failed_push_says_so(bin: Path, tmp_path: Path) -> None:
    recorded(bin, says=NO_PUSH, code=1)
    with pytest.raises(BuildFailed) as told:
        Buildx().build(build(tmp_path), lambda line: None)
    assert "could not be pushed" in told.value.what
    assert "unexpected EOF" in told.value.why
    assert "try again" in told.value.next


@pytest.mark.functional
@pytest.mark.parametrize(
    ("line", "next"),
    [
        ("exec /bin/sh: exec format error", "cannot run programs for arm64"),
        ("write /x: no space left on device", "free some space"),
    ],
)
def test_causes_that_have_a_remedy(bin: Path, tmp_path: Path, line: str, next: str) -> None:
    recorded(bin, says=f"#4 [2/3] RUN x\n#4 0.1 {line}\n#4 ERROR: exit code: 1", code=1)
    with pytest.raises(BuildFailed) as told:
        Buildx().build(build(tmp_path), lambda line: None)
    assert next in told.value.next


FAILED = 'building at STEP "RUN y": exit status 1'
LONG = "RUN --mount=type=cache,target=/root/.cache python3 /tidegate/prepare.py"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (["STEP 1/2: FROM x", "STEP 2/2: RUN y", "boom", f"error {FAILED}"], ["boom"]),
        (
            ["[1/2] STEP 2/2: RUN y", "a", "b", "subprocess exited with status 1", "", FAILED],
            ["a", "b", FAILED],
        ),
        (["[2/2] STEP 1/1: RUN y", "a", f"Error: error {FAILED}"], ["a"]),
        (
            ["[1/3] STEP 2/2: RUN y", "a", "[2/3] STEP 1/2: FROM z", f"Error: {FAILED}"],
            ["a"],
        ),
        (
            [
                f"[3/4] STEP 2/2: {LONG} pipelines",
                "boom",
                f"[2/4] STEP 2/2: {LONG} handler",
                f'Error: building at STEP "{LONG} pipelines": exit status 1',
            ],
            ["boom"],
        ),
        (["STEP 1/1: FROM gone", "Error: manifest unknown"], ["Error: manifest unknown"]),
        (["#3 [1/2] FROM gone", "#3 ERROR: gone: not found"], ["ERROR: gone: not found"]),
        ([], []),
    ],
)
def test_the_step_that_failed(output: list[str], expected: list[str]) -> None:
    assert failing_step(output) == expected


# --- running --------------------------------------------------------------------------------------


@pytest.mark.functional
def test_output_is_passed_on_as_it_comes() -> None:
    script = "import sys, time; print('one', flush=True); time.sleep(0.5); "
    script += "print('two', sys.stdin.read(), file=sys.stderr)"
    came: list[tuple[str, float]] = []
    code, output = run(
        [sys.executable, "-c", script], lambda line: came.append((line, time.monotonic())),
        input="in",
    )  # fmt: skip
    assert (code, output) == (0, ["one", "two in"])
    assert came[1][1] - came[0][1] > 0.3
    assert run([sys.executable, "-c", "import sys; sys.exit(7)"], print) == (7, [])
    # One that does not read what it is given.
    assert run([sys.executable, "-c", "pass"], print, input="x" * 1_000_000) == (0, [])


_INTERRUPTED = """
import sys
from tidegate.deploy.images.builders import run
try:
    run(sys.argv[1:], lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


@pytest.mark.functional
@pytest.mark.parametrize("stubborn", [False, True])
def test_ctrl_c_ends_all_that_was_started(
    stubborn: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN);" if stubborn else ""
    child = f"import os, signal, time; {ignore} print(os.getpid(), flush=True); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    script = _INTERRUPTED
    if stubborn:  # do not wait ten seconds for it
        script = "from tidegate.deploy.images import builders\nbuilders._GRACE = 0.3\n" + script
    process = subprocess.Popen(
        [sys.executable, "-c", script, sys.executable, "-c", parent],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert alive(pid)
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == "interrupted\n"
    assert process.wait(120) == 0
    process.stdout.close()
    deadline = time.monotonic() + 120
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


# --- buildah, for real ----------------------------------------------------------------------------

# A password's hash as docker-registry wants it: bcrypt, of SECRET.
HTPASSWD = "AWS:$2b$04$JCHly6zkwTXe2/BR6AMDgeVYM2TsySxlq3U69oSqMGjmzNdmedm.y\n"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An image from nothing, which takes no time to build."""
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM scratch\nCOPY file /file\n")
    (tmp_path / "file").write_text("x")
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_buildah_builds_and_pushes(here: Path, registry: Registry) -> None:
    said: list[str] = []
    builder = Buildah()
    with builder.signed_in(None):
        builder.build(build(here, f"{registry.host}/a/b:c", "x86_64"), said.append)
    manifest = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/a/b:c"],
        capture_output=True,
        check=True,
    )
    told = json.loads(manifest.stdout)
    assert "manifests" not in told, "Lambda takes a plain image only"
    assert len(told["layers"]) == 1
    assert any(line.startswith("STEP 2/2") for line in said)


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_buildah_tells_the_cause(here: Path, registry: Registry) -> None:
    builder = Buildah()
    (here / "Dockerfile").write_text("FROM scratch\nCOPY gone /file\n")
    with builder.signed_in(None), pytest.raises(BuildFailed) as told:
        builder.build(build(here, f"{registry.host}/a/b:d", "x86_64"), lambda line: None)
    assert "gone" in told.value.why
    assert "no such file" in told.value.why


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_registry_that_is_gone_and_comes_back(here: Path, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    builder = Buildah()
    with docker_registry(tmp_path / "registry") as running:
        port = int(running.host.split(":")[1])
    image = build(here, f"127.0.0.1:{port}/a/b:c", "x86_64")
    with builder.signed_in(None), pytest.raises(BuildFailed) as told:
        builder.build(image, lambda line: None)
    assert "could not be pushed" in told.value.what
    assert "refused" in told.value.why
    said: list[str] = []
    with docker_registry(tmp_path / "registry", port), builder.signed_in(None):
        builder.build(image, said.append)
    assert any("Using cache" in line for line in said), "what is built is not built again"


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[str]:
    """A registry that wants a password."""
    (folder / "htpasswd").write_text(HTPASSWD)
    more = f"auth: {{htpasswd: {{realm: it, path: {folder}/htpasswd}}}}\n"
    with docker_registry(folder, more=more) as running:
        yield running.host


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_passwords_are_in_no_command_and_in_no_file_that_stays(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    real = builders.subprocess.Popen

    def popen(command: list[str], **more: object) -> object:
        commands.append(" ".join(map(str, command)))
        return real(command, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(builders.subprocess, "Popen", popen)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    for name in ("home", "runtime", "tmp", "registry"):
        (tmp_path / name).mkdir()
    builder = Buildah()
    with guarded(tmp_path / "registry") as host:
        image = build(here, f"{host}/a/b:c", "x86_64")
        wrong = Credentials(host, "AWS", "wrong")
        with pytest.raises(BuildFailed, match="cannot sign in"), builder.signed_in(wrong):
            pass
        with builder.signed_in(None), pytest.raises(BuildFailed, match="could not be pushed"):
            builder.build(image, lambda line: None)
        with builder.signed_in(Credentials(host, "AWS", SECRET)):
            builder.build(image, lambda line: None)
            with Buildah().signed_in(None):
                pass
    assert any("login" in command for command in commands)
    assert not [command for command in commands if SECRET in command]
    left = [p for name in ("home", "runtime", "tmp") for p in (tmp_path / name).rglob("auth*")]
    assert not left


_SLOW_BUILD = """
import sys
from pathlib import Path
from tidegate.deploy.images.builders import Build, Buildah
builder = Buildah()
try:
    with builder.signed_in(None):
        builder.build(
            Build(Path(sys.argv[1]), sys.argv[2], "x86_64", {"BASE": sys.argv[3]}),
            lambda line: print(line, flush=True),
        )
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_ctrl_c_in_a_build_and_another_try(tmp_path: Path, base: str, registry: Registry) -> None:
    mark = f"sleep 6{os.getpid()}"
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"ARG BASE\nFROM ${{BASE}}\nRUN echo begun && {mark}\n")
    image = f"{registry.host}/a/interrupted:1"
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW_BUILD, tmp_path, image, base],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line == "begun\n":
            break
    process.send_signal(signal.SIGINT)
    assert process.stdout.read().endswith("interrupted\n")
    assert process.wait(120) == 0
    process.stdout.close()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert mark not in running.stdout
    dockerfile.write_text("ARG BASE\nFROM ${BASE}\nRUN echo begun\n")
    builder = Buildah()
    with builder.signed_in(None):
        builder.build(Build(tmp_path, image, "x86_64", {"BASE": base}), lambda line: None)


def test_without_the_packages_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(pytest.skip.Exception, match=r"run scripts/test_packages\.sh as root"):
        skip_without_tools()
