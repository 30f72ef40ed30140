"""A Tsdat repository with one pipeline that does what the name of its file says."""

from __future__ import annotations

import sys
from pathlib import Path

from tidegate.runtime.manifest import Config

sys.path.append(str(Path(__file__).parents[1] / "runtime"))
from runtime_repository import TinyRepository

BODY = """
def run(self, inputs, **kwargs):
    ask = Path(inputs[0]).stem
    print("a line from user code")
    if ask == "raise":
        raise ValueError("no such thing")
    if ask == "sleep":
        time.sleep(600)
    if ask == "eat":
        heap = [b"x" * 2**26 for _ in range(60)]
        time.sleep(60)
    if ask == "die":
        os.kill(os.getpid(), 9)
    return super().run(inputs, **kwargs)
"""

CONFIG = Config(
    "obedient", "one", "Ingest", "S3", "pipelines/obedient/config/pipeline.yaml", input_path="raw/"
)


FAST = str(Path(__file__).parents[1] / "service" / "hooks")
"""On ``PYTHONPATH``, Tsdat is imported without ``act``, which only quality checks need."""


def make_repository(root: Path) -> Path:
    """The repository; returns its root. Its pipeline has no quality checks."""
    repository = TinyRepository(root)
    repository.write("shared/quality.yaml", "managers: []\n")
    repository.add("obedient", BODY)
    return root
