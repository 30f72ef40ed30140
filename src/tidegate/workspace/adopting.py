"""What ``tidegate adopt`` does, on any target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.records import to_json
from tidegate.workspace import rerun
from tidegate.workspace.adopt import Adoption, RawFiles, Read, Survey
from tidegate.workspace.session import Say, Session


@dataclass(frozen=True)
class Wish:
    """What to adopt, and how."""

    config: str | None = None
    """Only what this config has made."""
    datastream: str | None = None
    """Only of this datastream."""
    read: bool = False
    """Open the files, for their true times and what they were made from."""
    inputs: bool = False
    """Count the raw files that are there as done."""
    dry_run: bool = False
    """Only look."""


@dataclass(frozen=True)
class Stream:
    """The files of one datastream, of one config."""

    config: str
    """Whose."""
    datastream: str
    """Which."""
    data: int
    """How many data files."""
    others: int
    """How many plots and the like."""
    begin: datetime | None
    """When the first begins."""
    end: datetime | None
    """When the last ends, as far as is known."""


@dataclass(frozen=True)
class Raw:
    """Raw files that no run has taken."""

    config: str
    """Whose."""
    count: int
    """How many."""
    fate: str
    """What will become of them."""


@dataclass
class Report:
    """What was found and done."""

    place: str
    """Where products were looked for."""
    streams: list[Stream]
    """What could be adopted."""
    adopted: int = 0
    """How many files went on record."""
    recorded: int = 0
    """How many were on record before."""
    unknown: int = 0
    """How many have names that no config gives."""
    examples: list[str] = field(default_factory=list)
    """Some of these."""
    unclaimed: list[tuple[str, tuple[str, ...], int]] = field(default_factory=list)
    """Datastreams that no config says to make: whose they may be, and how many files."""
    unread: list[str] = field(default_factory=list)
    """What could not be read, and went on record by its name."""
    matched: int = 0
    """Raw files that count as done because a product names them."""
    taken: int = 0
    """Raw files that count as done because ``--inputs`` says so."""
    raw: list[Raw] = field(default_factory=list)
    """Raw files that are left."""
    awaited: dict[str, list[str]] = field(default_factory=dict)
    """VAPs, and what of this they read."""


Progress = Callable[[str, int], Callable[[int], None]]
"""Begins a bar with a title and a total; what it gives is told how many more are done."""


def adopt(session: Session, wish: Wish, say: Say, progress: Progress) -> Report:
    """Put on record what lies where products go, and tell what is there.

    Raises:
        UsageError: there is no such config.
        WorkspaceBusy: a service runs in the workspace.
        TidegateError: something cannot be read or written; to adopt again goes on from there.
    """
    manifest = session.manifest
    if wish.config is not None:
        rerun.named_config(manifest, wish.config)
    with session.store() as store, session.ledger() as ledger:
        say(f"looking at {store.place}")
        on_record = {product.key for product in ledger.products()}
        survey = Survey.of(
            manifest, store, on_record, config=wish.config, datastream=wish.datastream
        )
        report = _report(store.place, manifest, survey)
        if not wish.dry_run:
            raw = RawFiles(manifest, session.raw_files)
            with _reader(session, wish, survey) as read:
                adoption = Adoption(manifest, ledger, store, read, raw)
                adoption.advance = progress("products", len(survey.candidates))
                adoption.run(survey)
            report.adopted, report.matched = adoption.adopted, len(adoption.matched)
            report.unread = adoption.unread
            if wish.inputs:
                report.taken = _take(session, adoption, wish, progress)
    report.raw = list(_left(session, wish))
    return report


@contextmanager
def _reader(session: Session, wish: Wish, survey: Survey) -> Iterator[Read | None]:
    """A worker of the pipelines' interpreter, which can open what they write."""
    if not wish.read or not survey.candidates:
        yield None
        return
    python, repository = session.reader()
    with closing(WorkerProcess(python, repository)) as worker:
        yield worker.summarize


def _ingests(session: Session, wish: Wish) -> Iterator[Config]:
    for config in session.manifest.configs:
        ingest = config.kind == "Ingest" and config.input_path and not config.inputs
        if ingest and wish.config in (None, config.id):
            yield config


def _take(session: Session, adoption: Adoption, wish: Wish, progress: Progress) -> int:
    taken = 0
    for config in _ingests(session, wish):
        files = adoption.ledger.untaken(config.id, session.raw_files(config))
        adoption.advance = progress(f"raw files of {config.id}", len(files))
        taken += adoption.take(config, files)
    return taken


def _left(session: Session, wish: Wish) -> Iterator[Raw]:
    for config in _ingests(session, wish):
        count, fate = session.new_files(config)
        if count:
            yield Raw(config.id, count, fate)


def _report(place: str, manifest: Manifest, survey: Survey) -> Report:
    streams = []
    for config, datastream, files in survey.streams:
        data = sum(file.kind == "data" for file in files)
        begins = [file.begin for file in files if file.begin]
        ends = [file.end for file in files if file.end]
        streams.append(
            Stream(
                config,
                datastream,
                data,
                len(files) - data,
                min(begins, default=None),
                max(ends, default=None),
            )
        )
    named = {stream.datastream for stream in streams}
    awaited = {
        config.id: read
        for config in manifest.configs
        if config.tsdat and (read := [d for d in config.tsdat.datastreams if d in named])
    }
    return Report(
        place,
        streams,
        recorded=survey.recorded,
        unknown=survey.unknown,
        examples=survey.examples,
        unclaimed=[(stream, ids, n) for (stream, ids), n in sorted(survey.unclaimed.items())],
        awaited=awaited,
    )


def report_data(report: Report) -> dict[str, Any]:
    """A report as ``--json`` gives it: all of it, zeros too."""
    return {name: to_json(value) for name, value in vars(report).items()}


def remarks(report: Report, wish: Wish) -> Iterator[str]:
    """What a person should know beside the table, a sentence each."""
    if not report.streams:
        yield f"nothing to adopt in {report.place}"
    elif wish.dry_run:
        count = sum(stream.data + stream.others for stream in report.streams)
        yield f"{count} files would be adopted"
    else:
        yield f"{report.adopted} files are on record now; none was moved or changed"
    if report.recorded:
        yield f"{report.recorded} files are on record already, and are left as they are"
    if report.unknown:
        more = ", …" if report.unknown > len(report.examples) else ""
        yield (
            f"{report.unknown} files have names that no config gives; they are left alone: "
            f"{', '.join(report.examples)}{more}"
        )
    for stream, ids, count in report.unclaimed:
        yield (
            f"{count} files of {stream or 'an unnamed datastream'} are left alone: no config says"
            f" that it makes them. If one of {', '.join(ids)} does, say so: `tidegate adopt"
            f" --config {ids[0]} --datastream {stream}`"
        )
    if report.unread:
        yield (
            f"{len(report.unread)} files cannot be read, and have the times that their names tell:"
            f" {', '.join(report.unread[:5])}"
        )
    if report.matched:
        yield f"{report.matched} raw files count as done: the products name them"
    if report.taken:
        yield f"{report.taken} raw files count as done, as --inputs says"
    for raw in report.raw:
        yield f"{raw.count} raw files of {raw.config} have not been run: {raw.fate}"
    if report.raw and not wish.inputs:
        yield "to count them as done: --inputs; or --read, for those that products name"
    for config, streams in report.awaited.items():
        yield (
            f"{config} reads {', '.join(streams)}: its next schedule runs each window that these"
            " files touch; `since:` in pipelines_config.yml says how far back"
        )
