"""What an older deployment, or plain Tsdat, has made: put on record, so that VAPs find it.

    survey = Survey.of(...)        what lies there: whose, of which datastream, from when on
    Adoption(...).run(survey)      on record, a few hundred at a time, each time in one step

Nothing is moved, written to or removed. What is on record already is left alone, so an adoption
that was broken off goes on where it was. Works on any target's ledger.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple, Protocol

from tidegate.runtime.manifest import Config, Manifest, Pipeline
from tidegate.runtime.protocols import ClaimLost, Ledger
from tidegate.runtime.publish import content_hash
from tidegate.runtime.runs import ADOPTED, ADOPTER, Input, Product, Run, RunRecord
from tidegate.runtime.summary import Summary

BATCH = 500
"""So many products go on record in one step."""

_LEASE = timedelta(minutes=10)
_LOOKS = 8
_TICK = timedelta(microseconds=1)
_EXAMPLES = 5
_NEVER_DATA = (".png", ".gif", ".jpg", ".jpeg", ".svg", ".pdf", ".html", ".mp4", ".txt")
_TAKEN = "there before Tidegate was, and counted as done by `tidegate adopt --inputs`"


class Found(NamedTuple):
    """A file where products lie."""

    key: str
    """Its path below the outputs' root."""
    size: int
    """Bytes."""
    version: str
    """What tells its content from another, where that is known without reading it."""
    modified: datetime
    """When it was written last."""


class Store(Protocol):
    """Where products lie."""

    @property
    def place(self) -> str:
        """Where that is, for a person."""

    def list(self, prefix: str) -> Iterator[Found]:
        """All files below a folder."""

    def identify(self, found: Found) -> tuple[int, str]:
        """Its size and version, as ``Outputs.fetch`` will ask for it."""

    def copy(self, found: Found) -> AbstractContextManager[Path]:
        """The file on this machine, to read and not to write to."""


Kind = Literal["data", "ancillary"]
Read = Callable[[Path], Summary | None]


# --- names ---------------------------------------------------------------------------------------

_DIGITS = {
    **dict.fromkeys(("year", "yyyy"), r"\d{4}"),
    **dict.fromkeys(("month", "mm", "day", "dd", "hour", "HH", "minute", "MM"), r"\d{2}"),
    **dict.fromkeys(("second", "SS"), r"\d{2}"),
    **dict.fromkeys(("date", "start_date"), r"\d{8}"),
    **dict.fromkeys(("time", "start_time"), r"\d{6}"),
    "date_time": r"\d{8}\.\d{6}",
    "extension": r"[^/.]+",
    "ext": r"[^/.]+",
}
_PARTS: tuple[tuple[str, ...], ...] = (
    ("year", "yyyy"), ("month", "mm"), ("day", "dd"),
    ("hour", "HH"), ("minute", "MM"), ("second", "SS"),
)  # fmt: skip
_PIECE = re.compile(r"\{([^}]*)\}|\[([^\]]*)\]|([^{}\[\]]+)")


def pattern(template: str) -> re.Pattern[str]:
    """The regular expression of the names that one of Tsdat's templates gives.

    ``{name}`` is a value, and the same each time that it stands there; ``[…]`` may be missing.
    """
    return re.compile(_expression(template, set()) + r"\Z")


def _expression(template: str, seen: set[str]) -> str:
    found = ""
    for name, optional, text in _PIECE.findall(template):
        if name and name in seen:
            found += f"(?P={name})"
        elif name:
            seen.add(name)
            found += f"(?P<{name}>{_DIGITS.get(name, '[^/]+?')})" if name.isidentifier() else ".+?"
        elif optional:
            found += f"(?:{_expression(optional, seen)})?"
        else:
            found += re.escape(text)
    return found


