"""What an exception that left a pipeline means: its kind, message, place, and what to do next."""

from __future__ import annotations

import errno
import os
import re
import socket
import traceback
from collections.abc import Iterable

from tidegate.errors import ConfigurationError, ProductError, PythonEnvironmentError
from tidegate.runtime.runs import Failure

_PLOTS = ("hook_plot_dataset", "uploadable_dir", "save_ancillary_file")
_NETWORK = ("requests", "urllib3", "botocore", "boto3", "http.client", "aiohttp", "fsspec")
_LONGEST_MESSAGE = 600
_LOOK = "see the run's log; correct the file or the pipeline, then `tidegate retry`"

_PIN = (
    "packages of the pipelines' environment do not fit each other: pin their versions in"
    " requirements.txt, or set `exclude_newer` (`tidegate env --as-of-last-commit` does), then"
    " `tidegate env` and `tidegate retry`"
)
_CLASS = re.compile(r"(?:[A-Z][a-z0-9]+){2,}")
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def failure_of(error: BaseException) -> Failure:
    """The failure to put on record for an exception."""
    if isinstance(error, PythonEnvironmentError):
        return Failure("environment", f"{error.what}: {error.why}", error.where, error.next)
    if isinstance(error, ConfigurationError):
        return Failure("configuration", f"{error.what}: {error.why}", error.where, error.next)
    if isinstance(error, ProductError):
        return Failure("bad-input", f"{error.what}: {error.why}", place_of(error), error.next)
    if isinstance(error, MemoryError):
        return Failure(
            "out-of-memory", message_of(error), place_of(error), "raise `memory` for this config"
        )
    if _is_incompatible(error):
        return Failure("environment", message_of(error), place_of(error), _PIN)
    if isinstance(error, (ImportError, NameError, SyntaxError)):
        return Failure(
            "configuration",
            message_of(error),
            place_of(error),
            advice_on_import(error)
            or "the pipelines' environment or code lacks something: see requirements.txt",
        )
    if _may_pass(error):
        return Failure(
            "transient", message_of(error), place_of(error), "it is tried again by itself"
        )
    if isinstance(error, SystemExit):
        message = f"the pipeline asked Python to exit (SystemExit {_text(error.code)})"
        return Failure("bad-input", message, place_of(error), _LOOK)
    return Failure("bad-input", message_of(error), place_of(error), _LOOK)


def _is_incompatible(error: BaseException) -> bool:
    """Whether an installed package failed on another one, not the repository's code on its data.

    An attribute that the repository's code looks up is missing in the data, although a package's
    ``__getattr__`` says so.
    """
    read_only = isinstance(error, ValueError) and "destination is read-only" in _text(error)
    if not (read_only or isinstance(error, (ImportError, AttributeError))):
        return False
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.name not in ("__getattr__", "__getattribute__")
        and "importlib" not in frame.filename
    ]
    return bool(frames) and any(place in frames[-1].filename for place in _PACKAGES)


def _may_pass(error: BaseException) -> bool:
    """Whether a failure lies outside the data: a network, a full disk, a machine in trouble."""
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
        return True
    reason = getattr(error, "reason", None)  # of urllib's URLError
    if isinstance(reason, OSError) and reason is not error:
        return _may_pass(reason)
    if isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
    ):
        return True
    return type(error).__module__.startswith(_NETWORK)


