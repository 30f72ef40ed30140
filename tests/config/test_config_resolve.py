"""From the model to the manifest: what is inherited, what is asked of Tsdat, what is said of it."""

from datetime import datetime, timezone

import pytest
from config_samples import AWS, VALID

from tidegate.config import aws_problems, config_files, read, resolve, summary
from tidegate.errors import ConfigurationError
from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.records import dumps, loads

HUMBOLDT = "pipelines/lidar/config/pipeline_humboldt.yaml"
MORRO = "pipelines/lidar/config/pipeline_morro.yaml"
VAP = "pipelines/lidar_vap/config/pipeline.yaml"
CRON = ("  trigger: S3", "  trigger: Cron\n  schedule: Monthly")
PATH = "      input_bucket_path: lidar/humboldt/\n"


def ingest(datastream: str) -> Pipeline:
    return Pipeline("tsdat.IngestPipeline", datastream=datastream)


def vap(*datastreams: str) -> Pipeline:
    return Pipeline("tsdat.TransformationPipeline", datastreams=datastreams, datastream="h.wind.c1")


def notes(workspace, content, described=None):
    return [(n.line, n.what) for n in resolve(workspace.read(content), described).notes]


def test_the_manifest_of_the_example(workspace):
    resolution = resolve(workspace.read(VALID))
    assert resolution.problems == resolution.notes == ()
    assert resolution.manifest == Manifest(
        (
            Config("lidar", "humboldt", "Ingest", "S3", HUMBOLDT, input_path="lidar/humboldt/"),
            Config("lidar", "morro", "Ingest", "S3", MORRO, input_path="lidar/morro/"),
            Config(
                "lidar_vap", "humboldt", "VAP", "Cron", VAP, schedule="0 * * * *", window="hour"
            ),
        )
    )
    assert loads(Manifest, dumps(resolution.manifest)) == resolution.manifest


def test_the_inner_setting_wins(workspace):
    content = workspace.valid(
        ("  type: Ingest", "  type: Ingest\n  timeout: 2\n  memory: 500\n  expect_every: 6h"),
        (
            PATH,
            PATH + "      timeout: 3\n      settle: 0\n      retries: 0\n"
            "      ephemeral_storage: 512\n",
        ),
        before="defaults: {timeout: 1, memory: 400, retries: 9, concurrency: 3,"
        " architecture: arm64, ephemeral_storage: 4096}\n",
    )
    humboldt, morro, other = resolve(workspace.read(content)).manifest.configs
    assert (humboldt.timeout, humboldt.memory, humboldt.retries, humboldt.settle) == (3, 500, 0, 0)
    assert (morro.timeout, morro.memory, morro.retries, morro.settle) == (2, 500, 9, 2.0)
    assert (other.timeout, other.memory, other.retries, other.concurrency) == (1, 400, 9, 3)
    assert (humboldt.expect_every, other.expect_every) == (21_600, None)
    assert (humboldt.ephemeral_storage, other.ephemeral_storage) == (512, 4096)
    assert (humboldt.architecture, other.architecture) == ("arm64", "arm64")


def test_variables_of_all_levels_are_joined(workspace):
    content = workspace.valid(
        ("  type: Ingest", "  type: Ingest\n  environment: {A: pipeline, B: pipeline}"),
        (PATH, PATH + "      environment: {A: config}\n"),
        before="defaults:\n  environment: {A: file, B: file, C: file}\n",
    )
    humboldt, morro, other = resolve(workspace.read(content)).manifest.configs
    assert humboldt.environment == {"A": "config", "B": "pipeline", "C": "file"}
    assert morro.environment == {"A": "pipeline", "B": "pipeline", "C": "file"}
    assert other.environment == {"A": "file", "B": "file", "C": "file"}


@pytest.mark.parametrize(
    ("schedule", "cron", "window"),
    [
        ("Hourly", "0 * * * *", "hour"),
        ("Daily", "0 2 * * *", "day"),
        ("Weekly", "30 2 * * 0", "week"),
        ("Monthly", "0 3 1 * *", "month"),
        ("15 */6 * * *", "15 */6 * * *", "day"),
    ],
)
def test_schedules_and_their_windows(workspace, schedule, cron, window):
    content = workspace.valid(("schedule: Hourly", f"schedule: {schedule}"))
    config = resolve(workspace.read(content)).manifest.config("lidar_vap/humboldt")
    assert (config.schedule, config.window) == (cron, window)


