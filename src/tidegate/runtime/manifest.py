"""The resolved config as plain records, to and from JSON.

Commands read ``pipelines_config.yml``, ask Tsdat about each pipeline, and write a manifest; the
runtime reads only the manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from tidegate.runtime.records import check_aware, dumps

Kind = Literal["Ingest", "VAP"]
Trigger = Literal["S3", "Cron"]
OnEmpty = Literal["warn", "fail", "keep"]
OnWithdrawn = Literal["move", "mark"]
Architecture = Literal["x86_64", "arm64"]


@dataclass(frozen=True)
class Pipeline:
    """What Tsdat says about one pipeline config file."""

    classname: str
    """The dotted name of the pipeline class."""
    triggers: tuple[str, ...] = ()
    """Tsdat's ``triggers``: regular expressions on input paths."""
    datastreams: tuple[str, ...] = ()
    """The input datastreams of a VAP (``parameters.datastreams``); empty for an ingest."""
    pad_before: float = 0.0
    """How far before the window the retriever fetches inputs (``fetch_parameters``), s."""
    pad_after: float = 0.0
    """How far after the window the retriever fetches inputs, s."""
    storage_root: str = "storage/root"
    """The storage root as a relative prefix: the first part of every product key, "" for none."""
    data_path: str = ""
    """The path template of data files below the storage root (``data_storage_path``)."""
    data_filename: str = ""
    """The name template of data files (``data_filename_template``)."""
    plot_path: str = ""
    """The path template of plots and other ancillary files (``ancillary_storage_path``)."""
    plot_filename: str = ""
    """The name template of plots and other ancillary files (``ancillary_filename_template``)."""
    datastream: str = ""
    """The output datastream according to the config; pipelines may change it at run time."""
    tsdat: str = ""
    """The version of Tsdat that was asked."""


@dataclass(frozen=True)
class Config:
    """One config of one pipeline: what is run, and what is deployed."""

    pipeline: str
    """The name of the pipeline."""
    name: str
    """The key of the config below ``configs:`` (a site or a version)."""
    kind: Kind
    """Ingest or VAP."""
    trigger: Trigger
    """S3: runs as files arrive. Cron: runs when its schedule is due."""
    config_file: str
    """The Tsdat pipeline config file, relative to the repository's root."""
    input_path: str | None = None
    """Where its raw files arrive: a key prefix that ends in ``/``."""
    schedule: str | None = None
    """A cron expression of five fields, in UTC."""
    window: str | None = None
    """How long a VAP's windows are: hour, day, week, month, or a duration such as 6h or 30min."""
    since: datetime | None = None
    """A VAP's first run goes back no further than this."""
    inputs: tuple[str, ...] = ()
    """For a Cron ingest: strings given to the pipeline instead of files, with {begin}, {end}."""
    timeout: int = 900
    """A run is stopped after this many seconds."""
    memory: int = 1769
    """A run is stopped when it uses more than this, MB."""
    retries: int = 2
    """How often a run is repeated after a transient failure."""
    settle: float = 2.0
    """A file counts as arrived when its size and time have not changed for so long, s."""
    max_wait: int = 3600
    """A file that does not settle, or stays open for writing, is run this often all the same, s."""
    ignore: tuple[str, ...] = ()
    """Patterns of names below the input path that are not input files, as in ``*.log``."""
    companions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By the pattern of a file's name: names of files that its reader opens beside it. A ``*`` in a
    companion's name stands for what the same ``*`` in the pattern stands for."""
    group_by: str | None = None
    """Which files are run together: folder, hour, day, or a regular expression on the path below
    the input path; files with the same groups in it, or else the same match, belong together."""
    concurrency: int | None = None
    """How many runs of this config may go on at once; None: as many as there are workers."""
    expect_every: int | None = None
    """No data for longer than this is reported, s."""
    on_empty: OnEmpty = "warn"
    """What to do with a product that has an empty variable, or is clearly poorer than the one that
    it replaces. warn: publish it. fail: the run fails where a variable is empty. keep: the older
    product is kept, where there is one."""
    on_withdrawn: OnWithdrawn = "move"
    """What to do with a VAP's products when all inputs of their window are gone. move: take them
    off the record, and move them to another folder. mark: leave them, with a mark."""
    architecture: Architecture | None = None
    """On AWS, the processor architecture; None: the deployment's default."""
    ephemeral_storage: int | None = None
    """On AWS, the disk for inputs and products, MB; None: the deployment's default."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for the run."""
    tsdat: Pipeline | None = None
    """What Tsdat says about the config file; None if it was not asked yet."""

    def __post_init__(self) -> None:
        check_aware(self)

    @property
    def id(self) -> str:
        """``pipeline/config``, as in ``lidar/humboldt``: unique within one file."""
        return f"{self.pipeline}/{self.name}"


@dataclass(frozen=True)
class NoticeSettings:
    """Which messages people get about a config, and when."""

    kinds: tuple[str, ...] = ()
    """What they are about (``notices.notice.KINDS``); everything, when it is empty."""
    at_most_every: int = 3600
    """The shortest time between two messages, s."""
    quiet: str = ""
    """Nothing is sent between these two times of the day, in UTC, as in ``22:00-06:00``."""


@dataclass(frozen=True)
class Manifest:
    """All configs of one repository at one release."""

    configs: tuple[Config, ...]
    """In the order of the file."""
    releases: Mapping[str, str] = field(default_factory=dict)
    """For each pipeline, the content hash of the code and config that it runs with."""
    notices: Mapping[str, NoticeSettings] = field(default_factory=dict)
    """By the config's id: which messages people get. Functions do not need it."""

    def config(self, id: str) -> Config:
        """The config of that id; raises KeyError if there is none."""
        for config in self.configs:
            if config.id == id:
                return config
        raise KeyError(id)

    def release(self, config: Config) -> str:
        """The content hash of what ``config`` runs with; "" if it is not known.

        That is the code of its pipeline, and its variables, where it has some.
        """
        code = self.releases.get(config.pipeline, "")
        if not code or not config.environment:
            return code
        identity = dumps([code, dict(sorted(config.environment.items()))])
        return hashlib.sha256(identity.encode()).hexdigest()[:16]
