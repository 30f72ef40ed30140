"""Which executor carries runs out: what the command line says, else the config."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tidegate.config.models import PipelinesConfig
from tidegate.errors import UsageError
from tidegate.workspace.executor_choice import (
    NOTHING_SAID,
    ExecutorArguments,
    choose_executor,
    from_record,
    to_record,
)
from tidegate.workspace.folder import Workspace


@dataclass
class Loaded:
    """What ``choose_executor`` reads of a workspace."""

    workspace: Workspace
    model: PipelinesConfig

    @property
    def config(self) -> Any:
        return self

    def require(self) -> PipelinesConfig:
        return self.model


def choose(root: Path, arguments: ExecutorArguments = NOTHING_SAID, **keys: Any) -> Any:
    model = PipelinesConfig.model_validate({"pipelines": [], **keys})
    return choose_executor(Loaded(Workspace(root), model), arguments, 3, print)  # type: ignore[arg-type]


def test_processes_are_the_default(tmp_path):
    assert (choose(tmp_path).name, choose(tmp_path).most) == ("process", 3)


def test_the_config_says_it(tmp_path):
    (tmp_path / "slurm.yml").write_text("cores: 4\n")
    dask = {"cluster": "slurm", "options": "slurm.yml", "min": 1, "max": 20}
    chosen = choose(tmp_path, executor="dask", dask=dask)
    assert (chosen.name, chosen.most, chosen.dask.minimum) == ("dask", 20, 1)
    assert chosen.dask.cluster == "slurm"
    assert chosen.dask.options == {"cores": 4}


def test_the_command_line_overrides_the_config(tmp_path):
    arguments = ExecutorArguments(dask_cluster="local", dask_max=2)
    dask = {"scheduler": "tcp://head:8786", "max": 20}
    chosen = choose(tmp_path, arguments, executor="dask", dask=dask)
    assert (chosen.dask.scheduler, chosen.dask.cluster, chosen.most) == (None, "local", 2)
    assert choose(tmp_path, ExecutorArguments("process"), executor="dask").name == "process"


def test_how_many_runs_at_once_by_default(tmp_path):
    def most(**arguments: Any) -> int:
        return choose(tmp_path, ExecutorArguments("dask", **arguments)).most

    assert most() == 3
    assert most(dask_cluster="pbs") == 10
    assert most(dask_scheduler="tcp://head:8786") == 256


@pytest.mark.parametrize(
    "arguments",
    [
        ExecutorArguments("process", dask_max=3),
        ExecutorArguments(dask_scheduler="tcp://head:8786", dask_cluster="slurm"),
        ExecutorArguments("dask", dask_min=5, dask_max=3),
        ExecutorArguments("dask", dask_options=Path("missing.yml")),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arguments):
    with pytest.raises(UsageError):
        choose(tmp_path, arguments)


@pytest.mark.parametrize(
    ("content", "where"), [(None, ""), (b"queue: [", ":1"), (b"\xff\xfe", ""), (b"- a", "")]
)
def test_a_file_of_options_that_cannot_be_used(tmp_path, content, where):
    file = tmp_path / "slurm.yml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        choose(tmp_path, ExecutorArguments("dask", dask_options=file))
    assert str(file) in str(raised.value)
    assert raised.value.next
    assert raised.value.where == (f"{file}{where}" if where else "")
    assert "Errno" not in str(raised.value)


def test_a_job_keeps_what_was_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = ExecutorArguments(dask_cluster="slurm", dask_options=Path("slurm.yml"), dask_max=20)
    kept = from_record(json.loads(json.dumps(to_record(said))))
    assert kept == replace(said, dask_options=tmp_path / "slurm.yml")
    assert from_record(to_record(NOTHING_SAID)) == NOTHING_SAID
