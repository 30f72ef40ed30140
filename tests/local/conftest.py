"""Disks that are small, full or read-only, where this machine lets us mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_SMALL = 2 << 20


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount: {error}")
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, 0.6 of which are taken by a file ``ballast``."""
    disk = tmp_path / "small"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={_SMALL}", "tmpfs", str(disk))
    try:
        (disk / "ballast").write_bytes(bytes(600_000))
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody can write to, root included."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def network_drive(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder that is mounted as network drives are, and the folder on its server.

    What is written on the server causes no event in the mounted folder.
    """
    server, mounted = tmp_path / "server", tmp_path / "input" / "drive"
    server.mkdir()
    mounted.mkdir(parents=True)
    try:
        done = subprocess.run(
            ["bindfs", str(server), str(mounted)], capture_output=True, text=True, check=False
        )
    except OSError:
        pytest.skip("there is no `bindfs`: scripts/test_packages.sh installs it")
    if done.returncode:
        pytest.skip(f"`bindfs` cannot mount here: {done.stderr.strip()}")
    try:
        yield mounted, server
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


@pytest.fixture
def sharing_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with XFS, where files can share blocks."""
    disk, image = tmp_path / "xfs", tmp_path / "xfs.img"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(512 << 20)
    try:
        subprocess.run(["mkfs.xfs", "-q", str(image)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"there is no disk with XFS: {error}")
    _mount("-o", "loop", str(image), str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