def begin_of(fields: Mapping[str, str | None]) -> datetime | None:
    """The first time in a file as its name tells; None when there is not even a year."""
    whole = fields.get("date_time") or ""
    date = fields.get("date") or fields.get("start_date") or whole[:8]
    clock = fields.get("time") or fields.get("start_time") or whole[9:]
    digits = f"{date:8}{clock:6}"
    numbers: list[int] = []
    for n, names in enumerate(_PARTS):
        place = slice(0, 4) if n == 0 else slice(2 * n + 2, 2 * n + 4)
        text = next((fields[name] for name in names if fields.get(name)), None) or digits[place]
        if not text or not text.strip():
            break
        numbers.append(int(text))
    if not numbers:
        return None
    try:
        whole_date = [*numbers, 1, 1][: max(len(numbers), 3)]
        return datetime(*whole_date, tzinfo=timezone.utc)  # type: ignore[arg-type, misc]
    except ValueError:
        return None


def _datastream(fields: Mapping[str, str | None], pipeline: Pipeline) -> str:
    """The datastream that a name tells of; the config's own where the name does not tell."""
    told = fields.get("datastream")
    if told:
        return told
    needed = [fields.get(name) for name in ("location_id", "dataset_name", "data_level")]
    if all(needed):
        more = "".join(f"-{fields[n]}" for n in ("qualifier", "temporal") if fields.get(n))
        return f"{needed[0]}.{needed[1]}{more}.{needed[2]}"
    return pipeline.datastream


@dataclass(frozen=True)
class _Template:
    """How the products of some configs are called."""

    root: str
    kind: Kind
    pattern: re.Pattern[str]
    configs: tuple[Config, ...]


def _templates(manifest: Manifest) -> list[_Template]:
    """Each template once, with the configs that have it; those of data first."""
    found: dict[tuple[str, Kind, str], list[Config]] = defaultdict(list)
    for config in manifest.configs:
        t = config.tsdat or Pipeline("")
        pairs: tuple[tuple[Kind, str, str], ...] = (
            ("data", t.data_path, t.data_filename),
            ("ancillary", t.plot_path, t.plot_filename),
        )
        for kind, folder, name in pairs:
            if name:
                folder = folder.replace("{storage_root}/", "").removeprefix("./")
                parts = [part for part in (t.storage_root, folder, name) if part not in ("", ".")]
                found[t.storage_root, kind, "/".join(parts)].append(config)
    ordered = sorted(found.items(), key=lambda item: item[0][1] != "data")
    return [_Template(r, k, pattern(text), tuple(c)) for (r, k, text), c in ordered]


# --- what lies there -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """A file that is a product of a config, by its name."""

    found: Found
    """The file."""
    config: str
    """Whose."""
    kind: Kind
    """Data, or a plot and the like."""
    datastream: str
    """Of which series."""
    begin: datetime | None
    """The first time in it, by its name."""
    end: datetime | None = None
    """The last time in it: reckoned from the files after it."""


@dataclass
class Survey:
    """All that lies below the storage roots."""

    candidates: list[Candidate] = field(default_factory=list)
    """What can be adopted, by config, datastream and time."""
    recorded: int = 0
    """How many files are on record already."""
    unknown: int = 0
    """How many files have names that no template gives."""
    examples: list[str] = field(default_factory=list)
    """Some of these."""
    unclaimed: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    """Data files by datastream, and whose they may be: no config says that it makes them."""

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        store: Store,
        on_record: Collection[str],
        *,
        config: str | None = None,
        datastream: str | None = None,
    ) -> Survey:
        """Look through all files; ``config`` and ``datastream`` say which are meant."""
        survey, templates = cls(), _templates(manifest)
        begins: dict[str, set[datetime]] = defaultdict(set)
        for found in _files(store, templates):
            fitting = _whose(found.key, templates, manifest, config, datastream)
            if fitting is None:
                survey._note_unknown(found.key)
                continue
            if isinstance(fitting, tuple):
                if fitting[0] == datastream or datastream is None:
                    survey.unclaimed[fitting] += 1
                continue
            if fitting.kind == "data" and fitting.begin is not None:
                begins[fitting.datastream].add(fitting.begin)
            if found.key in on_record:
                survey.recorded += 1
            elif config in (None, fitting.config) and datastream in (None, fitting.datastream):
                survey.candidates.append(replace(fitting, found=found))
        survey.candidates = sorted(_with_ends(survey.candidates, begins), key=_order)
        return survey

    def _note_unknown(self, key: str) -> None:
        self.unknown += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(key)

    @property
    def streams(self) -> list[tuple[str, str, list[Candidate]]]:
        """Config, datastream, and what there is of it."""
        return [
            (*key, list(group))
            for key, group in groupby(self.candidates, lambda c: (c.config, c.datastream))
        ]


