"""The only module that imports Tsdat: describe a pipeline, and run one in a work folder.

Works beside Tsdat 0.8 and 0.9 (pydantic 1) and 0.10 (pydantic 2): it uses only what they share.
Facts about Tsdat that this rests on are in ``docs/architecture.md``.
"""

from __future__ import annotations

import copy
import gc
import importlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from stat import S_ISLNK, S_ISREG
from typing import Any

from tidegate.errors import ConfigurationError, ProductError
from tidegate.runtime.links import separate_links
from tidegate.runtime.manifest import Pipeline
from tidegate.runtime.pipeline_failures import (
    config_message_of,
    failure_of,
    is_from_plots,
    message_of,
    place_of,
)
from tidegate.runtime.product_checks import with_empty
from tidegate.runtime.publish import STORE, content_hash
from tidegate.runtime.runs import Product
from tidegate.runtime.stage import INPUTS
from tidegate.runtime.summary import Summary, summarize, summarize_file
from tidegate.runtime.task import Outcome, Task

logger = logging.getLogger("tidegate")


def load() -> str:
    """Import Tsdat, which takes seconds, and say its version.

    Without the garbage collector, which goes over three hundred thousand objects again and again
    and finds next to nothing: that is a tenth of the time, or more. What is there then stays, and
    is not gone over later either.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        import tsdat  # noqa: F401

        gc.freeze()
    finally:
        if collected:
            gc.enable()
    return version("tsdat")


def describe(config_file: str) -> Pipeline:
    """What Tsdat says of a pipeline config file; the working directory is the repository's root.

    Raises:
        ConfigurationError: Tsdat rejects it; with Tsdat's own message, shortened.
    """
    loaded = _load(config_file)
    _try_out(config_file)
    config = loaded.config
    parameters = dict(config.parameters or {})
    padding = _padding(getattr(config.retriever, "parameters", None) or {})
    attributes = getattr(config.dataset, "attrs", None)
    storage = _storage(config)
    return Pipeline(
        classname=str(config.classname),
        triggers=tuple(pattern.pattern for pattern in config.triggers or ()),
        datastreams=tuple(str(name) for name in parameters.get("datastreams") or ()),
        pad_before=padding[0],
        pad_after=padding[1],
        storage_root=storage.prefix,
        data_path=str(storage.defaults.get("data_storage_path", "")),
        data_filename=str(storage.defaults.get("data_filename_template", "")),
        plot_path=str(storage.defaults.get("ancillary_storage_path", "")),
        plot_filename=str(storage.defaults.get("ancillary_filename_template", "")),
        datastream=str(getattr(attributes, "datastream", None) or ""),
        tsdat=version("tsdat"),
    )


def run(task: Task, loaded: Callable[[], None] = lambda: None) -> Outcome:
    """Run one pipeline on what is staged in ``task.work``; failures are returned, not raised.

    The working directory is the repository's root. Products are left below ``store/``.
    """
    work, began, home = Path(task.work), time.monotonic(), os.getcwd()
    staged = _files(work / STORE)
    seconds: dict[str, float] = {}
    saves: list[_Save] = []
    plots_failed = ""
    with _environment(task, work):
        try:
            pipeline = _instantiate(task.config.config_file, work / STORE)
            loaded()  # what follows belongs to this run alone
            _record_saves(pipeline.storage, work, staged, saves)
            seconds["load"] = time.monotonic() - began
            pipeline.run(list(task.arguments))
        except BaseException as error:
            os.chdir(home)  # the pipeline may have left it, and what follows names files from here
            logger.error("%s", message_of(error), exc_info=error)
            if not (saves and is_from_plots(error)):
                return Outcome(failure=failure_of(error), seconds=seconds)
            plots_failed = message_of(error)
        finally:
            _close_figures()
    ran = time.monotonic()
    seconds["run"] = ran - began - seconds.get("load", 0.0)
    try:
        unchanged = {key for key, stamp in _files(work / STORE).items() if staged.get(key) == stamp}
        warnings = separate_links(work / STORE, unchanged)
    except (ProductError, OSError) as error:
        logger.error("%s", message_of(error))
        return Outcome(failure=failure_of(error), seconds=seconds)
    retrieved = frozenset(map(str, getattr(pipeline.retriever, "data_vars", None) or ()))
    products = tuple(
        with_empty(product, retrieved) for product in _products(work / STORE, staged, saves)
    )
    seconds["sum up"] = time.monotonic() - ran
    return Outcome(products=products, plots_failed=plots_failed, warnings=warnings, seconds=seconds)


# --- loading ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loaded:
    config: Any
    """Tsdat's ``PipelineConfig`` as it was read: copied before each use, which changes it."""


