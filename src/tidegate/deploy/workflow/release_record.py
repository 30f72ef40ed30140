"""The record of a release from its beginning to its end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from tidegate import __version__
from tidegate.deploy.cloudformation.event_tailing import Interrupted, WatchingFailed
from tidegate.deploy.core.branch import Branch
from tidegate.deploy.core.history import History, Release, ended
from tidegate.runtime.manifest import Manifest
from tidegate.runtime.records import dumps


@dataclass
class ReleaseRecord:
    """The record of a release in progress."""

    history: History
    release: Release

    def now(self, release: Release) -> None:
        """Write its state."""
        self.release = release
        self.history.put(release)

    def done(self) -> Release:
        """Write that it is deployed."""
        self.now(ended(self.release, "deployed"))
        return self.release


@contextmanager
def on_record(branch: Branch, begun: Release) -> Iterator[ReleaseRecord]:
    """Record a release from its beginning to its end, success or failure."""
    with branch.history.releasing(begun):
        record = ReleaseRecord(branch.history, begun)
        record.now(begun)
        try:
            yield record
        except (WatchingFailed, Interrupted) as error:  # AWS continues: the result is unknown
            record.now(replace(record.release, error=str(error)))
            raise
        except BaseException as error:
            message = str(error) or type(error).__name__
            record.now(ended(record.release, "failed", message))
            raise


def begin(branch: Branch, commit: str, manifest: Manifest) -> Release:
    """The record of a release that begins now."""
    now = datetime.now(timezone.utc)
    begun = Release(
        id=f"{now:%Y%m%dT%H%M%S}-{commit[:7] or 'none'}",
        commit=commit,
        who=branch.who,
        when=now,
        keys=branch.keys.model_dump_json(exclude_none=True),
        tidegate=__version__,
    )
    return with_manifest(begun, manifest)


def with_manifest(release: Release, manifest: Manifest) -> Release:
    """The record with these configs."""
    text = dumps(manifest)
    hash = hashlib.sha256(text.encode()).hexdigest()[:16]
    return replace(release, manifest=text, config_hash=hash)
