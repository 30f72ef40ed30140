"""The credentials: who they belong to, how long they are valid, and their permissions."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from tidegate.config import AwsKeys
from tidegate.deploy.core.console import Console
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.codepipeline import GITHUB
from tidegate.deploy.doctor.finding import Finding, of_error, ok, problem, unknown, warning
from tidegate.errors import ConfigurationError, StorageError, TidegateError
from tidegate.targets.aws.clients import Clients, explained
from tidegate.targets.aws.names import Names

SOON = timedelta(hours=1)
"""Credentials that expire within this time may expire during a release."""
_METHODS = {
    "assume-role": "a role that the profile assumes",
    "assume-role-with-web-identity": "a web identity",
    "container-role": "the container's role",
    "custom-process": "the profile's own process",
    "env": "the environment",
    "iam-role": "the machine's role",
    "login": "`aws login`",
    "shared-credentials-file": "the credentials file",
    "sso": "single sign-on",
}


@dataclass(frozen=True)
class Caller:
    """The caller, as AWS identifies it."""

    arn: str
    """The ARN."""
    account: str
    """The account."""


def credentials(
    clients: Clients, now: datetime | None = None
) -> tuple[Caller | None, list[Finding]]:
    """Check that there are credentials that AWS accepts, and until when."""
    try:
        sign_in = clients.sign_in()
    except TidegateError as error:  # such as a profile that does not exist
        return None, [of_error("credentials", error, "problem")]
    try:
        found = clients.credentials()
    except TidegateError as error:
        return None, [problem("credentials", f"{error.what}: {error.why}", f"`{sign_in}`")]
    if found is None:
        return None, [
            problem(
                "credentials",
                "there are none: no profile, no environment variables, no role of this machine",
                f"`{sign_in}`, or name a profile with --profile or AWS_PROFILE",
            )
        ]
    try:
        with explained("identify the credentials"):
            identity = clients.client("sts").get_caller_identity()
    except ConfigurationError as error:
        again = problem(
            "credentials", f"{error.what}: {error.why}", f"`{sign_in}`, then run this again"
        )
        return None, [again]
    except TidegateError as error:
        return None, [of_error("credentials", error, "problem")]
    caller = Caller(str(identity["Arn"]), str(identity["Account"]))
    by = _METHODS.get(found.method, found.method)
    who = f"{caller.arn}, by {by}"
    moment = now or datetime.now(timezone.utc)
    if caller.arn.endswith(":root"):
        finding = warning(
            "credentials",
            f"{who}: this is the root user of the account, who may do everything",
            "use an IAM user or role, or single sign-on",
        )
    elif found.expires is not None and found.expires - moment < SOON:
        finding = warning(
            "credentials",
            f"{who}, only until {_time(found.expires)}: a release may take longer",
            f"`{sign_in}` before you deploy",
        )
    elif found.expires is not None:
        finding = ok("credentials", f"{who}, until {_time(found.expires)}")
    elif found.temporary:
        finding = ok("credentials", f"{who}, until an unknown time")
    else:
        finding = ok("credentials", f"{who}, without expiry")
    return caller, [finding]


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def account(caller: Caller, keys: AwsKeys, where: str) -> Iterator[Finding]:
    """Check that the credentials are for the account that the config deploys to."""
    if keys.account_id is None:
        return
    if caller.account == keys.account_id:
        yield ok("account", f"{caller.account}, as in the config")
    else:
        yield problem(
            "account",
            f"the credentials are for the account {caller.account}, and the config deploys to"
            f" {keys.account_id} ({where})",
            "choose the right profile with --profile, or correct `account_id`",
        )


def region(clients: Clients, keys: AwsKeys) -> Iterator[Finding]:
    """Check that the region exists."""
    if keys.region is None:
        return
    known = clients.regions("lambda")
    if keys.region in known:
        yield ok("region", keys.region)
    else:
        close = difflib.get_close_matches(keys.region, known, 1)
        meant = f"did you mean {close[0]}? " if close else ""
        yield warning(
            "region",
            f"the installed boto3 does not know the region {keys.region}",
            f"{meant}A region that is newer than boto3 works nevertheless",
        )


# Permissions.


@dataclass(frozen=True)
class Need:
    """Something that a deployment does with the caller's own permissions."""

    what: str
    """The purpose."""
    actions: tuple[str, ...]
    """The actions."""
    resources: tuple[str, ...]
    """The resources."""