@dataclass(frozen=True)
class _Storage:
    classname: str
    """The storage class to run with."""
    parameters: Mapping[str, Any]
    """Its parameters, without the root."""
    prefix: str
    """The repository's storage root as a relative prefix."""
    defaults: Mapping[str, Any]
    """All its templates, given or not."""


_cache: dict[str, _Loaded] = {}


def _load(config_file: str) -> _Loaded:
    if config_file not in _cache:
        _cache[config_file] = _Loaded(_read(config_file))
    return _cache[config_file]


def _read(config_file: str) -> Any:
    from tsdat import PipelineConfig

    try:
        return PipelineConfig.from_yaml(Path(config_file))
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, MemoryError)):
            raise
        raise ConfigurationError(
            f"Tsdat rejects {config_file}",
            why=config_message_of(error),
            where=place_of(error),
            next="correct the config; `tidegate check` asks Tsdat again",
        ) from error


def _try_out(config_file: str) -> None:
    """Set the pipeline up and let it go: only that finds a class that is misspelled or broken."""
    saved = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory() as folder:
            _instantiate(config_file, Path(folder))
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _instantiate(config_file: str, store: Path) -> Any:
    config = copy.deepcopy(_load(config_file).config)
    storage = _storage(config)
    root = store / storage.prefix
    root.mkdir(parents=True, exist_ok=True)
    # Tsdat lets this variable override the parameter, in every version.
    os.environ["TSDAT_STORAGE_ROOT"] = str(root)
    config.storage.classname = storage.classname
    config.storage.parameters = {**storage.parameters, "storage_root": root}
    try:
        return config.instantiate_pipeline()
    except BaseException as error:  # code that is imported may do anything, such as exit
        if isinstance(error, MemoryError):
            raise
        raise ConfigurationError(
            f"Tsdat cannot set up {config_file}",
            why=config_message_of(error),
            where=place_of(error),
            next="correct the config or the code that it names",
        ) from error


def _storage(config: Any) -> _Storage:
    """The storage to run with: the repository's templates and handler, on local files.

    A local storage class is kept, because its handler and its own defaults belong together
    (``ZarrLocalStorage``). Any other, S3 above all, becomes Tsdat's plain ``FileSystem``.
    """
    from tsdat.io.storage import FileSystem

    given = dict(config.storage.parameters or {})
    named = _import(config.storage.classname)
    local = isinstance(named, type) and issubclass(named, FileSystem) and not _remote(named)
    used = named if local else FileSystem
    own = _defaults(named) if isinstance(named, type) else {}
    allowed = _defaults(used)
    merged = {k: v for k, v in {**allowed, **own, **given}.items() if k in allowed}
    root = merged.pop("storage_root", None)
    classname = f"{used.__module__}.{used.__qualname__}"
    parameters = {k: v for k, v in merged.items() if k in given or v != allowed.get(k)}
    return _Storage(classname, parameters, _prefix(root), merged)


def _remote(cls: type) -> bool:
    return any(base.__name__.endswith("S3") for base in cls.__mro__)


def _defaults(storage: type) -> dict[str, Any]:
    parameters = getattr(storage, "Parameters", None)
    fields = getattr(parameters, "model_fields", None) or getattr(parameters, "__fields__", {})
    return {name: field.default for name, field in fields.items()}


def _prefix(root: Any) -> str:
    """A storage root as Tsdat's S3 storage would put it in front of a key."""
    parts = PurePosixPath(str(root or "storage/root").replace("\\", "/")).parts
    return "/".join(part for part in parts if part not in ("/", ".", ".."))


