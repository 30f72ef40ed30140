"""Prepares an image while it is built: ``python3 prepare.py pipelines | handler | code FOLDER``.

Runs in the base image's own Python, and compiles code in the pipelines', which may be 3.8; with
the standard library only. A person sees its output in the log of the build.
"""

from __future__ import annotations

import compileall
import hashlib
import json
import os
import platform
import py_compile
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
UV = HERE / "uv" / "bin" / "uv"
PIPELINES = Path("/opt/pipelines")
"""The pipelines' environment."""
HANDLER = Path("/opt/python")
"""The packages of the function's own process: where Lambda looks for those of layers."""
SERVICES = ("dynamodb", "s3", "sns", "sqs", "sts")
"""The services that this process uses: botocore's descriptions of the other 400 are removed."""
OLDEST = (3, 8)
"""The oldest Python that the pipelines can run with."""
MICROMAMBA = (
    "https://github.com/mamba-org/micromamba-releases/releases/download/2.9.0-0/micromamba-linux-"
)
"""Where micromamba's own releases are; the processor follows. Anyone may download without limit."""
MICROMAMBA_SHA256 = {
    "64": "366cd9cd8be14df1ab8ed50352a82111082a36686b2d389fdb79a92c3fafb3e3",
    "aarch64": "9f93b974adcb4d166996af969b6cd371287d1a3e52733704727884d9b74cb7a7",
}
"""The SHA-256 of the program, by processor."""
WHEN = 946_684_800
"""The time of all files: equal content makes equal layers."""

_HEADERS = {".h", ".hh", ".hpp", ".hxx", ".cuh", ".pxd", ".pyx", ".a", ".la"}
_IMPORTS_TESTS = re.compile(r"^\s*(?:from|import)\s[^#\n]*\btests\b", re.MULTILINE)
# What uv says when a package has to be built, and the tools for that are not there.
_TOOLS_MISSING = re.compile(
    r"git executable not found|failed to build|command '?\S*(?:gcc|g\+\+|cc|c\+\+)'? failed"
    r"|unable to (?:find|execute) .*(?:gcc|compiler)",
    re.IGNORECASE,
)
_INSTALLERS = {
    "dnf": ["install", "-y", "git", "gcc", "gcc-c++", "make"],
    "microdnf": ["install", "-y", "git", "gcc", "gcc-c++", "make"],
    "yum": ["install", "-y", "git", "gcc", "gcc-c++", "make"],
    "apt-get": ["install", "-y", "--no-install-recommends", "git", "gcc", "g++", "make"],
}
_NOT_OF_THE_ENVIRONMENT = {"_", "HOME", "HOSTNAME", "OLDPWD", "PATH", "PS1", "PWD", "SHLVL"}


class Failed(Exception):
    """The image cannot be made; the ``output`` of a command has been printed already."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


def main(arguments: Sequence[str]) -> int:
    """Do one step."""
    try:
        if arguments[:1] == ["pipelines"]:
            make_pipelines(json.loads((HERE / "options.json").read_text("utf-8")))
        elif arguments[:1] == ["handler"]:
            make_handler()
        elif arguments[:1] == ["code"] and len(arguments) > 1:
            make_code(list(map(Path, arguments[1:])))
        elif arguments[:1] in (["compile"], ["quietly"]):
            compile_here(map(Path, arguments[1:]), quiet=arguments[0] == "quietly")
        else:
            raise Failed("say which: pipelines, handler, or code FOLDER")
    except Failed as error:
        print(f"error: {error}", flush=True)
        return 1
    return 0


def make_pipelines(options: Mapping[str, object]) -> None:
    """The pipelines' environment, from requirements files or with conda."""
    python = PIPELINES / "bin" / "python"
    if options.get("conda"):
        make_conda(get_micromamba(str(options.get("micromamba") or "")))
    else:
        interpreter = find_python(list(map(str, _list(options.get("pythons")))))
        venv = [str(UV), "venv", "--no-project", "--allow-existing", "--python", interpreter]
        _run([*venv, str(PIPELINES)])
    command = [str(UV), "pip", "install", "--python", str(python)]
    if options.get("exclude_newer"):
        command += ["--exclude-newer", str(options["exclude_newer"])]
    requirements = [HERE / "requirements" / str(name) for name in _list(options["requirements"])]
    if requirements:
        _install([*command, *(part for path in requirements for part in ("-r", str(path)))])
    check(python, str(options["package"]))
    freeze = [str(UV), "pip", "freeze", "--python", str(python)]
    listed = subprocess.run(freeze, stdout=subprocess.PIPE, check=True).stdout
    (PIPELINES / "packages.txt").write_bytes(listed)
    strip(_site_packages(python))
    compile_with(python, [PIPELINES / "lib", PIPELINES / "python"], quiet=True)
    bake_fonts(python)
    tidy([PIPELINES])


