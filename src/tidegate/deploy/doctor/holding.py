"""Buckets and the ledger: whether a deployment can use them, and what it would do to them."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.config import AwsKeys
from tidegate.config.models import PipelinesConfig
from tidegate.deploy.bootstrap import data_stores
from tidegate.deploy.bootstrap.data_stores import Thing
from tidegate.deploy.doctor.finding import Finding, ok, problem, warning
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.names import Names


def data(
    clients: Clients, keys: AwsKeys, names: Names, model: PipelinesConfig
) -> Iterator[Finding]:
    """What holds data: as the deployment itself would find it."""
    found = data_stores.look(keys, names, clients, model=model)
    for thing in found.things:
        yield _of(thing)
    for note in found.notes:
        yield warning("buckets", note)


def _of(thing: Thing) -> Finding:
    about = "ledger" if thing.kind == "table" else f"{' and '.join(thing.uses)} bucket"
    settings = "; ".join(setting.text for setting in thing.settings)
    if thing.action == "refuse":
        return problem(about, f"{thing.name} cannot be used: {thing.why}", thing.next)
    if thing.action == "create":
        return ok(about, f"{thing.name} does not exist yet; a deployment creates it")
    if thing.action == "adopt":
        return ok(about, f"{thing.name} exists; a deployment adds to it: {settings}")
    return ok(about, f"{thing.name} is as it should be")
