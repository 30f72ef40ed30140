"""What builds images and pushes them: Docker's buildx, or buildah where there is no Docker."""

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
    """There is nothing on this machine that builds images."""

    exit_code = 3


class BuildFailed(TidegateError):
    """An image could not be built, or not be pushed."""

    def __init__(self, what: str, *, why: str = "", next: str = "", output: str = "") -> None:
        self.output = output
        """What the step that failed has said."""
        super().__init__(what, why=why, next=next)


@dataclass(frozen=True)
class Build:
    """One image to be built and pushed."""

    context: Path
    """The folder that it is built from, with its ``Dockerfile``."""
    image: str
    """Its full name, with its tag."""
    architecture: str
    """Its processor: ``x86_64`` or ``arm64``."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """The Dockerfile's arguments."""

    @property
    def platform(self) -> str:
        """The processor as builders call it."""
        return _PLATFORMS[self.architecture]


class Builder(Protocol):
    """Builds images and pushes them."""

    name: str
    """``buildx`` or ``buildah``."""

    def signed_in(self, credentials: Credentials | None) -> contextlib.AbstractContextManager[None]:
        """Be signed in to a registry for as long as the context lasts.

        Raises:
            BuildFailed: the registry does not take the credentials.
        """

    def build(self, build: Build, say: Say) -> None:
        """Build an image and push it; ``say`` gets all output, a line at a time.

        Raises:
            BuildFailed: with the cause, as far as the output tells it.
        """


def choose_builder(name: str | None = None) -> Builder:
    """The builder of that name, or the first that works here.

    Raises:
        BuilderMissing: it is not here, or none is.
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
        reasons.append("there is no buildah")
    raise BuilderMissing(
        "images cannot be built on this machine",
        why=", and ".join(reasons),
        next="install Docker with buildx (docs.docker.com/get-docker), or on Linux "
        "`apt-get install buildah`; or leave it to CodeBuild: `tidegate deploy BRANCH`",
    )


def _no_buildx() -> str:
    """Why Docker cannot be used, "" when it can."""
    if not shutil.which("docker"):
        return "there is no docker"
    if _answers(["docker", "buildx", "version"]) is None:
        return "docker is here, but not its buildx"
    if not _answers(["docker", "info", "--format", "{{.ServerVersion}}"]):
        return "docker is here, but its engine does not answer"
    return ""


def _answers(command: Process) -> str | None:
    """What a command says; None when it fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout.strip()
    return None


class Buildx:
    """``docker buildx``. Its own cache is enough: environments are images in the registry."""

    name = "buildx"

    @contextlib.contextmanager
    def signed_in(self, credentials: Credentials | None) -> Iterator[None]:
        """By ``docker login``: Docker keeps the password where it keeps others."""
        if credentials is not None:
            _sign_in(["docker", "login"], credentials)
        yield

    def build(self, build: Build, say: Say) -> None:
        """Build and push in one go. Lambda takes a plain image only: no attestations."""
        command = ["docker", "buildx", "build", "--progress=plain", "--platform", build.platform]
        command += ["--provenance=false", "--sbom=false", "--push", "--tag", build.image]
        command += _arguments(build)
        code, output = run([*command, str(build.context)], say)
        if code:
            step = failing_step(output)
            pushing = any(re.search(r"failed to push|ERROR.*\bexporting\b", x) for x in output)
            raise _failed(build, step, pushing=pushing)


class Buildah:
    """``buildah``, which needs neither a service nor the right to run containers."""

    name = "buildah"

    def __init__(self) -> None:
        self._authfile: Path | None = None
        self._driver: tuple[str, ...] | None = None

    @contextlib.contextmanager
    def signed_in(self, credentials: Credentials | None) -> Iterator[None]:
        """The password lies in a file that only we can read, and not for longer than needed."""
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

    def _at(self, host: str) -> list[str]:
        tls = [f"--tls-verify={'false' if is_loopback(host) else 'true'}"]
        return [*tls, "--authfile", str(self._authfile)] if self._authfile else tls

    def _storage(self) -> tuple[str, ...]:
        """Overlays where the system allows them, which is much quicker; else plain copies."""
        if self._driver is None:
            chosen = os.environ.get("STORAGE_DRIVER") or _answers(["buildah", "info"])
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
            next="try again; if it lasts, sign in to AWS again",
        )


def _failed(build: Build, step: Sequence[str], *, pushing: bool) -> BuildFailed:
    name = build.image.rsplit("/", 1)[-1]
    why = "\n".join(step[-_SHOWN:])
    if pushing:
        return BuildFailed(
            f"the image {name} is built, but could not be pushed",
            why=why,
            next="try again: what is built is not built again",
            output="\n".join(step),
        )
    next = "correct what it complains about, and try again"
    machine = platform.machine()
    if "exec format error" in why.lower():
        next = (
            f"this machine ({machine}) cannot run programs for {build.architecture}: build on one "
            "that can, or install QEMU's binfmt handlers"
        )
    elif "no space left" in why.lower():
        next = "free some space, as with `docker system prune` or `buildah rmi --prune`"
    return BuildFailed(
        f"the image {name} cannot be built", why=why, next=next, output="\n".join(step)
    )


# --- what builders say ----------------------------------------------------------------------------


def failing_step(output: Sequence[str]) -> list[str]:
    """The lines of the step that failed, without what a builder puts around them."""
    failed = next(
        (m[1] for line in reversed(output) if (m := re.match(r"#(\d+) ERROR", line))), None
    )
    if failed is not None:  # BuildKit numbers the lines of each step
        told = [m[1] for line in output if (m := re.match(rf"#{failed} (?:[\d.]+ )?(.*)", line))]
        return [t for t in told if not re.match(r"\[|CANCELED|DONE|ERROR: process ", t)]
    starts = [n for n, line in enumerate(output) if _STEP.match(line)]
    begin = _failing_start(output, starts)
    end = next((n for n in starts if n > begin), len(output))
    noise = r"(error|Error:?) .*building at STEP|subprocess exited|exit status|time=|\s*$"
    said = [text for text in output[begin + 1 : end] if not re.match(noise, text)]
    return said or [text for text in output[-3:] if text.strip()]


def _failing_start(output: Sequence[str], starts: Sequence[int]) -> int:
    """Where the step begins that buildah names as the one that failed, or the last one.

    Another stage may have begun before it says so.
    """
    for line in reversed(output):
        named = re.search(r'building at STEP "((?:\\"|[^"]){1,60})', line)
        if named:
            text = named[1].replace('\\"', '"')
            return next((n for n in reversed(starts) if text in output[n]), starts[-1])
    return starts[-1] if starts else -1


def run(command: Process, say: Say, *, input: str = "") -> tuple[int, list[str]]:
    """Run a command in a process group of its own, and pass on what it says.

    Returns its exit code and its last lines. However this ends, by Ctrl-C too, the whole group
    has ended then.
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
            with contextlib.suppress(BrokenPipeError):  # it has ended: its exit code tells
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
    """End a process and all that it has started: kindly, for builders clean up after themselves."""
    for kind, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
