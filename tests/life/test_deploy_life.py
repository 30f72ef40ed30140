"""The life of a deployment, from nothing to nothing, as an administrator sees it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from deploy_build import PROJECT, build, make_tools, uploaded_sources
from deploy_world import CONFIG, FUNCTIONS, PRODUCTS, RAW, World, csv, git

TINY, OTHER = FUNCTIONS
PIPELINES, CODEPIPELINE = "tides-main-PipelinesStack", "tides-main-CodePipelineStack"


def arrives(world: World, key: str, body: bytes) -> dict[str, str]:
    """A raw file is uploaded; its products, once both of them are there."""
    before = products(world)
    world.clients.s3.put_object(Bucket=RAW, Key=key, Body=body)
    deadline = time.monotonic() + 240
    while len(new := {k: v for k, v in products(world).items() if before.get(k) != v}) < 2:
        assert time.monotonic() < deadline, world.log.read_text(errors="replace")[-3000:]
        time.sleep(0.5)
    return new


def products(world: World) -> dict[str, str]:
    pages = world.clients.s3.get_paginator("list_objects_v2").paginate(Bucket=PRODUCTS)
    found = [item for page in pages for item in page.get("Contents", ())]
    return {
        item["Key"]: item["ETag"] for item in found if not item["Key"].startswith("tidegate/logs/")
    }


def release(world: World) -> Any:
    """A release by the builder that this machine has."""
    arguments = ["--builder", "buildah", "--base", world.base]
    return world.tidegate("release", "main", "--yes", "--json", *arguments).json


def clones(world: World, folder: Path) -> dict[str, Path]:
    """What CodePipeline hands to a build: the repositories, cloned."""
    git(folder, "clone", "--quiet", str(world.pipelines), "pipelines")
    shutil.copytree(world.deployment, folder / "deployment")
    return {"deployment": folder / "deployment", "pipelines": folder / "pipelines"}


def planned(world: World) -> Any:
    """What a release would do."""
    return world.tidegate("release", "main", "--plan", "--json", *world.means).json


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tools(tmp_path_factory.mktemp("tools"))


@pytest.fixture(scope="module")
def deployed(world: World, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Planned, then deployed from the code in a folder of this machine, built as CodeBuild does."""
    plan = world.tidegate("plan", "main", "--json", *world.means).json
    actions = {thing["name"]: thing["action"] for thing in plan["data_stores"]["stores"]}
    assert actions[RAW] == actions[PRODUCTS] == "create"
    assert [stack["stack"] for stack in plan["stacks"]] == [CODEPIPELINE, PIPELINES]
    assert plan["costs"]["total"] > 0
    assert world.stacks() == {}, "a plan changes nothing"
    assert world.clients.s3.list_buckets()["Buckets"] == []

    arguments = ["--from", "../pipelines", "--no-follow", "--yes", "--json"]
    begun = world.tidegate("deploy", "main", *arguments).json
    assert begun["build"].startswith(PROJECT)
    folder = tmp_path_factory.mktemp("build")
    sources = uploaded_sources(world, folder)
    head = git(world.pipelines, "rev-parse", "HEAD")
    done = build(world, tools, folder, sources, commit=head)
    assert done.returncode == 0, done.stdout + done.stderr
    [first] = world.tidegate("releases", "main", "--json").json
    assert (first["state"], first["commit"]) == ("deployed", head)
    return world


def test_a_raw_file_becomes_a_product_by_the_deployed_image(deployed: World) -> None:
    assert deployed.stacks() == dict.fromkeys((CODEPIPELINE, PIPELINES), "CREATE_COMPLETE")
    assert set(deployed.images()) == set(FUNCTIONS)
    new = arrives(deployed, "tiny/one/first.csv", csv())
    assert "storage/root/data/one/one.tiny.a1/one.tiny.a1.20220401.000000.nc" in new
    [run] = deployed.tidegate("runs", "--target", "aws", "--json").json
    assert run["state"] == "succeeded"


def test_what_is_as_it_was_is_left_alone(deployed: World) -> None:
    before = deployed.images()
    assert planned(deployed)["stacks"] == []
    arguments = ["--from", "../pipelines", "--builder", "buildah", "--base", deployed.base]
    done = deployed.tidegate("deploy", "main", "--yes", "--json", *arguments).json
    assert deployed.images() == before
    assert done["release"]["state"] == "deployed"


