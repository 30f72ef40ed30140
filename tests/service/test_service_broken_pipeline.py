"""A pipeline that cannot be loaded stops itself alone."""

import pytest
from service_workspace import VAP, config, csv, ingest, make

pytestmark = pytest.mark.slow


def test_the_others_run_and_its_files_wait_until_it_is_corrected(tmp_path):
    place = make(tmp_path / "workspace", config(ingest("one"), ingest("two"), rest=VAP), own=True)
    broken = place.root / "pipelines/pipelines/tiny/config/pipeline_two.yaml"
    whole = broken.read_text()
    broken.write_text(
        whole.replace("classname: pipelines.tiny.pipeline.Tiny", "classname: no.Such")
    )
    place.put("tiny/one/a.csv", csv())
    place.put("tiny/two/a.csv", csv())
    place.age()
    done = place.once()
    assert {record.run.config for record in place.records()} == {"tiny/one", "tiny_vap/one"}
    assert "pipeline_two.yaml" in done.err
    assert "tiny/two" in done.err
    assert "in no config" not in done.err
    assert place.run("check", "--python", "/nowhere").code == 3
    broken.write_text(whole)
    place.once()
    assert place.record("tiny/two/a.csv", "tiny/two").state == "succeeded"
