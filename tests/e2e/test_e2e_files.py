"""Raw files that arrive: from the object in the input bucket to products and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone

import pytest
from e2e_cloud import Cloud, created, eventually
from e2e_repository import HOME, PRODUCTS, RAW, csv, load_make_raw
from e2e_same import Local, Put, assert_same_products, story

DAY = date(2020, 12, 5)
REAL = HOME.parent / "shared" / "data" / "lidar"
SITES = {"humboldt": "z05", "morro": "z06"}


@pytest.fixture(scope="module")
def lidar_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """For each site, raw files by key: one that is made up, and a real one where it is there."""
    make_raw, out = load_make_raw(), tmp_path_factory.mktemp("raw")
    files: dict[str, dict[str, bytes]] = {}
    for name, buoy in SITES.items():
        made = list(make_raw.make_files(out, make_raw.SITES[name], DAY, 7))
        real = sorted(REAL.glob(f"lidar.{buoy}.*.7z"))
        files[name] = {f"lidar/{name}/{path.name}": path.read_bytes() for path in [*made, *real]}
    return files


def invocations(cloud: Cloud) -> dict[str, int]:
    """How often each function was called, but for the one whose schedule fires each minute."""
    ids = [config.id for config in cloud.session.manifest.configs]
    return {id: cloud.invocations(id) for id in ids if id != "tiny_now/ticks"}


def test_a_raw_file_at_each_site(
    cloud: Cloud, new_local: Callable[..., Local], lidar_files: Mapping[str, Mapping[str, bytes]]
) -> None:
    """The example's own pipelines: products as on this machine, and nobody else is bothered."""
    local, expected, keys = new_local(), invocations(cloud), set[str]()
    for site in SITES:
        for key, data in lidar_files[site].items():
            input = cloud.put(key, data)
            local.put(Put(key, data))
            record = cloud.ended(f"lidar/{site}", key)
            assert (record.state, record.run.inputs) == ("succeeded", (input,))
            assert {product.kind for product in record.products} == {"data", "ancillary"}
            keys.update(product.key for product in record.products)
            expected[f"lidar/{site}"] += 1
        eventually(lambda: sum(invocations(cloud).values()) >= sum(expected.values()))
        assert invocations(cloud) == expected
    local.take_in()
    configs = [f"lidar/{site}" for site in SITES]
    about = {key for files in lidar_files.values() for key in files}
    assert story(local.ledger(), configs) == story(cloud.ledger, configs, about)
    made = cloud.outputs("storage/")
    assert_same_products(local.outputs(), {key: made[key] for key in keys})


NAMES = [
    "with space (1).csv",
    "a+b&c=d;e.csv",
    "100%20.csv",
    "%2B+%.csv",
    "é-e\u0301-風🌊.csv",
    "quote'\"\\.csv",
    "sub/folder/x.csv",
]


def test_names_of_all_kinds(cloud: Cloud) -> None:
    long = "tiny/odd/" + "/".join(["d" * 200] * 4) + "/"
    keys = [f"tiny/odd/{name}" for name in NAMES] + [long.ljust(896, "n") + ".csv"]
    assert len(keys[-1].encode()) == 900
    day = datetime(2022, 5, 1, tzinfo=timezone.utc)
    inputs = [cloud.put(key, csv((day + timedelta(n)).isoformat())) for n, key in enumerate(keys)]
    for input in inputs:
        record = cloud.ended("tiny/odd", input.key)
        assert (record.state, record.run.inputs) == ("succeeded", (input,))
        for product in record.products:
            cloud.s3.head_object(Bucket=PRODUCTS, Key=product.key)


def test_a_large_file_is_staged_and_answered(cloud: Cloud) -> None:
    """It fits on the disk: what becomes of it is the pipeline's affair."""
    body = csv("2022-06-01T00:00:00", ask="reject").encode()
    body += b"0" * (50 * 10**6 - len(body))
    input = cloud.put("tiny/odd/large.csv", body)
    record = cloud.ended("tiny/odd", input.key)
    assert input.size == 50 * 10**6
    assert record.failure is not None
    assert record.failure.kind == "bad-input"
    assert record.failure.message.endswith("no wind in these 50000000 bytes")


def test_an_empty_file_is_bad_input(cloud: Cloud) -> None:
    cloud.put("tiny/odd/empty.csv", b"")
    record = cloud.ended("tiny/odd", "tiny/odd/empty.csv")
    assert record.failure is not None
    assert (record.state, record.failure.kind, record.attempt) == ("failed", "bad-input", 1)


