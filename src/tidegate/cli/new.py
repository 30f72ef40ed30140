"""The commands ``new …``: the files that something begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.options import Json
from tidegate.cli.view import View, plain
from tidegate.runtime.records import to_json
from tidegate.scaffold import deployment as kit
from tidegate.scaffold.deployment import Kit, Written
from tidegate.scaffold.deployment.answers import OPTIONS
from tidegate.scaffold.deployment.files import EARLIER
from tidegate.workspace.folder import CONFIG

app = typer.Typer(
    name="new", help="Write the files that a deployment begins with.", no_args_is_help=True
)

_COLOURS = {"written": "green", "replaced": "yellow", "kept": "cyan", "as it is": "bright_black"}


@app.command(
    epilog="Example: tidegate new deployment my-deployment --from pipeline-template"
    " --account 123456789012 --region us-west-2"
)
def deployment(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write to.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A pipelines repository, whose pipelines are filled in."),
    ] = None,
    org: Annotated[
        str | None, typer.Option("--org", help="The GitHub organization or user.")
    ] = None,
    repository: Annotated[
        str | None, typer.Option("--repository", help="The name of the pipelines repository.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--deployment", help="The name of the deployment repository.")
    ] = None,
    connection: Annotated[
        str | None, typer.Option("--connection", help="The ARN of the connection to GitHub.")
    ] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="The AWS account: twelve digits.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", help="The AWS region.")] = None,
    input_bucket: Annotated[
        str | None, typer.Option("--input-bucket", help="The bucket that raw files arrive in.")
    ] = None,
    output_bucket: Annotated[
        str | None, typer.Option("--output-bucket", help="The bucket that products go to.")
    ] = None,
    branch: Annotated[
        str | None, typer.Option("--branch", help="The branch that is deployed; main unless told.")
    ] = None,
    tidegate: Annotated[
        str | None,
        typer.Option(
            "--tidegate", help="Which Tidegate the container gets: a version, address or wheel."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write anew what is there and differs, but for the config."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a deployment repository: pipelines_config.yml, scripts, a container, a workflow."""
    out = View(as_json=as_json)
    given = {
        "github_org": org,
        "pipelines_repo_name": repository,
        "aws_repo_name": name,
        "github_codestar_arn": connection,
        "account_id": account,
        "region": region,
        "input_bucket_name": input_bucket,
        "output_bucket_name": output_bucket,
    }
    answers = kit.gather(directory, given, source=source, branch=branch, tidegate=tidegate)
    planned = kit.plan(directory, answers)
    written = planned.write(force=force)
    remarks, steps = _remarks(written), _steps(planned, written)
    if as_json:
        out.data(
            {
                "folder": str(directory),
                "files": to_json(written),
                "missing": answers.missing,
                "remarks": remarks,
                "next": steps,
            }
        )
        return
    out.table(
        ("file", ""),
        [(plain(file.path), f"[{_COLOURS[file.action]}]{file.action}[/]") for file in written],
    )
    for remark in remarks:
        out.note(remark)
    out.note("next:")
    for number, step in enumerate(steps, 1):
        out.note(f"  {number}. {step}")


def _remarks(written: tuple[Written, ...]) -> list[str]:
    """What became of files that were there."""
    kept = [path for path in _of(written, "kept") if path != CONFIG]
    remarks = []
    if CONFIG in _of(written, "kept"):
        remarks.append(f"{CONFIG} is there already, and is left as it is")
    if kept:
        remarks.append(f"there already, and left as before: {', '.join(kept)}; --force writes anew")
    for path in _of(written, "replaced"):
        remarks.append(f"what {path} was before is beside it, in {path}{EARLIER}")
    return remarks


def _steps(planned: Kit, written: tuple[Written, ...]) -> list[str]:
    """What a person does now, a sentence each."""
    answers, folder = planned.answers, planned.folder
    config, branch = folder / CONFIG, answers.branch
    steps = []
    if answers.missing and CONFIG not in _of(written, "kept"):
        keys = ", ".join(f"{key} ({OPTIONS[key]})" for key in answers.missing)
        steps.append(f"fill in {keys} in {config}")
    if not answers.pipelines and CONFIG not in _of(written, "kept"):
        steps.append(f"write your own pipelines in place of the examples in {config}")
    return [
        *steps,
        f"look {config} over, and have it checked: `tidegate check {folder}`",
        f"commit all of {folder}, and push it to GitHub",
        f"see whether it can be deployed: `tidegate doctor {branch} -w {folder}`",
        f"deploy: `tidegate deploy {branch} -w {folder}`; {folder / 'README.md'} has every step",
    ]


def _of(written: tuple[Written, ...], action: str) -> list[str]:
    return [file.path for file in written if file.action == action]
