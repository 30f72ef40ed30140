"""The container, built as it is written, with all tools in it; on a Debian by debootstrap."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from image_kit import base_archive, buildah_store, command, inside, skip_without_tools

from tidegate import __version__
from tidegate.scaffold.deployment import gather, plan
from tidegate.scaffold.deployment.files import CDK_CLI

ROOT = Path(__file__).parents[2]
Inside = Callable[..., str]
_TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")

pytestmark = pytest.mark.slow


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
def container(deployment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Runs a command in the container, as its user."""
    skip_without_tools()
    with buildah_store(tmp_path_factory.mktemp("buildah")):
        made = command("buildah", "from", "scratch").split()[-1]
        command("buildah", "add", "--quiet", made, base_archive(), "/")
        command("buildah", "commit", "--quiet", "--rm", made, "localhost/some-debian")
        base = "--build-arg=BASE=localhost/some-debian"
        options = (
            "--pull-never",
            "--isolation=chroot",
            "--layers=false",
            "--tag=tidegate-cdk",
            base,
        )
        command("buildah", "bud", *options, deployment)
        made = command("buildah", "from", "--quiet", "localhost/tidegate-cdk").split()[-1]

        def run(*arguments: str, code: int = 0) -> str:
            place = {deployment: "/work/my-deployment"}
            done = subprocess.run(
                inside(made, *arguments, user="tidegate", volumes=place),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
            return done.stdout

        yield run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tidegate", "--version"), f"tidegate {__version__}"),
        (("cdk", "--version"), CDK_CLI),
        (("aws", "--version"), "aws-cli/2."),
        (("node", "--version"), "v"),
        (("npx", "--version"), "."),
        (("git", "--version"), "git version"),
        (("whoami",), "tidegate"),
        (("bash", "-c", "jq --version && less --version && nano --version && ssh -V"), "jq-"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_every_tool_is_there(container: Inside, arguments: tuple[str, ...], said: str) -> None:
    assert said in container(*arguments)


def test_the_config_is_checked_and_the_stacks_are_made(container: Inside) -> None:
    """Offline: with images that are named, nothing is asked of AWS."""
    images = '{"lidar": "sha256:' + "a" * 64 + '", "lidar_vap": "sha256:' + "b" * 64 + '"}'
    script = f"cd /work/my-deployment && cdk list --output /tmp/out -c 'images={images}'"
    listed = container("bash", "-c", script).split()
    assert listed == ["pipelines-main-CodePipelineStack", "pipelines-main-PipelinesStack"]
