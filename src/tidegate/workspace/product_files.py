"""Product files in a target's storage, as ``tidegate adopt`` sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from tidegate.runtime.runs import Product


class StoredFile(NamedTuple):
    """A file in the storage of products."""

    key: str
    """Its path below the root of the storage."""
    size: int
    """Bytes."""
    version: str
    """Identifies its content; "" if that is not known without reading the file."""
    modified: datetime
    """When it was last written."""


class ProductFiles(Protocol):
    """The storage of products, read-only."""

    @property
    def place(self) -> str:
        """The folder or bucket, for messages."""

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """All files below a folder."""

    def identify(self, file: StoredFile) -> tuple[int, str]:
        """Its size and version, in the form that ``Outputs.fetch`` compares with."""

    def is_version(self, file: StoredFile, product: Product) -> bool:
        """Whether a file has the content that is on record.

        Raises:
            StorageError: it cannot be read.
        """

    def copy(self, file: StoredFile) -> AbstractContextManager[Path]:
        """The file on this machine, for reading only."""
