"""The pages of the console: one for each thing, in every partition."""

from __future__ import annotations

import inspect
from urllib.parse import unquote, urlsplit

import pytest

from tidegate.deploy.core.console import Console
from tidegate.deploy.core.place import Place

OREGON = Console(Place("123456789012", "us-west-2"))


def test_pages() -> None:
    assert OREGON.function("waves-main-lambda-buoy-morro") == (
        "https://us-west-2.console.aws.amazon.com/lambda/home?region=us-west-2"
        "#/functions/waves-main-lambda-buoy-morro"
    )
    assert OREGON.codepipeline("waves-main-pipeline") == (
        "https://us-west-2.console.aws.amazon.com/codesuite/codepipeline/pipelines"
        "/waves-main-pipeline/view?region=us-west-2"
    )
    assert OREGON.bucket("waves-raw", "buoy/morro/") == (
        "https://us-west-2.console.aws.amazon.com/s3/buckets/waves-raw?region=us-west-2"
        "&prefix=buoy%2Fmorro%2F&showversions=false"
    )
    assert OREGON.build("waves-main-build", "waves-main-build:1-2").endswith(
        "codebuild/123456789012/projects/waves-main-build/build/waves-main-build%3A1-2"
        "?region=us-west-2"
    )


def test_a_log_group_is_encoded_twice() -> None:
    url = OREGON.log_group("/aws/lambda/waves-main-lambda-buoy-morro")
    assert url.endswith("/log-group/$252Faws$252Flambda$252Fwaves-main-lambda-buoy-morro")
    name = url.rsplit("/", 1)[-1].replace("$", "%")
    assert unquote(unquote(name)) == "/aws/lambda/waves-main-lambda-buoy-morro"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "eu-central-1.console.aws.amazon.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_every_page_is_in_its_partition(region: str, host: str) -> None:
    console = Console(Place("123456789012", region))
    pages = [console.home]
    for name, method in inspect.getmembers(console, inspect.ismethod):
        if not name.startswith("_"):
            pages.append(method(*("a name",) * len(inspect.signature(method).parameters)))
    assert len(pages) > 15
    for page in pages:
        parts = urlsplit(page)
        assert parts.netloc == host
        assert parts.query.startswith(f"region={region}")
        assert " " not in page


def test_arns_and_addresses_in_pages_are_of_the_partition() -> None:
    console = Console(Place("123456789012", "cn-north-1"))
    assert console.topic("alerts").endswith("arn:aws-cn:sns:cn-north-1:123456789012:alerts")
    assert "sqs.cn-north-1.amazonaws.com.cn" in unquote(console.queue("q"))
