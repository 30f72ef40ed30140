"""A workspace with a week of history, and the dashboard over it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_dashboard import Web
from web_history import HistoryWriter, make_workspace


@pytest.fixture(scope="session")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an ingest of a week, one failure, and a VAP; to copy."""
    root = make_workspace(tmp_path_factory.mktemp("week") / "station")
    history = HistoryWriter(root)
    history.write_week()
    history.ledger.close()
    return root


@pytest.fixture
def web(week: Path, tmp_path: Path) -> Iterator[Web]:
    """A copy of that workspace, and its dashboard."""
    root = tmp_path / "station"
    shutil.copytree(week, root)
    made = Web(root, HistoryWriter(root))
    try:
        yield made
    finally:
        made.close()
