"""Buckets, and how much is in them, from CloudWatch's metrics."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from tidegate.deploy.core.branch import Branch
from tidegate.deploy.core.console import Console
from tidegate.deploy.status.attempts import list_all
from tidegate.deploy.status.model import Bucket, Outputs
from tidegate.errors import StorageError, TidegateError
from tidegate.runtime.binding import explain
from tidegate.runtime.wording import quantity
from tidegate.targets.aws.binding import sample_bucket
from tidegate.targets.aws.clients import Clients, Missing, explained

MOST = 1000
"""If CloudWatch has no count, objects are counted up to this number: one request."""
_LOOKS_BACK = timedelta(days=4)
_DAY = 86_400


def describe_bucket(branch: Branch, name: str, role: str, now: datetime | None = None) -> Bucket:
    """How much is in a bucket: CloudWatch's daily count, or else the count of one request."""
    clients, url = branch.clients, Console(branch.place).bucket(name)
    arn = branch.place.bucket(name)
    try:
        with explained("look for the bucket", arn):
            clients.s3.head_bucket(Bucket=name)
    except Missing:
        return Bucket(name, role, None, 0, False, None, url)
    moment = now or datetime.now(timezone.utc)
    try:
        found = _counted(clients, name, moment)
    except TidegateError:  # the caller may be allowed to see a bucket, but not its metrics
        found = None
    if found is not None:
        objects, size, counted = found
        return Bucket(name, role, objects, size, False, counted, url)
    with explained("list the bucket", arn):
        page = clients.s3.list_objects_v2(Bucket=name, MaxKeys=MOST)
    items = page.get("Contents", ())
    size = sum(item.get("Size", 0) for item in items)
    return Bucket(name, role, len(items), size, bool(page.get("IsTruncated")), None, url)


def compare_with_ledger(branch: Branch) -> Outputs | None:
    """Whether the ledger's id and its latest products are in the output bucket."""
    bucket = branch.keys.output_bucket_name
    if not bucket:
        return None
    found = sample_bucket(branch.names.ledger_table, bucket, branch.clients)
    problem = explain(found.judgement, bucket)
    if found.missing and not problem:
        problem = (
            f"{len(found.missing)} of the latest {quantity(found.looked_for, 'product')} on record"
            f" are not in {bucket}"
        )
    if problem:
        advice = f"`tidegate verify --target aws --branch {branch.name}` lists what differs"
        problem = f"{problem.split(';')[0]}; {advice}"
    return Outputs(found.looked_for, found.missing, problem)


def _counted(clients: Clients, name: str, now: datetime) -> tuple[int, int, datetime] | None:
    """Objects, bytes and the time of CloudWatch's count; None if there is none."""
    with explained("read the metrics of the bucket", name, lasting=StorageError):
        kinds = {
            dimension["Value"]
            for metric in list_all(
                clients, "cloudwatch", "list_metrics", "Metrics",
                Namespace="AWS/S3", MetricName="BucketSizeBytes",
                Dimensions=[{"Name": "BucketName", "Value": name}],
            )
            for dimension in metric["Dimensions"]
            if dimension["Name"] == "StorageType"
        }  # fmt: skip
        wanted = [("objects", "NumberOfObjects", "AllStorageTypes")]
        wanted += [(f"bytes{n}", "BucketSizeBytes", kind) for n, kind in enumerate(sorted(kinds))]
        answer = clients.client("cloudwatch").get_metric_data(
            MetricDataQueries=[
                {
                    "Id": id,
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/S3",
                            "MetricName": metric,
                            "Dimensions": [
                                {"Name": "BucketName", "Value": name},
                                {"Name": "StorageType", "Value": kind},
                            ],
                        },
                        "Period": _DAY,
                        "Stat": "Average",
                    },
                }
                for id, metric, kind in wanted
            ],
            StartTime=now - _LOOKS_BACK,
            EndTime=now,
            ScanBy="TimestampDescending",
        )
    results = {one["Id"]: one for one in answer["MetricDataResults"] if one.get("Values")}
    if "objects" not in results:
        return None
    size = sum(int(one["Values"][0]) for id, one in results.items() if id != "objects")
    objects = results["objects"]
    counted = objects["Timestamps"][0]
    return int(objects["Values"][0]), size, counted.astimezone(timezone.utc)
