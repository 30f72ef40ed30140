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


def make_repository(root: Path) -> Path:
    """The repository; returns its root."""
    TinyRepository(root).add("obedient", BODY)
    return root
