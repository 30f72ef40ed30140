"""What each role may do, and nothing beyond it; pure.

Each statement names its resources. Where a resource must end in ``*`` (objects below a prefix, the
streams of a log group), the statement says why: the reason goes into the template's checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tidegate.deploy.core.place import Place
from tidegate.runtime.manifest import Config


@dataclass(frozen=True)
class Statement:
    """One permission."""

    sid: str
    """What it is for, in one word."""
    actions: tuple[str, ...]
    """What is allowed."""
    resources: tuple[str, ...]
    """On what."""
    condition: Mapping[str, Any] = field(default_factory=dict)
    """Under which condition."""
    why: str = ""
    """Why a resource has a ``*`` in it; empty when none has."""
    effect: Literal["Allow", "Deny"] = "Allow"
    """Whether it allows, or forbids what others allow."""

    def document(self) -> dict[str, Any]:
        """As it stands in a policy."""
        found: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": self.effect,
            "Action": list(self.actions),
            "Resource": list(self.resources),
        }
        return found | ({"Condition": dict(self.condition)} if self.condition else {})


@dataclass(frozen=True)
class Role:
    """A role of a service."""

    name: str
    """Its name."""
    service: str
    """Who takes it on, such as ``lambda.amazonaws.com``."""
    statements: tuple[Statement, ...]
    """What it may do."""
    trust: Mapping[str, Any] = field(default_factory=dict)
    """The condition under which the service may take it on."""
    boundary: str = ""
    """The ARN of the policy that says what it may do at most."""


def function_statements(
    config: Config,
    place: Place,
    *,
    input_bucket: str,
    output_bucket: str,
    table: str,
    indexes: Sequence[str],
    queue: str,
    log_group: str,
) -> tuple[Statement, ...]:
    """What the function of one config may do; ``queue`` and ``log_group`` are ARNs."""
    return (
        *_reading(config, place, input_bucket, output_bucket),
        *_writing(place, output_bucket),
        Statement(
            "Ledger",
            (
                "dynamodb:BatchGetItem",
                "dynamodb:ConditionCheckItem",
                "dynamodb:DeleteItem",
                "dynamodb:GetItem",
                "dynamodb:PutItem",
                "dynamodb:Query",
                "dynamodb:UpdateItem",
            ),
            (
                place.arn("dynamodb", f"table/{table}"),
                *(place.arn("dynamodb", f"table/{table}/index/{index}") for index in indexes),
            ),
        ),
        Statement(
            "Queue",
            (
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
                "sqs:SendMessage",
            ),
            (queue,),
        ),
        Statement(
            "Logs",
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            (f"{log_group}:*",),
            why="Lambda names the streams of the log group; they are not known beforehand.",
        ),
    )


def _reading(
    config: Config, place: Place, input_bucket: str, output_bucket: str
) -> tuple[Statement, ...]:
    """An ingest reads the raw files under its prefix, a VAP products; texts need no bucket."""
    if config.kind == "VAP":
        return (
            Statement(
                "ReadProducts",
                ("s3:GetObject",),
                (place.bucket(output_bucket, "*"),),
                why="The products that a VAP reads are found in the ledger, under keys that"
                " pipelines choose as they run.",
            ),
        )
    if config.input_path is None or config.inputs:
        return ()
    prefix = literal(config.input_path)
    return (
        Statement(
            "ReadInputs",
            ("s3:GetObject",),
            (place.bucket(input_bucket, f"{prefix}*"),),
            why="Raw files arrive below the config's prefix under names of their own.",
        ),
        # Without it S3 answers 403 for a file that is gone; and a schedule lists what is new.
        Statement(
            "ListInputs",
            ("s3:ListBucket",),
            (place.bucket(input_bucket),),
            {"StringLike": {"s3:prefix": f"{prefix}*"}},
        ),
    )


def _writing(place: Place, bucket: str) -> tuple[Statement, ...]:
    return (
        Statement(
            "WriteProducts",
            ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"),
            (place.bucket(bucket, "*"),),
            why="Pipelines choose the keys of their products as they run.",
        ),
        Statement("ListProducts", ("s3:ListBucket",), (place.bucket(bucket),)),
    )


def scheduler_statements(queues: Sequence[str]) -> tuple[Statement, ...]:
    """What EventBridge Scheduler may do: send to the queues of scheduled configs."""
    return (Statement("Send", ("sqs:SendMessage",), tuple(queues)),)


def literal(text: str) -> str:
    """``text`` in a policy, where ``*``, ``?`` and ``$`` would mean something else."""
    return "".join(f"${{{char}}}" if char in "*?$" else char for char in text)
