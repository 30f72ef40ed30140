"""Where raw files and products are: in the workspace, or where the config says."""

from pathlib import Path

import pytest

from tidegate.config.checks import check
from tidegate.workspace.folder import Workspace


def test_the_folders_that_the_config_names(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    workspace.root.mkdir()
    assert (workspace.input, workspace.output) == (
        workspace.root / "input",
        workspace.root / "output",
    )
    workspace.config.write_text(f"input: {tmp_path}/raw\noutput: ../products\npipelines: []\n")
    assert (workspace.input, workspace.output) == (tmp_path / "raw", tmp_path / "products")
    assert workspace.places.input == tmp_path / "raw"


@pytest.mark.parametrize(
    ("folders", "findings"),
    [
        ({}, 0),
        ({"input": "/data", "output": "/products"}, 0),
        ({"input": "/data", "output": "/data/products"}, 1),
        ({"input": "output/raw"}, 1),
        ({"input": "x", "output": "./x"}, 1),
    ],
)
def test_one_folder_may_not_be_inside_the_other(folders: dict[str, str], findings: int) -> None:
    assert len(list(check({**folders, "pipelines": []}, lambda path: 1))) == findings
