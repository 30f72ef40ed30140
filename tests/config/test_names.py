"""Names in AWS: as the older recipe had them, within AWS's rules, and never two the same."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.targets.aws.names import Names, numbered

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
    "github_role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "recovery_rule": (64, r"[A-Za-z0-9_.-]+"),
    "codepipeline_role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "scheduler_role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "event_bus": (256, r"[A-Za-z0-9_.-]+"),
    "events_role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "deploy_role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "boundary": (128, r"[A-Za-z0-9_+=,.@-]+"),
    "build_rule": (64, r"[A-Za-z0-9_.-]+"),
    "codepipeline_rule": (64, r"[A-Za-z0-9_.-]+"),
    "build_log_group": (512, r"[A-Za-z0-9_/.#-]+"),
    "schedule_group": (64, r"[A-Za-z0-9_.-]+"),
}
BUCKET = (63, r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9](?!.*--x-s3)[a-z0-9-]+[a-z0-9]")
EACH = {
    "function": (64, r"[A-Za-z0-9_-]+"),
    "log_group": (512, r"[A-Za-z0-9_/.#-]+"),
    "role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "queue": (80, r"[A-Za-z0-9_-]+"),
    "dead_letter_queue": (80, r"[A-Za-z0-9_-]+"),
    "rule": (64, r"[A-Za-z0-9_.-]+"),
    "schedule": (64, r"[A-Za-z0-9_.-]+"),
}
SHARED = (
    *("artifacts_bucket", "branch_alarm", "arrivals' rule", "arrivals' dead_letter_queue"),
    *("sweep's function", "sweep's role", "sweep's schedule"),
)
TAG = (128, r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def all_names(names: Names, pipeline: str, config: str) -> dict[str, tuple[str, int, str]]:
    """Every name, with its limit and its pattern."""
    found = {key: (getattr(names, key), *rule) for key, rule in ONCE.items()}
    found |= {key: (getattr(names, key)(pipeline, config), *rule) for key, rule in EACH.items()}
    found["image_tag"] = (names.image_tag(pipeline), *TAG)
    bucket = names.artifacts_bucket("123456789012", "ap-southeast-2")
    found["artifacts_bucket"] = (bucket, *BUCKET)
    found["alarm"] = (names.alarm(pipeline, config, "failures"), 255, r"[ -~]+")
    found["branch_alarm"] = (names.branch_alarm("sweep", 2), 255, r"[ -~]+")
    for kind in ("function", "role", "schedule"):
        found[f"sweep's {kind}"] = (names.sweep(kind, 2), *EACH[kind])
    for kind in ("rule", "dead_letter_queue"):
        found[f"arrivals' {kind}"] = (names.arrivals(kind, 2), *EACH[kind])
    return found


def test_every_name_is_tested():
    public = {n for kind in Names.__mro__[:-1] for n in vars(kind) if not n.startswith("_")}
    assert public == {
        *(*ONCE, *EACH, "image_tag", "alarm", "artifacts_bucket", "base"),
        *("branch_alarm", "sweep", "arrivals"),
        *("all", "moving_tags", "role_path"),  # patterns of names
    }


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
    assert len(name) <= 64
    hash = "-[0-9a-f]{8}"
    assert re.fullmatch(rf"a-rather-long-n{hash}-.*pipeline_of_mine-humboldt{hash}", name)


def test_a_name_of_the_limit_is_left_alone():
    names = Names("r" * 20, "b" * 20)
    left = 64 - len("-".join(["r" * 20, "b" * 20, "lambda", "p", ""]))
    assert names.function("p", "c" * left) == f"{'r' * 20}-{'b' * 20}-lambda-p-{'c' * left}"
    assert len(names.function("p", "c" * (left + 1))) <= 64
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
        if key in (*ONCE, *SHARED):
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
             NAMES.deploy_role, NAMES.scheduler_role, NAMES.events_role}  # fmt: skip
    rules = {NAMES.rule(pipeline, config), NAMES.build_rule, NAMES.codepipeline_rule,
             NAMES.recovery_rule, NAMES.arrivals("rule")}  # fmt: skip
    assert (len(queues), len(roles), len(rules)) == (2, 6, 5)


def test_the_artifacts_bucket():
    place = ("123456789012", "us-west-2")
    assert NAMES.artifacts_bucket(*place) == (
        "pipeline-template-main-artifacts-123456789012-us-west-2"
    )
    assert Names("Repo", "main").artifacts_bucket(*place).startswith("repo-main-")
    assert Names("sthree-a", "b").artifacts_bucket(*place).startswith("xsthree-a-b-")


PATTERNS = ("function", "log_group", "role", "queue", "dead_letter_queue", "rule", "schedule")


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@given(REPO, BRANCH, WORD, WORD, st.integers(2, 40))
def test_patterns_take_in_every_name(repo, branch, pipeline, config, number):
    names = Names(repo, branch)
    for kind in PATTERNS:
        assert matches(getattr(names, kind)(pipeline, config), names.all(kind)), kind
    assert matches(names.alarm(pipeline, config, "silence"), names.all("alarm"))
    for kind, limit in {"pipelines_stack": 128, "dashboard": 255, "scheduler_role": 64,
                        "schedule_group": 64, "event_bus": 256,
                        "events_role": 64}.items():  # fmt: skip
        first = getattr(names, kind)
        assert matches(first, names.all(kind))
        assert matches(numbered(first, number, limit), names.all(kind))
    for kind in ("rule", "dead_letter_queue"):
        assert matches(names.arrivals(kind, number), names.all(kind))
    named = pipeline if pipeline[0] != "-" else f"p{pipeline[1:]}"  # as the config has them
    assert matches(names.image_tag(named), names.moving_tags())


def test_patterns_are_narrow():
    short = Names("waves", "main")
    assert short.all("function") == ("waves-main-lambda-*",)
    assert short.all("schedule_group") == ("waves-main-schedules", "waves-main-schedules-*")
    assert re.fullmatch(r"a-rather-long-n-[0-9a-f]{8}-\*", LONG.all("function")[-1])
    assert len(LONG.all("function")) == 1
    assert not matches("waves-dev-lambda-buoy-morro", short.all("function"))
    assert not matches("waves-main-role-buoy-morro", short.all("function"))


@given(REPO, BRANCH, BRANCH, st.text(st.sampled_from("abXY09_-"), min_size=30, max_size=64), WORD)
def test_patterns_take_in_no_shortened_name_of_another_branch(
    repo, branch, other, pipeline, config
):
    if branch == other:
        return
    here, there = Names(repo, branch), Names(repo, other)
    assert here.role_path != there.role_path
    for kind in PATTERNS:
        name = getattr(there, kind)(pipeline, config)
        if re.search("-[0-9a-f]{8}$", name):
            whole = tuple(p for p in here.all(kind) if not re.search(r"-[0-9a-f]{8}-\*$", p))
            assert matches(name, whole) or not matches(name, here.all(kind)), kind


def test_odd_branches_are_out_of_reach():
    """`feature/x` is written `feature-x`, but has no pattern that takes in that branch."""
    odd, plain = Names("waves", "feature/x"), Names("waves", "feature-x")
    for kind in PATTERNS:
        assert not matches(getattr(plain, kind)("buoy", "morro"), odd.all(kind)), kind


def test_moving_tags_leave_content_tags_alone():
    """ECR lets the one be moved and the other not: a content tag ends in 16 hexadecimal digits."""
    assert NAMES.moving_tags() == ("*-main",)
    assert not matches("lidar-0123456789abcdef", NAMES.moving_tags())
    odd = Names("r", "feature/x")
    assert odd.moving_tags() == ("*-feature-x-*",)
    assert not matches("lidar-0123456789abcdef", odd.moving_tags())
