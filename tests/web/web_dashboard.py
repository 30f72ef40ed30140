"""A dashboard without a server, over a small workspace with a real ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from starlette.testclient import TestClient
from web_history import NOW, HistoryWriter

from tidegate.web.actions import Actions
from tidegate.web.app import Dashboard, create_app
from tidegate.web.options import WebOptions
from tidegate.web.security import Guard
from tidegate.web.site import Site
from tidegate.workspace.session import TargetOptions

ADDRESS = "http://127.0.0.1:8321"


@dataclass
class Web:
    """A dashboard without a server, and its workspace."""

    root: Path
    history: HistoryWriter
    """Writes into its ledger."""
    clock: list[datetime] = field(default_factory=lambda: [NOW])
    """The time, which a test may set."""
    _opened: list[tuple[Site, Actions]] = field(default_factory=list)

    def client(self, python: str | None = None, **options: object) -> TestClient:
        """A reader of a dashboard with those options (``WebOptions``)."""
        given = WebOptions(**options)  # type: ignore[arg-type]
        site = Site(
            TargetOptions(self.root),
            read_only=given.read_only,
            earlier=given.earlier,
            python=python,
            now=lambda: self.clock[0],
        )
        actions = Actions(site)
        self._opened.append((site, actions))
        self.guard = Guard(given)
        app = create_app(Dashboard(site, self.guard, actions))
        return TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)

    def close(self) -> None:
        """Close the ledgers."""
        for site, actions in self._opened:
            actions.close()
            site.close()
        self.history.ledger.close()
