"""The recipe of the pipelines' environment: requirements and Python version, from the repository.

Only reads files; ``environment`` makes environments.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tidegate.errors import PythonEnvironmentError

OLDEST = (3, 8)
"""The oldest Python that the pipelines can run with."""
NEWEST = (3, 13)
"""The newest Python that Tsdat is tested with."""
OWN = (f"{sys.version_info.major}.{sys.version_info.minor}", "Tidegate's own version")
_FORMAT = 1  # increase to make all environments again, after a change in how they are made

# Packages that conda has but PyPI does not, or that are something else on PyPI (2026-11):
# packages that a pipeline may use,
_USED = """
adi adi-py esmf esmpy pyngl pynio r-base cdo eccodes nco ncl udunits2
"""
# and libraries and tools that others need; wheels on PyPI include them.
_INDIRECT = """
geos hdf4 hdf5 libgdal libhdf5 libnetcdf ncview netcdf-cxx4 netcdf-fortran proj
blas jasper lapack libboost openblas
binutils c-compiler compilers cxx-compiler fortran-compiler gcc gcc-linux-64 gfortran
gfortran-linux-64 gxx gxx-linux-64 libgfortran libstdcxx-ng make mpich openmpi pkg-config
sysroot-linux-64
bash bzip2 curl expat git libcurl libxml2 mamba ncurses nodejs openssl pandoc perl readline sqlite
tk unzip wget xz zip zlib
"""
_CONDA_ONLY = frozenset((_USED + _INDIRECT).split())
# Packages with another name on PyPI.
_RENAMED = {
    "matplotlib-base": "matplotlib",
    "dask-core": "dask",
    "pytables": "tables",
    "pytorch": "torch",
    "opencv": "opencv-python-headless",
    "py-opencv": "opencv-python-headless",
    "python-graphviz": "graphviz",
}
_IGNORED = ("python", "pip", "uv", "conda")
_INCLUDE = re.compile(
    r"^\s*(?:-r|--requirement|-c|--constraint)[ \t=]*(?P<file>\S.*?)\s*(?:\s#.*)?$"
)


@dataclass(frozen=True)
class Recipe:
    """What to make an environment from."""

    repository: Path
    """The root of the repository, absolute."""
    source: Path
    """The file that lists the packages."""
    python: str
    """The Python for uv: ``3.11``, ``>=3.9``, or the path of an interpreter."""
    python_from: str
    """Where that comes from, for messages."""
    exclude_newer: str | None
    """Ignore packages published after this date."""
    parts: Mapping[str, str]
    """The parts of the stamp: file names with hashes, settings with values."""
    pip: tuple[str, ...] = ()
    """Lines for pip in environment.yml; empty if ``source`` is a requirements file."""
    conda: Mapping[str, str] = field(default_factory=dict)
    """Conda packages in environment.yml that PyPI may have: names and requirements."""
    conda_only: tuple[str, ...] = ()
    """Conda packages in environment.yml that PyPI does not have."""
    conda_file: Path | None = None
    """The environment.yml, if there is one."""

    @property
    def needs_conda(self) -> tuple[str, ...]:
        """Conda-only packages that a pipeline may use; the others are included in wheels."""
        return tuple(
            name
            for name in self.conda_only
            if name[:1] != "_" and name.replace("_", "-") not in _INDIRECT.split()
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that list its packages: ``source``, and the files that it includes."""
        return tuple(_files(self.source, self.pip, self.repository))

    @property
    def stamp(self) -> str:
        """The name of the environment's folder: the same for the same parts."""
        text = json.dumps([_FORMAT, dict(self.parts)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def title(self) -> str:
        """A short description for messages."""
        newer = f", packages as of {self.exclude_newer}" if self.exclude_newer else ""
        return f"{self.source.name} for Python {self.python} ({self.python_from}){newer}"

    def without(self, names: Iterable[str]) -> Recipe:
        """A copy in which these conda packages count as missing on PyPI."""
        left = {name: text for name, text in self.conda.items() if name not in set(names)}
        gone = tuple(name for name in self.conda if name not in left)
        return dataclasses.replace(self, conda=left, conda_only=self.conda_only + gone)

    def write_requirements(self, folder: Path) -> Path:
        """The requirements file for uv: the repository's own, or one written to ``folder``."""
        if self.source.suffix == ".txt":
            return self.source
        path = folder / "requirements.txt"
        path.write_text(self.requirements(self.repository, conda=True), "utf-8")
        return path

    def requirements(self, root: Path, *, conda: bool) -> str:
        """environment.yml as a requirements file; included files are below ``root``.

        With ``conda``, the conda packages are included, else only the lines for pip.
        """
        lines = (*self.pip, *(self.conda.values() if conda else ()))
        return "".join(f"{_with_root(line, root)}\n" for line in lines)

    def conda_environment(self) -> str:
        """environment.yml without the lines for pip, and with the Python version."""
        assert self.conda_file is not None
        data = _read_yaml(self.conda_file)
        names = [item for item in data.get("dependencies") or () if isinstance(item, str)]
        listed = [item for item in names if _split(item)[0] != "python"]
        python = self.python if re.match(r"[<>=!~]", self.python) else f"={self.python}"
        data = {
            "channels": data.get("channels") or [],
            "dependencies": [f"python{python}", *listed],
        }
        return yaml.safe_dump(data, sort_keys=False)

    def where(self, message: str) -> str:
        """The file, and the line if it is known, that a message of uv refers to."""
        at = re.search(r"`?([^\s`]+\.txt)`?(?::(\d+)| at position (\d+))", message)
        if at and self.source.suffix == ".txt":
            file = self.repository / at[1]
            if at[2]:
                return f"{file}:{at[2]}"
            with contextlib.suppress(OSError):
                before = file.read_bytes()[: int(at[3])]
                return f"{file}:{before.count(10) + 1}"
        for file in (self.source, *_included(self.source)):
            for number, line in enumerate(_lines(file), 1):
                name = re.match(r"[\s\-\"']*([A-Za-z0-9][\w.-]*)", line)
                plain = re.sub(r"[-_.]+", "-", name[1]).lower() if name else ""
                if plain and re.search(rf"(?<![\w.-]){re.escape(plain)}(?![\w-])", message.lower()):
                    return f"{file}:{number}"
        return str(self.source)


def read_recipe(
    repository: Path,
    configured: str | None,
    exclude_newer: str | None,
    otherwise: tuple[str, str] | None = None,
) -> Recipe:
    """The recipe of a repository's environment.

    The packages are those of ``requirements.txt``, else of ``environment.yml``,
    ``conda-environment.yml`` or the first file in ``environments/``. The Python version
    is the configured one, else that of ``.python-version``, ``environment.yml`` or ``otherwise``
    (a version and where it comes from), else that of Tidegate itself.

    Raises:
        PythonEnvironmentError: the repository has neither file, or a file cannot be read.
    """
    repository = Path(os.path.abspath(repository))
    requirements = repository / "requirements.txt"
    conda_file = next(_conda_files(repository), None)
    if not requirements.exists() and conda_file is None:
        raise PythonEnvironmentError(
            f"{repository} does not list the packages of its pipelines",
            why="it has no requirements.txt, environment.yml, conda-environment.yml or"
            " environments/*.yml",
            next="add a requirements.txt with a line `tsdat`, or use an interpreter with --python",
        )
    conda = _CondaFile.read(conda_file) if conda_file else _CondaFile()
    source = requirements if requirements.exists() else conda_file
    assert source is not None
    python, python_from = _python(repository, configured, conda, conda_file) or otherwise or OWN
    from_conda = source is conda_file
    files = _files(source, conda.pip if from_conda else (), repository)
    parts = {_label(file, repository): _hash(file) for file in files}
    parts["the Python version"] = python
    if exclude_newer:
        parts["exclude_newer"] = exclude_newer
    return Recipe(
        repository,
        source,
        python,
        python_from,
        exclude_newer,
        parts,
        pip=conda.pip if from_conda else (),
        conda=conda.conda if from_conda else {},
        conda_only=conda.conda_only,
        conda_file=conda_file,
    )


def _conda_files(repository: Path) -> Iterator[Path]:
    """The files for conda, in the order in which they count."""
    for pattern in ("environment.y*ml", "conda-environment.y*ml", "environments/*.y*ml"):
        yield from sorted(repository.glob(pattern))


def dependents(repository: Path, name: str) -> list[str]:
    """The lines that use a package, as ``file:line``; found by searching for its name.

    ``tsdat.transform`` counts as a use of ``adi_py``, because its transforms need that package.
    """
    module = re.escape(re.sub(r"[-.]", "_", name))
    python = rf"^\s*(?:import|from)\s+{module}\b"
    config = None
    if module == "adi_py":
        # Only CreateTimeGrid works without it.
        transform = r"tsdat\.transform\.(?!CreateTimeGrid\b)\w+"
        config = re.compile(transform)
        python += rf"|{transform}|^\s*from\s+tsdat\.transform\s+import\s+(?!CreateTimeGrid\s*$)"
    patterns = {".py": re.compile(python), ".yaml": config, ".yml": config}
    found: list[str] = []
    for folder, folders, names in os.walk(repository):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n != "__pycache__")
        for file in sorted(names):
            pattern = patterns.get(os.path.splitext(file)[1])
            if pattern is not None:
                path = Path(folder, file)
                lines = enumerate(_lines(path), 1)
                hits = [n for n, line in lines if pattern.search(line) and not _comment(line)]
                found += [f"{path.relative_to(repository)}:{n}" for n in hits]
    return found


@dataclass(frozen=True)
class _CondaFile:
    """The content of an environment.yml."""

    python: str = ""
    pip: tuple[str, ...] = ()
    conda: Mapping[str, str] = field(default_factory=dict)
    conda_only: tuple[str, ...] = ()

    @classmethod
    def read(cls, file: Path) -> _CondaFile:
        listed = _read_yaml(file).get("dependencies", [])
        if not isinstance(listed, list):
            raise _unreadable(file, "it has no list `dependencies`")
        python, pip = "", list[str]()
        conda: dict[str, str] = {}
        only: list[str] = []
        for item in listed:
            if isinstance(item, dict):
                pip += [str(line) for line in item.get("pip") or ()]
                continue
            name, version = _split(str(item))
            if name == "python":
                python = version
            elif name in _CONDA_ONLY or name.replace("_", "-") in _CONDA_ONLY or name[:1] == "_":
                only.append(name)
            elif name not in _IGNORED:
                conda[name] = _RENAMED.get(name, name) + version
        return cls(python, tuple(pip), conda, tuple(only))


def _read_yaml(file: Path) -> Mapping[str, Any]:
    try:
        data: Any = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _unreadable(file, error) from error
    if not isinstance(data, dict):
        raise _unreadable(file, "it has no list `dependencies`")
    return data


def _split(spec: str) -> tuple[str, str]:
    """The name of a conda dependency, and its version as pip writes it.

    For conda, ``numpy=1.24`` means any 1.24, and ``numpy=1.24.3=py310_0`` exactly that build.
    """
    spec = spec.split("::")[-1].split("#")[0].split("[")[0].strip()
    match = re.match(r"([\w.-]+)\s*(.*)$", spec)
    name, version = (match[1].lower(), match[2].strip()) if match else (spec.lower(), "")
    if version and version[0].isdigit():
        version = "=" + version.split()[0]
    exact = re.fullmatch(r"=\s*([^=<>!~,|\s*]+)\*?(=\S*)?", version)
    if exact:
        number = exact[1].rstrip(".")
        version = f"=={number}" if exact[2] else f"=={number}.*"
    elif "|" in version:
        version = ""  # alternatives: pip has no syntax for them
    return name, re.sub(r"\s+", "", version)


def _python(
    repository: Path, configured: str | None, conda: _CondaFile, conda_file: Path | None
) -> tuple[str, str] | None:
    if configured:
        return str(configured), "the config or --python"
    for line in _lines(repository / ".python-version"):
        if line.strip() and not _comment(line):
            return line.strip(), ".python-version"
    if conda.python and conda_file is not None:
        plain = re.fullmatch(r"==([\d.]+?)(?:\.\*)?", conda.python)
        return (plain[1] if plain else conda.python), conda_file.name
    return None


def _files(source: Path, pip: Iterable[str], repository: Path) -> list[Path]:
    found = [source, *_included(source)]
    return found + [file for line in pip for file in _included_by_line(line, repository)]


def _included(file: Path) -> list[Path]:
    """The requirement and constraint files that a file includes, also indirectly."""
    found: list[Path] = []
    waiting = [file]
    while waiting:
        one = waiting.pop()
        if one.suffix in (".yml", ".yaml"):
            continue
        for line in _lines(one):
            match = _INCLUDE.match(line)
            path = Path(os.path.normpath(one.parent / match["file"])) if match else None
            if path is not None and path not in found and path != file:
                found.append(path)
                waiting.append(path)
    return found


def _included_by_line(line: str, folder: Path) -> Iterator[Path]:
    match = _INCLUDE.match(line)
    if match:
        file = Path(os.path.normpath(folder / match["file"]))
        yield file
        yield from _included(file)


def _with_root(line: str, folder: Path) -> str:
    """The line with the path of an included file below ``folder``."""
    match = _INCLUDE.match(line)
    if match:
        return f"{line[: match.start('file')]}{folder / match['file']}"
    return re.sub(r"^(\s*(?:-e|--editable)[ =]+)?(\.{1,2}(?:/.*)?)$", rf"\g<1>{folder}/\2", line)


def _label(file: Path, repository: Path) -> str:
    return os.path.relpath(file, repository)


def _hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "missing"  # uv reports it, with the line that includes it
    except OSError as error:
        raise _unreadable(file, error) from error


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError:
        return []


def _comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _unreadable(file: Path, why: object) -> PythonEnvironmentError:
    return PythonEnvironmentError(
        f"{file.name} cannot be read",
        why=" ".join(str(why).split()),
        next="correct it, or use an interpreter with --python",
        where=str(file),
    )
