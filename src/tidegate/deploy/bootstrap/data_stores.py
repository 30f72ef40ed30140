"""Creates or adopts the buckets and the ledger table of a branch, which hold its data.

    plan_data_stores(keys, names, clients)   what exists, and what would change; changes nothing
    describe(planned)                        the same in words
    apply(planned, clients, say)             makes the changes

They belong to no stack, so no update, rollback or deletion of a stack can affect data, branches can
share buckets, and existing buckets are adopted by the same code that sets up new ones. Settings are
only added; if everything is in place, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tidegate.config import AwsKeys
from tidegate.config.models import PipelinesConfig
from tidegate.deploy.bootstrap import buckets, table
from tidegate.deploy.bootstrap.buckets import DENIED, Bucket, State
from tidegate.deploy.bootstrap.table import Table
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.plan import tag_value
from tidegate.errors import ConfigurationError, LedgerError, StorageError
from tidegate.runtime.binding import explain
from tidegate.targets.aws.binding import bind_bucket, describe_bucket
from tidegate.targets.aws.clients import Clients, code_of
from tidegate.targets.aws.names import Names

Say = Callable[[str], None]
Use = Literal["input", "output", "artifacts", "ledger"]
Action = Literal["create", "adopt", "nothing", "refuse"]

_KEYS = {
    "input": "input_bucket_name",
    "output": "output_bucket_name",
    "artifacts": "pipelines_repo_name",
}
_ALWAYS = ("tls", "private", "encrypted", "uploads")
_WORDS: dict[Action, str] = {
    "create": "will be created",
    "adopt": "will be changed",
    "nothing": "needs no change",
    "refuse": "CANNOT BE USED",
}


class DataStoresRejected(ConfigurationError):
    """A bucket or the table cannot be used as the config says."""


@dataclass(frozen=True)
class Setting:
    """A setting of a bucket or of the table."""

    id: str
    """Its id, such as ``tls``."""
    text: str
    """What it does, in words."""


@dataclass(frozen=True)
class DataStore:
    """A bucket or the table: its state, and what will be done with it."""

    kind: Literal["bucket", "table"]
    """Whether it is a bucket or a table."""
    name: str
    """Its name."""
    uses: tuple[Use, ...]
    """What it is used for; a bucket may be used for input and output."""
    state: State
    """Whether it exists and can be used."""
    action: Action
    """What will be done."""
    settings: tuple[Setting, ...] = ()
    """The settings that will be added."""
    key: str = ""
    """The customer's own KMS key with which a bucket's objects are encrypted; "" for none."""
    why: str = ""
    """Why it cannot be used."""
    next: str = ""
    """What to do about it."""

    @property
    def label(self) -> str:
        """Its kind, name and uses."""
        return f"{self.kind} {self.name} ({' and '.join(self.uses)})"


@dataclass(frozen=True)
class DataStores:
    """The buckets and the table of a branch."""

    place: Place
    """The account and region."""
    tags: tuple[tuple[str, str], ...]
    """The tags of what is created for this branch alone."""
    stores: tuple[DataStore, ...]
    """The buckets and the table."""
    notes: tuple[str, ...] = ()
    """What a person should know."""
    keep_logs: int = Bucket.keep_logs
    """After how many days the logs of successful runs are deleted."""

    @property
    def refused(self) -> tuple[DataStore, ...]:
        """Those that cannot be used."""
        return tuple(store for store in self.stores if store.action == "refuse")

    @property
    def changes(self) -> tuple[DataStore, ...]:
        """Those that will be created or changed."""
        return tuple(store for store in self.stores if store.action in ("create", "adopt"))


def plan_data_stores(
    keys: AwsKeys, names: Names, clients: Clients, *, model: PipelinesConfig | None = None
) -> DataStores:
    """Find out what exists and what would change; nothing is changed.

    ``keys`` are those of the branch. ``model`` is the whole config, to find branches
    that share buckets.

    Raises:
        TidegateError: AWS does not answer.
    """
    if keys.account_id is None or keys.region is None:
        raise ValueError("account_id and region are needed: see aws_problems")
    place = Place(keys.account_id, keys.region)
    keep_logs = keys.keep_logs or Bucket.keep_logs
    uses: dict[str, list[Use]] = {}
    for name, use in (
        (keys.input_bucket_name, "input"),
        (keys.output_bucket_name, "output"),
        (names.artifacts_bucket(place.account, place.region), "artifacts"),
    ):
        if name is not None:
            uses.setdefault(name, []).append(use)  # type: ignore[arg-type]
    stores = [
        _bucket(
            Bucket(name, place, clients, keep_logs),
            tuple(those),
            bool(keys.create_buckets),
            keys.versioning,
        )
        for name, those in uses.items()
    ]
    table_settings = {
        id: one
        for id, one in table.SETTINGS.items()
        if id != "backups" or keys.ledger_backups is not False
    }
    stores.append(_table(Table(names.ledger_table, place, clients), table_settings))
    tags = (("branch", tag_value(names.branch)), ("repository", tag_value(names.repository)))
    notes = () if model is None else shared_outputs(model, names.branch)
    planned = DataStores(place, tags, tuple(stores), notes, keep_logs)
    return replace(planned, notes=(*notes, *_about_binding(planned, clients)))


def _about_binding(planned: DataStores, clients: Clients) -> Iterator[str]:
    """Whether the ledger describes another output bucket, or one that was emptied."""
    pair = _ledger_and_outputs(planned)
    if pair is None or pair[0].state != "ours" or pair[1].state not in ("ours", "missing"):
        return
    table, bucket = (store.name for store in pair)
    try:
        judgement = describe_bucket(table, bucket, clients)
    except (StorageError, LedgerError):  # such as a table that is being created
        return
    if text := explain(judgement, f"s3://{bucket}"):
        advice = "; `tidegate verify --target aws --repair` makes the products again"
        fresh = f", or delete the table {table} for a new ledger"
        yield text + (advice + fresh if judgement == "other outputs" else "")


def _ledger_and_outputs(planned: DataStores) -> tuple[DataStore, DataStore] | None:
    tables = [store for store in planned.stores if store.kind == "table"]
    outputs = [store for store in planned.stores if "output" in store.uses]
    return (tables[0], outputs[0]) if tables and outputs else None


def _bind(planned: DataStores, clients: Clients) -> None:
    """Bind ledger and bucket if they are new to each other."""
    pair = _ledger_and_outputs(planned)
    if pair is None:
        return
    table, bucket = (store.name for store in pair)
    with suppress(StorageError, LedgerError):  # such as a permission that a deployment can lack
        if describe_bucket(table, bucket, clients) in ("new", "other ledger"):
            bind_bucket(table, bucket, clients)


def shared_outputs(model: PipelinesConfig, branch: str) -> tuple[str, ...]:
    """A warning if other branches write to the same bucket, according to the config; pure."""
    bucket = model.for_branch(branch).output_bucket_name
    others = sorted({"main", *(model.branches or ())} - {branch})
    same = [one for one in others if model.for_branch(one).output_bucket_name == bucket]
    if bucket is None or not same:
        return ()
    listed = ", ".join(same[:-1]) + (" and " if same[1:] else "") + same[-1]
    shared = f"{branch} writes to the same output bucket as {listed}, {bucket}"
    advice = "`branches:` gives a branch an `output_bucket_name` of its own"
    return (f"{shared}: products with the same name replace each other; {advice}",)


def _bucket(
    bucket: Bucket, uses: tuple[Use, ...], may_create: bool, versioning: bool | None
) -> DataStore:
    may_create = may_create or "artifacts" in uses  # that bucket is only used by Tidegate
    wanted = [*(_ALWAYS if may_create else ())]
    wanted += ["events"] if "input" in uses else []
    wanted += ["logs"] if "output" in uses and may_create else []
    wanted += ["expiry"] if "artifacts" in uses else []
    state, region = bucket.state()
    if "artifacts" not in uses and (state == "missing" if versioning is None else versioning):
        wanted.append("versioning")
    key = " and ".join(f"`{_KEYS[use]}`" for use in uses)

    def refused(why: str, next: str, state: State = state) -> DataStore:
        return DataStore("bucket", bucket.name, uses, state, "refuse", why=why, next=next)

    if state == "missing" and may_create:
        settings = [Setting(id, one.text) for id, one in buckets.SETTINGS.items() if id in wanted]
        return DataStore("bucket", bucket.name, uses, state, "create", tuple(settings))
    if state == "missing":
        why = "it does not exist, and the config says `create_buckets: false`"
        return refused(why, f"create it, write `create_buckets: true`, or correct {key}")
    if state == "somebody else's":
        error = buckets.taken(bucket.name)
        return refused(
            f"it belongs to another AWS account; {error.why}", f"choose another name with {key}"
        )
    if state == "wrong region":
        why = f"it is in {region}, and the functions are in {bucket.place.region}"
        return refused(why, f"choose a bucket there for {key}, or correct `region`")
    if state == "not permitted":
        why = "these credentials may not access the bucket"
        return refused(
            why, f"allow s3:ListBucket on {bucket.arn}, or use other credentials (--profile)"
        )
    try:
        lacking = [(id, one.lacks(bucket)) for id, one in buckets.SETTINGS.items() if id in wanted]
        encryption_key = buckets.key_of(bucket)
        unusable = encryption_key and buckets.why_unusable(bucket, encryption_key)
    except StorageError as error:
        if code_of(error) not in DENIED:
            raise
        return refused(error.why, error.next, "not permitted")
    if unusable:
        return refused(unusable, "enable the key, or choose another one for the bucket")
    found = tuple(Setting(id, text) for id, text in lacking if text)
    action: Action = "adopt" if found else "nothing"
    return DataStore("bucket", bucket.name, uses, state, action, found, key=encryption_key)


def _table(found: Table, wanted: Mapping[str, table.Wanted]) -> DataStore:
    def store(
        state: State, action: Action, settings: Sequence[Setting] = (), **more: str
    ) -> DataStore:
        return DataStore("table", found.name, ("ledger",), state, action, tuple(settings), **more)

    try:
        description = found.describe()
        if description is None:
            return store("missing", "create", [Setting(i, one.text) for i, one in wanted.items()])
        if why := table.describe_difference(description):
            next = "another version of Tidegate or another program made it: rename or delete it"
            return store("somebody else's", "refuse", why=why, next=next)
        settings = [
            Setting(id, one.text) for id, one in wanted.items() if one.lacks(found, description)
        ]
    except LedgerError as error:
        if code_of(error) not in DENIED:
            raise
        return store("not permitted", "refuse", why=error.why, next=error.next)
    return store("ours", "adopt" if settings else "nothing", settings)


def describe(planned: DataStores) -> str:
    """The data stores in words."""
    lines = []
    for store in planned.stores:
        state = "exists" if store.state == "ours" else store.state
        lines.append(f"{store.label}: {state}, {_WORDS[store.action]}")
        lines += [f"  {setting.text}" for setting in store.settings]
        lines += [f"  {text}" for text in (describe_key(store), store.why, store.next) if text]
    return "\n".join([*lines, *planned.notes]) + "\n"


def describe_key(store: DataStore) -> str:
    """Which KMS key the bucket's objects are encrypted with, and who may use it; "" for none."""
    if not store.key:
        return ""
    return (
        f"objects are encrypted with the KMS key {store.key}: the functions' roles may use it"
        " through S3; the key's own policy must allow roles of this account, too"
    )


