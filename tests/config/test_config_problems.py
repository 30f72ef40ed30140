"""Every rule for pipelines_config.yml, with its message, its remedy and its line."""

import pytest
from config_samples import AWS, VALID

S3 = "  trigger: S3"
CRON = "  trigger: Cron\n  schedule: Daily"
PATH = "      input_bucket_path: lidar/humboldt/\n"
FILE = "      config_file_path: pipelines/lidar/config/pipeline_humboldt.yaml"


def test_the_example_of_the_docs_is_right(workspace):
    assert workspace.said(VALID) == []
    assert workspace.said(AWS + VALID) == []


# Each case: what is replaced in the valid file, by what, and the one problem that comes of it.
KEYS = [
    pytest.param(
        (S3, "  trigers: S3"), 4, "unknown key 'trigers' in pipeline 'lidar'", "write 'trigger'",
        id="unknown key of a pipeline",
    ),
    pytest.param(
        (PATH, "      input_buket_path: lidar/\n"),
        7, "unknown key 'input_buket_path' in config 'lidar/humboldt'", "write 'input_bucket_path'",
        id="unknown key of a config",
    ),
    pytest.param(
        ("pipelines:", "zebra: 1\npipelines:"),
        1, "unknown key 'zebra' at the top",
        "remove it; known keys here: github_org, pipelines_repo_name, aws_repo_name, account_id,"
        " region, input_bucket_name, output_bucket_name, create_buckets, versioning, keep_runs,"
        " keep_logs, ledger_backups, github_actions, micromamba,"
        " github_codestar_arn,"
        " python, exclude_newer, repository, input, output, executor, dask, notify,"
        " defaults, branches, pipelines",
        id="unknown key like no other",
    ),
    pytest.param(
        ("pipelines:", "defaults:\n  time_out: 5\npipelines:"),
        2, "unknown key 'time_out' in 'defaults'", "write 'timeout'",
        id="unknown key of defaults",
    ),
    pytest.param(
        ("pipelines:", "branches:\n  dev:\n    regio: x\npipelines:"),
        3, "unknown key 'regio' in branch 'dev'", "write 'region'",
        id="unknown key of a branch",
    ),
    pytest.param(
        ("pipelines:", "timeout: 5\npipelines:"),
        1, "unknown key 'timeout' at the top", "write it below 'defaults:', or in a pipeline",
        id="setting at the top",
    ),
    pytest.param(
        (PATH, PATH + "      type: Ingest\n"),
        8, "unknown key 'type' in config 'lidar/humboldt'",
        "write it in the pipeline, beside 'configs:'",
        id="pipeline's key in a config",
    ),
    pytest.param(
        (S3, S3 + "\n  input_bucket_path: x"),
        5, "unknown key 'input_bucket_path' in pipeline 'lidar'",
        "write it in a config, below 'configs:'",
        id="config's key in a pipeline",
    ),
    pytest.param(
        (S3, S3 + "\n  region: x"),
        5, "unknown key 'region' in pipeline 'lidar'", "write it at the top of the file",
        id="top key in a pipeline",
    ),
    pytest.param(
        (PATH, "      input_dir: lidar/\n"),
        7, "unknown key 'input_dir' in config 'lidar/humboldt'", "write 'input_bucket_path'",
        id="key of an older format",
    ),
    pytest.param(
        (S3, S3 + "\n  trigers: S3"),
        5, "unknown key 'trigers' in pipeline 'lidar'", "remove it: 'trigger' exists already",
        id="unknown key beside the right one",
    ),
    pytest.param(
        (S3 + "\n", ""), 2, "pipeline 'lidar' has no 'trigger'",
        "write, for example, 'trigger: S3'",
        id="missing key of a pipeline",
    ),
    pytest.param(
        ("- name: lidar\n  type", "- type"), 2, "pipeline 1 has no 'name'",
        "write, for example, 'name: lidar'",
        id="missing name",
    ),
    pytest.param(
        (FILE, ""), 6, "config 'lidar/humboldt' has no 'config_file_path'",
        "write, for example, 'config_file_path: pipelines/lidar/config/pipeline_humboldt.yaml'",
        id="missing config file",
    ),
    pytest.param(
        (S3, "  trigger:"), 4, "'trigger' has no value",
        "write one after it, or remove the key",
        id="key without a value",
    ),
    pytest.param(
        (S3, S3 + "\n  trigger: Cron"), 5, "'trigger' is written twice, first in line 4",
        "keep one of the two",
        id="key twice",
    ),
    pytest.param(
        ("    morro:", "    humboldt:"), 9, "'humboldt' is written twice, first in line 6",
        "keep one of the two",
        id="config twice",
    ),
    pytest.param(
        ("- name: lidar_vap", "- name: lidar"),
        12, "the name 'lidar' is used twice, first in line 2",
        "give this one another name, or put its configs into the first one",
        id="pipeline twice",
    ),
    pytest.param(
        (S3, S3 + "\n  ? [a]\n  : 1"), 5, "a key must be plain text", "write it in quotes",
        id="key that is a list",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line", "what", "fix"), KEYS)
def test_keys(workspace, change, line, what, fix):
    assert workspace.said(workspace.valid(change)) == [(line, what, fix)]


SETTINGS = [
    ("timeout: abc", "must be a whole number of seconds, not 'abc'", "'timeout: 900'"),
    ("timeout: 15min", "must be a whole number of seconds, not '15min'", "write 900"),
    ("timeout: '900'", "must be a whole number of seconds, not '900'", "write 900"),
    ("timeout: 1.5", "must be a whole number of seconds, not 1.5", "'timeout: 900'"),
    ("timeout: yes", "must be a whole number of seconds, not yes or no", "'timeout: 900'"),
    ("timeout: [1]", "must be a whole number of seconds, not a list", "'timeout: 900'"),
    ("timeout: {a: 1}", "must be a whole number of seconds, not a mapping", "'timeout: 900'"),
    ("timeout: 0", "is 0, less than the minimum, 1", "write 1 or more"),
    ("timeout: 99999999", "is 99999999, more than the maximum, 2592000", "write 2592000 or less"),
    ("memory: 2GB", "must be a whole number of MB, not '2GB'", "'memory: 1769'"),
    ("memory: 2", "is 2, less than the minimum, 128", "write 128 or more"),
    ("retries: -1", "is -1, less than the minimum, 0", "write 0 or more"),
    ("retries: many", "must be a whole number, not 'many'", "'retries: 2'"),
    ("settle: soon", "must be a number of seconds, not 'soon'", "'settle: 2'"),
    (
        "ignore: ['/x']",
        "is an absolute path: '/x'",
        "write it relative to the config's 'input_bucket_path'",
    ),
    (
        "group_by: Day",
        "is one word, which puts all files into one group: 'Day'",
        "write 'day'",
    ),
    ("settle: -0.5", "is -0.5, less than the minimum, 0", "write 0 or more"),
    ("architecture: arm", "must be x86_64 or arm64, not 'arm'", "write 'arm64'"),
    (
        "ephemeral_storage: 4GB",
        "must be a whole number of MB, not '4GB'",
        "'ephemeral_storage: 4096'",
    ),
    ("ephemeral_storage: 511", "is 511, less than the minimum, 512", "write 512 or more"),
    ("ephemeral_storage: 10241", "is 10241, more than the maximum, 10240", "write 10240 or less"),
    ("concurrency: 0", "is 0, less than the minimum, 1", "write 1 or more"),
    (
        "expect_every: often",
        "must be a number of seconds, or such as 20min, 6h or 1d, not 'often'",
        "'expect_every: 20min'",
    ),
    ("expect_every: 0", "is 0, less than the minimum, 1", "write 1 or more"),
    ("expect_every: 0h", "is 0, less than the minimum, 1", "write 1 or more"),
    ("environment: [A]", "must be keys with values, not a list", "'SITE_ALTITUDE: 12'"),
    ("inputs: 2022", "must be a list, not '2022'", "write each item as '- …'"),
]


@pytest.mark.parametrize(("written", "what", "fix"), SETTINGS)
@pytest.mark.parametrize("level", ["defaults", "pipeline", "config"])
def test_settings(workspace, written, what, fix, level):
    key = written.split(":")[0]
    before = ""
    changes = [(S3, CRON)]
    line = 2
    if level == "defaults":
        before = f"defaults:\n  {written}\n"
    elif level == "pipeline":
        changes.append(("  type: Ingest", f"  {written}\n  type: Ingest"))
        line = 3
    else:
        # `inputs` takes the place of the path.
        changes.append((PATH, f"      {written}\n" + (PATH if key != "inputs" else "")))
        line = 8
    if level == "config" and key == "inputs":
        line = 8
    said = workspace.said(workspace.valid(*changes, before=before))
    assert [(n, w) for n, w, _ in said] == [(line, f"'{key}' {what}")]
    assert said[0][2].removeprefix("write, for example, ").endswith(fix)


VAP = [
    ("window: dya", ("'window' must be hour, day, week, month, or such as 30min, 6h or 2d, not"
     " 'dya'"), "write 'day'"),
    ("window: 5", "'window' must be hour, day, week, month, or such as 30min, 6h or 2d, not '5'",
     "write, for example, 'window: day'"),
    ("since: lately", "'since' must be a date or a time, not 'lately'",
     "write, for example, 'since: 2022-04-05'"),
    ("since: 2022-13-45", "'since' must be a date or a time, not '2022-13-45'",
     "write, for example, 'since: 2022-04-05'"),
    ("since: 0022-04-05", "'since' must lie between 1970 and 2200, not in 22",
     "write, for example, 'since: 2022-04-05'"),
    ("inputs: ['{begin}']", ("'inputs' is for ingests; pipeline 'lidar_vap' is a VAP, which runs on"
     " windows of time"), "remove it"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "what", "fix"), VAP)
def test_settings_of_a_vap(workspace, written, what, fix):
    content = workspace.valid(("  type: VAP", f"  {written}\n  type: VAP"))
    assert workspace.said(content) == [(13, what, fix)]


SCHEDULES = [
    ("hourly", "must be Hourly, Daily, Weekly, Monthly or a cron expression, not 'hourly'",
     "write 'Hourly'"),
    ("Dayly", "must be Hourly, Daily, Weekly, Monthly or a cron expression, not 'Dayly'",
     "write 'Daily'"),
    ("5", "must be Hourly, Daily, Weekly, Monthly or a cron expression, not '5'",
     "write, for example, 'schedule: Hourly'"),
    ("0 0 * * * *", "is a cron expression of 6 fields, '0 0 * * * *'; it takes five",
     "write minute, hour, day, month, weekday; no seconds and no year"),
    ("0 0 * *", "is a cron expression of 4 fields, '0 0 * *'; it takes five",
     "write minute, hour, day, month, weekday; no seconds and no year"),
    ("cron(0 2 * * ? *)",
     "is an AWS expression, 'cron(0 2 * * ? *)'; here it is cron's five fields, in UTC",
     "write minute, hour, day, month, weekday, such as '0 2 * * *'"),
    ("0 25 * * *", "is not a cron expression, '0 25 * * *': Bad hour",
     "write, for example, 'schedule: Hourly'"),
    ("0 0 31 2 *", "is not a cron expression, '0 0 31 2 *': Bad day-of-month",
     "write, for example, 'schedule: Hourly'"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "what", "fix"), SCHEDULES)
def test_schedules(workspace, written, what, fix):
    content = workspace.valid(("  schedule: Hourly", f"  schedule: {written}"))
    assert workspace.said(content) == [(15, f"'schedule' {what}", fix)]


RULES = [
    pytest.param(
        [("  type: Ingest", "  type: ingest")], 3, "'type' must be Ingest or VAP, not 'ingest'",
        "write 'Ingest'", id="type in another case",
    ),
    pytest.param(
        [(S3, "  trigger: s3")], 4, "'trigger' must be S3 or Cron, not 's3'", "write 'S3'",
        id="trigger in another case",
    ),
    pytest.param(
        [(S3, "  trigger: daily")], 4, "'trigger' must be S3 or Cron, not 'daily'",
        "write S3 or Cron", id="trigger like no other",
    ),
    pytest.param(
        [("  schedule: Hourly\n", "")], 14, "pipeline 'lidar_vap' is Cron-triggered, but has no"
        " 'schedule'", "write 'schedule: Hourly', Daily, Weekly, Monthly or a cron expression",
        id="Cron without schedule",
    ),
    pytest.param(
        [("  trigger: Cron", "  trigger: S3")], 14,
        "pipeline 'lidar_vap' is a VAP: it runs on a schedule, not when files arrive",
        "write 'trigger: Cron'", id="VAP on S3",
    ),
    pytest.param(
        [("  trigger: Cron\n  schedule: Hourly", "  trigger: S3")], 14,
        "pipeline 'lidar_vap' is a VAP: it runs on a schedule, not when files arrive",
        "write 'trigger: Cron' and 'schedule: Hourly'", id="VAP on S3 without schedule",
    ),
    pytest.param(
        [(PATH, "")], 6,
        "config 'lidar/humboldt' runs when files arrive (trigger: S3), but has no"
        " 'input_bucket_path'", "write 'input_bucket_path: lidar/humboldt/'", id="S3 without path",
    ),
    pytest.param(
        [(S3, CRON), (PATH, "")], 7,
        "config 'lidar/humboldt' has neither 'input_bucket_path' nor 'inputs': it has nothing to"
        " run on", "write 'input_bucket_path: lidar/humboldt/', or 'inputs:' with a list of texts",
        id="Cron ingest without inputs",
    ),
    pytest.param(
        [(S3, CRON), (PATH, PATH + "      inputs: [a]\n")], 9,
        "config 'lidar/humboldt' has both 'input_bucket_path' and 'inputs'",
        "keep one: 'input_bucket_path' for files, or 'inputs' for texts", id="path and inputs",
    ),
    pytest.param(
        [(PATH, PATH + "      inputs: [a]\n")], 8,
        "'inputs' is for Cron-triggered ingests; config 'lidar/humboldt' runs when files arrive",
        "remove it, or write 'trigger: Cron' and a 'schedule:'", id="inputs on S3",
    ),
    pytest.param(
        [(S3, S3 + "\n  window: day")], 5,
        "'window' is for VAPs; pipeline 'lidar' is an ingest, which runs on raw files",
        "remove it", id="window of an ingest",
    ),
    pytest.param(
        [(PATH, PATH + "      since: 2022-01-01\n")], 8,
        "'since' is for VAPs; config 'lidar/humboldt' is an ingest, which runs on raw files",
        "remove it", id="since of an ingest",
    ),
    pytest.param(
        [("    humboldt:", "    hum boldt:")], 6,
        "a config's name has characters that AWS would refuse: 'hum boldt'; use letters, digits, _"
        " and -", "write 'hum_boldt'", id="name of a config",
    ),
    pytest.param(
        [("- name: lidar\n", "- name: lidar.z05\n")], 2,
        "'name' has characters that AWS would refuse: 'lidar.z05'; use letters, digits, _ and -",
        "write 'lidar_z05'", id="name of a pipeline",
    ),
    pytest.param(
        [("- name: lidar\n", "- name: " + "n" * 65 + "\n")], 2,
        "'name' is longer than 64 characters", "write a shorter name", id="long name",
    ),
    pytest.param(
        [("- name: lidar_vap", "- name: lidar-vap"), ("    morro:", "    vap-humboldt:")], 17,
        "'lidar-vap/humboldt' and 'lidar/vap-humboldt' (line 9) have the same name in AWS,"
        " 'lidar-vap-humboldt'", "give one of them another name", id="one name in AWS",
    ),
    pytest.param(
        [("lidar_vap/config/pipeline.yaml", "lidar_vap/config/pipelin.yaml")], 18,
        "there is no file 'pipelines/lidar_vap/config/pipelin.yaml' in the pipelines repository"
        " {root}", "write 'pipelines/lidar_vap/config/pipeline.yaml'", id="no such config file",
    ),
    pytest.param(
        [(FILE, "      config_file_path: pipelines/lidar/config")], 8,
        "'config_file_path' is a folder: 'pipelines/lidar/config'",
        "write the file in it, such as 'pipelines/lidar/config/pipeline_humboldt.yaml'",
        id="config file is a folder",
    ),
    pytest.param(
        [("    humboldt:\n" + PATH + FILE, "    humboldt: 5")], 6,
        "'humboldt' must be keys with values, not '5'", "write a value", id="config is a number",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "line", "what", "fix"), RULES)
def test_rules(workspace, changes, line, what, fix):
    what = what.replace("{root}", str(workspace.repository))
    assert workspace.said(workspace.valid(*changes)) == [(line, what, fix)]


INPUT_PATHS = [
    ("../lidar", "has an empty part, '.' or '..': '../lidar'"),
    ("lidar//humboldt", "has an empty part, '.' or '..': 'lidar//humboldt'"),
    ("./", "is not a folder: './'"),
    ("''", "is empty"),
    ("lidar/*", "is a folder, not a pattern: 'lidar/*'"),
    (r"lidar\humboldt", r"has backslashes: 'lidar\\humboldt'"),
    ("s3://bucket/lidar", "is a folder of the input bucket, not an address: 's3://bucket/lidar'"),
    ("' lidar'", "begins or ends with a space"),
    ("[lidar]", "must be text, not a list"),
    ("x" * 600, "is longer than 512 bytes"),
    (r'"a\0b"', "has a control character"),
    ("/data/lidar/", "is an absolute path: '/data/lidar/'"),
    ("D:/data", "is an absolute path: 'D:/data'"),
    ("/", "is an absolute path: '/'"),
]


@pytest.mark.parametrize(("written", "what"), INPUT_PATHS)
def test_input_paths(workspace, written, what):
    content = workspace.valid(("lidar/humboldt/\n", f"{written}\n"))
    [(line, said, fix)] = workspace.said(content)
    assert (line, said) == (7, f"'input_bucket_path' {what}")
    assert fix.startswith(("write", "remove"))


@pytest.mark.parametrize("written", ["lidar/x", "./lidar/x/", "././lidar/x/"])
def test_input_paths_are_made_alike(workspace, written):
    reading = workspace.read(workspace.valid(("lidar/humboldt/\n", f"{written}\n")))
    assert reading.require().pipelines[0].configs["humboldt"].input_bucket_path == "lidar/x/"


CONFIG_PATHS = [
    ("/pipelines/x.yaml", "is an absolute path: '/pipelines/x.yaml'"),
    ("pipelines/../x.yaml", "has an empty part, '.' or '..': 'pipelines/../x.yaml'"),
    (r"pipelines\x.yaml", r"has backslashes: 'pipelines\\x.yaml'"),
]


@pytest.mark.parametrize(("written", "what"), CONFIG_PATHS)
def test_config_paths(workspace, written, what):
    content = workspace.valid((FILE, f"      config_file_path: {written}"))
    assert [(n, w) for n, w, _ in workspace.said(content)] == [(8, f"'config_file_path' {what}")]


ARGUMENTS = [
    ("'{start:%Y}'", "has an unknown placeholder in '{start:%Y}'"),
    ("'{}'", "has an unknown placeholder in '{}'"),
    ("'{begin!r}'", "has an unknown placeholder in '{begin!r}'"),
    ("'{begin.year}'", "has an unknown placeholder in '{begin.year}'"),
    ("'{begin:%99999999999Y}'", "has an unknown format in '{begin:%99999999999Y}'"),
    ("'{begin'", "has unmatched brackets, '{begin': expected '}' before end of string"),
    ("{begin:%Y%m}", "must be text, not a mapping"),
    ("''", "is empty"),
]


@pytest.mark.parametrize(("written", "what"), ARGUMENTS)
def test_inputs(workspace, written, what):
    content = workspace.valid((S3, CRON), (PATH, f"      inputs:\n      - {written}\n"))
    said = [(n, w) for n, w, _ in workspace.said(content)]
    # An unquoted placeholder is a mapping without a value: both are said.
    assert (9, f"'inputs' {what}") in said
    assert all(line == 9 for line, _ in said)


AWS_KEYS = [
    ("account_id: XXXXXXXXXXXX", "still has a placeholder, 'XXXXXXXXXXXX'"),
    ("account_id: 12345", "must be the 12 digits of an AWS account, not '12345'"),
    ("account_id: 1234-5678-9012", "must be the 12 digits of an AWS account, not '1234-5678-9012'"),
    ("region: us-west2", "must be an AWS region, not 'us-west2'"),
    ("region: <your region>", "still has a placeholder, '<your region>'"),
    ("github_org: your-org", "still has a placeholder, 'your-org'"),
    ("github_org: a b", "must be a GitHub organization or user, not 'a b'"),
    ("pipelines_repo_name: my-repo-here", "still has a placeholder, 'my-repo-here'"),
    (
        "pipelines_repo_name: a--b",
        (
            "must be the name of a repository, 2 to 100 letters and digits with single '-', '_' or"
            " '.', not 'a--b'"
        ),
    ),
    (
        "aws_repo_name: a/b",
        (
            "must be the name of a repository, 2 to 100 letters and digits with single '-', '_' or"
            " '.', not 'a/b'"
        ),
    ),
    (
        "input_bucket_name: My_Bucket",
        (
            "takes only lower-case letters, digits, '-' and '.'; AWS would refuse the bucket name"
            " 'My_Bucket'"
        ),
    ),
    (
        "input_bucket_name: ab",
        "must have 3 to 63 characters; AWS would refuse the bucket name 'ab'",
    ),
    (
        "output_bucket_name: -abc",
        "must begin and end with a letter or digit; AWS would refuse the bucket name '-abc'",
    ),
    (
        "output_bucket_name: a..b",
        "must not have two dots in a row; AWS would refuse the bucket name 'a..b'",
    ),
    (
        "output_bucket_name: 10.0.0.1",
        "must not look like an IP address; AWS would refuse the bucket name '10.0.0.1'",
    ),
    (
        "output_bucket_name: xn--abc",
        (
            "has a beginning or end that is reserved by AWS; AWS would refuse the bucket name"
            " 'xn--abc'"
        ),
    ),
    ("output_bucket_name: s3://tsdat", "must be the bucket's name, not its address"),
    ("create_buckets: maybe", "must be true or false, not 'maybe'"),
    ("create_buckets: 1", "must be true or false, not 1"),
    ("github_codestar_arn: FILL_ME_IN", "still has a placeholder, 'FILL_ME_IN'"),
    (
        "github_codestar_arn: arn:aws:codestar-connections:us-west-2:...",
        "still has a placeholder, 'arn:aws:codestar-connections:us-west-2:...'",
    ),
    (
        "github_codestar_arn: arn:aws:s3:::x",
        "must be the ARN of a CodeConnections (CodeStar) connection, not 'arn:aws:s3:::x'",
    ),
]


@pytest.mark.parametrize(("written", "what"), AWS_KEYS)
@pytest.mark.parametrize("branch", [False, True])
def test_keys_for_aws(workspace, written, what, branch):
    before = f"branches:\n  dev:\n    {written}\n" if branch else f"# AWS\n{written}\n"
    [(line, said, fix)] = workspace.said(before + VALID)
    assert (line, said) == (3 if branch else 2, f"'{written.split(':')[0]}' {what}")
    assert fix.startswith("write")


def test_placeholders_are_for_aws_keys_alone(workspace):
    environment = "defaults:\n  environment:\n    TOKEN: <your token here>\n"
    assert workspace.said(environment + VALID) == []


OTHER = [
    ("python: '2.7'", 1, "'python' must be a version or an interpreter's path, not '2.7'"),
    ("python: [3]", 1, "'python' must be text, not a list"),
    ("branches:\n  a b: {}", 2, "a branch's name is not a valid branch name in git: 'a b'"),
    (
        "defaults:\n  environment:\n    A-B: x",
        3,
        "a variable's name is not a valid name of an environment variable: 'A-B'",
    ),
    (
        "defaults:\n  environment:\n    AWS_REGION: x",
        3,
        "a variable's name is one that AWS or Tidegate sets: 'AWS_REGION'",
    ),
    (
        "defaults:\n  environment:\n    A: 'x{{resolve:secretsmanager:y}}'",
        3,
        "'A' has '{{resolve:' in it, which CloudFormation would replace",
    ),
    ("defaults:\n  environment:\n    A: [x]", 3, "'A' must be text, not a list"),
    ("defaults:\n  environment:\n    A:", 3, "'A' has no value"),
    ("defaults:\n  inputs: []", 2, "'inputs' is empty"),
    ("defaults: 5", 1, "'defaults' must be keys with values, not '5'"),
    ("repository: nowhere", 1, "'repository' is not a folder: 'nowhere'"),
    ("python: !x 3", 1, "the tag '!x' is not supported"),
    ("<<: 5", 1, "'<<' takes a mapping"),
]


@pytest.mark.parametrize(("before", "line", "what"), OTHER)
def test_other_keys(workspace, before, line, what):
    [(said_line, said, fix)] = workspace.said(f"{before}\n{VALID}")
    assert (said_line, said) == (line, what)
    assert fix


SHAPES = [
    ("pipelines:\n  lidar: {}\n", 1, "'pipelines' must be a list, not a mapping"),
    ("pipelines:\n", 1, "'pipelines' has no value"),
    ("pipelines:\n- 5\n", 2, "a pipeline must be keys with values, not '5'"),
    ("region: us-west-2\n", 1, "the file has no 'pipelines'"),
    ("# a comment\n\nregion: us-west-2\n", 3, "the file has no 'pipelines'"),
]


@pytest.mark.parametrize(("content", "line", "what"), SHAPES)
def test_shapes(workspace, content, line, what):
    [(said_line, said, fix)] = workspace.said(content)
    assert (said_line, said) == (line, what)
    assert fix.startswith("write")


def test_all_problems_at_once_in_order(workspace):
    content = workspace.valid(
        ("  type: Ingest", "  type: ingest"),
        (S3, "  trigers: S3"),
        ("pipeline_morro", "pipeline_moro"),
        ("  schedule: Hourly\n", ""),
        before="region: nowhere\ntimeout: 3\n",
    )
    said = workspace.said(content)
    assert [line for line, _, _ in said] == [1, 2, 5, 6, 13, 16]


def test_a_problem_prints_where_what_and_fix(workspace):
    reading = workspace.read(workspace.valid((S3, "  trigers: S3")))
    assert str(reading.problems[0]) == (
        f"{workspace.file}:4: unknown key 'trigers' in pipeline 'lidar'\n  write 'trigger'"
    )
