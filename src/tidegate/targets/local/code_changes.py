"""What a service asks about the code that it was started with."""

from __future__ import annotations

from typing import Protocol

from tidegate.runtime.manifest import Config


class CodeChanges(Protocol):
    """Detects changes of the code and config since they were read. Any thread may ask."""

    @property
    def suspected(self) -> bool:
        """Whether something had changed when it was last looked at: nothing new is started then."""

    def affects(self, config: Config) -> bool:
        """Whether the code of that config has changed; looks at its files."""

    def settled(self) -> str:
        """What has changed, once it does not change any more; "" for nothing."""


class NoCodeChanges:
    """For a service with code that does not change."""

    suspected = False

    def affects(self, config: Config) -> bool:
        """Never."""
        return False

    def settled(self) -> str:
        """Nothing."""
        return ""
