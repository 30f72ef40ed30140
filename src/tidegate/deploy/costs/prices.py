"""AWS's list prices: ``prices.csv``, which has the date and the source of each.

US dollars in US West (Oregon), ``us-west-2``, without taxes. AWS's pages and price list are not
read at run time. AWS's pages show most prices only in a browser, so ``checked`` says how one was
checked:

* ``page``: it is on AWS's own page, in a copy of 2024 to 2026;
* ``list``: it is in the price list for us-west-2, as quoted by others in 2026;
* ``others``: several guides of 2025 and 2026 agree on it, most of them for US East (N. Virginia);
  Oregon has the same prices for these services;
* ``unconfirmed``: from memory; no source was found.

Prices of DynamoDB's requests were halved in November 2024. Builds are of medium size, storage in
``/tmp`` is free up to 512 MB, and the free alarms have one metric each. AWS's page says that
events of S3 are opt-in data events, not free ones.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Price(NamedTuple):
    """The price of one kind of use."""

    usd: float  # for one unit
    unit: str
    what: str  # the kind of use, in words
    free: float  # units a month that are always free for the whole account
    dated: str  # when it was last checked
    checked: str  # how
    page: str


def _read() -> dict[str, Price]:
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return {
            row["kind"]: Price(
                float(row["usd"]), row["unit"], row["what"], float(row["free"]), row["dated"],
                row["checked"], f"https://aws.amazon.com/{row['page']}",
            )
            for row in csv.DictReader(file)
        }  # fmt: skip


PRICES: Mapping[str, Price] = _read()
"""By kind of use."""
DATED = min(price.dated for price in PRICES.values())
"""All prices were checked on this day or later."""
REGIONS: Mapping[str, float] = {
    **dict.fromkeys(("us-east-1", "us-east-2", "us-west-2"), 1.0),
    **dict.fromkeys(("ca-central-1", "eu-west-1"), 1.1),
    **dict.fromkeys(("eu-west-2", "eu-west-3"), 1.15),
    **dict.fromkeys(("us-west-1", "eu-central-1"), 1.2),
    "eu-north-1": 1.05,
    "sa-east-1": 1.6,
}
"""How many times higher prices are in other regions: rough estimates, not from AWS."""
ELSEWHERE = 1.25
"""The same for all regions that are not listed."""
