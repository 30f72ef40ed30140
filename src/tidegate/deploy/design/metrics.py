"""Alarms and dashboards, as plain descriptions; pure.

The function's own metrics (``tidegate.targets.aws.function``) tell of runs; those of Lambda, SQS
and CloudWatch of what happens when the function cannot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

NAMESPACE = "Tidegate"
"""The namespace of the function's own metrics."""
SERVICE = "POWERTOOLS_SERVICE_NAME"
"""The variable that gives them the dimension ``service``: it tells branches apart."""

DAY = 86_400
LOOKS_BACK = 7 * DAY
"""CloudWatch's alarms look back so far, s."""
IN_ONE_WIDGET = 10
"""Configs in one widget: more lines than that nobody tells apart."""
_WIDTH, _HEIGHT = 8, 6

Missing = Literal["breaching", "notBreaching", "ignore", "missing"]


@dataclass(frozen=True)
class Metric:
    """One metric of CloudWatch's, over one period."""

    name: str
    """Its name."""
    namespace: str
    """Whose it is, such as ``AWS/SQS``."""
    dimensions: Mapping[str, str]
    """Which one of them."""
    statistic: str
    """Such as Sum, Maximum or p90."""


@dataclass(frozen=True)
class Alarm:
    """When to tell a person."""

    name: str
    """Its name."""
    about: str
    """What it is about, in one word."""
    description: str
    """What it means and what to do, in the message that it sends."""
    metrics: tuple[Metric, ...]
    """What it goes by."""
    threshold: float
    """It goes off above this (``expression`` empty) or below (``below``)."""
    expression: str = ""
    """Metric math over ``m0``, ``m1``, …; empty for the one metric itself."""
    below: bool = False
    """Whether it goes off below the threshold instead."""
    period: int = 300
    """How long one point of the metric is, s."""
    periods: int = 1
    """How many points in a row must be beyond the threshold."""
    missing: Missing = "notBreaching"
    """What it means when there is no point."""


@dataclass(frozen=True)
class Watched:
    """What alarms and dashboards need to know of one config."""

    id: str
    """The config's id."""
    service: str
    """The dimension ``service`` of its own metrics."""
    function: str
    """Its function."""
    queue: str
    """Its queue."""
    dead_letters: str
    """Its dead-letter queue."""
    memory: int
    """The memory of its function, MB."""
    visibility: int
    """For how long its queue hides a message that is being handled, s."""
    expect_every: int | None = None
    """A silence longer than this is an alarm, s."""
    limited: bool = False
    """Whether the function is held to one run at a time, by throttling it."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The name of the alarm about each thing."""

    def own(self, name: str, statistic: str = "Sum") -> Metric:
        """A metric of the function's own."""
        pipeline, _, config = self.id.partition("/")
        dimensions = {"config": config, "pipeline": pipeline, "service": self.service}
        return Metric(name, NAMESPACE, dimensions, statistic)

    def of_function(self, name: str, statistic: str = "Sum") -> Metric:
        """A metric of Lambda's."""
        return Metric(name, "AWS/Lambda", {"FunctionName": self.function}, statistic)

    def of_queue(self, name: str, statistic: str, queue: str = "") -> Metric:
        """A metric of SQS's."""
        return Metric(name, "AWS/SQS", {"QueueName": queue or self.queue}, statistic)


ABOUT = ("dead-letters", "failures", "throttles", "age", "silence")
"""What alarms there are about."""


def alarms(config: Watched, *, math: bool = True) -> tuple[Alarm, ...]:
    """The alarms of one config; without ``math``, each by its first metric alone."""
    found = sorted(_alarms(config), key=lambda alarm: ABOUT.index(alarm.about))
    if math:
        return tuple(found)
    return tuple(replace(alarm, expression="", metrics=alarm.metrics[:1]) for alarm in found)


