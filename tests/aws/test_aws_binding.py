"""Whether the output bucket is the one that the ledger table describes."""

from __future__ import annotations

import pytest
from aws_bench import Bench

from tidegate.targets.aws.binding import bind_bucket, describe_bucket, sample_bucket

pytestmark = [pytest.mark.aws, pytest.mark.slow]


def test_a_bucket_that_was_emptied_or_renamed_is_noticed(clients, new, tmp_path):
    bench = Bench(clients, new, tmp_path)
    table, bucket = bench.settings.table, bench.settings.output_bucket
    assert describe_bucket(table, bucket, clients) == "new"
    bind_bucket(table, bucket, clients)
    bench.arrive("lidar/humboldt/a.dat")
    assert describe_bucket(table, bucket, clients) == "bound"
    bench.arrive("lidar/humboldt/b.dat")
    lost = sorted(bench.outputs() - {f"tidegate/ledgers/{table}"})[-1]
    clients.s3.delete_object(Bucket=bucket, Key=lost)
    found = sample_bucket(table, bucket, clients)
    assert (found.judgement, found.looked_for, found.missing) == ("bound", 4, (lost,))
    assert describe_bucket(table, new["bucket"](), clients) == "other outputs"
    assert describe_bucket(table, "no-such-bucket-at-all", clients) == "other outputs"
    for key in bench.outputs() - {f"tidegate/ledgers/{table}"}:
        clients.s3.delete_object(Bucket=bucket, Key=key)
    assert describe_bucket(table, bucket, clients) == "emptied"
    assert sample_bucket(table, bucket, clients).judgement == "emptied"
