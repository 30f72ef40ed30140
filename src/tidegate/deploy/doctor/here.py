"""This machine: what builds images, and the repositories."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tidegate import __version__
from tidegate.deploy.doctor.finding import Finding, ok, unknown, warning

_PATIENCE = 20.0
_IN_CODEBUILD = "none is needed where CodeBuild builds the images: `tidegate deploy` has it do so"


def builders() -> Iterator[Finding]:
    """Docker or buildah: to build images on this machine."""
    found: list[str] = []
    asleep = ""
    if shutil.which("docker"):
        code, said = _run(["docker", "info", "--format", "{{.ServerVersion}}"])
        if code == 0 and said:
            buildx, _ = _run(["docker", "buildx", "version"])
            found.append(f"Docker {said}" + ("" if buildx == 0 else ", without buildx"))
        else:
            asleep = "Docker is installed, but its engine does not answer"
    if shutil.which("buildah"):
        code, said = _run(["buildah", "--version"])
        found.append(said or "buildah")
    if found:
        yield ok("builder", "; ".join(found))
    elif asleep:
        yield warning("builder", asleep, f"start Docker to build here; {_IN_CODEBUILD}")
    else:
        yield warning(
            "builder",
            "there is no Docker and no buildah: images cannot be built on this machine",
            f"install one of them to build here; {_IN_CODEBUILD}",
        )


def repository(about: str, folder: Path | None, branch: str) -> Iterator[Finding]:
    """The state of a git repository: what a deployment from here would take."""
    if folder is None or not folder.is_dir():
        return
    if not shutil.which("git"):
        yield warning(about, "git is not installed", "install git: a release names its commit")
        return
    if _git(folder, "rev-parse", "--is-inside-work-tree") != "true":
        yield warning(
            about,
            f"{folder} is in no git repository",
            "put it under git, so that each release says of which commit it is",
        )
        return
    head = _git(folder, "rev-parse", "--short", "--verify", "--quiet", "HEAD")
    if not head:
        yield warning(about, f"{folder} has no commit yet", "commit what there is")
        return
    found = list(_differences(about, folder, branch))
    here = _git(folder, "symbolic-ref", "--short", "--quiet", "HEAD") or "no branch"
    yield from found or [ok(about, f"{folder} is at {head} of {here}, and all is committed")]


def _differences(about: str, folder: Path, branch: str) -> Iterator[Finding]:
    changed = _git(folder, "status", "--porcelain", "--", ".").splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        yield warning(
            about,
            f"{folder} has changes that are not committed: {names}{more}",
            "commit them: a push deploys commits only, and a release of these files says -dirty",
        )
    here = _git(folder, "symbolic-ref", "--short", "--quiet", "HEAD")
    if here != branch:
        yield warning(
            about,
            f"{folder} is at {here or 'no branch'}, not at the branch {branch}",
            f"`git switch {branch}` before you deploy it from here",
        )
        return
    upstream = _git(folder, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}")
    if not upstream:
        yield warning(
            about,
            f"the branch {branch} of {folder} follows no branch elsewhere",
            f"`git push --set-upstream origin {branch}`: CodePipeline takes it from GitHub",
        )
        return
    ahead = _git(folder, "rev-list", "--count", "@{upstream}..HEAD")
    if ahead not in ("", "0"):
        yield warning(
            about, f"{folder} has {ahead} commits that {upstream} has not", "`git push` them"
        )
    behind = _git(folder, "rev-list", "--count", "HEAD..@{upstream}")
    if behind not in ("", "0"):
        yield warning(
            about, f"{upstream} has {behind} commits that {folder} has not", "`git pull` them"
        )


def _git(folder: Path, *arguments: str) -> str:
    code, said = _run(["git", "-C", str(folder), *arguments], strip=False)
    return said.rstrip("\n") if code == 0 else ""


def _run(command: Sequence[str], *, strip: bool = True) -> tuple[int, str]:
    """The exit code of a command, and what it says: its output, or its complaint."""
    try:
        done = subprocess.run(
            [*command],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, str(error)
    said = done.stdout if done.returncode == 0 else done.stderr or done.stdout
    return done.returncode, said.strip() if strip else said


def python() -> Iterator[Finding]:
    """Which Tidegate is installed, and with what."""
    if importlib.util.find_spec("boto3") is None:
        yield unknown(
            "Tidegate",
            f"{__version__}, without the packages for AWS",
            "`uv tool install 'tidegate[deploy]'`",
        )
    else:
        yield ok("Tidegate", __version__)
