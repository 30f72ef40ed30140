"""What a branch has in AWS by name, kind by kind: how it is found, and how it is removed.

Stacks remove their own; this is for what lies in none: what the older recipe made by itself, and
what a deletion that was broken off has left. ``HANDLERS`` are in the order in which things are
removed: first what sets runs off, then what runs, then what logs of it are left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.deploy.core.place import Place
from tidegate.deploy.resources.ownership import Kind
from tidegate.targets.aws.clients import Clients, Missing, code_of, explained


@dataclass(frozen=True)
class Seen:
    """One thing that is there."""

    kind: Kind
    """What it is."""
    name: str
    """Its name."""
    arn: str
    """Its ARN; of a queue, its address."""
    detail: str = ""
    """What a person should know of it."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """A function's environment variables."""
    tags: Mapping[str, str] | None = None
    """Its tags, where they came with it."""


@dataclass(frozen=True)
class Way:
    """The way to one account."""

    clients: Clients
    """With whose credentials."""
    place: Place
    """The account and region."""

    def pages(self, service: str, operation: str, part: str, **arguments: Any) -> Iterator[Any]:
        """All items of a list that AWS gives in pages."""
        for page in self.clients.client(service).get_paginator(operation).paginate(**arguments):
            yield from page.get(part, ())


@dataclass(frozen=True)
class Handler:
    """How things of one kind are found and removed."""

    kind: Kind
    """Which."""
    find: Callable[[Way, str], Iterator[Seen]]
    """All whose names begin so."""
    tags: Callable[[Way, Seen], Mapping[str, str]]
    """The tags of one."""
    remove: Callable[[Way, Seen], None]
    """Remove one; one that is gone by now is as good."""


def tags_of(handler: Handler, way: Way, seen: Seen) -> Mapping[str, str]:
    """The tags of something; none when it is gone."""
    if seen.tags is not None:
        return seen.tags
    try:
        with explained(f"read the tags of the {seen.kind}", seen.name):
            return handler.tags(way, seen)
    except Exception as error:
        if is_gone(error):
            return {}
        raise


def remove(handler: Handler, way: Way, seen: Seen) -> None:
    """Remove something; it may be gone by now.

    Raises:
        StorageError: AWS refuses.
    """
    try:
        with explained(f"remove the {seen.kind}", seen.name):
            handler.remove(way, seen)
    except Exception as error:
        if not is_gone(error):
            raise


def is_gone(error: BaseException) -> bool:
    """Whether an error says that there is no such thing."""
    return isinstance(error, Missing) or code_of(error) in _GONE


_GONE = {
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchEntity",
    "NotFound",
    "NotFoundException",
    "PipelineNotFoundException",
    "QueueDoesNotExist",
    "RepositoryNotFoundException",
    "ResourceNotFound",
    "ResourceNotFoundException",
}


def _listed(items: Any, key: str = "Key", value: str = "Value") -> dict[str, str]:
    """Tags as a mapping, from a list of pairs."""
    return {str(item[key]): str(item.get(value, "")) for item in items or ()}


# Rules of EventBridge.


def _rules(way: Way, prefix: str) -> Iterator[Seen]:
    for rule in way.pages("events", "list_rules", "Rules", NamePrefix=prefix):
        detail = rule.get("ScheduleExpression", "")
        yield Seen("rule", rule["Name"], rule["Arn"], detail)


def _rule_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    answer = way.clients.client("events").list_tags_for_resource(ResourceARN=seen.arn)
    return _listed(answer.get("Tags"))


def _remove_rule(way: Way, seen: Seen) -> None:
    client = way.clients.client("events")
    targets = way.pages("events", "list_targets_by_rule", "Targets", Rule=seen.name)
    ids = [target["Id"] for target in targets]
    for n in range(0, len(ids), 100):
        client.remove_targets(Rule=seen.name, Ids=ids[n : n + 100])
    client.delete_rule(Name=seen.name)


# Schedules.


def _groups(way: Way, prefix: str) -> Iterator[Seen]:
    pages = way.pages("scheduler", "list_schedule_groups", "ScheduleGroups", NamePrefix=prefix)
    for group in pages:
        if group.get("State", "ACTIVE") == "ACTIVE":  # else it is being deleted
            yield Seen("schedule group", group["Name"], group["Arn"], "with its schedules")


