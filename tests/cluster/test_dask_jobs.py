"""Jobs of Slurm, PBS and LSF: what is submitted, and runs in jobs that stand-ins really start."""

import os
import signal
import subprocess

import fake_slurm
import pytest
from dask_processes import Watched
from service_workspace import config, csv, eventually, ingest, make

from tidegate.errors import ClusterError, UsageError
from tidegate.executors import DaskOptions, ExecutorChoice
from tidegate.executors.dask.jobs import CLUSTERS, job_keywords, open_jobs

CONFIG = config(ingest("one"), defaults="settle: 0")


def choice(tmp_path, cluster="slurm", **options):
    return ExecutorChoice("dask", 2, DaskOptions(cluster=cluster, options=options), tmp_path)


def test_ctrl_c_does_the_same_as_before():
    """The import of dask-jobqueue, above, replaces what it does."""
    assert CLUSTERS
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("cluster", "queue", "walltime"),
    [
        ("slurm", "#SBATCH -p short", "#SBATCH -t 02:00:00"),
        ("pbs", "#PBS -q short", "#PBS -l walltime=02:00:00"),
        ("lsf", "#BSUB -q short", "#BSUB -W 02:00"),
    ],
)
def test_the_script_of_a_job(tmp_path, cluster, queue, walltime):
    time = "02:00" if cluster == "lsf" else "02:00:00"
    options = {"queue": "short", "walltime": time, "cores": 4, "job-script-prologue": ["module x"]}
    keywords = job_keywords(choice(tmp_path, cluster, **options)) | {"security": None}
    for name in ("shared_temp_directory", "scheduler_options"):
        del keywords[name]
    script = CLUSTERS[cluster].job_cls("tcp://head:8786", name="w", **keywords).job_script()
    assert queue in script
    assert walltime in script
    assert "module x" in script
    assert "tidegate" in script  # the job's name
    assert "--nthreads 4" in script
    assert "--nworkers" not in script  # one worker for each job
    assert (tmp_path / "dask").stat().st_mode & 0o77 == 0


def test_what_tidegate_decides_cannot_be_set(tmp_path):
    with pytest.raises(UsageError):
        job_keywords(choice(tmp_path, processes=2))


def test_a_machine_without_sbatch(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError) as raised:
        open_jobs(choice(tmp_path))
    assert "sbatch" in raised.value.what


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Slurm's commands in PATH; yields the folder in which its jobs are."""
    spool = tmp_path / "spool"
    fake_slurm.install(tmp_path / "bin", spool)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    log = tmp_path / "slurm.log"
    server = Watched(fake_slurm.__file__, "serve", str(spool), log=log, cwd=tmp_path)
    yield spool
    server.end()


@pytest.mark.functional
def test_runs_in_jobs(slurm, tmp_path):
    place = make(tmp_path / "workspace", CONFIG)
    (place.root / "slurm.yml").write_text("queue: short\nwalltime: 00:10:00\nmemory: 1GB\n")
    for n in range(3):
        place.put(f"tiny/one/{n}.csv", csv(f"2022-04-{1 + n:02}T00:00:00"))
    place.age()
    place.once("--dask-cluster", "slurm", "--dask-options", "slurm.yml", "--dask-max", "1")
    assert [record.state for record in place.records()] == ["succeeded"] * 3
    (job,) = slurm.glob("*.job")
    assert "#SBATCH -p short" in job.read_text()
    place.assert_whole()
    eventually(lambda: (slurm / f"{job.stem}.ended").exists())


@pytest.mark.functional
def test_a_job_that_is_not_accepted_is_reported(slurm, tmp_path):
    place = make(tmp_path / "workspace", CONFIG)
    (place.root / "slurm.yml").write_text("queue: closed\n")
    place.put("tiny/one/0.csv", csv())
    place.age()
    with place.up("--dask-cluster", "slurm", "--dask-options", "slurm.yml") as up:
        up.says("invalid partition")
        assert place.queued() == 1
    assert subprocess.run(["squeue"], capture_output=True, text=True).stdout.strip() == ""
