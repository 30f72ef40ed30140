"""Histories of runs, written straight into a ledger: nothing is run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tidegate.runtime.runs import (
    Failure,
    Input,
    Product,
    QualitySummary,
    Run,
    RunRecord,
    State,
    Window,
)
from tidegate.targets.local.ledger import SqliteLedger
from tidegate.workspace.folder import Workspace

NOW = datetime(2026, 11, 28, 18, tzinfo=timezone.utc)
INGEST, VAP = "lidar/humboldt", "lidar_vap/humboldt"
STREAM, VAP_STREAM = "humboldt.lidar-z05.a1", "humboldt.lidar-10m.b1"

CONFIG = """\
repository: pipelines
pipelines:
  - name: lidar
    type: Ingest
    trigger: S3
    configs:
      humboldt:
        input_bucket_path: lidar/humboldt/
        config_file_path: pipelines/lidar/config/pipeline_humboldt.yaml
        expect_every: 2h
  - name: lidar_vap
    type: VAP
    trigger: Cron
    schedule: Daily
    configs:
      humboldt:
        config_file_path: pipelines/lidar_vap/config/pipeline_humboldt.yaml
"""

# The smallest picture: one pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


def make_workspace(root: Path, config: str = CONFIG) -> Path:
    """A workspace with a config that is valid without Tsdat."""
    root.mkdir(parents=True)
    for name in ("lidar", "lidar_vap"):
        folder = root / "pipelines" / "pipelines" / name / "config"
        folder.mkdir(parents=True)
        (folder / "pipeline_humboldt.yaml").write_text("classname: x\n")
    (root / "pipelines_config.yml").write_text(config)
    (root / "input").mkdir()
    return root


class HistoryWriter:
    """Writes runs with products, files and logs into a workspace."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace.at(root)
        self.workspace.prepare()
        self.ledger = SqliteLedger(self.workspace.ledger)

    def write_week(self) -> None:
        """A run a day with two products; the last but one failed; a VAP over the first days."""
        for number in range(7):
            begin = NOW.replace(hour=0) - timedelta(days=6 - number)
            name = f"lidar.{begin:%Y%m%d}.sta"
            if number == 5:
                self.fail(name, "no column 'Speed' in the file", when=begin + timedelta(hours=8))
            else:
                self.ingest(name, begin)
        self.vap(NOW.replace(hour=0) - timedelta(days=6))

    def ingest(
        self, name: str, begin: datetime, *, stream: str = STREAM, version: str = "1"
    ) -> RunRecord:
        """A run of the ingest over one file, with a data product and a plot."""
        stamp = f"{begin:%Y%m%d.%H%M%S}"
        end = begin + timedelta(hours=23, minutes=50)
        quality = (
            QualitySummary("wind_speed", 144, 7, 3),
            QualitySummary("wind_direction", 144, 0, 0),
        )
        data = Product(
            f"storage/root/{stream}/{stream}.{stamp}.nc",
            "data",
            2000,
            "a" * 64,
            stream,
            begin,
            end,
            {"time": 144, "height": 10},
            quality,
            {"battery": 0.98},
        )
        plot = Product(
            f"storage/root/{stream}/{stream}.{stamp}.wind.png",
            "ancillary",
            len(PNG),
            "b" * 64,
            stream,
            begin,
            end,
        )
        run = self.run(INGEST, name, version)
        return self.write(run, begin + timedelta(hours=8), products=(data, plot))

    def vap(self, begin: datetime) -> RunRecord:
        """A run of the VAP over one day."""
        window = Window(begin, begin + timedelta(days=1))
        used = self.ledger.overlapping(STREAM, window.begin, window.end)
        run = Run(VAP, window=window, products=tuple(p.ref for p in used))
        stamp = f"{begin:%Y%m%d.%H%M%S}"
        key = f"storage/root/{VAP_STREAM}/{VAP_STREAM}.{stamp}.nc"
        made = Product(key, "data", 900, "c" * 64, VAP_STREAM, begin, window.end)
        return self.write(run, begin + timedelta(days=1, hours=2), products=(made,))

    def run(self, config: str, name: str, version: str = "1") -> Run:
        """A run over one raw file."""
        return Run(config, inputs=(Input(f"lidar/humboldt/{name}", version * 64, 1234),))

    def fail(self, name: str, message: str, *, when: datetime = NOW) -> RunRecord:
        """A run that failed."""
        failure = Failure("bad-input", message, "pipelines/lidar/reader.py:12")
        log = [("INFO", "start", name), ("ERROR", "pipeline", message)]
        return self.write(self.run(INGEST, name), when, "failed", failure=failure, log=log)

    def write(
        self,
        run: Run,
        when: datetime,
        state: State = "succeeded",
        *,
        products: Sequence[Product] = (),
        failure: Failure | None = None,
        log: Sequence[tuple[str, str, str]] = (("INFO", "start", "reading"),),
        **more: object,
    ) -> RunRecord:
        """A run that ended, with its products as files in output/, and its log."""
        run = replace(run, arrived=run.arrived or when - timedelta(seconds=30))
        lease = timedelta(hours=1)
        claim = self.ledger.claim(run, owner="test", lease=lease, now=when, release="5" * 64)
        assert claim.granted
        assert claim.record is not None
        made = tuple(replace(p, run=run.key, config=run.config, made=when) for p in products)
        for product in made:
            place = self.workspace.output / product.key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(PNG if product.key.endswith(".png") else product.key.encode())
        name = f"logs/{run.key[:16]}.jsonl"
        lines = [
            json.dumps(
                {"time": when.isoformat(), "level": level, "action": action, "message": message}
            )
            for level, action, message in log
        ]
        (self.workspace.state / name).write_text("\n".join(lines), "utf-8")
        record = replace(
            claim.record,
            state=state,
            finished=when + timedelta(seconds=9),
            products=made,
            failure=failure,
            log=name,
            seconds={"stage": 0.2, "run": 7.0, "total": 9.0},
            **more,  # type: ignore[arg-type]
        )
        self.ledger.finish(record)
        return record
