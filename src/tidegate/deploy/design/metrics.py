"""The alarms and dashboards of a branch, as plain records; pure.

The sweep (``targets.aws.sweep``) sends messages about failures, stale configs and dead letters, in
words that say more than an alarm can. There are alarms only for what it does not see, and for a
sweep that itself fails, or does not run. Their metrics are those of Lambda and SQS, which cost
nothing. The function's own metric (``targets.aws.reporting``) is for the dashboard.
Sources: SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS"; Lambda Developer Guide,
"Types of metrics for Lambda functions"; Amazon CloudWatch pricing, "Alarms".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tidegate.targets.aws.swept_config import PERIOD

NAMESPACE = "Tidegate"
"""The namespace of the function's own metrics."""
SERVICE = "POWERTOOLS_SERVICE_NAME"
"""The environment variable with the value of their dimension ``service``: the branch."""

CONFIGS_PER_WIDGET = 10
"""Configs in one widget of a dashboard, so that people can distinguish the lines."""
LONGEST_WAIT = 3600
"""How long a message may wait before an alarm fires, in s."""
MOST_SUBTRACTED = 9
"""Metrics that the alarm for throttles can subtract: an alarm takes ten."""
_WIDTH, _HEIGHT = 8, 6

Missing = Literal["breaching", "notBreaching", "ignore", "missing"]


@dataclass(frozen=True)
class Metric:
    """A metric in CloudWatch, and how its values are combined."""

    name: str
    """Its name."""
    namespace: str
    """Its namespace, such as ``AWS/SQS``."""
    dimensions: Mapping[str, str]
    """Its dimensions."""
    statistic: str
    """How values of a period are combined: Sum, Maximum, p90 and so on."""


@dataclass(frozen=True)
class Alarm:
    """An alarm of CloudWatch."""

    name: str
    """Its name."""
    about: str
    """Its kind: one of ``ALARM_KINDS`` or ``BRANCH_ALARMS``."""
    description: str
    """What it means and what to do, for people."""
    metrics: tuple[Metric, ...]
    """The metrics that it watches."""
    threshold: float
    """It fires above this value, or below it if ``below`` is set."""
    expression: str = ""
    """Metric math over the metrics as ``m0``, ``m1``, …; empty for the only metric itself."""
    below: bool = False
    """Whether it fires below the threshold."""
    period: int = 300
    """The period of one data point, in s."""
    periods: int = 1
    """How many data points in a row must be beyond the threshold."""
    missing: Missing = "notBreaching"
    """How a missing data point counts; with "missing", a message is sent when there are none."""


@dataclass(frozen=True)
class MonitoredConfig:
    """What alarms and dashboards need to know about one config."""

    id: str
    """The config's id."""
    service: str
    """The dimension ``service`` of its own metrics."""
    function: str
    """The name of its function."""
    queue: str
    """The name of its queue."""
    memory: int
    """The memory of its function, in MB."""
    one_at_a_time: bool = False
    """Whether Lambda throttles the function to one run at a time."""
    alarm_names: Mapping[str, str] = field(default_factory=dict)
    """The name of the alarm of each kind."""

    def own_metric(self, name: str, statistic: str = "Sum") -> Metric:
        """A metric that the function itself sends."""
        pipeline, _, config = self.id.partition("/")
        dimensions = {"config": config, "pipeline": pipeline, "service": self.service}
        return Metric(name, NAMESPACE, dimensions, statistic)

    def lambda_metric(self, name: str, statistic: str = "Sum") -> Metric:
        """A metric of Lambda about the function."""
        return Metric(name, "AWS/Lambda", {"FunctionName": self.function}, statistic)

    def queue_metric(self, name: str, statistic: str, queue: str = "") -> Metric:
        """A metric of SQS about the queue, or about another ``queue``."""
        return Metric(name, "AWS/SQS", {"QueueName": queue or self.queue}, statistic)


ALARM_KINDS = ("age",)
"""The kinds of a config's alarms: old messages."""
BRANCH_ALARMS = ("throttles", "sweep")
"""The kinds of alarms of a branch: Lambda delays runs, sweeps that fail or do not run. Each stack
has one of the last kind."""


def alarms(config: MonitoredConfig, *, math: bool = True) -> tuple[Alarm, ...]:
    """The alarms of one config; without ``math``, each watches only its first metric."""
    return simplified(_alarms(config), math)


def simplified(found: Iterable[Alarm], math: bool) -> tuple[Alarm, ...]:
    """These alarms; without ``math``, each watches only its first metric."""
    if math:
        return tuple(found)
    return tuple(replace(alarm, expression="", metrics=alarm.metrics[:1]) for alarm in found)


def _alarms(config: MonitoredConfig) -> list[Alarm]:
    id, names = config.id, config.alarm_names
    return [
        # If the function itself cannot start, its messages become old, and then dead letters.
        Alarm(
            names["age"],
            "age",
            f"{id}: files or schedules wait too long. Raise `concurrency`, or find out why runs are"
            f" slow: `tidegate logs {id} --target aws`.",
            (config.queue_metric("ApproximateAgeOfOldestMessage", "Maximum"),),
            LONGEST_WAIT,
        ),
    ]


