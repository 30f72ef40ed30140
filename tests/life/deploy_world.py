"""An organization with two repositories and an account: the emulator, its ECR, real images.

Commands run as a person runs them, each a process. Images are built by buildah on a base like
Lambda's, pushed to the emulator's ECR, and what the emulator invokes is those very images.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_kit import command, inside
from ministack_process import MiniStack

HERE = Path(__file__).parent
TINY = HERE.parent / "service" / "tiny"
EXAMPLE = HERE.parents[1] / "examples" / "pipelines"
ACCOUNT, REGION, BRANCH = "000000000000", "us-west-2", "main"
RAW, PRODUCTS = "tides-raw", "tides-products"
SITES = ("one", "two")

CONFIG = f"""\
pipelines_repo_name: tides
account_id: "{ACCOUNT}"
region: {REGION}
input_bucket_name: {RAW}
output_bucket_name: {PRODUCTS}
create_buckets: true
repository: ../pipelines
defaults: {{memory: 1024, timeout: 300, retries: 0}}
pipelines:
- name: tiny
  type: Ingest
  trigger: S3
  configs:
    one:
      input_bucket_path: tiny/one/
      config_file_path: pipelines/tiny/config/pipeline.yaml
- name: other
  type: Ingest
  trigger: S3
  configs:
    two:
      input_bucket_path: other/two/
      config_file_path: pipelines/other/config/pipeline.yaml
"""
FUNCTIONS = ("tides-main-lambda-tiny-one", "tides-main-lambda-other-two")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class World:
    """All of it, and what can be done from outside."""

    root: Path
    stack: MiniStack
    base: str
    """The base image."""
    log: Path

    def __post_init__(self) -> None:
        self.clients = self.stack.clients()
        self.pipelines = make_repository(self.root / "pipelines")
        self.deployment = self.root / "deployment"
        self.deployment.mkdir()
        self.configure(CONFIG)
        self._containers: dict[str, str] = {}

    @property
    def means(self) -> list[str]:
        """Of a plan: the base image, and the interpreter that Tsdat is asked with."""
        return ["--base", self.base, "--python", sys.executable]

    def configure(self, text: str) -> None:
        (self.deployment / "pipelines_config.yml").write_text(text)

    def run(self, *arguments: str, **extra: str) -> Done:
        """``tidegate …`` in the deployment repository."""
        done = subprocess.run(
            [sys.executable, "-m", "tidegate", *arguments],
            cwd=self.deployment,
            env={**os.environ, **self.environment, "COLUMNS": "200", **extra},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def tidegate(self, *arguments: str, code: int = 0, **extra: str) -> Done:
        """The same, with its exit code checked."""
        done = self.run(*arguments, **extra)
        assert done.code == code, f"tidegate {' '.join(arguments)}\n{done.out}\n{done.err}"
        return done

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self.stack.environment,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def commit(self, message: str) -> str:
        """Commit all that is in the pipelines repository."""
        git(self.pipelines, "add", "--all")
        git(self.pipelines, "commit", "--quiet", "--message", message)
        return git(self.pipelines, "rev-parse", "HEAD")

    def images(self) -> dict[str, str]:
        """The image of each config's function now."""
        client = self.clients.client("lambda")
        found = {}
        for page in client.get_paginator("list_functions").paginate():
            for function in page["Functions"]:
                if function["FunctionName"].endswith("-lambda--sweep"):
                    continue
                code = client.get_function(FunctionName=function["FunctionName"])["Code"]
                found[function["FunctionName"]] = code["ImageUri"]
        return found

    def variables(self, function: str) -> dict[str, str]:
        """What a function is told by its environment."""
        told = self.clients.client("lambda").get_function_configuration(FunctionName=function)
        return dict(told["Environment"]["Variables"])

    def stacks(self) -> dict[str, str]:
        """The stacks that there are, with their state."""
        client, found = self.clients.client("cloudformation"), {}
        for page in client.get_paginator("describe_stacks").paginate():
            found |= {stack["StackName"]: stack["StackStatus"] for stack in page["Stacks"]}
        return found

    # Invocations: by the image that the function has.

    def image_of(self, function: str) -> tuple[str, Mapping[str, str]]:
        uri = self.images()[function]
        return uri, self.variables(function)

    def runner(self, uri: str) -> Callable[[Mapping[str, str]], Sequence[str]]:
        """The command that runs an image, pulled from the emulator's ECR."""
        name = uri.partition("/")[2]
        host = self.stack.endpoint.removeprefix("http://")
        made = self._containers.get(name)
        if made is None:
            image = f"docker://{host}/{name}"
            made = command("buildah", "from", "--quiet", "--tls-verify=false", image).split()[-1]
            self._containers[name] = made
        config = json.loads(command("buildah", "inspect", made))["OCIv1"]["config"]
        entry = [*config.get("Entrypoint", ()), *config.get("Cmd", ())]
        return lambda variables: inside(made, *entry, environment=variables)

    def close(self) -> None:
        for made in self._containers.values():
            subprocess.run(["buildah", "rm", made], capture_output=True, check=False)


def make_repository(root: Path) -> Path:
    """A pipelines repository with two pipelines, in git."""
    ignore = shutil.ignore_patterns("__pycache__", ".venv")
    shutil.copytree(TINY, root, ignore=ignore)
    shutil.rmtree(root / "pipelines" / "tiny_vap")
    shutil.copytree(root / "pipelines/tiny", root / "pipelines/other")
    for path in (root / "pipelines/other").rglob("*"):
        if path.suffix in (".py", ".yaml"):
            text = path.read_text().replace("pipelines.tiny", "pipelines.other")
            text = text.replace("pipelines/tiny", "pipelines/other")
            path.write_text(text)
    for name, site in (("tiny", "one"), ("other", "two")):
        path = root / f"pipelines/{name}/config/dataset.yaml"
        path.write_text(path.read_text().replace("location_id: site", f"location_id: {site}"))
    # The same environment as the example's: it is built once for all tests of images with Tsdat.
    for name in ("requirements.txt", ".python-version"):
        shutil.copyfile(EXAMPLE / name, root / name)
    (root / "README.md").write_text("Tides.\n")
    git(root, "init", "--quiet", "--initial-branch", BRANCH)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "first")
    return root


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=folder,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def csv(day: str = "2022-04-01", values: Sequence[float] = (1, 2)) -> bytes:
    rows = [f"{day}T00:{n:02}:00,{value}" for n, value in enumerate(values)]
    return "\n".join(["time,x", *rows, ""]).encode()