def _import(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        if module.startswith("tsdat."):  # such as FileSystemS3 where boto3 is not installed
            return None
        raise


def _padding(parameters: Mapping[str, Any]) -> tuple[float, float]:
    """How far before and after the window a retriever looks for inputs, s (at least that far)."""
    import pandas as pd

    def length(text: object) -> float:
        plain = str(text).strip()
        number = plain.replace(".", "", 1).isdigit()
        return float(plain) if number else pd.Timedelta(plain).total_seconds()

    fetch = (parameters.get("fetch_parameters") or {}).get("time_padding")
    if fetch:
        sign, size = str(fetch), length(str(fetch).replace("+", "").replace("-", ""))
        return (0.0 if "+" in sign else size), (0.0 if "-" in sign else size)
    transform = parameters.get("transformation_parameters") or {}
    times = [
        length(value) for name in ("range", "width") for value in _times(transform.get(name) or {})
    ]
    return (max(times, default=0.0),) * 2


def _times(entry: Mapping[str, Any]) -> Iterable[Any]:
    """The time entries of ``{time: 1h}`` or of ``{pattern: {time: 1h}}``."""
    for key, value in entry.items():
        if isinstance(value, Mapping):
            yield from _times(value)
        elif key == "time":
            yield value


# --- running ---------------------------------------------------------------------------------


class _environment:
    """The run's variables, the arrival's names in place of staged paths, and its own TMPDIR."""

    def __init__(self, task: Task, work: Path) -> None:
        self._variables = {
            **task.config.environment,
            "PIPELINE_NAME": task.config.pipeline,
            "CONFIG_ID": task.config.name,
            "TMPDIR": str(work / "tmp"),
        }

    def __enter__(self) -> None:
        self._saved = dict(os.environ)
        self._directory = os.getcwd()
        os.environ.update(self._variables)
        tempfile.tempdir = None  # so that TMPDIR is looked up again

    def __exit__(self, *exc: object) -> None:
        os.environ.clear()
        os.environ.update(self._saved)
        os.chdir(self._directory)
        tempfile.tempdir = None


@dataclass(frozen=True)
class _Save:
    files: tuple[str, ...]
    """Keys of the files that one ``save_data`` wrote."""
    summary: Summary
    """What was in the dataset."""
    before: tuple[str, ...] = ()
    """Keys of the files that were new before: plots of the ``save_data`` before this one."""


_LOOKS = 10
"""In so many saves of a run, all files are looked at. If each wrote only the file that its template
says, that file alone is looked at from then on: the cost stays linear."""


def _record_saves(
    storage: Any, work: Path, staged: Mapping[str, tuple[int, int]], saves: list[_Save]
) -> None:
    """Look over the shoulder of ``save_data``: what is in a dataset is known best in memory."""
    original: Callable[..., Any] = storage.save_data
    known = dict(staged)
    predictable = True

    def new() -> tuple[str, ...]:
        written = _files(work / STORE)
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
        saves.append(_Save(files, summarize(dataset), before))
        return result

    save_ancillary_file: Callable[..., Any] = storage.save_ancillary_file

    def save_ancillary(filepath: Any, target_path: Any = None, **kwargs: Any) -> Any:
        _check_inside(storage, str(target_path), f"the file {str(target_path)!r}")
        return save_ancillary_file(filepath, target_path, **kwargs)

    object.__setattr__(storage, "save_data", save_data)
    object.__setattr__(storage, "save_ancillary_file", save_ancillary)


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


def _products(
    store: Path, staged: Mapping[str, tuple[int, int]], saves: list[_Save]
) -> Iterable[Product]:
    """Every file that the run wrote, the data files first."""
    written = {key for key, stamp in _files(store).items() if staged.get(key) != stamp}
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
            summary = replace(plots.get(key, last), dimensions={}, quality=(), valid={})
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
        )


def _files(root: Path) -> dict[str, tuple[int, int]]:
    """Files below ``root`` by key with a stamp that changes when they do; a zarr folder is one."""
    found: dict[str, tuple[int, int]] = {}
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        for name in list(folders):
            if name.endswith(".zarr"):
                folders.remove(name)
                inside = [p.stat() for p in (here / name).rglob("*") if p.is_file()]
                stamp = max((s.st_mtime_ns for s in inside), default=0)
                found[(here / name).relative_to(root).as_posix()] = (stamp, len(inside))
        for name in names:
            stat = (here / name).lstat()
            if not (S_ISREG(stat.st_mode) or S_ISLNK(stat.st_mode)):
                continue  # such as a socket; opening a fifo would wait for ever
            found[(here / name).relative_to(root).as_posix()] = (stat.st_mtime_ns, stat.st_ino)
    return found


def _close_figures() -> None:
    """User hooks leave figures open: tens of MB a run in real repositories."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
