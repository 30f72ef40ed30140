"""Archives of raw files: zip and tar, read by Tsdat's ZipReader and TarReader."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

from tidegate.errors import UsageError
from tidegate.scaffold.ingest.records import Guess, Sample
from tidegate.scaffold.questions import Answers

NAME = "archive"
_IGNORED = ("__MACOSX", ".DS_Store")


def matches(name: str, data: bytes) -> bool:
    """Whether it is a zip or tar archive."""
    return zipfile.is_zipfile(io.BytesIO(data)) or _is_tar(data)


def read(name: str, data: bytes, answers: Answers) -> Sample:
    """Read the members of an archive that are of the most frequent kind.

    Raises:
        UsageError: there are none, or they are not all alike.
    """
    from tidegate.scaffold.ingest.formats import joined, read_content

    members = _members(data)
    if not members:
        raise UsageError(f"{name} holds no files", next="give a sample that holds data")
    suffixes = Counter(PurePosixPath(member).suffix.lower() for member in members)
    suffix = suffixes.most_common(1)[0][0]
    chosen = {m: d for m, d in members.items() if PurePosixPath(m).suffix.lower() == suffix}
    samples = [read_content(member, content, answers) for member, content in chosen.items()]
    first = samples[0]
    names = [column.source for column in first.columns]
    for member, sample in zip(chosen, samples):
        if [column.source for column in sample.columns] != names:
            raise UsageError(
                f"the files in {name} have different columns",
                why=f"{next(iter(chosen))} and {member} differ",
                next="make an ingest for each kind of file",
            )
    if first.reader.archive or first.format == "netCDF":
        raise UsageError(
            f"{name} holds files that are not text", next="unpack it, and give the files in it"
        )
    first = joined(samples)
    zipped = zipfile.is_zipfile(io.BytesIO(data))
    pattern = f".*{re.escape(suffix)}$" if suffix else ".*"
    reader = replace(first.reader, archive="ZipReader" if zipped else "TarReader", members=pattern)
    others = sorted(set(members) - set(chosen))
    guesses = [Guess("file.members", pattern, f"not read: {', '.join(others)}")] if others else []
    return replace(
        first,
        format=f"{'zip' if zipped else 'tar'} of {first.format}",
        reader=reader,
        facts=(f"{len(chosen)} files in the archive", *first.facts),
        guesses=(*first.guesses, *guesses),
    )


def _members(data: bytes) -> dict[str, bytes]:
    stream = io.BytesIO(data)
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            return {name: archive.read(name) for name in sorted(names) if _wanted(name)}
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        found = {}
        for info in sorted(packed.getmembers(), key=lambda info: info.name):
            file = packed.extractfile(info) if info.isfile() else None
            if file is not None and _wanted(info.name):
                found[info.name] = file.read()
        return found


def _wanted(name: str) -> bool:
    return not any(part in name for part in _IGNORED)


def _is_tar(data: bytes) -> bool:
    try:
        with tarfile.open(fileobj=io.BytesIO(data)):
            return True
    except (tarfile.TarError, EOFError, OSError):
        return False
