"""A branch's images in ECR: which exist, and the tags that move to new ones."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from tidegate.deploy.core.hosts import is_loopback
from tidegate.errors import ConfigurationError, StorageError
from tidegate.targets.aws.clients import Clients, explained

_AT_ONCE = 100
_TYPES = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
]


@dataclass(frozen=True)
class Credentials:
    """The credentials for a registry."""

    host: str
    """The registry."""
    user: str
    """The user's name."""
    password: str = field(repr=False)
    """The password: only ever passed on standard input."""


class ImageRegistry(Protocol):
    """The registry that images are pushed to."""

    @property
    def address(self) -> str:
        """The beginning of the names of images, before the ``:`` of the tag."""

    def credentials(self) -> Credentials | None:
        """The credentials for pushing; None if none are required."""

    def digests(self, tags: Iterable[str]) -> Mapping[str, str]:
        """The digests of those tags that exist."""

    def present(self, digests: Iterable[str]) -> frozenset[str]:
        """Those digests that still exist."""

    def move(self, tag: str, digest: str) -> None:
        """Move a tag to an image."""


class EcrRegistry:
    """One ECR repository."""

    def __init__(self, clients: Clients, name: str) -> None:
        self.name, self._clients = name, clients
        self._address = ""

    @property
    def address(self) -> str:
        """The address for pushing; emulators use the address of their API.

        Raises:
            ConfigurationError: there is no such repository.
        """
        if not self._address:
            with self._explained("find the ECR repository"):
                try:
                    found = self._ecr.describe_repositories(repositoryNames=[self.name])
                except self._ecr.exceptions.RepositoryNotFoundException:
                    raise self._missing() from None
            self._address = str(found["repositories"][0]["repositoryUri"])
            endpoint = urllib.parse.urlsplit(self._ecr.meta.endpoint_url).netloc
            if is_loopback(endpoint):
                self._address = f"{endpoint}/{self.name}"
        return self._address

    def credentials(self) -> Credentials:
        """A password of ECR, valid for twelve hours."""
        with self._explained("sign in to the image registry"):
            answer = self._ecr.get_authorization_token()
        token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
        user, _, password = token.partition(":")
        return Credentials(self.address.split("/")[0], user, password)

    def digests(self, tags: Iterable[str]) -> dict[str, str]:
        """The digests of those tags that exist; empty if the repository does not exist."""
        wanted = dict.fromkeys(tags)
        known = {
            image["imageId"]["imageDigest"]
            for image in self._images([{"imageTag": tag} for tag in wanted])
        }
        # The answer may contain another tag of the image: ask for all its tags.
        return {
            tag: details["imageDigest"]
            for details in self._details(sorted(known))
            for tag in details.get("imageTags", ())
            if tag in wanted
        }

    def present(self, digests: Iterable[str]) -> frozenset[str]:
        """Those digests that still exist."""
        wanted = [{"imageDigest": digest} for digest in dict.fromkeys(digests)]
        return frozenset(image["imageId"]["imageDigest"] for image in self._images(wanted))

    def move(self, tag: str, digest: str) -> None:
        """Move a tag to an image.

        Raises:
            StorageError: the image does not exist, or the tag is immutable.
        """
        found = list(self._images([{"imageDigest": digest}]))
        if not found:
            raise StorageError(
                f"the image {digest[:19]} is no longer in {self.name}",
                next="release again: it will be built again",
            )
        with self._explained("move a tag of the ECR repository"):
            try:
                self._ecr.put_image(
                    repositoryName=self.name,
                    imageManifest=found[0]["imageManifest"],
                    imageManifestMediaType=found[0]["imageManifestMediaType"],
                    imageTag=tag,
                    imageDigest=digest,
                )
            except self._ecr.exceptions.ImageAlreadyExistsException:
                return  # the tag is already there
            except self._ecr.exceptions.ImageTagAlreadyExistsException as error:
                raise StorageError(
                    f"the tag {tag} of {self.name} cannot be moved",
                    why="the tags of the repository are immutable, and this one is no exception",
                    next="deploy the stack again, which makes an exception for tags that move",
                ) from error

    def keep(self, policy: str) -> None:
        """Set the lifecycle policy (JSON), which says when images are deleted.

        Raises:
            StorageError: ECR rejects it.
        """
        with self._explained("set the lifecycle policy of the ECR repository"):
            self._ecr.put_lifecycle_policy(repositoryName=self.name, lifecyclePolicyText=policy)

    def _images(self, ids: Sequence[Mapping[str, str]]) -> Iterator[Any]:
        waiting = iter(ids)
        while batch := list(islice(waiting, _AT_ONCE)):
            with self._explained("look for images"):
                try:
                    answer = self._ecr.batch_get_image(
                        repositoryName=self.name, imageIds=batch, acceptedMediaTypes=_TYPES
                    )
                except self._ecr.exceptions.RepositoryNotFoundException:
                    return
            yield from answer["images"]

    def _details(self, digests: Sequence[str]) -> Iterator[Any]:
        waiting = iter(digests)
        while batch := list(islice(waiting, _AT_ONCE)):
            with self._explained("describe images"):
                ids = [{"imageDigest": digest} for digest in batch]
                answer = self._ecr.describe_images(repositoryName=self.name, imageIds=ids)
            yield from answer["imageDetails"]

    def _missing(self) -> ConfigurationError:
        return ConfigurationError(
            f"the ECR repository {self.name} does not exist",
            why="it belongs to the branch's stack, which is not deployed",
            next="deploy it: `tidegate deploy BRANCH`",
        )

    def _explained(self, doing: str) -> Any:
        return explained(doing, self._clients.arn("ecr", f"repository/{self.name}"))

    @property
    def _ecr(self) -> Any:
        return self._clients.client("ecr")
