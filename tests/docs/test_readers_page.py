"""The code in docs/readers-quality-plots.md works with the Tsdat that is installed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from shown import ROOT

PAGE = ROOT / "docs" / "readers-quality-plots.md"
USE = """
import tempfile, pathlib
file = pathlib.Path(tempfile.mkdtemp()) / "logger.txt"
times = [f"2022-06-01 {m // 60:02}:{m % 60:02}:00" for m in range(120)]
lines = [f"{time} | {12.5 if m > 20 else m} | 81" for m, time in enumerate(times)]
file.write_text("\\n".join(lines))
dataset = LoggerReader().read(str(file))
assert dict(dataset.sizes) == {"time": 120}, dataset
assert float(dataset["temperature"][3]) == 3.0
failed = CheckStuck().run(dataset, "temperature")
assert failed.shape == (120,) and failed.dtype == bool
assert not failed[:80].any() and failed[81:].all(), failed
dataset["temperature"].attrs["units"] = "degC"
picture = file.with_suffix(".png")
class Here:
    def get_ancillary_filepath(self, title):
        return picture
Met.hook_plot_dataset(Here(), dataset)
assert picture.read_bytes().startswith(b"\\x89PNG")
print("used")
"""


@pytest.mark.functional
def test_the_code_on_the_page(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    script = tmp_path / "page.py"
    script.write_text("\n".join([*blocks, USE]))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.stdout == "used\n", done.stderr
