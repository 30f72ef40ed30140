"""What the roles of functions and schedules may do, and nothing more; pure.

Each statement names its resources. If a resource must end in ``*`` (objects below a prefix, streams
of a log group), the statement says why, for cdk-nag.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.design.arn_patterns import ANY_NAME, queue_arns
from tidegate.runtime.manifest import Config
from tidegate.targets.aws.names import Names

DEFAULT_STORAGE = "storage/root"
"""Where products are, if Tsdat was not asked."""


@dataclass(frozen=True)
class Statement:
    """One permission."""

    sid: str
    """Its purpose, in one word."""
    actions: tuple[str, ...]
    """The actions."""
    resources: tuple[str, ...]
    """The ARNs of the resources."""
    condition: Mapping[str, Any] = field(default_factory=dict)
    """The condition; empty for none."""
    why: str = ""
    """Why a resource has a ``*`` in it; empty when none has."""

    def document(self) -> dict[str, Any]:
        """The statement as it is written in a policy."""
        found: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": list(self.resources),
        }
        return found | ({"Condition": dict(self.condition)} if self.condition else {})


@dataclass(frozen=True)
class Role:
    """A role of an AWS service."""

    name: str
    """Its name."""
    service: str
    """The service that assumes it, such as ``lambda.amazonaws.com``; "" with a ``provider``."""
    statements: tuple[Statement, ...]
    """What it may do."""
    trust: Mapping[str, Any] = field(default_factory=dict)
    """The condition under which the service may assume it; empty for none."""
    boundary: str = ""
    """The ARN of its permissions boundary; empty for none."""
    path: str = "/"
    """IAM's path of it, a part of its ARN."""
    provider: str = ""
    """The ARN of an identity provider, whose users assume it instead of a service."""


def ledger_statement(place: Place, table: str, indexes: Iterable[str]) -> Statement:
    """What functions may do with the ledger table: in their roles, and in the boundary of these."""
    return Statement(
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
    )


def encryption_statements(
    place: Place, inputs: str | None, outputs: str | None
) -> Iterable[Statement]:
    """Use the KMS keys with which S3 encrypts the objects of these buckets, and no other data.

    ``inputs`` are read only. The bucket's key may change, and older objects keep theirs, so the
    condition names the bucket, not the key. S3 gives KMS the ARN of the object, or of the bucket if
    it uses a bucket key. Source: S3 User Guide, "Using server-side encryption with AWS KMS keys
    (SSE-KMS)", section "Encryption context", and "Reducing the cost of SSE-KMS with Amazon S3
    Bucket Keys". Both bucket and key are in the region.
    """
    decrypt = ("kms:Decrypt",)
    wanted: list[tuple[str, tuple[str, ...], str | None]] = [
        ("DecryptInputs", decrypt, inputs if inputs != outputs else None),
        ("EncryptProducts", (*decrypt, "kms:GenerateDataKey"), outputs),
    ]
    for sid, actions, bucket in wanted:
        if bucket is not None:
            yield Statement(
                sid,
                actions,
                (f"arn:{place.partition}:kms:{place.region}:*:key/*",),
                {
                    "StringEquals": {"kms:ViaService": f"s3.{place.region}.{place.domain}"},
                    "StringLike": {
                        "kms:EncryptionContext:aws:s3:arn": [
                            place.bucket(bucket),
                            place.bucket(bucket, "*"),
                        ]
                    },
                },
                why="The condition limits it to the objects of one bucket, whatever their key is.",
            )


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
        *_writing(config, place, output_bucket),
        *encryption_statements(
            place, input_bucket if _reads_inputs(config) else None, output_bucket
        ),
        ledger_statement(place, table, indexes),
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
            why="Lambda chooses the names of the log streams.",
        ),
    )


def _reads_inputs(config: Config) -> bool:
    """Whether a config reads raw files from the input bucket."""
    return config.kind == "Ingest" and config.input_path is not None and not config.inputs


