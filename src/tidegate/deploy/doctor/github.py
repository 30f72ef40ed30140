"""The connection between AWS and GitHub: CodeConnections, formerly CodeStar.

Its ARN has the prefix of either service, and permissions depend on the prefix, so the request is
sent to the service in the prefix. A connection that was created with an API or the CLI is pending
until someone completes the handshake in the console; there is no API for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tidegate.deploy.core.console import Console
from tidegate.deploy.core.place import Place
from tidegate.deploy.core.regions import CONNECTIONS, no_connections
from tidegate.deploy.doctor.finding import Finding, of_error, ok, problem, unknown, warning
from tidegate.errors import StorageError
from tidegate.targets.aws.clients import Clients, explained

_ARN = re.compile(
    r"arn:(?P<partition>[\w-]+):(?P<service>codestar-connections|codeconnections)"
    r":(?P<region>[\w-]+):(?P<account>\d{12}):connection/(?P<id>[\w-]+)"
)
_WITHOUT = "without it, `tidegate deploy BRANCH --from .` deploys from a folder"


def connection(clients: Clients, place: Place, arn: str | None) -> Iterator[Finding]:
    """The state of ``github_codestar_arn``."""
    known = clients.regions(CONNECTIONS)
    if not arn:
        there = "" if place.region in known else f", and {place.region} has no CodeConnections"
        yield ok("connection", f"no `github_codestar_arn` is given{there}: {_WITHOUT}")
        return
    found = _ARN.fullmatch(arn)
    if found is None:
        yield problem(
            "connection",
            f"{arn} is not the ARN of a connection",
            "copy the ARN from the connection's page",
            Console(place).connections(),
        )
        return
    if found["region"] not in known:
        yield warning(
            "connection",
            no_connections(found["region"]),
            "remove `github_codestar_arn`, and deploy with `tidegate deploy BRANCH --from .`",
        )
    if found["region"] != place.region:
        yield warning(
            "connection",
            f"the connection is in {found['region']}, the deployment in {place.region}",
            "this works if both regions have CodeConnections; otherwise create one here",
        )
    if found["account"] != place.account:
        yield warning(
            "connection",
            f"the connection belongs to the account {found['account']}, not of {place.account}",
            "create one in this account, unless that one is shared with it",
        )
    # The connection's region may not be the deployment's.
    clients = clients.elsewhere(found["region"])
    try:
        with explained("read the state of the connection", arn):
            answer = clients.client(found["service"]).get_connection(ConnectionArn=arn)[
                "Connection"
            ]
    except StorageError as error:
        yield _error_finding(error, Place(found["account"], found["region"]))
        return
    yield describe_connection(answer, Place(found["account"], found["region"]))


def describe_connection(answer: dict[str, Any], place: Place) -> Finding:
    """The finding for AWS's description of a connection; pure."""
    name, status = str(answer.get("ConnectionName", "")), str(answer.get("ConnectionStatus", ""))
    provider = str(answer.get("ProviderType", "GitHub"))
    page = Console(place).connections()
    if status == "AVAILABLE":
        return ok("connection", f"{name} to {provider} is available")
    if status == "PENDING":
        return problem(
            "connection",
            f"{name} to {provider} is pending: someone must complete its handshake in the console",
            f"open the page; choose {name}, 'Update pending connection'; sign in to {provider};"
            " choose the AWS Connector app installation of the organization, or 'Install a new app'"
            " and give it access to both repositories; 'Connect'. Then run this again",
            page,
        )
    if status == "ERROR":
        return problem(
            "connection",
            f"{name} to {provider} has an error",
            f"check that the AWS Connector app is still installed at {provider} and has access to"
            " both repositories; AWS tries again by itself, or create a new connection",
            page,
        )
    return unknown("connection", f"{name} is {status or 'in an unknown state'}", link=page)


def _error_finding(error: StorageError, place: Place) -> Finding:
    if "ResourceNotFoundException" in error.why or "does not exist" in error.why:
        return problem(
            "connection",
            "the connection does not exist",
            "create one on the page, or copy the ARN of an existing one to `github_codestar_arn`",
            Console(place).connections(),
        )
    return of_error("connection", error)
