"""Inputs and outputs in folders: what counts, what fails and how, what a crash leaves."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidegate.errors import InputChanged, StorageError
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import Input, Product, ProductRef
from tidegate.runtime.select import counts
from tidegate.targets.local import files
from tidegate.targets.local import inputs as input_module
from tidegate.targets.local import outputs as module
from tidegate.targets.local.files import delete
from tidegate.targets.local.inputs import FolderInputs, RawFile, to_raw_file
from tidegate.targets.local.ledger import SeenFile, SqliteLedger
from tidegate.targets.local.outputs import HIDDEN, FolderOutputs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "input").mkdir()
    return tmp_path / "input"


def put(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def version(content: bytes = b"content") -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, name: str, code: int, on: str = "") -> Iterator[None]:
    """Let a function of ``os`` fail on paths that end so."""
    real = getattr(os, name)

    def fail(path: object, *args: object, **kwargs: object) -> object:
        if str(path).endswith(on):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        yield


# What counts as arrived.


@pytest.mark.parametrize(
    ("key", "arrives"),
    [
        ("a.dat", True),
        ("a/b/c", True),
        ("a b+c%20'\"(1).dat", True),
        ("new\nline", True),
        ("風.dat", True),
        ("\udcff.dat", True),
        ("a.part/b", True),
        ("apart", True),
        ("a~b", True),
        (".hidden", False),
        (".folder/a", False),
        ("a/.folder/b", False),
        ("a.part", False),
        ("A.PART", False),
        ("a.tmp", False),
        ("a/b.Tmp", False),
        ("a~", False),
        ("", False),
        ("a/", False),
    ],
)
def test_names_that_count(root: Path, key: str, arrives: bool) -> None:
    assert counts(key) == arrives
    if key and not key.endswith("/"):
        put(root / key)
        assert (FolderInputs(root).find(key) is not None) == arrives
        assert [found.key for found in FolderInputs(root).scan()] == [key] * arrives


def test_only_regular_files_count(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    (root / "dangling").symlink_to("none")
    (root / "round").symlink_to("round")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "socket"))
    inputs = FolderInputs(root, on_error=_raise)
    assert list(inputs.scan()) == []
    for name in ("pipe", "folder", "dangling", "round", "socket", "none", "folder/none", "pipe/x"):
        assert inputs.find(name) is None
    for name in ("pipe", "socket", "folder"):
        with pytest.raises(InputChanged):
            inputs.fetch(Input(name, "1", 0), root.parent / "copy")


def _raise(key: str, error: OSError) -> None:
    raise AssertionError((key, error))


def test_links_do_not_count(root: Path) -> None:
    """A watcher does not notice changes behind them, and one file would have two names."""
    put(root / "real/a.dat")
    outside = put(root.parent / "outside/b.dat").parent
    put(root.parent / "input-not/c.dat")
    (root / "in.dat").symlink_to(root / "real/a.dat")
    (root / "folder").symlink_to("real")
    (root / "real/loop").symlink_to("..")
    (root / "out.dat").symlink_to(outside / "b.dat")
    (root / "outfolder").symlink_to(outside)
    (root / "sibling").symlink_to("../input-not")
    inputs = FolderInputs(root, on_error=_raise)
    assert [found.key for found in inputs.scan()] == ["real/a.dat"]
    assert inputs.find("real/a.dat") is not None
    for key in ("in.dat", "folder/a.dat", "real/loop/real/a.dat", "out.dat", "outfolder/b.dat"):
        assert inputs.find(key) is None
    for key in ("sibling/c.dat", "../outside/b.dat", "/etc/passwd"):
        assert inputs.find(key) is None
    assert list(inputs.scan("folder/")) == []
    (root.parent / "link").symlink_to(root)  # the root itself may be a link
    linked = FolderInputs(root.parent / "link", on_error=_raise)
    assert [found.key for found in linked.scan()] == ["real/a.dat"]
    assert linked.find("real/a.dat") is not None


def test_scan_takes_a_prefix(root: Path) -> None:
    for key in ("a/b/1", "a/b/2", "a/bc", "ab/1", "c"):
        put(root / key)
    inputs = FolderInputs(root)

    def scan(prefix: str) -> set[str]:
        return {found.key for found in inputs.scan(prefix)}

    assert scan("a/b/") == {"a/b/1", "a/b/2"}
    assert scan("a/b") == {"a/b/1", "a/b/2", "a/bc"}
    assert scan("a") == {"a/b/1", "a/b/2", "a/bc", "ab/1"}
    assert scan("none/") == scan("c/") == scan("../") == scan(".a/") == set()


def test_scan_goes_on_past_what_cannot_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a/1", "bad/2", "c/3"):
        put(root / key)
    told: list[str] = []
    inputs = FolderInputs(root, on_error=lambda key, error: told.append(key))
    with failing(monkeypatch, "scandir", errno.EACCES, "/bad"):
        assert {found.key for found in inputs.scan()} == {"a/1", "c/3"}
    assert told == ["bad"]
    with failing(monkeypatch, "scandir", errno.ENOENT, "/bad"):
        assert {found.key for found in inputs.scan()} == {"a/1", "c/3"}
    assert told == ["bad"]
    with failing(monkeypatch, "open", errno.EIO, "/2"):
        assert {input.key for input in inputs.list("")} == {"a/1", "c/3"}
    assert told == ["bad", "bad/2"]
    assert list(FolderInputs(root / "none").scan()) == []


def test_unreadable_files_are_logged(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(root / "a")
    with failing(monkeypatch, "open", errno.EACCES, "/a"):
        assert list(FolderInputs(root).list("")) == []
    assert "Permission denied" in caplog.text


# Reading.


def test_unchanged_files_are_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "a")
    put(root / "\udcff")
    with SqliteLedger(root.parent / "ledger.db") as ledger:
        inputs = FolderInputs(root, seen=ledger.seen_files)
        ledger.seen_files.add(inputs.hash_file(found) for found in inputs.scan())
        first = sorted(inputs.list(""), key=lambda input: input.key)
        assert [input.version for input in first] == [version()] * 2
        with failing(monkeypatch, "open", errno.EIO):
            assert sorted(inputs.list(""), key=lambda input: input.key) == first
        put(root / "a", b"CONTENT")
        again = {input.key: input.version for input in inputs.list("")}
        assert again == {"a": version(b"CONTENT"), "\udcff": version()}


@pytest.mark.parametrize("mode", ["r+b", "wb"], ids=["same size", "shorter"])
def test_a_file_that_is_being_replaced_has_no_version_yet(
    root: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    path = put(root / "a", b"content")
    inputs = FolderInputs(root)
    found = inputs.find("a")
    assert found is not None
    real = input_module.hash_begin

    def slow(file: BufferedReader, size: int, check: Callable[[], None]) -> str:
        with path.open(mode) as writer:
            writer.write(b"more")
            os.utime(writer.fileno(), (1, time.time_ns() % 10**9))
        return real(file, size)

    with monkeypatch.context() as patch:
        patch.setattr(input_module, "hash_begin", slow)
        with pytest.raises(InputChanged):
            inputs.identify(found)
        assert list(inputs.list("")) == []
    path.unlink()
    with pytest.raises(InputChanged):
        inputs.identify(found)


def test_of_a_file_that_grows_the_version_is_what_was_in_it_at_first(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = put(root / "a", b"content")
    inputs = FolderInputs(root)
    found = inputs.find("a")
    assert found is not None
    real = input_module.hash_begin

    def slow(file: BufferedReader, size: int, check: Callable[[], None]) -> str:
        with path.open("ab") as writer:
            writer.write(b"more")
        return real(file, size)

    with monkeypatch.context() as patch:
        patch.setattr(input_module, "hash_begin", slow)
        input = inputs.identify(found)
    assert (input.size, input.version) == (7, version(b"content"))
    inputs.fetch(input, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"
    assert not inputs.replaced(input)
    path.write_bytes(b"other content")
    assert inputs.replaced(input)
    with pytest.raises(InputChanged):
        inputs.fetch(input, tmp_path / "copy")


def test_a_fetched_file_is_not_read_again_to_see_whether_it_was_replaced(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(root / "a")
    inputs = FolderInputs(root)
    (input,) = inputs.list("")
    inputs.fetch(input, tmp_path / "copy")
    with failing(monkeypatch, "open", errno.EIO):
        assert not inputs.replaced(input)
        os.utime(root / "a", (1, 1))
        with pytest.raises(StorageError):
            inputs.replaced(input)
    assert not inputs.replaced(input)


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_reading_troubles_are_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    put(root / "a")
    inputs = FolderInputs(root)
    (input,) = inputs.list("")
    with failing(monkeypatch, "open", code, "/a"), pytest.raises(StorageError) as caught:
        inputs.fetch(input, tmp_path / "copy")
    assert caught.value.what == "cannot read a"
    assert caught.value.why == os.strerror(code).lower()
    assert caught.value.next


def test_a_full_work_disk_is_told(root: Path, small_disk: Path) -> None:
    put(root / "a", bytes(2 << 20))
    inputs = FolderInputs(root)
    (input,) = inputs.list("")
    with pytest.raises(StorageError, match=r"no space left on device.*\nfree some space"):
        inputs.fetch(input, small_disk / "copy")
    assert not (small_disk / "copy").exists()


def test_keys_that_lead_out_are_refused(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "secret")
    for key in ("../secret", "/etc/passwd", "a/../../secret", "a//b", ""):
        with pytest.raises(StorageError, match="leads out"):
            FolderInputs(root).fetch(Input(key, version(), 7), tmp_path / "copy")


# Publishing.


@pytest.fixture
def outputs(tmp_path: Path) -> FolderOutputs:
    return FolderOutputs(tmp_path / "output", tmp_path / "work")


def made(
    work: Path, key: str, content: bytes = b"data", kind: str = "data"
) -> tuple[Product, Path]:
    path = put(work / "store" / key, content)
    size, sha256 = content_hash(path)
    return Product(key, kind, size, sha256), path  # type: ignore[arg-type]


def made_folder(work: Path, key: str, **files: bytes) -> tuple[Product, Path]:
    for name, content in files.items():
        put(work / "store" / key / name, content)
    size, sha256 = content_hash(work / "store" / key)
    return Product(key, "data", size, sha256), work / "store" / key


def visible(root: Path) -> dict[str, bytes]:
    """What a reader sees, whatever is hidden included."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_data_goes_first_and_all_is_on_the_disk_before(
    outputs: FolderOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_sync, real_rename = module.sync, Path.rename

    def sync(path: Path) -> None:
        steps.append(f"sync {path.name}")
        real_sync(path)

    for user in (files, module):
        monkeypatch.setattr(user, "sync", sync)

    def rename(self: Path, target: Path) -> Path:
        steps.append(f"rename {target.name}")
        return real_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    outputs.publish(
        [
            made(outputs.work, "x/y/plot.png", kind="ancillary"),
            made(outputs.work, "x/y/data.nc"),
            made_folder(outputs.work, "x/y/z.zarr", a=b"1"),
        ]
    )
    assert steps == [
        "sync data.nc",
        "sync a",
        "sync z.zarr",
        "sync plot.png",
        "rename data.nc",
        "rename z.zarr",
        "rename plot.png",
        "sync y",
        "sync x",
        "sync output",
        *([] if outputs.root.parent == outputs.root else ["sync " + outputs.root.parent.name]),
    ]


