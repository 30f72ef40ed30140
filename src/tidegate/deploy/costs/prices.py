"""AWS's list prices, in one dated table.

US dollars in US West (Oregon), ``us-west-2``, without taxes, as of ``DATED``. AWS's pages and price
list are not read at run time. Each price has a link to AWS's page; ``checked`` says how it was
checked, because AWS's pages show most prices only in a browser:

* ``page``: it is on AWS's own page, in a copy of 2024 to 2026;
* ``list``: it is in the price list for us-west-2, as quoted by others in 2026;
* ``others``: several guides of 2025 and 2026 agree on it, most of them for US East (N. Virginia);
  Oregon has the same prices for these services;
* ``unconfirmed``: from memory; no source was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DATED = "2026-11-24"
"""When the table was last checked."""
Check = Literal["page", "list", "others", "unconfirmed"]
_MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """The price of one kind of use."""

    usd: float
    """US dollars for one ``unit``."""
    unit: str
    """The unit."""
    page: str
    """AWS's page."""
    checked: Check
    """How it was checked."""
    free: float = 0.0
    """Units a month that are always free for the whole account, not only in its first year."""
    note: str = ""
    """What is particular about it."""


_LAMBDA = "https://aws.amazon.com/lambda/pricing/"
_S3 = "https://aws.amazon.com/s3/pricing/"
_DYNAMODB = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
_EVENTBRIDGE = "https://aws.amazon.com/eventbridge/pricing/"
_SQS = "https://aws.amazon.com/sqs/pricing/"
_CODEBUILD = "https://aws.amazon.com/codebuild/pricing/"

PRICES: Mapping[str, Price] = {
    "lambda-x86": Price(0.0000166667, "GB-second", _LAMBDA, "list", 400_000),
    "lambda-arm": Price(0.0000133334, "GB-second", _LAMBDA, "others", 400_000),
    "lambda-requests": Price(0.20 / _MILLION, "request", _LAMBDA, "list", _MILLION),
    "lambda-tmp": Price(
        0.0000000309, "GB-second", _LAMBDA, "unconfirmed", note="of /tmp beyond the first 512 MB"
    ),
    "s3-put": Price(0.005 / 1000, "PUT or LIST", _S3, "others"),
    "s3-get": Price(0.0004 / 1000, "GET or HEAD", _S3, "others"),
    "s3-storage": Price(0.023, "GB-month", _S3, "list"),
    "dynamodb-write": Price(
        0.625 / _MILLION, "write unit", _DYNAMODB, "others", note="halved in November 2024"
    ),
    "dynamodb-read": Price(
        0.125 / _MILLION, "read unit", _DYNAMODB, "others", note="halved in November 2024"
    ),
    "dynamodb-storage": Price(0.25, "GB-month", _DYNAMODB, "list", 25),
    "dynamodb-backup": Price(0.20, "GB-month", _DYNAMODB, "others"),
    "sqs": Price(0.40 / _MILLION, "request", _SQS, "others", _MILLION),
    "eventbridge": Price(
        1.00 / _MILLION, "event", _EVENTBRIDGE, "unconfirmed",
        note="AWS's page says that events of S3 are opt-in data events, other than the free ones",
    ),
    "scheduler": Price(1.00 / _MILLION, "invocation", _EVENTBRIDGE, "others", 14 * _MILLION),
    "logs": Price(0.50, "GB written", _CLOUDWATCH, "others", 5),
    "logs-storage": Price(0.03, "GB-month", _CLOUDWATCH, "list"),
    "metrics": Price(
        0.30, "metric-month", _CLOUDWATCH, "others", 10,
        note="counted by the hour, and only in hours in which it gets a value",
    ),
    "alarms": Price(
        0.10, "metric in an alarm", _CLOUDWATCH, "others", 10,
        note="the free ones are for alarms of one metric, not of metric math",
    ),
    "dashboards": Price(3.00, "dashboard", _CLOUDWATCH, "others", 3),
    "ecr": Price(0.10, "GB-month", "https://aws.amazon.com/ecr/pricing/", "others"),
    "codebuild-small": Price(0.005, "minute", _CODEBUILD, "others", 100),
    "codebuild-medium": Price(0.010, "minute", _CODEBUILD, "others"),
    "codebuild-large": Price(0.020, "minute", _CODEBUILD, "others"),
    "codepipeline": Price(
        0.002, "minute of an action", "https://aws.amazon.com/codepipeline/pricing/", "page", 100
    ),
}  # fmt: skip
"""By kind of use."""

REGIONS: Mapping[str, float] = {
    "us-east-1": 1.0,
    "us-east-2": 1.0,
    "us-west-2": 1.0,
    "ca-central-1": 1.1,
    "eu-north-1": 1.05,
    "eu-west-1": 1.1,
    "eu-west-2": 1.15,
    "eu-west-3": 1.15,
    "us-west-1": 1.2,
    "eu-central-1": 1.2,
    "ap-southeast-2": 1.25,
    "ap-northeast-1": 1.25,
    "sa-east-1": 1.6,
}
"""How many times higher prices are in other regions: rough estimates, not from AWS."""
ELSEWHERE = 1.25
"""The same for all regions that are not listed."""


def factor(region: str) -> float:
    """How many times higher the prices of a region are assumed to be than those in the table."""
    return REGIONS.get(region, ELSEWHERE)
