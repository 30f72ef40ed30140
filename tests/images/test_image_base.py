"""Which base image, and its digest from a registry that is really asked."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from image_kit import Registry, free_port
from images_samples import DIGEST, write

from tidegate.deploy.core.history import Release, ReleasedImage
from tidegate.deploy.images import base_image
from tidegate.deploy.images.base_image import read_image_recipe, remote_digest, split_reference
from tidegate.deploy.images.content import BASE, environment_content
from tidegate.errors import ConfigurationError, StorageError

OTHER = "sha256:" + "cd" * 32


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write(tmp_path / "repository")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which names a registry is asked about; none is there to be asked."""
    names: list[str] = []

    def digest(name: str) -> str:
        names.append(name)
        return DIGEST

    monkeypatch.setattr(base_image, "remote_digest", digest)
    return names


@pytest.mark.parametrize(
    ("python", "tag"),
    [
        (None, "3.12"),
        ("3.12", "3.12"),
        ("3.11", "3.11"),
        ("3.13.1", "3.13"),
        ("cpython3.11", "3.11"),
        (">=3.9", "3.12"),
        (">=3.10,<3.12", "3.11"),
        ("<3.11", "3.10"),
        ("==3.11.*", "3.11"),
        (">=3.12.4", "3.12"),
        ("~=3.13", "3.13"),
        ("3.8", "3.12"),
        ("<3.10", "3.12"),
    ],
)
def test_the_python_version_selects_it(
    repository: Path, asked: list[str], python: str | None, tag: str
) -> None:
    recipe = read_image_recipe(repository, python=python)
    assert (recipe.base, recipe.base_digest) == (f"public.ecr.aws/lambda/python:{tag}", DIGEST)
    assert asked == [recipe.base]


def test_where_micromamba_comes_from_counts_where_it_is_used(
    repository: Path, asked: list[str]
) -> None:
    mirror = "https://mirror.example.org/micromamba"
    plain = read_image_recipe(repository, micromamba=mirror)
    assert environment_content(plain) == environment_content(read_image_recipe(repository))
    (repository / "requirements.txt").unlink()
    write(repository, {"environment.yml": "dependencies: [python=3.11, adi_py]\n"})
    tags = [
        environment_content(read_image_recipe(repository, micromamba=source)).tag
        for source in (None, mirror, None)
    ]
    assert tags[0] == tags[2] != tags[1]
    assert all(name.startswith("public.ecr.aws/") for name in asked), "nothing of Docker Hub"


def test_the_repository_may_say_the_version(repository: Path, asked: list[str]) -> None:
    write(repository, {".python-version": "3.11\n"})
    assert read_image_recipe(repository).base.endswith(":3.11")
    assert read_image_recipe(repository, python="3.13").base.endswith(":3.13")


@pytest.mark.parametrize("python", ["3.7", "2.7", "/usr/bin/python3", "nonsense", "<3.8"])
def test_versions_that_pipelines_cannot_have(
    repository: Path, asked: list[str], python: str
) -> None:
    with pytest.raises(ConfigurationError) as told:
        read_image_recipe(repository, python=python)
    assert python in told.value.what
    assert told.value.why == "on AWS, pipelines can have 3.8, 3.9, 3.10, 3.11, 3.12, 3.13, 3.14"
    assert 'python: "3.12"' in told.value.next
    assert not asked


def test_conda_brings_its_own_python(repository: Path, asked: list[str]) -> None:
    write(repository, {"environment.yml": "dependencies: [python=3.10, adi_py]\n"})
    recipe = read_image_recipe(repository)
    assert recipe.base.endswith(":3.12")
    assert "python=3.10" in recipe.environment.conda_environment()


def test_releases_keep_to_the_digest_of_the_one_before(repository: Path, asked: list[str]) -> None:
    base = "public.ecr.aws/lambda/python:3.12"
    image = ReleasedImage("buoy-1", "sha256:1", {BASE: f"{base}@{OTHER}"})
    when = datetime(2026, 1, 1, tzinfo=timezone.utc)
    previous = Release("1", "c", "me", when, images={"buoy": image})
    assert read_image_recipe(repository, previous=previous).base_digest == OTHER
    assert not asked, "nobody has to be asked"
    moved = read_image_recipe(repository, previous=previous, update_base=True)
    assert (moved.base_digest, asked) == (DIGEST, [base])
    other = read_image_recipe(repository, previous=previous, python="3.13")
    assert (other.base_digest, asked[1:]) == (DIGEST, ["public.ecr.aws/lambda/python:3.13"])


def test_a_base_of_ones_own(repository: Path, asked: list[str]) -> None:
    recipe = read_image_recipe(repository, base=f"example.org/mine:1@{OTHER}")
    assert recipe.pinned_base == f"example.org/mine:1@{OTHER}"
    assert not asked
    assert environment_content(recipe).inputs[BASE] == f"example.org/mine:1@{OTHER}"
    assert read_image_recipe(repository, base="example.org/mine:1").base_digest == DIGEST


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("public.ecr.aws/lambda/python:3.12", ("public.ecr.aws", "lambda/python", "3.12")),
        ("127.0.0.1:5000/a/b", ("127.0.0.1:5000", "a/b", "latest")),
        ("localhost/a:b", ("localhost", "a", "b")),
        ("python:3.12", ("registry-1.docker.io", "library/python", "3.12")),
        ("docker.io/a/b:c", ("registry-1.docker.io", "a/b", "c")),
        ("a/b", ("registry-1.docker.io", "a/b", "latest")),
    ],
)
def test_names_as_docker_reads_them(name: str, parts: tuple[str, str, str]) -> None:
    assert split_reference(name) == parts


@pytest.mark.slow
def test_a_registry_tells_the_digest(registry: Registry, base: str) -> None:
    done = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{base}"],
        capture_output=True,
        check=True,
    )
    assert remote_digest(base) == json.loads(done.stdout)["Digest"]
    with pytest.raises(StorageError) as told:
        remote_digest(f"{registry.host}/lambda/python:9.9")
    assert "404" in told.value.why
    assert "--base" in told.value.next


# --- registries that want a token, as public.ecr.aws does for everyone ---------------------------


class Public(BaseHTTPRequestHandler):
    """Answers to those that bring a token, and says where to get one."""

    def do_HEAD(self) -> None:
        host = self.headers["Host"]
        if self.headers.get("Authorization") == "Bearer for-pull":
            self.send_response(200)
            self.send_header("Docker-Content-Digest", OTHER)
        else:
            scope = "repository:lambda/python:pull"
            realm = f'Bearer realm="http://{host}/token/",service="it",scope="{scope}"'
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic" if "private" in self.path else realm)
        self.end_headers()

    def do_GET(self) -> None:
        good = "service=it" in self.path and "scope=repository%3Alambda%2Fpython" in self.path
        body = json.dumps({"token": "for-pull" if good else "nothing"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def public() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Public) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def test_a_registry_that_wants_a_token() -> None:
    with public() as host:
        assert remote_digest(f"{host}/lambda/python:3.12") == OTHER
        with pytest.raises(StorageError, match="requires credentials"):
            remote_digest(f"{host}/private/python:3.12")


def test_a_registry_that_does_not_answer() -> None:
    with pytest.raises(StorageError) as told:
        remote_digest(f"127.0.0.1:{free_port()}/lambda/python:3.12")
    assert "refused" in told.value.why
