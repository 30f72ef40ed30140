"""Product files in a bucket."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import Input, Product
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.s3 import ETAG, SHA256, S3Inputs
from tidegate.workspace.product_files import StoredFile


@dataclass(frozen=True)
class BucketProductFiles:
    """``ProductFiles`` over a bucket."""

    bucket: str
    """The name of the bucket."""
    clients: Clients
    """Calls AWS."""
    raw: tuple[str, ...] = ()
    """Prefixes of raw files, if they are in the same bucket."""

    @property
    def place(self) -> str:
        """The bucket, for messages."""
        return f"s3://{self.bucket}"

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """All objects below a prefix; the empty ones that stand for folders do not count."""
        start = f"{prefix}/" if prefix else ""
        with explained("list", self.clients.arn("s3", f"{self.bucket}/{start}")):
            pages = self.clients.s3.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=start):
                for item in page.get("Contents", ()):
                    key = item["Key"]
                    if not key.endswith("/") and not key.startswith(("tidegate/logs/", *self.raw)):
                        version = ETAG + item["ETag"].strip('"')
                        yield StoredFile(key, item["Size"], version, item["LastModified"])

    def identify(self, file: StoredFile) -> tuple[int, str]:
        """Size and ETag; for the sha256, every object would have to be read."""
        return file.size, file.version

    def is_version(self, file: StoredFile, product: Product) -> bool:
        """Whether an object has the content on record, by its metadata; sizes are compared before.

        The files of a folder are not compared, since the folder's sha256 is not in the bucket.
        """
        if product.sha256.startswith(ETAG):
            return file.version == product.sha256
        if product.key.endswith(".zarr"):
            return True
        with explained("look at", self.clients.arn("s3", f"{self.bucket}/{file.key}")):
            answer = self.clients.s3.head_object(Bucket=self.bucket, Key=file.key)
        return answer.get("Metadata", {}).get(SHA256) == product.sha256

    @contextmanager
    def copy(self, file: StoredFile) -> Iterator[Path]:
        """A copy of an object, deleted after the block."""
        with tempfile.TemporaryDirectory(prefix="tidegate-adopt-") as folder:
            place = Path(folder) / file.key.rsplit("/", 1)[-1]
            version = file.version.removeprefix(ETAG)
            S3Inputs(self.bucket, self.clients).fetch(Input(file.key, version, file.size), place)
            assert content_hash(place)[0] == file.size
            yield place