def test_window_and_since_are_for_vaps(workspace):
    before = "defaults: {window: 6h, since: 2022-01-01}\n"
    ingest, _, vap = resolve(workspace.read(before + VALID)).manifest.configs
    assert (ingest.window, ingest.since) == (None, None)
    assert (vap.window, vap.since) == ("6h", datetime(2022, 1, 1, tzinfo=timezone.utc))
    content = workspace.valid(
        ("  type: VAP", "  type: VAP\n  window: day"),
        ("      config_file_path: pipelines/lidar_vap", ("      window: week\n"
         "      since: 2023-01-01\n      config_file_path: pipelines/lidar_vap")),
        before=before,
    )  # fmt: skip
    config = resolve(workspace.read(content)).manifest.config("lidar_vap/humboldt")
    assert (config.window, config.since.year) == ("week", 2023)


def test_inputs_that_are_no_files(workspace):
    content = workspace.valid(CRON, (PATH, "      inputs: ['{begin:%Y%m}', 46022]\n"))
    humboldt, morro, _ = resolve(workspace.read(content)).manifest.configs
    assert (humboldt.inputs, humboldt.window) == (("{begin:%Y%m}", "46022"), "month")
    assert (morro.inputs, morro.window, morro.input_path) == ((), None, "lidar/morro/")


def test_a_path_says_more_than_inputs_further_out(workspace):
    content = workspace.valid(CRON, (PATH, ""), before="defaults: {inputs: ['{end:%Y}']}\n")
    humboldt, morro, vap = resolve(workspace.read(content)).manifest.configs
    assert (humboldt.inputs, humboldt.input_path) == (("{end:%Y}",), None)
    assert (morro.inputs, morro.input_path) == ((), "lidar/morro/")
    assert vap.inputs == ()


def test_what_tsdat_says_is_kept(workspace):
    reading = workspace.read(VALID)
    assert config_files(reading.model) == (HUMBOLDT, MORRO, VAP)
    described = {HUMBOLDT: ingest("h.lidar.a1")}
    manifest = resolve(reading, described).manifest
    assert [c.tsdat for c in manifest.configs] == [described[HUMBOLDT], None, None]


def test_what_tsdat_rejects_is_a_problem(workspace):
    error = ConfigurationError("no field 'storag'", why="in storage.yaml", next="write 'storage'")
    resolution = resolve(workspace.read(VALID), {MORRO: error, HUMBOLDT: ingest("x")})
    assert resolution.manifest is None
    [problem] = resolution.problems
    assert (problem.line, problem.fix) == (11, "write 'storage'")
    assert problem.what == f"Tsdat rejects '{MORRO}': no field 'storag': in storage.yaml"


def test_a_rejected_file_of_two_configs_is_told_once(workspace):
    content = workspace.valid((MORRO, HUMBOLDT))
    resolution = resolve(workspace.read(content), {HUMBOLDT: ConfigurationError("bad")})
    assert [(p.line, p.fix) for p in resolution.problems] == [(8, "correct that file")]


def test_one_reason_of_two_files_is_reported_once_and_the_others_can_run(workspace):
    shared = ConfigurationError("Tsdat rejects it", why="name: required", where="shared/r.yaml")
    resolution = resolve(workspace.read(VALID), {MORRO: shared, HUMBOLDT: shared})
    [problem] = resolution.problems
    assert "shared/r.yaml" in problem.what
    assert [c.config_file for c in resolution.rejected] == [HUMBOLDT, MORRO]
    assert [c.kind for c in resolution.others] == ["VAP"]


def test_a_file_with_problems_resolves_to_them(workspace):
    reading = workspace.read("pipelines: {}")
    assert resolve(reading).problems == reading.problems != ()
    assert resolve(reading).manifest is None
    with pytest.raises(ConfigurationError, match="'pipelines' must be a list") as error:
        reading.require()
    assert error.value.exit_code == 2


def test_a_file_without_pipelines_yet(workspace):
    content = "repository: .\npipelines: []\n"
    resolution = resolve(workspace.read(content), {})
    assert resolution.manifest is not None
    assert resolution.manifest.configs == ()
    assert [note.line for note in resolution.notes] == [2]


def test_notes_on_shared_paths(workspace):
    content = workspace.valid(("lidar/morro/", "lidar/humboldt"))
    shared = "lidar/humboldt and lidar/morro share lidar/humboldt/"
    assert notes(workspace, content) == [(10, f"{shared}: all of them run on every file in it")]
    content = workspace.valid(("lidar/morro/", "lidar"))
    assert notes(workspace, content) == [
        (7, "lidar/morro runs on lidar/, so it also runs on the files of lidar/humboldt")
    ]
    assert notes(workspace, workspace.valid(("lidar/morro/", "lidar/hum"))) == []


