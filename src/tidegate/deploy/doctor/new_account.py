"""Limits of new AWS accounts, which AWS raises by itself after some use, or when asked."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.deploy.core.console import Console
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.model import Plan
from tidegate.deploy.doctor.finding import Finding, ok, problem, unknown, warning
from tidegate.errors import TidegateError
from tidegate.targets.aws.clients import Clients, explained

MEMORY = 3008
"""The most memory of a function in many new accounts, MB. No API returns an account's own limit.

Source: Lambda Developer Guide, "Lambda quotas", says that new accounts have less memory, but not
how much; the number is that of Lambda's error message in such accounts."""
USUAL = 1000
"""Concurrent executions of an account that is not new."""
BUILDS = "Concurrently running builds for Linux/Medium environment"
"""The name of the quota of CodeBuild. Source: CodeBuild User Guide, "Quotas for AWS CodeBuild"."""


def memory(clients: Clients, place: Place, plan: Plan) -> Iterator[Finding]:
    """Whether functions may have as much memory as the config says."""
    large = [config.id for config in plan.configs if config.function.memory > MEMORY]
    if not large:
        return
    with explained("read the limits of Lambda"):
        client = clients.client("lambda")
        limit = int(client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"])
        pages = client.get_paginator("list_functions").paginate()
        most = max(
            (int(one.get("MemorySize", 0)) for page in pages for one in page["Functions"]),
            default=0,
        )
    names = ", ".join(large)
    if most > MEMORY or limit >= USUAL:
        yield ok("quota: memory", f"{names}: more than {MEMORY} MB")
        return
    yield warning(
        "quota: memory",
        f"{names} need more than {MEMORY} MB, which is the limit in many new accounts. AWS does not"
        f" return the limit of this account, but it has only {limit} concurrent executions, so it"
        " may be new",
        f"ask AWS's support to raise the limit, or set `memory: {MEMORY}`",
        Console(place).quotas("lambda"),
    )


def builds(clients: Clients, place: Place) -> Iterator[Finding]:
    """Whether CodeBuild may run a build: in some new accounts it may run none."""
    page = Console(place).quotas("codebuild")
    try:
        with explained("read the quotas of CodeBuild"):
            pages = clients.client("service-quotas").get_paginator("list_service_quotas")
            found = [
                float(one["Value"])
                for answer in pages.paginate(ServiceCode="codebuild")
                for one in answer["Quotas"]
                if one.get("QuotaName") == BUILDS
            ]
    except TidegateError as error:
        yield unknown("quota: builds", error.what, "check the quota on the page", page)
        return
    if found and found[0] < 1:
        yield problem(
            "quota: builds",
            "the account may not run any build, as in some new accounts: releases fail with"
            " `Cannot have more than 0 builds in queue for the account`",
            f"request 1 or more for `{BUILDS}`",
            page,
        )
    elif found:
        yield ok("quota: builds", f"{found[0]:g} builds may run at the same time")
    else:
        yield unknown("quota: builds", f"AWS lists no quota `{BUILDS}`", link=page)
