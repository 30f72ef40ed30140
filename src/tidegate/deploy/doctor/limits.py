"""Quotas of the account compared with what the config needs, and names that are too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tidegate.config import AwsKeys
from tidegate.deploy.core.console import Console
from tidegate.deploy.core.place import Place
from tidegate.deploy.design import metrics
from tidegate.deploy.design.model import Plan
from tidegate.deploy.design.plan import outline
from tidegate.deploy.doctor.finding import Finding, of_error, ok, problem, unknown, warning
from tidegate.errors import ConfigurationError, StorageError, TidegateError
from tidegate.runtime.manifest import Manifest
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.names import Names

LEAST = 100
"""Concurrent executions that Lambda keeps for functions without reserved ones."""


def check_plan(keys: AwsKeys, manifest: Manifest, branch: str) -> tuple[Plan | None, list[Finding]]:
    """The plan of a deployment, as far as it depends on the config alone; and its findings."""
    try:
        plan = outline(keys, manifest, branch)
    except ConfigurationError as error:
        return None, [of_error("config", error, "problem")]
    notes = [warning("config", note) for note in plan.notes]
    ids = [config.id for config in plan.configs]
    text = f"{len(ids)} configs can run" if len(ids) > 1 else f"{ids[0]} can run"
    stacks = f", in {len(plan.stacks)} stacks" if len(plan.stacks) > 1 else ""
    return plan, [*notes, ok("config", f"{text} on AWS{stacks}")]


def concurrency(clients: Clients, place: Place, plan: Plan) -> Iterator[Finding]:
    """Lambda's concurrent executions: how many can be reserved, and how many run in parallel."""
    page = Console(place).quotas("lambda")
    with explained("read the limits of Lambda"):
        limits = clients.client("lambda").get_account_settings()["AccountLimit"]
    limit = int(limits["ConcurrentExecutions"])
    free = int(limits.get("UnreservedConcurrentExecutions", limit))
    configs = plan.configs
    wanted = [config for config in configs if config.function.reserved]
    new = [config for config in wanted if not _has_reserved(clients, config.function.name)]
    need = sum(config.function.reserved or 0 for config in new)
    if need and free - need < LEAST:
        names = ", ".join(config.id for config in new)
        yield problem(
            "quota: Lambda",
            f"{names} run one at a time, which takes {need} reserved concurrent executions; Lambda"
            f" leaves {LEAST} unreserved, and the account has {free} of {limit} unreserved",
            "request more concurrent executions, or set `concurrency: 2` in these configs",
            page,
        )
    most = sum(config.function.reserved or config.queue.concurrency for config in configs)
    if most > free:
        yield warning(
            "quota: Lambda",
            f"all configs together may run {most} times at once, and the account has {free}"
            f" concurrent executions free of {limit}: further runs wait in the queues",
            "request more, or lower `concurrency`",
            page,
        )
    elif not need or free - need >= LEAST:
        yield ok("quota: Lambda", f"{free} of {limit} concurrent executions for at most {most}")


def _has_reserved(clients: Clients, function: str) -> bool:
    """Whether a deployed function already has reserved executions."""
    client = clients.client("lambda")
    try:
        with explained("read the settings of the function", function):
            answer = client.get_function_concurrency(FunctionName=function)
    except StorageError as error:
        if isinstance(error.__cause__, client.exceptions.ResourceNotFoundException):
            return False
        raise
    return bool(answer.get("ReservedConcurrentExecutions"))


@dataclass(frozen=True)
class Quota:
    """A quota of a service, and how to count its use."""

    about: str
    """What it limits."""
    service: str
    """The service, as Service Quotas calls it."""
    code: str
    """The code of the quota in Service Quotas."""
    default: int
    """AWS's default value."""
    region: str
    """The region of the quota; "" for the deployment's region."""
    used: Callable[[Clients, Place], int]
    """Counts its use in the account."""
    needed: Callable[[Plan], int]
    """Counts what a whole deployment needs."""


def _count(clients: Clients, service: str, operation: str, part: str, **arguments: Any) -> int:
    pages = clients.client(service).get_paginator(operation).paginate(**arguments)
    return sum(len(page.get(part, ())) for page in pages)


def _stacks(clients: Clients, place: Place) -> int:
    return _count(clients, "cloudformation", "describe_stacks", "Stacks")


def _buckets(clients: Clients, place: Place) -> int:
    return len(clients.s3.list_buckets().get("Buckets", ()))


def _rules(clients: Clients, place: Place) -> int:
    return _count(clients, "events", "list_rules", "Rules")


def _event_buses(clients: Clients, place: Place) -> int:
    client = clients.client("events")
    count = 0
    more: dict[str, str] = {}
    while True:
        page = client.list_event_buses(**more)
        count += len([bus for bus in page["EventBuses"] if bus["Name"] != "default"])
        if not page.get("NextToken"):
            return count
        more = {"NextToken": page["NextToken"]}