def test_note_on_the_path_of_a_vap(workspace):
    content = workspace.valid((VAP, f"{VAP}\n      input_bucket_path: lidar/humboldt/"))
    assert notes(workspace, content) == [
        (19, "'input_bucket_path' of lidar_vap/humboldt has no effect: it is a VAP")
    ]


def test_notes_on_the_inputs_of_a_vap(workspace):
    made = {HUMBOLDT: ingest("h.lidar.a1"), MORRO: ingest("m.lidar.a1")}
    assert notes(workspace, VALID, {**made, VAP: vap("h.lidar.a1")}) == []
    assert notes(workspace, VALID, {**made, VAP: vap("h.lidar.b1", "m.lidar.a1")}) == [
        (18, "lidar_vap/humboldt reads h.lidar.b1, which no config in this file makes")
    ]
    # One that Tsdat was not asked about may make it.
    assert notes(workspace, VALID, {HUMBOLDT: made[HUMBOLDT], VAP: vap("h.lidar.b1")}) == []
    assert notes(workspace, VALID, {**made, VAP: vap()}) == [
        (18, "lidar_vap/humboldt names no input datastreams: it runs once for each window")
    ]


def test_the_summary(workspace):
    manifest = resolve(workspace.read(VALID)).manifest
    now = datetime(2022, 4, 5, 6, 30, tzinfo=timezone.utc)
    assert [str(row) for row in summary(manifest)] == [
        (
            "lidar/humboldt  Ingest  when a file arrives under lidar/humboldt/, each file in a run"
            " of its own"
        ),
        (
            "lidar/morro  Ingest  when a file arrives under lidar/morro/, each file in a run of its"
            " own"
        ),
        "lidar_vap/humboldt  VAP  hourly at minute 0 UTC, windows of an hour",
    ]
    assert [row.next for row in summary(manifest, now)] == [
        None, None, datetime(2022, 4, 5, 7, tzinfo=timezone.utc)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("Daily", "daily at 02:00 UTC"),
        ("Weekly", "weekly on Sunday at 02:30 UTC"),
        ("Monthly", "monthly on day 1 at 03:00 UTC"),
        ("15 */6 * * *", "at minute 15 past every sixth hour UTC (15 */6 * * *)"),
    ],
)
def test_the_summary_of_schedules(workspace, schedule, said):
    content = workspace.valid(("schedule: Hourly", (f"schedule: {schedule}\n  since: 2022-04-05\n"
                                                   "  window: 6h")))  # fmt: skip
    row = summary(resolve(workspace.read(content)).manifest)[2]
    assert (row.when, row.over) == (said, "windows of 6h since 2022-04-05")


def test_the_summary_of_scheduled_ingests(workspace):
    content = workspace.valid(CRON, (PATH, "      inputs: ['{begin:%Y%m}']\n"))
    rows = summary(resolve(workspace.read(content)).manifest)
    assert [row.over for row in rows[:2]] == [
        "given {begin:%Y%m}", "all new files under lidar/morro/ in one run"
    ]  # fmt: skip


# ── where the repository is


def test_the_repository_is_found(workspace):
    assert workspace.read(VALID).repository == workspace.repository
    assert workspace.read("repository: repository\n" + VALID).problems == ()


def test_the_repository_that_is_named_counts(workspace, tmp_path):
    other = tmp_path / "other" / "pipelines" / "x" / "config"
    other.mkdir(parents=True)
    (other / "pipeline.yaml").touch()
    reading = workspace.read("repository: other\n" + VALID)
    assert reading.repository == tmp_path / "other"
    assert [p.line for p in reading.problems] == [9, 12, 19]
    reading = workspace.read("repository: other\n" + VALID, repository=workspace.repository)
    assert (reading.repository, reading.problems) == (workspace.repository, ())


def test_the_repository_may_be_the_folder_of_the_file(workspace):
    file = workspace.repository / "pipelines_config.yml"
    file.write_text(VALID)
    assert read(file).repository == workspace.repository


def test_the_repository_may_lie_beside_the_deployment_repository(workspace):
    workspace.repository.rename(workspace.folder / "pipeline-template")
    file = workspace.folder / "aws-template" / "pipelines_config.yml"
    file.parent.mkdir()
    file.write_text(AWS + VALID)
    reading = read(file)
    assert reading.problems == ()
    assert reading.repository == workspace.folder / "pipeline-template"


