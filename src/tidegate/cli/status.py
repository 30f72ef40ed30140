"""The command ``status``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Annotated, Any

import typer

from tidegate.cli import view
from tidegate.cli.local_status import show_local_status
from tidegate.cli.options import HERE, MAIN, In, Json, Profile, Region, Target
from tidegate.cli.view import View, plain, plain_lines
from tidegate.deploy import status as telling
from tidegate.deploy.core.branch import open_branch
from tidegate.deploy.costs import estimate as costs_of
from tidegate.deploy.status.model import (
    Bucket,
    Config,
    Function,
    Outputs,
    Release,
    Status,
    Unknown,
    Waiting,
)
from tidegate.runtime.wording import quantity
from tidegate.workspace.session import TargetOptions

app = typer.Typer()

_GOOD = {"Succeeded", "SUCCEEDED", "deployed", "fine"}
_BAD = {"Failed", "FAILED", "FAULT", "TIMED_OUT", "failed"}


@app.command(epilog="Examples: tidegate status -w my-workspace   ·   tidegate status main")
def status(
    branch: Annotated[
        str | None,
        typer.Argument(
            metavar="[BRANCH]",
            help="A branch that is deployed to AWS. Without it: this machine, or with"
            f" --target aws the branch {MAIN}.",
        ),
    ] = None,
    links: Annotated[
        bool,
        typer.Option("--links", help="Show links to all pages of the AWS console."),
    ] = False,
    costs: Annotated[
        bool, typer.Option("--costs", help="Show the monthly costs by kind of use.")
    ] = False,
    directory: In = HERE,
    target: Target = "local",
    profile: Profile = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show how each config stands: on this machine, or with a BRANCH, what is deployed on AWS."""
    out = View(as_json=as_json)
    if branch is None and target == "local" and not (links or costs):
        show_local_status(out, TargetOptions(directory))
        return
    branch = branch or MAIN
    found = telling.collect_status(open_branch(directory, branch, profile=profile, region=region))
    if as_json:
        out.data(telling.as_data(found))
        return
    out.line(
        f"[bold]{plain(found.branch)}[/] in the account {found.account}, {plain(found.region)}"
    )
    if not found.deployed:
        out.note(f"{branch} is not deployed; `tidegate deploy {branch}` deploys it")
    facts = list(_facts(found))
    out.table(("", "", ""), [(kind, name, state) for kind, name, state, _ in facts])
    out.line("")
    out.table(
        _COLUMNS, [_row(config) for config in found.configs], wide=("function", "lag", "next")
    )
    if costs and not isinstance(found.cost, Unknown):
        out.line("")
        out.line(plain_lines(costs_of.describe(found.cost)))
    if links:
        out.line("")
        rows = [(f"{kind.strip()} {name}".strip(), url) for kind, name, _, url in facts if url]
        rows += [(n, u) for n, u in found.urls.items()]
        rows += [(f"{c.id} {n}", u) for c in found.configs for n, u in c.urls.items()]
        out.table(("page of", ""), [(plain(name), plain(url)) for name, url in rows])


# The branch.


def _facts(found: Status) -> Iterator[tuple[str, str, str, str]]:
    """Rows about the branch: kind, name, state and console page of each part."""
    yield from _stacks(found)
    yield from _builds(found)
    yield from _releases(found)
    images = found.images
    if isinstance(images, Unknown):
        yield "images", "", _unknown(images), ""
    elif not images.exists:
        yield "images", plain(images.repository), "none", plain(images.url)
    else:
        text = f"{images.count}, {view.size(images.size)} in all"
        yield "images", plain(images.repository), text, plain(images.url)
        for image in images.images:
            how = f"{image.digest[7:19]}, {view.size(image.size)}, {view.moment(image.pushed)}"
            yield "  image", plain(image.pipeline), how if image.digest else "none", ""
    for bucket in found.buckets:
        yield _bucket(bucket)
    if isinstance(found.outputs, Unknown):
        yield "outputs", "", _unknown(found.outputs), ""
    elif found.outputs is not None:
        yield "outputs", "", _outputs(found.outputs), ""
    if isinstance(found.alarms, Unknown):
        yield "alarms", "", _unknown(found.alarms), ""
    else:
        text = f"[bold red]{found.alarms} firing[/]" if found.alarms else "none firing"
        yield "alarms", "", text, plain(found.urls["dashboard"])
    if isinstance(found.cost, Unknown):
        yield "cost", "", _unknown(found.cost), ""
    else:
        text = f"about ${found.cost.total:,.2f} a month (prices of {found.cost.dated})"
        yield "cost", "", text, ""


def _stacks(found: Status) -> Iterator[tuple[str, str, str, str]]:
    if isinstance(found.stacks, Unknown):
        yield "stacks", "", _unknown(found.stacks), ""
        return
    for stack in found.stacks:
        how = stack.status or "none"
        colour = "green" if how.endswith("_COMPLETE") and "ROLLBACK" not in how else "yellow"
        configs = f", {quantity(stack.configs, 'config')}" if stack.configs else ""
        since = f", {view.moment(stack.changed)}" if stack.changed else ""
        text = f"[{colour}]{plain(how)}[/]{since}{configs}" if stack.status else "none"
        yield "stack", plain(stack.name), text, plain(stack.url)


