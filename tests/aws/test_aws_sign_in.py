"""The command that signs in, by how the profile signs in."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("boto3")

from tidegate.targets.aws.clients import Clients

CONFIG = """\
[default]
region = us-west-2
[profile lab]
sso_session = lab
sso_account_id = 123456789012
sso_role_name = Admin
[profile deployer]
role_arn = arn:aws:iam::123456789012:role/deployer
source_profile = lab
[profile console]
login_session = arn:aws:iam::123456789012:user/me
[profile circle]
role_arn = arn:aws:iam::123456789012:role/deployer
source_profile = circle
[sso-session lab]
sso_start_url = https://lab.awsapps.com/start
sso_region = us-west-2
"""


@pytest.mark.parametrize(
    ("profile", "keys", "command"),
    [
        (None, False, "aws configure"),
        ("lab", False, "aws sso login --profile lab"),
        ("deployer", False, "aws sso login --profile lab"),
        ("console", False, "aws login --profile console"),
        ("circle", False, "aws configure --profile circle"),
        (None, True, "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN"),
        ("lab", True, "aws sso login --profile lab"),
    ],
)
def test_the_one_right_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    profile: str | None,
    keys: bool,
    command: str,
) -> None:
    config = tmp_path / "config"
    config.write_text(CONFIG)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    if keys:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert Clients(profile=profile).sign_in() == command
