"""Which names are those of files that are not complete, and what a config ignores."""

import pytest

from tidegate.runtime.manifest import Config
from tidegate.runtime.select import takes
from tidegate.runtime.temporary_names import is_temporary

TEMPORARY = [
    "lidar.csv.part",
    "lidar.csv.FILEPART",
    "lidar.csv.crdownload",
    "lidar.csv.download",
    "lidar.csv.partial",
    "lidar.csv._COPYING_",
    "lidar.csv_.gstmp",
    "lidar.tmp",
    ".lidar.csv.Xb3kP1",
    "~$table.xlsx",
    "lidar.csv~",
    "#lidar.csv#",
    ".lidar.csv.swp",
    "_temporary/0/lidar.csv",
    ".hidden/lidar.csv",
    "folder/",
    "",
]
COMPLETE = [
    "lidar.csv",
    "a.b.c",
    "partial.csv",
    "my.part.csv",
    "#1.csv",
    "a~b",
    "20220101.temp",
    "_x",
]


@pytest.mark.parametrize("name", TEMPORARY)
def test_temporary(name):
    assert is_temporary(name)
    assert is_temporary(f"site/{name}")


@pytest.mark.parametrize("name", COMPLETE)
def test_complete(name):
    assert not is_temporary(f"site/{name}")


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        ("site/a.csv", True),
        ("site/a.log", False),
        ("site/deep/a.log", False),
        ("site/test/a.csv", False),
        ("site/deep/test/a.csv", True),
        ("site/A.LOG", True),
    ],
)
def test_a_config_ignores_names_by_patterns(key, taken):
    ignore = ("*.log", "test/*")
    config = Config("p", "c", "Ingest", "S3", "x.yaml", input_path="site/", ignore=ignore)
    assert takes(config, key) == taken