def as_data(planned: DataStores) -> dict[str, Any]:
    """The data stores as ``--json`` prints them."""
    return asdict(planned)


def apply(planned: DataStores, clients: Clients, say: Say) -> None:
    """Create and change what was planned; ``say`` gets one sentence for each.

    Raises:
        DataStoresRejected: something cannot be used; nothing was changed.
        TidegateError: AWS refused a change; a second attempt continues from there.
    """
    if refused := planned.refused:
        raise DataStoresRejected(
            "; ".join(f"the {store.label} cannot be used" for store in refused),
            why="\n".join(f"{store.name}: {store.why}" for store in refused),
            next="\n".join(f"{store.name}: {store.next}" for store in refused),
        )
    for store in planned.changes:
        if store.kind == "table":
            _apply_table(planned, store, clients)
        else:
            _apply_bucket(planned, store, clients)
        done = "created" if store.action == "create" else "changed"
        say(f"{done} the {store.label}: {'; '.join(s.text for s in store.settings)}")
    _bind(planned, clients)


def _apply_bucket(planned: DataStores, store: DataStore, clients: Clients) -> None:
    bucket = Bucket(store.name, planned.place, clients, planned.keep_logs)
    if store.action == "create":
        # Branches may share the others, so these do not get the tag of the branch.
        tags = planned.tags if "artifacts" in store.uses else planned.tags[1:]
        bucket.create(dict(tags))
    for setting in store.settings:
        buckets.SETTINGS[setting.id].add(bucket)


def _apply_table(planned: DataStores, store: DataStore, clients: Clients) -> None:
    found = Table(store.name, planned.place, clients)
    if store.action == "create":
        found.create(dict(planned.tags))
        description = found.describe() or {}
        planned_ids = [setting.id for setting in store.settings]
        lacking = [id for id in planned_ids if table.SETTINGS[id].lacks(found, description)]
    else:
        lacking = [setting.id for setting in store.settings]
    for id in lacking:
        table.SETTINGS[id].add(found)