@pytest.mark.parametrize("key", ["../a.nc", "/a.nc", "x/../../a.nc", "x//a.nc", "./a.nc", "", "x/"])
def test_keys_that_leave_the_root_are_refused(outputs: FolderOutputs, key: str) -> None:
    product = Product(key, "data", 4, version(b"data"))
    path = put(outputs.work / "a.nc", b"data")
    with pytest.raises(StorageError, match="leads out of the output folder"):
        outputs.publish([(product, path)])
    with pytest.raises(StorageError, match="leads out of the output folder"):
        outputs.remove([key])
    with pytest.raises(StorageError, match="leads out of the output folder"):
        outputs.fetch(product.ref, outputs.work / "copy")
    assert path.exists()


def test_a_file_and_a_folder_do_not_replace_each_other(outputs: FolderOutputs) -> None:
    outputs.publish([made(outputs.work, "x/a"), made_folder(outputs.work, "x/b", c=b"1")])
    before = visible(outputs.root)
    for one, why in [
        (made(outputs.work, "x/a/deeper/c.nc"), "is a file, but a folder is needed there"),
        (made(outputs.work, "x/b"), "a folder is in its place"),
    ]:
        with pytest.raises(StorageError, match=why):
            outputs.publish([made(outputs.work, "new.nc"), one])
        (outputs.work / "store").rename(outputs.work / why[:9])
    with pytest.raises(StorageError, match="a file is in its place"):
        outputs.publish([made_folder(outputs.work, "x/a", c=b"1")])
    assert visible(outputs.root) == before


