"""The entry point of a stack's sweep: ``tidegate.targets.aws.sweep_handler.handler``.

Its schedule sends which configs it is about (``swept_config``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.sweep import Sweep
from tidegate.targets.aws.swept_config import read_event, read_undelivered

_sweeps: list[Sweep] = []


def handler(event: Mapping[str, Any], context: Any) -> None:
    """Sweep the configs of an event; raises SweepFailed."""
    if not _sweeps:
        clients = Clients()
        _sweeps.append(
            Sweep(
                DynamoLedger(os.environ["TIDEGATE_TABLE"], clients),
                clients,
                input_bucket=os.environ.get("TIDEGATE_INPUT_BUCKET", ""),
                output_bucket=os.environ.get("TSDAT_S3_BUCKET_NAME", ""),
                level=os.environ.get("LOG_LEVEL") or "INFO",
            )
        )
    _sweeps[0].sweep(read_event(event), read_undelivered(event))
