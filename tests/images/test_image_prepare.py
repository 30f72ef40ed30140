"""What is done to an environment while an image is built."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from images_samples import write

from tidegate.deploy.images.context import prepare

NAME = f"cpython-{sys.version_info.major}{sys.version_info.minor}"


def test_tests_and_headers_go_where_nothing_needs_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        tmp_path,
        {
            "one/__init__.py": "from one import core  # tests are apart\n",
            "one/tests/__init__.py": "from one.tests import helper\n",
            "one/core/tests/test_a.py": "from one import tests\n",
            "one/core/tests/tests/x.py": "",
            "one/include/a.h": "x" * 2_000_000,
            "one/fast.pyx": "",
            "one/fast.pyi": "",
            "two/__init__.py": "from .tests import helper\n",
            "two/tests/helper.py": "",
            "two/tests/helper.h": "",
            "three/testing/__init__.py": "",
            "single.py": "",
        },
    )
    prepare.strip(tmp_path)
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {
        "one/__init__.py",
        "one/fast.pyi",
        "two/__init__.py",
        "two/tests/helper.py",
        "three/testing/__init__.py",
        "single.py",
    }
    assert capsys.readouterr().out == "removed 2 MB of tests and headers\n"


def test_micromamba_is_the_file_with_that_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "HERE", tmp_path)
    there = tmp_path / "mirror"
    there.write_bytes(b"#!/bin/sh\n")
    hash = hashlib.sha256(there.read_bytes()).hexdigest()
    for wrong in (there.as_uri(), f"{there.as_uri()}#sha256={'0' * 64}"):
        with pytest.raises(prepare.Failed, match=hash):
            prepare.get_micromamba(wrong)
    with pytest.raises(prepare.Failed, match="cannot be downloaded"):
        prepare.get_micromamba((tmp_path / "none").as_uri())
    assert not (tmp_path / "micromamba").exists()
    made = prepare.get_micromamba(f"{there.as_uri()}#sha256={hash.upper()}")
    assert os.access(made, os.X_OK)
    monkeypatch.setattr(prepare, "MICROMAMBA_SHA256", {"64": hash, "aarch64": hash})
    assert prepare.get_micromamba(there.as_uri()) == made, "a mirror of the same file"


@pytest.mark.functional
def test_code_is_compiled_and_a_broken_file_does_not_matter(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"good.py": "x = 1\n", "bad.py": "print 'two'\n", "a/deep.py": ""})
    prepare.compile_here([tmp_path])
    assert "bad.py" in capfd.readouterr().out
    prepare.compile_here([tmp_path], quiet=True)
    assert capfd.readouterr().out == ""
    compiled = {p.name for p in tmp_path.rglob("*.pyc")}
    assert compiled == {f"good.{NAME}.pyc", f"deep.{NAME}.pyc"}
    # The time of a file in an image is not the one that it was compiled with.
    prepare.tidy([tmp_path])
    os.utime(tmp_path / "good.py", (1, 1))
    (tmp_path / "good.py").write_text("x = 2\n")
    script = "import good; print(good.x)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=tmp_path)
    assert done.stdout == b"1\n", "the byte code counts, and the file is not looked at"
    assert next(tmp_path.rglob("good*.pyc")).read_bytes()[:4] == importlib.util.MAGIC_NUMBER


def test_everyone_may_read_all(tmp_path: Path) -> None:
    write(tmp_path, {"a/b": "", "a/run": ""})
    (tmp_path / "a/b").chmod(0o600)
    (tmp_path / "a/run").chmod(0o700)
    (tmp_path / "a/link").symlink_to("nowhere")
    (tmp_path / "a").chmod(0o700)
    prepare.tidy([tmp_path])
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/run")}
    assert modes == {"a": 0o755, "a/b": 0o644, "a/run": 0o755}
    assert {path.lstat().st_mtime for path in tmp_path.rglob("*")} == {prepare.WHEN}


TRIES = """
import sys
from pathlib import Path
tries = Path("tries")
n = len(tries.read_text()) if tries.exists() else 0
tries.write_text("x" * (n + 1))
if not Path("gcc").exists():
    print({says!r})
    sys.exit(1)
"""


@pytest.mark.functional
@pytest.mark.parametrize(
    ("says", "tries"),
    [
        ("error: command 'gcc' failed: No such file or directory", 2),
        ("error: Git executable not found. Ensure that Git is installed", 2),
        ("  × Failed to build `ciso8601==2.3.1`", 2),
        ("  × No solution found when resolving dependencies:", 1),
    ],
)
def test_tools_to_build_packages_are_got_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, tries: int
) -> None:
    monkeypatch.chdir(tmp_path)
    installer = tmp_path / "bin" / "microdnf"
    write(tmp_path, {"bin/microdnf": '#!/bin/sh\nPATH=/usr/bin:/bin\necho "$@" > gcc\n'})
    installer.chmod(0o755)
    monkeypatch.setenv("PATH", str(installer.parent))
    command = [sys.executable, "-c", TRIES.format(says=says)]
    if tries == 1:
        with pytest.raises(prepare.Failed):
            prepare._install(command)
        assert not Path("gcc").exists()
    else:
        prepare._install(command)
        assert "gcc-c++" in Path("gcc").read_text()
    assert len(Path("tries").read_text()) == tries


UV = """\
#!/bin/sh
case "$1 $2" in
"python find") [ "$5" = 3.7 ] && echo /in/the/base/python3.7 ;;
"python install") mkdir -p "$5/cpython-$6.20-x/bin" && touch "$5/cpython-$6.20-x/bin/python3" ;;
esac
"""


@pytest.mark.functional
def test_the_pipelines_may_have_another_python_than_the_base_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"uv": UV})
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setattr(prepare, "UV", tmp_path / "uv")
    monkeypatch.setattr(prepare, "PIPELINES", tmp_path / "pipelines")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert prepare.find_python([]) == prepare.find_python(["3.8", own]) == sys.executable
    assert prepare.find_python(["3.9", "3.7"]) == "/in/the/base/python3.7"
    installed = tmp_path / "pipelines/python/cpython-3.8.20-x/bin/python3"
    assert prepare.find_python(["3.8"]) == str(installed)


@pytest.mark.functional
def test_an_environment_that_cannot_run_pipelines_fails_the_build(
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = Path(sys.executable)
    prepare.check(here, "packaging")
    assert capsys.readouterr().out.startswith(f"Python {sys.version.split()[0]}, packaging 2")
    with pytest.raises(prepare.Failed, match="nonsense is not among the requirements"):
        prepare.check(here, "nonsense")
    with pytest.raises(prepare.Failed, match="cannot be imported: ModuleNotFoundError"):
        prepare.check(here, "types-PyYAML")


def test_steps_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare.main(["nonsense"]) == 1
    assert "pipelines, handler, or code" in capsys.readouterr().out
