"""Where the values in the files come from: options, the config that is there, git."""

import io
import zipfile
from pathlib import Path

import pytest

from tidegate import __version__
from tidegate.errors import UsageError
from tidegate.scaffold.deployment import gather
from tidegate.scaffold.deployment.answers import KEYS, OPTIONS, Wheel

INGEST = {"pipelines/buoy/config/pipeline_morro.yaml": "classname: tsdat.IngestPipeline\n"}
OLDER = """\
# This file configures all pipelines to be deployed on AWS.
github_org: a2edap
pipelines_repo_name: ingest-buoy
aws_repo_name: aws-template
account_id: "012345678901"
region: us-east-2
input_bucket_name: a2edap-raw
output_bucket_name: a2edap-output
create_buckets: True
github_codestar_arn: arn:aws:codestar-connections:us-east-2:012345678901:connection/817c8dda
pipelines:
- name: buoy
  type: Ingest
  trigger: S3
  configs:
    morro:
      input_bucket_path: buoy/morro/
      config_file_path: pipelines/buoy/config/pipeline_morro.yaml
"""


def test_nothing_is_known(tmp_path):
    answers = gather(tmp_path / "my-deployment", {})
    assert answers.keys == {"aws_repo_name": "my-deployment"}
    assert set(answers.missing) == set(KEYS) - {"aws_repo_name"}
    assert (answers.branch, answers.pipelines, answers.pipelines_path) == ("main", (), "")


@pytest.mark.parametrize(
    ("remote", "owner", "name"),
    [
        ("https://github.com/tsdat/pipeline-template.git", "tsdat", "pipeline-template"),
        ("https://someone@github.com/tsdat/pipeline-template", "tsdat", "pipeline-template"),
        ("git@github.com:tsdat/pipeline-template.git", "tsdat", "pipeline-template"),
        ("ssh://git@github.com:22/tsdat/pipeline-template/", "tsdat", "pipeline-template"),
        ("https://gitlab.example.org/group/sub/waves.git", None, "waves"),
        ("/srv/git/waves.git", None, "waves"),
    ],
)
def test_git_tells_where_the_pipelines_come_from(repository, git, remote, owner, name):
    source = repository(INGEST, "here")
    git(source, "init", "--quiet", "--initial-branch", "trunk")
    git(source, "remote", "add", "origin", remote)
    answers = gather(source.parent / "deploy", {}, source=source)
    assert answers.keys.get("github_org") == owner
    assert answers.keys["pipelines_repo_name"] == name
    assert answers.branch == "trunk"
    assert answers.pipelines_path == "../here"
    assert [pipeline.name for pipeline in answers.pipelines] == ["buoy"]


def test_without_git_the_folder_gives_the_name(repository):
    source = repository(INGEST, "waves-pipelines")
    answers = gather(source.parent / "deploy", {}, source=source)
    assert answers.keys["pipelines_repo_name"] == "waves-pipelines"


def test_a_folder_inside_another_repository_is_not_that_repository(repository, git):
    source = repository(INGEST)
    git(source.parent, "init", "--quiet")
    git(source.parent, "remote", "add", "origin", "https://github.com/tsdat/other.git")
    answers = gather(source.parent / "deploy", {}, source=source)
    assert "github_org" not in answers.keys
    assert answers.keys["pipelines_repo_name"] == "waves"


def test_what_is_given_goes_before_the_config_and_that_before_git(repository, git):
    source = repository(INGEST)
    git(source, "init", "--quiet")
    git(source, "remote", "add", "origin", "https://github.com/tsdat/other.git")
    folder = source.parent / "deploy"
    folder.mkdir()
    (folder / "pipelines_config.yml").write_text(OLDER)
    answers = gather(folder, {"region": "us-west-2", "account_id": None}, source=source)
    assert answers.missing == ()
    assert answers.keys["region"] == "us-west-2"
    assert answers.keys["account_id"] == "012345678901"
    assert answers.keys["github_org"] == "a2edap"
    assert answers.keys["pipelines_repo_name"] == "ingest-buoy"
    assert answers.keys["input_bucket_name"] == "a2edap-raw"


def test_a_config_that_is_not_good_tells_nothing(tmp_path):
    (tmp_path / "pipelines_config.yml").write_text(OLDER + "zebra: 1\n")
    assert set(gather(tmp_path, {}).keys) <= {"aws_repo_name"}


