"""What a run saves: follow Tsdat's ``save_data``, check where it writes, and list the products."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import Any

from tidegate.errors import ProductError
from tidegate.runtime.publish import STORE, content_hash
from tidegate.runtime.runs import Product
from tidegate.runtime.stage import INPUTS
from tidegate.runtime.summary import Summary, summarize, summarize_file


@dataclass(frozen=True)
class Save:
    """What one call of ``save_data`` did."""

    files: tuple[str, ...]
    """Keys of the files that it wrote."""
    summary: Summary
    """What was in the dataset."""
    before: tuple[str, ...] = ()
    """Keys of the files that were new before: plots of the ``save_data`` before this one."""


_LOOKS = 10
"""In so many saves of a run, all files are looked at. If each wrote only the file that its template
says, that file alone is looked at from then on: the cost stays linear."""


def record_saves(
    storage: Any, work: Path, staged: Mapping[str, tuple[int, int]], saves: list[Save]
) -> None:
    """Have ``save_data`` note in ``saves`` what it writes: a dataset is known best in memory."""
    original: Callable[..., Any] = storage.save_data
    known = dict(staged)
    predictable = True
    me = os.getpid()

    def new() -> tuple[str, ...]:
        written = files_below(work / STORE)
        keys = tuple(key for key, stamp in written.items() if known.get(key) != stamp)
        known.update(written)
        return keys

    def written_to(path: str) -> tuple[str, ...]:
        key = _key(work, path)
        if not path or not os.path.isfile(path):
            return ()
        stat = os.lstat(path)
        known[key] = (stat.st_mtime_ns, stat.st_ino)
        return (key,)

    def save_data(dataset: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal predictable
        _end_fork_of(me)
        _name_arrival(dataset, work / INPUTS)
        looks = len(saves) < _LOOKS or not predictable
        before = new() if looks else ()
        path = _check_path(storage, dataset)
        result = original(dataset, *args, **kwargs)
        files = () if looks else written_to(path)
        if not files:
            files = new()
            predictable = predictable and files == (_key(work, path),)
        if not files:
            raise ProductError(
                f"saving {_datastream(dataset)!r} left no file in the storage folder",
                why="the storage class wrote nothing, or wrote to another place",
                next="correct the storage class or its templates; then `tidegate retry`",
            )
        saves.append(Save(files, summarize(dataset), before))
        return result

    object.__setattr__(storage, "save_data", save_data)
    _check_ancillary_files(storage)


def _check_ancillary_files(storage: Any) -> None:
    """Have ``save_ancillary_file`` write below the storage folder only."""
    save_ancillary_file: Callable[..., Any] = storage.save_ancillary_file
    parameters, me = inspect.signature(save_ancillary_file), os.getpid()

    def save_ancillary(*args: Any, **kwargs: Any) -> Any:
        _end_fork_of(me)
        given = parameters.bind(*args, **kwargs).arguments
        target = given.get("target_path")
        if "datastream" in given:  # before Tsdat 0.6, which makes the path of it
            target = storage._get_ancillary_filepath(given["filepath"], given["datastream"])
        _check_inside(storage, str(target), f"the file {str(target)!r}")
        return save_ancillary_file(*args, **kwargs)

    object.__setattr__(storage, "save_ancillary_file", save_ancillary)


def _end_fork_of(pid: int) -> None:
    """End this process if user code has forked it from ``pid``: only one may write the files."""
    if os.getpid() != pid:
        os._exit(0)


def _key(work: Path, path: str) -> str:
    return os.path.relpath(path, work / STORE) if path else ""


def _datastream(dataset: Any) -> str:
    return str(dataset.attrs.get("datastream", ""))


def _check_path(storage: Any, dataset: Any) -> str:
    """Where the product will be written, "" if that is not known.

    Raises ProductError if that is outside the storage folder.
    """
    name = _datastream(dataset)
    if name.startswith("/") or ".." in name.replace("\\", "/").split("/"):
        raise ProductError(
            f"the dataset's attribute `datastream` is {name!r}",
            why="a datastream name with `..` or a leading `/` leads out of the storage folder",
            next="correct the pipeline or the file that sets it; then `tidegate retry`",
        )
    try:
        values = storage._get_substitutions(datastream=name, dataset=dataset)
        path = storage.data_filepath_template.substitute(values, allow_missing=False)
    except Exception:  # Tsdat does the same next, and its own message says what is missing
        return ""
    _check_inside(storage, str(path), f"the product {name!r}")
    return os.path.abspath(str(path))


def _check_inside(storage: Any, path: str, what: str) -> None:
    root = os.path.abspath(storage.parameters.storage_root)
    if not os.path.abspath(path).startswith(root + os.sep):
        raise ProductError(
            f"{what} would be written outside the storage folder",
            why=f"its path would be {os.path.relpath(path, root)!r}",
            next="correct the attributes or templates that its name is made of; "
            "then `tidegate retry`",
        )


def _name_arrival(dataset: Any, staged: Path) -> None:
    """``inputs`` and its like name the arrival (``lidar/humboldt/…``), never a work folder."""
    prefix = f"{staged}/"
    for name, value in dict(dataset.attrs).items():
        if isinstance(value, str) and prefix in value:
            dataset.attrs[name] = _spelled(value.replace(prefix, ""))
        elif isinstance(value, (list, tuple)) and any(prefix in str(item) for item in value):
            dataset.attrs[name] = [
                _spelled(item.replace(prefix, "")) if isinstance(item, str) else item
                for item in value
            ]


def _spelled(name: str) -> str:
    """A file's name as netCDF can hold it: bytes that are not UTF-8 are written out."""
    return name.encode("utf-8", "backslashreplace").decode()


