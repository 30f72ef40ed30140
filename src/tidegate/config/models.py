"""The keys of pipelines_config.yml with their descriptions, as pydantic models.

``values`` checks single values, ``checks`` compares values with each other. Tests compare the JSON
Schema and the tables of docs/configuration.md with these models.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from tidegate.config import aws_values, values
from tidegate.config.dask_settings import DaskSettings, Executor
from tidegate.config.keys import Duration
from tidegate.config.keys import Keys as _Keys
from tidegate.config.keys import json_schema as _json_schema
from tidegate.config.keys import key as _key
from tidegate.config.notify_settings import NotifySettings
from tidegate.runtime import manifest

_DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(manifest.Config)
    if field.default not in (dataclasses.MISSING, None)
}


def _setting(name: str, description: str, *examples: Any) -> Any:
    """A key of ``Settings``; its default is that of ``manifest.Config``."""
    return _key(description, *examples, default=_DEFAULTS.get(name))


Name = Annotated[
    str,
    BeforeValidator(values.identifier),
    _json_schema({"pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]*$", "maxLength": 64}),
]
Text = Annotated[str, BeforeValidator(values.text)]
Timeout = Annotated[
    int,
    BeforeValidator(values.whole("of seconds", 1, 2_592_000)),
    _json_schema({"minimum": 1, "maximum": 2_592_000}, "integer"),
]
Memory = Annotated[
    int,
    BeforeValidator(values.whole("of MB", 128, 4_194_304)),
    _json_schema({"minimum": 128, "maximum": 4_194_304}, "integer"),
]
Architecture = Annotated[
    Literal["x86_64", "arm64"], BeforeValidator(values.choice("x86_64", "arm64"))
]
OnEmpty = Annotated[
    Literal["warn", "fail", "keep"], BeforeValidator(values.choice("warn", "fail", "keep"))
]
OnWithdrawn = Annotated[Literal["move", "mark"], BeforeValidator(values.choice("move", "mark"))]
EphemeralStorage = Annotated[
    int,
    BeforeValidator(values.whole("of MB", 512, 10_240)),
    _json_schema({"minimum": 512, "maximum": 10_240}, "integer"),
]
Days = Annotated[
    int,
    BeforeValidator(values.whole("of days", 1, 36_500)),
    _json_schema({"minimum": 1, "maximum": 36_500}, "integer"),
]
Retries = Annotated[
    int,
    BeforeValidator(values.whole("", 0, 100)),
    _json_schema({"minimum": 0, "maximum": 100}, "integer"),
]
Settle = Annotated[
    float,
    BeforeValidator(values.number("of seconds", 0, 86_400)),
    _json_schema({"minimum": 0, "maximum": 86_400}, "number"),
]
Concurrency = Annotated[
    int,
    BeforeValidator(values.whole("", 1, 1000)),
    _json_schema({"minimum": 1, "maximum": 1000}, "integer"),
]
Window = Annotated[
    str,
    BeforeValidator(values.window),
    _json_schema({"pattern": r"^(hour|day|week|month|[1-9]\d{0,3}(min|h|d))$"}),
]
Since = Annotated[
    datetime,
    BeforeValidator(values.since),
    _json_schema({"pattern": r"^\d{4}-?\d{2}-?\d{2}([T .].+)?$"}),
]
Schedule = Annotated[
    str,
    BeforeValidator(values.schedule),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(values.PRESETS)},
                {"type": "string", "pattern": r"^\S+(\s+\S+){4}$"},
            ]
        }
    ),
]
FileName = Annotated[
    str, BeforeValidator(values.name_pattern), _json_schema({"pattern": r"^[^/\\]+$"})
]
GroupBy = Annotated[str, BeforeValidator(values.group_by)]
InputPath = Annotated[
    str,
    BeforeValidator(values.input_path),
    _json_schema({"pattern": r"^[^\\*?]*[^\\*?./][^\\*?]*$"}),
]
RepositoryFile = Annotated[
    str, BeforeValidator(values.repository_path), _json_schema({"pattern": r"^[^/\\][^\\]*$"})
]
Account = Annotated[
    str,
    BeforeValidator(aws_values.account_id),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\d{12}$"}]}),
]
Bucket = Annotated[
    str,
    BeforeValidator(aws_values.bucket),
    _json_schema({"pattern": r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"}),
]
EnvName = Annotated[
    str, BeforeValidator(values.env_name), _json_schema({"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})
]
EnvValue = Annotated[
    str, BeforeValidator(values.variable), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
BranchName = Annotated[str, BeforeValidator(aws_values.branch)]


_ORG = r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}"
_REPO = r"(?=.{2,100}$)[A-Za-z0-9]+([._-][A-Za-z0-9]+)*"
_REPO_IS = "the name of a repository, 2 to 100 letters and digits with single '-', '_' or '.'"
_REGION = r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}"
_CONNECTION = (
    r"arn:aws[a-z-]*:(codestar-connections|codeconnections):[a-z0-9-]+:\d{12}"
    r":connection/[A-Za-z0-9-]+"
)
_CONNECTION_IS = "the ARN of a CodeConnections (CodeStar) connection"
_PROGRAM = r"https?://[^\s#]+(#sha256=[0-9A-Fa-f]{64})?"
_PROGRAM_IS = "the address of a file, with '#sha256=' and 64 digits behind it for another version"

Org = Annotated[
    str,
    BeforeValidator(aws_values.for_aws(_ORG, "a GitHub organization or user")),
    _json_schema({"pattern": f"^{_ORG}$"}),
]
Repo = Annotated[
    str,
    BeforeValidator(aws_values.for_aws(_REPO, _REPO_IS)),
    _json_schema({"pattern": f"^{_REPO}$"}),
]
Region = Annotated[
    str,
    BeforeValidator(aws_values.for_aws(_REGION, "an AWS region")),
    _json_schema({"pattern": f"^{_REGION}$"}),
]
Connection = Annotated[
    str,
    BeforeValidator(aws_values.for_aws(_CONNECTION, _CONNECTION_IS)),
    _json_schema({"pattern": f"^{_CONNECTION}$"}),
]
Program = Annotated[
    str,
    BeforeValidator(aws_values.for_aws(_PROGRAM, _PROGRAM_IS)),
    _json_schema({"pattern": f"^{_PROGRAM}$"}),
]


class Settings(_Keys):
    """Settings of runs: in `defaults:`, a pipeline or a config; the innermost value wins."""

    timeout: Timeout | None = _setting("timeout", "A run is stopped after this many seconds.", 900)
    memory: Memory | None = _setting(
        "memory", "A run is stopped when it uses more than this, in MB.", 1769
    )
    retries: Retries | None = _setting(
        "retries", "How often a run is repeated after a temporary failure.", 2
    )
    settle: Settle | None = _setting(
        "settle", "A file counts as arrived when it has not changed for this many seconds.", 2
    )
    max_wait: Duration | None = _setting(
        "max_wait",
        "A file that does not settle, or that a program keeps open for writing, is run this often"
        " all the same: seconds, or 20min, 6h, 1d.",
        "1h",
    )
    ignore: list[Annotated[str, BeforeValidator(values.pattern)]] | None = Field(
        default=None,
        description="Names of files that are not input, such as `*.log`; a pattern with a `/` is"
        " compared with the path below the config's folder.",
        examples=[["*.log", "test/*"]],
    )
    companions: dict[FileName, list[FileName]] | None = _key(
        "Ingests with readers that open a second file beside their input: by the pattern of a"
        " file's name, the names of its companions; each `*` in them is what it is in the pattern.",
        {"*_SST.CSV": ["*_FLT.CSV", "*_LOC.CSV"]},
    )
    group_by: GroupBy | None = _key(
        "Ingests: run files together that belong together: folder, hour or day (of the time in"
        " their names), or a regular expression with a group for what they have in common.",
        "day",
        r"station(\d+)_\d{8}",
    )
    concurrency: Concurrency | None = _setting(
        "concurrency", "How many runs of one config may run at the same time.", 4
    )
    expect_every: Duration | None = _setting(
        "expect_every",
        "Report it if no new data arrive for this long: seconds, or 20min, 6h, 1d.",
        "20min",
    )
    on_empty: OnEmpty | None = _setting(
        "on_empty",
        "What to do when a variable of a product came out empty, or a product is clearly poorer"
        " than the one that it replaces. warn: publish it, with a warning. fail: the run fails"
        " where a variable is empty. keep: keep the older product, where there is one.",
        "keep",
    )
    on_withdrawn: OnWithdrawn | None = _setting(
        "on_withdrawn",
        "What to do with a VAP's products when all inputs of their window are gone. move: take them"
        " off the record and move them to `.tidegate/withdrawn`, on AWS to `withdrawn/` in the"
        " bucket. mark: leave them, with a mark.",
        "mark",
    )
    architecture: Architecture | None = _setting(
        "architecture", "On AWS: the processor of the functions, x86_64 or arm64.", "arm64"
    )
    ephemeral_storage: EphemeralStorage | None = _setting(
        "ephemeral_storage",
        "On AWS: the disk for a run's inputs and products, in MB (`/tmp`).",
        4096,
    )
    window: Window | None = _setting(
        "window",
        "VAPs: the length of the time interval of one run: hour, day, week, month,"
        " or for example 30min, 6h, 2d.",
        "day",
    )
    since: Since | None = _setting(
        "since", "VAPs: do not process data before this date or time.", "2022-04-05"
    )
    environment: dict[EnvName, EnvValue] | None = _setting(
        "environment", "Environment variables for the run.", {"SITE_ALTITUDE": "12"}
    )
    inputs: list[Annotated[str, BeforeValidator(values.argument)]] | None = Field(
        default=None,
        description="Cron-triggered ingests without input files: the texts that the pipeline gets"
        " instead; {begin}, {end} and {time} are replaced with the times of the run.",
        examples=[["{begin:%Y%m}"]],
        min_length=1,
    )


_NOTIFY: Any = _key(
    "Who gets messages about failures, stale data and recoveries (docs/notify.md); "
    "the innermost one holds.",
    {"to": ["TIDEGATE_NOTIFY"]},
)


class ConfigEntry(Settings):
    """One config of a pipeline: a site, or a version."""

    config_file_path: RepositoryFile = Field(
        description="The Tsdat pipeline config file, relative to the pipelines repository.",
        examples=["pipelines/lidar/config/pipeline_humboldt.yaml"],
    )
    input_bucket_path: InputPath | None = _key(
        "The folder of the input bucket (or of `input/`) where its raw files arrive.",
        "lidar/humboldt/",
    )
    notify: NotifySettings | None = _NOTIFY


class PipelineEntry(Settings):
    """One pipeline and its configs."""

    name: Name = Field(description="The name of the pipeline.", examples=["lidar"])
    type: Annotated[Literal["Ingest", "VAP"], BeforeValidator(values.choice("Ingest", "VAP"))] = (
        Field(
            description="Ingest: raw files to products. VAP: products to further products.",
            examples=["Ingest"],
        )
    )
    trigger: Annotated[Literal["S3", "Cron"], BeforeValidator(values.choice("S3", "Cron"))] = Field(
        description="S3: runs when a file arrives (in a local folder, too)."
        " Cron: runs when its schedule is due. VAPs are Cron-triggered.",
        examples=["S3"],
    )
    schedule: Schedule | None = _key(
        "Cron-triggered pipelines: when it runs, in UTC. Hourly, Daily, Weekly, Monthly, or a cron"
        " expression of five fields (minute, hour, day, month, weekday).",
        "Hourly",
        "15 */6 * * *",
    )
    configs: dict[Name, ConfigEntry] = Field(
        description="The configs of the pipeline, by name: its sites or versions.",
        examples=[
            {
                "humboldt": {
                    "input_bucket_path": "lidar/humboldt/",
                    "config_file_path": "pipelines/lidar/config/pipeline_humboldt.yaml",
                }
            }
        ],
        min_length=1,
    )
    notify: NotifySettings | None = _NOTIFY


class AwsKeys(_Keys):
    """The deployment on AWS; not needed on one machine."""

    github_org: Org | None = _key(
        "The GitHub organization or user that owns both repositories.", "tsdat"
    )
    pipelines_repo_name: Repo | None = _key(
        "The name of the pipelines repository; names in AWS begin with it.", "pipeline-template"
    )
    aws_repo_name: Repo | None = _key(
        "The name of the deployment repository, which has this file.", "aws-template"
    )
    account_id: Account | None = _key(
        "The AWS account to deploy to, twelve digits.", "123456789012"
    )
    region: Region | None = _key("The AWS region to deploy to.", "us-west-2")
    input_bucket_name: Bucket | None = _key("The bucket where raw files arrive.", "tsdat-input")
    output_bucket_name: Bucket | None = _key("The bucket for products.", "tsdat-output")
    create_buckets: Annotated[bool, BeforeValidator(values.yes_or_no)] | None = _key(
        "true: the deployment creates the buckets, or adopts buckets of yours that exist."
        " false: the buckets must exist.",
        True,
        default=False,
    )
    versioning: Annotated[bool, BeforeValidator(values.yes_or_no)] | None = _key(
        "Earlier versions of files in the buckets are kept for 30 days. Without it, only in buckets"
        " that the deployment creates.",
        True,
    )
    keep_runs: Days | None = _key(
        "Delete the records of runs after this many days; products are kept.", 365, default=365
    )
    keep_logs: Days | None = _key(
        "Delete the logs of successful runs after this many days; those of failed runs are kept"
        " longer.",
        30,
        default=30,
    )
    ledger_backups: Annotated[bool, BeforeValidator(values.yes_or_no)] | None = _key(
        "The ledger can be restored to any second of the last 35 days,"
        " for about $0.20 a GB and month.",
        False,
        default=True,
    )
    github_actions: Annotated[bool, BeforeValidator(values.yes_or_no)] | None = _key(
        "true: GitHub Actions of the deployment repository may release the branch, with a role that"
        " the deployment makes.",
        True,
        default=False,
    )
    micromamba: Program | None = _key(
        "Where images get micromamba, for packages that only conda has, if not from its releases on"
        " GitHub. The file must be the same; write the SHA-256 of another one after `#sha256=`.",
        "https://mirror.example.org/micromamba-linux-64",
    )
    github_codestar_arn: Connection | None = _key(
        "The ARN of the connection between AWS and GitHub (CodeConnections, formerly CodeStar).",
        "arn:aws:codeconnections:us-west-2:123456789012:connection/"
        "5b0a2f7c-33a2-4c8f-9d4e-0f7c1f0e8a11",
    )


class BranchEntry(AwsKeys):
    """Other values for one branch."""


class PipelinesConfig(AwsKeys):
    """The whole file: which pipelines run, on what, when and where."""

    python: Annotated[str, BeforeValidator(values.python)] | None = _key(
        "The version of Python for the pipelines' environment, or the path of an interpreter.",
        "3.11",
    )
    exclude_newer: Since | None = _key(
        "The pipelines' environment ignores packages published after this date.", "2024-06-30"
    )
    repository: Text | None = _key(
        "The path of the pipelines repository, relative to this file."
        " Without it, Tidegate looks for it next to the file.",
        "../pipeline-template",
    )
    input: Text | None = _key(
        "Folder of raw files on this machine, from here or absolute.", "/raw", default="input"
    )
    output: Text | None = _key(
        "Folder of products on this machine, from here or absolute.", "/out", default="output"
    )
    executor: Executor | None = _key(
        "What carries runs out: worker processes on this machine, or Dask (docs/dask.md).",
        "dask",
        default="process",
    )
    dask: DaskSettings | None = _key(
        "For `executor: dask`: which cluster to use.", {"cluster": "slurm", "max": 20}
    )
    notify: NotifySettings | None = _NOTIFY
    defaults: Settings | None = _key(
        "Settings for all pipelines without their own.", {"timeout": 600}
    )
    branches: dict[BranchName, BranchEntry] | None = _key(
        "Other values of the keys for AWS, by branch.",
        {"dev": {"output_bucket_name": "tsdat-output-dev"}},
    )
    pipelines: list[PipelineEntry] = Field(
        description="The pipelines to run; [] while there is none yet.",
        examples=[
            [
                {
                    "name": "lidar",
                    "type": "Ingest",
                    "trigger": "S3",
                    "configs": {
                        "humboldt": {
                            "input_bucket_path": "lidar/humboldt/",
                            "config_file_path": "pipelines/lidar/config/pipeline_humboldt.yaml",
                        }
                    },
                }
            ]
        ],
    )

    def for_branch(self, branch: str) -> AwsKeys:
        """The keys for AWS with the values for that branch."""
        keys = self.model_dump(include=set(AwsKeys.model_fields))
        other = (self.branches or {}).get(branch)
        if other is not None:
            keys |= other.model_dump(exclude_none=True)
        return AwsKeys.model_validate({k: v for k, v in keys.items() if v is not None})


NUMBERS = frozenset(
    {
        "timeout",
        "memory",
        "retries",
        "settle",
        "max_wait",
        "concurrency",
        "expect_every",
        "ephemeral_storage",
        "keep_runs",
        "keep_logs",
        "ledger_backups",
        "versioning",
        "github_actions",
        "create_buckets",
        "at_most_every",
        "min",
        "max",
    }
)
"""The keys whose values may be numbers or true and false; all other values are text."""
