"""The container, built as it is written, with all tools in it; on a Debian by debootstrap."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from image_kit import base_archive, buildah_store, command, inside, skip_without_tools

from tidegate import __version__
from tidegate.scaffold.deployment import gather, plan
from tidegate.scaffold.deployment.files import CDK_CLI

ROOT = Path(__file__).parents[2]
Inside = Callable[..., str]
_TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment repository with this very Tidegate."""
    folder = tmp_path_factory.mktemp("deployment") / "my-deployment"
    given = {"account_id": "123456789012", "region": "us-west-2"}
    source = ROOT / "examples" / "pipelines"
    plan(folder, gather(folder, given, source=source)).write()
    # This machine may be behind a proxy with certificates of its own.
    shutil.copyfile(_TRUSTED, folder / "ours.crt")
    return folder


@pytest.fixture(scope="module")
def run_in(deployment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Runs a command in a container, as its user. The first argument is the container's image."""
    skip_without_tools()
    with buildah_store(tmp_path_factory.mktemp("buildah")):
        made = command("buildah", "from", "scratch").split()[-1]
        command("buildah", "add", "--quiet", made, base_archive(), "/")
        command("buildah", "commit", "--quiet", "--rm", made, "localhost/some-debian")

        def run(image: str, *arguments: str, code: int = 0) -> str:
            started = command("buildah", "from", "--quiet", image).split()[-1]
            done = subprocess.run(
                inside(
                    started,
                    *arguments,
                    user="tidegate",
                    volumes={deployment: "/work/my-deployment"},
                ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
            return done.stdout

        yield run


def build(deployment: Path, tag: str) -> None:
    """Build the container's image as it is written."""
    options = ("--pull-never", "--isolation=chroot", "--layers", f"--tag={tag}")
    base = "--build-arg=BASE=localhost/some-debian"
    command("buildah", "bud", *options, base, deployment)


@pytest.fixture(scope="module")
def container(run_in: Inside, deployment: Path) -> Inside:
    """Runs a command in the container as it is without changes: it has no CDK."""
    build(deployment, "tidegate-cdk")
    return partial(run_in, "localhost/tidegate-cdk")


@pytest.fixture(scope="module")
def container_with_cdk(run_in: Inside, deployment: Path) -> Inside:
    """Runs a command in the container with ``cdk`` in requirements.txt, as the README says."""
    requirements = deployment / "requirements.txt"
    text = requirements.read_text()
    assert "[aws,deploy]" in text
    requirements.write_text(text.replace("[aws,deploy]", "[aws,deploy,cdk]"))
    try:
        build(deployment, "with-cdk")
    finally:
        requirements.write_text(text)
    return partial(run_in, "localhost/with-cdk")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tidegate", "--version"), f"tidegate {__version__}"),
        (("aws", "--version"), "aws-cli/2."),
        (("git", "--version"), "git version"),
        (("whoami",), "tidegate"),
        (("bash", "-c", "jq --version && less --version && nano --version && ssh -V"), "jq-"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_every_tool_is_there(container: Inside, arguments: tuple[str, ...], said: str) -> None:
    assert said in container(*arguments)


def test_without_the_cdk_there_is_no_node(container: Inside) -> None:
    assert container("bash", "-c", "command -v node cdk npx", code=1) == ""


@pytest.mark.parametrize(
    ("command", "said"), [("tidegate", __version__), ("cdk", CDK_CLI), ("node", "v"), ("npx", ".")]
)
def test_every_tool_of_the_cdk_is_there(
    container_with_cdk: Inside, command: str, said: str
) -> None:
    assert said in container_with_cdk(command, "--version")


def test_the_config_is_checked_and_the_stacks_are_made(container_with_cdk: Inside) -> None:
    """Offline: with images that are named, nothing is asked of AWS."""
    images = '{"lidar": "sha256:' + "a" * 64 + '", "lidar_vap": "sha256:' + "b" * 64 + '"}'
    script = f"cd /work/my-deployment && cdk list --output /tmp/out -c 'images={images}'"
    listed = container_with_cdk("bash", "-c", script).split()
    assert listed == ["pipelines-main-CodePipelineStack", "pipelines-main-PipelinesStack"]