_FIRST = datetime.min.replace(tzinfo=timezone.utc)
_NOTHING = Found("", 0, "", _FIRST)


def _files(store: Store, templates: Iterable[_Template]) -> Iterator[Found]:
    """What lies below the storage roots, each file once."""
    roots = {template.root for template in templates}
    for root in sorted(roots):
        if not any(root != other and _inside(root, other) for other in roots):
            yield from store.list(root)


def _inside(root: str, other: str) -> bool:
    return not other or root.startswith(other + "/")


def _whose(
    key: str,
    templates: Iterable[_Template],
    manifest: Manifest,
    config: str | None,
    datastream: str | None,
) -> Candidate | tuple[str, tuple[str, ...]] | None:
    """The file as a candidate; its datastream and whose it may be; or None: no template fits."""
    unclaimed: tuple[str, tuple[str, ...]] | None = None
    made = {c.tsdat.datastream for c in manifest.configs if c.tsdat}
    for template in templates:
        if template.kind == "data" and key.lower().endswith(_NEVER_DATA):
            continue
        match = template.pattern.match(key)
        if match is None:
            continue
        fields, ids = match.groupdict(), tuple(c.id for c in template.configs)
        for one in sorted(template.configs, key=lambda c: c.id != config):
            assert one.tsdat is not None
            stream = _datastream(fields, one.tsdat)
            named = (one.id, stream) == (config, datastream) and stream not in made
            if named or (stream and stream == one.tsdat.datastream):
                begin = begin_of(fields)
                return Candidate(_NOTHING, one.id, template.kind, stream, begin)
            unclaimed = unclaimed or (stream, ids)
    return unclaimed


