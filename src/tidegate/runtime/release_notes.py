"""What a config ran with since when: its release, its settings, and the installed packages.

A service notes it in the ledger when it starts and when it takes over a change; a function on AWS
when it starts. So commands and pages can say how one release differs from the one before it, and
with which packages a product was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Ledger
from tidegate.runtime.records import from_json, to_json
from tidegate.runtime.runs import RunRecord

_NOTES, _PACKAGES = "releases/", "packages/"
_KEPT = 20
"""Notes of each config."""
_NOT_SETTINGS = ("tsdat", "pipeline", "name", "kind")


@dataclass(frozen=True)
class ReleaseNote:
    """What a config ran with from some time on."""

    config: str
    """The config's id."""
    since: datetime
    """When a service began to run it so."""
    release: str
    """Its release, as in the records of its runs."""
    code: str
    """The content hash of its code: the release without environment variables."""
    settings: Mapping[str, Any]
    """Its settings that are not the default, by the names of ``manifest.Config``."""
    packages: str = ""
    """The digest of the list of installed packages; "" if that is not known."""


def note_releases(
    ledger: Ledger, manifest: Manifest, packages: Sequence[str], now: datetime
) -> None:
    """Note what each config runs with, where that is not what it ran with before.

    Functions that start at the same moment note it once.
    """
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:16] if packages else ""
    for config in manifest.configs:
        note = ReleaseNote(
            config.id,
            now,
            manifest.release(config),
            manifest.releases.get(config.pipeline, ""),
            settings(config),
            digest,
        )
        if _is_noted(note, release_notes(ledger, config.id)):
            continue
        if digest and ledger.state(_PACKAGES + digest) is None:
            ledger.set_state(_PACKAGES + digest, json.dumps(list(packages)))
        ledger.change_state(_NOTES + config.id, partial(_with_note, note))


def _with_note(note: ReleaseNote, text: str | None) -> str:
    known = _from_text(text)
    if not _is_noted(note, known):
        known = [*known[1 - _KEPT :], note]
    return json.dumps([to_json(one) for one in known])


def release_notes(ledger: Ledger, config: str) -> list[ReleaseNote]:
    """The notes of a config, the oldest first."""
    return _from_text(ledger.state(_NOTES + config))


def packages_of_run(ledger: Ledger, record: RunRecord) -> list[str]:
    """The packages that were installed when a run was made, such as ``tsdat==0.10.0``; none if that
    is not known."""
    notes = release_notes(ledger, record.run.config)
    note = note_of_run(notes, record.release, record.started)
    return packages_of(ledger, note) if note else []


def note_of_run(
    notes: Sequence[ReleaseNote], release: str, started: datetime
) -> ReleaseNote | None:
    """The note about what a run was made with, among those of its config."""
    fitting = [note for note in notes if note.release == release and note.since <= started]
    return fitting[-1] if fitting else None


def packages_of(ledger: Ledger, note: ReleaseNote) -> list[str]:
    """The packages that were installed, such as ``tsdat==0.10.0``; none if that is not known."""
    text = ledger.state(_PACKAGES + note.packages) if note.packages else None
    found: list[str] = json.loads(text or "[]")
    return found


def package_folders(python: Path) -> tuple[Path, ...]:
    """The folders with the packages of an interpreter; none where it is not laid out as usual."""
    for place in (python, python.resolve()):
        if found := sorted(place.parent.parent.glob("lib/python3*/*-packages")):
            return tuple(found)
    return ()


def installed_packages(folders: Iterable[Path]) -> list[str]:
    """The packages in these folders, such as ``tsdat==0.10.0``, in order."""
    names = {path.stem for folder in folders for path in folder.glob("*.dist-info")}
    return sorted("==".join(name.rsplit("-", 1)) for name in names)


def settings(config: Config) -> dict[str, Any]:
    """The settings of a config that are not the default, except for what Tsdat reads.

    Of environment variables, which may be secret, there are digests.
    """
    found: Mapping[str, Any] = to_json(config)
    kept = {key: value for key, value in found.items() if key not in _NOT_SETTINGS}
    for name, value in kept.pop("environment", {}).items():
        kept[f"environment {name}"] = hashlib.sha256(value.encode()).hexdigest()[:12]
    return kept


def setting_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """How the ``settings`` of a config differ, a sentence each; pure."""
    for key in sorted({*before, *after}):
        if before.get(key) == after.get(key):
            continue
        if key.startswith("environment "):
            yield key
        else:
            yield f"{key} {before.get(key, 'the default')} → {after.get(key, 'the default')}"


def differences(
    before: ReleaseNote, after: ReleaseNote, old: Sequence[str], new: Sequence[str]
) -> Iterator[str]:
    """How two notes differ, a sentence each; ``old`` and ``new`` are their packages; pure."""
    if before.code != after.code:
        yield "the code"
    yield from setting_differences(before.settings, after.settings)
    if before.packages != after.packages:
        yield from _package_differences(old, new)


def _package_differences(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    was, is_now = (dict(one.split("==", 1) for one in listed) for listed in (old, new))
    for name in sorted({*was, *is_now}):
        if was.get(name) != is_now.get(name):
            yield f"{name} {was.get(name, 'none')} → {is_now.get(name, 'none')}"


def _is_noted(note: ReleaseNote, known: Sequence[ReleaseNote]) -> bool:
    return bool(known) and _what(known[-1]) == _what(note)


def _what(note: ReleaseNote) -> tuple[object, ...]:
    return note.release, dict(note.settings), note.packages


def _from_text(text: str | None) -> list[ReleaseNote]:
    return [from_json(ReleaseNote, data) for data in json.loads(text or "[]")]
