"""Programs that build and push images: Docker's buildx, or buildah if there is no Docker."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tidegate.deploy.core.hosts import is_loopback
from tidegate.deploy.images.registry import Credentials
from tidegate.errors import TidegateError, UsageError

Say = Callable[[str], None]
Process = Sequence[str]

_SHOWN = 15
_KEPT = 2000
_PROBE = 20.0
_GRACE = 10.0
_STEP = re.compile(r"(\[\S+\] )?STEP \d+")
_PLATFORMS = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}


class BuilderMissing(TidegateError):
    """No program on this machine can build images."""

    exit_code = 3


class BuildFailed(TidegateError):
    """An image could not be built or pushed."""

    def __init__(self, what: str, *, why: str = "", next: str = "", output: str = "") -> None:
        self.output = output
        """The output of the step that failed."""
        super().__init__(what, why=why, next=next)


@dataclass(frozen=True)
class Build:
    """One image to be built and pushed."""

    context: Path
    """The folder with its ``Dockerfile``, from which it is built."""
    image: str
    """Its full name, with its tag."""
    architecture: str
    """Its processor: ``x86_64`` or ``arm64``."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """The Dockerfile's arguments."""
    failure: str = ""
    """What failed, in words, if the build fails; otherwise the image is named."""

    @property
    def platform(self) -> str:
        """The name of the processor for builders."""
        return _PLATFORMS[self.architecture]


class Builder(Protocol):
    """Builds images and pushes them."""

    name: str
    """``buildx`` or ``buildah``."""

    def signed_in(self, credentials: Credentials | None) -> contextlib.AbstractContextManager[None]:
        """Sign in to a registry for the duration of the context.

        Raises:
            BuildFailed: the registry rejects the credentials.
        """

    def build(self, build: Build, say: Say) -> None:
        """Build an image and push it; ``say`` gets all output, a line at a time.

        Raises:
            BuildFailed: with the cause, as far as it is in the output.
        """

    def export(self, build: Build, folder: Path, say: Say) -> None:
        """Build, without a network if the builder can, and write the files of the last stage to a
        folder; no image is made.

        Raises:
            BuildFailed: with the cause, as far as it is in the output.
        """


def choose_builder(name: str | None = None) -> Builder:
    """The builder of that name, or the first that works here.

    Raises:
        BuilderMissing: it is not installed, or none is.
        UsageError: there is no builder of that name.
    """
    if name not in (None, "buildx", "buildah"):
        raise UsageError(f"there is no builder {name}", next="name buildx or buildah")
    reasons = []
    if name in (None, "buildx"):
        reason = _no_buildx()
        if not reason:
            return Buildx()
        reasons.append(reason)
    if name in (None, "buildah"):
        if shutil.which("buildah"):
            return Buildah()
        reasons.append("buildah is not installed")
    raise BuilderMissing(
        "images cannot be built on this machine",
        why=", and ".join(reasons),
        next="install Docker with buildx (docs.docker.com/get-docker), or on Linux "
        "`apt-get install buildah`; or let CodeBuild build them: `tidegate deploy BRANCH`",
    )


def _no_buildx() -> str:
    """Why Docker cannot be used; "" if it can."""
    if not shutil.which("docker"):
        return "Docker is not installed"
    if _output_of(["docker", "buildx", "version"]) is None:
        return "Docker is installed, but buildx is not"
    if not _output_of(["docker", "info", "--format", "{{.ServerVersion}}"]):
        return "Docker is installed, but its engine does not answer"
    return ""


