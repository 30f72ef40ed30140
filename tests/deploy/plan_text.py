"""Plans as text, for snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from tidegate.deploy.design.codepipeline_model import CodePipeline, CodePipelinePlan
from tidegate.deploy.design.model import ConfigResources, Plan, Zip
from tidegate.deploy.design.roles import Role, Statement


def plan_text(plan: Plan) -> str:
    """The pipelines stacks."""
    lines = [f"{key}: {value}" for key, value in sorted(plan.tags.items())]
    lines += [f"ledger {plan.table}, alerts {plan.topic}"]
    for stack in plan.stacks:
        lines += ["", f"stack {stack.name} ({stack.count} resources)"]
        lines += [f"  dashboard {stack.dashboard}"]
        if stack.support:
            lines.append(f"  table {plan.table}, topic {plan.topic}")
        lines.append(f"  schedule group {stack.schedule_group}")
        lines += _role(stack.scheduler, "  ")
        if stack.arrivals is not None:
            lines.append(f"  event bus {stack.arrivals.bus}, from rule {stack.arrivals.rule.name}")
            lines.append(f"    {json.dumps(stack.arrivals.rule.pattern)}")
            lines.append(f"    what is not passed on to {stack.arrivals.dead_letters}")
            lines += _role(stack.arrivals.role, "    ")
        sweep = stack.sweep
        lines.append(f"  sweep {sweep.function.name}, {sweep.schedule.expression}")
        lines.append(f"    {sweep.schedule.message[:100]}")
        lines += _role(sweep.role, "    ")
        lines += [f"  alarm {alarm.name}" for alarm in (*stack.alarms, sweep.alarm)]
        for config in stack.configs:
            lines += ["", f"  {config.id}", *(f"    {line}" for line in _described(config))]
    return "\n".join([*lines, *([""] if plan.notes else []), *plan.notes]) + "\n"


def _described(config: ConfigResources) -> Iterator[str]:
    function, queue = config.function, config.queue
    yield f"function {function.name}"
    yield (
        f"  {function.architecture}, {function.memory} MB, {function.timeout} s, /tmp"
        f" {function.ephemeral_storage} MB"
        + (f", at most {function.reserved} at a time" if function.reserved else "")
    )
    code = function.code
    yield f"  s3://{code.bucket}/{code.key}" if isinstance(code, Zip) else f"  {function.image}"
    yield from (f"  {name}={value}" for name, value in function.environment.items())
    yield f"log group {function.log_group}, {function.log_retention} days"
    yield f"queue {queue.name}, hidden {queue.visibility} s, {queue.concurrency} at a time"
    yield f"  after {queue.receives} receives to {queue.dead_letters}, kept {queue.retention} s"
    if config.rule is not None:
        yield f"rule {config.rule.name} on {config.rule.bus}"
        yield f"  {json.dumps(config.rule.pattern)}"
    for schedule in config.schedules:
        yield f"schedule {schedule.name} {schedule.expression}"
        yield f"  {schedule.message}"
    yield from _role(config.role, "")
    for alarm in config.alarms:
        yield f"alarm {alarm.name}"
        what = alarm.expression or alarm.metrics[0].name
        yield (
            f"  {what} {'<' if alarm.below else '>'} {alarm.threshold:g}, {alarm.periods} x"
            f" {alarm.period} s, missing is {alarm.missing}"
        )


def _role(role: Role, indent: str) -> Iterator[str]:
    """A role in words, as part of a plan."""
    yield f"{indent}role {(role.path + role.name).lstrip('/')} of {role.service or role.provider}"
    if role.boundary:
        yield f"{indent}  at most as {role.boundary}"
    yield from _statements(role.statements, indent)


def _statements(statements: Iterable[Statement], indent: str) -> Iterator[str]:
    """Permissions in words, as part of a plan."""
    for statement in statements:
        yield f"{indent}  {statement.sid}: {', '.join(statement.actions)}"
        yield from (f"{indent}    on {resource}" for resource in statement.resources)
        if statement.condition:
            yield f"{indent}    if {json.dumps(statement.condition)}"


def codepipeline_text(plan: CodePipelinePlan) -> str:
    """The CodePipeline stack."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: CodePipelinePlan) -> Iterator[str]:
    yield from (f"{key}: {value}" for key, value in sorted(plan.tags.items()))
    yield f"stack {plan.stack} ({plan.count} resources)"
    yield f"  topic {plan.topic}, artifacts in {plan.artifacts}"
    if plan.pipeline is None:
        yield "  no pipeline: the config does not say all of github_org, aws_repo_name and"
        yield "    github_codestar_arn"
    else:
        yield from _described_pipeline(plan.pipeline)
    yield f"  project {plan.project.name}"
    yield f"    {plan.project.machine}, {plan.project.compute}, {plan.project.minutes} min"
    yield f"    {plan.project.image}, privileged"
    yield f"    log group {plan.project.log_group}, {plan.project.log_retention} days"
    yield from (f"    | {line}" for line in plan.project.buildspec.splitlines())
    yield from _role(plan.project.role, "    ")
    yield f"  images {plan.repository.name}"
    yield f"    tags may be moved: {', '.join(plan.repository.moving_tags)}"
    for rule in json.loads(plan.repository.lifecycle)["rules"]:
        selection = rule["selection"]
        count = f"{selection['countType']} {selection['countNumber']}"
        yield f"    {rule['description']}: removed when {count}"
    yield f"    for {json.dumps(plan.repository.readers.condition['ArnLike'])}"
    yield from _role(plan.deploy_role, "  ")
    yield f"  boundary {plan.boundary}"
    yield from _statements(plan.boundary_statements, "  ")
    for notification in plan.notifications:
        yield f"  rule {notification.name}"
        yield f"    {json.dumps(notification.pattern)}"
        yield f"    {notification.text}"


def _described_pipeline(pipeline: CodePipeline) -> Iterator[str]:
    yield f"  pipeline {pipeline.name}"
    yield f"    by {pipeline.connection}"
    for source in pipeline.sources:
        yield f"    {source.name}: {source.repository} at {source.branch}"
        yield f"      started by {', '.join(source.paths)}"
    yield from _role(pipeline.role, "    ")