QUOTAS = (
    Quota(
        "stacks", "cloudformation", "L-0485CB21", 2000, "", _stacks,
        lambda plan: len(plan.stacks) + 1,
    ),
    Quota("buckets", "s3", "L-DC2B2D3D", 10_000, "us-east-1", _buckets, lambda plan: 3),
    Quota(
        # On the default event bus: the rule of each stack, and those of the CodePipeline stack.
        "rules", "events", "L-244521F2", 300, "", _rules,
        lambda plan: sum(stack.arrivals is not None for stack in plan.stacks) + 3,
    ),
    Quota(
        "event buses", "events", "L-658A4FD9", 100, "", _event_buses,
        lambda plan: sum(stack.arrivals is not None for stack in plan.stacks),
    ),
)  # fmt: skip
"""The quotas that many configs, or many deployments in one account, may reach."""


def quota(clients: Clients, place: Place, plan: Plan, wanted: Quota) -> Iterator[Finding]:
    """Check one quota, as if nothing of the branch were deployed yet."""
    about, page = f"quota: {wanted.about}", Console(place).quotas(wanted.service)
    with explained(f"count the {wanted.about}"):
        used = wanted.used(clients, place)
    limit, known = _read_limit(clients, wanted)
    need = wanted.needed(plan)
    more = "" if known else " (AWS's default: the account's own quota is not known)"
    if used + need <= limit:
        yield ok(about, f"{used} of {limit:,} are used, {need} are needed by this branch{more}")
        return
    yield (problem if known and used >= limit else warning)(
        about,
        f"{used} of {limit:,} are used{more}, and a deployment of this branch needs {need}",
        "request a higher quota, unless this branch is already deployed",
        page,
    )


def _read_limit(clients: Clients, wanted: Quota) -> tuple[int, bool]:
    """The account's quota, or the default; and whether it is the account's."""
    regional = clients.elsewhere(wanted.region) if wanted.region else clients
    try:
        with explained("read the quota of", wanted.about):
            answer = regional.client("service-quotas").get_service_quota(
                ServiceCode=wanted.service, QuotaCode=wanted.code
            )
        return int(answer["Quota"]["Value"]), True
    except TidegateError:
        return wanted.default, False


def roles(clients: Clients, place: Place, plan: Plan) -> Iterator[Finding]:
    """The quota of IAM roles: one for each config, and some more."""
    with explained("read the account's summary"):
        summary = clients.client("iam").get_account_summary()["SummaryMap"]
    used, limit = int(summary.get("Roles", 0)), int(summary.get("RolesQuota", 0))
    # In each stack the roles of schedules and of the sweep, and of the event bus.
    shared = sum(2 + (stack.arrivals is not None) for stack in plan.stacks)
    need = len(plan.configs) + shared + 4
    if not limit:
        yield unknown("quota: roles", f"{used} are used, {need} are needed by this branch")
    elif used + need <= limit:
        yield ok("quota: roles", f"{used} of {limit:,} are used, {need} are needed by this branch")
    else:
        yield warning(
            "quota: roles",
            f"{used} of {limit:,} are used, and a deployment of this branch needs {need}",
            "request a higher quota, unless this branch is already deployed",
            Console(Place(place.account, place.region)).quotas("iam"),
        )


def check_names(names: Names, manifest: Manifest) -> Iterator[Finding]:
    """Which names are too long or not valid for AWS, and are changed."""
    short: list[str] = []
    base = names.base
    whole = [
        (names.image_repository, base),
        (names.codepipeline_stack, f"{base}-CodePipelineStack"),
    ]
    functions: list[str] = []
    for config in manifest.configs:
        pipeline, name = config.pipeline, config.name
        function = names.function(pipeline, name)
        if function != f"{base}-lambda-{pipeline}-{name}":
            functions.append(f"{config.id}: {function}")
        whole += [
            (names.queue(pipeline, name), f"{base}-queue-{pipeline}-{name}"),
            (names.role(pipeline, name), f"{base}-role-{pipeline}-{name}"),
            (names.rule(pipeline, name), f"{base}-rule-{pipeline}-{name}"),
            (names.schedule(pipeline, name), f"{base}-schedule-{pipeline}-{name}"),
            (names.image_tag(pipeline), f"{pipeline}-{names.branch}"),
            *(
                (names.alarm(pipeline, name, about), f"{base}-alarm-{about}-{pipeline}-{name}")
                for about in metrics.ALARM_KINDS
            ),
        ]
    short = sorted({given for given, plain in whole if given != plain})
    if not functions and not short:
        yield ok("names", "no name must be shortened")
        return
    if functions:
        listed = "; ".join(functions[:5]) + (
            f"; {len(functions) - 5} more" if functions[5:] else ""
        )
        yield ok("names", f"names of functions that are shortened and end in a hash: {listed}")
    if short:
        yield ok("names", f"{len(short)} other names are shortened or changed, such as {short[0]}")
