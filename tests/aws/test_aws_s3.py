"""What S3 adds to the contract: parts, checksums, room on the disk, and what AWS answers."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError

from tidegate.errors import ConfigurationError, InputChanged, LedgerError, StorageError
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import Input, Product, ProductRef
from tidegate.targets.aws import s3 as module
from tidegate.targets.aws.clients import (
    Changed,
    Clients,
    ConditionFailed,
    Missing,
    Unreachable,
    explained,
)
from tidegate.targets.aws.s3 import S3Inputs, S3Outputs

NewBucket = Callable[[], str]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 1000)


def product(path: Path, key: str, kind: str = "data") -> Product:
    size, sha256 = content_hash(path)
    return Product(key, kind, size, sha256)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000, 12_345])
@pytest.mark.usefixtures("small_parts")
def test_files_of_any_size_come_whole(
    new_bucket: NewBucket, clients: Clients, tmp_path: Path, size: int
) -> None:
    bucket, content = new_bucket(), bytes(n * 7 % 251 for n in range(size))
    clients.s3.put_object(Bucket=bucket, Key="in/a", Body=content)
    inputs = S3Inputs(bucket, clients)
    (input,) = inputs.list("in/")
    inputs.fetch(input, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content
    outputs = S3Outputs(bucket, clients)
    made = product(tmp_path / "a", "out/a.nc")
    outputs.publish([(made, tmp_path / "a")])
    outputs.fetch(made.ref, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content


@pytest.mark.usefixtures("small_parts")
def test_a_file_that_changes_between_its_parts(
    new_bucket: NewBucket, clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = new_bucket()
    clients.s3.put_object(Bucket=bucket, Key="a", Body=b"1" * 5000)
    inputs = S3Inputs(bucket, clients)
    (input,) = inputs.list("")
    check = module._check_room
    calls: list[str] = []

    def replace_after_first(what: str, size: int, folder: Path) -> None:
        calls.append(what)
        if len(calls) == 2:
            clients.s3.put_object(Bucket=bucket, Key="a", Body=b"2" * 5000)
        check(what, size, folder)

    monkeypatch.setattr(module, "_check_room", replace_after_first)
    with pytest.raises(InputChanged):
        inputs.fetch(input, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_an_answer_that_breaks_off_is_asked_for_again(
    new_bucket: NewBucket, clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = new_bucket()
    clients.s3.put_object(Bucket=bucket, Key="a", Body=b"content")
    inputs = S3Inputs(bucket, clients)
    (input,) = inputs.list("")
    get, breaks = clients.s3.get_object, [3]

    class Broken:
        def iter_chunks(self, size: int) -> Any:
            yield b"con"
            raise ReadTimeoutError(endpoint_url="s3")

        def close(self) -> None:
            pass

    def get_object(**arguments: Any) -> Any:
        answer: Any = get(**arguments)
        breaks[0] -= 1
        if breaks[0] >= 0:
            answer["Body"].close()
            answer["Body"] = Broken()
        return answer

    monkeypatch.setattr(clients.s3, "get_object", get_object)
    inputs.fetch(input, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"content"
    breaks[0] = 4
    with pytest.raises(Unreachable, match="cannot read"):
        inputs.fetch(input, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_does_not_fit_says_what_to_raise(
    new_bucket: NewBucket, clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = new_bucket()
    for n in range(3):
        clients.s3.put_object(Bucket=bucket, Key=f"{n}", Body=b"x" * 1000)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda path: usage(512 * 10**6, 0, module.SPARE + 2500)
    )
    inputs = S3Inputs(bucket, clients)
    found = list(inputs.list(""))
    inputs.fetch_all([(i, tmp_path / i.key) for i in found[:2]])
    with pytest.raises(ConfigurationError, match="3 files together") as caught:
        inputs.fetch_all([(i, tmp_path / i.key) for i in found])
    assert "ephemeral_storage" in caught.value.next
    with pytest.raises(ConfigurationError, match="huge of 9000 MB does not fit"):
        inputs.fetch(Input("huge", "1", 9 * 10**9), tmp_path / "huge")
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda path: usage(512 * 10**6, 0, module.SPARE + 999)
    )
    with pytest.raises(ConfigurationError):
        S3Outputs(bucket, clients).fetch(ProductRef("1", "?"), tmp_path / "p")


def test_many_at_once(new_bucket: NewBucket, clients: Clients, tmp_path: Path) -> None:
    bucket = new_bucket()
    outputs = S3Outputs(bucket, clients)
    made = []
    for n in range(40):
        (tmp_path / f"{n}").write_bytes(b"%d" % n)
        made.append((product(tmp_path / f"{n}", f"p/{n}.nc"), tmp_path / f"{n}"))
    outputs.publish(made)
    outputs.fetch_all([(p.ref, tmp_path / f"fetched{n}") for n, (p, _) in enumerate(made)])
    assert (tmp_path / "fetched39").read_bytes() == b"39"
    missing = [(p.ref, tmp_path / f"again{n}") for n, (p, _) in enumerate(made)]
    missing.insert(7, (ProductRef("p/none.nc", "1"), tmp_path / "none"))
    with pytest.raises(InputChanged, match=r"p/none\.nc"):
        outputs.fetch_all(missing)


def test_a_product_of_another_tools_making_is_known_by_its_content(
    new_bucket: NewBucket, clients: Clients, tmp_path: Path
) -> None:
    """What the older recipe has put there has no sha256 with it."""
    bucket = new_bucket()
    (tmp_path / "a").write_bytes(b"old")
    clients.s3.put_object(Bucket=bucket, Key="root/a.nc", Body=b"old")
    outputs = S3Outputs(bucket, clients)
    outputs.fetch(product(tmp_path / "a", "root/a.nc").ref, tmp_path / "b")
    with pytest.raises(InputChanged):
        outputs.fetch(ProductRef("root/a.nc", "0" * 64), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_browsers_are_told_what_it_is(
    new_bucket: NewBucket, clients: Clients, tmp_path: Path
) -> None:
    bucket = new_bucket()
    for name in ("a.png", "b.nc", "c.oddity"):
        (tmp_path / name).write_bytes(b"x")
        S3Outputs(bucket, clients).publish([(product(tmp_path / name, name), tmp_path / name)])
    types = [
        clients.s3.head_object(Bucket=bucket, Key=name)["ContentType"]
        for name in ("a.png", "b.nc", "c.oddity")
    ]
    assert types == ["image/png", "application/x-netcdf", "application/octet-stream"]


def test_removing_a_folder_leaves_its_namesakes(
    new_bucket: NewBucket, clients: Clients, tmp_path: Path
) -> None:
    bucket = new_bucket()
    for key in ("a.zarr/0", "a.zarr/b/1", "a.zarr2/0", "a.zar", "n\nl.nc", "b.nc"):
        clients.s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    S3Outputs(bucket, clients).remove(["a.zarr", "n\nl.nc", "b.nc", "none.nc"])
    left = clients.s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert {item["Key"] for item in left} == {"a.zarr2/0", "a.zar"}


def test_a_bucket_that_is_not_there_is_told(clients: Clients, tmp_path: Path) -> None:
    inputs = S3Inputs("no-such-bucket-at-all", clients)
    with pytest.raises(StorageError, match="the bucket does not exist"):
        list(inputs.list(""))
    with pytest.raises(StorageError, match="the bucket does not exist"):
        inputs.fetch(Input("a", "1", 1), tmp_path / "a")


def answer(
    code: str, operation: str = "GetObject", message: str = "no", **more: Any
) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, **more}, operation)


def test_what_aws_answers_is_told_in_words() -> None:
    def told(error: Exception, resource: str = "arn:aws:s3:::b/k", **how: Any) -> Exception:
        with pytest.raises(Exception) as caught, explained("read", resource, **how):  # noqa: PT011
            raise error
        return caught.value

    denied: Any = told(answer("AccessDenied"))
    assert isinstance(denied, StorageError)
    assert "allow s3:GetObject on arn:aws:s3:::b/k" in denied.next
    denied = told(answer("AccessDenied", "UploadPart"))
    assert "allow s3:PutObject on" in denied.next
    message = (
        "User: arn:x is not authorized to perform: dynamodb:Query on resource: "
        "arn:aws:dynamodb:us-west-2:1:table/t because no identity-based policy allows it"
    )
    denied = told(answer("AccessDeniedException", "Query", message), lasting=LedgerError)
    assert isinstance(denied, LedgerError)
    assert "allow dynamodb:Query on arn:aws:dynamodb:us-west-2:1:table/t in the role" in denied.next
    for code in ("ThrottlingException", "SlowDown", "ProvisionedThroughputExceededException"):
        assert type(told(answer(code), lasting=LedgerError)) is StorageError
    assert isinstance(told(answer("NoSuchKey")), Missing)
    assert isinstance(told(answer("412")), Changed)
    assert isinstance(told(answer("ConditionalCheckFailedException")), ConditionFailed)
    assert isinstance(told(answer("ExpiredToken")), ConfigurationError)
    assert isinstance(told(answer("SomethingNew"), lasting=LedgerError), LedgerError)
    assert isinstance(told(NoCredentialsError()), ConfigurationError)
    assert isinstance(told(ReadTimeoutError(endpoint_url="x")), Unreachable)
    reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
    cancelled = answer("TransactionCanceledException", CancellationReasons=reasons)
    assert isinstance(told(cancelled), ConditionFailed)
    throttled = answer(
        "TransactionCanceledException", CancellationReasons=[{"Code": "ThrottlingError"}]
    )
    assert type(told(throttled)) is StorageError
    assert isinstance(told(KeyError("ours")), KeyError)


def test_a_profile_or_a_region_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="no-such-profile"):
        Clients(profile="no-such-profile").client("sqs")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(ConfigurationError, match="--region"):
        Clients().client("sqs")
