"""The commands' view of AWS: one branch's deployment, by its names in the config."""

from __future__ import annotations

import importlib.util
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import fmean

from tidegate import config as configuration
from tidegate.config import AwsKeys
from tidegate.errors import ConfigurationError, LedgerError, StorageError, UsageError
from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.protocols import Inputs, Outputs
from tidegate.runtime.records import loads
from tidegate.runtime.related_files import has_related
from tidegate.runtime.runs import Input, Product, Run, RunRecord
from tidegate.runtime.select import under
from tidegate.runtime.wording import quantity
from tidegate.targets.aws.backlog_work import Search, search_entry, workers
from tidegate.targets.aws.clients import Clients, Missing, code_of, explained
from tidegate.targets.aws.ledger import DynamoLedger
from tidegate.targets.aws.names import Names
from tidegate.targets.aws.requests import (
    NO_QUEUE,
    announce_work,
    count_waiting,
    queue_url,
    redrive,
    send,
)
from tidegate.targets.aws.s3 import S3Inputs, S3Outputs
from tidegate.workspace import loading, rerun
from tidegate.workspace.bucket_files import BucketProductFiles
from tidegate.workspace.environment_options import find_interpreter
from tidegate.workspace.follow import Following
from tidegate.workspace.product_files import ProductFiles
from tidegate.workspace.session import Ended, Job, RunOptions, Say, TargetOptions

_AT_ONCE = 8
_JUDGED_BY = 50


def open_for_reading(target: TargetOptions, run_options: RunOptions) -> AwsSession:
    """See ``session.open_for_reading``: only the config file is read, AWS is not called."""
    _check_boto3()
    file = loading.short_path(target.workspace.config)
    # The pipelines repository need not be here: what is deployed counts.
    reading = configuration.read(file, files=False)
    resolution = configuration.resolve(reading, None)
    if resolution.manifest is None or reading.model is None:
        raise configuration.ConfigProblems(reading.file, resolution.problems)
    keys = reading.model.for_branch(target.branch)
    repository = _needed(keys.pipelines_repo_name, "pipelines_repo_name", reading.file)
    clients = Clients(profile=target.profile, region=target.region or keys.region)
    names = Names(repository, target.branch)
    return AwsSession(target, run_options, reading.file, keys, names, clients, resolution.manifest)


def open_session(target: TargetOptions, run_options: RunOptions) -> AwsSession:
    """See ``session.open_session``: the configs are those that are deployed."""
    opened = open_for_reading(target, run_options)
    try:
        return replace(opened, manifest=_deployed(opened))
    except _NotDescribed as error:
        run_options.say(f"{error}\nTsdat is asked about the repository on this machine instead.")
    here = loading.load_workspace(target.workspace, python=run_options.python, say=run_options.say)
    return replace(opened, manifest=here.manifest)


def _check_boto3() -> None:
    if importlib.util.find_spec("boto3") is None:
        raise UsageError(
            "--target aws needs boto3",
            why="boto3 is not installed",
            next="pip install 'tidegate[aws]'",
        )


def _needed(value: str | None, name: str, file: str) -> str:
    """A key of the config that AWS needs; raises ConfigurationError."""
    if value is None:
        example = (AwsKeys.model_fields[name].examples or [""])[0]
        raise ConfigurationError(
            f"{name} is missing",
            why="--target aws uses the names in the config",
            next=f"write, for example, '{name}: {example}'",
            where=file,
        )
    return value


class _NotDescribed(ConfigurationError):
    """AWS does not say what is deployed."""


def _deployed(opened: AwsSession) -> Manifest:
    """The configs of the functions; for a config without a function, that of the file."""
    opened.clients.client("lambda")  # create it once, before several threads use it
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda config: _function_of(opened, config), opened.manifest.configs))
    configs: list[Config] = []
    releases: dict[str, str] = {}
    for config, deployed in zip(opened.manifest.configs, found):
        configs.append(deployed.config(config.id) if deployed else config)
        releases.update(deployed.releases if deployed else {})
    return Manifest(tuple(configs), releases)


