"""The entry point of a stack's sweep: ``tidegate.targets.aws.sweep_handler.handler``.

Its schedule sends which configs it is about (``swept_config``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from tidegate.targets.aws import alerts
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.sweep import Sweep, sweep_log
from tidegate.targets.aws.sweep_messages import SweepMessages
from tidegate.targets.aws.swept_config import read_event, read_undelivered

_sweeps: list[Sweep] = []


def handler(event: Mapping[str, Any], context: Any) -> None:
    """Sweep the configs of an event; raises SweepFailed."""
    if not _sweeps:
        _sweeps.append(_new_sweep(os.environ))
    _sweeps[0].sweep(read_event(event), read_undelivered(event))


def _new_sweep(variables: Mapping[str, str]) -> Sweep:
    clients = Clients()
    ledger = DynamoLedger(variables["TIDEGATE_TABLE"], clients)
    log = sweep_log(variables.get("LOG_LEVEL") or "INFO")
    branch = variables["BRANCH"]
    link = (
        f"what failed: tidegate runs --failed --target aws --branch {branch}\n"
        f"the dashboard: {variables['TIDEGATE_DASHBOARD']}"
    )
    messages = SweepMessages(
        ledger,
        partial(alerts.publish, variables["TIDEGATE_ALERTS"], clients=clients),
        log,
        name=variables["AWS_LAMBDA_FUNCTION_NAME"],
        place=variables["TIDEGATE_PLACE"],
        link=link,
    )
    return Sweep(
        ledger,
        clients,
        messages,
        input_bucket=variables.get("TIDEGATE_INPUT_BUCKET", ""),
        output_bucket=variables.get("TSDAT_S3_BUCKET_NAME", ""),
        log=log,
    )