def products_of(
    store: Path, staged: Mapping[str, tuple[int, int]], saves: list[Save]
) -> Iterable[Product]:
    """Every file that the run wrote, the data files first."""
    written = {key for key, stamp in files_below(store).items() if staged.get(key) != stamp}
    summaries: dict[str, Summary] = {}
    plots: dict[str, Summary] = {}
    last = Summary()
    for save in saves:
        plots.update(dict.fromkeys(save.before, last))
        last = save.summary
        several = len([key for key in save.files if key.endswith((".nc", ".cdf", ".nc4"))]) > 1
        for key in save.files:
            own = summarize_file(store / key) if several else None
            summaries[key] = own or save.summary
    for key in sorted(written, key=lambda key: (key not in summaries, key)):
        size, sha256 = content_hash(store / key)
        data = key in summaries
        summary = summaries.get(key) or summarize_file(store / key)
        if summary is None:
            summary = replace(plots.get(key, last), dimensions={}, quality=(), valid={}, content="")
        else:
            data = True
        yield Product(
            key,
            "data" if data else "ancillary",
            size,
            sha256,
            datastream=summary.datastream,
            begin=summary.begin,
            end=summary.end,
            dimensions=summary.dimensions,
            quality=summary.quality,
            valid=summary.valid,
            content=summary.content,
        )


def files_below(root: Path) -> dict[str, tuple[int, int]]:
    """Files below ``root`` by key with a stamp that changes when they do; a zarr folder is one."""
    found: dict[str, tuple[int, int]] = {}
    _find_files(str(root), "", found)
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as links that form a loop
        return False


def _find_files(folder: str, prefix: str, found: dict[str, tuple[int, int]]) -> None:
    below = []
    try:
        with os.scandir(folder) as listed:
            entries = list(listed)
    except OSError:
        return
    for entry in entries:
        if _is_folder(entry):
            if entry.name.endswith(".zarr"):
                inside = [p.stat() for p in Path(entry.path).rglob("*") if p.is_file()]
                stamp = max((s.st_mtime_ns for s in inside), default=0)
                found[prefix + entry.name] = (stamp, len(inside))
            elif not entry.is_symlink():
                below.append(entry)
            continue
        stat = entry.stat(follow_symlinks=False)
        if S_ISREG(stat.st_mode) or S_ISLNK(stat.st_mode):
            # Not others, such as a socket; opening a fifo would wait for ever.
            found[prefix + entry.name] = (stat.st_mtime_ns, stat.st_ino)
    for entry in below:
        _find_files(entry.path, f"{prefix}{entry.name}/", found)
