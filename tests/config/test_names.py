"""Names in AWS: as the older recipe had them, within AWS's rules, and never two the same."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.names import Names

NAMES = Names("pipeline-template", "main")
LONG = Names("a-rather-long-name-of-a-repository-of-pipelines", "feature-of-mine")

# AWS's own patterns and limits, from the API references.
ONCE = {
    "codepipeline_stack": (128, r"[A-Za-z][A-Za-z0-9-]*"),
    "pipelines_stack": (128, r"[A-Za-z][A-Za-z0-9-]*"),
    "image_repository": (256, r"[a-z0-9]+([._-][a-z0-9]+)*"),
    "ledger_table": (255, r"[A-Za-z0-9_.-]{3,}"),
    "alerts_topic": (256, r"[A-Za-z0-9_-]+"),
    "dashboard": (255, r"[A-Za-z0-9_-]+"),
    "codepipeline": (100, r"[A-Za-z0-9.@_-]+"),
    "build_project": (150, r"[A-Za-z0-9][A-Za-z0-9_-]+"),
    "build_role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "codepipeline_role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "scheduler_role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "schedule_group": (64, r"[A-Za-z0-9_.-]+"),
}
EACH = {
    "function": (64, r"[A-Za-z0-9_-]+"),
    "log_group": (512, r"[A-Za-z0-9_/.#-]+"),
    "role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "queue": (80, r"[A-Za-z0-9_-]+"),
    "dead_letter_queue": (80, r"[A-Za-z0-9_-]+"),
    "rule": (64, r"[A-Za-z0-9_.-]+"),
    "schedule": (64, r"[A-Za-z0-9_.-]+"),
}
TAG = (128, r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def all_names(names: Names, pipeline: str, config: str) -> dict[str, tuple[str, int, str]]:
    """Every name, with its limit and its pattern."""
    found = {key: (getattr(names, key), *rule) for key, rule in ONCE.items()}
    found |= {key: (getattr(names, key)(pipeline, config), *rule) for key, rule in EACH.items()}
    found["image_tag"] = (names.image_tag(pipeline), *TAG)
    found["alarm"] = (names.alarm(pipeline, config, "silence"), 255, r"[ -~]+")
    return found


def test_every_name_is_tested():
    public = {name for name in vars(Names) if not name.startswith("_")}
    assert public == {*ONCE, *EACH, "image_tag", "alarm", "base"}


def test_names_of_the_older_recipe():
    assert NAMES.base == "pipeline-template-main"
    assert NAMES.codepipeline_stack == "pipeline-template-main-CodePipelineStack"
    assert NAMES.pipelines_stack == "pipeline-template-main-PipelinesStack"
    assert NAMES.image_repository == "pipeline-template-main"
    assert NAMES.image_tag("lidar") == "lidar-main"
    function = "pipeline-template-main-lambda-lidar-humboldt"
    assert NAMES.function("lidar", "humboldt") == function
    assert NAMES.log_group("lidar", "humboldt") == f"/aws/lambda/{function}"


def test_other_names():
    assert NAMES.queue("lidar", "humboldt") == "pipeline-template-main-queue-lidar-humboldt"
    assert NAMES.ledger_table == "pipeline-template-main-ledger"
    assert NAMES.alarm("a", "b", "silence") == "pipeline-template-main-alarm-silence-a-b"


def test_what_is_too_long_keeps_both_ends():
    name = LONG.function("a_pipeline_of_mine", "humboldt")
    assert len(name) == 64
    assert re.fullmatch(r"a-rather-long-name-.*_pipeline_of_mine-humboldt-[0-9a-f]{8}", name)


def test_a_name_of_the_limit_is_left_alone():
    names = Names("r" * 20, "b" * 20)
    left = 64 - len("-".join(["r" * 20, "b" * 20, "lambda", "p", ""]))
    assert names.function("p", "c" * left) == f"{'r' * 20}-{'b' * 20}-lambda-p-{'c' * left}"
    assert len(names.function("p", "c" * (left + 1))) == 64
    assert re.search("-c+-[0-9a-f]{8}$", names.function("p", "c" * (left + 1)))


@pytest.mark.parametrize("branch", ["feature/x", "feature x", "féature"])
def test_a_branch_with_other_characters_gets_a_hash(branch):
    names = Names("repo", branch)
    assert re.fullmatch(r"repo-f.?ature(-x)?-PipelinesStack-[0-9a-f]{8}", names.pipelines_stack)


def test_ecr_takes_lower_case():
    assert re.fullmatch(r"repo-main-[0-9a-f]{8}", Names("Repo", "main").image_repository)
    assert Names("Repo", "main").image_repository != Names("repo", "Main").image_repository


WORD = st.text(st.sampled_from("abXY09_-"), min_size=1, max_size=64)
BRANCH = st.text(st.sampled_from("abXY09_-./é "), min_size=1, max_size=120)
REPO = st.text(st.sampled_from("abXY09_-."), min_size=1, max_size=100)


@given(REPO, BRANCH, WORD, WORD)
def test_names_are_what_aws_accepts(repo, branch, pipeline, config):
    for key, (name, limit, pattern) in all_names(Names(repo, branch), pipeline, config).items():
        assert len(name) <= limit, key
        assert re.fullmatch(pattern, name), (key, name)


@given(st.text(), st.text(), st.text(), st.text())
def test_names_of_anything_are_what_aws_accepts(repo, branch, pipeline, config):
    test_names_are_what_aws_accepts.hypothesis.inner_test(repo, branch, pipeline, config)


@given(BRANCH, BRANCH, WORD, WORD, WORD, WORD, st.sampled_from(["repo", "r" * 100, "Re.po"]))
def test_what_differs_is_named_differently(branch, other, pipeline, pipeline2, config, config2, r):
    one = all_names(Names(r, branch), pipeline, config)
    two = all_names(Names(r, other), pipeline2, config2)
    for key in one:
        parts = [(branch, pipeline, config), (other, pipeline2, config2)]
        if key in ONCE:
            same = branch == other
        elif key == "image_tag":
            same = len({f"{p}-{b}" for b, p, _ in parts}) == 1
        elif key == "alarm":
            same = len({f"{b}-alarm-silence-{p}-{c}" for b, p, c in parts}) == 1
        else:
            # Two configs whose names join to the same are refused by `check`.
            word = {"function": "lambda", "log_group": "lambda", "dead_letter_queue": "dead"}
            what = word.get(key, key)
            same = len({f"{b}-{what}-{p}-{c}" for b, p, c in parts}) == 1
        assert (one[key] == two[key]) == same, key


@given(BRANCH, st.text(max_size=3), st.sampled_from(["repo", "r" * 100]))
def test_branches_that_differ_little_are_named_differently(branch, more, repo):
    one, two = Names(repo, branch), Names(repo, branch + more)
    for key in ONCE:
        assert (getattr(one, key) == getattr(two, key)) == (more == ""), key


@given(WORD, WORD)
def test_no_name_is_used_for_two_things(pipeline, config):
    queues = {NAMES.queue(pipeline, config), NAMES.dead_letter_queue(pipeline, config)}
    roles = {NAMES.role(pipeline, config), NAMES.build_role, NAMES.codepipeline_role,
             NAMES.scheduler_role}  # fmt: skip
    assert (len(queues), len(roles)) == (2, 4)
