"""New workspaces, sites and VAPs; what is there is never overwritten unasked."""

from __future__ import annotations

from datetime import timedelta

import netCDF4
import numpy as np
import pytest
import raw_files
import yaml

from tidegate.errors import UsageError
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Window
from tidegate.scaffold import changes
from tidegate.scaffold.ingest.create import Wanted, create, plan_ingest
from tidegate.scaffold.ingest.trial_run import run_window
from tidegate.scaffold.questions import Answers
from tidegate.scaffold.site import plan_site
from tidegate.scaffold.vap import create as vap
from tidegate.scaffold.workspace import create_workspace
from tidegate.workspace.folder import CONFIG, Workspace
from tidegate.workspace.loading import load_without_tsdat


@pytest.fixture(scope="module")
def ingest(workspace, worker, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw") / "met.csv"
    raw_files.gaps(raw)
    answers = Answers({"timezone": "UTC"})
    plan = plan_ingest(workspace, Wanted("met", [raw], location="pier"), answers)
    return raw, create(plan, worker, approve=None)


@pytest.mark.functional
def test_a_new_workspace_is_one_and_can_be_written_again(tmp_path):
    folder = tmp_path / "my pipelines"
    actions = create_workspace(folder, approve=None)
    assert set(actions.values()) == {"written"}
    loaded = load_without_tsdat(Workspace.at(folder))
    assert loaded.manifest.configs == ()
    assert (folder / ".git").is_dir()
    assert set(create_workspace(folder, approve=None).values()) == {"unchanged"}
    (folder / "README.md").write_text("ours\n")
    with pytest.raises(UsageError, match=r"README\.md would be overwritten"):
        create_workspace(folder, approve=None)
    assert (folder / "README.md").read_text() == "ours\n"


def test_the_config_keeps_comments_and_order(ingest, workspace):
    text = workspace.config.read_text()
    assert text.startswith("# Ours.\nrepository: .\n\npipelines:  # none yet\n")
    names = [entry["name"] for entry in yaml.safe_load(text)["pipelines"]]
    assert "met" in names
    assert len(set(names)) == len(names)


def test_files_of_ones_own_are_kept(ingest, workspace, worker):
    raw, _ = ingest
    own = workspace.root / "pipelines" / "met" / "config" / "dataset.yaml"
    before = own.read_text()
    own.write_text(before.replace("Air temperature", "Temperature of the air"))
    try:
        wanted = Wanted("met", [raw], location="pier")
        plan = plan_ingest(workspace, wanted, Answers({"timezone": "UTC"}))
        with pytest.raises(UsageError) as raised:
            create(plan, worker, approve=None)
        assert "-      long_name: Temperature of the air" in raised.value.why
        assert "Temperature of the air" in own.read_text()
        asked = []
        create(plan, worker, approve=lambda change: bool(asked.append(change.path)))
        assert asked == [own]
        assert "Temperature of the air" in own.read_text()
    finally:
        own.write_text(before)


def test_a_value_below_the_limit_is_flagged_and_a_missing_one(ingest):
    _, created = ingest
    [file] = created.trial.data
    with netCDF4.Dataset(file) as product:
        flags = product["qc_air_temperature"]
        assert list(np.flatnonzero(flags[:])) == [3]
        assert "missing" in " ".join(np.atleast_1d(flags.flag_meanings)).lower()


def test_the_hourly_means_leave_out_what_is_bad(ingest, workspace, worker, tmp_path):
    plan = vap.plan_vap(workspace, vap.Wanted("met_hourly", ["pier.met.a1"]))
    created = vap.create(plan, worker, approve=None)
    [file] = created.trial.data
    rows = [i for i in range(raw_files.ROWS) if not 8 <= i < 12 and i != 3]
    known = [
        np.mean([raw_files.TEMPERATURE[i] for i in rows if i // 6 == hour]) for hour in range(4)
    ]
    with netCDF4.Dataset(file) as product:
        values = np.ma.filled(product["air_temperature"][:].astype(float), np.nan)
        assert values[:4] == pytest.approx(known)
        assert product["wind_from_direction"].units == "degree"
    begin = plan.draft.window.begin
    one_hour = Window(begin, begin + timedelta(hours=1))
    products = [plan.draft.datastreams[0].file]
    config = Config(
        "met_hourly", "pier", "VAP", "Cron", "pipelines/met_hourly/config/pipeline.yaml"
    )
    short = run_window(worker, config, one_hour, products, tmp_path / "short")
    assert not short.record.plots_failed  # of a single time
    loaded = load_without_tsdat(workspace)
    config = next(c for c in loaded.manifest.configs if c.pipeline == "met_hourly")
    assert (config.kind, config.schedule) == ("VAP", "0 * * * *")
    tests = workspace.root / "pipelines/met_hourly/test/data/tests.yaml"
    assert yaml.safe_load(tests.read_text())["tests"][0]["begin"] == "20220601.000000"


def test_another_site_of_a_pipeline(ingest, workspace, worker):
    plan = plan_site(workspace, "met", "lighthouse")
    changes.apply(plan.changes, None, additions=(CONFIG,))
    described = worker.describe(plan.file)
    assert described.datastream == "lighthouse.met.a1"
    assert described.triggers == (r".*met/lighthouse/.*\.csv$",)
    loaded = load_without_tsdat(workspace)
    ids = [config.id for config in loaded.manifest.configs]
    assert "met/lighthouse" in ids
    with pytest.raises(UsageError, match="already"):
        plan_site(workspace, "met", "lighthouse", input_path="elsewhere/")
    with pytest.raises(UsageError, match="no pipeline 'wind'"):
        plan_site(workspace, "wind", "lighthouse")


def test_a_datastream_without_a_product(workspace):
    with pytest.raises(UsageError, match="no product of the datastream"):
        vap.plan_vap(workspace, vap.Wanted("hourly", ["pier.none.a1"]))
