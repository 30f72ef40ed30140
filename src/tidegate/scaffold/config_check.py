"""Whether Tidegate accepts a pipelines_config.yml that is about to be written."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tidegate.config import ConfigProblems, read
from tidegate.workspace.folder import CONFIG


def check_config(text: str) -> None:
    """Check the config; whether the config files of its pipelines exist is not checked.

    Raises:
        ConfigProblems: it has problems.
    """
    with tempfile.TemporaryDirectory(prefix="tidegate-new-") as folder:
        file = Path(folder) / CONFIG
        file.write_text(text, encoding="utf-8")
        reading = read(file, files=False)
    if reading.model is None:
        raise ConfigProblems(CONFIG, reading.problems)
