"""The function that looks after the configs of a stack every quarter of an hour; pure.

See ``targets.aws.sweep``. Each stack has one, because the event of its schedule names its configs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tidegate.deploy.core.console import Console
from tidegate.deploy.design import metrics
from tidegate.deploy.design.model import (
    Arrivals,
    ConfigResources,
    Function,
    Schedule,
    Sweep,
    Zip,
)
from tidegate.deploy.design.roles import Role, sweep_statements
from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Manifest, NoticeSettings
from tidegate.targets.aws.names import Names, numbered
from tidegate.targets.aws.swept_config import PERIOD, SweptConfig, sweep_event

if TYPE_CHECKING:
    from tidegate.deploy.design.plan import Planner

HANDLER = "tidegate.targets.aws.sweep_handler.handler"
"""The function's entry point."""
MEMORY, TIMEOUT = 512, 600
"""The memory (MB) and time (s) of the function; a sweep must end before the next begins."""
LONGEST_EVENT = 256 * 1024
"""Bytes of the event that a schedule of EventBridge Scheduler takes."""


def plan_sweep(
    planner: Planner, number: int, configs: Sequence[ConfigResources], arrivals: Arrivals | None
) -> Sweep:
    """The sweep of the stack of that number."""
    names, place, keys = planner.names, planner.place, planner.keys
    # Any image will do: all have Tidegate in them. The first by name changes least.
    first = min(configs, key=lambda config: config.id)
    code = first.function.code
    name = names.sweep("function", number)
    dashboard = Console(place).dashboard(numbered(names.dashboard, number, 255))
    environment = {
        "BRANCH": names.branch,
        "LOG_LEVEL": planner.options.log_level,
        "TIDEGATE_ALERTS": place.arn("sns", names.alerts_topic),
        "TIDEGATE_DASHBOARD": dashboard,
        "TIDEGATE_INPUT_BUCKET": keys.input_bucket_name or "",
        "TIDEGATE_PLACE": names.base,
        "TIDEGATE_TABLE": names.ledger_table,
        "TSDAT_S3_BUCKET_NAME": keys.output_bucket_name or "",
        **(code.environment if isinstance(code, Zip) else {}),
    }
    log_group = f"/aws/lambda/{name}"
    function = Function(
        name=name,
        description=f"Tidegate: looks after the configs of {names.base}"[:256],
        code=code,
        image=first.function.image,
        architecture=first.function.architecture,
        memory=MEMORY,
        timeout=TIMEOUT,
        ephemeral_storage=512,
        environment=dict(sorted(environment.items())),
        log_group=log_group,
        log_retention=planner.options.log_retention,
    )
    event = _event(planner, configs, arrivals.dead_letters if arrivals else "")
    role = Role(
        names.sweep("role", number),
        "lambda.amazonaws.com",
        sweep_statements(
            names, place, planner.indexes, place.arn("logs", f"log-group:{log_group}")
        ),
        boundary=planner.boundary,
        path=names.role_path,
    )
    schedule = Schedule(
        names.sweep("schedule", number),
        f"rate({PERIOD // 60} minutes)",
        event,
    )
    alarm = metrics.failed_sweeps(names.branch_alarm("sweep", number), name)
    return Sweep(function, HANDLER, role, schedule, alarm)


def _event(planner: Planner, configs: Sequence[ConfigResources], undelivered: str) -> str:
    """The event that the schedule sends, with the configs of the stack."""
    swept = [
        SweptConfig(
            planner.manifest.config(config.id),
            config.queue.name,
            config.queue.dead_letters,
            config.function.timeout,
            planner.manifest.notices.get(config.id, NoticeSettings()),
        )
        for config in configs
    ]
    given = sweep_event(swept, undelivered)
    event = json.dumps(given, separators=(",", ":"), sort_keys=True)
    if len(event) > LONGEST_EVENT:
        raise ConfigurationError(
            f"the settings of the configs {configs[0].id} to {configs[-1].id} are too long",
            why=f"a schedule of AWS sends {LONGEST_EVENT} bytes at most, they take {len(event)}",
            next="shorten their `environment:` or `inputs:`",
        )
    return event


def notes_on_notify(manifest: Manifest, names: Names) -> Iterator[str]:
    """What a person should know about ``notify:`` on AWS, if the config has it."""
    if manifest.notices:
        yield (
            "`notify:` on AWS: messages go to the subscribers of the topic"
            f" {names.alerts_topic}, with the `on`, `at_most_every` and `quiet` of the config;"
            " only `tidegate up` uses the addresses of `to`"
        )