def test_buckets_get_names_that_are_free_in_all_of_aws(tmp_path):
    given = {"account_id": "012345678901", "pipelines_repo_name": "Waves_of.the-Pacific"}
    keys = gather(tmp_path / "d", given).keys
    for use in ("input", "output"):
        name = keys[f"{use}_bucket_name"]
        # A name that S3 would not take ends in a hash, which keeps it apart from others.
        assert name.startswith(f"waves-of-the-pacific-{use}-012345678901-")
        assert len(name) <= 63
    simple = gather(tmp_path / "d", {**given, "pipelines_repo_name": "waves"}).keys
    assert simple["input_bucket_name"] == "waves-input-012345678901"
    long = gather(tmp_path / "d", {**given, "pipelines_repo_name": "w" * 90}).keys
    assert len(long["input_bucket_name"]) == 63
    assert long["input_bucket_name"] != long["output_bucket_name"]


@pytest.mark.parametrize(
    ("key", "value", "what", "fix"),
    [
        ("account_id", "1234", "must be the 12 digits", "--account 123456789012"),
        ("account_id", "1234-5678-9012", "must be the 12 digits", "write '123456789012'"),
        ("github_org", "a b", "must be a GitHub organization", "--org tsdat"),
        ("region", "Oregon", "must be an AWS region", "--region us-west-2"),
        ("input_bucket_name", "s3://raw", "must be the bucket's name", "write 'raw'"),
        ("github_codestar_arn", "FILL_ME_IN", "still has a placeholder", "write your own"),
        ("pipelines_repo_name", "a--b", "must be the name of a repository", "--repository"),
    ],
)
def test_a_value_that_cannot_be(tmp_path, key, value, what, fix):
    with pytest.raises(UsageError) as caught:
        gather(tmp_path, {key: value})
    assert caught.value.what.startswith(OPTIONS[key])
    assert what in caught.value.what
    assert fix in caught.value.next


@pytest.mark.parametrize("branch", ["a b", "x..y", 'quo"te', "$HOME", "a`b`"])
def test_a_branch_that_cannot_be(tmp_path, branch):
    with pytest.raises(UsageError, match="--branch"):
        gather(tmp_path, {}, branch=branch)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("0.2.0", "tidegate[aws,deploy]==0.2.0"),
        ("1.0.0rc1", "tidegate[aws,deploy]==1.0.0rc1"),
        ("git+https://example.org/t.git", "tidegate[aws,deploy] @ git+https://example.org/t.git"),
        ("https://example.org/t.whl?x=1", "tidegate[aws,deploy] @ https://example.org/t.whl?x=1"),
        ("tidegate[aws,deploy]>=0.1,<1", "tidegate[aws,deploy]>=0.1,<1"),
    ],
)
def test_which_tidegate(tmp_path, given, line):
    assert gather(tmp_path, {}, tidegate=given).tidegate == line


def test_the_tidegate_that_runs_goes_along_where_no_index_has_it(tmp_path):
    """It was installed from a folder here."""
    answers = gather(tmp_path, {})
    assert answers.tidegate == f"./tidegate-{__version__}-py3-none-any.whl[aws,deploy]"
    with zipfile.ZipFile(io.BytesIO(answers.wheel.content)) as wheel:
        assert "tidegate/scaffold/deployment/templates/Dockerfile" in wheel.namelist()
    again = gather(tmp_path, {})
    assert again.wheel == answers.wheel, "the same each time, or it would differ from what is there"


def test_a_wheel(tmp_path):
    wheel = tmp_path / "tidegate-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"PK")
    answers = gather(tmp_path, {}, tidegate=str(wheel))
    assert answers.tidegate == "./tidegate-0.1.0-py3-none-any.whl[aws,deploy]"
    assert answers.wheel == Wheel(wheel.name, b"PK")


@pytest.mark.parametrize("given", ["latest", "tsdat==0.9", "nowhere/tidegate-1.whl", "/etc/passwd"])
def test_no_tidegate(tmp_path, given):
    with pytest.raises(UsageError, match="--tidegate"):
        gather(tmp_path, {}, tidegate=given)


def test_a_place_far_from_the_pipelines(repository, tmp_path, monkeypatch):
    source = repository(INGEST, "elsewhere/waves")
    monkeypatch.chdir(source.parent)
    answers = gather(Path("../deploy"), {}, source=Path("waves"))
    assert answers.pipelines_path == "../elsewhere/waves"
