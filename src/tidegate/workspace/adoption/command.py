"""What ``tidegate adopt`` does, on any target, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.records import to_json
from tidegate.runtime.wording import quantity
from tidegate.workspace import rerun
from tidegate.workspace.adoption.raw_files import RawFiles
from tidegate.workspace.adoption.recording import Adoption, Read
from tidegate.workspace.adoption.survey import Survey, survey
from tidegate.workspace.session import Say, Session
from tidegate.workspace.summary_refresh import forget_summaries


@dataclass(frozen=True)
class AdoptOptions:
    """What to adopt, and how."""

    config: str | None = None
    """Only products of this config."""
    datastream: str | None = None
    """Only products of this datastream."""
    read: bool = False
    """Open the files to get their exact times and the raw files that they were made from."""
    inputs: bool = False
    """Count the existing raw files as done."""
    dry_run: bool = False
    """Record nothing."""


@dataclass(frozen=True)
class StreamSummary:
    """The files of one datastream of one config. The names of the fields are JSON keys."""

    config: str
    """The id of the config."""
    datastream: str
    """The datastream."""
    data: int
    """The number of data files."""
    others: int
    """The number of plots and other files."""
    begin: datetime | None
    """The first time in the first file."""
    end: datetime | None
    """The last time in the last file, if it is known."""


@dataclass(frozen=True)
class UnprocessedFiles:
    """Raw files that no run has processed. The names of the fields are JSON keys."""

    config: str
    """The id of the config."""
    count: int
    """How many."""
    fate: str
    """What will happen to them."""


@dataclass
class Report:
    """What was found and done. The names of the fields are JSON keys."""

    place: str
    """The folder or bucket of the products."""
    streams: list[StreamSummary]
    """What could be adopted."""
    adopted: int = 0
    """How many files were recorded."""
    recorded: int = 0
    """How many files were in the ledger before."""
    unknown: int = 0
    """How many files have names that fit no config's templates."""
    examples: list[str] = field(default_factory=list)
    """Some of these."""
    unclaimed: list[tuple[str, tuple[str, ...], int]] = field(default_factory=list)
    """Datastreams that no config names, the configs that may have made them, number of files."""
    unread: list[str] = field(default_factory=list)
    """Files that could not be read and were recorded by their names."""
    matched: int = 0
    """Raw files that count as done because a product names them."""
    taken: int = 0
    """Raw files that count as done because of ``--inputs``."""
    raw: list[UnprocessedFiles] = field(default_factory=list)
    """Raw files that were not processed."""
    awaited: dict[str, list[str]] = field(default_factory=dict)
    """VAPs, and the adopted datastreams that they read."""


Progress = Callable[[str, int], Callable[[int], None]]
"""Starts a progress bar with a title and a total; returns a function that advances it."""


def adopt(session: Session, options: AdoptOptions, say: Say, progress: Progress) -> Report:
    """Record the existing products in the ledger, and report what was found.

    Raises:
        UsageError: there is no such config or datastream.
        WorkspaceBusy: a service runs in the workspace.
        TidegateError: something cannot be read or written; adopting again continues from there.
    """
    manifest = session.manifest
    if options.config is not None:
        rerun.named_config(manifest, options.config)
    with session.product_files() as store, session.ledger() as ledger:
        say(f"looking at the files in {store.place}")
        recorded = {product.key for product in ledger.products()}
        found = survey(
            manifest, store, recorded, config=options.config, datastream=options.datastream
        )
        if options.datastream is not None and not (found.candidates or found.unclaimed):
            on_record = set(ledger.datastreams())
            if options.datastream not in on_record:
                others = survey(manifest, store, recorded, config=options.config).candidates
                on_record |= {one.datastream for one in others}
            rerun.check_datastream(options.datastream, sorted(on_record))
        report = _report(store.place, manifest, found)
        if not options.dry_run:
            raw = RawFiles(manifest, session.raw_files)
            with _reader(session, options, found) as read:
                adoption = Adoption(manifest, ledger, store, read, raw)
                adoption.advance = progress("products", len(found.candidates))
                adoption.run(found)
            forget_summaries(ledger)  # what was adopted is older than the runs that they know
            report.adopted, report.matched = adoption.adopted, len(adoption.matched)
            report.unread = adoption.unread
            if options.inputs:
                report.taken = _count_as_done(session, adoption, options, progress)
    report.raw = list(_unprocessed(session, options))
    return report


