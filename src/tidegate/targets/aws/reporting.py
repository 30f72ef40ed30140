"""What the function writes to CloudWatch: lines of JSON, and metrics."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
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
        self.log = Logger(service="tidegate", level=level, logger_formatter=_Formatter())
        self.log.append_keys(pipeline=config.pipeline, config=config.name)
        self._metrics = EphemeralMetrics(namespace=NAMESPACE)
        self._metrics.set_default_dimensions(pipeline=config.pipeline, config=config.name)

    def ended(self, record: RunRecord, now: datetime) -> None:
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
        for name, unit, value in measures(record, now):
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


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools' lines, with the same names as the lines of a run's log."""

    def __init__(self) -> None:
        super().__init__(use_rfc3339=True, utc=True)

    def serialize(self, log: Any) -> str:
        """One line of JSON."""
        line = {"time": log.pop("timestamp", ""), **log}
        line.pop("location", None)
        return str(super().serialize(line))


def measures(record: RunRecord, now: datetime) -> Iterator[tuple[str, MetricUnit, float]]:
    """The metrics of an attempt that alarms and the dashboard use; others only if not zero.

    CloudWatch charges for each metric in every hour in which it gets a value. Source: CloudWatch
    User Guide, "CloudWatch billing and cost".
    """
    yield "Runs", MetricUnit.Count, 1
    yield "Failures", MetricUnit.Count, float(record.state == "failed")
    if record.state == "retrying":
        yield "Retries", MetricUnit.Count, 1.0
    yield "Duration", MetricUnit.Seconds, record.seconds.get("total", 0.0)
    if record.state not in ("succeeded", "empty"):
        return
    yield "Products", MetricUnit.Count, float(len(record.products))
    bad = sum(quality.bad for product in record.products for quality in product.quality)
    if bad:
        yield "BadSamples", MetricUnit.Count, float(bad)
    if record.run.arrived is not None and not record.run.again:
        lag = (now - record.run.arrived).total_seconds()
        yield "Lag", MetricUnit.Seconds, max(lag, 0.0)
