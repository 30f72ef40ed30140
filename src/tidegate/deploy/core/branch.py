"""One branch of one deployment: what the commands of administrators work on.

``open_branch`` reads the config alone; AWS is asked for the account only. ``identify`` says whose
credentials these are, and refuses to go on when they are another account's.
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
    """A branch, its config, and the way to its account."""

    name: str
    """The branch."""
    workspace: Workspace
    """The folder with pipelines_config.yml."""
    reading: ConfigFile
    """The config file as it was read; its files need not be here."""
    keys: AwsKeys
    """The keys for AWS, as they are for the branch; all that are needed are there."""
    clients: Clients
    """The way to AWS."""

    @property
    def names(self) -> Names:
        """What everything is called."""
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
        """Its releases on record."""
        return History(self.names.ledger_table, self.clients)

    @property
    def artifacts_bucket(self) -> str:
        """The bucket of templates, source bundles and the like."""
        return self.names.artifacts_bucket(self.place.account, self.place.region)

    @property
    def emulated(self) -> bool:
        """Whether an emulator on this machine stands in for AWS: it does not know all of it."""
        endpoint = self.clients.client("sts").meta.endpoint_url
        return is_loopback(urlsplit(endpoint).netloc)

    @cached_property
    def who(self) -> str:
        """The ARN of whoever works here.

        Raises:
            ConfigurationError: there are no credentials, or they are another account's.
        """
        with explained("ask whose credentials these are"):
            told = self.clients.client("sts").get_caller_identity()
        if told["Account"] != self.keys.account_id:
            raise ConfigurationError(
                f"these credentials are for the account {told['Account']}",
                why=f"{self.reading.file} deploys to the account {self.keys.account_id}"
                f" (line {self.reading.line('account_id')})",
                next="choose the right profile with --profile, or mend `account_id`",
                where=f"{self.reading.file}:{self.reading.line('account_id')}",
            )
        return str(told["Arn"])


def open_branch(
    directory: Path,
    branch: str,
    *,
    profile: str | None = None,
    region: str | None = None,
    codepipeline: bool = False,
) -> Branch:
    """Read the config of a branch.

    ``codepipeline`` asks for the keys too that only a deployment by CodePipeline needs.

    Raises:
        Problems: there is anything wrong with the config, or a key for AWS is missing.
        UsageError: there is no such folder.
    """
    workspace = Workspace.at(directory)
    # The pipelines repository need not be here: only a release reads it.
    reading = configuration.read(loading.short_path(workspace.config), files=False)
    keys, problems = configuration.aws_problems(reading, branch, codepipeline=codepipeline)
    if keys is None:
        raise configuration.ConfigProblems(reading.file, problems)
    if region is not None:
        keys = keys.model_copy(update={"region": region})
    clients = Clients(profile=profile, region=keys.region)
    return Branch(branch, workspace, reading, keys, clients)


def commit_of(repository: Path) -> str:
    """The commit that a repository is at, with ``-dirty`` where files differ; "" for none.

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
            why="the commit that is released is asked of it",
            next="install git, or say the commit with --commit",
        ) from None
    return done.stdout.strip() if done.returncode == 0 else ""
