"""Images of a small repository, built by buildah, served by a registry, looked into."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from image_kit import Registry, Served, command, container, mounted, says, weak_line
from images_samples import MANIFEST, config, write

from tidegate.deploy.core.history import Release, ReleasedImage
from tidegate.deploy.images.base_image import read_image_recipe
from tidegate.deploy.images.builders import Build, Buildah, Builder, BuildFailed
from tidegate.deploy.images.building import (
    BuildsFailed,
    ImagesPlan,
    build_images,
    describe_images,
    plan_images,
)
from tidegate.deploy.images.content import ImageRecipe
from tidegate.errors import PythonEnvironmentError
from tidegate.runtime.manifest import Manifest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("store")]


@pytest.fixture(scope="module")
def served(registry: Registry) -> Served:
    return Served(registry.host)


class Repository:
    """A repository, and its releases so far."""

    def __init__(self, folder: Path, base: str, served: Served) -> None:
        self.folder = write(folder)
        self.base, self.served = base, served
        self.last: Release | None = None
        self.said: list[str] = []
        self.micromamba: str | None = None

    def recipe(self, **changed: Any) -> ImageRecipe:
        given = {
            "base": self.base, "python": "3.11", "package": "six", "previous": self.last,
            "micromamba": self.micromamba,
        }  # fmt: skip
        return read_image_recipe(self.folder, **{**given, **changed})

    def plan(self, manifest: Manifest = MANIFEST, **changed: Any) -> ImagesPlan:
        return plan_images(self.folder, manifest, self.recipe(**changed), self.served, self.last)

    def release(
        self, manifest: Manifest = MANIFEST, commit: str = "", builder: Builder | None = None
    ) -> dict[str, ReleasedImage]:
        self.said = []
        images = build_images(
            self.plan(manifest), self.folder, builder or Buildah(), self.served,
            say=self.said.append, commit=commit,
        )  # fmt: skip
        from datetime import datetime, timezone

        self.last = Release("1", commit, "me", datetime.now(timezone.utc), images=images)
        return images

    def write(self, **files: str) -> None:
        write(self.folder, {name.replace("__", "/"): text for name, text in files.items()})


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, base: str, served: Served) -> Repository:
    return Repository(tmp_path_factory.mktemp("repository"), base, served)


class Refuses:
    """A builder that must not be asked."""

    name = "refuses"

    def signed_in(self, credentials: object) -> Any:
        raise AssertionError("nothing is to be built")

    def build(self, build: Build, say: object) -> None:
        raise AssertionError("nothing is to be built")


def reasons(plan: ImagesPlan) -> dict[str, tuple[str, ...]]:
    return {image.pipeline: image.changes for image in plan.missing}


def test_from_release_to_release(repository: Repository, served: Served) -> None:
    plan = repository.plan()
    assert reasons(plan) == {"buoy": ("the first release",), "tides": ("the first release",)}
    assert describe_images(plan).splitlines()[0] == (
        f"the environment: {plan.environment.tag} will be built: the first release"
    )
    first = repository.release(commit="one")
    assert list(first) == ["buoy", "tides"]
    assert {image.commit for image in first.values()} == {"one"}
    assert first["buoy"].digest == served.digests([first["buoy"].tag])[first["buoy"].tag]
    layers = {name: served.layers(image.digest) for name, image in first.items()}
    assert layers["buoy"][:-1] == layers["tides"][:-1], "all share what is below the pipeline"
    assert layers["buoy"][-1] != layers["tides"][-1]

    assert repository.release(commit="two", builder=Refuses()) == first, "nothing has changed"
    assert "exists" in describe_images(repository.plan())

    # One pipeline's code: one image, of which one layer is new.
    repository.write(**{"pipelines__buoy__pipeline.py": "NAME = 'new'\n"})
    assert reasons(repository.plan()) == {"buoy": ("pipelines/buoy/ changed",)}
    second = repository.release(commit="three")
    assert second["tides"] == first["tides"]
    assert second["buoy"].commit == "three"
    assert not any(" uv " in line or "environment-" in line for line in repository.said)
    after = served.layers(second["buoy"].digest)
    assert after[:-1] == layers["buoy"][:-1]
    assert after[-1] != layers["buoy"][-1]

    # What all use: both, but no environment.
    repository.write(**{"shared__storage.yaml": "root: x\n"})
    plan = repository.plan()
    assert set(reasons(plan).values()) == {("shared/ changed",)}
    assert plan.environment.digest is not None
    third = repository.release()
    assert third.keys() == first.keys()

    # A pipeline that is new in the config, and one that is not in it any more.
    more = Manifest((config("again", "x", "pipelines/tides/config/pipeline.yaml"),))
    assert reasons(repository.plan(more)) == {"again": ("new pipeline",)}
    assert list(repository.release(more)) == ["again"]


def test_what_is_in_an_image(repository: Repository, served: Served) -> None:
    image = repository.release()["buoy"]
    with container(f"{served.address}@{image.digest}") as box:
        files = says(box, "find", "/var/task", "/opt", "-type", "f").splitlines()
        code = [name for name in files if name.startswith("/var/task/")]
        assert not [name for name in code if "test" in name or name.endswith(".md")]
        assert not [name for name in code if "/pipelines/tides/" in name]
        compiled = {name for name in files if name.endswith(".pyc")}
        for name in files:
            if name.endswith(".py") and "/bin/" not in name:
                folder, _, file = name.rpartition("/")
                assert f"{folder}/__pycache__/{file[:-3]}.cpython-311.pyc" in compiled, name
        # They count whatever the times of files are: flags 0b01 mean "hash, not checked".
        mount = Path(mounted(box))
        for name in compiled:
            assert struct.unpack("<I", (mount / name[1:]).read_bytes()[4:8]) == (1,), name

        # The pipelines' side, and the function's, each with its own packages.
        script = "import six, pipelines.buoy.pipeline as p, utils.wind, tidegate.runtime; print(p)"
        assert "/var/task/pipelines/buoy/pipeline.py" in says(box, "python", "-c", script)
        find = "import importlib.util as u; print(u.find_spec('boto3'), u.find_spec('six').origin)"
        assert says(box, "python", "-c", find).startswith("None /opt/pipelines/lib/python3.11/")
        handler = (
            "import sys; sys.path.insert(0, '/opt/python')\n"
            "import tidegate.targets.aws.function, boto3"
        )
        told = says(box, "/opt/python/bin/python", "-c", f"{handler}; print(boto3.__file__)")
        assert told.strip() == "/opt/python/boto3/__init__.py"
        assert "six==1.17.0" in says(box, "cat", "/opt/pipelines/packages.txt")
        data = says(box, "ls", "/opt/python/botocore/data").split()
        assert {"s3", "dynamodb", "sqs", "endpoints.json"} <= set(data)
        assert "ec2" not in data
        says(box, "sh", "-c", "! touch /var/task/x /opt/pipelines/x 2>/dev/null")
    inspected = json.loads(
        command("skopeo", "inspect", "--config", "--tls-verify=false",
                f"docker://{served.address}@{image.digest}")
    )  # fmt: skip
    assert inspected["config"]["Cmd"] == ["tidegate.targets.aws.lambda_handler.handler"]
    assert inspected["config"]["Entrypoint"] == ["/lambda-entrypoint.sh"], "the base image's own"
    assert inspected["architecture"] == "amd64"


def test_requirements_that_cannot_be_met(tmp_path: Path, base: str, served: Served) -> None:
    repository = Repository(tmp_path / "r", base, served)
    repository.write(**{"requirements.txt": "-r more.txt\n", "more.txt": "# it\nsix==99.0\n"})
    with pytest.raises(PythonEnvironmentError) as told:
        repository.release()
    assert told.value.where == f"{repository.folder}/more.txt:2"
    assert "there is no version of six==99.0" in told.value.why
    assert 'python: "3.12"' in told.value.next, "Lambda's 3.11 is on an old Linux"
    assert not served.digests([image.tag for image in repository.plan().images])
    repository.write(**{"more.txt": "iniconfig\n"})
    with pytest.raises(BuildFailed, match="six is not among the requirements"):
        repository.release()


def test_configs_are_checked_in_the_environment_before_anything_else_is_built(
    tmp_path: Path, base: str, registry: Registry
) -> None:
    """This environment has no Tsdat, which is the answer."""
    served = Served(registry.host, "checked")
    repository = Repository(tmp_path / "r", base, served)
    plan, files = repository.plan(), [config.config_file for config in MANIFEST.configs]
    with pytest.raises(PythonEnvironmentError, match="tsdat"):
        build_images(plan, repository.folder, Buildah(), served, files=files)
    assert served.digests([plan.environment.tag])
    assert not served.digests([image.tag for image in plan.images])


def test_packages_as_they_were_on_a_date(tmp_path: Path, base: str, served: Served) -> None:
    repository = Repository(tmp_path / "r", base, served)
    repository.write(**{"requirements.txt": "six\n"})
    for name in ("shared", "utils"):  # a repository need not have them
        shutil.rmtree(repository.folder / name)
    plan = repository.plan(exclude_newer="2020-01-01")
    build_images(plan, repository.folder, Buildah(), served, say=repository.said.append)
    assert "Python 3.11.2, six 1.13.0" in repository.said


STAND_IN = b"""\
#!/bin/sh
if [ "$1" = run ]; then CONDA_PREFIX=$3 ESMFMKFILE="$3/a b.mk" exec env -0; fi
python3 -m venv --without-pip "$4"
echo "$@" > "$4/told"; cat "${10}" >> "$4/told"
"""


@pytest.fixture
def micromamba(tmp_path: Path) -> Iterator[str]:
    """The address of a stand-in for micromamba, which is on no registry of packages that tests
    reach: it makes a plain environment, and notes what it was told."""
    (tmp_path / "micromamba").write_bytes(STAND_IN)
    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/micromamba"
        yield f"{url}#sha256={hashlib.sha256(STAND_IN).hexdigest()}"
        server.shutdown()


def test_what_only_conda_has(tmp_path: Path, base: str, served: Served, micromamba: str) -> None:
    repository = Repository(tmp_path / "r", base, served)
    repository.micromamba = micromamba
    (repository.folder / "requirements.txt").unlink()
    # Not on any list of what is on conda alone: PyPI's own word counts.
    rare = "tidegate-has-no-such-package"
    asked = f"channels: [mine]\ndependencies: [python=3.11, {rare}>=1, pip: [six==1.17.0]]\n"
    repository.write(**{"environment.yml": asked})
    images = repository.release()
    assert f"{rare} is not on PyPI: conda is used for the environment" in repository.said
    with container(f"{served.address}@{images['buoy'].digest}") as box:
        told = says(box, "cat", "/opt/pipelines/told")
        assert "--channel conda-forge --channel arm-doe --file" in told
        assert "channels:\n- mine\ndependencies:\n- python=3.11\n" in told
        assert f"- {rare}>=1\n" in told
        assert (
            says(box, "sh", "-c", "echo $TIDEGATE_WORKER").strip()
            == "/opt/pipelines/bin/worker-python"
        )
        script = "import os, six; print(os.environ['ESMFMKFILE'], 'LD_LIBRARY_PATH' in os.environ)"
        start = 'LD_LIBRARY_PATH=/var/lang/lib exec $TIDEGATE_WORKER -c "$0"'
        assert says(box, "sh", "-c", start, script).strip() == "/opt/pipelines/a b.mk False"


def test_a_push_that_is_cut_off(tmp_path: Path, base: str, registry: Registry) -> None:
    with weak_line(registry.host) as line:
        repository = Repository(tmp_path / "r", base, Served(line.host, "cut"))
        repository.release(Manifest(MANIFEST.configs[:1]))
        repository.write(**{"pipelines__tides__data.bin": "".join(map(chr, range(33, 99))) * 900})
        line.left = 3000
        with pytest.raises(BuildsFailed) as told:
            repository.release()
        assert line.cuts > 0
        assert list(told.value.images) == ["buoy"], "what is there is not lost"
        assert list(told.value.failures) == ["tides"]
        assert "could not be pushed" in told.value.why
        assert "try again" in told.value.next
        line.left = float("inf")
        assert reasons(repository.plan()) == {"tides": ("new pipeline",)}
        assert list(repository.release()) == ["buoy", "tides"]
        assert any("Using cache" in said for said in repository.said)
