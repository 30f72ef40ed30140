"""A base image, a registry and a store of buildah's for the tests, all of this machine.

The base image is Debian with what Lambda's has: Python, its runtime interface client below
``/var/runtime``, ``/var/task``, and the entry point. It is kept in ``.images``, since debootstrap
takes half a minute.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import inspect
import json
import math
import os
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv
from ministack_process import WATCHDOG

from tidegate.deploy.images.base_image import remote_digest
from tidegate.errors import StorageError

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".images"
NEEDED = ("buildah", "skopeo", "debootstrap", "docker-registry")
NOBODY = "993:990"
"""The user that Lambda's functions run as."""
PYTHON = "3.11"  # Debian bookworm's

# As AWS's own does: https://docs.aws.amazon.com/lambda/latest/dg/python-image.html
_BOOTSTRAP = """\
import os, sys
if "PYTHONPATH" not in os.environ:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    sys.path[0:0] = [
        os.environ["LAMBDA_TASK_ROOT"],
        f"/opt/python/lib/python{version}/site-packages",
        "/opt/python",
    ]
from awslambdaric.__main__ import main
main(["bootstrap", os.environ["_HANDLER"]])
"""
_ENTRYPOINT = """\
#!/bin/sh
export _HANDLER="$1"
exec /usr/bin/python3 /var/runtime/bootstrap.py
"""
_CONFIG = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
}
_CA = "/etc/ssl/certs/ca-certificates.crt"


