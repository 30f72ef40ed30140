"""What holds data, and is in no stack: the buckets and the ledger's table.

    look(keys, names, clients)       what is there, and what would be done about it; changes nothing
    describe(foundation)             the same in words
    ensure(foundation, clients, say) does it

So no update, rollback or deletion of a stack can touch data, branches can share buckets, and a
bucket that exists is adopted by the code that sets up a new one. What is there is only added to;
and when all is there, nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tidegate.config import AwsKeys
from tidegate.config.models import PipelinesConfig
from tidegate.deploy.bootstrap import buckets, table
from tidegate.deploy.bootstrap.buckets import DENIED, Bucket, State
from tidegate.deploy.bootstrap.table import Table
from tidegate.deploy.core.place import Place
from tidegate.deploy.design.plan import tag_value
from tidegate.errors import ConfigurationError, LedgerError, StorageError
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
    "nothing": "stays as it is",
    "refuse": "CANNOT BE USED",
}


class FoundationRefused(ConfigurationError):
    """A bucket or the table cannot be used as the config has it."""


@dataclass(frozen=True)
class Setting:
    """Something that is set on a bucket or on the table."""

    id: str
    """Which."""
    text: str
    """What it brings about."""


@dataclass(frozen=True)
class Thing:
    """A bucket or the table: how it stands, and what will be done about it."""

    kind: Literal["bucket", "table"]
    """Which of both."""
    name: str
    """Its name."""
    uses: tuple[Use, ...]
    """What for; a bucket may be for input and output."""
    state: State
    """Whether it is there, and whose it is."""
    action: Action
    """What will be done."""
    settings: tuple[Setting, ...] = ()
    """What will be set."""
    why: str = ""
    """Why it cannot be used."""
    next: str = ""
    """What to do then."""

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"{self.kind} {self.name} ({' and '.join(self.uses)})"


@dataclass(frozen=True)
class Foundation:
    """All that holds data of a branch."""

    place: Place
    """Where."""
    tags: tuple[tuple[str, str], ...]
    """The tags of what is created for this branch alone."""
    things: tuple[Thing, ...]
    """The buckets and the table."""
    notes: tuple[str, ...] = ()
    """What a person should know."""

    @property
    def refused(self) -> tuple[Thing, ...]:
        """What cannot be used."""
        return tuple(thing for thing in self.things if thing.action == "refuse")

    @property
    def changes(self) -> tuple[Thing, ...]:
        """What there is to do."""
        return tuple(thing for thing in self.things if thing.action in ("create", "adopt"))


def look(
    keys: AwsKeys, names: Names, clients: Clients, *, model: PipelinesConfig | None = None
) -> Foundation:
    """Look at what is there; nothing is changed.

    ``keys`` are those of the branch. ``model`` is the whole config, for what branches share.

    Raises:
        TidegateError: AWS cannot be asked.
    """
    if keys.account_id is None or keys.region is None:
        raise ValueError("account_id and region are needed: see aws_problems")
    place = Place(keys.account_id, keys.region)
    uses: dict[str, list[Use]] = {}
    for name, use in (
        (keys.input_bucket_name, "input"),
        (keys.output_bucket_name, "output"),
        (names.artifacts_bucket(place.account, place.region), "artifacts"),
    ):
        if name is not None:
            uses.setdefault(name, []).append(use)  # type: ignore[arg-type]
    things = [
        _bucket(Bucket(name, place, clients), tuple(those), bool(keys.create_buckets))
        for name, those in uses.items()
    ]
    things.append(_table(Table(names.ledger_table, place, clients)))
    tags = (("branch", tag_value(names.branch)), ("repository", tag_value(names.repository)))
    notes = () if model is None else shared_outputs(model, names.branch)
    return Foundation(place, tags, tuple(things), notes)


def shared_outputs(model: PipelinesConfig, branch: str) -> tuple[str, ...]:
    """A warning when other branches write to the same bucket, as far as the config tells; pure."""
    bucket = model.for_branch(branch).output_bucket_name
    others = sorted({"main", *(model.branches or ())} - {branch})
    same = [one for one in others if model.for_branch(one).output_bucket_name == bucket]
    if bucket is None or not same:
        return ()
    listed = ", ".join(same[:-1]) + (" and " if same[1:] else "") + same[-1]
    shared = f"{branch} writes to the same output bucket as {listed}, {bucket}"
    advice = "`branches:` gives a branch an `output_bucket_name` of its own"
    return (f"{shared}: products of one name replace each other; {advice}",)


def _bucket(bucket: Bucket, uses: tuple[Use, ...], may_create: bool) -> Thing:
    may_create = may_create or "artifacts" in uses  # that one is Tidegate's own
    wanted = [*(_ALWAYS if may_create else ())]
    wanted += ["events"] if "input" in uses else []
    wanted += ["expiry"] if "artifacts" in uses else []
    state, region = bucket.state()
    key = " and ".join(f"`{_KEYS[use]}`" for use in uses)

    def refused(why: str, next: str, state: State = state) -> Thing:
        return Thing("bucket", bucket.name, uses, state, "refuse", why=why, next=next)

    if state == "missing" and may_create:
        settings = [Setting(id, one.text) for id, one in buckets.SETTINGS.items() if id in wanted]
        return Thing("bucket", bucket.name, uses, state, "create", tuple(settings))
    if state == "missing":
        why = "it does not exist, and the config says `create_buckets: false`"
        return refused(why, f"create it, write `create_buckets: true`, or mend {key}")
    if state == "somebody else's":
        error = buckets.taken(bucket.name)
        return refused(
            f"it belongs to another AWS account; {error.why}", f"choose another name with {key}"
        )
    if state == "wrong region":
        why = f"it lies in {region}, and the functions in {bucket.place.region}"
        return refused(why, f"choose a bucket there for {key}, or mend `region`")
    if state == "not permitted":
        why = "the bucket may not be looked at with these credentials"
        return refused(why, f"allow s3:ListBucket on {bucket.arn}, or use others (--profile)")
    try:
        lacking = [(id, one.lacks(bucket)) for id, one in buckets.SETTINGS.items() if id in wanted]
    except StorageError as error:
        if code_of(error) not in DENIED:
            raise
        return refused(error.why, error.next, "not permitted")
    found = tuple(Setting(id, text) for id, text in lacking if text)
    return Thing("bucket", bucket.name, uses, state, "adopt" if found else "nothing", found)


def _table(found: Table) -> Thing:
    def thing(state: State, action: Action, settings: Sequence[Setting] = (), **more: str) -> Thing:
        return Thing("table", found.name, ("ledger",), state, action, tuple(settings), **more)

    try:
        told = found.describe()
        if told is None:
            return thing(
                "missing", "create", [Setting(i, one.text) for i, one in table.SETTINGS.items()]
            )
        if why := table.differs(told):
            next = "it is of another version of Tidegate, or of none: rename or remove it"
            return thing("somebody else's", "refuse", why=why, next=next)
        settings = [
            Setting(id, one.text) for id, one in table.SETTINGS.items() if one.lacks(found, told)
        ]
    except LedgerError as error:
        if code_of(error) not in DENIED:
            raise
        return thing("not permitted", "refuse", why=error.why, next=error.next)
    return thing("ours", "adopt" if settings else "nothing", settings)


def describe(foundation: Foundation) -> str:
    """The foundation in words, for a person's eyes."""
    lines = []
    for thing in foundation.things:
        state = "exists" if thing.state == "ours" else thing.state
        lines.append(f"{thing.label}: {state}, {_WORDS[thing.action]}")
        lines += [f"  {setting.text}" for setting in thing.settings]
        lines += [f"  {text}" for text in (thing.why, thing.next) if text]
    return "\n".join([*lines, *foundation.notes]) + "\n"


