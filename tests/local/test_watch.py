"""Files that arrive in a real folder."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidegate.targets.local import watch as module
from tidegate.targets.local.inotify import Inotify
from tidegate.targets.local.inputs import FolderInputs
from tidegate.targets.local.watch import Watcher

LONG = 60.0
"""A machine that is busy with other things must not fail a test, s."""
NEVER = 3600.0
"""A settle time that no test lives to see, s."""

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


class Told:
    """Collects what a Watcher tells."""

    def __init__(self) -> None:
        self.keys: Counter[str] = Counter()
        self.at: dict[str, float] = {}
        self.said: list[str] = []
        self._changed = threading.Condition()

    def arrived(self, keys: list[str]) -> None:
        with self._changed:
            self.keys.update(keys)
            self.at.update((key, time.monotonic()) for key in keys)
            self._changed.notify_all()

    def say(self, text: str) -> None:
        with self._changed:
            self.said.append(text)
            self._changed.notify_all()

    def wait(self, *keys: str) -> None:
        self.until(lambda: all(key in self.keys for key in keys), keys)

    def until(self, holds: Callable[[], bool], what: object = "") -> None:
        with self._changed:
            assert self._changed.wait_for(holds, LONG), (what, self.keys, self.said)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "input"
    folder.mkdir()
    return folder


@contextmanager
def watching(root: Path, told: Told, settle: float = NEVER, **more: bool) -> Iterator[Watcher]:
    """With a settle time that never ends, only what was renamed into place can be told of."""
    with Watcher(
        root, arrived=told.arrived, settle=lambda key: settle, say=told.say, **more
    ) as watcher:
        yield watcher


def renamed(path: Path, content: bytes = b"x") -> None:
    """Write a file elsewhere and rename it into place."""
    made = path.parent.parent / f"made-{path.name}"
    made.write_bytes(content)
    os.replace(made, path)


@pytest.mark.functional
@linux
def test_a_file_renamed_into_place_arrives_at_once(root: Path, tmp_path: Path, told: Told) -> None:
    with watching(root, told):
        renamed(root / "from outside")
        (root / ".hidden").write_bytes(b"x")
        os.replace(root / ".hidden", root / "from a dotfile")
        (root / "x.part").write_bytes(b"x")
        os.replace(root / "x.part", root / "from a part")
        (tmp_path / "moved").write_bytes(b"x")
        subprocess.run(["mv", tmp_path / "moved", root / "by mv"], check=True)
        told.wait("from outside", "from a dotfile", "from a part", "by mv")
    assert set(told.keys.values()) == {1}


@pytest.mark.functional
@linux
def test_a_file_written_in_place_does_not_arrive_before_it_rests(
    root: Path, tmp_path: Path, told: Told
) -> None:
    """However it is written: the last one is renamed, and told of after all that came before."""
    source = tmp_path / "source"
    source.write_bytes(bytes(1_000_000))
    os.utime(source, (1e9, 1e9))
    with watching(root, told):
        (root / "written").write_bytes(bytes(20_000_000))
        for name, command in {"cp": ["cp"], "cp -p": ["cp", "-p"], "ln": ["ln"]}.items():
            subprocess.run([*command, source, root / name], check=True)
        (root / "link").symlink_to(root / "written")
        os.symlink(root / "written", tmp_path / "l")
        os.replace(tmp_path / "l", root / "link moved")
        with open(root / "opened", "w") as file:
            file.write("half")
            file.flush()
        (root / "empty").touch()
        renamed(root / "last")
        told.wait("last")
    assert set(told.keys) == {"last"}


@pytest.mark.parametrize("source", ["events", "polling", "events of watchfiles"])
def test_a_slow_writer_is_waited_for(
    root: Path, told: Told, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_EVERY", 0.1)
    polling = source == "polling"
    if source == "events of watchfiles":
        monkeypatch.setattr(module, "sys", SimpleNamespace(platform="another system"))
    with watching(root, told, settle=1.5, force_polling=polling):
        with open(root / "slow", "w") as file:
            for _ in range(8):
                file.write("half")
                file.flush()
                ended = time.monotonic()
                time.sleep(0.3)
        told.wait("slow")
    # Polling may have looked a moment before the last write; it still saw a change within the rest.
    assert told.at["slow"] - ended >= (1.5 if source == "events" else 1.0)


@linux
def test_a_file_that_is_written_to_after_its_rename_is_told_of_again(
    root: Path, told: Told
) -> None:
    with watching(root, told, settle=0.2):
        renamed(root / "log")
        told.wait("log")
        with open(root / "log", "a") as file:
            file.write("more")
        told.until(lambda: told.keys["log"] == 2)


def test_names_that_do_not_count_are_never_told_of(root: Path, told: Told) -> None:
    with watching(root, told, settle=0.0):
        for name in (".dot", "a.part", "b.TMP", "c~"):
            renamed(root / name)
        (root / ".folder").mkdir()
        (root / ".folder" / "in it").write_bytes(b"x")
        renamed(root / "last")
        told.wait("last")
    assert set(told.keys) == {"last"}


@linux
def test_any_name_that_a_file_system_takes_is_told_of(root: Path, told: Told) -> None:
    names = ["a b", "a+b", "100%25", 'it\'s "it"', "new\nline", "ünï 測", "\udcff\udcfe", "x" * 255]
    with watching(root, told):
        (root / "földer\n%").mkdir()
        for name in names:
            made = root.parent / "made"
            made.write_bytes(b"x")
            os.replace(made, root / name)
        told.wait(*names)
        renamed(root / "földer\n%" / "in it")
        told.wait("földer\n%/in it")


def test_folders_that_appear_are_looked_through(root: Path, tmp_path: Path, told: Told) -> None:
    old = tmp_path / "old" / "deep"
    old.mkdir(parents=True)
    (old / "rested").write_bytes(b"x")
    os.utime(old / "rested", (1e9, 1e9))
    (old / "fresh").write_bytes(b"x")
    with watching(root, told, settle=300.0):
        os.replace(tmp_path / "old", root / "moved in")
        told.wait("moved in/deep/rested")
        os.replace(root / "moved in", root / "renamed")
        told.wait("renamed/deep/rested")
    assert set(told.keys) == {"moved in/deep/rested", "renamed/deep/rested"}


@linux
def test_files_in_new_and_renamed_folders_have_their_true_names(root: Path, told: Told) -> None:
    with watching(root, told):
        for n in range(20):
            (root / f"a{n}/b/c").mkdir(parents=True)
        renamed(root / "settle down")
        told.wait("settle down")
        os.rename(root / "a0", root / "z")
        os.rename(root / "a1/b", root / "a2/moved")
        os.rename(root / "a3", root.parent / "moved out")
        shutil.rmtree(root / "a4")
        (root / "a4").mkdir()
        renamed(root / "and again")
        told.wait("and again")
        for folder in ("z/b/c", "a2/moved/c", "a19/b/c", "a4"):
            renamed(root / folder / "file")
        # What happens in a folder that has left says nothing of the one that took its place.
        (root / "a3/b/c").mkdir(parents=True)
        (root / "a3/b/c/file").write_bytes(b"half")
        renamed(root.parent / "moved out/b/c/file")
        told.wait("z/b/c/file", "a2/moved/c/file", "a19/b/c/file", "a4/file")
    assert len(told.keys) == 6


def test_thousands_at_once(root: Path, tmp_path: Path, told: Told) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (root / "many").mkdir()
    names = [f"{n:04}" for n in range(5000)]
    for name in names:
        (made / name).write_bytes(b"x")
    with watching(root, told, settle=0.2):
        for name in names:
            os.replace(made / name, root / "many" / name)
        told.until(lambda: len(told.keys) == len(names))
    assert sorted(told.keys) == [f"many/{name}" for name in names]


@linux
def test_an_overflow_of_the_queue_loses_nothing(root: Path, told: Told) -> None:
    events = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if events > 100_000:
        pytest.skip("the system's queue is too long to fill")
    watcher = Watcher(root, arrived=told.arrived, settle=lambda key: 0.5, say=told.say)
    count = events // 2  # making, writing and closing are three events each
    for n in range(count):
        (root / str(n)).write_bytes(b"x")
    with watcher:
        told.until(lambda: len(told.keys) == count)


@linux
def test_one_that_is_made_but_not_started_watches_already(root: Path, told: Told) -> None:
    watcher = Watcher(root, arrived=told.arrived, settle=lambda key: NEVER)
    renamed(root / "early")
    with watcher:
        told.wait("early")


def test_one_that_was_never_started_can_be_stopped(root: Path, told: Told) -> None:
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(5):
        watcher = Watcher(root, arrived=told.arrived)
        watcher.stop()
        watcher.stop()
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_first_look_tells_what_has_rested_and_leaves_the_rest_to_the_watcher(
    root: Path, told: Told
) -> None:
    for name in ("rested", "fresh", "from the future"):
        (root / name).write_bytes(b"x")
    os.utime(root / "rested", (1e9, 1e9))
    os.utime(root / "from the future", (4e9, 4e9))
    with watching(root, told, settle=1.0) as watcher:
        now = watcher.settled(FolderInputs(root).scan())
        told.wait("fresh", "from the future")
    assert [file.key for file in now] == ["rested"]
    assert "rested" not in told.keys


def test_what_cannot_be_taken_in_is_tried_again(root: Path, told: Told) -> None:
    failures = iter([OSError("disk full"), None])

    def arrived(keys: list[str]) -> None:
        if (error := next(failures, None)) is not None:
            raise error
        told.arrived(keys)

    with Watcher(root, arrived=arrived, settle=lambda key: 0.0, say=told.say):
        renamed(root / "a")
        told.wait("a")
    assert "disk full" in told.said[0]


@pytest.mark.parametrize("polling", [False, True])
def test_a_root_that_vanishes_is_waited_for(
    root: Path, told: Told, polling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_EVERY", 0.1)
    monkeypatch.setattr(module, "_RETRY", 0.1)
    with watching(root, told, settle=0.2, force_polling=polling):
        shutil.rmtree(root)
        told.until(lambda: any("waiting for it" in text for text in told.said))
        new = root.parent / "new"
        (new / "sub").mkdir(parents=True)
        (new / "sub/already there").write_bytes(b"x")
        os.rename(new, root)
        told.wait("sub/already there")
        renamed(root / "later")
        told.wait("later")
    assert told.said[-1].endswith("is watched again")


def test_the_limit_on_watches_leads_to_polling_and_says_how_to_raise_it(
    root: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_EVERY", 0.1)
    watched: list[str] = []

    def one_only(self: Inotify, folder: str, path: bytes) -> None:
        watched.append(folder)
        if len(watched) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Inotify, "_watch", one_only)
    (root / "sub").mkdir()
    with watching(root, told, settle=0.2) as watcher:
        assert watcher.polling
        (root / "sub" / "a").write_bytes(b"x")
        told.wait("sub/a")
    assert "fs.inotify.max_user_watches" in told.said[0]
    assert "sysctl" in told.said[0]


@linux
def test_the_limit_on_watches_reached_while_watching_loses_nothing(
    root: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_EVERY", 0.1)
    real = Inotify._watch

    def none_below(self: Inotify, folder: str, path: bytes) -> None:
        if folder:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, folder, path)

    monkeypatch.setattr(Inotify, "_watch", none_below)
    with watching(root, told, settle=0.2) as watcher:
        assert not watcher.polling
        new = root.parent / "new"
        new.mkdir()
        (new / "a").write_bytes(b"x")
        os.rename(new, root / "new")
        told.wait("new/a")
        assert watcher.polling


def test_a_name_that_is_not_text_does_not_stop_polling(
    root: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_EVERY", 0.1)
    with watching(root, told, settle=0.2, force_polling=True):
        (root / "before").write_bytes(b"x")
        told.wait("before")
        (root / os.fsdecode(b"\xff")).write_bytes(b"x")
        (root / "after").write_bytes(b"x")
        told.wait("after", "\udcff")


def test_files_that_polling_was_not_told_of_are_found_by_the_sweep(
    root: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_EVERY", NEVER)
    monkeypatch.setattr(module, "SWEEP_EVERY", 0.5)
    with watching(root, told, settle=0.2, force_polling=True):
        (root / "a").write_bytes(b"x")
        told.wait("a")


@linux
@pytest.mark.functional
@pytest.mark.parametrize("below", [True, False])
def test_files_that_another_machine_writes_to_a_network_drive_arrive(
    network_drive: tuple[Path, Path], told: Told, monkeypatch: pytest.MonkeyPatch, below: bool
) -> None:
    monkeypatch.setattr(module, "POLL_EVERY", 0.1)
    mounted, server = network_drive
    root, prefix = (mounted.parent, "drive/") if below else (mounted, "")
    with watching(root, told, settle=0.2) as watcher:
        (server / "a").write_bytes(b"x")
        (server / "sub").mkdir()
        (server / "sub" / "b").write_bytes(b"x")
        told.wait(f"{prefix}a", f"{prefix}sub/b")
        assert not watcher.polling
        if below:  # the local part still has events
            (root / "c").write_bytes(b"x")
            told.wait("c")
    assert [str(mounted) in text for text in told.said] == [True]


@linux
def test_a_lost_event_is_made_up_for_by_the_sweep(
    root: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_EVERY", 0.5)
    monkeypatch.setattr(Inotify, "_one", lambda self, *event: None)
    with watching(root, told, settle=0.2):
        (root / "a").write_bytes(b"x")
        told.wait("a")


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, told: Told) -> None:
    with pytest.raises(FileNotFoundError):
        Watcher(tmp_path / "none", arrived=told.arrived)


def test_a_busy_writer_does_not_hold_up_others_nor_the_end(root: Path, told: Told) -> None:
    enough = threading.Event()

    def write() -> None:
        with open(root / "busy", "wb", buffering=0) as file:
            while not enough.is_set():
                file.write(b"x")
                time.sleep(0.0005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with watching(root, told, settle=0.5):
            for n in range(20):
                renamed(root / f"{n}")
            told.wait(*(f"{n}" for n in range(20)))
        assert "busy" not in told.keys
    finally:
        enough.set()
        writer.join()
