"""Each command that the documents show exists, and each line of the guide is run or says why not.

They are run in tests/life/test_deploy_guide.py, on the emulator.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from shown import GUIDE, MARKS, ROOT, TEMPLATES, console, fault, inline, messages, scripts

from tidegate.config import read

DOCUMENTS = [ROOT / "README.md", TEMPLATES / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = [
    path
    for path in sorted((ROOT / "src" / "tidegate").rglob("*.py"))
    if "`tidegate " in path.read_text("utf-8")
]
WITHOUT_TESTS = {
    # What an emulator cannot do, or a test should not.
    "needs an account": r"aws (configure|sso) |git push |export AWS_PROFILE=",
    "needs Docker": r"docker |mkdir -p ~/\.aws$|echo \"USER_ID=",
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_commands_that_are_shown_exist(document: Path):
    whole = [line for line in (*console(document), *scripts(document)) if line.ours]
    faults = {line.command: fault(line.words, whole=True) for line in whole}
    faults |= {line.command: fault(line.words, whole=False) for line in inline(document)}
    faults = {command: said for command, said in faults.items() if said}
    # What a template is filled in with stands in for a word.
    assert not faults, faults


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_the_commands_that_messages_name_exist(module: Path):
    faults = {line.command: fault(line.words, whole=False) for line in messages(module)}
    faults = {command: said for command, said in faults.items() if said}
    assert not faults, faults


def test_each_line_of_the_guide_is_run_or_says_why_not():
    lines = [*console(GUIDE)]
    assert {line.mark for line in lines} == {"", *MARKS}
    for line in lines:
        if line.mark:
            assert re.match(WITHOUT_TESTS[line.mark], line.command), (
                f"{line.command} could be run by a test"
            )


def test_the_guide_has_every_command_of_a_deployment():
    shown = {" ".join(line.words[1:2]) for line in (*console(GUIDE), *inline(GUIDE)) if line.ours}
    assert shown >= {
        *("new", "check", "doctor", "bootstrap", "plan", "deploy", "status", "logs", "runs"),
        *("products", "show", "retry", "reprocess", "releases", "rollback", "destroy"),
    }


def test_what_the_guide_shows_of_files_is_good(tmp_path: Path):
    blocks = re.findall(r"```(\w+)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    documents = [yaml.safe_load(text) for language, text in blocks if language == "yaml"]
    (config,) = [d for d in documents if "pipelines" in d]
    (branches,) = [d for d in documents if "branches" in d]
    file = tmp_path / "pipelines_config.yml"
    file.write_text(yaml.safe_dump({**config, **branches}))
    assert read(file, files=False).problems == ()