def _reading(
    config: Config, place: Place, input_bucket: str, output_bucket: str
) -> tuple[Statement, ...]:
    """An ingest reads raw files below its prefix, a VAP products. Text inputs need no bucket."""
    if config.kind == "VAP":
        return (
            Statement(
                "ReadProducts",
                ("s3:GetObject",),
                (place.bucket(output_bucket, "*"),),
                why="The ledger has the keys of a VAP's products; pipelines choose them when they"
                " run.",
            ),
        )
    if config.input_path is None or not _reads_inputs(config):
        return ()
    prefix = literal(config.input_path)
    return (
        Statement(
            "ReadInputs",
            ("s3:GetObject",),
            (place.bucket(input_bucket, f"{prefix}*"),),
            why="Raw files may have any name below the config's prefix.",
        ),
        # Without it, S3 answers 403 for a deleted file. A scheduled ingest lists new files, too.
        Statement(
            "ListInputs",
            ("s3:ListBucket",),
            (place.bucket(input_bucket),),
            {"StringLike": {"s3:prefix": f"{prefix}*"}},
        ),
    )


def _writing(config: Config, place: Place, bucket: str) -> tuple[Statement, ...]:
    """Products are written anywhere in the bucket, but deleted below the storage root only."""
    root = (config.tsdat.storage_root if config.tsdat else "") or DEFAULT_STORAGE
    return (
        Statement(
            "WriteProducts",
            ("s3:AbortMultipartUpload", "s3:PutObject"),
            (place.bucket(bucket, "*"),),
            why="Pipelines choose the keys of their products when they run.",
        ),
        Statement(
            "ReplaceProducts",
            ("s3:DeleteObject",),
            (place.bucket(bucket, f"{literal(root.strip('/'))}/*"),),
            why="A run deletes products that it replaces by others of other names.",
        ),
        Statement("ListProducts", ("s3:ListBucket",), (place.bucket(bucket),)),
    )


def scheduler_statements(queues: Sequence[str], sweep: str) -> tuple[Statement, ...]:
    """What EventBridge Scheduler may do: send to the queues of scheduled configs, start the sweep.

    Source: EventBridge Scheduler User Guide, "Setting up Amazon EventBridge Scheduler", section
    "Set up the execution role".
    """
    start = Statement("Sweep", ("lambda:InvokeFunction",), (sweep,))
    return (Statement("Send", ("sqs:SendMessage",), tuple(queues)), start) if queues else (start,)


def events_statements(bus: str) -> tuple[Statement, ...]:
    """What a rule may do that passes events on to another bus of the account, an ARN.

    Source: EventBridge User Guide, "Sending and receiving Amazon EventBridge events between event
    buses in the same account and Region".
    """
    return (Statement("Events", ("events:PutEvents",), (bus,)),)


def queues_statement(names: Names, place: Place) -> Statement:
    """Messages of all queues of the branch: take, postpone, delete, send and count them."""
    return Statement(
        "Queues",
        (
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
        ),
        queue_arns(names, place),
        why=ANY_NAME,
    )


def alerts_statement(names: Names, place: Place) -> Statement:
    """Send messages to the alerts topic of the branch, and to no other."""
    return Statement("Alerts", ("sns:Publish",), (place.arn("sns", names.alerts_topic),))


def sweep_statements(
    names: Names, place: Place, indexes: Iterable[str], log_group: str
) -> tuple[Statement, ...]:
    """What the sweep may do with ledger, queues and alerts topic; it reads no files."""
    return (
        ledger_statement(place, names.ledger_table, indexes),
        queues_statement(names, place),
        alerts_statement(names, place),
        Statement(
            "Logs",
            ("logs:CreateLogStream", "logs:PutLogEvents"),
            (f"{log_group}:*",),
            why="Lambda chooses the names of the log streams.",
        ),
    )


def literal(text: str) -> str:
    """``text`` escaped for a policy, in which ``*``, ``?`` and ``$`` have a meaning."""
    return "".join(f"${{{char}}}" if char in "*?$" else char for char in text)
