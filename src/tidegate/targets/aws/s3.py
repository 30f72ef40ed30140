"""Inputs and outputs in S3 buckets.

The version of a raw file is its ETag. A read names it (``If-Match``), so what is staged is what
arrived. With SSE-KMS, S3 gives the same content another ETag each time. Then an identical file that
is uploaded again runs again, which costs time and changes nothing.

Products appear object by object, each whole; S3 cannot make several appear at once. Data come
before plots, and the ledger's record comes last (``runtime.publish``). So whoever reads the ledger
never sees half of a run.
"""

from __future__ import annotations

import base64
import mimetypes
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from tidegate.errors import ConfigurationError, InputChanged, StorageError
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import Input, Product, ProductRef
from tidegate.targets.aws.clients import (
    Changed,
    Clients,
    EmptyRange,
    Missing,
    Unreachable,
    explained,
)

T = TypeVar("T")

PART = 16 * 2**20
"""Bytes. Longer files are read and written in parts of this size, several at once."""
SPARE = 32 * 2**20
"""Bytes that staging leaves free on the disk, for the log and the products of the run."""
ETAG = "etag:"
"""The prefix of the version of a product that was adopted without being read; its ETag follows."""
SHA256 = "sha256"
"""The name of the metadata that holds a product's sha256."""

_THREADS = 16
_PARTS_AT_ONCE = 4
_TRIES = 4
_BLOCK = 2**20
_DELETED_AT_ONCE = 1000
_FOLDER = ".zarr"
WITHDRAWN = "withdrawn/"
"""The prefix to which products are moved if all their inputs are gone."""
_WRITTEN_LAST = (".z", "zarr.json")
_TYPES = {".nc": "application/x-netcdf", ".cdf": "application/x-netcdf", ".jsonl": "text/plain"}


class S3Inputs:
    """Raw files in a bucket, which is never written to; a file's version is its ETag."""

    def __init__(self, bucket: str, clients: Clients | None = None) -> None:
        self.bucket = bucket
        self._bucket = _Bucket(bucket, clients or Clients())

    def fetch(self, input: Input, destination: Path) -> None:
        """Copy that very version to ``destination``.

        Raises:
            InputChanged: it is gone, or another version is there.
            ConfigurationError: it does not fit on the disk.
            StorageError: S3 cannot be reached, or denies it.
        """
        _check_room(input.key, input.size, destination.parent)
        try:
            self._bucket.download(input.key, destination, match=f'"{input.version}"')
        except (Missing, Changed) as error:
            raise InputChanged(
                f"{input.key} was replaced or removed before it could be read"
            ) from error

    def fetch_all(self, wanted: Sequence[tuple[Input, Path]]) -> None:
        """``fetch`` for many files at once."""
        if wanted:
            _check_room(
                wanted[0][0].key if len(wanted) == 1 else f"{len(wanted)} files together",
                sum(input.size for input, _ in wanted),
                wanted[0][1].parent,
            )
        _in_parallel(lambda item: self.fetch(*item), wanted)

    def replaced(self, input: Input) -> bool:
        """Whether the key has another version now; a file that is gone is not replaced."""
        found = self.find(input.key)
        return found is not None and found.version != input.version

    def find(self, key: str) -> Input | None:
        """The file with that key at its present version; None when there is none."""
        try:
            head = self._bucket.head(key)
        except Missing:
            return None
        size, modified = int(head["ContentLength"]), head.get("LastModified")
        return Input(key, head["ETag"].strip('"'), size, modified)

    def list(self, prefix: str) -> Iterable[Input]:
        """The files with a key prefix; the empty objects that stand for folders do not count."""
        yield from _files(self._bucket.list(prefix))

    def list_after(self, prefix: str, after: str) -> tuple[Sequence[Input], str]:
        """The next thousand files with a key prefix, and the last key; "" if there are no more."""
        objects, last = self._bucket.list_after(prefix, after)
        return list(_files(objects)), last


