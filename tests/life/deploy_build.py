"""CodeBuild, as far as a build asks for it: the deployed buildspec, run over the sources.

No emulator runs builds. So the project's buildspec is taken from where it is deployed, and its
commands are run by bash in one shell, in folders like CodeBuild's:
https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import uv
import yaml
from deploy_world import World

PROJECT = "tides-main-build"
ARTIFACTS = "tides-main-artifacts-000000000000-us-west-2"


def make_tools(folder: Path) -> Path:
    """What CodeBuild's image has: the command ``aws``, and a ``python``."""
    venv, run = folder / "venv", [uv.find_uv_bin(), "--quiet"]
    subprocess.run([*run, "venv", "--seed", "--python", sys.executable, venv], check=True)
    subprocess.run([*run, "pip", "install", "--python", venv / "bin/python", "awscli"], check=True)
    (folder / "bin").mkdir()
    for name in ("aws", "python"):
        (folder / "bin" / name).symlink_to(venv / "bin" / name)
    return folder / "bin"


def uploaded_sources(world: World, folder: Path) -> dict[str, Path]:
    """The bundles that ``deploy --from`` has uploaded, unpacked as CodeBuild does."""
    sources = {}
    for item in world.clients.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="source/")["Contents"]:
        archive = folder / item["Key"].rpartition("/")[2]
        world.clients.s3.download_file(ARTIFACTS, item["Key"], str(archive))
        with zipfile.ZipFile(archive) as zipped:
            name = "deployment" if "pipelines_config.yml" in zipped.namelist() else "pipelines"
            zipped.extractall(folder / name)
        sources[name] = folder / name
    return sources


def build(
    world: World,
    tools: Path,
    folder: Path,
    sources: Mapping[str, Path],
    commit: str = "",
    name: str = PROJECT,
) -> subprocess.CompletedProcess[str]:
    """Run the buildspec of a deployed project over these sources."""
    client = world.clients.client("codebuild")
    [project] = client.batch_get_projects(names=[name])["projects"]
    spec = yaml.safe_load(project["source"]["buildspec"])
    commands = [
        command for phase in ("install", "build") for command in spec["phases"][phase]["commands"]
    ]
    home = folder / "home"
    home.mkdir()
    cache = subprocess.check_output([uv.find_uv_bin(), "cache", "dir"], text=True).strip()
    told = project["environment"].get("environmentVariables", ())
    environment = {
        **{name: v for name, v in os.environ.items() if not name.startswith(("AWS_", "PYTEST"))},
        **{variable["name"]: variable["value"] for variable in told},
        **spec["env"]["variables"],
        **world.environment,
        "HOME": str(home),
        "PATH": f"{tools}:{os.environ['PATH']}",
        "UV_CACHE_DIR": cache,
        "CODEBUILD_SRC_DIR": str(sources["deployment"]),
        "CODEBUILD_SRC_DIR_pipelines": str(sources["pipelines"]),
        "TIDEGATE_ARGUMENTS": f"--builder buildah --base {world.base}",
        "TIDEGATE_COMMIT": commit,
    }
    return subprocess.run(
        ["bash", "-c", "\n".join(["set -e", *commands])],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
