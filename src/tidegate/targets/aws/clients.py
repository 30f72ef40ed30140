"""Clients for AWS: the only module that imports boto3.

A client is created at its first use. All have the same retries and timeouts, and raise Tidegate's
errors: what happened, why, what to do next. Endpoint, region and credentials come from where boto3
looks for them (``AWS_ENDPOINT_URL``, ``AWS_REGION``, …) unless given.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tidegate import __version__
from tidegate.errors import ConfigurationError, StorageError, TidegateError
from tidegate.targets.aws.names import partition_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

CONNECTIONS = 32
"""Connections that a client keeps: one for each transfer at the same time."""

_TEMPORARY = {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "LimitExceededException",
    "OperationAborted",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "500",
    "502",
    "503",
    "504",
}
_CANCELLED_IN_PASSING = {
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "403"}
_MISSING = {
    "NoSuchBucket": "the bucket does not exist",
    "ResourceNotFoundException": "the table or its index does not exist",
    "AWS.SimpleQueueService.NonExistentQueue": "the queue does not exist",
    "QueueDoesNotExist": "the queue does not exist",
}
_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_SIGNED_OUT = ("SSOError", "LoginError", "TokenRetrievalError", "CredentialRetrievalError")
"""Errors of botocore that signing in again solves; older versions do not have all of them."""
_ACTIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObjects": "s3:DeleteObject",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListBuckets": "s3:ListAllMyBuckets",
    "ListObjectsV2": "s3:ListBucket",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "TransactWriteItems": "dynamodb:PutItem, UpdateItem, DeleteItem and ConditionCheckItem",
    "UploadPart": "s3:PutObject",
}
_NOT_AUTHORIZED = re.compile(r"not authorized to perform: ([\w:*]+)(?: on resource: (\S+))?")


class Unreachable(StorageError):
    """AWS did not answer, or the connection broke: a fault of the network rather than of AWS."""


class ConditionFailed(Exception):
    """The condition of a write did not hold, or another write happened at the same time."""


class Missing(Exception):
    """There is no such object."""


class Changed(Exception):
    """The object exists, but not at the version that was asked for."""


class EmptyRange(Exception):
    """The requested part of an object begins after its end."""


@dataclass(frozen=True)
class Credentials:
    """What is known about the credentials without asking AWS."""

    method: str
    """Where they come from, as botocore names it: ``env``, ``sso``, ``assume-role``, …"""
    temporary: bool
    """Whether they expire."""
    expires: datetime | None
    """When they expire, where the provider says so."""


class Clients:
    """AWS clients for one set of credentials; safe to share between threads."""

    def __init__(
        self, *, profile: str | None = None, region: str | None = None, endpoint: str | None = None
    ) -> None:
        self._profile, self._region, self._endpoint = profile, region, endpoint
        self._lock = threading.RLock()
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    @property
    def s3(self) -> S3Client:
        """Amazon S3."""
        return self.client("s3")  # type: ignore[no-any-return]

    @property
    def dynamodb(self) -> Any:
        """Amazon DynamoDB; untyped, because the ledger defines its items."""
        return self.client("dynamodb")

    @property
    def sqs(self) -> SQSClient:
        """Amazon SQS."""
        return self.client("sqs")  # type: ignore[no-any-return]

    def client(self, service: str) -> Any:
        """The client of any service.

        Raises:
            ConfigurationError: there is no such profile, or no region.
        """
        client = self._clients.get(service)
        if client is not None:
            return client
        with self._lock:  # sessions of boto3 are not safe for threads; its clients are
            if service not in self._clients:
                with explained(f"connect to {service}"):
                    self._clients[service] = self._make(service)
            return self._clients[service]

    def elsewhere(self, region: str) -> Clients:
        """Clients for another region, with the same credentials."""
        return Clients(profile=self._profile, region=region, endpoint=self._endpoint)

    def credentials(self) -> Credentials | None:
        """The credentials that requests are signed with; None when there are none.

        Raises:
            ConfigurationError: they have expired, or their provider does not give any.
        """
        with self._lock, explained("get credentials"):
            found = self._opened().get_credentials()
            if found is None:
                return None
            frozen = found.get_frozen_credentials()  # asks the provider, where there is one
            return Credentials(
                method=str(found.method or "unknown"),
                temporary=bool(frozen.token),
                # botocore has no public attribute for it.
                expires=getattr(found, "_expiry_time", None),
            )

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something, for messages; account and region are left open."""
        from botocore.exceptions import BotoCoreError

        try:
            with self._lock:
                region = self._opened().region_name
        except BotoCoreError:  # such as an unknown profile: the request itself reports it
            region = None
        partition = partition_of(region or "")
        where = ":" if service == "s3" else "*:*"
        return f"arn:{partition}:{service}:{where}:{resource}"

    def sign_in(self) -> str:
        """The command that signs in again, for the profile in use.

        Keys in the environment come before every profile, unless a profile was given. A profile
        with a role gets it by its source profile.
        """
        with self._lock, explained("read the profile"):
            inner = self._opened()._session
            profile, config = inner.profile or "", inner.get_scoped_config()
            profiles = inner.full_config.get("profiles", {})
        if self._profile is None and os.environ.get("AWS_ACCESS_KEY_ID"):
            return "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN"
        seen = {profile}
        while (source := config.get("source_profile")) in profiles and source not in seen:
            profile, config = source, profiles[source]
            seen.add(source)
        chosen = f" --profile {profile}" if profile and profile != "default" else ""
        if "sso_session" in config or "sso_start_url" in config:
            return f"aws sso login{chosen}"
        return f"aws login{chosen}" if "login_session" in config else f"aws configure{chosen}"

    def regions(self, service: str) -> list[str]:
        """The regions that have a service, as far as the installed boto3 knows."""
        with self._lock:
            session = self._opened()
            partitions = session.get_available_partitions()
            return [r for p in partitions for r in session.get_available_regions(service, p)]

    def _opened(self) -> Any:
        import boto3  # takes 0.2 s: not before it is needed

        if self._session is None:
            self._session = boto3.Session(profile_name=self._profile, region_name=self._region)
        return self._session

    def _make(self, service: str) -> Any:
        from botocore.config import Config

        config = Config(
            user_agent_extra=f"tidegate/{__version__}",
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=5,
            read_timeout=60 if service in ("s3", "lambda") else 20,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
        )
        return self._opened().client(service, endpoint_url=self._endpoint, config=config)


