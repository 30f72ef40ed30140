"""The values in the files of a deployment repository: from options, a config, and git."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from tidegate import __version__
from tidegate.config import AwsKeys, PipelinesConfig, aws_values, read, values
from tidegate.deploy.core.package import pack
from tidegate.errors import UsageError
from tidegate.targets.aws.names import fit
from tidegate.workspace.discovery import Discovered, discover
from tidegate.workspace.folder import CONFIG

KEYS = (
    "github_org",
    "pipelines_repo_name",
    "aws_repo_name",
    "github_codestar_arn",
    "account_id",
    "region",
    "input_bucket_name",
    "output_bucket_name",
)
"""The keys of the config for AWS, in the order of the file."""
OPTIONS = {
    "github_org": "--org",
    "pipelines_repo_name": "--repository",
    "aws_repo_name": "--deployment",
    "github_codestar_arn": "--connection",
    "account_id": "--account",
    "region": "--region",
    "input_bucket_name": "--input-bucket",
    "output_bucket_name": "--output-bucket",
}
"""The option for each key."""
_REMOTE = re.compile(
    r"(?:\w+://)?(?:[^@/]+@)?(?P<host>[^/:]*)(?::\d+)?[:/](?P<path>.+?)(?:\.git)?/?"
)
_MAIN = "main"


@dataclass(frozen=True)
class Wheel:
    """A wheel of Tidegate."""

    name: str
    """Its file name."""
    content: bytes
    """Its bytes."""


@dataclass(frozen=True)
class Answers:
    """The values to fill in. Unknown keys are comments in the config."""

    keys: Mapping[str, str]
    """The known keys for AWS."""
    branch: str = _MAIN
    """The branch to deploy."""
    tidegate: str = f"tidegate[aws,deploy]=={__version__}"
    """The Tidegate of the container and of GitHub Actions: a requirement for pip."""
    wheel: Wheel | None = None
    """A wheel of Tidegate to write beside the other files; None if an index has it."""
    pipelines: tuple[Discovered, ...] = ()
    """The pipelines for the config; if empty, it lists examples."""
    pipelines_path: str = ""
    """The path of the pipelines repository relative to the folder; empty if unknown."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The keys that a person has to fill in."""
        return tuple(key for key in KEYS if key not in self.keys)


def gather(
    folder: Path,
    given: Mapping[str, str | None],
    *,
    source: Path | None = None,
    branch: str | None = None,
    tidegate: str | None = None,
) -> Answers:
    """The values: first those of the options, then of the folder's config, then of git.

    Raises:
        UsageError: the value of an option is not possible, or ``source`` has no pipelines.
    """
    keys = {**_keys_from_git(folder, source), **_keys_from_config(folder / CONFIG)}
    for key in KEYS:
        if given.get(key) is not None:
            keys[key] = _checked(key, str(given[key]))
    answers = _with_tidegate(Answers(_with_buckets(keys), _branch(branch, source)), tidegate)
    if source is None:
        return answers
    path = os.path.relpath(source.resolve(), folder.resolve())
    return replace(answers, pipelines=discover(source), pipelines_path=Path(path).as_posix())


def _checked(key: str, value: str) -> str:
    """The value of a key, checked as in the config."""
    try:
        return str(getattr(AwsKeys.model_validate({key: value}), key))
    except ValidationError as error:
        wrong = error.errors()[0].get("ctx", {}).get("error")
        what, fix = str(error), ""
        if isinstance(wrong, values.InvalidValue):
            what, fix = wrong.what, wrong.fix
        example = (AwsKeys.model_fields[key].examples or [""])[0]
        raise UsageError(
            f"{OPTIONS[key]} {what}", next=fix or f"write, for example, {OPTIONS[key]} {example}"
        ) from None


def _branch(given: str | None, source: Path | None) -> str:
    name = given or _git(source, "symbolic-ref", "--short", "HEAD") or _MAIN
    try:
        checked = aws_values.branch(name)
    except values.InvalidValue as error:
        raise UsageError(f"--branch {error.what}", next=error.fix) from None
    if not re.fullmatch(r"[\w./+@-]+", checked, re.ASCII):
        # It is written into scripts and workflows.
        what = f"--branch has characters with a meaning in shell scripts: {name!r}"
        raise UsageError(what, next="name a branch of letters, digits, '-', '_', '.' and '/'")
    return checked


