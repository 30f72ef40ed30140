"""One pipelines repository for all of these tests: the example's pipelines and tiny ones."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
HOME = HERE.parents[1]
EXAMPLES = HOME / "examples"
TINY = HERE.parent / "service" / "tiny"
FAST = HERE.parent / "service" / "hooks"
"""On ``PYTHONPATH``, Tsdat is imported without ``act``, which only the example's pipelines need."""

ACCOUNT, REGION = "000000000000", "us-west-2"
RAW, PRODUCTS = "e2e-raw", "e2e-products"
SITES = {
    "odd": {},
    "twice": {},
    "many": {},
    "fails": {"retries": 1},
    "slow": {"timeout": 600},
    "broken": {"retries": 0},
    "ticks": {},
    "windows": {},
    "same": {"retries": 1},
    "other": {"retries": 1},
}
"""The configs of the tiny ingest, one for each matter, and what each is told."""
VAPS = {
    "ticks": ("tiny_now", "* * * * *"),
    "windows": ("tiny_due", "Monthly"),
    "same": ("tiny_vap", "Monthly"),
}
"""The tiny VAPs, each on what the ingest of the same name makes: pipeline and schedule."""


def make_repository(root: Path) -> Path:
    """The example's repository with the tiny pipelines added, and a config file for each site."""
    ignore = shutil.ignore_patterns("__pycache__", ".venv")
    for source in (TINY, EXAMPLES / "pipelines", HERE / "tiny"):
        shutil.copytree(source, root, ignore=ignore, dirs_exist_ok=True)
    folder = root / "pipelines/tiny/config"
    plain = (folder / "pipeline.yaml").read_text()
    for name in SITES:
        site = f"  overrides:\n    /attrs/location_id: {name}\n"
        text = plain.replace("quality:", site + "quality:")
        (folder / f"pipeline_{name}.yaml").write_text(text)
    folder = root / "pipelines/tiny_vap/config"
    plain = (folder / "pipeline.yaml").read_text()
    for name in VAPS:
        site = f"  overrides:\n    /attrs/location_id: {name}\n"
        text = plain.replace("quality:", site + "quality:").replace("one.tiny", f"{name}.tiny")
        (folder / f"pipeline_{name}.yaml").write_text(text)
    return root


def config_text(repository: Path) -> str:
    """pipelines_config.yml with all of it; the example's own entries are taken as they are."""
    example = (EXAMPLES / "pipelines_config.yml").read_text()
    lines = [
        f"repository: {repository}",
        "pipelines_repo_name: e2e",
        f'account_id: "{ACCOUNT}"',
        f"region: {REGION}",
        f"input_bucket_name: {RAW}",
        f"output_bucket_name: {PRODUCTS}",
        "create_buckets: true",
        "notify: {to: [TIDEGATE_NOTIFY], at_most_every: 1s}",
        example[example.index("pipelines:") :].rstrip(),
        "- name: tiny",
        "  type: Ingest",
        "  trigger: S3",
        "  configs:",
    ]
    for name, settings in SITES.items():
        lines += [f"    {name}:", f"      input_bucket_path: tiny/{name}/"]
        lines += [f"      config_file_path: pipelines/tiny/config/pipeline_{name}.yaml"]
        lines += [f"      {key}: {value}" for key, value in settings.items()]
    for name, (pipeline, schedule) in VAPS.items():
        lines += [f"- name: {pipeline}", "  type: VAP", "  trigger: Cron", "  window: day"]
        lines += [f'  schedule: "{schedule}"', "  configs:", f"    {name}:", "      retries: 1"]
        lines += [f"      config_file_path: pipelines/tiny_vap/config/pipeline_{name}.yaml"]
    return "\n".join(lines) + "\n"


def load_make_raw() -> ModuleType:
    """examples/make_raw.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("e2e_make_raw", EXAMPLES / "make_raw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def csv(begin: str = "2022-04-01T00:00:00", values: Sequence[float] = (1, 2), ask: str = "") -> str:
    """A file for the tiny ingest: one value a minute; ``ask`` makes its pipeline misbehave."""
    first = datetime.fromisoformat(begin)
    rows = [
        f"{first + timedelta(minutes=n):%Y-%m-%dT%H:%M:%S},{value}"
        for n, value in enumerate(values)
    ]
    return "\n".join([*([f"#! {ask}"] if ask else []), "time,x", *rows]) + "\n"