def _alarms(config: Watched) -> list[Alarm]:
    id, names = config.id, config.names
    found = [
        Alarm(
            names["dead-letters"],
            "dead-letters",
            f"{id}: something that arrived could not be handled, and lies in the queue"
            f" {config.dead_letters}. Find the cause in the function's log, then"
            " `tidegate retry --failed --target aws`.",
            (
                config.of_queue(
                    "ApproximateNumberOfMessagesVisible", "Maximum", config.dead_letters
                ),
            ),
            0,
        ),
        Alarm(
            names["failures"],
            "failures",
            f"{id}: a run has failed. `tidegate runs --failed --target aws` says which and why.",
            # SUM over both: a metric that was never sent would make a plain sum have no value.
            (config.own("Failures"), config.of_function("Errors")),
            0,
            expression="SUM([m0, m1])",
        ),
        Alarm(
            names["age"],
            "age",
            f"{id}: what arrives waits too long. Raise `concurrency`, or look why runs are slow.",
            (config.of_queue("ApproximateAgeOfOldestMessage", "Maximum"),),
            # After a function has died, its message waits for so long: that is no backlog yet.
            max(3600, 2 * config.visibility),
        ),
    ]
    if not config.limited:  # one run at a time is had by throttling: it is no news then
        found.append(
            Alarm(
                names["throttles"],
                "throttles",
                f"{id}: Lambda holds runs back, since the account's concurrency is used up.",
                (config.of_function("Throttles"),),
                0,
                periods=3,
            )
        )
    if config.expect_every is not None and config.expect_every <= LOOKS_BACK:
        found.append(_silence(config, config.expect_every))
    return found


def _silence(config: Watched, expect_every: int) -> Alarm:
    """No run for longer than ``expect_every``: all points in a row without one."""
    period = silence_period(expect_every)
    return Alarm(
        config.names["silence"],
        "silence",
        f"{config.id}: no run for longer than {expect_every} s (`expect_every`). Look whether data"
        " still arrive, and whether the function still works.",
        (config.own("Runs"),),
        1,
        # Points without runs count as none. Left missing, CloudWatch would look for older points
        # in their place, and find the silence out too late.
        expression="FILL(m0, 0)",
        below=True,
        period=period,
        periods=-(-expect_every // period),
        missing="breaching",
    )


def silence_period(expect_every: int) -> int:
    """How long one point is: CloudWatch looks back a day at points below an hour, else a week."""
    for limit, period in ((3600, 60), (6 * 3600, 300), (DAY, 900)):
        if expect_every <= limit:
            return period
    return 3600


def dashboard(
    title: str, configs: Sequence[Watched], region: str, alarm_arns: Mapping[str, Sequence[str]]
) -> str:
    """The body of a dashboard of these configs, ``IN_ONE_WIDGET`` to a row of widgets."""
    widgets: list[dict[str, Any]] = [
        {
            "type": "text",
            **_at(0, 0, 24, 1),
            "properties": {"markdown": f"# {title}"},
        }
    ]
    top = 1
    for n in range(0, len(configs), IN_ONE_WIDGET):
        group = configs[n : n + IN_ONE_WIDGET]
        of = f" ({group[0].id} … {group[-1].id})" if len(configs) > IN_ONE_WIDGET else ""
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


def _lines(group: Sequence[Watched]) -> dict[str, list[list[Any]]]:
    """What each widget shows: its title, and CloudWatch's shorthand for each line."""
    return {
        "Arrivals": [_line(c, c.of_queue("NumberOfMessagesSent", "Sum")) for c in group],
        "Products": [_line(c, c.own("Products")) for c in group],
        "Failures": [_line(c, c.own("Failures")) for c in group],
        "Lag from arrival to product (s, p90)": [_line(c, c.own("Lag", "p90")) for c in group],
        "Duration of a run (s, p90)": [_line(c, c.own("Duration", "p90")) for c in group],
        "Cost: GB-seconds": [line for n, c in enumerate(group) for line in _gigabyte_seconds(n, c)],
    }


def _line(config: Watched, metric: Metric, **more: Any) -> list[Any]:
    pairs = [part for pair in metric.dimensions.items() for part in pair]
    shown = {"label": config.id, "stat": metric.statistic, **more}
    return [metric.namespace, metric.name, *pairs, shown]


def _gigabyte_seconds(number: int, config: Watched) -> list[list[Any]]:
    duration = config.of_function("Duration")
    gigabytes = round(config.memory / 1024, 6)
    expression = {
        "expression": f"m{number} / 1000 * {gigabytes:g}",
        "label": config.id,
        "id": f"e{number}",
    }
    return [[expression], _line(config, duration, id=f"m{number}", visible=False)]
