"""Which branch a resource belongs to: by its name, its tags and its settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.deploy.resources.base import older_function_names
from tidegate.deploy.resources.ownership import OwnershipRules, branch_prefixes, stack_names
from tidegate.deploy.resources.registry import SEARCHABLE_TYPES, identify_arn
from tidegate.targets.aws.names import Names

MAIN = OwnershipRules(
    Names("waves", "main"),
    (("buoy", "morro"), ("wave_vap", "morro")),
    others=frozenset({"waves-main-b", "waves-dev"}),
    stacks=frozenset({"waves-main-PipelinesStack"}),
)
TAGS = {"repository": "waves", "branch": "main"}


TYPES = {one.label: one for one in SEARCHABLE_TYPES}


def decide(label, name, tags=None, settings=None, rules=MAIN):
    ownership = rules.decide(TYPES[label], name, tags or {}, settings or {})
    return None if ownership is None else (ownership.ours, ownership.why)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("function", "waves-main-lambda-buoy-morro"),
        ("function", "waves-main-buoy-morro"),
        ("rule", "waves-main-lambda-buoy-morro-cron-rule"),
        ("rule", "waves-main-buoy-morro-cron-rule"),
        ("rule", "waves-main-rule-buoy-morro"),
        ("log group", "/aws/lambda/waves-main-lambda-wave_vap-morro"),
        ("log group", "/aws/codebuild/waves-main-build"),
        ("queue", "waves-main-dead-buoy-morro"),
        ("alarm", "waves-main-alarm-age-buoy-morro"),
        ("alarm", "waves-main-alarm-throttles"),
        ("function", "waves-main-lambda--sweep-2"),
        ("role", "waves-main-build-role"),
        ("schedule group", "waves-main-schedules-2"),
        ("dashboard", "waves-main-dashboard"),
        ("image repository", "waves-main"),
    ],
)
def test_names_that_follow_from_the_config(kind, name):
    assert decide(kind, name)[0] is True


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("function", "waves-main-lambda-gone-site"),
        ("rule", "waves-main-lambda-gone-site-cron-rule"),
        ("log group", "/aws/lambda/waves-main-lambda-gone-site"),
        ("log group", "/aws/codebuild/wavesmainbuildproject1A2B3C4D-aB3dE5fG7hI9"),
        (
            "log group",
            "/aws/lambda/waves-main-CodePipelineSt-CustomS3AutoDeleteObjectsCust-aB3dE5fG7hI9",
        ),
    ],
)
def test_names_of_the_older_recipe_whose_configs_are_gone(kind, name):
    assert decide(kind, name)[0] is True
    assert "older recipe" in decide(kind, name)[1]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("function", "waves-mainly-lambda-buoy-morro"),
        ("function", "waves-dev-lambda-buoy-morro"),
        ("function", "somebody-elses"),
        ("log group", "/aws/lambda/waves-mainly-lambda-buoy-morro"),
        ("log group", "/aws/codebuild/wavesdevbuildproject1A2B3C4D-aB3dE5fG7hI9"),
        ("image repository", "waves-mainly"),
        ("role", "AWSServiceRole"),
    ],
)
def test_names_that_are_nobodys_here(kind, name):
    assert decide(kind, name) is None


@pytest.mark.parametrize(
    ("kind", "name", "tags", "settings", "why"),
    [
        ("function", "waves-main-lambda-buoy-morro", {}, {"BRANCH": "dev"}, "its BRANCH is dev"),
        ("function", "waves-main-lambda-buoy-morro", {"branch": "dev"}, {}, "tag branch is dev"),
        ("rule", "waves-main-rule-buoy-morro", {"repository": "w"}, {}, "tag repository is w"),
        (
            "function",
            "waves-main-lambda-buoy-morro",
            {"aws:cloudformation:stack-name": "Theirs"},
            {},
            "the stack Theirs",
        ),
        ("function", "waves-main-b-lambda-buoy-morro", {}, {}, "it has a name of waves-main-b"),
        ("function", "waves-main-experiment", {}, {}, "nothing else"),
        ("function", "waves-main-lambda-x", {}, {}, "nothing else"),
        ("rule", "waves-main-lambda-gone-site", {}, {}, "nothing else"),
        ("queue", "waves-main-queue-gone-site", {}, {}, "nothing else"),
        ("function", "theirs", TAGS, {}, "not a name from Tidegate"),
        # What the CDK's names leave of a stack's name must tell the branch.
        (
            "log group",
            "/aws/lambda/waves-main-CustomS3AutoDeleteObjectsCust-aB3dE5fG7hI9",
            {},
            {},
            "nothing else",
        ),
    ],
)
def test_what_only_looks_like_it(kind, name, tags, settings, why):
    found = decide(kind, name, tags, settings)
    assert found is not None
    assert found[0] is False
    assert why in found[1]


def test_a_stack_of_its_own_speaks_for_it():
    tags = {"aws:cloudformation:stack-name": "waves-main-PipelinesStack-3"}
    assert decide("function", "waves-main-lambda-buoy-morro", tags)[0] is True


def test_a_log_is_whose_the_function_is():
    name = "/aws/lambda/waves-main-lambda-buoy-morro"
    theirs = replace(MAIN, foreign=frozenset({"waves-main-lambda-buoy-morro"}))
    assert decide("log group", name, rules=theirs)[0] is False
    other = "/aws/lambda/anything"
    assert decide("log group", other) is None
    assert decide("log group", other, rules=replace(MAIN, logs=frozenset({other})))[0] is True


def test_settings_tell_of_a_config_that_is_gone():
    settings = {"BRANCH": "main", "PIPELINE_NAME": "gone", "CONFIG_ID": "site"}
    assert decide("function", "waves-main-gone-site", {}, settings) == (True, "its settings")
    assert decide("function", "waves-main-gone-other", {}, settings)[0] is False


def test_tags_tell_of_names_that_were_shortened():
    names = Names("waves-of-the-coast", "main")
    here, tags = OwnershipRules(names, ()), {**TAGS, "repository": "waves-of-the-coast"}
    long = names.function("a" * 40, "b" * 40)
    assert not long.startswith(names.base)
    assert decide("function", long, rules=here) is None
    assert decide("function", long, tags, rules=here) == (True, "its tags")
    assert decide("function", long, {**tags, "branch": "dev"}, rules=here) is None


def test_names_that_are_all_shortened():
    names = Names("a-very-long-repository-name-indeed-of-some-observatory", "feature/a-branch")
    here = OwnershipRules(names, (("buoy", "morro"),))
    function = names.function("buoy", "morro")
    assert not function.startswith(names.base)
    assert decide("function", function, rules=here)[0] is True
    for kind in ("function", "log group", "rule", "queue", "role", "schedule group"):
        prefixes = here.prefixes(TYPES[kind])
        assert len(prefixes) <= 6
        assert all(name.startswith(prefixes) for name in here.expected(TYPES[kind]))


def test_all_names_begin_as_they_are_looked_for():
    for one in SEARCHABLE_TYPES:
        assert all(n.startswith(MAIN.prefixes(one)) for n in MAIN.expected(one)), one.label


@given(
    st.sampled_from(["main", "main-b", "b", "main-lambda", "main-lambda-x-y", "dev"]),
    st.sampled_from(["waves", "waves-main"]),
    st.sampled_from(["buoy", "x-y", "lambda"]),
    st.sampled_from(["morro", "z"]),
)
def test_no_branch_takes_what_is_tagged_as_anothers(branch, repository, pipeline, config):
    """Every function that another deployment tags is told apart, whatever the names are."""
    other = Names(repository, branch)
    function = other.function(pipeline, config)
    tags = {"repository": repository, "branch": branch}
    found = decide("function", function, tags)
    if (repository, branch) != ("waves", "main"):
        assert found is None or found[0] is False
    else:
        assert found[0] is True


@given(st.sampled_from(["main-b", "main-lambda", "main-lambda-x-y", "mainly", "dev"]))
def test_no_branch_takes_what_the_older_recipe_made_of_another(branch):
    """Its functions have no tags, but say their branch, as long as they are there."""
    for name in older_function_names(Names("waves", branch), "gone", "site"):
        settings = {"BRANCH": branch, "PIPELINE_NAME": "gone", "CONFIG_ID": "site"}
        found = decide("function", name, {}, settings)
        assert found is None or found[0] is False
        # When only the log is left, the other branch's stack or functions tell.
        known = replace(MAIN, others=frozenset({f"waves-{branch}"}))
        found = decide("log group", f"/aws/lambda/{name}", rules=known)
        assert found is None or found[0] is False


def test_stacks_tell_of_branches():
    names = ["waves-main-CodePipelineStack", "waves-dev-PipelinesStack-2", "other"]
    assert branch_prefixes(names) == {"waves-main", "waves-dev"}
    assert "waves-main-PipelinesStack-40" in stack_names(Names("waves", "main"))


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        ("arn:aws:lambda:us-west-2:1:function:f", ("function", "f")),
        ("arn:aws:logs:us-west-2:1:log-group:/aws/lambda/f:*", ("log group", "/aws/lambda/f")),
        ("arn:aws:sqs:us-west-2:1:q", ("queue", "q")),
        ("arn:aws-cn:events:cn-north-1:1:rule/r", ("rule", "r")),
        ("arn:aws:cloudwatch:us-west-2:1:alarm:a b", ("alarm", "a b")),
        ("arn:aws:scheduler:us-west-2:1:schedule/g/s", None),
        ("arn:aws:s3:::bucket", None),
        ("nonsense", None),
    ],
)
def test_what_an_arn_names(arn, expected):
    found = identify_arn(arn)
    assert (found and (found[0].label, found[1])) == expected