@contextmanager
def _reader(session: Session, options: AdoptOptions, found: Survey) -> Iterator[Read | None]:
    """Starts a worker with the pipelines' interpreter, which can open their products."""
    if not options.read or not found.candidates:
        yield None
        return
    python, repository = session.interpreter()
    with closing(WorkerProcess(python, repository)) as worker:
        yield worker.summarize


def _ingests(session: Session, options: AdoptOptions) -> Iterator[Config]:
    for config in session.manifest.configs:
        ingest = config.kind == "Ingest" and config.input_path and not config.inputs
        if ingest and options.config in (None, config.id):
            yield config


def _count_as_done(
    session: Session, adoption: Adoption, options: AdoptOptions, progress: Progress
) -> int:
    done = 0
    for config in _ingests(session, options):
        files = adoption.ledger.untaken(config.id, session.raw_files(config))
        adoption.advance = progress(f"raw files of {config.id}", len(files))
        done += adoption.count_as_done(config, files)
    return done


def _unprocessed(session: Session, options: AdoptOptions) -> Iterator[UnprocessedFiles]:
    for config in _ingests(session, options):
        count, fate = session.new_files(config)
        if count:
            yield UnprocessedFiles(config.id, count, fate)


def _report(place: str, manifest: Manifest, found: Survey) -> Report:
    streams = []
    for config, datastream, files in found.streams:
        data = sum(file.kind == "data" for file in files)
        begins = [file.begin for file in files if file.begin]
        ends = [file.end for file in files if file.end]
        streams.append(
            StreamSummary(
                config,
                datastream,
                data,
                len(files) - data,
                min(begins, default=None),
                max(ends, default=None),
            )
        )
    names = {stream.datastream for stream in streams}
    awaited = {
        config.id: read
        for config in manifest.configs
        if config.tsdat and (read := [d for d in config.tsdat.datastreams if d in names])
    }
    unclaimed = [(u.datastream, u.configs, number) for u, number in found.unclaimed.items()]
    return Report(
        place,
        streams,
        recorded=found.recorded,
        unknown=found.unknown,
        examples=found.examples,
        unclaimed=sorted(unclaimed),
        awaited=awaited,
    )


def report_data(report: Report) -> dict[str, Any]:
    """The report for ``--json``, with all fields."""
    return {name: to_json(value) for name, value in vars(report).items()}


def remarks(report: Report, options: AdoptOptions) -> Iterator[str]:
    """The report in sentences, without what the table of streams shows."""
    if not report.streams:
        yield f"nothing to adopt in {report.place}"
    elif options.dry_run:
        number = sum(stream.data + stream.others for stream in report.streams)
        yield f"would adopt {quantity(number, 'file')}"
    else:
        yield f"adopted {quantity(report.adopted, 'file')}; no file was moved or changed"
    if report.recorded:
        yield f"skipped {quantity(report.recorded, 'file')}: already in the ledger"
    yield from _skipped(report)
    if report.unread:
        more = ", …" if len(report.unread) > 5 else ""
        yield (
            f"could not read {quantity(len(report.unread), 'file')}; adopted with the times in the"
            f" names: {', '.join(report.unread[:5])}{more}"
        )
    if report.matched:
        yield (
            f"counted {quantity(report.matched, 'raw file')} as done:"
            " adopted products were made from them"
        )
    if report.taken:
        yield f"counted {quantity(report.taken, 'raw file')} as done because of --inputs"
    yield from _outlook(report, options)


def _skipped(report: Report) -> Iterator[str]:
    """Files that were not adopted, and why."""
    if report.unknown:
        more = ", …" if report.unknown > len(report.examples) else ""
        yield (
            f"skipped {quantity(report.unknown, 'file')}: the name fits no config's file name"
            f" template: {', '.join(report.examples)}{more}"
        )
    for stream, ids, number in report.unclaimed:
        yield (
            f"skipped {quantity(number, 'file')} of {stream or 'an unnamed datastream'}:"
            " no config makes this datastream. If one of"
            f" {', '.join(ids)} made it, run `tidegate adopt --config {ids[0]}"
            f" --datastream {stream}`"
        )


def _outlook(report: Report, options: AdoptOptions) -> Iterator[str]:
    """What will run next because of what was found."""
    for raw in report.raw:
        yield f"{quantity(raw.count, 'raw file')} of {raw.config} not processed yet: {raw.fate}"
    if report.raw and not options.inputs:
        yield (
            "to count raw files as done: --read for those that products were made from,"
            " --inputs for all"
        )
    for config, streams in report.awaited.items():
        yield (
            f"{config} treats {', '.join(streams)} as new input: its next scheduled run computes"
            " every window with adopted products; to limit how far back, set `since:` in"
            " pipelines_config.yml"
        )
