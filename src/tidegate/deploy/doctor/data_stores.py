"""Buckets and the ledger table: whether a deployment can use them, and how it would change them."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.config import AwsKeys
from tidegate.config.models import PipelinesConfig
from tidegate.deploy.bootstrap import data_stores
from tidegate.deploy.bootstrap.data_stores import DataStore
from tidegate.deploy.doctor.finding import Finding, ok, problem, warning
from tidegate.targets.aws.clients import Clients
from tidegate.targets.aws.names import Names


def check(
    clients: Clients, keys: AwsKeys, names: Names, model: PipelinesConfig
) -> Iterator[Finding]:
    """What a deployment would do with the buckets and the table."""
    found = data_stores.plan_data_stores(keys, names, clients, model=model)
    for store in found.stores:
        yield _finding(store)
        if text := data_stores.describe_key(store):
            yield ok("encryption", f"{store.name}: {text}")
    for note in found.notes:
        yield warning("buckets", note)


def _finding(store: DataStore) -> Finding:
    about = "ledger" if store.kind == "table" else f"{' and '.join(store.uses)} bucket"
    settings = "; ".join(setting.text for setting in store.settings)
    if store.action == "refuse":
        return problem(about, f"{store.name} cannot be used: {store.why}", store.next)
    if store.action == "create":
        return ok(about, f"{store.name} does not exist yet; a deployment will create it")
    if store.action == "adopt":
        return ok(about, f"{store.name} exists; a deployment will add: {settings}")
    return ok(about, f"{store.name} needs no change")