def _with_tidegate(answers: Answers, given: str | None) -> Answers:
    """The given version, requirement or wheel file; by default the Tidegate that is running."""
    if given is None:
        return answers if _has_an_index() else _with_wheel(answers, _own_wheel())
    if given.endswith(".whl"):
        wheel = Path(given)
        if not wheel.is_file() or not wheel.name.startswith("tidegate-"):
            raise UsageError(
                f"--tidegate is not a wheel of Tidegate: {given}",
                next="build one with `uv build --wheel` in a clone of Tidegate",
            )
        return _with_wheel(answers, Wheel(wheel.name, wheel.read_bytes()))
    if re.fullmatch(r"\d+(\.\w+)+", given):
        return replace(answers, tidegate=f"tidegate[aws,deploy]=={given}")
    if re.fullmatch(r"(git\+)?https?://\S+|git\+ssh://\S+", given):
        return replace(answers, tidegate=f"tidegate[aws,deploy] @ {given}")
    if re.fullmatch(r"tidegate\b[^\n]*", given):
        return replace(answers, tidegate=given)
    raise UsageError(
        f"--tidegate must be a version, an address or a wheel, not {given!r}",
        next=f"write, for example, --tidegate {__version__}",
    )


def _with_wheel(answers: Answers, wheel: Wheel) -> Answers:
    return replace(answers, tidegate=f"./{wheel.name}[aws,deploy]", wheel=wheel)


def _has_an_index() -> bool:
    """Whether this Tidegate was installed from a package index, which others can use too."""
    return metadata.distribution("tidegate").read_text("direct_url.json") is None


def _own_wheel() -> Wheel:
    with tempfile.TemporaryDirectory(prefix="tidegate-new-") as folder:
        wheel = pack(Path(folder)).wheel
        return Wheel(wheel.name, wheel.read_bytes())


def _with_buckets(keys: Mapping[str, str]) -> dict[str, str]:
    """The keys with names for the buckets. The account's number makes them unique in AWS."""
    named = dict(keys)
    if "account_id" in keys and "pipelines_repo_name" in keys:
        for use in ("input", "output"):
            name = f"{keys['pipelines_repo_name'].lower()}-{use}-{keys['account_id']}"
            bucket = fit(name, limit=63, allowed="a-z0-9-", first="a-z0-9")
            named.setdefault(f"{use}_bucket_name", bucket)
    return named


def _keys_from_config(file: Path) -> dict[str, str]:
    """The keys for all branches in an existing config."""
    model = read(file, files=False).model if file.is_file() else None
    if not isinstance(model, PipelinesConfig):
        return {}
    return {key: str(getattr(model, key)) for key in KEYS if getattr(model, key) is not None}


def _keys_from_git(folder: Path, source: Path | None) -> dict[str, str]:
    """The names of the repositories and their owner, from the URLs that git cloned."""
    keys: dict[str, str] = {}
    for key, where in (("aws_repo_name", folder), ("pipelines_repo_name", source)):
        if where is None:
            continue
        owner, name = _remote(where)
        for name_of_key, value in ((key, name or where.resolve().name), ("github_org", owner)):
            try:
                keys[name_of_key] = _checked(name_of_key, value)
            except UsageError:  # such as the name of a folder that GitHub does not allow
                continue
    return keys


def _remote(repository: Path) -> tuple[str, str]:
    """The owner on GitHub and the name of a repository, from its ``origin``; "" if unknown."""
    match = _REMOTE.fullmatch(_git(repository, "remote", "get-url", "origin"))
    if match is None:
        return "", ""
    owner, _, name = match["path"].rpartition("/")
    return (owner if match["host"] == "github.com" else ""), name


def _git(repository: Path | None, *arguments: str) -> str:
    """The output of git in a repository; "" if it fails or the folder is not the root of one."""
    if repository is None or not (repository / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:  # git is not installed, and is not needed
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