def as_data(foundation: Foundation) -> dict[str, Any]:
    """The foundation as data, for ``--json``."""
    return asdict(foundation)


def ensure(foundation: Foundation, clients: Clients, say: Say) -> None:
    """Create and adopt what was planned; what was done is told, one sentence a thing.

    Raises:
        FoundationRefused: something cannot be used; nothing was done.
        TidegateError: AWS did not do it; a second try goes on from there.
    """
    if refused := foundation.refused:
        raise FoundationRefused(
            "; ".join(f"the {thing.label} cannot be used" for thing in refused),
            why="\n".join(f"{thing.name}: {thing.why}" for thing in refused),
            next="\n".join(f"{thing.name}: {thing.next}" for thing in refused),
        )
    for thing in foundation.changes:
        if thing.kind == "table":
            _ensure_table(foundation, thing, clients)
        else:
            _ensure_bucket(foundation, thing, clients)
        done = "created" if thing.action == "create" else "changed"
        say(f"{done} the {thing.label}: {'; '.join(s.text for s in thing.settings)}")


def _ensure_bucket(foundation: Foundation, thing: Thing, clients: Clients) -> None:
    bucket = Bucket(thing.name, foundation.place, clients)
    if thing.action == "create":
        # Branches may share the others.
        own = foundation.tags if "artifacts" in thing.uses else foundation.tags[1:]
        bucket.create(dict(own))
    for setting in thing.settings:
        buckets.SETTINGS[setting.id].add(bucket)


def _ensure_table(foundation: Foundation, thing: Thing, clients: Clients) -> None:
    found = Table(thing.name, foundation.place, clients)
    if thing.action == "create":
        found.create(dict(foundation.tags))
        told = found.describe() or {}
        lacking = [id for id, one in table.SETTINGS.items() if one.lacks(found, told)]
    else:
        lacking = [setting.id for setting in thing.settings]
    for id in lacking:
        table.SETTINGS[id].add(found)
