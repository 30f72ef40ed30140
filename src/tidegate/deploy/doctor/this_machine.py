"""This machine: the tools that build images, and the repositories."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tidegate import __version__
from tidegate.deploy.doctor.finding import Finding, ok, unknown, warning

_TIMEOUT = 20.0
_IN_CODEBUILD = "not needed if CodeBuild builds the images, as with `tidegate deploy`"


def builders() -> Iterator[Finding]:
    """Docker or buildah: to build images on this machine."""
    found: list[str] = []
    stopped = ""
    if shutil.which("docker"):
        code, said = _run(["docker", "info", "--format", "{{.ServerVersion}}"])
        if code == 0 and said:
            buildx, _ = _run(["docker", "buildx", "version"])
            found.append(f"Docker {said}" + ("" if buildx == 0 else ", without buildx"))
        else:
            stopped = "Docker is installed, but its engine does not answer"
    if shutil.which("buildah"):
        code, said = _run(["buildah", "--version"])
        found.append(said or "buildah")
    if found:
        yield ok("builder", "; ".join(found))
    elif stopped:
        yield warning("builder", stopped, f"start Docker to build here; {_IN_CODEBUILD}")
    else:
        yield warning(
            "builder",
            "neither Docker nor buildah is installed: images cannot be built on this machine",
            f"install one of them to build here; {_IN_CODEBUILD}",
        )


def repository(about: str, folder: Path | None, branch: str) -> Iterator[Finding]:
    """The state of a git repository that a deployment from here would use."""
    if folder is None or not folder.is_dir():
        return
    if not shutil.which("git"):
        yield warning(about, "git is not installed", "install git: a release names its commit")
        return
    if _git(folder, "rev-parse", "--is-inside-work-tree") != "true":
        yield warning(
            about,
            f"{folder} is not in a git repository",
            "create one, so that each release records its commit",
        )
        return
    head = _git(folder, "rev-parse", "--short", "--verify", "--quiet", "HEAD")
    if not head:
        yield warning(about, f"{folder} has no commit yet", "commit your files")
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
            "commit them: a push deploys commits only; a release of these files is marked -dirty",
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
            f"the branch {branch} of {folder} has no upstream branch",
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
    """The exit code of a command, and its output; or its error output if it fails."""
    try:
        done = subprocess.run(
            [*command],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, str(error)
    said = done.stdout if done.returncode == 0 else done.stderr or done.stdout
    return done.returncode, said.strip() if strip else said


def tidegate() -> Iterator[Finding]:
    """Which Tidegate is installed, and with what."""
    if importlib.util.find_spec("boto3") is None:
        yield unknown(
            "Tidegate",
            f"{__version__}, without the packages for AWS",
            "`uv tool install 'tidegate[deploy]'`",
        )
    else:
        yield ok("Tidegate", __version__)