def test_what_no_config_waits_for(cloud: Cloud) -> None:
    """Files outside every prefix, folders, and the mark of a file that was deleted."""
    cloud.s3.put_bucket_versioning(Bucket=RAW, VersioningConfiguration={"Status": "Enabled"})
    key = "tiny/odd/short-lived.csv"
    cloud.put(key, csv("2022-06-02T00:00:00"))
    assert cloud.ended("tiny/odd", key).state == "succeeded"
    cloud.rest("tiny/odd")
    told, calls, count = cloud.told("tiny/odd"), cloud.invocations("tiny/odd"), records(cloud)
    for other in ("elsewhere.csv", "tiny/oddity/x.csv", "lidar/x.csv", "Tiny/odd/x.csv"):
        cloud.put(other, csv())
    assert cloud.s3.delete_object(Bucket=RAW, Key=key)["DeleteMarker"]
    # A folder is below the prefix: it comes to the function, which takes no notice of it.
    cloud.put("tiny/odd/2022/", b"")
    eventually(lambda: cloud.invocations("tiny/odd") > calls)
    cloud.rest("tiny/odd")
    assert (cloud.told("tiny/odd"), records(cloud)) == (told + 1, count)
    assert cloud.dead("tiny/odd") == []


def records(cloud: Cloud) -> int:
    """How many runs there are of all configs."""
    return len(list(cloud.ledger.records()))


def handled(cloud: Cloud, before: int, count: int) -> None:
    """Wait until so many events were answered, if only by: come again when the other is done."""
    eventually(
        lambda: cloud.invocations("tiny/twice") >= before + count,
        lambda: (before, cloud.invocations("tiny/twice")),
    )


def test_the_same_event_five_times(cloud: Cloud) -> None:
    key, before = "tiny/twice/again.csv", cloud.invocations("tiny/twice")
    input = cloud.put(key, csv("2022-06-03T00:00:00"))
    cloud.send("tiny/twice", *[created(input)] * 4)
    handled(cloud, before, 5)
    [record] = cloud.ledger.about("tiny/twice", key)
    assert (record.state, record.attempt) == ("succeeded", 1)
    assert cloud.dead("tiny/twice") == []


def test_events_out_of_order(cloud: Cloud) -> None:
    """Whatever is told last: the newest content has the last word."""
    key, before = "tiny/twice/order.csv", cloud.invocations("tiny/twice")
    begin = "2022-06-04T00:00:00"
    first, second, third = (cloud.put(key, csv(begin, [n] * n)) for n in (1, 2, 3))
    cloud.send("tiny/twice", created(third), created(second), created(first))
    handled(cloud, before, 6)
    states = {r.run.inputs[0].version: r.state for r in cloud.ledger.about("tiny/twice", key)}
    assert states.pop(third.version) == "succeeded"
    assert set(states) <= {first.version, second.version}
    assert set(states.values()) <= {"superseded"}
    [product] = [
        p
        for p in cloud.ledger.products(datastream="twice.tiny.a1")
        if p.dimensions and p.begin == datetime(2022, 6, 4, tzinfo=timezone.utc)
    ]
    assert product.dimensions == {"time": 3}
    assert cloud.dead("tiny/twice") == []


def test_a_hundred_files_at_once(cloud: Cloud) -> None:
    count, begin = 100, datetime(2022, 7, 1, tzinfo=timezone.utc)
    bodies = {
        f"tiny/many/{n}.csv": csv((begin + timedelta(seconds=n)).isoformat()) for n in range(count)
    }
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: cloud.put(*item), bodies.items()))
    eventually(lambda: cloud.told("tiny/many") >= count)
    cloud.rest("tiny/many", seconds=500)
    found = cloud.records("tiny/many")
    assert {record.run.inputs[0].key for record in found} == set(bodies)
    assert {(r.state, r.attempt) for r in found} == {("succeeded", 1)}
    keys = {product.key for product in cloud.ledger.products(config="tiny/many")}
    assert len(keys) == 2 * count
    pages = cloud.s3.get_paginator("list_objects_v2")
    listed = {
        item["Key"]
        for page in pages.paginate(Bucket=PRODUCTS, Prefix="storage/")
        for item in page.get("Contents", ())
    }
    assert keys <= listed
    assert cloud.dead("tiny/many") == []
