"""Runs all checks, the slow ones in parallel."""

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
from tidegate.deploy.doctor import (
    account,
    data_stores,
    github,
    limits,
    new_account,
    this_machine,
)
from tidegate.deploy.doctor.finding import Finding, of_error, problem, unknown
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, Missing
from tidegate.targets.aws.names import Names
from tidegate.workspace import loading
from tidegate.workspace.folder import Workspace

_AT_ONCE = 8

Check = Callable[[], Iterable[Finding]]


@dataclass(frozen=True)
class DoctorOptions:
    """What to check."""

    directory: Path
    """The folder with pipelines_config.yml."""
    branch: str
    """The branch."""
    profile: str | None = None
    """The profile with the credentials."""
    region: str | None = None
    """Another region than the config's."""


def examine(options: DoctorOptions) -> list[Finding]:
    """Check a branch, this machine and the account.

    Raises:
        UsageError: there is no such folder.
    """
    workspace = Workspace.at(options.directory)
    reading = configuration.read(loading.short_path(workspace.config), files=False)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # Programs are slow to start: run them while AWS answers.
        local = [pool.submit(_run_check, *check) for check in _on_this_machine(options, reading)]
        found = _of_config(options, reading)
        if importlib.util.find_spec("boto3") is None:
            found.append(
                unknown(
                    "AWS",
                    "boto3 is not installed, so the account cannot be checked",
                    "`uv tool install 'tidegate[aws]'`",
                )
            )
        else:
            found += _of_account(pool, options, reading)
        return [finding for future in local for finding in future.result()] + found


def _on_this_machine(options: DoctorOptions, reading: ConfigFile) -> list[tuple[str, Check]]:
    folder = options.directory.absolute()
    # Its folder, if it is on this machine: a deployment by CodePipeline does not need it.
    pipelines = configuration.read(Path(reading.file)).repository
    if pipelines is not None and pipelines.resolve() == folder.resolve():
        pipelines = None
    return [
        ("Tidegate", this_machine.tidegate),
        ("builder", this_machine.builders),
        ("deployment repository", partial(
            this_machine.repository, "deployment repository", folder, options.branch
        )),
        ("pipelines repository", partial(
            this_machine.repository, "pipelines repository", pipelines, options.branch
        )),
    ]  # fmt: skip


def _of_config(options: DoctorOptions, reading: ConfigFile) -> list[Finding]:
    """The problems of the config file, one finding each."""
    _, problems = configuration.aws_problems(reading, options.branch, codepipeline=False)
    return [problem("config", f"{one.file}:{one.line}: {one.what}", one.fix) for one in problems]


def _of_account(
    pool: ThreadPoolExecutor, options: DoctorOptions, reading: ConfigFile
) -> list[Finding]:
    """The checks that ask AWS."""
    keys = reading.model.for_branch(options.branch) if reading.model else AwsKeys()
    if options.region is not None:
        keys = keys.model_copy(update={"region": options.region})
    clients = Clients(profile=options.profile, region=keys.region)
    caller, found = account.credentials(clients)
    if caller is None:
        return [*found, unknown("AWS", "without credentials nothing more can be checked")]
    where = f"{reading.file}:{reading.line('account_id')}"
    found += [*account.account(caller, keys, where), *account.region(clients, keys)]
    if keys.pipelines_repo_name is None or keys.region is None:
        return found
    place, names = (
        Place(caller.account, keys.region),
        Names(keys.pipelines_repo_name, options.branch),
    )
    checks: list[tuple[str, Check]] = [
        ("permissions", partial(
            account.permissions, clients, caller, account.needs(names, place, keys)
        )),
        ("connection", partial(github.connection, clients, place, keys.github_codestar_arn)),
    ]  # fmt: skip
    resolution = configuration.resolve(reading, None)
    if resolution.manifest is not None:
        found += limits.check_names(names, resolution.manifest)
        # Check the account of the credentials: AWS does not answer about another one.
        ours = keys.model_copy(update={"account_id": caller.account})
        if reading.model is not None and keys.input_bucket_name and keys.output_bucket_name:
            check = partial(data_stores.check, clients, ours, names, reading.model)
            checks.append(("buckets", check))
        plan, findings = limits.check_plan(ours, resolution.manifest, options.branch)
        found += findings
        if plan is not None:
            checks += [
                ("quota: Lambda", partial(limits.concurrency, clients, place, plan)),
                ("quota: roles", partial(limits.roles, clients, place, plan)),
                ("quota: memory", partial(new_account.memory, clients, place, plan)),
                ("quota: builds", partial(new_account.builds, clients, place)),
            ]
            checks += [
                (f"quota: {one.about}", partial(limits.quota, clients, place, plan, one))
                for one in limits.QUOTAS
            ]
    futures = [pool.submit(_run_check, about, check) for about, check in checks]
    return found + [finding for future in futures for finding in future.result()]


def _run_check(about: str, check: Check) -> list[Finding]:
    """The findings of a check; an error is a finding too."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except TidegateError as error:
        found.append(of_error(about, error))
    except Missing as error:
        found.append(unknown(about, f"AWS says that it does not exist: {error}"))
    return found