def _builds(found: Status) -> Iterator[tuple[str, str, str, str]]:
    pipeline = found.pipeline
    if isinstance(pipeline, Unknown):
        yield "CodePipeline", "", _unknown(pipeline), ""
    elif not pipeline.exists:
        yield "CodePipeline", plain(pipeline.name), "none", ""
    else:
        how = _coloured(pipeline.status or "has not run yet")
        commits = ", ".join(commit[:10] for commit in pipeline.commits.values())
        text = f"{how}, {view.moment(pipeline.began)} {plain(commits)}".rstrip()
        yield "CodePipeline", plain(pipeline.name), text, plain(pipeline.url)
        if isinstance(pipeline.stages, Unknown):
            yield "  stages", "", _unknown(pipeline.stages), ""
        else:
            for stage in pipeline.stages:
                said = f": {plain(stage.said)}" if stage.said else ""
                yield "  stage", plain(stage.name), _coloured(stage.status or "-") + said, ""
    build = found.build
    if isinstance(build, Unknown):
        yield "build", "", _unknown(build), ""
    elif not build.id:
        yield "build", "", "none", ""
    else:
        took = f", {view.moment(build.began)}"
        if build.began and build.ended:
            took += f", took {view.duration((build.ended - build.began).total_seconds())}"
        yield "build", plain(build.id), _coloured(build.status) + took, plain(build.url)


def _releases(found: Status) -> Iterator[tuple[str, str, str, str]]:
    current, latest = found.release, found.latest
    if isinstance(current, Unknown):
        yield "release", "", _unknown(current), ""
        return
    if current is None:
        yield "release", "", "none yet", ""
    else:
        yield "release", plain(current.id), _release(current), ""
    if isinstance(latest, Release) and latest != current:
        yield "  latest", plain(latest.id), _release(latest), ""


def _release(release: Release) -> str:
    who = plain(release.who.rsplit("/", 1)[-1])
    why = f": {plain(release.error.splitlines()[0])}" if release.error else ""
    commit = plain(release.commit[:10]) or "no commit"
    return f"{_coloured(release.state)}, {commit}, by {who}, {view.moment(release.when)}{why}"


def _bucket(bucket: Bucket | Unknown) -> tuple[str, str, str, str]:
    if isinstance(bucket, Unknown):
        return "bucket", "", _unknown(bucket), ""
    if bucket.objects is None:
        return f"{bucket.role} bucket", plain(bucket.name), "[red]does not exist[/]", ""
    more = " and more" if bucket.more else ""
    text = f"{quantity(bucket.objects, 'object')}, {view.size(bucket.bytes)}{more}"
    text += f", as of {view.moment(bucket.counted)}" if bucket.counted else ""
    return f"{bucket.role} bucket", plain(bucket.name), text, plain(bucket.url)


def _outputs(outputs: Outputs) -> str:
    if outputs.problem:
        return f"[red]{plain(outputs.problem)}[/]"
    if not outputs.looked_for:
        return "no product is on record"
    return f"the latest {quantity(outputs.looked_for, 'product')} on record are there"


# The configs.


_COLUMNS = (
    "config",
    "function",
    "last run",
    "outcome",
    "lag",
    "failed",
    "waiting",
    "dead",
    "next",
    "alarms",
)


def _row(config: Config) -> tuple[str, ...]:
    last = config.last
    began = outcome = lag = "-"
    if isinstance(last, Unknown):
        began = _unknown(last)
    elif last is not None:
        began = view.moment(last.started)
        colour = view.COLOURS.get(last.outcome.split(",")[0], "yellow")
        outcome = f"[{colour}]{plain(last.outcome)}[/]"
        lag = view.duration(last.lag) if last.lag is not None else "-"
    return (
        plain(config.id),
        _function(config.function),
        began,
        outcome,
        lag,
        _count(config.failed),
        *_queues(config.queues),
        _next(config),
        f"[bold red]{plain(', '.join(config.alarms))}[/]" if config.alarms else "-",
    )


def _function(found: Function | Unknown) -> str:
    if isinstance(found, Unknown):
        return _unknown(found)
    if not found.state:
        return "[yellow]not deployed[/]"
    commit = f" {plain(found.commit[:10])}" if found.commit else ""
    return f"{plain(found.state)}{commit}"


def _queues(found: Waiting | Unknown | None) -> tuple[str, str]:
    if isinstance(found, Unknown):
        return _unknown(found), "?"
    if found is None:
        return "-", "-"
    running = f" (+{found.running} running)" if found.running else ""
    return f"{found.waiting}{running}", f"[red]{found.dead}[/]" if found.dead else "0"


def _next(config: Config) -> str:
    if config.schedule in ("", "ENABLED", "unknown"):
        if config.next is None:
            return "-"
        days = (config.next - datetime.now(timezone.utc)).days
        return view.moment(config.next) + (f" (in {quantity(days, 'day')})" if days > 1 else "")
    return f"[yellow]{plain(config.schedule.lower())}[/]"


def _count(value: Any) -> str:
    if isinstance(value, Unknown):
        return "?"
    most = "+" if value >= telling.MOST_FAILURES else ""
    return f"[red]{value}{most}[/]" if value else "0"


def _unknown(value: Unknown) -> str:
    return f"[cyan]unknown: {plain(value.why)}[/]"


def _coloured(state: str) -> str:
    colour = "green" if state in _GOOD else "red" if state in _BAD else "yellow"
    return f"[{colour}]{plain(state)}[/]"