def needs(names: Names, place: Place, keys: AwsKeys) -> tuple[Need, ...]:
    """The permissions that the caller needs to deploy; pipelines stacks use their own role."""
    artifacts = names.artifacts_bucket(place.account, place.region)
    buckets = [b for b in (keys.input_bucket_name, keys.output_bucket_name, artifacts) if b]
    stacks = (names.codepipeline_stack, names.pipelines_stack)
    roles = [names.build_role, names.codepipeline_role, names.deploy_role]
    roles += [names.github_role] if keys.github_actions else []
    found = [
        _need("stacks", "cloudformation", _STACKS, *(
            place.arn("cloudformation", f"stack/{name}/*") for name in stacks
        )),
        _need("stacks", "cloudformation", ("ListStacks",), "*"),
        _need("roles", "iam", _ROLES, *(place.role(name) for name in roles)),
        _need("roles", "iam", ("CreatePolicy", "GetPolicy", "CreatePolicyVersion"),
              place.policy(names.boundary)),
        _need("buckets", "s3", _BUCKETS, *(place.bucket(name) for name in buckets)),
        _need("sources", "s3", ("GetObject", "PutObject"), place.bucket(artifacts, "source/x")),
        _need("ledger", "dynamodb", _TABLE, place.arn("dynamodb", f"table/{names.ledger_table}")),
        _need("images", "ecr", ("CreateRepository", "DescribeRepositories", "DescribeImages"),
              place.arn("ecr", f"repository/{names.image_repository}")),
        _need("images", "ecr", ("GetAuthorizationToken",), "*"),
        _need("builds", "codebuild", ("CreateProject", "StartBuild", "BatchGetBuilds"),
              place.arn("codebuild", f"project/{names.build_project}")),
        _need("builds", "events", ("PutRule", "PutTargets"),
              *(place.arn("events", f"rule/{rule}")
                for rule in (names.build_rule, names.recovery_rule))),
        _need("alerts", "sns", ("CreateTopic", "SetTopicAttributes", "GetTopicAttributes"),
              place.arn("sns", names.alerts_topic)),
    ]  # fmt: skip
    if keys.github_actions:
        found.append(_need("GitHub Actions", "iam", _PROVIDER, place.identity_provider(GITHUB)))
    if keys.github_codestar_arn:
        arn = keys.github_codestar_arn
        found += [
            _need("CodePipeline", "codepipeline", _PIPELINE,
                  place.arn("codepipeline", names.codepipeline)),
            # Permissions on a connection depend on the prefix of its ARN.
            _need("connection", arn.split(":")[2], ("GetConnection", "PassConnection"), arn),
        ]  # fmt: skip
    return tuple(found)


def _need(what: str, service: str, actions: tuple[str, ...], *resources: str) -> Need:
    return Need(what, tuple(f"{service}:{action}" for action in actions), resources)