@pytest.mark.parametrize("same_disk", [True, False])
def test_a_full_disk_leaves_what_was_there(
    small_disk: Path, tmp_path: Path, same_disk: bool
) -> None:
    work = small_disk / "work" if same_disk else tmp_path / "work"
    outputs = FolderOutputs(small_disk / "output", work)
    old = [made(work, "x/a.nc", b"old"), made_folder(work, "z.zarr", c=b"old")]
    outputs.publish(old)
    before = visible(outputs.root)
    elsewhere = tmp_path / "big"
    with pytest.raises(StorageError, match="no space left on device") as caught:
        outputs.publish(
            [
                made(elsewhere, "x/a.nc", b"new"),
                made_folder(elsewhere, "z.zarr", c=bytes(3 << 20)),
                made(elsewhere, "y/b.nc", b"new"),
            ]
        )
    assert "z.zarr" in caught.value.what
    assert "free some space" in caught.value.next
    assert visible(outputs.root) == before
    outputs.publish([made(elsewhere, "x/a.nc", b"new"), made(elsewhere, "y/b.nc", b"new")])
    assert visible(outputs.root) == {"x/a.nc": b"new", "y/b.nc": b"new", "z.zarr/c": b"old"}


def test_a_read_only_output_folder_is_told(read_only: Path, tmp_path: Path) -> None:
    outputs = FolderOutputs(read_only, tmp_path / "work")
    for key in ("a.nc", "x/a.nc"):
        with pytest.raises(StorageError, match=r"read-only file system.*\nmount it for writing"):
            outputs.publish([made(outputs.work, key)])
    with pytest.raises(StorageError, match="cannot publish"):
        outputs.publish([made_folder(outputs.work, "z.zarr", c=b"1")])
    assert visible(read_only) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_missing_permission_is_told(outputs: FolderOutputs) -> None:
    outputs.root.mkdir()
    outputs.root.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied"):
        outputs.publish([made(outputs.work, "a.nc")])


