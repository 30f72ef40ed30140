"""The text in a raw file: unpacked, and decoded with the encoding that it is in."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from dataclasses import dataclass
from typing import Any

from charset_normalizer import from_bytes

from tidegate.errors import UsageError
from tidegate.scaffold.ingest.records import Guess

_LIMIT = 64 * 2**20  # bytes of text that are looked at
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "xz",  # LZMA without a container; Python's lzma reads both
}
_SUFFIX = {"gzip": ".gz", "bz2": ".bz2", "xz": ".xz"}
_OPEN: dict[str, Any] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_SINGLE_BYTE = ["cp1252", "cp437", "cp850", "mac_roman", "cp1250", "cp1251", "shift_jis", "gb18030"]
DEGREES = "°ºµ²³"
"""The characters outside ASCII that instruments write most: of units."""


@dataclass(frozen=True)
class Text:
    """A text and how it was stored."""

    lines: tuple[str, ...]
    """The lines, without their ends."""
    keywords: dict[str, Any]
    """What ``pandas.read_csv`` needs to read it the same way."""
    facts: tuple[str, ...]
    """What was recognized."""
    guesses: tuple[Guess, ...]
    """What was decided."""


def compression(head: bytes) -> str:
    """The compression that the first bytes of a file show; empty for none."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def read_text(name: str, data: bytes) -> Text:
    """Unpack and decode the content of a file.

    Raises:
        UsageError: it cannot be unpacked, or is not text.
    """
    keywords: dict[str, Any] = {}
    facts: list[str] = []
    packed = compression(data)
    if packed:
        data = _unpack(name, data, packed)
        facts.append(f"compressed ({packed})")
        if not name.lower().endswith(_SUFFIX[packed]):
            keywords["compression"] = packed  # pandas goes by the name otherwise
    encoding, guesses = find_encoding(name, data)
    if encoding != "utf-8":
        keywords["encoding"] = encoding
        facts.append(f"encoding {encoding}")
    text = data.decode(encoding)
    # Not splitlines(), which also splits at characters that are no line ends here.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UsageError(f"{name} is empty", next="give a sample that holds data")
    return Text(tuple(lines), keywords, tuple(facts), tuple(guesses))


def find_encoding(name: str, data: bytes) -> tuple[str, list[Guess]]:
    """The encoding of a text: by its byte-order mark, as UTF-8, or as it reads best.

    Raises:
        UsageError: it is not text.
    """
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding, []
    if b"\x00" in data[:4096]:
        raise UsageError(
            f"{name} is not text, nor in a binary format that is known here",
            next="write a reader for it (docs/first-pipeline.md), or convert it to CSV or netCDF",
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8", []
    best = from_bytes(data, cp_isolation=_SINGLE_BYTE, threshold=0.5).best()
    encoding = best.encoding if best else "cp1252"
    try:
        western = data.decode("cp1252")
    except UnicodeDecodeError:
        western = ""
    # Detectors look for words of a language; a header has a degree sign and little else.
    if western and all(sign in DEGREES for sign in western if ord(sign) > 127):
        encoding = "cp1252"
    reason = "not UTF-8; the characters outside ASCII make sense in this encoding"
    return encoding, [Guess("file.encoding", encoding, reason)]


def _unpack(name: str, data: bytes, packed: str) -> bytes:
    try:
        with _OPEN[packed](io.BytesIO(data)) as stream:
            content: bytes = stream.read(_LIMIT)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise UsageError(
            f"{name} cannot be unpacked", why=str(error), next="give a sample that is whole"
        ) from error
    return content