_STACKS = (
    "CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet", "DeleteChangeSet",
    "ListChangeSets", "DescribeStacks", "DescribeStackEvents", "ListStackResources",
    "GetTemplate", "GetTemplateSummary", "DeleteStack",
)  # fmt: skip
_ROLES = (
    "CreateRole", "GetRole", "PutRolePolicy", "DeleteRolePolicy", "PutRolePermissionsBoundary",
    "TagRole", "PassRole",
)  # fmt: skip
_BUCKETS = (
    "CreateBucket", "ListBucket", "GetBucketLocation", "GetBucketPolicy", "PutBucketPolicy",
    "GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock", "GetEncryptionConfiguration",
    "PutEncryptionConfiguration", "GetLifecycleConfiguration", "PutLifecycleConfiguration",
    "GetBucketNotification", "PutBucketNotification", "PutBucketTagging", "GetBucketVersioning",
    "PutBucketVersioning",
)  # fmt: skip
_TABLE = (
    "CreateTable", "DescribeTable", "UpdateTable", "DescribeTimeToLive", "UpdateTimeToLive",
    "DescribeContinuousBackups", "UpdateContinuousBackups", "TagResource", "GetItem", "PutItem",
    "DeleteItem", "Query",
)  # fmt: skip
_PROVIDER = (
    "CreateOpenIDConnectProvider", "GetOpenIDConnectProvider", "AddClientIDToOpenIDConnectProvider",
)  # fmt: skip
_PIPELINE = ("CreatePipeline", "UpdatePipeline", "GetPipelineState", "StartPipelineExecution")


def permissions(clients: Clients, caller: Caller, wanted: tuple[Need, ...]) -> Iterator[Finding]:
    """Check the caller's permissions with IAM's simulator, if the caller may use it."""
    if caller.arn.endswith(":root"):
        yield ok("permissions", "the root user of the account may do everything")
        return
    try:
        principal = _principal(clients, caller)
        missing = [
            (need, action, decision)
            for need in wanted
            for action, decision in _decisions(clients, principal, need)
            if decision != "allowed"
        ]
    except StorageError as error:
        yield unknown(
            "permissions",
            f"IAM does not simulate their permissions: {error.why or error.what}",
            "allow iam:SimulatePrincipalPolicy and iam:GetRole to check them; without the check, a"
            " deployment says which permission is missing, and continues when it is added",
        )
        return
    count = sum(len(need.actions) for need in wanted)
    if not missing:
        yield ok(
            "permissions",
            f"all {count} actions of a deployment are allowed, according to IAM's simulator",
        )
        return
    by_need: dict[Need, list[str]] = {}
    for need, action, decision in missing:
        denied = " (explicitly denied)" if decision == "explicitDeny" else ""
        by_need.setdefault(need, []).append(action + denied)
    for need, actions in by_need.items():
        yield problem(
            "permissions",
            f"{need.what}: not allowed {', '.join(actions)}",
            f"allow them on {' and '.join(need.resources)} for {principal}",
            Console(Place(caller.account, "us-east-1")).role(principal.rsplit("/", 1)[-1])
            if ":role/" in principal
            else "",
        )


def _principal(clients: Clients, caller: Caller) -> str:
    """The ARN of the user or role: IAM does not accept the ARN of a session."""
    parts = caller.arn.split(":", 5)
    kind, _, rest = parts[5].partition("/")
    if kind != "assumed-role":
        return caller.arn
    role = rest.split("/")[0]
    with explained("read the role", f"arn:{parts[1]}:iam::{caller.account}:role/{role}"):
        # The session's ARN does not contain the role's path, which roles of single sign-on have.
        return str(clients.client("iam").get_role(RoleName=role)["Role"]["Arn"])


def _decisions(clients: Clients, principal: str, need: Need) -> Iterator[tuple[str, str]]:
    """IAM's decision on each action: the worst of all resources."""
    worst: dict[str, str] = {}
    pages = (
        clients.client("iam")
        .get_paginator("simulate_principal_policy")
        .paginate(
            PolicySourceArn=principal, ActionNames=[*need.actions], ResourceArns=[*need.resources]
        )
    )
    with explained("simulate the permissions of", principal):
        for page in pages:
            for result in page["EvaluationResults"]:
                for name, decision in _results(result):
                    if decision != "allowed" or name not in worst:
                        worst[name] = decision
    yield from worst.items()


def _results(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    name = str(result["EvalActionName"])
    specific = result.get("ResourceSpecificResults") or ()
    for one in specific:
        yield name, str(one["EvalResourceDecision"])
    if not specific:
        yield name, str(result["EvalDecision"])
