"""The commands ``new …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.cli import new_ingest, new_site, new_vap
from tidegate.cli.options import Json
from tidegate.cli.view import View, plain
from tidegate.runtime.records import to_json
from tidegate.scaffold.deployment import DeploymentFiles, Written, gather, plan
from tidegate.scaffold.deployment.answers import OPTIONS
from tidegate.scaffold.deployment.files import BACKUP_SUFFIX, EDITED
from tidegate.workspace.folder import CONFIG

app = typer.Typer(
    name="new", help="Write the files of a new deployment repository.", no_args_is_help=True
)

app.command(name="workspace", epilog=new_site.WORKSPACE_EPILOG)(new_site.workspace)
app.command(name="site", epilog=new_site.SITE_EPILOG)(new_site.site)
app.command(name="ingest", epilog=new_ingest.EPILOG)(new_ingest.ingest)
app.command(name="vap", epilog=new_vap.EPILOG)(new_vap.vap)

_COLOURS = {"written": "green", "replaced": "yellow", "kept": "cyan", "as it is": "bright_black"}


def _option(name: str, help: str) -> Any:
    return typer.Option(name, help=help)


@app.command(
    epilog="Example: tidegate new deployment my-deployment --from pipeline-template"
    " --account 123456789012 --region us-west-2"
)
def deployment(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write to.")],
    source: Annotated[
        Path | None, _option("--from", "A pipelines repository; its pipelines are filled in.")
    ] = None,
    org: Annotated[str | None, _option("--org", "The GitHub organization or user.")] = None,
    repository: Annotated[
        str | None, _option("--repository", "The name of the pipelines repository.")
    ] = None,
    name: Annotated[
        str | None, _option("--deployment", "The name of the deployment repository.")
    ] = None,
    connection: Annotated[
        str | None, _option("--connection", "The ARN of the connection to GitHub.")
    ] = None,
    account: Annotated[str | None, _option("--account", "The AWS account: twelve digits.")] = None,
    region: Annotated[str | None, _option("--region", "The AWS region.")] = None,
    input_bucket: Annotated[
        str | None, _option("--input-bucket", "The bucket that raw files arrive in.")
    ] = None,
    output_bucket: Annotated[
        str | None, _option("--output-bucket", "The bucket for products.")
    ] = None,
    branch: Annotated[
        str | None, _option("--branch", "The branch to deploy; default: that of --from, or main.")
    ] = None,
    tidegate: Annotated[
        str | None,
        _option("--tidegate", "Install this Tidegate in the container: version, address or wheel."),
    ] = None,
    force: Annotated[
        bool,
        _option(
            "--force", "Replace files that differ, except pipelines_config.yml and cdk_app.py."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a deployment repository: pipelines_config.yml, scripts, a container, a workflow."""
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
    answers = gather(directory, given, source=source, branch=branch, tidegate=tidegate)
    planned = plan(directory, answers)
    _show(View(as_json=as_json), planned, planned.write(force=force))


def _show(out: View, planned: DeploymentFiles, written: tuple[Written, ...]) -> None:
    remarks, steps = _remarks(written), _steps(planned, written)
    if out.as_json:
        out.data(
            {
                "folder": str(planned.folder),
                "files": to_json(written),
                "missing": planned.answers.missing,
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
    out.note("next steps:")
    for number, step in enumerate(steps, 1):
        out.note(f"  {number}. {step}")


def _remarks(written: tuple[Written, ...]) -> list[str]:
    """What happened to files that existed before."""
    kept = [path for path in _of(written, "kept") if path not in EDITED]
    remarks = [
        f"{path} exists already and was not changed"
        for path in _of(written, "kept")
        if path in EDITED
    ]
    if kept:
        remarks.append(f"exist already, not changed: {', '.join(kept)}; --force replaces them")
    for path in _of(written, "replaced"):
        remarks.append(f"the previous {path} was saved as {path}{BACKUP_SUFFIX}")
    return remarks


def _steps(planned: DeploymentFiles, written: tuple[Written, ...]) -> list[str]:
    """What to do next, one sentence a step."""
    answers, folder = planned.answers, planned.folder
    here = "this folder" if folder == Path() else str(folder)
    config, branch = folder / CONFIG, answers.branch
    steps = []
    if answers.missing and CONFIG not in _of(written, "kept"):
        keys = ", ".join(f"{key} ({OPTIONS[key]})" for key in answers.missing)
        steps.append(f"fill in {keys} in {config}")
    if not answers.pipelines and CONFIG not in _of(written, "kept"):
        steps.append(f"replace the example pipelines in {config} with your own")
    return [
        *steps,
        f"read {config} and check it: `tidegate check {folder}`",
        f"commit everything in {here} and push it to GitHub",
        f"check whether it can be deployed: `tidegate doctor {branch} -w {folder}`",
        f"deploy: `tidegate deploy {branch} -w {folder}`; {folder / 'README.md'} has the steps",
    ]


def _of(written: tuple[Written, ...], action: str) -> list[str]:
    return [file.path for file in written if file.action == action]