def _with_ends(
    candidates: Iterable[Candidate], begins: Mapping[str, set[datetime]]
) -> Iterator[Candidate]:
    """Names tell when a file begins. It ends before the next begins, and is as long as most.

    So a gap in the series is no file of its length: VAPs would look for data in it.
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
    """Data and the plots of it one after the other."""
    begin = candidate.begin or _FIRST
    kind = candidate.kind != "data"
    return candidate.config, candidate.datastream, begin, kind, candidate.found.key


def _together(candidate: Candidate) -> tuple[str, str, datetime | None, str]:
    """What data and the plots of it have in common."""
    alone = candidate.found.key if candidate.begin is None else ""
    return candidate.config, candidate.datastream, candidate.begin, alone


# --- on record -----------------------------------------------------------------------------------


class RawFiles:
    """The raw files of configs, found by the names that products keep of them."""

    def __init__(self, manifest: Manifest, files: Callable[[Config], Iterable[Input]]) -> None:
        self._manifest = manifest
        self._files = files
        self._known: dict[str, dict[str, list[Input]]] = {}

    def named(self, config: str, names: Sequence[str]) -> tuple[Input, ...]:
        """The files that a product was made from; none unless all of them are there."""
        known = self._of(self._manifest.config(config))
        found = [self._one(name, known) for name in names]
        files = {file.key: file for file in found if file is not None}
        return tuple(files[key] for key in sorted(files)) if all(found) else ()

    def _one(self, name: str, known: Mapping[str, list[Input]]) -> Input | None:
        """By its path, as far as it goes; or by its name alone, where only one file has it."""
        path = name.replace("\\", "/")
        same = known.get(path.rsplit("/", 1)[-1], [])
        whole = [file for file in same if f"/{path}".endswith(f"/{file.key}")]
        fitting = whole or same
        return fitting[0] if len(fitting) == 1 else None

    def _of(self, config: Config) -> dict[str, list[Input]]:
        if config.id not in self._known:
            by_name: dict[str, list[Input]] = defaultdict(list)
            if config.kind == "Ingest" and config.input_path and not config.inputs:
                for file in self._files(config):
                    by_name[file.key.rsplit("/", 1)[-1]].append(file)
            self._known[config.id] = by_name
        return self._known[config.id]


_Known = tuple[Product, Summary | None]
"""A file as a product, and what is in it where it was opened."""


@dataclass
class Adoption:
    """Puts what a survey has found on record."""

    manifest: Manifest
    """The configs."""
    ledger: Ledger
    """Where to."""
    store: Store
    """Where the files lie."""
    read: Read | None = None
    """Opens a data file and says what is in it; None: go by the names."""
    raw: RawFiles | None = None
    """Raw files, to match with what products say that they were made from."""
    advance: Callable[[int], None] = lambda count: None
    """Told how many more are done."""
    adopted: int = 0
    """How many products are on record now that were not."""
    matched: set[tuple[str, str]] = field(default_factory=set)
    """Config and key of the raw files that count as done, because products name them."""
    unread: list[str] = field(default_factory=list)
    """Keys of data files that could not be read, and are on record by their names."""
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def run(self, survey: Survey) -> None:
        """Adopt all candidates; an adoption that died on the way is put right first."""
        self._end_stranded()
        for batch in _batches(survey.candidates):
            self._adopt(batch)

    def take(self, config: Config, files: Iterable[Input]) -> int:
        """Count raw files as done that no run has taken; returns how many that were."""
        taken = 0
        for file in self.ledger.untaken(config.id, files):
            run = Run(config.id, inputs=(file,))
            now = datetime.now(timezone.utc)
            taken += self._record(run, (), now, warnings=(_TAKEN,))
            self.advance(1)
        return taken

    def _end_stranded(self) -> None:
        """What a killed adoption had claimed and not ended: it stands for nothing."""
        for record in list(self.ledger.records(states=("running",))):
            if record.owner == ADOPTER:
                now = datetime.now(timezone.utc)
                self._finish(replace(record, state="superseded", finished=now))

    def _adopt(self, batch: Sequence[Candidate]) -> None:
        """One step: what goes by its inputs under runs of their own, the rest under one."""
        rest: list[Product] = []
        by_inputs: dict[tuple[Input, ...], list[Product]] = defaultdict(list)
        known = self._looked_at(batch)
        for _, group in groupby(batch, _together):
            products, inputs = self._products({candidate: known[candidate] for candidate in group})
            if inputs:
                by_inputs[inputs] += products
            else:
                rest += products
        config = batch[0].config
        for inputs, products in by_inputs.items():
            self._adopt_run(Run(config, inputs=inputs), products)
            self.matched.update((config, file.key) for file in inputs)
        if rest:
            self._adopt_run(_stand_in(config, rest), rest)

    def _looked_at(self, batch: Sequence[Candidate]) -> dict[Candidate, _Known]:
        """Each file as a product, several at once: on AWS, to fetch them is what takes the time."""
        known: dict[Candidate, _Known] = {}
        with ThreadPoolExecutor(_LOOKS) as pool:
            futures = {candidate: pool.submit(self._product, candidate) for candidate in batch}
            try:
                for candidate, future in futures.items():
                    known[candidate] = future.result()
                    if known[candidate][1] is None and self._opens(candidate):
                        self.unread.append(candidate.found.key)
                    self.advance(1)
                return known
            finally:  # an error or Ctrl-C does not wait for all the others
                pool.shutdown(cancel_futures=True)

    def _products(
        self, group: Mapping[Candidate, _Known]
    ) -> tuple[list[Product], tuple[Input, ...]]:
        """The files of one time, data and plots, and the raw files that they were made from."""
        products, inputs = [], set[tuple[Input, ...]]()
        times: Summary | None = None
        for candidate, (product, summary) in group.items():
            if summary is not None:
                times = summary
                if self.raw is not None and summary.inputs:
                    inputs.add(self.raw.named(candidate.config, summary.inputs))
            elif times is not None and candidate.kind == "ancillary":
                product = replace(product, begin=times.begin, end=times.end)
            products.append(product)
        return products, inputs.pop() if len(inputs) == 1 else ()

    def _opens(self, candidate: Candidate) -> bool:
        """Whether a file is opened, and not taken by its name."""
        return self.read is not None and candidate.kind == "data"

    def _product(self, candidate: Candidate) -> _Known:
        found, summary = candidate.found, None
        if self.read is not None and self._opens(candidate):
            with self.store.copy(found) as path:
                with self._reading:  # one worker opens them all, one after the other
                    summary = self.read(path)
                size, version = content_hash(path)
        else:
            size, version = self.store.identify(found)
        product = Product(
            found.key,
            candidate.kind,
            size,
            version,
            candidate.datastream,
            candidate.begin,
            candidate.end,
            config=candidate.config,
            made=found.modified,
        )
        if summary is None:
            return product, None
        told = replace(
            product,
            datastream=summary.datastream or product.datastream,
            begin=summary.begin or product.begin,
            end=summary.end or product.end,
            dimensions=summary.dimensions,
            quality=summary.quality,
        )
        return told, summary

    def _adopt_run(self, run: Run, products: Sequence[Product]) -> None:
        # A real run may have made some of them since they were listed: those are its own.
        with ThreadPoolExecutor(_LOOKS) as pool:
            present = list(pool.map(lambda p: self.ledger.product(p.key), products))
        new = [product for product, there in zip(products, present) if there is None]
        made = max((p.made for p in products if p.made), default=datetime.now(timezone.utc))
        if new and self._record(run, new, made):
            self.adopted += len(new)

    def _record(
        self, run: Run, products: Sequence[Product], made: datetime, warnings: Sequence[str] = ()
    ) -> bool:
        """Claim a run and end it, as of the time when its products were made.

        What is ours of before is added to: a raw file's products may come in several steps.
        """
        before = self.ledger.record(run.key)
        if before is not None and before.owner != ADOPTER:
            if not products:
                return False
            run, before = _stand_in(run.config, products), None  # that run was carried out here
        now = datetime.now(timezone.utc)
        again = replace(run, again=before is not None)
        claim = self.ledger.claim(again, owner=ADOPTER, lease=_LEASE, now=now, release="")
        if not claim.granted or claim.record is None:
            return False
        own = self.ledger.made_by(run.key) if before else []
        own += [replace(p, run=run.key) for p in products]
        return self._finish(
            replace(
                claim.record,
                run=run,
                state="succeeded" if products else "empty",
                started=made,
                finished=made,
                products=tuple(own),
                warnings=tuple(warnings),
            )
        )

    def _finish(self, record: RunRecord) -> bool:
        try:
            self.ledger.finish(record)
        except ClaimLost:  # another adoption is at it
            return False
        return True


def _stand_in(config: str, products: Sequence[Product]) -> Run:
    """The run that stands for products of which nobody knows what made them."""
    lines = "\n".join(f"{p.key}\0{p.sha256}" for p in products)
    digest = hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    name = products[0].key.rsplit("/", 1)[-1]
    more = f" and {len(products) - 1} more" if len(products) > 1 else ""
    return Run(config, arguments=(ADOPTED, f"{name}{more}", digest))


def _batches(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """Some hundred of one config, data and the plots of it never apart."""
    batch: list[Candidate] = []
    for _, files in groupby(candidates, _together):
        group = list(files)
        if batch and (batch[0].config != group[0].config or len(batch) + len(group) > BATCH):
            yield batch
            batch = []
        batch += group
    if batch:
        yield batch