def _group_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    answer = way.clients.client("scheduler").list_tags_for_resource(ResourceArn=seen.arn)
    return _listed(answer.get("Tags"))


def _remove_group(way: Way, seen: Seen) -> None:
    way.clients.client("scheduler").delete_schedule_group(Name=seen.name)


# Functions.


def _functions(way: Way, prefix: str) -> Iterator[Seen]:
    for function in way.pages("lambda", "list_functions", "Functions"):
        name = function["FunctionName"]
        if name.startswith(prefix):
            settings = function.get("Environment", {}).get("Variables", {})
            changed = str(function.get("LastModified", ""))[:10]
            detail = f"last changed {changed}" if changed else ""
            yield Seen("function", name, function["FunctionArn"], detail, settings)


def _function_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    answer = way.clients.client("lambda").list_tags(Resource=seen.arn)
    return {str(key): str(value) for key, value in answer.get("Tags", {}).items()}


def _remove_function(way: Way, seen: Seen) -> None:
    client = way.clients.client("lambda")
    mappings = way.pages(
        "lambda", "list_event_source_mappings", "EventSourceMappings", FunctionName=seen.name
    )
    for mapping in list(mappings):
        client.delete_event_source_mapping(UUID=mapping["UUID"])
    client.delete_function(FunctionName=seen.name)


# Alarms and dashboards.


def _alarms(way: Way, prefix: str) -> Iterator[Seen]:
    pages = way.pages("cloudwatch", "describe_alarms", "MetricAlarms", AlarmNamePrefix=prefix)
    for alarm in pages:
        yield Seen("alarm", alarm["AlarmName"], alarm["AlarmArn"])


def _alarm_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    answer = way.clients.client("cloudwatch").list_tags_for_resource(ResourceARN=seen.arn)
    return _listed(answer.get("Tags"))


def _remove_alarm(way: Way, seen: Seen) -> None:
    way.clients.client("cloudwatch").delete_alarms(AlarmNames=[seen.name])


def _dashboards(way: Way, prefix: str) -> Iterator[Seen]:
    pages = way.pages(
        "cloudwatch", "list_dashboards", "DashboardEntries", DashboardNamePrefix=prefix
    )
    for entry in pages:
        # They have no tags.
        yield Seen("dashboard", entry["DashboardName"], entry.get("DashboardArn", ""), tags={})


def _remove_dashboard(way: Way, seen: Seen) -> None:
    way.clients.client("cloudwatch").delete_dashboards(DashboardNames=[seen.name])


# Queues and topics.


def _queues(way: Way, prefix: str) -> Iterator[Seen]:
    for url in way.pages("sqs", "list_queues", "QueueUrls", QueueNamePrefix=prefix):
        yield Seen("queue", url.rsplit("/", 1)[-1], url)


def _queue_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    answer = way.clients.sqs.list_queue_tags(QueueUrl=seen.arn)
    return {str(key): str(value) for key, value in answer.get("Tags", {}).items()}


def _remove_queue(way: Way, seen: Seen) -> None:
    way.clients.sqs.delete_queue(QueueUrl=seen.arn)


def _topics(way: Way, prefix: str) -> Iterator[Seen]:
    for topic in way.pages("sns", "list_topics", "Topics"):
        name = topic["TopicArn"].rsplit(":", 1)[-1]
        if name.startswith(prefix):
            yield Seen("topic", name, topic["TopicArn"], "with its subscriptions")


def _topic_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    answer = way.clients.client("sns").list_tags_for_resource(ResourceArn=seen.arn)
    return _listed(answer.get("Tags"))


def _remove_topic(way: Way, seen: Seen) -> None:
    way.clients.client("sns").delete_topic(TopicArn=seen.arn)


# Roles.


def _roles(way: Way, prefix: str) -> Iterator[Seen]:
    for role in way.pages("iam", "list_roles", "Roles"):
        if role["RoleName"].startswith(prefix):
            yield Seen("role", role["RoleName"], role["Arn"])


def _role_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    return _listed(way.clients.client("iam").list_role_tags(RoleName=seen.name).get("Tags"))


def _remove_role(way: Way, seen: Seen) -> None:
    client, role = way.clients.client("iam"), seen.name
    attached = way.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role)
    for policy in list(attached):
        client.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
    for name in list(way.pages("iam", "list_role_policies", "PolicyNames", RoleName=role)):
        client.delete_role_policy(RoleName=role, PolicyName=name)
    client.delete_role(RoleName=role)