def code_of(error: BaseException) -> str:
    """AWS's error code, of its own error or of the one raised instead; "" for none."""
    for one in (error, error.__cause__):
        answer = getattr(one, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
    return ""


@contextmanager
def explained(
    doing: str, resource: str = "", *, lasting: type[TidegateError] = StorageError
) -> Iterator[None]:
    """Raise errors of AWS as errors of Tidegate: "cannot ``doing`` ``resource``".

    Raises:
        StorageError: the network, throttling, or a failure of AWS: a temporary reason.
        ConfigurationError: there are no credentials, or they are not valid.
        lasting: a permission or a resource is missing.
        ConditionFailed, Missing, Changed, EmptyRange: answers that callers handle.
    """
    try:
        yield
    except Exception as error:
        translated = _translate(error, doing, resource, lasting)
        if translated is None:
            raise
        raise translated from error


def _translate(
    error: Exception, doing: str, resource: str, lasting: type[TidegateError]
) -> Exception | None:
    """The error to raise instead; None for an error that is not from AWS."""
    from botocore import exceptions as aws
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(error, aws.ClientError):
        return _answered(error, doing, resource, lasting)
    if isinstance(error, (aws.NoCredentialsError, aws.PartialCredentialsError)):
        return ConfigurationError(
            f"cannot {doing}: no AWS credentials are found",
            why=str(error),
            next="sign in (`aws sso login`), or name a profile with --profile or AWS_PROFILE",
        )
    signed_out = tuple(getattr(aws, name) for name in _SIGNED_OUT if hasattr(aws, name))
    if isinstance(error, signed_out) or "refreshed credentials are still expired" in str(error):
        return ConfigurationError(
            f"cannot {doing}: the AWS credentials have expired, or are not available",
            why=str(error),
            next="sign in again, for example with `aws sso login`, and repeat the command",
        )
    if isinstance(error, (aws.ProfileNotFound, aws.NoRegionError, aws.InvalidRegionError)):
        return ConfigurationError(
            f"cannot {doing}: {error}", next="give --profile and --region, or set AWS_REGION"
        )
    if isinstance(error, aws.ParamValidationError):
        return ConfigurationError(f"cannot {doing}: AWS would refuse {resource}", why=str(error))
    if isinstance(error, ResponseParserError):  # such as the login page of a hotel's network
        return Unreachable(
            f"cannot {doing} {resource}".rstrip(),
            why=f"something answered that is not AWS: {error}"[:500],
            next="check the network, its proxies, and AWS_ENDPOINT_URL",
        )
    if isinstance(error, (aws.BotoCoreError, HTTPError, ConnectionError, TimeoutError)):
        return Unreachable(
            f"cannot {doing} {resource}".rstrip(),
            why=f"AWS cannot be reached: {error}",
            next="Tidegate tries again; if it persists, check the network and AWS's health page",
        )
    return None


def _answered(
    error: Any, doing: str, resource: str, lasting: type[TidegateError]
) -> Exception | None:
    response = error.response
    code = str(response.get("Error", {}).get("Code", ""))
    message = str(response.get("Error", {}).get("Message", ""))
    what = f"cannot {doing} {resource}".rstrip()
    if code == "TransactionCanceledException":
        return _cancelled(error, what)
    if code == "ConditionalCheckFailedException" or code == "TransactionConflictException":
        return ConditionFailed(message)
    if code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
        return Changed(message)
    if code in ("NoSuchKey", "NoSuchVersion", "404", "NotFound"):
        return Missing(message)
    if code in ("InvalidRange", "416"):
        return EmptyRange(message)
    if code in _TEMPORARY:
        return StorageError(
            what,
            why=f"AWS is busy or has a failure ({code}): {message}",
            next="Tidegate tries again; if it persists, check the limits of the account",
        )
    if code in _DENIED:
        return lasting(what, why=f"{code}: {message}", next=_allow(error, resource, message))
    if code in _MISSING:
        return lasting(
            what, why=_MISSING[code], next="deploy the stack, or correct the name in the config"
        )
    if code in _CREDENTIALS:
        return ConfigurationError(
            what,
            why=f"AWS does not accept the credentials ({code}): {message}",
            next="sign in again, for example with `aws sso login`",
        )
    return lasting(what, why=f"{code}: {message}")


def _cancelled(error: Any, what: str) -> Exception:
    reasons: Sequence[Any] = error.response.get("CancellationReasons") or ()
    codes = {str(reason.get("Code", "")) for reason in reasons} - {"None", ""}
    if codes & {"ConditionalCheckFailed", "TransactionConflict", "DuplicateItem"}:
        return ConditionFailed(", ".join(sorted(codes)))
    return StorageError(what, why=f"AWS cancelled the write: {', '.join(sorted(codes)) or error}")


def cancelled_in_passing(error: BaseException) -> bool:
    """Whether a write was only cancelled because of throttling or of another one at that moment.

    Then nothing was written, and the same write may be sent again. Source: DynamoDB API Reference,
    "TransactWriteItems", section "Errors".
    """
    answer = getattr(error.__cause__, "response", None) or {}
    code = str(answer.get("Error", {}).get("Code", ""))
    reasons = {str(one.get("Code", "")) for one in answer.get("CancellationReasons") or ()}
    reasons -= {"None", ""}
    if code == "TransactionCanceledException":
        return bool(reasons) and reasons <= _CANCELLED_IN_PASSING
    return code == "TransactionConflictException"


def _allow(error: Any, resource: str, message: str) -> str:
    """Which permission to add; as AWS names it, where it does."""
    said = _NOT_AUTHORIZED.search(message)
    if said:
        return f"allow {said[1]} on {said[2] or resource} in the role that this runs with"
    operation = str(error.operation_name)
    service = resource.split(":")[2] if resource.startswith("arn:") else "s3"
    action = _ACTIONS.get(operation, f"{service}:{operation}")
    return f"allow {action} on {resource} in the role that this runs with (or in its policies)"