def test_across_mounts_of_one_device_products_are_copied(
    outputs: FolderOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if outputs.work in self.parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    for content in (b"1", b"2"):
        work = outputs.work / content.decode()
        one = made(work, "x/a.nc", content)
        folder = made_folder(work, "z.zarr", **{f"c{content.decode()}": content})
        outputs.publish([one, folder])
    assert visible(outputs.root) == {"x/a.nc": b"2", "z.zarr/c2": b"2"}


def test_a_link_is_published_as_what_it_leads_to(outputs: FolderOutputs) -> None:
    product, path = made(outputs.work, "a.png")
    link = path.with_name("b.png")
    link.symlink_to(path)
    outputs.publish([(product, link)])
    assert not (outputs.root / "a.png").is_symlink()
    assert visible(outputs.root) == {"a.png": b"data"}


def test_removing_prunes_empty_folders_but_not_the_root(outputs: FolderOutputs) -> None:
    outputs.publish([made(outputs.work, "a/b/c.nc"), made(outputs.work, "a/d.nc")])
    outputs.remove(["a/b/c.nc"])
    assert sorted(os.listdir(outputs.root / "a")) == ["d.nc"]
    outputs.remove(["a/d.nc", "a/d.nc"])
    assert os.listdir(outputs.root) == []


def test_publishing_and_pruning_at_once(outputs: FolderOutputs) -> None:
    """A folder may be pruned between being made and being used."""
    stop = threading.Event()

    def prune() -> None:
        while not stop.is_set():
            outputs.remove(["x/y/none.nc"])

    pruner = threading.Thread(target=prune)
    pruner.start()
    try:
        for n in range(100):
            outputs.publish([made(outputs.work, "x/y/a.nc", b"%d" % n)])
            outputs.remove(["x/y/a.nc"])
    finally:
        stop.set()
        pruner.join()


def test_a_folder_that_cannot_be_replaced_is_put_back(
    outputs: FolderOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs.publish([made_folder(outputs.work, "z.zarr", a=b"old")])
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if outputs.work in self.parents:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(StorageError, match="input/output error"):
            outputs.publish([made_folder(outputs.work, "z.zarr", a=b"new")])
    assert visible(outputs.root) == {"z.zarr/a": b"old"}


def test_fetching_what_was_tampered_with(outputs: FolderOutputs, tmp_path: Path) -> None:
    one, folder = made(outputs.work, "a.nc"), made_folder(outputs.work, "z.zarr", c=b"1")
    outputs.publish([one, folder])
    put(outputs.root / "a.nc", b"DATA")
    put(outputs.root / "z.zarr/d", b"more")
    for product, _ in (one, folder):
        with pytest.raises(InputChanged):
            outputs.fetch(product.ref, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
    os.mkfifo(outputs.root / "pipe")
    with pytest.raises(InputChanged):
        outputs.fetch(ProductRef("pipe", "1"), tmp_path / "copy")


# Crashes.


@pytest.mark.functional
def test_sweep_removes_what_the_dead_left(outputs: FolderOutputs) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    outputs.publish([made(outputs.work, "x/a.nc"), made_folder(outputs.work, "x/new", c=b"new")])
    put(outputs.root / f"x/{HIDDEN}{dead.pid}-new-0-1", b"half")
    put(outputs.root / f"x/{HIDDEN}{dead.pid}-new-0-2/c", b"half")
    put(outputs.root / f"x/{HIDDEN}{dead.pid}-gone-0-3/c", b"half")
    put(outputs.root / f"x/{HIDDEN}{dead.pid}-old-0-4/z.zarr/c", b"the one before")
    put(outputs.root / f"x/{HIDDEN}{dead.pid}-old-0-5/new/c", b"the one before")
    put(outputs.root / f"{HIDDEN}{os.getpid()}-new-0-6", b"of an earlier process of this number")
    living = put(outputs.root / f"{HIDDEN}{os.getppid()}-new-0-7", b"of one that lives")
    mine = put(outputs.root / f"{HIDDEN}{os.getpid()}-new-{module._TOKEN}-8", b"being made")
    assert outputs.sweep() == 6
    assert living.exists()
    living.unlink()
    mine.unlink()
    assert visible(outputs.root) == {
        "x/a.nc": b"data",
        "x/new/c": b"new",
        "x/z.zarr/c": b"the one before",
    }
    assert outputs.sweep() == 0


PUBLISH = """
import sys
from pathlib import Path
from tidegate.targets.local.outputs import FolderOutputs
from tidegate.runtime.runs import Product
root, work = Path(sys.argv[1]), Path(sys.argv[2])
outputs = FolderOutputs(root, work)
n = 0
while True:
    n += 1
    made = []
    for key in ("x/a.nc", f"x/y/b{n % 3}.nc", "x/z.zarr"):
        path = work / str(n) / key
        content = str(n % 10).encode() * 300_000
        if key.endswith("zarr"):
            path.mkdir(parents=True)
            for name in "123":
                (path / name).write_bytes(content)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        made.append((Product(key, "data", len(content), ""), path))
    outputs.publish(made)
    if n == 1:
        print("ready", flush=True)
"""


@pytest.mark.functional
@pytest.mark.parametrize("same_disk", [True, False])
def test_a_process_killed_while_publishing_leaves_nothing_half_done(
    tmp_path: Path, request: pytest.FixtureRequest, same_disk: bool
) -> None:
    root = tmp_path / "output"
    if not same_disk and os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no second file system")
    for n in range(8):
        work = tmp_path / f"work{n}" if same_disk else Path(f"/dev/shm/tidegate-{os.getpid()}-{n}")
        process = subprocess.Popen(
            [sys.executable, "-c", PUBLISH, str(root), str(work)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.005 + 0.013 * n)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        delete(work)
        _nothing_is_half_done(root)
        FolderOutputs(root, work).sweep()
        _nothing_is_half_done(root)
        assert {"x/a.nc", "x/z.zarr/1", "x/z.zarr/2", "x/z.zarr/3"} <= visible(root).keys()
        assert not any(HIDDEN in key for key in visible(root))


def _nothing_is_half_done(root: Path) -> None:
    shown = {k: c for k, c in visible(root).items() if HIDDEN not in k}
    assert all(len(content) == 300_000 for content in shown.values())
    assert len({shown[f"x/z.zarr/{n}"] for n in "123" if f"x/z.zarr/{n}" in shown}) <= 1


def test_inodes_fit_into_the_ledger(root: Path) -> None:
    status = SimpleNamespace(st_size=1, st_mtime_ns=2, st_ctime_ns=3, st_ino=2**64 - 1)
    found = to_raw_file("a", status)  # type: ignore[arg-type]
    assert isinstance(found, RawFile)
    with SqliteLedger(root.parent / "ledger.db") as ledger:
        ledger.seen_files.add([SeenFile(*found, "f" * 64)])
        assert ledger.seen_files.at(["a"])["a"][:5] == tuple(found)
