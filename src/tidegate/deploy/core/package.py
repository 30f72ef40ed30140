"""Tidegate itself for builds on AWS: the files that are installed here, packed as a wheel.

A build must deploy what the person saw in the plan, so it runs the same Tidegate with the same
versions of its dependencies, not the newest in an index. ``pack`` makes the wheel and a list of
versions, ``publish`` uploads both to the artifacts bucket with keys made from their content, and
builds check their sha256 before they install them (``buildspec``).
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import tidegate
from tidegate.deploy.core.artifacts import TIDEGATE
from tidegate.errors import PythonEnvironmentError
from tidegate.targets.aws.clients import Clients, Missing, explained

Say = Callable[[str], None]

EXTRAS = ("aws", "deploy")
"""The extras of Tidegate that a build needs."""
CONSTRAINTS = "constraints.txt"
"""The name of the list of versions."""
_NAME = "tidegate"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = (".pyc", "~", ".swp", ".orig", ".rej", ".DS_Store")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


@dataclass(frozen=True)
class Tool:
    """A packed Tidegate in the artifacts bucket."""

    version: str
    """Its version."""
    uv: str
    """The version of uv that installs it."""
    wheel: str
    """The key of the wheel."""
    wheel_sha256: str
    """Its sha256, hexadecimal."""
    constraints: str
    """The key of the list of versions."""
    constraints_sha256: str
    """Its sha256, hexadecimal."""


@dataclass(frozen=True)
class Package:
    """A packed Tidegate on this machine, ready to be published."""

    tool: Tool
    """Its keys and checksums."""
    wheel: Path
    """The wheel."""
    constraints: Path
    """The list of versions."""


def pack(folder: Path) -> Package:
    """Pack the running Tidegate with the versions of its dependencies, reproducibly.

    Raises:
        PythonEnvironmentError: it was not installed as a package.
    """
    installed = _distribution()
    version, uv = tidegate.__version__, metadata.version("uv")
    wheel = folder / f"{_NAME}-{version}-py3-none-any.whl"
    _write_wheel(wheel, version, installed)
    constraints = folder / CONSTRAINTS
    constraints.write_text("".join(f"{line}\n" for line in versions()), encoding="utf-8")
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (wheel, constraints)]
    keys = [f"{TIDEGATE}{s[:16]}/{file.name}" for s, file in zip(sums, (wheel, constraints))]
    tool = Tool(version, uv, keys[0], sums[0], keys[1], sums[1])
    return Package(tool, wheel, constraints)


def publish(package: Package, bucket: str, account: str, clients: Clients, say: Say) -> None:
    """Upload it to the artifacts bucket, unless it is there already.

    Raises:
        StorageError: the upload fails.
    """
    tool = package.tool
    s3: Any = clients.s3
    for key, file in ((tool.wheel, package.wheel), (tool.constraints, package.constraints)):
        where = {"Bucket": bucket, "Key": key, "ExpectedBucketOwner": account}
        with explained("upload Tidegate", clients.arn("s3", f"{bucket}/{key}")):
            try:
                with explained("look for Tidegate", clients.arn("s3", f"{bucket}/{key}")):
                    s3.head_object(**where)
            except Missing:
                s3.put_object(**where, Body=file.read_bytes())
                say(f"uploaded {file.name}")


def versions(extras: Iterable[str] = EXTRAS) -> list[str]:
    """``name==version`` of each dependency of Tidegate that is installed here.

    Packages that were not installed from an index are left out: no index has their version.
    """
    found: dict[str, str] = {}
    waiting = [(_NAME, frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another system, or another Python
            continue
        if name != _NAME and installed.read_text("direct_url.json") is None:
            found[name] = installed.version
        waiting += _needed(installed.requires or (), wanted)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _needed(
    requirements: Iterable[str], extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for requirement in requirements:
        asked, _, condition = requirement.partition(";")
        of = set(_EXTRA.findall(condition))
        match = _REQUIREMENT.match(asked)
        if match is None or (of and not of & extras):
            continue
        more = (part.strip() for part in (match[2] or "").split(","))
        yield _normal(match[1]), frozenset(part for part in more if part)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution() -> metadata.Distribution:
    try:
        return metadata.distribution(_NAME)
    except metadata.PackageNotFoundError:
        raise PythonEnvironmentError(
            "Tidegate is not installed as a package",
            why="builds on AWS run the same Tidegate, which is packed using its metadata",
            next="install it: `uv tool install 'tidegate[aws,deploy]'`",
        ) from None


def _write_wheel(file: Path, version: str, installed: metadata.Distribution) -> None:
    entries = dict(sorted([*_code(), *_metadata(version, installed)]))
    record = f"{_NAME}-{version}.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in entries.items()]
    entries[record] = "".join(f"{line}\n" for line in [*lines, f"{record},,"]).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, 9)


def _code() -> Iterator[tuple[str, bytes]]:
    package = Path(tidegate.__file__).resolve().parent
    for path in package.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(_LEFT_OUT):
            yield f"{_NAME}/{path.relative_to(package).as_posix()}", path.read_bytes()


def _metadata(version: str, installed: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    folder = f"{_NAME}-{version}.dist-info"
    about = installed.read_text("METADATA") or ""
    # Installed from a folder of source code, the metadata may be of an earlier version of it.
    about = re.sub(r"(?m)^Version: .*$", f"Version: {version}", about, count=1)
    yield f"{folder}/METADATA", about.encode()
    yield f"{folder}/entry_points.txt", (installed.read_text("entry_points.txt") or "").encode()
    wheel = "Wheel-Version: 1.0\nGenerator: tidegate\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    yield f"{folder}/WHEEL", wheel.encode()
    for name in about.partition("\n\n")[0].splitlines():
        if name.startswith("License-File: "):
            license = f"licenses/{name.removeprefix('License-File: ')}"
            text = installed.read_text(license)
            if text is not None:
                yield f"{folder}/{license}", text.encode()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