def _function_of(opened: AwsSession, config: Config) -> Manifest | None:
    """The manifest that a config's function got at its release; None if there is no function."""
    name = opened.names.function(config.pipeline, config.name)
    client = opened.clients.client("lambda")
    with explained(
        "look at the function",
        opened.clients.arn("lambda", f"function:{name}"),
        lasting=_NotDescribed,
    ):
        try:
            answer = client.get_function_configuration(FunctionName=name)
        except client.exceptions.ResourceNotFoundException:
            return None
    text = answer.get("Environment", {}).get("Variables", {}).get("TIDEGATE_MANIFEST", "")
    try:
        manifest = loads(Manifest, text)
        manifest.config(config.id)
    except (ValueError, KeyError) as error:
        raise _NotDescribed(
            f"the config of the function {name} is not known",
            why=f"its TIDEGATE_MANIFEST cannot be read: {error}",
            next="deploy it again",
        ) from error
    return manifest


@dataclass(frozen=True)
class AwsSession:
    """``session.Session`` over a branch on AWS."""

    target: TargetOptions
    """Which."""
    run_options: RunOptions
    """How long to wait, and where messages go."""
    file: str
    """The config file."""
    keys: AwsKeys
    """The keys for AWS, as they are for the branch."""
    names: Names
    """The names of all resources."""
    clients: Clients
    """Calls AWS."""
    manifest: Manifest
    """The configs."""

    @property
    def region(self) -> str:
        """The region, as a person should read it."""
        return self.target.region or self.keys.region or "the default region"

    @property
    def input_bucket(self) -> str:
        """Where raw files arrive."""
        return _needed(self.keys.input_bucket_name, "input_bucket_name", self.file)

    @property
    def reads_at_once(self) -> int:
        """Several: an answer of DynamoDB is waited for."""
        return _AT_ONCE

    @contextmanager
    def ledger(self) -> Iterator[DynamoLedger]:
        """The branch's table; the error for a missing one says where Tidegate looked for it."""
        try:
            yield DynamoLedger(self.names.ledger_table, self.clients)
        except LedgerError as error:
            if "does not exist" not in error.why:
                raise
            raise LedgerError(
                f"there is no table {self.names.ledger_table} in {self.region}{self._account()}",
                why=f"the branch {self.target.branch} is not deployed there",
                next="deploy it, or say where it is with --branch, --region and --profile",
            ) from error

    def _account(self) -> str:
        """The account of the credentials, for an error message; "" if it cannot be found out."""
        try:
            with explained("ask who this is"):
                account = self.clients.client("sts").get_caller_identity()["Account"]
        except Exception:  # the error that is about to be raised matters more
            return ""
        return f" of the account {account}"

    def log(self, record: RunRecord) -> list[str]:
        """The lines of a run's log, which is in the output bucket."""
        bucket, _, key = record.log.removeprefix("s3://").partition("/")
        if not key:
            return []
        try:
            with explained("read the log", self.clients.arn("s3", f"{bucket}/{key}")):
                body = self.clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except Missing:
            return []
        except StorageError as error:  # the record is worth showing all the same
            return str(error).splitlines()
        return body.decode("utf-8", "replace").splitlines()

    def queued_runs(
        self, config: str | None, states: Sequence[str]
    ) -> Iterator[tuple[Run, datetime]]:
        """Nothing: the messages in SQS cannot be listed.

        Raises:
            UsageError: ``states`` asks for queued runs.
        """
        if "queued" in states:
            raise UsageError(
                "queued runs on AWS cannot be listed",
                why="SQS only says how many messages wait",
                next=f"look at the dashboard {self.names.dashboard} on CloudWatch",
            )
        return iter(())

    def waiting(self) -> dict[str, int]:
        """What SQS says of each queue; a queue that does not exist has nothing waiting."""
        configs = self.manifest.configs
        queues = [self.names.queue(config.pipeline, config.name) for config in configs]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            counts = pool.map(lambda name: count_waiting(name, self.clients), queues)
            return {config.id: count for config, count in zip(configs, counts)}

    def place_problems(self) -> list[str]:
        """Nothing: there is no disk that could be full."""
        return []

    @contextmanager
    def product_file(self, product: Product) -> Iterator[Path]:
        """The product, copied to a temporary folder."""
        bucket = _needed(self.keys.output_bucket_name, "output_bucket_name", self.file)
        with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
            copy = Path(folder, Path(product.key).name)
            S3Outputs(bucket, self.clients).fetch(product.ref, copy)
            yield copy

    def raw_files(self, config: Config) -> list[Input]:
        """The objects under a config's prefix."""
        return list(S3Inputs(self.input_bucket, self.clients).list(config.input_path or ""))

    def new_files(self, config: Config) -> tuple[int, str]:
        """Objects that no run has processed: they were uploaded before the deployment."""
        with self.ledger() as ledger:
            count = len(ledger.untaken(config.id, self.raw_files(config)))
        if config.trigger == "Cron":
            return count, "the next scheduled run will process them all"
        return count, (
            "they are not processed automatically; only new files are."
            f" `tidegate reprocess {config.id} --only missing --target aws` runs them"
        )

    def file_runs(
        self, names: Sequence[str], *, config: str | None, clump: bool, all: bool
    ) -> list[Run]:
        """The runs of objects in the input bucket, by key or by ``s3://`` address."""
        inputs, now = S3Inputs(self.input_bucket, self.clients), datetime.now(timezone.utc)
        files = [self._file(name, inputs, config, all=all) for name in names]
        return rerun.file_runs(files, clump=clump, now=now, present=self.raw_files)

    def _file(
        self, name: str, inputs: S3Inputs, config: str | None, *, all: bool
    ) -> tuple[Input, list[Config]]:
        """An object that a person named, and the configs that it is for."""
        key = self._key(name)
        found = inputs.find(key)
        if found is None:
            raise _no_object(self, name, key)
        return found, self._fitting(key, config, all)

    def _key(self, name: str) -> str:
        if not name.startswith("s3://"):
            return name
        bucket, _, key = name.removeprefix("s3://").partition("/")
        if bucket != self.input_bucket:
            raise UsageError(
                f"{name} is not in the input bucket",
                why=f"functions read raw files from {self.input_bucket} only",
                next=f"copy it: aws s3 cp {name} s3://{self.input_bucket}/…",
            )
        return key

    def _fitting(self, key: str, config: str | None, all: bool) -> list[Config]:
        """The configs to run a file with: only one whose prefix it lies under may read it."""
        if config is None:
            found = rerun.config_of_file(self.manifest, key, key, all=all)
        else:
            found = [rerun.named_config(self.manifest, config)]
        for one in found:
            if one.input_path is None or not under(one.input_path, key):
                raise UsageError(
                    f"{one.id} cannot read {key}",
                    why=f"its function may read files under {one.input_path or 'no prefix'} only",
                    next=f"copy it there: aws s3 cp s3://{self.input_bucket}/{key}"
                    f" s3://{self.input_bucket}/{one.input_path or ''}",
                )
        return found

    def estimate(self, config: str, count: int) -> str:
        """How long a run takes; AWS decides how many go on at once."""
        with self.ledger() as ledger:
            records = ledger.records(config=config, states=("succeeded",), limit=_JUDGED_BY)
            times = [r.seconds["total"] for r in records if r.seconds.get("total")]
        if not count or not times:
            return ""
        return f", about {timedelta(seconds=round(fmean(times)))} (h:mm:ss) each"

    def request_missing(self, config: Config, begin: datetime | None, end: datetime | None) -> bool:
        """See ``Session.request_missing``: the config's function lists its prefix, part by part."""
        if config.kind != "Ingest" or config.input_path is None or has_related(config):
            return False
        queue = queue_url(self.names.queue(config.pipeline, config.name), self.clients)
        now = datetime.now(timezone.utc)
        search = Search(begin=begin, end=end, again=True, asked=now)
        with self.ledger() as ledger:
            ledger.backlog.add(config.id, [search_entry(search)])
            announce_work(config.id, workers(config), queue, self.clients)
        return True

    @contextmanager
    def carrying_out(self, runs: Sequence[Run], ended: Ended, say: Say) -> Iterator[Job]:
        """Request runs through their queues, and wait for their ends."""
        yield _ByFunctions(self, list(runs), ended, say)

    def redrive(self) -> int:
        """Put the dead letters of all configs back; says which queues cannot be reached."""
        left: list[tuple[str, StorageError]] = []

        def one(config: Config) -> int:
            dead = self.names.dead_letter_queue(config.pipeline, config.name)
            queue = self.names.queue(config.pipeline, config.name)
            try:
                there = queue_url(queue, self.clients)
                return redrive(queue_url(dead, self.clients), there, self.clients)
            except StorageError as error:
                if code_of(error) not in NO_QUEUE:
                    left.append((dead, error))
                return 0

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            count = sum(pool.map(one, self.manifest.configs))
        if left:
            more = f" (and {quantity(len(left) - 1, 'other queue')})" if len(left) > 1 else ""
            self.run_options.say(f"cannot redrive {left[0][0]}{more}: {left[0][1]}")
        return count

    @contextmanager
    def product_files(self, *, exclusive: bool = True) -> Iterator[ProductFiles]:
        """The output bucket."""
        bucket = _needed(self.keys.output_bucket_name, "output_bucket_name", self.file)
        raw = [config.input_path for config in self.manifest.configs if config.input_path]
        shared = bucket == self.keys.input_bucket_name
        yield BucketProductFiles(bucket, self.clients, tuple(raw) if shared else ())

    def bind_outputs(self) -> None:
        """Nothing: on AWS, `tidegate deploy` does that."""

    def stores(self, run: Run) -> tuple[Inputs, Outputs]:
        """The buckets."""
        bucket = _needed(self.keys.output_bucket_name, "output_bucket_name", self.file)
        return S3Inputs(self.input_bucket, self.clients), S3Outputs(bucket, self.clients)

    def repository(self) -> Path | None:
        """The repository beside the config file, if it is there."""
        try:
            found = loading.read_config(self.target.workspace).repository
        except configuration.ConfigProblems:
            return None
        return found.absolute() if found else None

    def interpreter(self) -> tuple[Sequence[str], Path]:
        """The pipelines' interpreter on this machine: files are fetched to be read."""
        reading = loading.read_config(self.target.workspace)
        python = find_interpreter(
            self.target.workspace, reading, python=self.run_options.python, say=self.run_options.say
        )
        assert reading.repository is not None
        return python, reading.repository.absolute()


