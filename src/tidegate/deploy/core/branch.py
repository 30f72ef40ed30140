"""One branch of a deployment: what the commands for administrators work on.

``open_branch`` reads only the config. ``Branch.who`` asks AWS for the caller, and fails if the
credentials belong to another account.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from tidegate import config as configuration
from tidegate.config import AwsKeys, ConfigFile
from tidegate.deploy.core.history import History
from tidegate.deploy.core.hosts import is_loopback
from tidegate.deploy.core.place import Place
from tidegate.errors import ConfigurationError, UsageError
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.names import Names
from tidegate.workspace import loading
from tidegate.workspace.folder import Workspace


@dataclass(frozen=True)
class Branch:
    """A branch, its config, and clients for its account."""

    name: str
    """The branch."""
    workspace: Workspace
    """The folder with pipelines_config.yml."""
    reading: ConfigFile
    """The config file; the files that it names need not be on this machine."""
    keys: AwsKeys
    """The AWS keys of the branch; all required ones are present."""
    clients: Clients
    """The clients."""

    @property
    def names(self) -> Names:
        """The names of everything on AWS."""
        assert self.keys.pipelines_repo_name is not None
        return Names(self.keys.pipelines_repo_name, self.name)

    @property
    def place(self) -> Place:
        """The account and region."""
        assert self.keys.account_id is not None
        assert self.keys.region is not None
        return Place(self.keys.account_id, self.keys.region)

    @property
    def history(self) -> History:
        """Its recorded releases."""
        return History(self.names.ledger_table, self.clients)

    @property
    def artifacts_bucket(self) -> str:
        """The bucket with templates, source code and Tidegate itself."""
        return self.names.artifacts_bucket(self.place.account, self.place.region)

    @property
    def emulated(self) -> bool:
        """Whether an emulator is used instead of AWS: it does not support everything."""
        endpoint = self.clients.client("sts").meta.endpoint_url
        return is_loopback(urlsplit(endpoint).netloc)

    @cached_property
    def who(self) -> str:
        """The ARN of the caller.

        Raises:
            ConfigurationError: there are no credentials, or they belong to another account.
        """
        with explained("identify the credentials"):
            identity = self.clients.client("sts").get_caller_identity()
        if identity["Account"] != self.keys.account_id:
            raise ConfigurationError(
                f"these credentials are for the account {identity['Account']}",
                why=f"{self.reading.file} deploys to the account {self.keys.account_id}"
                f" (line {self.reading.line('account_id')})",
                next="choose the right profile with --profile, or correct `account_id`",
                where=f"{self.reading.file}:{self.reading.line('account_id')}",
            )
        return str(identity["Arn"])


def open_branch(
    directory: Path,
    branch: str,
    *,
    profile: str | None = None,
    region: str | None = None,
    codepipeline: bool = False,
) -> Branch:
    """Read the config of a branch.

    With ``codepipeline``, the keys that only CodePipeline needs are required too.

    Raises:
        Problems: the config has problems, or an AWS key is missing.
        UsageError: the folder does not exist.
    """
    workspace = Workspace.at(directory)
    # The pipelines repository need not be on this machine: only a release reads it.
    reading = configuration.read(loading.short_path(workspace.config), files=False)
    keys, problems = configuration.aws_problems(reading, branch, codepipeline=codepipeline)
    if keys is None:
        raise configuration.ConfigProblems(reading.file, problems)
    if region is not None:
        keys = keys.model_copy(update={"region": region})
    clients = Clients(profile=profile, region=keys.region)
    return Branch(branch, workspace, reading, keys, clients)


def commit_of(repository: Path) -> str:
    """The commit of a repository, with ``-dirty`` if files have changed; "" if there is none.

    Raises:
        UsageError: git is not installed.
    """
    head = _git(repository, "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return ""
    return f"{head}-dirty" if _git(repository, "status", "--porcelain") else head


def _git(repository: Path, *arguments: str) -> str:
    command: Iterable[str] = ("git", "-C", str(repository), *arguments)
    try:
        done = subprocess.run([*command], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError(
            "git is not installed",
            why="it is needed to find the commit of the release",
            next="install git, or name the commit with --commit",
        ) from None
    return done.stdout.strip() if done.returncode == 0 else ""