def skip_without_tools() -> None:
    """Skip where Debian's packages are not here, or we may not use them."""
    missing = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: run scripts/test_packages.sh as root")
    if os.geteuid() != 0:
        pytest.skip("images are built as root here: debootstrap and chroot ask for it")


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def command(*arguments: str | Path, **more: object) -> str:
    """Run a command that must succeed; what it says."""
    done = subprocess.run(
        list(map(str, arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        check=False,
        **more,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout[-3000:]}"
    return str(done.stdout)


# --- the base image -------------------------------------------------------------------------------


def base_archive() -> Path:
    """The base image's files as a tar archive, made where it is not there.

    It takes a minute of two cores: the processes of pytest-xdist wait for the one that makes it.
    """
    recipe = inspect.getsource(_make_base) + _BOOTSTRAP + _ENTRYPOINT
    name = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    archive = KEPT / f"base-{name}.tar"
    KEPT.mkdir(exist_ok=True)
    with open(KEPT / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _make_archive(archive)
    return archive


def _make_archive(archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        _make_base(Path(folder) / "root")
        part = Path(folder) / "base.tar"
        command("tar", "-C", Path(folder) / "root", "-cf", part, ".")
        part.rename(archive)


def _make_base(root: Path) -> None:
    packages = "--include=python3,python3-pip,ca-certificates"
    environment = {**os.environ, "PATH": _path()}
    command("debootstrap", "--variant=minbase", packages, "bookworm", root, env=environment)
    for name in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt"):
        shutil.rmtree(root / name, ignore_errors=True)
    for path in (root / "var/lib/apt/lists").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    client = [uv.find_uv_bin(), "pip", "install", "--quiet", "--target", root / "var/runtime"]
    command(*client, "--python-version", PYTHON, "--only-binary", ":all:", "awslambdaric>=3")
    (root / "var/runtime/bootstrap.py").write_text(_BOOTSTRAP)
    (root / "lambda-entrypoint.sh").write_text(_ENTRYPOINT)
    (root / "lambda-entrypoint.sh").chmod(0o755)
    (root / "var/task").mkdir()
    trusted = Path(os.environ.get("SSL_CERT_FILE", ""))
    if trusted.is_file():  # a machine behind a proxy of its own
        shutil.copyfile(trusted, f"{root}{_CA}")


def push_base(archive: Path, name: str) -> None:
    """Have a registry serve the base image under that name."""
    container = command("buildah", "from", "scratch").split()[-1]
    command("buildah", "add", "--quiet", container, archive, "/")
    config = [part for pair in _CONFIG.items() for part in ("--env", "=".join(pair))]
    config += ["--env", f"SSL_CERT_FILE={_CA}", "--env", f"PIP_CERT={_CA}"]
    entry = ["--entrypoint", '["/lambda-entrypoint.sh"]', "--workingdir", "/var/task"]
    command("buildah", "config", *config, *entry, container)
    tls = "--tls-verify=false"
    command("buildah", "commit", "--quiet", "--rm", tls, container, f"docker://{name}")


# --- registry and store ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Registry:
    """A running docker-registry."""

    host: str
    process: subprocess.Popen[bytes]
    folder: Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def docker_registry(folder: Path, port: int | None = None, more: str = "") -> Iterator[Registry]:
    """Debian's docker-registry on a port of its own, with its images in ``folder``.

    It ends with the block, or with this process.
    """
    folder.mkdir(exist_ok=True)
    host = f"127.0.0.1:{port or free_port()}"
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/images}}}}\nhttp: {{addr: {host}}}\n"
        + more
    )
    with (folder / "registry.log").open("ab") as log:
        process = subprocess.Popen(
            [*WATCHDOG, "docker-registry", "serve", config],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            if _answers(host):
                break
            assert process.poll() is None, (folder / "registry.log").read_text()
            assert time.monotonic() < deadline, "the registry does not start"
            time.sleep(0.05)
        yield Registry(host, process, folder)
    finally:
        process.communicate()  # closes its standard input, which ends it


def _answers(host: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(tuple(host.split(":")), 2):
        return True
    return False


@contextlib.contextmanager
def buildah_store(folder: Path) -> Iterator[None]:
    """A store of buildah's that is nobody else's, and is gone afterwards."""
    folder.mkdir(exist_ok=True)
    config = folder / "storage.conf"
    places = f'graphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    config.write_text(f'[storage]\ndriver = "{_driver()}"\n{places}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(config))
        try:
            yield
        finally:
            subprocess.run(["buildah", "rm", "--all"], capture_output=True, check=False)
            for mount in Path("/proc/mounts").read_text().splitlines():
                place = mount.split()[1]
                if place.startswith(str(folder)):
                    subprocess.run(["umount", "--lazy", place], check=False)
            shutil.rmtree(folder, ignore_errors=True)


def _driver() -> str:
    """What buildah itself takes here; where overlays cannot be mounted, that is nothing."""
    done = subprocess.run(["buildah", "info"], capture_output=True, text=True, check=False)
    return "overlay" if '"GraphDriverName": "overlay"' in done.stdout else "vfs"


# --- running --------------------------------------------------------------------------------------


@contextlib.contextmanager
def container(image: str) -> Iterator[str]:
    """A container of an image, pulled anew from its registry."""
    name = command(
        "buildah", "from", "--quiet", "--pull-always", "--tls-verify=false", f"docker://{image}"
    ).split()[-1]
    try:
        yield name
    finally:
        command("buildah", "rm", name)


def inside(
    container: str,
    *arguments: str,
    user: str = "0",
    volumes: Mapping[Path, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Sequence[str]:
    """The command that runs another one in a container, chrooted, with the image's environment."""
    options = [f"--volume={source}:{place}" for source, place in (volumes or {}).items()]
    options += [f"--env={name}={value}" for name, value in (environment or {}).items()]
    chroot = ["buildah", "run", "--isolation", "chroot", "--user", user, *options]
    return [*chroot, container, "--", *arguments]


def says(container: str, *arguments: str, user: str = NOBODY) -> str:
    """What a command in a container says; it must succeed.

    By way of a file: on a busy machine `buildah run` may lose what is said last.
    """
    shell = 'exec "$@" > /tmp/said 2>&1'
    said = Path(mounted(container)) / "tmp" / "said"
    said.unlink(missing_ok=True)
    done = subprocess.run(
        inside(container, "sh", "-c", shell, "sh", *arguments, user=user),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    text = said.read_text("utf-8", "replace")
    assert done.returncode == 0, f"{arguments}\n{text}\n{done.stderr!r}"
    return text


def mounted(container: str) -> str:
    """Where a container's files are."""
    return command("buildah", "mount", container).splitlines()[-1]


@dataclass(frozen=True)
class Served:
    """The images of one name in a docker-registry, as a release sees them."""

    host: str
    name: str = "waves-main"

    @property
    def address(self) -> str:
        return f"{self.host}/{self.name}"

    def credentials(self) -> None:
        """Nobody asks."""

    def digests(self, tags: Iterable[str]) -> dict[str, str]:
        found = {}
        for tag in tags:
            with contextlib.suppress(StorageError):
                found[tag] = remote_digest(f"{self.address}:{tag}")
        return found

    def present(self, digests: Iterable[str]) -> frozenset[str]:
        raise NotImplementedError("nobody rolls back here")

    def move(self, tag: str, digest: str) -> None:
        raise NotImplementedError("nobody looks here")

    def layers(self, digest: str) -> list[str]:
        """The layers of an image, from the base on."""
        told = command(
            "skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{self.address}@{digest}"
        )
        return [layer["digest"] for layer in json.loads(told)["layers"]]


@contextlib.contextmanager
def weak_line(to: str) -> Iterator[WeakLine]:
    """A way to a server on this machine that can be cut while something is on it."""
    host, port = to.split(":")
    with WeakLine((host, int(port))) as line:
        threading.Thread(target=line.serve_forever, daemon=True).start()
        try:
            yield line
        finally:
            line.shutdown()


class WeakLine(socketserver.ThreadingTCPServer):
    """Passes bytes on, until it has passed on as many as it may."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, to: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.to = to
        self.left: float = math.inf
        self.cuts = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.BaseRequestHandler):
    server: WeakLine

    def handle(self) -> None:
        with socket.create_connection(self.server.to) as there:
            back = threading.Thread(target=self._pass, args=(there, self.request), daemon=True)
            back.start()
            self._pass(self.request, there, counted=True)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                if counted:
                    self.server.left -= len(data)
                    if self.server.left < 0:
                        self.server.cuts += 1
                        break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