def is_about_packages(error: BaseException) -> bool:
    """Whether an import failed because a package is missing, or packages do not fit each other.

    A module of the repository's own, or of a newer Tsdat, is a matter of the config.
    """
    cause: BaseException | None = error
    while cause is not None:
        module = _module_named_in(cause)
        top = module.partition(".")[0]
        if top and (isinstance(cause, ModuleNotFoundError) or _in_repository(top)):
            return top != "tsdat" and not _in_repository(top)
        if _is_incompatible(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _module_named_in(error: BaseException) -> str:
    """The module that an exception is about: it is missing, or lacks a name; "" for others."""
    if isinstance(error, ImportError):
        return error.name or ""
    lacking = re.match(r"module '([\w.]+)' has no attribute", _text(error))
    return lacking[1] if lacking and isinstance(error, AttributeError) else ""


def advice_on_packages(error: BaseException) -> str:
    """What to do where ``is_about_packages``."""
    return advice_on_import(error) or _PIN


_OTHER_NAMES = {
    "yaml": "PyYAML",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "cv2": "opencv-python-headless",
    "PIL": "Pillow",
    "dateutil": "python-dateutil",
    "serial": "pyserial",
    "act": "act-atmos",
    "bs4": "beautifulsoup4",
    "mpl_toolkits": "matplotlib",
}
"""Packages that have another name than their module."""


def advice_on_import(error: BaseException) -> str:
    """What to do about a module that is missing; "" if none is. Looks at all causes."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, ModuleNotFoundError) and cause.name):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return ""
    module = str(getattr(cause, "name", ""))
    top = module.partition(".")[0]
    if top == "tsdat":
        return f"this version of Tsdat has no {module}: ask for a newer one in requirements.txt"
    if _in_repository(top):
        return f"there is no {module} in the repository: correct the name, or add the file"
    package = _OTHER_NAMES.get(top, top)
    return f"add {package} to requirements.txt, if that is the package that has {top}"


def _in_repository(module: str) -> bool:
    """Whether a top-level module is the repository's own; its root is the working directory."""
    return any(os.path.exists(module + end) for end in ("", ".py"))


def is_from_plots(error: BaseException) -> bool:
    """Whether an exception came out of the plotting hook, which comes after the data is saved."""
    return any(frame.name in _PLOTS for frame in traceback.extract_tb(error.__traceback__))


def message_of(error: BaseException) -> str:
    """The exception's type and text in one line of bounded length."""
    text = " ".join(_text(error).split()) or "no message"
    return f"{type(error).__name__}: {text}"[:_LONGEST_MESSAGE]


def _text(value: object) -> str:
    """``str(value)``, whatever user code does in it."""
    try:
        return str(value)
    except BaseException as error:
        return f"its text cannot be printed ({type(error).__name__})"


def config_message_of(error: BaseException) -> str:
    """The message of the innermost cause: Tsdat's outer exceptions only say that there was one."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, KeyError) and len(error.args) == 1:
        return f"the key {error} is missing"
    problems = getattr(error, "errors", None)
    if not callable(problems):
        return message_of(error)
    listed = [(_key(problem.get("loc", ())), str(problem.get("msg", ""))) for problem in problems()]
    # What none of several alternatives fits gives a line for each; the last one is the full form.
    clear = [(key, text) for key, text in listed if "or instance of" not in text] or listed
    lines = list(dict.fromkeys(f"{key}: {text}" for key, text in clear))
    more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
    return ("; ".join(lines[:3]) + more)[:_LONGEST_MESSAGE]


def _key(location: Iterable[object]) -> str:
    """The key in a YAML file that a message of pydantic is about, without its names of classes."""
    parts = [str(part) for part in location]
    return ".".join(part for part in parts if not _CLASS.fullmatch(part) and "[" not in part)


_PARTS = {
    "readers": "retriever",
    "attrs": "dataset",
    "coords": "dataset",
    "data_vars": "dataset",
    "managers": "quality",
    "handler": "storage",
}
"""For keys at the top of a YAML file, the part of a pipeline that the file describes."""


def yaml_file_of(error: BaseException, config_file: str) -> str:
    """The file that a message of pydantic is about: the pipeline's own, or one that it names.

    The message itself does not name it, only the keys in it.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    problems = getattr(error, "errors", None)
    if not callable(problems):
        return config_file
    keys = [str(part) for problem in problems() for part in problem.get("loc", ())]
    part = _PARTS.get(keys[0] if keys else "", "")
    part = "retriever" if part == "dataset" and any("Retriev" in key for key in keys) else part
    try:
        with open(config_file, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError):
        return config_file
    named = re.search(rf"^{part}:[^\n]*\n(?:[ \t]+[^\n]*\n)*?[ \t]+path:[ \t]*(\S+)", text, re.M)
    return named[1].strip("'\"") if part and named else config_file


def place_of(error: BaseException) -> str:
    """``file:line`` of the innermost frame inside the repository, or "".

    The repository is the working directory.
    """
    here = os.getcwd()
    cause: BaseException | None = error
    while cause is not None:  # Tsdat wraps the exceptions that it meets while it reads a config
        places = [
            (frame.filename, frame.lineno) for frame in traceback.extract_tb(cause.__traceback__)
        ]
        if isinstance(cause, SyntaxError) and cause.filename:
            places.append((cause.filename, cause.lineno))
        for filename, line in reversed(places):
            path = os.path.abspath(filename)
            inside = path.startswith(here + os.sep) and "site-packages" not in path
            if inside and os.path.isfile(path):
                return f"{os.path.relpath(path, here)}:{line}"
        cause = cause.__cause__
    return ""