def _files(objects: Iterable[Mapping[str, Any]]) -> Iterator[Input]:
    for found in objects:
        if not found["Key"].endswith("/"):
            version, size = found["ETag"].strip('"'), int(found["Size"])
            yield Input(found["Key"], version, size, found.get("LastModified"))


class S3Outputs:
    """Products in a bucket; a product's version is its sha256, kept in its metadata too."""

    def __init__(self, bucket: str, clients: Clients | None = None) -> None:
        self.bucket = bucket
        self._bucket = _Bucket(bucket, clients or Clients())

    def publish(self, products: Sequence[tuple[Product, Path]]) -> None:
        """Put each file or folder under its key, data first, replacing what is there.

        Raises:
            StorageError: S3 cannot be reached, or denies it; a second attempt writes all again.
        """
        for data in (True, False):
            chosen = [(p, path) for p, path in products if (p.kind == "data") == data]
            last: list[tuple[str, Path, str]] = []
            first: list[tuple[str, Path, str]] = []
            for product, path in chosen:
                if not path.is_dir():
                    first.append((product.key, path, product.sha256))
                    continue
                for file in (p for p in path.rglob("*") if p.is_file()):
                    # A folder's metadata last, so that all that they name exists by then.
                    where = last if file.name.startswith(_WRITTEN_LAST) else first
                    where.append((f"{product.key}/{file.relative_to(path).as_posix()}", file, ""))
            for files in (first, last):
                _in_parallel(lambda item: self._bucket.upload(*item), files)
            for product, path in chosen:
                if path.is_dir():
                    self._remove_stale(product.key, {key for key, _, _ in first + last})

    def fetch(self, ref: ProductRef, destination: Path) -> None:
        """Copy that very version to ``destination``.

        Raises:
            InputChanged: it is gone, or another version is there.
            ConfigurationError: it does not fit on the disk.
            StorageError: S3 cannot be reached, or denies it.
        """
        try:
            if ref.version.startswith(ETAG):  # adopted: its sha256 is not known yet
                match = f'"{ref.version.removeprefix(ETAG)}"'
                return self._bucket.download(ref.key, destination, match=match)
            if ref.key.endswith(_FOLDER):
                self._fetch_folder(ref.key, destination)
            else:
                self._bucket.download(ref.key, destination, sha256=ref.version)
            if content_hash(destination)[1] != ref.version:
                raise Changed(ref.key)
        except (Missing, Changed) as error:
            _discard(destination)
            raise InputChanged(
                f"{ref.key} was replaced or removed before it could be read"
            ) from error

    def fetch_all(self, wanted: Sequence[tuple[ProductRef, Path]]) -> None:
        """``fetch`` for many products at once."""
        _in_parallel(lambda item: self.fetch(*item), wanted)

    def remove(self, keys: Iterable[str]) -> None:
        """Delete products that a later run has replaced; a missing one is no error."""
        gone: list[str] = []
        for key in keys:
            if key.endswith(_FOLDER):
                gone += [found["Key"] for found in self._bucket.list(key + "/")]
            else:
                gone.append(key)
        self._bucket.delete(gone)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those keys under which there is nothing; a request for each, or two for a folder."""
        return [key for key in keys if not self._exists(key)]

    def set_aside(self, keys: Iterable[str]) -> str:
        """Move products below the prefix ``withdrawn/`` of the bucket."""
        for key in keys:
            found = [key]
            if key.endswith(_FOLDER):
                found = [item["Key"] for item in self._bucket.list(key + "/")]
            copied = [name for name in found if self._bucket.copy(name, WITHDRAWN + name)]
            self._bucket.delete(copied)
        return f"s3://{self.bucket}/{WITHDRAWN}"

    def put_text(self, key: str, path: Path) -> str:
        """Keep a file that is not a product, such as a log; returns its address."""
        self._bucket.upload(key, path, "")
        return f"s3://{self.bucket}/{key}"

    def _exists(self, key: str) -> bool:
        # Of all keys with a prefix, S3 lists the one that is the prefix itself first.
        if any(found["Key"] == key for found in self._bucket.list(key, most=1)):
            return True
        return key.endswith(_FOLDER) and any(self._bucket.list(f"{key}/", most=1))

    def _fetch_folder(self, key: str, destination: Path) -> None:
        prefix = key + "/"
        found = [item["Key"] for item in self._bucket.list(prefix)]
        if not found:
            raise Missing(key)
        places = [(name, destination / name[len(prefix) :]) for name in found]
        for name, place in places:
            if ".." in place.parts:
                raise StorageError(f"{name!r} would leave the work folder")
            place.parent.mkdir(parents=True, exist_ok=True)
        _in_parallel(lambda item: self._bucket.download(*item), places)

    def _remove_stale(self, key: str, present: set[str]) -> None:
        found = (item["Key"] for item in self._bucket.list(key + "/"))
        self._bucket.delete([name for name in found if name not in present])


class _Bucket:
    """Objects of one bucket, whole and checked."""

    def __init__(self, name: str, clients: Clients) -> None:
        self._name = name
        self._clients = clients

    def _explained(self, doing: str, key: str) -> Any:
        return explained(doing, self._clients.arn("s3", f"{self._name}/{key}"))

    def head(self, key: str) -> Mapping[str, Any]:
        with self._explained("look at", key):
            return self._clients.s3.head_object(Bucket=self._name, Key=key)

    def list(self, prefix: str, most: int | None = None) -> Iterator[Mapping[str, Any]]:
        """All objects with that key prefix, a thousand a request; or at ``most`` so many."""
        config = {"MaxItems": most, "PageSize": most} if most else {}
        with self._explained("list", prefix):
            pages = self._clients.s3.get_paginator("list_objects_v2")
            for page in pages.paginate(
                Bucket=self._name,
                Prefix=prefix,
                PaginationConfig=config,  # type: ignore[arg-type]
            ):
                yield from page.get("Contents", ())

    def list_after(self, prefix: str, after: str) -> tuple[Sequence[Mapping[str, Any]], str]:
        """The next thousand objects with that key prefix, and the last key; "" for the end."""
        with self._explained("list", prefix):
            answer = self._clients.s3.list_objects_v2(
                Bucket=self._name, Prefix=prefix, StartAfter=after
            )
        objects: Sequence[Mapping[str, Any]] = answer.get("Contents", ())
        return objects, str(objects[-1]["Key"]) if objects and answer.get("IsTruncated") else ""

    def download(self, key: str, destination: Path, *, match: str = "", sha256: str = "") -> None:
        """Copy one version of an object, in several parts at once where it is long.

        Raises:
            Missing, Changed: there is no version ``match`` (an ETag) of it, or its metadata have
                another ``sha256``.
        """
        try:
            with destination.open("wb") as file:
                file_number = file.fileno()
                etag, size = self._first_part(key, file_number, destination.parent, match, sha256)
                parts = range(PART, size, PART)
                _in_parallel(
                    lambda begin: self._part(key, file_number, begin, etag), parts, _PARTS_AT_ONCE
                )
        except BaseException:
            _discard(destination)
            raise

    def _first_part(
        self, key: str, file: int, folder: Path, match: str, sha256: str
    ) -> tuple[str, int]:
        """Write the first part; returns the object's ETag and size."""

        def begun(answer: Mapping[str, Any]) -> None:
            said = answer.get("Metadata", {}).get(SHA256, "")
            if sha256 and said and said != sha256:
                raise Changed(key)
            _check_room(key, _size(answer), folder)

        try:
            answer = self._part(key, file, 0, match, begun)
        except EmptyRange:  # an empty object has no first part
            answer = self._part(key, file, None, match, begun)
        return answer["ETag"], _size(answer)

    def _part(
        self,
        key: str,
        file: int,
        begin: int | None,
        match: str,
        begun: Callable[[Mapping[str, Any]], None] = lambda answer: None,
    ) -> Mapping[str, Any]:
        """Write one part in its place; if the connection breaks, read the part again."""
        wanted: dict[str, Any] = {"IfMatch": match} if match else {}
        if begin is not None:
            wanted["Range"] = f"bytes={begin}-{begin + PART - 1}"
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._explained("read", key):
                    answer = self._clients.s3.get_object(Bucket=self._name, Key=key, **wanted)
                    with closing(answer["Body"]) as body:
                        begun(answer)
                        place = begin or 0
                        for block in body.iter_chunks(_BLOCK):
                            _write(file, block, place)
                            place += len(block)
                    if place - (begin or 0) != answer["ContentLength"]:
                        raise ConnectionError("the answer ended early")
                return answer
            except Unreachable:  # boto3 retries requests, but not answers that end early
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def upload(self, key: str, path: Path, sha256: str) -> None:
        """Write an object; S3 refuses it when its checksum differs on arrival."""
        sha256 = sha256 or content_hash(path)[1]
        about: dict[str, Any] = {"Metadata": {SHA256: sha256}, "ContentType": _type(path)}
        with self._explained("write", key), path.open("rb") as file:
            if os.fstat(file.fileno()).st_size <= PART:
                about["ChecksumSHA256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
                self._clients.s3.put_object(Bucket=self._name, Key=key, Body=file, **about)
            else:
                about["ChecksumAlgorithm"] = "CRC32"
                self._clients.s3.upload_fileobj(file, self._name, key, ExtraArgs=about)

    def copy(self, key: str, copy: str) -> bool:
        """Copy an object inside the bucket; False if there is none."""
        try:
            with self._explained("copy", key):
                source = {"Bucket": self._name, "Key": key}
                self._clients.s3.copy(source, self._name, copy)  # type: ignore[arg-type]
        except Missing:
            return False
        return True

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; a missing one is no error."""
        # A request that names many objects is XML, which loses control characters.
        odd = [key for key in keys if not key.isprintable()]
        plain = [key for key in keys if key.isprintable()]
        for key in odd:
            with self._explained("delete", key):
                self._clients.s3.delete_object(Bucket=self._name, Key=key)
        for n in range(0, len(plain), _DELETED_AT_ONCE):
            batch = plain[n : n + _DELETED_AT_ONCE]
            with self._explained("delete", batch[0]):
                answer = self._clients.s3.delete_objects(
                    Bucket=self._name,
                    Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True},
                )
            for error in answer.get("Errors", ()):
                raise StorageError(
                    f"cannot delete {error.get('Key')} in {self._name}",
                    why=f"{error.get('Code')}: {error.get('Message')}",
                    next="allow s3:DeleteObject on it in the role that this runs with",
                )


def _in_parallel(
    function: Callable[[T], object], items: Sequence[T], threads: int = _THREADS
) -> None:
    """Call ``function`` on all items; the first error is raised and cancels the rest."""
    if len(items) <= 1:
        for item in items:
            function(item)
        return
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _check_room(what: str, size: int, folder: Path) -> None:
    """Raise ConfigurationError if ``size`` bytes do not fit: another attempt has no more space."""
    usage = shutil.disk_usage(folder)
    if size + SPARE > usage.free:
        raise ConfigurationError(
            f"{what} of {_megabytes(size)} MB does not fit on the disk",
            why=f"{_megabytes(usage.free)} of {_megabytes(usage.total)} MB are free in {folder}",
            next="raise `ephemeral_storage` for this config (on Lambda up to 10240 MB)",
        )


def _megabytes(size: int) -> int:
    return -(-size // 10**6)


def _size(answer: Mapping[str, Any]) -> int:
    """The size of the whole object, from the answer about any part of it."""
    total: str = answer.get("ContentRange", "").rpartition("/")[2]
    return int(total) if total.isdigit() else int(answer["ContentLength"])


def _write(file: int, block: bytes, place: int) -> None:
    left = memoryview(block)
    while left:
        written = os.pwrite(file, left, place)
        left, place = left[written:], place + written


def _type(path: Path) -> str:
    """So that a browser shows a plot instead of saving it."""
    guessed = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return guessed or "application/octet-stream"


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
