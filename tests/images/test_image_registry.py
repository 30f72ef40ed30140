"""ECR, as the emulator has it."""

from __future__ import annotations

import itertools
import json

import pytest

from tidegate.deploy.images.registry import EcrRegistry
from tidegate.errors import ConfigurationError, StorageError
from tidegate.targets.aws.clients import Clients

pytestmark = [pytest.mark.slow, pytest.mark.aws]
numbers = itertools.count(1)


@pytest.fixture
def ecr(clients: Clients) -> EcrRegistry:
    name = f"waves-{next(numbers)}"
    clients.client("ecr").create_repository(repositoryName=name)
    return EcrRegistry(clients, name)


def put(ecr: EcrRegistry, clients: Clients, tag: str, content: str) -> str:
    """An image that is a manifest and no more; its digest."""
    manifest = json.dumps({"schemaVersion": 2, "config": content})
    answer = clients.client("ecr").put_image(
        repositoryName=ecr.name,
        imageManifest=manifest,
        imageManifestMediaType="application/vnd.oci.image.manifest.v1+json",
        imageTag=tag,
    )
    digest: str = answer["image"]["imageId"]["imageDigest"]
    return digest


def test_which_images_there_are(ecr: EcrRegistry, clients: Clients) -> None:
    assert ecr.digests(["buoy-1", "tides-1"]) == {}
    buoy, tides = (put(ecr, clients, tag, tag) for tag in ("buoy-1", "tides-1"))
    assert ecr.digests(["buoy-1", "tides-1", "other-1"]) == {"buoy-1": buoy, "tides-1": tides}
    gone = "sha256:" + "0" * 64
    assert ecr.present([buoy, gone]) == {buoy}
    assert ecr.present([]) == frozenset()
    assert ecr.digests([]) == {}


def test_more_images_than_one_request_may_ask_for(ecr: EcrRegistry, clients: Clients) -> None:
    tags = [f"p{n}-1" for n in range(130)]
    wanted = {tag: put(ecr, clients, tag, tag) for tag in tags}
    assert ecr.digests([*tags, *tags]) == wanted
    assert ecr.present(wanted.values()) == set(wanted.values())


def test_a_tag_that_moves_along(ecr: EcrRegistry, clients: Clients) -> None:
    first, second = (put(ecr, clients, f"buoy-{n}", str(n)) for n in (1, 2))
    ecr.move("buoy-main", first)
    ecr.move("buoy-main", first)
    assert ecr.digests(["buoy-main"]) == {"buoy-main": first}
    ecr.move("buoy-main", second)
    assert ecr.digests(["buoy-main", "buoy-1", "buoy-2"]) == {
        "buoy-main": second, "buoy-1": first, "buoy-2": second
    }  # fmt: skip
    with pytest.raises(StorageError, match="no longer in waves-"):
        ecr.move("buoy-main", "sha256:" + "0" * 64)


def test_a_tag_that_must_not_move(ecr: EcrRegistry, clients: Clients) -> None:
    first, second = (put(ecr, clients, f"buoy-{n}", str(n)) for n in (1, 2))
    ecr.move("buoy-main", first)
    clients.client("ecr").put_image_tag_mutability(
        repositoryName=ecr.name, imageTagMutability="IMMUTABLE"
    )
    with pytest.raises(StorageError) as told:
        ecr.move("buoy-main", second)
    assert "immutable" in told.value.why


def test_a_repository_that_does_not_exist_has_no_images(clients: Clients) -> None:
    ecr = EcrRegistry(clients, "nowhere")
    assert ecr.digests(["buoy-1"]) == {}
    assert ecr.present(["sha256:" + "0" * 64]) == frozenset()
    with pytest.raises(ConfigurationError) as told:
        _ = ecr.address
    assert "tidegate deploy" in told.value.next


def test_where_it_is_and_what_to_sign_in_with(ecr: EcrRegistry, clients: Clients) -> None:
    endpoint = clients.client("ecr").meta.endpoint_url.split("//")[1]
    assert ecr.address == f"{endpoint}/{ecr.name}"
    credentials = ecr.credentials()
    assert (credentials.host, credentials.user) == (endpoint, "AWS")
    assert credentials.password
    assert credentials.password not in repr(credentials)


def test_on_aws_it_is_where_aws_says(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    clients.client("ecr").create_repository(repositoryName="waves-uri")
    monkeypatch.setattr("tidegate.deploy.images.registry.is_loopback", lambda host: False)
    uri = "000000000000.dkr.ecr.us-west-2.amazonaws.com/waves-uri"
    assert EcrRegistry(clients, "waves-uri").address == uri