def find_python(versions: Sequence[str]) -> str:
    """The interpreter for the pipelines, of one of these versions; any will do if there are none.

    The base image's own, or another in it, else one that is installed into the environment.
    """
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not versions or own in versions:
        return sys.executable
    for version in versions:
        find = [str(UV), "python", "find", "--no-project", "--system", version]
        settings = {**os.environ, **_SETTINGS}
        done = subprocess.run(find, capture_output=True, text=True, check=False, env=settings)
        if done.returncode == 0:
            return done.stdout.strip()
    print(
        f"installing Python {versions[0]} for the pipelines, since the image has {own}", flush=True
    )
    into = PIPELINES / "python"
    _run([str(UV), "python", "install", "--no-bin", "--install-dir", str(into), versions[0]])
    return str(next(into.glob(f"cpython-{versions[0]}.*/bin/python3")))


def get_micromamba(source: str) -> Path:
    """Download micromamba and check its hash.

    ``source`` is another address of the same program, or of another version, with its hash after
    ``#sha256=``; "" for micromamba's own releases.
    """
    processor = "aarch64" if platform.machine() in ("aarch64", "arm64") else "64"
    url, _, expected = source.partition("#sha256=")
    url, expected = url or MICROMAMBA + processor, expected or MICROMAMBA_SHA256[processor]
    print(f"downloading micromamba from {url}", flush=True)
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            content = answer.read()
    except (OSError, ValueError) as error:
        raise Failed(f"micromamba cannot be downloaded from {url}: {error}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != expected.lower():
        raise Failed(f"{url} has the SHA-256 {found}, and not {expected}: it is another file")
    program = HERE / "micromamba"
    program.write_bytes(content)
    program.chmod(0o755)
    return program


def make_conda(micromamba: Path) -> None:
    """The environment by micromamba; its activation is kept in a script that starts its Python."""
    channels = ["--channel", "conda-forge", "--channel", "arm-doe"]
    specification = ["--file", str(HERE / "conda.yml")]
    at = ["--yes", "--prefix", str(PIPELINES)]
    _run([str(micromamba), "create", *at, *channels, *specification])
    run = [str(micromamba), "run", "--prefix", str(PIPELINES), "env", "-0"]
    output = subprocess.run(run, stdout=subprocess.PIPE, check=True).stdout
    variables = output.decode("utf-8", "replace").split("\0")
    active = dict(line.split("=", 1) for line in variables if "=" in line)
    lines = [
        "#!/bin/sh",
        "# The environment's Python, as conda activates it.",
        "unset LD_LIBRARY_PATH",
    ]
    lines += [
        f"export {name}={shlex.quote(value)}"
        for name, value in sorted(active.items())
        if name not in _NOT_OF_THE_ENVIRONMENT and os.environ.get(name) != value
    ]
    start = PIPELINES / "bin" / "worker-python"
    start.write_text("\n".join([*lines, f'exec {PIPELINES}/bin/python "$@"', ""]), "utf-8")
    start.chmod(0o755)
    for name in ("include", "share/doc", "share/man", "share/info", "lib/cmake"):
        shutil.rmtree(PIPELINES / name, ignore_errors=True)


def make_handler() -> None:
    """The packages of the function's own process, separate from the pipelines', so that versions
    cannot conflict."""
    command = [str(UV), "pip", "install", "--python", sys.executable, "--target", str(HANDLER)]
    _run([*command, "--require-hashes", "-r", str(HERE / "handler.txt")])
    for path in (HANDLER / "botocore" / "data").iterdir():
        if path.is_dir() and path.name not in SERVICES:
            shutil.rmtree(path)
    strip(HANDLER)
    compile_with(Path(sys.executable), [HANDLER], quiet=True)
    # The interpreter that the function runs with, by a name that is the same in every image.
    (HANDLER / "bin").mkdir(exist_ok=True)
    (HANDLER / "bin" / "python").symlink_to(sys.executable)
    tidy([HANDLER])


def make_code(folders: Sequence[Path]) -> None:
    """Compile code for both interpreters; a file with an error is reported and kept."""
    for python in (PIPELINES / "bin" / "python", HANDLER / "bin" / "python"):
        compile_with(python, folders)
    tidy(folders)


def compile_with(python: Path, folders: Iterable[Path], *, quiet: bool = False) -> None:
    """Compile for that interpreter; ``quiet`` for packages, which have files for other versions."""
    command = [str(python), str(Path(__file__).resolve()), "quietly" if quiet else "compile"]
    subprocess.run([*command, *map(str, folders)], check=True)


def compile_here(folders: Iterable[Path], *, quiet: bool = False) -> None:
    """Compile for this interpreter; the byte code is used whatever the time of a file is."""
    for folder in folders:
        compileall.compile_dir(
            str(folder),
            quiet=2 if quiet else 1,
            force=True,
            workers=0,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def check(python: Path, package: str) -> None:
    """Check that the environment can run the pipelines, before a function fails."""
    script = (
        "import importlib.metadata as m, platform, sys\n"
        "print(platform.python_version())\n"
        f"print(m.version({package!r}))\n"
        f"import {package.replace('-', '_')}\n"
    )
    command = [str(python), "-c", script]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = done.stdout.splitlines()
    version = lines[0] if lines else "?"
    if version[:1].isdigit() and tuple(map(int, version.split(".")[:2])) < OLDEST:
        raise Failed(f"the environment has Python {version}; pipelines need 3.8 or newer")
    if done.returncode:
        if "PackageNotFoundError" in done.stdout:
            raise Failed(f"{package} is not among the requirements")
        why = lines[-1] if lines else "it gives no reason"
        raise Failed(f"{package} cannot be imported: {why}")
    print(f"Python {version}, {package} {lines[1]}", flush=True)


def strip(packages: Path) -> None:
    """Remove what no run needs: packages' own tests, and files for compilers."""
    freed = 0
    for package in sorted(path for path in packages.iterdir() if path.is_dir()):
        tests = [path for path in package.rglob("tests") if path.is_dir()]
        if tests and not _uses_its_tests(package):
            for path in tests:
                freed += _size(path)
                shutil.rmtree(path, ignore_errors=True)  # it may lie in another
        for path in package.rglob("*"):
            if path.suffix in _HEADERS and path.is_file():
                freed += path.lstat().st_size
                path.unlink()
    print(f"removed {freed / 1e6:.0f} MB of tests and headers", flush=True)


def _uses_its_tests(package: Path) -> bool:
    """Whether code outside a package's tests imports from them."""
    return any(
        "tests" not in path.relative_to(package).parts
        and _IMPORTS_TESTS.search(path.read_text("utf-8", "replace"))
        for path in package.rglob("*.py")
    )


def bake_fonts(python: Path) -> None:
    """Have matplotlib look for fonts now, which takes seconds, and not in each new function."""
    environment = {**os.environ, "MPLCONFIGDIR": str(PIPELINES / "matplotlib")}
    find = "import importlib.util as u, sys; sys.exit(u.find_spec('matplotlib') is None)"
    if subprocess.run([str(python), "-c", find], check=False).returncode == 0:
        _run([str(python), "-c", "import matplotlib.font_manager"], environment)


def tidy(folders: Iterable[Path]) -> None:
    """One time for all files, and everyone may read them: functions do not run as root."""
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            if not path.is_symlink():
                mode = path.stat().st_mode
                readable = 0o755 if path.is_dir() or mode & 0o100 else 0o644
                path.chmod(readable)
            os.utime(path, (WHEN, WHEN), follow_symlinks=False)


def _site_packages(python: Path) -> Path:
    script = "import sysconfig; print(sysconfig.get_paths()['platlib'])"
    done = subprocess.run(
        [str(python), "-c", script], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(done.stdout.strip())


def _install(command: Sequence[str]) -> None:
    """Install packages; where one has to be built, get the tools for that and try once more."""
    try:
        _run(command)
    except Failed as error:
        if not _TOOLS_MISSING.search(error.output) or not _get_tools():
            raise
        _run(command)


def _get_tools() -> bool:
    """Install git and compilers into this stage, of which only the packages are kept."""
    for name, arguments in _INSTALLERS.items():
        installer = shutil.which(name)
        if installer is not None:
            print("a package has to be built: installing git and compilers for that", flush=True)
            if name == "apt-get":
                subprocess.run([installer, "update", "-q"], check=False)
            return subprocess.run([installer, *arguments], check=False).returncode == 0
    return False


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command, and print its output; raises Failed with it."""
    output: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**(environment or os.environ), **_SETTINGS},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            output.append(line)
    if process.returncode:
        name = " ".join([Path(command[0]).name, *command[1:2]])
        raise Failed(f"{name} failed", "".join(output))


_SETTINGS = {
    "UV_PYTHON_DOWNLOADS": "manual",
    "UV_NO_PROGRESS": "1",
    "UV_LINK_MODE": "copy",
    "UV_CACHE_DIR": "/root/.cache/uv",
    "NO_COLOR": "1",
    "MAMBA_ROOT_PREFIX": "/root/.cache/micromamba",
}


def _list(value: object) -> Iterator[object]:
    return iter(value) if isinstance(value, list) else iter(())


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
