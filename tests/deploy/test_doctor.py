"""The examination: each finding says what is, and what to do about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from answering_server import answering
from release_samples import ACCOUNT, KEYS, REGION, ingest, plan_of, several, vap

pytest.importorskip("boto3")

from ministack_process import CREDENTIALS, MiniStack, ministack

from tidegate.deploy.bootstrap.identity_provider import create_provider
from tidegate.deploy.core.place import Place
from tidegate.deploy.doctor import account, github, limits, new_account, this_machine
from tidegate.deploy.doctor.finding import Finding
from tidegate.runtime.manifest import Manifest
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.names import Names

PLACE = Place(ACCOUNT, REGION)
NAMES = Names("waves", "main")
NOW = datetime.now(timezone.utc)
NEW = "arn:aws:codeconnections:us-west-2:123456789012:connection/5b0a2f7c-33a2-4c8f-9d4e-0f7c1f0e"
OLD = NEW.replace("codeconnections", "codestar-connections")
CONFIG = """
pipelines_repo_name: waves
account_id: "000000000000"
region: us-west-2
input_bucket_name: waves-raw
output_bucket_name: waves-products
pipelines:
- name: buoy
  type: Ingest
  trigger: S3
  configs:
    morro:
      input_bucket_path: buoy/morro/
      config_file_path: pipelines/buoy/config/pipeline.yaml
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)