def failed_sweeps(name: str, function: str) -> Alarm:
    """The alarm about a sweep that fails three times in a row, or does not run for that long.

    Lambda sends the metric for each invocation, also with the value 0. Without any value, the state
    is "insufficient data": a new alarm has it, too, but only a change of the state is reported.
    """
    return Alarm(
        name,
        "sweep",
        f"The function {function} fails, or does not run (insufficient data). Nobody gets messages"
        " about failed runs, stale configs and dead letters, and the backlog is not worked on. Its"
        " log says why; its schedule is in EventBridge Scheduler.",
        (Metric("Errors", "AWS/Lambda", {"FunctionName": function}, "Sum"),),
        0,
        period=PERIOD,
        periods=3,
        missing="missing",
    )


def throttles(name: str, configs: Sequence[MonitoredConfig]) -> Alarm | None:
    """One alarm for all functions of the account and region, by Lambda's metric without dimensions.

    It does not count the functions that run once at a time: Lambda throttles these on purpose. None
    if these are too many for an alarm.
    """
    limited = [config for config in configs if config.one_at_a_time]
    if len(limited) > MOST_SUBTRACTED:
        return None
    subtracted = ", ".join(f"m{number}" for number in range(1, len(limited) + 1))
    return Alarm(
        name,
        "throttles",
        "Lambda delays runs, because the account's concurrency limit is reached. Ask AWS for more"
        " concurrent executions, or lower `concurrency`.",
        (
            Metric("Throttles", "AWS/Lambda", {}, "Sum"),
            *(config.lambda_metric("Throttles") for config in limited),
        ),
        0,
        expression=f"m0 - SUM([{subtracted}])" if limited else "",
        periods=3,
    )


def dashboard(
    title: str,
    configs: Sequence[MonitoredConfig],
    region: str,
    alarm_arns: Mapping[str, Sequence[str]],
) -> str:
    """The body of a dashboard, JSON: one row of widgets for ``CONFIGS_PER_WIDGET`` configs."""
    widgets: list[dict[str, Any]] = [
        {
            "type": "text",
            **_at(0, 0, 24, 1),
            "properties": {"markdown": f"# {title}"},
        }
    ]
    top = 1
    for n in range(0, len(configs), CONFIGS_PER_WIDGET):
        group = configs[n : n + CONFIGS_PER_WIDGET]
        of = f" ({group[0].id} … {group[-1].id})" if len(configs) > CONFIGS_PER_WIDGET else ""
        arns = [arn for config in group for arn in alarm_arns[config.id]]
        widgets.append(
            {
                "type": "alarm",
                **_at(0, top, 24, 2),
                "properties": {"title": f"Alarms{of}", "alarms": arns, "states": ["ALARM"]},
            }
        )
        for number, (name, lines) in enumerate(_lines(group).items()):
            widgets.append(
                {
                    "type": "metric",
                    **_at(number % 3 * _WIDTH, top + 2 + number // 3 * _HEIGHT, _WIDTH, _HEIGHT),
                    "properties": {
                        "title": f"{name}{of}",
                        "view": "timeSeries",
                        "region": region,
                        "period": 300,
                        "metrics": lines,
                    },
                }
            )
        top += 2 + 2 * _HEIGHT
    return json.dumps({"widgets": widgets}, separators=(",", ":"))


def _at(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "width": width, "height": height}


def _lines(group: Sequence[MonitoredConfig]) -> dict[str, list[list[Any]]]:
    """The title of each widget, and its lines in CloudWatch's notation."""

    def lines(metric: Callable[[MonitoredConfig], Metric]) -> list[list[Any]]:
        return [_line(config, metric(config)) for config in group]

    return {
        "Arrivals": lines(lambda c: c.queue_metric("NumberOfMessagesSent", "Sum")),
        "Done": lines(lambda c: c.queue_metric("NumberOfMessagesDeleted", "Sum")),
        "Failures": lines(lambda c: c.own_metric("Failures")),
        "Longest wait (s)": lines(
            lambda c: c.queue_metric("ApproximateAgeOfOldestMessage", "Maximum")
        ),
        "Duration of an invocation (ms, p90)": lines(lambda c: c.lambda_metric("Duration", "p90")),
        "Cost: GB-seconds": [line for n, c in enumerate(group) for line in _gigabyte_seconds(n, c)],
    }


def _line(config: MonitoredConfig, metric: Metric, **more: Any) -> list[Any]:
    pairs = [part for pair in metric.dimensions.items() for part in pair]
    shown = {"label": config.id, "stat": metric.statistic, **more}
    return [metric.namespace, metric.name, *pairs, shown]


def _gigabyte_seconds(number: int, config: MonitoredConfig) -> list[list[Any]]:
    duration = config.lambda_metric("Duration")
    gigabytes = round(config.memory / 1024, 6)
    expression = {
        "expression": f"m{number} / 1000 * {gigabytes:g}",
        "label": config.id,
        "id": f"e{number}",
    }
    return [[expression], _line(config, duration, id=f"m{number}", visible=False)]