def _policies(way: Way, prefix: str) -> Iterator[Seen]:
    for policy in way.pages("iam", "list_policies", "Policies", Scope="Local"):
        if policy["PolicyName"].startswith(prefix):
            yield Seen("policy", policy["PolicyName"], policy["Arn"])


def _policy_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    return _listed(way.clients.client("iam").list_policy_tags(PolicyArn=seen.arn).get("Tags"))


def _remove_policy(way: Way, seen: Seen) -> None:
    client = way.clients.client("iam")
    versions = list(way.pages("iam", "list_policy_versions", "Versions", PolicyArn=seen.arn))
    for version in versions:
        if not version["IsDefaultVersion"]:
            client.delete_policy_version(PolicyArn=seen.arn, VersionId=version["VersionId"])
    client.delete_policy(PolicyArn=seen.arn)


# What builds.


def _pipelines(way: Way, prefix: str) -> Iterator[Seen]:
    for pipeline in way.pages("codepipeline", "list_pipelines", "pipelines"):
        name = pipeline["name"]
        if name.startswith(prefix):
            yield Seen("pipeline", name, way.place.arn("codepipeline", name))


def _pipeline_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    answer = way.clients.client("codepipeline").list_tags_for_resource(resourceArn=seen.arn)
    return _listed(answer.get("tags"), "key", "value")


def _remove_pipeline(way: Way, seen: Seen) -> None:
    way.clients.client("codepipeline").delete_pipeline(name=seen.name)


def _projects(way: Way, prefix: str) -> Iterator[Seen]:
    names = [
        name
        for name in way.pages("codebuild", "list_projects", "projects")
        if name.startswith(prefix)
    ]
    client = way.clients.client("codebuild")
    for n in range(0, len(names), 100):
        for project in client.batch_get_projects(names=names[n : n + 100]).get("projects", ()):
            tags = _listed(project.get("tags"), "key", "value")
            yield Seen("build project", project["name"], project["arn"], tags=tags)


def _remove_project(way: Way, seen: Seen) -> None:
    way.clients.client("codebuild").delete_project(name=seen.name)


def _repositories(way: Way, prefix: str) -> Iterator[Seen]:
    for repository in way.pages("ecr", "describe_repositories", "repositories"):
        name = repository["repositoryName"]
        if name.startswith(prefix):
            yield Seen("repository", name, repository["repositoryArn"], "with its images")


def _repository_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    answer = way.clients.client("ecr").list_tags_for_resource(resourceArn=seen.arn)
    return _listed(answer.get("tags"))


def _remove_repository(way: Way, seen: Seen) -> None:
    way.clients.client("ecr").delete_repository(repositoryName=seen.name, force=True)


# Logs.


def _log_groups(way: Way, prefix: str) -> Iterator[Seen]:
    pages = way.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
    for group in pages:
        arn = str(group.get("arn", "")).removesuffix(":*")
        yield Seen("log group", group["logGroupName"], arn)


def _log_group_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    answer = way.clients.client("logs").list_tags_for_resource(resourceArn=seen.arn)
    return {str(key): str(value) for key, value in answer.get("tags", {}).items()}


def _remove_log_group(way: Way, seen: Seen) -> None:
    way.clients.client("logs").delete_log_group(logGroupName=seen.name)


def _no_tags(way: Way, seen: Seen) -> Mapping[str, str]:
    return {}


HANDLERS: tuple[Handler, ...] = (
    Handler("rule", _rules, _rule_tags, _remove_rule),
    Handler("schedule group", _groups, _group_tags, _remove_group),
    Handler("pipeline", _pipelines, _pipeline_tags, _remove_pipeline),
    Handler("build project", _projects, _no_tags, _remove_project),
    Handler("function", _functions, _function_tags, _remove_function),
    Handler("alarm", _alarms, _alarm_tags, _remove_alarm),
    Handler("dashboard", _dashboards, _no_tags, _remove_dashboard),
    Handler("queue", _queues, _queue_tags, _remove_queue),
    Handler("role", _roles, _role_tags, _remove_role),
    Handler("policy", _policies, _policy_tags, _remove_policy),
    Handler("topic", _topics, _topic_tags, _remove_topic),
    Handler("repository", _repositories, _repository_tags, _remove_repository),
    Handler("log group", _log_groups, _log_group_tags, _remove_log_group),
)
"""One of each kind, in the order in which things are removed."""
