"""What the function writes to CloudWatch: lines of JSON, and metrics."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import RunRecord

NAMESPACE = "Tidegate"
"""The namespace of the metrics."""
_LINES_SHOWN = 500


class Reporting:
    """The log and the metrics of one config's function."""

    def __init__(self, config: Config, level: str) -> None:
        self.log = Logger(service="tidegate", level=level, logger_formatter=LineFormatter())
        self.log.append_keys(pipeline=config.pipeline, config=config.name)
        self._metrics = EphemeralMetrics(namespace=NAMESPACE)
        self._metrics.set_default_dimensions(pipeline=config.pipeline, config=config.name)

    def ended(self, record: RunRecord) -> None:
        """One line, and the metrics, for an attempt that has ended."""
        failure = record.failure
        say = {"failed": self.log.error, "retrying": self.log.warning}
        say.get(record.state, self.log.info)(
            f"{record.run.title}: {record.outcome}" + (f": {failure.message}" if failure else ""),
            extra={
                "action": "run",
                "run": record.key[:12],
                "state": record.state,
                "attempt": record.attempt,
                "products": len(record.products),
                "seconds": dict(record.seconds),
                "log": record.log,
            },
        )
        for name, unit, value in measures(record):
            self._metrics.add_metric(name=name, unit=unit, value=value)

    def show(self, log: Path) -> None:
        """The first lines of a run's own log."""
        with log.open(encoding="utf-8") as file:
            for n, line in enumerate(file):
                if n == _LINES_SHOWN:
                    self.log.info("the rest of the log is in S3", extra={"action": "cut"})
                    break
                sys.stdout.write(line)
        sys.stdout.flush()

    def flush(self) -> None:
        """Write out the metrics."""
        if self._metrics.metric_set:
            self._metrics.flush_metrics()


class LineFormatter(LambdaPowertoolsFormatter):
    """Powertools' lines, with the same names as the lines of a run's log."""

    def __init__(self) -> None:
        super().__init__(use_rfc3339=True, utc=True)

    def serialize(self, log: Any) -> str:
        """One line of JSON."""
        line = {"time": log.pop("timestamp", ""), **log}
        line.pop("location", None)
        return str(super().serialize(line))


def measures(record: RunRecord) -> Iterator[tuple[str, MetricUnit, float]]:
    """The metric of an attempt that an alarm needs and neither Lambda nor SQS has.

    CloudWatch charges for each metric in every hour in which it gets a value, so nothing is sent if
    a run succeeds. Source: CloudWatch User Guide, "Analyzing, optimizing, and
    reducing CloudWatch costs".
    """
    if record.state == "failed":
        yield "Failures", MetricUnit.Count, 1.0
