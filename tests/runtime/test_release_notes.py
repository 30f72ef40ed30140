"""What configs ran with since when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.release_notes import (
    differences,
    note_of_run,
    note_releases,
    packages_of,
    release_notes,
)
from tidegate.runtime.testing import MemoryLedger

NOW = datetime(2026, 11, 28, tzinfo=timezone.utc)
CONFIG = Config("met", "site", "Ingest", "S3", "pipeline.yaml", input_path="met/")


def test_a_change_of_code_settings_or_packages_is_noted_once() -> None:
    ledger = MemoryLedger()
    secret = replace(CONFIG, timeout=60, environment={"KEY": "secret"})
    steps = [
        (CONFIG, "r1", ["tsdat==0.9.3", "xarray==1"]),
        (CONFIG, "r1", ["tsdat==0.9.3", "xarray==1"]),
        (secret, "r1", ["tsdat==0.9.3", "xarray==1"]),
        (secret, "r2", ["tsdat==0.10.0", "numpy==2"]),
        (secret, "r2", []),
    ]
    for hour, (config, release, packages) in enumerate(steps):
        manifest = Manifest((config,), {"met": release})
        note_releases(ledger, manifest, packages, NOW + timedelta(hours=hour))
    notes = release_notes(ledger, "met/site")
    assert [note.since.hour for note in notes] == [0, 2, 3, 4]
    packages = [packages_of(ledger, note) for note in notes]
    assert packages[2:] == [["tsdat==0.10.0", "numpy==2"], []]

    def changes(n: int) -> list[str]:
        return list(differences(notes[n - 1], notes[n], packages[n - 1], packages[n]))

    assert changes(1) == ["environment KEY", "timeout the default → 60"]
    assert changes(2) == [
        *("the code", "numpy none → 2", "tsdat 0.9.3 → 0.10.0", "xarray 1 → none"),
    ]
    assert "secret" not in (ledger.state("releases/met/site") or "")

    first = note_of_run(notes, notes[0].release, NOW + timedelta(hours=1))
    assert first == notes[0]
    assert note_of_run(notes, notes[0].release, NOW - timedelta(hours=1)) is None
    assert note_of_run(notes, "another", NOW + timedelta(days=1)) is None
