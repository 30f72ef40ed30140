"""Find the files in the storage that can be adopted: their config, datastream and time span."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from itertools import groupby, pairwise
from statistics import median

from tidegate.runtime.manifest import Manifest
from tidegate.workspace.adoption.product_names import (
    Kind,
    NameTemplate,
    begin_from_name,
    datastream_from_name,
    name_templates,
)
from tidegate.workspace.product_files import ProductFiles, StoredFile

_TICK = timedelta(microseconds=1)
_EXAMPLES = 5
_NEVER_DATA = (".png", ".gif", ".jpg", ".jpeg", ".svg", ".pdf", ".html", ".mp4", ".txt")
_EARLIEST = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Candidate:
    """A file that is a product of a config, according to its name."""

    file: StoredFile
    """The file."""
    config: str
    """The id of the config that made it."""
    kind: Kind
    """Data, or a plot or other file."""
    datastream: str
    """Its datastream."""
    begin: datetime | None
    """The first time in it, according to its name."""
    end: datetime | None = None
    """The last time in it, estimated from the begin of the next file."""


@dataclass(frozen=True)
class UnknownSource:
    """A data file that fits a template, but none of its configs is known to make this datastream.

    Such files are counted by these two values.
    """

    datastream: str
    """The datastream in its name."""
    configs: tuple[str, ...]
    """The ids of the configs that may have made it."""


@dataclass
class Survey:
    """All files below the storage roots."""

    candidates: list[Candidate] = field(default_factory=list)
    """Files that can be adopted, sorted by config, datastream and time."""
    recorded: int = 0
    """How many files are in the ledger already."""
    unknown: int = 0
    """How many files have names that fit no template."""
    examples: list[str] = field(default_factory=list)
    """Some keys of these."""
    unclaimed: Counter[UnknownSource] = field(default_factory=Counter)
    """How many data files may have been made by a config, but none says so."""

    @property
    def streams(self) -> list[tuple[str, str, list[Candidate]]]:
        """The candidates by config and datastream."""
        return [
            (*key, list(group))
            for key, group in groupby(self.candidates, lambda c: (c.config, c.datastream))
        ]


def survey(
    manifest: Manifest,
    store: ProductFiles,
    recorded: Collection[str],
    *,
    config: str | None = None,
    datastream: str | None = None,
) -> Survey:
    """Go through all files below the storage roots.

    ``recorded`` are the keys in the ledger. ``config`` and ``datastream`` limit what can be
    adopted; both together say that this config made this datastream.
    """
    found, templates = Survey(), name_templates(manifest)
    begins: dict[str, set[datetime]] = defaultdict(set)
    for file in _files(store, templates):
        match = _match(file, templates, manifest, config, datastream)
        if match is None:
            found.unknown += 1
            if len(found.examples) < _EXAMPLES:
                found.examples.append(file.key)
            continue
        if isinstance(match, UnknownSource):
            if match.datastream == datastream or datastream is None:
                found.unclaimed[match] += 1
            continue
        if match.kind == "data" and match.begin is not None:
            begins[match.datastream].add(match.begin)
        if file.key in recorded:
            found.recorded += 1
        elif config in (None, match.config) and datastream in (None, match.datastream):
            found.candidates.append(match)
    found.candidates = sorted(_with_ends(found.candidates, begins), key=_order)
    return found


def _files(store: ProductFiles, templates: Iterable[NameTemplate]) -> Iterator[StoredFile]:
    """All files below the storage roots, each once."""
    roots = {template.root for template in templates}
    for root in sorted(roots):
        if not any(root != other and _inside(root, other) for other in roots):
            yield from store.list(root)


def _inside(root: str, other: str) -> bool:
    return not other or root.startswith(other + "/")


def _match(
    file: StoredFile,
    templates: Iterable[NameTemplate],
    manifest: Manifest,
    config: str | None,
    datastream: str | None,
) -> Candidate | UnknownSource | None:
    """The file as a candidate, or as one of an unknown source; None: its name fits no template."""
    unclaimed: UnknownSource | None = None
    made = {c.tsdat.datastream for c in manifest.configs if c.tsdat}
    for template in templates:
        if template.kind == "data" and file.key.lower().endswith(_NEVER_DATA):
            continue
        match = template.pattern.match(file.key)
        if match is None:
            continue
        fields, ids = match.groupdict(), tuple(c.id for c in template.configs)
        for one in sorted(template.configs, key=lambda c: c.id != config):
            assert one.tsdat is not None
            stream = datastream_from_name(fields, one.tsdat)
            asked_for = (one.id, stream) == (config, datastream) and stream not in made
            if asked_for or (stream and stream == one.tsdat.datastream):
                begin = begin_from_name(fields)
                return Candidate(file, one.id, template.kind, stream, begin)
            unclaimed = unclaimed or UnknownSource(stream, ids)
    return unclaimed


def _with_ends(
    candidates: Iterable[Candidate], begins: Mapping[str, set[datetime]]
) -> Iterator[Candidate]:
    """Estimate where each file ends: before the next one, and at most after the usual length.

    The usual length (the median) is the limit so that a gap in the series does not count as
    covered: a VAP would look for data in it.
    """
    ends: dict[tuple[str, datetime], datetime] = {}
    for stream, times in begins.items():
        ordered = sorted(times)
        steps = [(after - before).total_seconds() for before, after in pairwise(ordered)]
        usual = median(steps) if steps else 0.0
        for begin, step in zip(ordered, [*steps, usual]):
            length = timedelta(seconds=min(step, usual))
            ends[stream, begin] = max(begin, begin + length - _TICK)
    for one in candidates:
        if one.begin is not None:
            one = replace(one, end=ends.get((one.datastream, one.begin), one.begin))
        yield one


def _order(candidate: Candidate) -> tuple[str, str, datetime, bool, str]:
    """Sorts the plots of a data file right after it."""
    begin = candidate.begin or _EARLIEST
    kind = candidate.kind != "data"
    return candidate.config, candidate.datastream, begin, kind, candidate.file.key


def same_time(candidate: Candidate) -> tuple[str, str, datetime | None, str]:
    """The same for a data file and its plots, different for all others."""
    alone = candidate.file.key if candidate.begin is None else ""
    return candidate.config, candidate.datastream, candidate.begin, alone
