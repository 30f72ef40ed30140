"""The files of a deployment repository: each is what its own tool takes, and nothing is lost."""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml
from test_deployment_answers import OLDER

from tidegate.config import aws_problems, config_files, read
from tidegate.config.schema import COMMITTED, schema
from tidegate.errors import ConfigurationError, UsageError
from tidegate.scaffold.deployment import Answers, gather, plan
from tidegate.scaffold.deployment.files import CDK_CLI
from tidegate.workspace.discovery import Discovered

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "pipelines"
BIN = Path(sys.executable).parent
GIVEN = {
    "github_org": "tsdat",
    "account_id": "012345678901",
    "region": "us-east-2",
    "github_codestar_arn": "arn:aws:codeconnections:us-east-2:012345678901:connection/5b0a-11",
}


def made(folder: Path, **more: object) -> Path:
    """A deployment repository for the example's pipelines."""
    plan(folder, gather(folder, GIVEN, source=EXAMPLE, **more)).write()  # type: ignore[arg-type]
    return folder


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    return made(tmp_path / "my-deployment")


# --- the config


def test_the_config_is_whole_and_good(deployment):
    reading = read(deployment / "pipelines_config.yml")
    assert reading.problems == ()
    assert reading.repository is not None
    assert reading.repository.resolve() == EXAMPLE
    keys, problems = aws_problems(reading, "main", codepipeline=True)
    assert problems == ()
    assert keys.model_dump(exclude_none=True) == {
        **GIVEN,
        "pipelines_repo_name": "pipelines",
        "aws_repo_name": "my-deployment",
        "input_bucket_name": "pipelines-input-012345678901",
        "output_bucket_name": "pipelines-output-012345678901",
        "create_buckets": True,
    }
    config = reading.require()
    assert [(p.name, p.type, p.trigger, p.schedule) for p in config.pipelines] == [
        ("lidar", "Ingest", "S3", None),
        ("lidar_vap", "VAP", "Cron", "Daily"),
    ]
    files = {f.relative_to(EXAMPLE).as_posix() for f in EXAMPLE.glob("pipelines/*/config/pipe*")}
    assert set(config_files(config)) == files
    assert config.pipelines[0].configs["morro"].input_bucket_path == "lidar/morro/"


@pytest.mark.parametrize("given", [GIVEN, {}])
def test_the_config_fits_the_schema_that_lies_beside_it(tmp_path, given):
    plan(tmp_path, gather(tmp_path, given)).write()
    text = (tmp_path / "pipelines_config.yml").read_text()
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)[1]
    beside = json.loads((tmp_path / named).read_text())
    assert beside == schema()
    # As an editor reads it: plain YAML 1.2 types, not Tidegate's own reading.
    jsonschema.validate(yaml.safe_load(text), beside)


def test_the_schema_is_the_one_that_is_documented(deployment):
    assert (deployment / "pipelines_config.schema.json").read_bytes() == COMMITTED.read_bytes()


def test_what_is_not_known_is_a_comment_that_needs_but_its_mark_taken_away(tmp_path):
    files = plan(tmp_path, gather(tmp_path, {}))
    files.write()
    file = tmp_path / "pipelines_config.yml"
    assert read(file, files=False).problems == ()
    _, problems = aws_problems(read(file, files=False), "main", codepipeline=True)
    told = {re.search(r"'(\w+)' is needed", problem.what)[1] for problem in problems}
    assert told == set(files.answers.missing)
    text = file.read_text()
    for key in files.answers.missing:
        assert text.count(f"\n# {key}: ") == 1
        text = text.replace(f"\n# {key}: ", f"\n{key}: ")
    file.write_text(text)
    assert aws_problems(read(file, files=False), "main", codepipeline=True)[1] == ()