@pytest.fixture
def signed_in(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def states(found: list[Finding]) -> dict[str, str]:
    return {finding.about: finding.state for finding in found}


# Credentials.


def test_no_credentials() -> None:
    caller, [finding] = account.credentials(Clients(region=REGION))
    assert caller is None
    assert finding.state == "problem"
    assert "aws configure" in finding.next


def test_single_sign_on_is_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(
        "[profile field]\nsso_session = org\nsso_account_id = 123456789012\nsso_role_name = Admin\n"
        "[sso-session org]\nsso_region = us-west-2\nsso_start_url = https://org.example/start\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    caller, [finding] = account.credentials(Clients(profile="field", region=REGION))
    assert caller is None
    assert finding.state == "problem"
    assert "have expired, or are not available" in finding.what
    assert finding.next == "`aws sso login --profile field`"


def test_no_such_profile() -> None:
    _, [finding] = account.credentials(Clients(profile="none", region=REGION))
    assert (finding.state, "--profile" in finding.next) == ("problem", True)


def test_credentials_that_have_expired(signed_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (NOW - timedelta(hours=1)).isoformat())
    caller, [finding] = account.credentials(Clients(region=REGION))
    assert caller is None
    assert finding.state == "problem"
    assert "expired" in finding.what


def test_credentials_that_are_refused(signed_in: None) -> None:
    with answering() as server:
        clients = Clients(region=REGION, endpoint=server.endpoint)
        caller, [finding] = account.credentials(clients)
    assert caller is None
    assert finding.state == "problem"


def test_something_answers_that_is_not_aws(signed_in: None) -> None:
    with answering(page="<html>Welcome to the hotel<br></html>", status=200) as server:
        caller, [finding] = account.credentials(Clients(region=REGION, endpoint=server.endpoint))
    assert caller is None
    assert (finding.state, "that is not AWS" in finding.what) == ("problem", True)
    assert "proxies" in finding.next


@pytest.mark.parametrize(
    ("left", "state", "told"),
    [(timedelta(minutes=30), "warning", "may take longer"), (timedelta(hours=8), "ok", "until")],
)
def test_when_credentials_end(
    left: timedelta,
    state: str,
    told: str,
    aws: MiniStack,
    signed_in: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    role = {"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}
    clients = aws.clients()
    name = f"administrator-{state}"
    clients.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(role))
    given = clients.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::000000000000:role/{name}", RoleSessionName="someone"
    )["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", given["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", given["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", given["SessionToken"])
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (NOW + left).isoformat())
    caller, [finding] = account.credentials(aws.clients(), NOW)
    assert caller is not None
    assert (finding.state, told in finding.what) == (state, True)
    assert f"assumed-role/{name}/someone" in finding.what


def test_another_account_and_an_unknown_region() -> None:
    caller = account.Caller("arn:aws:iam::111122223333:user/someone", "111122223333")
    [finding] = account.account(caller, KEYS, "pipelines_config.yml:2")
    assert finding.state == "problem"
    assert "111122223333" in finding.what
    typo = KEYS.model_copy(update={"region": "us-wset-2"})
    [finding] = account.region(Clients(region=REGION), typo)
    assert (finding.state, "did you mean us-west-2?" in finding.next) == ("warning", True)


# Permissions.


def user_with(aws: MiniStack, name: str, actions: list[str]) -> account.Caller:
    client = aws.clients().client("iam")
    client.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
    return account.Caller(f"arn:aws:iam::000000000000:user/{name}", "000000000000")


@pytest.mark.slow
@pytest.mark.aws
def test_permissions_as_iam_simulates_them(aws: MiniStack, signed_in: None) -> None:
    keys = KEYS.model_copy(update={"github_codestar_arn": OLD})
    needs = account.needs(NAMES, PLACE, keys)
    everything = user_with(aws, "all", ["*"])
    [finding] = account.permissions(aws.clients(), everything, needs)
    assert finding.state == "ok"
    services = {action.split(":")[0] for need in needs for action in need.actions}
    assert "codestar-connections" in services
    some = user_with(aws, "some", [f"{s}:*" for s in services - {"dynamodb"}])
    [finding] = account.permissions(aws.clients(), some, needs)
    assert finding.state == "problem"
    assert "ledger: not allowed dynamodb:CreateTable" in finding.what
    assert "table/waves-main-ledger" in finding.next


def test_what_a_role_for_github_needs_is_looked_at() -> None:
    """All that ``create_provider`` calls if the provider exists and lacks GitHub's audience."""
    called: list[str] = []

    class Iam:
        def __getattr__(self, name: str) -> Any:
            called.append("iam:" + "".join(word.capitalize() for word in name.split("_")))
            return lambda **given: {"ClientIDList": []}

    class Fake:
        def client(self, name: str) -> Iam:
            return Iam()

    create_provider(Fake(), PLACE, account.GITHUB, "sts.amazonaws.com", print)  # type: ignore[arg-type]
    keys = KEYS.model_copy(update={"github_actions": True})
    [need] = [n for n in account.needs(NAMES, PLACE, keys) if n.what == "GitHub Actions"]
    assert {name.lower() for name in called} <= {action.lower() for action in need.actions}
    assert len(called) == 2
    assert not any(n.what == "GitHub Actions" for n in account.needs(NAMES, PLACE, KEYS))


def test_a_simulation_that_is_not_allowed(signed_in: None) -> None:
    caller = account.Caller(f"arn:aws:iam::{ACCOUNT}:user/someone", ACCOUNT)
    with answering() as server:
        clients = Clients(region=REGION, endpoint=server.endpoint)
        needs = account.needs(NAMES, PLACE, KEYS)
        [finding] = account.permissions(clients, caller, needs)
    assert finding.state == "unknown"
    assert "iam:SimulatePrincipalPolicy" in finding.next


# The connection.


@pytest.mark.parametrize("arn", [OLD, NEW])
@pytest.mark.parametrize(
    ("status", "state"),
    [("AVAILABLE", "ok"), ("PENDING", "problem"), ("ERROR", "problem"), ("", "unknown")],
)
def test_the_connection_is_asked_for_by_its_prefix(
    arn: str, status: str, state: str, signed_in: None
) -> None:
    service = "CodeStar_connections" if "codestar" in arn else "CodeConnections"
    answer = {
        "Connection": {"ConnectionName": "to-github", "ProviderType": "GitHub"}
        | ({"ConnectionStatus": status} if status else {})
    }
    with answering() as server:
        for prefix in (f"com.amazonaws.codestar.connections.{service}_20191201",
                       f"com.amazonaws.codeconnections.{service}_20231201"):  # fmt: skip
            server.answers[f"{prefix}.GetConnection"] = answer
        clients = Clients(region=REGION, endpoint=server.endpoint)
        [finding] = github.connection(clients, PLACE, arn)
    assert finding.state == state, (finding, server.asked)
    assert service.lower() in server.asked[0].lower()
    if status == "PENDING":
        assert "Update pending connection" in finding.next
        assert finding.link.startswith("https://us-west-2.console.aws.amazon.com/codesuite/")


def test_a_connection_that_cannot_be_looked_at(signed_in: None) -> None:
    with answering() as server:
        [finding] = github.connection(Clients(region=REGION, endpoint=server.endpoint), PLACE, NEW)
    assert finding.state == "unknown"
    assert "codeconnections:GetConnection" in finding.next


def test_a_connection_that_is_elsewhere(signed_in: None) -> None:
    with answering() as server:
        clients = Clients(region="eu-west-1", endpoint=server.endpoint)
        place = Place("999999999999", "eu-west-1")
        found = list(github.connection(clients, place, NEW))
    assert [finding.state for finding in found] == ["warning", "warning", "unknown"]


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1"])
def test_a_region_without_connections(region: str, signed_in: None) -> None:
    """The way without one is named, whether the config names one or not."""
    place = Place("123456789012", region)
    arn = f"arn:{place.partition}:codeconnections:{region}:123456789012:connection/5b0a2f7c"
    with answering() as server:
        clients = Clients(region=region, endpoint=server.endpoint)
        [without] = github.connection(clients, place, None)
        first, *_ = github.connection(clients, place, arn)
    assert (without.state, region in without.what, "--from" in without.what) == ("ok", True, True)
    assert (first.state, "--from" in first.next) == ("warning", True)
    assert clients.arn("s3", "b/k") == f"arn:{place.partition}:s3:::b/k"
    assert clients.arn("lambda", "function:f") == f"arn:{place.partition}:lambda:*:*:function:f"


def test_no_connection_and_a_wrong_one() -> None:
    clients = Clients(region=REGION)
    assert [f.state for f in github.connection(clients, PLACE, None)] == ["ok"]
    wrong = "arn:aws:codeconnections:us-west-2:123456789012:host/x"
    assert [f.state for f in github.connection(clients, PLACE, wrong)] == ["problem"]


# Quotas and names.


@pytest.mark.slow
@pytest.mark.aws
def test_quotas_that_suffice(aws: MiniStack, signed_in: None) -> None:
    clients, plan = aws.clients(), plan_of(*several())
    for quota in limits.QUOTAS:
        [finding] = limits.quota(clients, PLACE, plan, quota)
        assert (finding.state, "AWS's default" in finding.what) == ("ok", True)
    assert states(list(limits.roles(clients, PLACE, plan))) == {"quota: roles": "ok"}
    assert states(list(limits.concurrency(clients, PLACE, plan))) == {"quota: Lambda": "ok"}


@pytest.mark.slow
@pytest.mark.aws
def test_the_quota_that_aws_tells_is_taken(aws: MiniStack, signed_in: None) -> None:
    clients, plan = aws.clients(), plan_of(ingest())
    rules = next(quota for quota in limits.QUOTAS if quota.about == "rules")
    used = rules.used(clients, PLACE)
    with answering() as server:
        server.answers["ServiceQuotasV20190624.GetServiceQuota"] = {"Quota": {"Value": float(used)}}

        class Half(Clients):
            """Quotas from the server, all else from the emulator."""

            def client(self, service: str) -> Any:
                mine = Clients(region=REGION, endpoint=server.endpoint)
                return (
                    mine.client(service) if service == "service-quotas" else super().client(service)
                )

        half = Half(region=REGION, endpoint=aws.endpoint)
        [finding] = limits.quota(half, PLACE, plan, rules)
    assert finding.state == "problem"
    assert f"{used} of {used} are used" in finding.what
    assert finding.link.endswith("services/events/quotas?region=us-west-2")


@pytest.mark.slow
@pytest.mark.aws
def test_too_few_concurrent_executions(aws: MiniStack, signed_in: None) -> None:
    clients = aws.clients()
    limit = clients.client("lambda").get_account_settings()["AccountLimit"]
    most = limit["UnreservedConcurrentExecutions"]
    plan = plan_of(*(vap(f"s{n}", concurrency=1) for n in range(most - limits.LEAST + 1)))
    found = list(limits.concurrency(clients, PLACE, plan))
    assert found[0].state == "problem"
    assert "`concurrency: 2`" in found[0].next


@pytest.mark.parametrize(
    ("memory", "limit", "existing", "state"),
    [
        (1024, 10, 128, None),
        (4096, 10, 128, "warning"),
        (4096, 1000, 128, "ok"),
        (4096, 10, 5000, "ok"),  # another function has as much
    ],
)
def test_memory_in_new_accounts(
    memory: int, limit: int, existing: int, state: str | None, signed_in: None
) -> None:
    with answering() as server:
        server.answers["GET /2016-08-19/account-settings"] = {
            "AccountLimit": {"ConcurrentExecutions": limit}
        }
        server.answers["GET /2015-03-31/functions"] = {"Functions": [{"MemorySize": existing}]}
        clients = Clients(region=REGION, endpoint=server.endpoint)
        found = list(new_account.memory(clients, PLACE, plan_of(ingest(memory=memory))))
    assert [finding.state for finding in found] == ([state] if state else [])


@pytest.mark.parametrize(("value", "state"), [(0.0, "problem"), (1.0, "ok"), (None, "unknown")])
def test_builds_in_new_accounts(value: float | None, state: str, signed_in: None) -> None:
    quota = {"QuotaName": new_account.BUILDS, "Value": value}
    with answering() as server:
        server.answers["ServiceQuotasV20190624.ListServiceQuotas"] = {
            "Quotas": [
                {"QuotaName": "other", "Value": 0.0},
                *([quota] if value is not None else []),
            ]
        }
        clients = Clients(region=REGION, endpoint=server.endpoint)
        [finding] = new_account.builds(clients, PLACE)
    assert finding.state == state


def test_names_that_are_shortened() -> None:
    assert states(list(limits.check_names(NAMES, Manifest(several())))) == {"names": "ok"}
    long = Manifest((ingest("a" * 60),))
    functions, others = limits.check_names(NAMES, long)
    assert NAMES.function("buoy", "a" * 60) in functions.what
    assert "other names" in others.what


def test_what_cannot_run_on_aws_is_a_problem() -> None:
    plan, found = limits.check_plan(KEYS, Manifest((vap(schedule="0 3 */2 * MON"),)), "main")
    assert plan is None
    assert [finding.state for finding in found] == ["problem"]
    plan, found = limits.check_plan(KEYS, Manifest((ingest(concurrency=1),)), "main")
    assert plan is not None
    assert [finding.state for finding in found] == ["warning", "ok"]


# This machine.


def git(folder: Path, *arguments: str) -> None:
    identity = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        cwd=folder, env=os.environ | identity, check=True, capture_output=True,
    )  # fmt: skip


@pytest.mark.functional
def test_the_state_of_a_repository(tmp_path: Path) -> None:
    folder, origin = tmp_path / "here", tmp_path / "origin"
    folder.mkdir()

    def said() -> list[str]:
        found = list(this_machine.repository("repository", folder, "main"))
        return [f"{finding.state}: {finding.what}" for finding in found]

    assert "not in a git repository" in said()[0]
    git(folder, "init", "-q", "-b", "main")
    assert "has no commit yet" in said()[0]
    (folder / "a").write_text("1")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    assert "has no upstream branch" in said()[0]
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(origin))
    git(folder, "remote", "add", "origin", str(origin))
    git(folder, "push", "-q", "--set-upstream", "origin", "main")
    [fine] = said()
    assert fine.startswith("ok: ")
    (folder / "b c").write_text("1")
    assert said() == [f'warning: {folder} has changes that are not committed: "b c"']
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "second")
    assert said() == [f"warning: {folder} has 1 commits that origin/main has not"]
    git(folder, "switch", "-qc", "other")
    assert said() == [f"warning: {folder} is at other, not at the branch main"]


