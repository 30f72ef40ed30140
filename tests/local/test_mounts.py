"""Which folders are on network file systems."""

from pathlib import Path

import pytest

from tidegate.targets.local.mounts import is_network, network_folders

MOUNTS = r"""
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 27 0:40 / /data rw,relatime shared:2 master:1 - nfs4 server:/data rw,vers=4.2
31 30 8:2 / /data/local rw,relatime - xfs /dev/sdb1 rw
32 27 0:41 / /station/input/with\040blank rw,nosuid - fuse.sshfs me@there: rw
33 27 0:42 / /station/input/disk rw - ext4 /dev/sdc1 rw
34 27 0:43 / /station/input/share rw - ext4 /dev/sdd1 rw
35 34 0:44 / /station/input/share rw - cifs //there/share rw
36 27 0:45 / /station/inputs rw - nfs there:/x rw
"""


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (
            "/station/input",
            {"/station/input/share": "cifs", "/station/input/with blank": "fuse.sshfs"},
        ),
        ("/data/raw", {"/data/raw": "nfs4"}),
        ("/data/local/raw", {}),
        ("/data", {"/data": "nfs4"}),
        ("/home", {}),
    ],
)
def test_the_folder_itself_and_what_is_mounted_below_it(
    tmp_path: Path, root: str, expected: dict[str, str]
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    found = network_folders(Path(root), mounts)
    assert {str(path): kind for path, kind in found.items()} == expected


def test_without_a_list_of_mounts_there_is_none(tmp_path: Path) -> None:
    assert network_folders(tmp_path, tmp_path / "none") == {}


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "lustre", "fuse.rclone"])
def test_network_file_systems(kind: str) -> None:
    assert is_network(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs", "overlay", "fuseblk", "btrfs"])
def test_local_file_systems(kind: str) -> None:
    assert not is_network(kind)
