"""CodeBuild's buildspec: what a build on AWS does; pure.

It installs the Tidegate that deployed the stack in an environment of its own, and runs ``tidegate
release`` in the deployment repository. The primary source is the deployment repository. The
pipelines repository is the secondary source ``pipelines``, or the same repository.

    TIDEGATE_COMMIT      the commit of the pipelines repository, if its folder is not a git clone
    TIDEGATE_ARGUMENTS   further arguments of ``tidegate release``, such as --update-base

Source: https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from tidegate.deploy.core.package import EXTRAS, Tool

PIPELINES = "pipelines"
"""The name of the pipelines repository among the sources."""
PYTHON = "3.12"
"""The version of Python that runs Tidegate in builds. Pipelines have their own."""


def buildspec(
    tool: Tool,
    *,
    bucket: str,
    branch: str,
    folder: str = ".",
    variables: Mapping[str, str] = {},
) -> str:
    """The buildspec, YAML.

    ``bucket`` is the artifacts bucket, ``folder`` the folder of pipelines_config.yml in the
    deployment repository, and ``variables`` are further environment variables of the release.
    """
    spec: dict[str, Any] = {
        "version": 0.2,
        "env": {
            "shell": "bash",
            "variables": {
                "TIDEGATE_BRANCH": branch,
                "TIDEGATE_FOLDER": folder,
                "PYTHONUNBUFFERED": "1",  # so that the log shows progress at once
                **variables,
            },
        },
        "phases": {
            "install": {
                "on-failure": "ABORT",
                "runtime-versions": {"python": PYTHON},
                "commands": install_commands(tool, bucket),
            },
            "build": {"on-failure": "ABORT", "commands": release_commands()},
        },
        "cache": {"paths": ["/root/.cache/uv/**/*"]},
    }
    return yaml.safe_dump(spec, sort_keys=False, width=1000)


def install_commands(tool: Tool, bucket: str) -> list[str]:
    """The commands that fetch Tidegate, check its hash, and install it."""
    wheel, constraints = (
        (key, f"$TIDEGATE_INSTALL/{PurePosixPath(key).name}", sha256)
        for key, sha256 in (
            (tool.wheel, tool.wheel_sha256),
            (tool.constraints, tool.constraints_sha256),
        )
    )
    commands = ['export TIDEGATE_INSTALL="$(mktemp -d)"']
    for key, file, sha256 in (wheel, constraints):
        commands += [
            f'aws s3 cp --only-show-errors "s3://{bucket}/{key}" "{file}"',
            f'echo "{sha256}  {file}" | sha256sum --check --strict',
        ]
    what = f"tidegate[{','.join(EXTRAS)}] @ file://{wheel[1]}"
    pinned = f'--constraints "{constraints[1]}" "{what}"'
    return [
        *commands,
        f"python -m pip install --quiet --disable-pip-version-check uv=={tool.uv}",
        'python -m uv venv --quiet --clear --python "$(command -v python)" "$HOME/.tidegate"',
        f'python -m uv pip install --quiet --python "$HOME/.tidegate" {pinned}',
        '"$HOME/.tidegate/bin/tidegate" --version',
    ]


def release_commands() -> list[str]:
    """The commands that release the code of the sources."""
    head = 'git -C "$repository" rev-parse --verify --quiet HEAD || true'
    release = '"$HOME/.tidegate/bin/tidegate" release "$TIDEGATE_BRANCH"'
    options = '--repository "$repository" ${commit:+--commit "$commit"} --wait --yes'
    return [
        'cd "$CODEBUILD_SRC_DIR/$TIDEGATE_FOLDER"',
        f'repository="${{CODEBUILD_SRC_DIR_{PIPELINES}:-$CODEBUILD_SRC_DIR}}"',
        f'commit="${{TIDEGATE_COMMIT:-$({head})}}"',
        f"{release} {options} ${{TIDEGATE_ARGUMENTS:-}}",
    ]
