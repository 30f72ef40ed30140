"""The only module that imports Tsdat: describe a pipeline, and set one up to be run.

Works beside Tsdat 0.4 to 0.9 (pydantic 1) and 0.10 (pydantic 2): it uses only what they share.
Facts about Tsdat that this rests on are in ``docs/architecture.md``.
"""

from __future__ import annotations

import copy
import gc
import importlib
import os
import pickle
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from tidegate.errors import ConfigurationError, PythonEnvironmentError, TidegateError
from tidegate.runtime.manifest import Pipeline
from tidegate.runtime.pipeline_failures import (
    advice_on_import,
    advice_on_packages,
    config_message_of,
    is_about_packages,
    place_of,
    yaml_file_of,
)


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
        PythonEnvironmentError: packages are missing, or do not fit each other.
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


def instantiate(config_file: str, store: Path) -> Any:
    """Tsdat's pipeline, which stores its products below the folder ``store``.

    Raises:
        ConfigurationError: Tsdat, or code that the config names, rejects it.
        PythonEnvironmentError: packages are missing, or do not fit each other.
    """
    config = _load(config_file).copy()
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
        raise _rejection(
            error,
            f"Tsdat cannot set up {config_file}",
            place_of(error),
            "correct the config or the code that it names",
        ) from error


@dataclass(frozen=True)
class _Loaded:
    config: Any
    """Tsdat's ``PipelineConfig`` as it was read: copied before each use, which changes it."""
    pickled: bytes
    """The same, pickled; empty where that is not possible."""

    def copy(self) -> Any:
        """A copy that may be changed. (Unpickling takes a quarter of the time of copying.)"""
        return pickle.loads(self.pickled) if self.pickled else copy.deepcopy(self.config)


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
        config = _read(config_file)
        _cache[config_file] = _Loaded(config, _pickle(config))
    return _cache[config_file]


def _pickle(config: Any) -> bytes:
    try:
        return pickle.dumps(config, pickle.HIGHEST_PROTOCOL)
    except Exception:  # a value that YAML's tags made, for example
        return b""


def _read(config_file: str) -> Any:
    import tsdat

    form = getattr(tsdat, "PipelineConfig", None)  # Tsdat 0.1 and 0.2 have none
    if form is None:
        raise ConfigurationError(
            f"Tsdat {version('tsdat')} is too old",
            why="Tidegate works with Tsdat 0.4 to 0.10; before 0.3, pipelines had another form",
            next="move the pipelines to a newer Tsdat, and require that in requirements.txt",
        )
    try:
        return form.from_yaml(Path(config_file))
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, MemoryError)):
            raise
        raise _rejection(
            error,
            f"Tsdat rejects {config_file}",
            place_of(error) or yaml_file_of(error, config_file),
            _advice_on_vap(config_file) or "correct the config; `tidegate check` asks Tsdat again",
        ) from error


def _rejection(error: BaseException, what: str, where: str, otherwise: str) -> TidegateError:
    """Why a pipeline cannot be used: its packages, or else its config and code."""
    why = config_message_of(error)
    if is_about_packages(error):
        return PythonEnvironmentError(what, why=why, where=where, next=advice_on_packages(error))
    return ConfigurationError(what, why=why, where=where, next=advice_on_import(error) or otherwise)


def _advice_on_vap(config_file: str) -> str:
    """What to do about a VAP beside a Tsdat that has none; "" where that is not the problem."""
    import tsdat

    if hasattr(tsdat, "TransformationPipeline") or "datastreams:" not in _text(config_file):
        return ""
    return (
        f"VAPs need Tsdat 0.5 or newer, and this is Tsdat {version('tsdat')}: require a newer one, "
        "or remove the VAP from pipelines_config.yml"
    )


def _text(file: str) -> str:
    try:
        return Path(file).read_text("utf-8", "replace")
    except OSError:
        return ""


def _try_out(config_file: str) -> None:
    """Set the pipeline up and let it go: only that finds a class that is misspelled or broken."""
    saved = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory() as folder:
            instantiate(config_file, Path(folder))
    finally:
        os.environ.clear()
        os.environ.update(saved)


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
    if "storage_root" not in given:
        root = _below_here(root)
    classname = f"{used.__module__}.{used.__qualname__}"
    parameters = {k: v for k, v in merged.items() if k in given or v != allowed.get(k)}
    return _Storage(classname, parameters, _prefix(root), merged)


def _remote(cls: type) -> bool:
    return any(base.__name__.endswith("S3") for base in cls.__mro__)


def _defaults(storage: type) -> dict[str, Any]:
    parameters = getattr(storage, "Parameters", None)
    fields = getattr(parameters, "model_fields", None) or getattr(parameters, "__fields__", {})
    return {name: field.default for name, field in fields.items()}


def _below_here(root: Any) -> Any:
    """A default storage root without the machine's path: Tsdat before 0.6 has an absolute one."""
    path = PurePosixPath(str(root or ""))
    if not path.is_absolute():
        return root
    inside = os.path.relpath(str(path))
    return None if inside == "." or inside.startswith("..") else inside


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