def test_the_comments_are_true(deployment):
    """What is shown commented out can be used as it stands."""
    file = deployment / "pipelines_config.yml"
    text = file.read_text()
    shown = re.findall(r"(?m)^# ((?:branches|defaults):\n(?:#   .*\n)+)", text)
    assert len(shown) == 2
    lines = "".join(block.replace("\n# ", "\n") for block in shown)
    file.write_text(lines + text)
    model = read(file).require()
    assert model.branches["dev"].output_bucket_name == "my-dev-output"
    assert model.defaults.timeout == 600


def test_odd_names_survive_yaml(tmp_path):
    configs = {"no": "pipelines/a b/config/pipeline: 1 #.yaml", "007": "pipelines/é/pipeline.yaml"}
    answers = Answers({}, pipelines=(Discovered("yes", "Ingest", configs),))
    plan(tmp_path, answers).write()
    text = (tmp_path / "pipelines_config.yml").read_text("utf-8")
    (pipeline,) = read(tmp_path / "pipelines_config.yml", files=False).require().pipelines
    assert {name: entry.config_file_path for name, entry in pipeline.configs.items()} == configs
    assert pipeline.name == "yes"
    jsonschema.validate(yaml.safe_load(text), schema())


def test_a_config_that_would_be_none_is_not_written(tmp_path):
    # `a-b/c` and `a/b-c` would be one function.
    pipelines = (
        Discovered("a-b", "VAP", {"c": "x.yaml"}),
        Discovered("a", "VAP", {"b-c": "y.yaml"}),
    )
    with pytest.raises(ConfigurationError, match="the same name in AWS"):
        plan(tmp_path / "new", Answers({}, pipelines=pipelines))
    assert not (tmp_path / "new").exists()


# --- the other files, by their own tools


def run(*command: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [*map(str, command)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )


@pytest.mark.functional
def test_the_scripts_are_clean_and_can_be_run(deployment):
    scripts = sorted(deployment.glob("*.sh"))
    assert [script.name for script in scripts] == ["bootstrap_cdk.sh", "deploy_stack.sh"]
    assert all(os.access(script, os.X_OK) for script in scripts)
    done = run(BIN / "shellcheck", *scripts)
    assert done.returncode == 0, done.stdout


@pytest.mark.functional
def test_deploy_stack_asks_for_a_branch(deployment, tmp_path):
    done = run(deployment / "deploy_stack.sh", folder=tmp_path)
    assert done.returncode == 2
    assert "deploy_stack.sh BRANCH" in done.stderr


@pytest.mark.functional
@pytest.mark.parametrize(
    ("script", "arguments", "command"),
    [
        ("deploy_stack.sh", ("main", "--help"), "tidegate deploy"),
        ("bootstrap_cdk.sh", ("dev", "--help"), "tidegate bootstrap"),
    ],
)
def test_the_scripts_are_short_for_commands(deployment, tmp_path, script, arguments, command):
    done = run(deployment / script, *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"Usage: {command} " in done.stdout


@pytest.mark.functional
def test_a_script_works_where_it_lies(deployment, tmp_path):
    """The config beside it is the one that counts, wherever it is called from."""
    config = deployment / "pipelines_config.yml"
    config.write_text(config.read_text().replace("region: us-east-2", "# region: us-east-2"))
    done = run(deployment / "bootstrap_cdk.sh", folder=tmp_path)
    assert done.returncode == 2
    assert "'region' is needed to deploy to AWS" in done.stderr


@pytest.mark.functional
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (".github/workflows/deploy.yml", "vendor.github-workflows"),
        ("compose.yml", "vendor.compose-spec"),
    ],
)
@pytest.mark.parametrize("given", [GIVEN, {}])
def test_the_workflow_and_the_compose_file_fit_their_schemas(tmp_path, name, kind, given):
    plan(tmp_path, gather(tmp_path, given)).write()
    done = run(BIN / "check-jsonschema", "--builtin-schema", kind, tmp_path / name)
    assert done.returncode == 0, done.stdout