@pytest.mark.functional
def test_no_builder_and_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [finding] = this_machine.builders()
    assert (finding.state, "CodeBuild" in finding.next) == ("warning", True)
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho no engine >&2\nexit 1\n")
    docker.chmod(0o755)
    [finding] = this_machine.builders()
    assert (finding.state, "start Docker" in finding.next) == ("warning", True)
    docker.write_text('#!/bin/sh\ncase "$1" in info) echo 28.1;; *) exit 0;; esac\n')
    [finding] = this_machine.builders()
    assert (finding.state, finding.what) == ("ok", "Docker 28.1")


# The command.


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with ministack(tmp_path_factory.mktemp("doctor")) as running:
        yield running


def tidegate(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tidegate", "doctor", *arguments],
        cwd=folder, env=os.environ | environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.aws
def test_the_command(aws: MiniStack, signed_in: None, tmp_path: Path) -> None:
    (tmp_path / "pipelines_config.yml").write_text(CONFIG)
    done = tidegate(tmp_path, "--json", AWS_ENDPOINT_URL=aws.endpoint)
    told = json.loads(done.stdout)
    found = {finding["about"]: finding["state"] for finding in told["findings"]}
    assert (done.returncode, told["ok"]) == (1, False)
    assert found["account"] == found["region"] == found["config"] == found["names"] == "ok"
    assert found["deployment repository"] == "warning"
    assert {"permissions", "connection", "builder", "quota: Lambda"} <= set(found)
    assert found["input bucket"] == found["output bucket"] == "problem"
    creating = CONFIG.replace("region:", "create_buckets: true\nregion:")
    (tmp_path / "pipelines_config.yml").write_text(creating)
    plain = tidegate(tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    assert "no problems" in plain.stderr
    assert "ok\tinput bucket\twaves-raw" in plain.stdout
    (tmp_path / "pipelines_config.yml").write_text(creating.replace('"000000000000"', ACCOUNT))
    done = tidegate(tmp_path, AWS_ENDPOINT_URL=aws.endpoint)
    assert done.returncode == 1
    assert "problem\taccount\t" in done.stdout
    assert "1 problem: a deployment would fail" in done.stderr


@pytest.mark.slow
def test_aws_that_answers_with_errors_only(signed_in: None, tmp_path: Path) -> None:
    (tmp_path / "pipelines_config.yml").write_text(CONFIG)
    with answering() as server:
        done = tidegate(tmp_path, AWS_ENDPOINT_URL=server.endpoint)
    assert done.returncode == 1
    assert "problem\tcredentials" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_config_with_problems_and_no_account(tmp_path: Path) -> None:
    wrong = CONFIG.replace("region: us-west-2", "").replace("type: Ingest", "type: Ingset")
    (tmp_path / "pipelines_config.yml").write_text(wrong)
    done = tidegate(tmp_path)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert any(row[:2] == ["problem", "config"] and "Ingset" in row[2] for row in rows)
    assert any(row[:2] == ["problem", "credentials"] for row in rows)
    assert any(row[:2] == ["unknown", "AWS"] for row in rows)