def _output_of(command: Process) -> str | None:
    """The output of a command; None if it fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout.strip()
    return None


class Buildx:
    """``docker buildx``. It needs no remote cache: environments are images in the registry."""

    name = "buildx"

    @contextlib.contextmanager
    def signed_in(self, credentials: Credentials | None) -> Iterator[None]:
        """Sign in with ``docker login``: Docker stores the password where it stores others."""
        if credentials is not None:
            _sign_in(["docker", "login"], credentials)
        yield

    def build(self, build: Build, say: Say) -> None:
        """Build and push in one command, without attestations: Lambda accepts only plain images."""
        command = ["docker", "buildx", "build", "--progress=plain", "--platform", build.platform]
        command += ["--provenance=false", "--sbom=false", "--push", "--tag", build.image]
        command += _arguments(build)
        code, output = run([*command, str(build.context)], say)
        if code:
            step = failing_step(output)
            pushing = any(re.search(r"failed to push|ERROR.*\bexporting\b", x) for x in output)
            raise _failed(build, step, pushing=pushing)

    def export(self, build: Build, folder: Path, say: Say) -> None:
        """Build with the same layers as images, which are here already if they were just built."""
        command = ["docker", "buildx", "build", "--progress=plain", "--platform", build.platform]
        command += ["--provenance=false", "--sbom=false", "--network=none"]
        command += ["--output", f"type=local,dest={folder}"]
        code, output = run([*command, *_arguments(build), str(build.context)], say)
        if code:
            raise _failed(build, failing_step(output), pushing=False)


class Buildah:
    """``buildah``, which needs neither a service nor permission to run containers."""

    name = "buildah"

    def __init__(self) -> None:
        self._authfile: Path | None = None
        self._driver: tuple[str, ...] | None = None

    @contextlib.contextmanager
    def signed_in(self, credentials: Credentials | None) -> Iterator[None]:
        """Sign in with a password file that only this user can read and that is deleted again."""
        with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
            self._authfile = Path(folder) / "auth.json"
            self._authfile.write_text("{}", "utf-8")
            try:
                if credentials is not None:
                    _sign_in(["buildah", "login", *self._at(credentials.host)], credentials)
                yield
            finally:
                self._authfile = None

    def build(self, build: Build, say: Say) -> None:
        """Build, then push."""
        buildah = ["buildah", *self._storage()]
        at = self._at(build.image.split("/")[0])
        command = [*buildah, "bud", "--isolation", "chroot", "--layers", *at]
        command += ["--platform", build.platform, "--tag", build.image, *_arguments(build)]
        code, output = run([*command, str(build.context)], say)
        if code:
            raise _failed(build, failing_step(output), pushing=False)
        say(f"pushing {build.image}")
        code, output = run([*buildah, "push", *at, build.image, f"docker://{build.image}"], say)
        if code:
            raise _failed(build, failing_step(output), pushing=True)

    def export(self, build: Build, folder: Path, say: Say) -> None:
        """Build without keeping layers. Where containers are not allowed, there is no network of
        their own that could be taken away."""
        command = ["buildah", *self._storage(), "bud", "--isolation", "chroot"]
        command += self._at(build.image.split("/")[0])
        command += ["--platform", build.platform, "--output", f"type=local,dest={folder}"]
        code, output = run([*command, *_arguments(build), str(build.context)], say)
        if code:
            raise _failed(build, failing_step(output), pushing=False)

    def _at(self, host: str) -> list[str]:
        tls = [f"--tls-verify={'false' if is_loopback(host) else 'true'}"]
        return [*tls, "--authfile", str(self._authfile)] if self._authfile else tls

    def _storage(self) -> tuple[str, ...]:
        """Use overlays if the system allows them, which is much faster; otherwise plain copies."""
        if self._driver is None:
            chosen = os.environ.get("STORAGE_DRIVER") or _output_of(["buildah", "info"])
            self._driver = () if chosen else ("--storage-driver", "vfs")
        return self._driver


def _arguments(build: Build) -> list[str]:
    named = [("--build-arg", f"{name}={value}") for name, value in build.arguments.items()]
    file = ["--file", str(build.context / "Dockerfile")]
    return [*file, *(part for pair in named for part in pair)]


def _sign_in(command: Process, credentials: Credentials) -> None:
    arguments = [*command, "--username", credentials.user, "--password-stdin", credentials.host]
    code, output = run(arguments, lambda line: None, input=credentials.password)
    if code:
        raise BuildFailed(
            f"cannot sign in to {credentials.host}",
            why=" ".join(output[-3:]) or f"{command[0]} ended with {code}",
            next="try again; if it fails again, sign in to AWS again",
        )


def _failed(build: Build, step: Sequence[str], *, pushing: bool) -> BuildFailed:
    name = build.image.rsplit("/", 1)[-1]
    why = "\n".join(step[-_SHOWN:])
    if pushing:
        return BuildFailed(
            f"the image {name} is built, but could not be pushed",
            why=why,
            next="try again: the image is not built again",
            output="\n".join(step),
        )
    next = "fix the problem, and try again"
    machine = platform.machine()
    if "exec format error" in why.lower():
        next = (
            f"this machine ({machine}) cannot run programs for {build.architecture}: build on one "
            "that can, or install QEMU's binfmt handlers"
        )
    elif "no space left" in why.lower():
        next = "free some space, as with `docker system prune` or `buildah rmi --prune`"
    what = build.failure or f"the image {name} cannot be built"
    return BuildFailed(what, why=why, next=next, output="\n".join(step))


# --- the output of builders -----------------------------------------------------------------------


def failing_step(output: Sequence[str]) -> list[str]:
    """The output of the step that failed, without the builder's own lines."""
    failed = next(
        (m[1] for line in reversed(output) if (m := re.match(r"#(\d+) ERROR", line))), None
    )
    if failed is not None:  # BuildKit numbers the lines of each step
        lines = [m[1] for line in output if (m := re.match(rf"#{failed} (?:[\d.]+ )?(.*)", line))]
        return [t for t in lines if not re.match(r"\[|CANCELED|DONE|ERROR: process ", t)]
    starts = [n for n, line in enumerate(output) if _STEP.match(line)]
    begin = _failing_start(output, starts)
    end = next((n for n in starts if n > begin), len(output))
    noise = r"(error|Error:?) .*building at STEP|subprocess exited|exit status|time=|\s*$"
    lines = [text for text in output[begin + 1 : end] if not re.match(noise, text)]
    return lines or [text for text in output[-3:] if text.strip()]


def _failing_start(output: Sequence[str], starts: Sequence[int]) -> int:
    """Where the step starts that buildah says has failed, or the last step.

    Another stage may have started before buildah says so.
    """
    for line in reversed(output):
        named = re.search(r'building at STEP "((?:\\"|[^"]){1,200})', line)
        if named:
            text = named[1].replace('\\"', '"')
            return next((n for n in reversed(starts) if text in output[n]), starts[-1])
    return starts[-1] if starts else -1


def run(command: Process, say: Say, *, input: str = "") -> tuple[int, list[str]]:
    """Run a command in its own process group, and pass on its output.

    Returns its exit code and its last lines. The whole group has always ended when this returns or
    raises, after Ctrl-C too.
    """
    kept: deque[str] = deque(maxlen=_KEPT)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # it has ended: see its exit code
                process.stdin.write(input)
                process.stdin.close()
            for line in process.stdout:
                kept.append(line.rstrip("\n"))
                say(kept[-1])
            process.wait()
        except BaseException:
            _end(process)
            raise
    return process.returncode, list(kept)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and its children; SIGTERM first, so that builders can clean up."""
    for kind, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