@pytest.mark.functional
def test_the_scripts_in_the_workflow_are_clean(deployment):
    workflow = yaml.safe_load((deployment / ".github/workflows/deploy.yml").read_text())
    steps = workflow["jobs"]["deploy"]["steps"]
    scripts = [step["run"] for step in steps if "run" in step]
    assert len(scripts) == 2
    for script in scripts:
        assert "${{" not in script, "what GitHub fills in could hold anything"
        done = subprocess.run(
            [BIN / "shellcheck", "--shell=bash", "-"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    checkout = steps[1]["with"]
    assert (checkout["repository"], checkout["ref"]) == ("tsdat/pipelines", "main")


def test_the_json_files(deployment):
    workspace = json.loads((deployment / "tidegate.code-workspace").read_text())
    container = json.loads((deployment / ".devcontainer" / "devcontainer.json").read_text())
    compose = yaml.safe_load((deployment / "compose.yml").read_text())
    assert json.loads((deployment / "package.json").read_text())["devDependencies"] == {
        "aws-cdk": CDK_CLI
    }
    assert json.loads((deployment / "cdk.json").read_text())["context"] == {"branch": "main"}
    assert container["service"] in compose["services"]
    assert (deployment / ".devcontainer" / container["dockerComposeFile"]).resolve().is_file()
    assert container["workspaceFolder"] == compose["services"]["tidegate-cdk"]["working_dir"]
    vscode = container["customizations"]["vscode"]
    assert vscode["extensions"] == workspace["extensions"]["recommendations"]
    assert vscode["settings"] == workspace["settings"]
    ((schema_file, config),) = workspace["settings"]["yaml.schemas"].items()
    assert (deployment / schema_file).is_file()
    assert (deployment / config).is_file()
    *own, profiles = workspace["folders"]
    assert all((deployment / folder["path"]).is_dir() for folder in own)
    assert len(own) == 2
    mounted = [volume.split(":") for volume in compose["services"]["tidegate-cdk"]["volumes"]]
    assert ["${HOME}/.aws", profiles["path"]] in mounted


def test_lines_end_as_on_linux_in_a_checkout_as_on_windows(deployment, git, tmp_path):
    git(deployment, "init", "--quiet")
    git(deployment, "add", "--all")
    git(deployment, "commit", "--quiet", "--message", "All")
    windows = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    git(tmp_path, *windows, "clone", "--quiet", str(deployment), "windows")
    files = [path for path in (tmp_path / "windows").rglob("*") if path.is_file()]
    ours = [path for path in files if ".git" not in path.parts]
    assert len(ours) == len(plan(deployment, gather(deployment, {})).files)
    wheels = [path for path in ours if path.suffix == ".whl"]
    assert not [path for path in ours if path not in wheels and b"\r" in path.read_bytes()]
    (wheel,) = wheels
    assert wheel.read_bytes() == (deployment / wheel.name).read_bytes()


def test_git_ignores_what_is_no_source(deployment, git):
    git(deployment, "init", "--quiet")
    for name in ("cdk.out", "node_modules", ".tidegate", "input", "output"):
        (deployment / name).mkdir()
        (deployment / name / "file").touch()
    (deployment / "credentials").touch()
    (deployment / "README.md.old").touch()
    git(deployment, "add", "--all")
    listed = set(git(deployment, "ls-files").split())
    assert listed == {file.path for file in plan(deployment, gather(deployment, {})).files}


def test_every_template_is_filled_in(deployment):
    for path in deployment.rglob("*"):
        if path.is_file() and path.suffix != ".whl":
            assert b"@@" not in path.read_bytes(), path


@pytest.mark.functional
def test_the_wheel_brings_the_templates_along(tmp_path):
    """Built from a copy: a build leaves traces in the sources otherwise."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("src", "examples", "docs"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    build = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = run(sys.executable, "-c", build, tmp_path, folder=source)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        names = set(wheel.namelist())
    here = ROOT / "src" / "tidegate" / "scaffold" / "deployment" / "templates"
    assert {
        f"tidegate/scaffold/deployment/templates/{path.name}"
        for path in here.iterdir()
        if path.is_file()
    } <= names


# --- writing


def actions(folder: Path, answers: Answers, *, force: bool = False) -> dict[str, str]:
    return {file.path: file.action for file in plan(folder, answers).write(force=force)}


def test_said_twice_it_changes_nothing(deployment):
    before = {path: path.read_bytes() for path in deployment.rglob("*") if path.is_file()}
    again = actions(deployment, gather(deployment, GIVEN, source=EXAMPLE))
    assert set(again.values()) == {"as it is"}
    assert {path: path.read_bytes() for path in deployment.rglob("*") if path.is_file()} == before


def test_nothing_that_is_there_is_overwritten(deployment):
    answers = gather(deployment, GIVEN, source=EXAMPLE)
    readme = deployment / "README.md"
    readme.write_text("ours\n")
    (deployment / "compose.yml").unlink()
    kept = actions(deployment, answers)
    assert kept["README.md"] == "kept"
    assert kept["compose.yml"] == "written"
    assert readme.read_text() == "ours\n"
    forced = actions(deployment, answers, force=True)
    assert forced["README.md"] == "replaced"
    assert set(forced.values()) == {"replaced", "as it is"}
    assert readme.read_text() != "ours\n"
    assert (deployment / "README.md.old").read_text() == "ours\n"


def test_windows_line_ends_are_no_difference(deployment):
    file = deployment / "README.md"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert actions(deployment, gather(deployment, GIVEN, source=EXAMPLE))["README.md"] == "as it is"


def test_an_older_deployment_repository_keeps_its_config(tmp_path):
    """It works as it is; the other files take their names from it."""
    config = tmp_path / "pipelines_config.yml"
    config.write_text(OLDER)
    done = actions(tmp_path, gather(tmp_path, {}))
    assert done.pop("pipelines_config.yml") == "kept"
    assert set(done.values()) == {"written"}
    assert config.read_text() == OLDER
    reading = read(config, files=False)
    assert aws_problems(reading, "main", codepipeline=True)[1] == ()
    jsonschema.validate(yaml.safe_load(OLDER), schema())
    workflow = (tmp_path / ".github/workflows/deploy.yml").read_text()
    assert '"a2edap/ingest-buoy"' in workflow
    assert 'aws-region: "us-east-2"' in workflow


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        plan(tmp_path / "file", Answers({}))


def test_a_folder_where_a_file_should_be(tmp_path):
    (tmp_path / "README.md").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        plan(tmp_path, Answers({}))


@pytest.mark.functional
def test_a_wheel_is_put_beside_its_requirement(tmp_path):
    wheel = tmp_path / "tidegate-9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "tidegate-9.9.dist-info/METADATA",
            "Metadata-Version: 2.4\nName: tidegate\nVersion: 9.9\nProvides-Extra: aws\n"
            "Provides-Extra: deploy\n",
        )
        archive.writestr("tidegate-9.9.dist-info/RECORD", "")
        archive.writestr(
            "tidegate-9.9.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
    folder = made(tmp_path / "d", tidegate=str(wheel))
    assert (folder / wheel.name).read_bytes() == wheel.read_bytes()
    # uv finds it there, as the container and the workflow do.
    command = ("pip", "compile", "--quiet", "--no-header", "--no-annotate", "requirements.txt")
    done = run(BIN / "uv", *command, folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tidegate[aws,deploy]") or "./tidegate-9.9" in done.stdout


def test_compiled_templates_are_no_templates(tmp_path):
    """Installers compile all Python files, those among the templates too."""
    templates = ROOT / "src" / "tidegate" / "scaffold" / "deployment" / "templates"
    compileall.compile_dir(templates, quiet=1)
    assert (templates / "__pycache__").is_dir()
    assert plan(tmp_path / "new", Answers({})).files