def test_a_push_to_one_pipeline_updates_that_one(
    deployed: World, tools: Path, tmp_path: Path
) -> None:
    """Built as CodePipeline has it built: from full clones, at the commit that was pushed."""
    images = deployed.images()
    commits = {name: deployed.variables(name)["CODE_VERSION"] for name in FUNCTIONS}
    code = deployed.pipelines / "pipelines/tiny/pipeline.py"
    code.write_text(code.read_text().replace("dataset.x.mean()", "dataset.x.max()"))
    (deployed.pipelines / "README.md").write_text("Tides and more.\n")
    head = deployed.commit("the highest, not the mean")

    plan = planned(deployed)
    to_build = [image for image in plan["images"] if not image["built"]]
    assert [image["pipeline"] for image in to_build] == ["tiny"]
    changed = {change["config"] for stack in plan["stacks"] for change in stack["changes"]}
    assert changed == {"tiny/one"}
    assert deployed.images() == images, "a plan changes nothing"

    done = build(deployed, tools, tmp_path, clones(deployed, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    after = deployed.images()
    assert after[OTHER] == images[OTHER]
    assert after[TINY] != images[TINY]
    assert deployed.variables(OTHER)["CODE_VERSION"] == commits[OTHER]
    assert deployed.variables(TINY)["CODE_VERSION"] == head
    new = arrives(deployed, "tiny/one/second.csv", csv("2022-04-02", [1, 5]))
    [summary] = [key for key in new if key.endswith(".txt")]
    body = deployed.clients.s3.get_object(Bucket=PRODUCTS, Key=summary)["Body"].read()
    assert body == b"5.0\n"


def test_a_build_that_fails_changes_nothing(deployed: World, tools: Path, tmp_path: Path) -> None:
    before = deployed.images()
    sources = clones(deployed, tmp_path)
    (sources["pipelines"] / "pipelines/tiny/config/pipeline.yaml").write_text(
        "classname: no.Tiny\n"
    )
    done = build(deployed, tools, tmp_path, sources)
    assert done.returncode == 2
    assert "pipelines_config.yml" in done.stderr
    assert "is missing" in done.stderr
    assert "Traceback" not in done.stderr
    assert deployed.images() == before
    [refused, *_] = deployed.tidegate("releases", "main", "--json").json
    assert refused["state"] == "failed"
    assert not refused.get("images"), "it was rejected before any image was built"


def test_back_and_forth(deployed: World) -> None:
    newest = deployed.images()
    listed = deployed.tidegate("releases", "main", "--json").json
    releases = [one for one in listed if one["state"] == "deployed"]
    assert len(releases) == 3
    done = deployed.tidegate("rollback", "main", "--yes", "--json").json
    assert done["of"] == releases[1]["id"]
    older = deployed.images()
    assert older[TINY] != newest[TINY]
    assert older[OTHER] == newest[OTHER]
    deployed.tidegate("rollback", "main", releases[0]["id"], "--yes")
    assert deployed.images() == newest
    error = deployed.tidegate("rollback", "main", "19700101", "--yes", code=2).err
    assert "there is no release 19700101" in error


def test_a_config_that_is_taken_out_goes(deployed: World) -> None:
    deployed.configure(CONFIG[: CONFIG.index("- name: other")])
    plan = deployed.tidegate("release", "main", "--plan", *deployed.means)
    assert "other/two" in plan.out
    release(deployed)
    assert set(deployed.images()) == {TINY}
    queues = deployed.clients.sqs.list_queues()["QueueUrls"]
    assert not any("other" in url for url in queues)
    deployed.configure(CONFIG)
    release(deployed)
    assert set(deployed.images()) == set(FUNCTIONS)


def test_status_tells_how_things_stand(deployed: World) -> None:
    told = deployed.tidegate("status", "main", "--json").json
    text = str(told)
    for name in (*FUNCTIONS, PIPELINES, CODEPIPELINE, RAW, PRODUCTS):
        assert name in text


def test_in_the_end_nothing_is_left_but_data(deployed: World) -> None:
    ends = deployed.tidegate("destroy", "main", "--dry-run", "--json").json
    assert not any("artifacts" in stay["what"] for stay in ends["keep"])
    told = deployed.tidegate("destroy", "main", "--yes")
    assert "tides-main" in told.out + told.err
    assert deployed.stacks() == {}
    assert deployed.images() == {}
    assert {b["Name"] for b in deployed.clients.s3.list_buckets()["Buckets"]} == {RAW, PRODUCTS}
    assert products(deployed), "products are data"
    assert deployed.clients.client("ecr").describe_repositories()["repositories"] == []
    again = deployed.tidegate("destroy", "main", "--dry-run", "--json").json
    assert again["delete"] == []
