"""The connection between AWS and GitHub: CodeConnections, once CodeStar.

Its ARN comes with either prefix, and what is allowed to whom goes by the prefix, so it is asked for
at the service of its own prefix. A connection that an API or the CLI has made is pending until
someone finishes the handshake in the console; no API can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tidegate.deploy.core.console import Console
from tidegate.deploy.core.place import Place
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
    if not arn:
        yield ok("connection", f"no `github_codestar_arn` is given: {_WITHOUT}")
        return
    found = _ARN.fullmatch(arn)
    if found is None:
        yield problem(
            "connection",
            f"{arn} is no ARN of a connection",
            "copy the ARN from the connection's page",
            Console(place).connections(),
        )
        return
    if found["region"] != place.region:
        yield warning(
            "connection",
            f"the connection lies in {found['region']}, the deployment in {place.region}",
            "that works where both regions have CodeConnections; else make one here",
        )
    if found["account"] != place.account:
        yield warning(
            "connection",
            f"the connection is of the account {found['account']}, not of {place.account}",
            "make one in this account, unless that one is shared with it",
        )
    # A client of that region, whatever the deployment's is.
    there = clients.elsewhere(found["region"])
    try:
        with explained("look at the connection", arn):
            answer = there.client(found["service"]).get_connection(ConnectionArn=arn)["Connection"]
    except StorageError as error:
        yield _not_told(error, Place(found["account"], found["region"]))
        return
    yield told(answer, Place(found["account"], found["region"]))


def told(answer: dict[str, Any], place: Place) -> Finding:
    """What AWS's answer says of a connection; pure."""
    name, status = str(answer.get("ConnectionName", "")), str(answer.get("ConnectionStatus", ""))
    provider = str(answer.get("ProviderType", "GitHub"))
    page = Console(place).connections()
    if status == "AVAILABLE":
        return ok("connection", f"{name} to {provider} is available")
    if status == "PENDING":
        return problem(
            "connection",
            f"{name} to {provider} is pending: nobody has finished its handshake, and no API can",
            f"open the page; choose {name}, 'Update pending connection'; sign in to {provider};"
            " choose the AWS Connector app installation of the organization, or 'Install a new app'"
            " and let it see both repositories; 'Connect'. Then look again",
            page,
        )
    if status == "ERROR":
        return problem(
            "connection",
            f"{name} to {provider} has an error",
            f"look whether the AWS Connector app is still installed at {provider} and sees both"
            " repositories; AWS tries again by itself, or make a new connection",
            page,
        )
    return unknown("connection", f"{name} is {status or 'of no known state'}", link=page)


def _not_told(error: StorageError, place: Place) -> Finding:
    if "ResourceNotFoundException" in error.why or "does not exist" in error.why:
        return problem(
            "connection",
            "there is no such connection",
            "make one on the page, or copy the ARN of one that is there into `github_codestar_arn`",
            Console(place).connections(),
        )
    return of_error("connection", error)