def test_no_repository(tmp_path):
    file = tmp_path / "pipelines_config.yml"
    file.write_text(VALID)
    [problem] = read(file).problems
    assert (problem.line, problem.what) == (8, "there is no pipelines repository beside this file")
    assert problem.fix == "write 'repository:' and its path, relative to this file"
    assert read(file, files=False).require().pipelines[0].name == "lidar"


# ── what AWS needs


def test_a_branch_overrides(workspace):
    content = "branches: {dev: {output_bucket_name: tsdat-dev}}\n" + AWS + VALID
    model = workspace.read(content).require()
    assert model.for_branch("dev").output_bucket_name == "tsdat-dev"
    assert model.for_branch("dev").input_bucket_name == "tsdat-input"
    assert model.for_branch("main").output_bucket_name == "tsdat-output"


def test_what_is_needed_for_aws(workspace):
    keys, problems = aws_problems(workspace.read(AWS + VALID), "main")
    assert (keys.account_id, keys.create_buckets, problems) == ("012345678901", True, ())
    local = workspace.read("branches: {dev: {region: us-west-2}}\n" + VALID)
    keys, problems = aws_problems(local, "dev", codepipeline=False)
    assert keys is None
    assert [p.what for p in problems] == [
        f"'{name}' is needed to deploy to AWS"
        for name in ("account_id", "input_bucket_name", "output_bucket_name", "pipelines_repo_name")
    ]
    assert problems[0].fix == "write, for example, 'account_id: 123456789012'"
    _, problems = aws_problems(local, "main")
    assert len(problems) == 8


def test_a_connection_needs_both_repositories(workspace):
    """The official template has these keys without values."""
    lines = (AWS + VALID).splitlines()
    emptied = [
        line.partition(":")[0] + ":" if line.startswith(("github_org", "aws_repo")) else line
        for line in lines
    ]
    reading = workspace.read("\n".join(emptied) + "\n")
    where = [n for n, line in enumerate(emptied, 1) if line in ("github_org:", "aws_repo_name:")]
    for codepipeline in (True, False):
        keys, problems = aws_problems(reading, "main", codepipeline=codepipeline)
        assert keys is None
        assert [problem.line for problem in problems] == where
    notes = [note for note in resolve(reading).notes if "has no value" in note.what]
    assert [note.line for note in notes] == where


def test_what_a_function_cannot_have(workspace):
    content = AWS + workspace.valid(
        ("  type: Ingest", "  type: Ingest\n  timeout: 901"),
        (PATH, PATH + "      memory: 10241\n"),
    )
    keys, problems = aws_problems(workspace.read(content), "main")
    assert keys is None
    assert [(p.line, p.what, p.fix) for p in problems] == [
        (13, "timeout of lidar/humboldt is 901: a Lambda function allows at most 900 seconds",
         "write 'timeout: 900'"),
        (13, "timeout of lidar/morro is 901: a Lambda function allows at most 900 seconds",
         "write 'timeout: 900'"),
        (18, "memory of lidar/humboldt is 10241: a Lambda function allows at most 10240 MB",
         "write 'memory: 10240'"),
    ]  # fmt: skip


def test_a_file_with_problems_is_not_for_aws(workspace):
    reading = workspace.read("pipelines: {}")
    assert aws_problems(reading, "main") == (None, reading.problems)


# ── what older files carry along


def test_an_optional_key_without_a_value_counts_as_left_out(workspace):
    old = "github_codestar_arn:\n" + workspace.valid(
        ("  trigger: S3", "  trigger: S3\n  schedule:  # only if Cron")
    )
    reading = workspace.read(old)
    assert reading.problems == ()
    assert reading.require().github_codestar_arn is None
    assert resolve(reading).manifest.config("lidar/humboldt").schedule is None


def test_a_schedule_of_an_ingest_that_runs_on_arrival_has_no_effect(workspace):
    reading = workspace.read(workspace.valid(("  trigger: S3", "  trigger: S3\n  schedule: Daily")))
    resolution = resolve(reading)
    assert resolution.manifest.config("lidar/humboldt").schedule is None
    assert [(note.line, note.what) for note in resolution.notes] == [
        (5, "'schedule' of lidar has no effect: it runs when files arrive")
    ]


def test_packages_as_of_a_date(workspace):
    model = workspace.read("exclude_newer: 2024-06-30\n" + workspace.valid()).require()
    assert f"{model.exclude_newer:%Y-%m-%d}" == "2024-06-30"
