"""The examination: all checks, the slow ones beside each other."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tidegate import config as configuration
from tidegate.config import AwsKeys, ConfigFile
from tidegate.deploy.core.place import Place
from tidegate.deploy.doctor import account, github, here, holding, limits
from tidegate.deploy.doctor.finding import Finding, of_error, problem, unknown
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, Missing
from tidegate.targets.aws.names import Names
from tidegate.workspace import loading
from tidegate.workspace.folder import Workspace

_AT_ONCE = 8

Check = Callable[[], Iterable[Finding]]


@dataclass(frozen=True)
class Asked:
    """What is to be examined."""

    directory: Path
    """The folder with pipelines_config.yml."""
    branch: str
    """The branch."""
    profile: str | None = None
    """The profile of the credentials."""
    region: str | None = None
    """The region, where it is not the config's."""


def examine(asked: Asked) -> list[Finding]:
    """All that can be found out about a branch, this machine and the account.

    Raises:
        UsageError: there is no such folder.
    """
    workspace = Workspace.at(asked.directory)
    reading = configuration.read(loading.short_path(workspace.config), files=False)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # Programs are slow to start: they run while AWS is asked.
        local = [pool.submit(_carried, *check) for check in _on_this_machine(asked, reading)]
        found = _of_config(asked, reading)
        if importlib.util.find_spec("boto3") is None:
            found.append(unknown("AWS", "without boto3 nothing can be asked"))
        else:
            found += _of_account(pool, asked, reading)
        return [finding for future in local for finding in future.result()] + found


def _on_this_machine(asked: Asked, reading: ConfigFile) -> list[tuple[str, Check]]:
    folder = asked.directory.absolute()
    # Where it lies, if it is here: a deployment by CodePipeline does not need it.
    pipelines = configuration.read(Path(reading.file)).repository
    if pipelines is not None and pipelines.resolve() == folder.resolve():
        pipelines = None
    return [
        ("Tidegate", here.python),
        ("builder", here.builders),
        ("deployment repository", partial(
            here.repository, "deployment repository", folder, asked.branch
        )),
        ("pipelines repository", partial(
            here.repository, "pipelines repository", pipelines, asked.branch
        )),
    ]  # fmt: skip


def _of_config(asked: Asked, reading: ConfigFile) -> list[Finding]:
    """What is wrong with the config file: each problem by itself."""
    _, problems = configuration.aws_problems(reading, asked.branch, codepipeline=False)
    return [problem("config", f"{one.file}:{one.line}: {one.what}", one.fix) for one in problems]


def _of_account(pool: ThreadPoolExecutor, asked: Asked, reading: ConfigFile) -> list[Finding]:
    """What only AWS can tell."""
    keys = reading.model.for_branch(asked.branch) if reading.model else AwsKeys()
    if asked.region is not None:
        keys = keys.model_copy(update={"region": asked.region})
    clients = Clients(profile=asked.profile, region=keys.region)
    caller, found = account.credentials(clients)
    if caller is None:
        return [*found, unknown("AWS", "without credentials nothing more can be asked")]
    where = f"{reading.file}:{reading.line('account_id')}"
    found += [*account.account(caller, keys, where), *account.region(clients, keys)]
    if keys.pipelines_repo_name is None or keys.region is None:
        return found
    place, names = Place(caller.account, keys.region), Names(keys.pipelines_repo_name, asked.branch)
    checks: list[tuple[str, Check]] = [
        ("permissions", partial(
            account.permissions, clients, caller, account.needs(names, place, keys)
        )),
        ("connection", partial(github.connection, clients, place, keys.github_codestar_arn)),
    ]  # fmt: skip
    resolution = configuration.resolve(reading, None)
    if resolution.manifest is not None:
        found += limits.names(names, resolution.manifest)
        # In the account that the credentials are for: of another, nothing can be asked.
        ours = keys.model_copy(update={"account_id": caller.account})
        if reading.model is not None and keys.input_bucket_name and keys.output_bucket_name:
            look = partial(holding.data, clients, ours, names, reading.model)
            checks.append(("buckets", look))
        plan, told = limits.planned(ours, resolution.manifest, asked.branch)
        found += told
        if plan is not None:
            checks += [
                ("quota: Lambda", partial(limits.concurrency, clients, place, plan)),
                ("quota: roles", partial(limits.roles, clients, place, plan)),
            ]
            checks += [
                (f"quota: {one.about}", partial(limits.quota, clients, place, plan, one))
                for one in limits.QUOTAS
            ]
    futures = [pool.submit(_carried, about, check) for about, check in checks]
    return found + [finding for future in futures for finding in future.result()]


def _carried(about: str, check: Check) -> list[Finding]:
    """What a check finds; that it could not is a finding too."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except TidegateError as error:
        found.append(of_error(about, error))
    except Missing as error:
        found.append(unknown(about, f"AWS says that there is no such thing: {error}"))
    return found