def _no_object(session: AwsSession, name: str, key: str) -> UsageError:
    prefix = next((c.input_path for c in session.manifest.configs if c.input_path), "") or ""
    if Path(name).is_file():
        return UsageError(
            f"{name} is a file on this machine",
            why="functions read raw files from the input bucket only",
            next=f"upload it, which runs it: aws s3 cp {name} s3://{session.input_bucket}/{prefix}",
        )
    return UsageError(
        f"there is no {key} in s3://{session.input_bucket}",
        next=f"name keys, such as {prefix}FILE: aws s3 ls s3://{session.input_bucket}/{prefix}",
    )


@dataclass
class _ByFunctions:
    """Runs that functions carry out: requested, and followed in the ledger."""

    session: AwsSession
    runs: list[Run]
    ended: Ended
    say: Say

    def __post_init__(self) -> None:
        self._following = Following(self.runs, self, self.ended, self.say, pause=1.0)

    def run(self) -> None:
        """Send the requests and wait for the ends; returns early if nothing happens for long."""
        by_config: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs:
            by_config[run.config].append(run)
        with self.session.ledger() as ledger:
            # All queues first: if one does not exist, nothing is sent.
            queues = {id: self._queue(id) for id in by_config}
            for id, runs in by_config.items():
                send(runs, queues[id], ledger, self.session.clients)
            if self.runs and self.session.run_options.wait > 0:
                count = quantity(len(self.runs), "run")
                self.say(f"{count} requested; Ctrl-C ends the waiting, not the runs")
                self._following.wait(ledger)

    def stop(self) -> None:
        """Wait no longer."""
        self._following.stopped.set()

    def problem(self, waiting: Sequence[Run], quiet: float) -> str:
        limit = self.session.run_options.wait
        if quiet <= limit:
            return ""
        return (
            f"{quantity(len(waiting), 'run')} made no progress for {limit:g} s. They are still"
            " requested: `tidegate runs --target aws` shows what happens to them, and"
            f" the dashboard {self.session.names.dashboard} how many wait"
        )

    def is_lost(self, run: Run) -> bool:
        return False

    def _queue(self, id: str) -> str:
        config, names = rerun.named_config(self.session.manifest, id), self.session.names
        return queue_url(names.queue(config.pipeline, config.name), self.session.clients)
