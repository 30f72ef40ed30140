"""Buckets: which account owns them, which settings they lack, and how these are added.

A setting is added to what is there: other people's policies, lifecycle rules and notifications
stay. S3 takes each of these only as a whole, so each is read, added to and written back. Every
request names the account that must own the bucket: a name alone may be anybody's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tidegate.deploy.core.artifacts import SOURCE, TEMPLATES
from tidegate.deploy.core.place import Place
from tidegate.errors import ConfigurationError, StorageError, TidegateError
from tidegate.targets.aws.clients import Clients, Missing, code_of, explained
from tidegate.targets.aws.messages import SUCCEEDED

State = Literal["missing", "ours", "somebody else's", "wrong region", "not permitted"]

DENIED = frozenset({"403", "AccessDenied", "AccessDeniedException", "Forbidden"})
_OPEN = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)
_ABORT_AFTER = 7  # days
_EXPIRE_AFTER = {SOURCE: 30, TEMPLATES: 90}  # days
_UNENCRYPTED = "ServerSideEncryptionConfigurationNotFoundError"
_ONLY_TLS = "TidegateOnlyTLS"

_TLS = "requests without TLS are refused"
_PRIVATE = "public access is blocked"
_ENCRYPTED = "objects are encrypted"
_UPLOADS = f"incomplete uploads are deleted after {_ABORT_AFTER} days"
_VERSIONS_FOR = 30  # days
_VERSIONS = f"earlier versions of files are kept for {_VERSIONS_FOR} days"
_VERSIONS_RULE = {
    "ID": "tidegate-earlier-versions",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "NoncurrentVersionExpiration": {"NoncurrentDays": _VERSIONS_FOR},
}
_EVENTS = "new files are reported to EventBridge"
_EXPIRE = "what is no longer needed is deleted: " + " and ".join(
    f"{prefix} after {days} days" for prefix, days in _EXPIRE_AFTER.items()
)


@dataclass(frozen=True)
class Bucket:
    """A bucket, which may not exist yet."""

    name: str
    """Its name."""
    place: Place
    """The account and region."""
    clients: Clients
    """The clients."""
    keep_logs: int = 30
    """After how many days the logs of successful runs are deleted."""

    @property
    def arn(self) -> str:
        """Its ARN."""
        return self.place.bucket(self.name)

    def state(self) -> tuple[State, str]:
        """Whether it exists and can be used, and its region if known."""
        try:
            with explained("look for the bucket", self.arn):
                answer = self.clients.s3.head_bucket(
                    Bucket=self.name, ExpectedBucketOwner=self.place.account
                )
        except Missing:
            return "missing", ""
        except StorageError as error:
            if code_of(error) not in DENIED:
                raise
            return ("not permitted" if self._listed() else "somebody else's"), ""
        # S3 returns no region for buckets in us-east-1.
        region = answer.get("BucketRegion") or "us-east-1"
        return ("ours" if region == self.place.region else "wrong region"), region

    def _listed(self) -> bool:
        """Whether the account has it, or may have it."""
        try:
            with explained("list the buckets"):
                pages = self.clients.s3.get_paginator("list_buckets").paginate()
                return any(b["Name"] == self.name for page in pages for b in page["Buckets"])
        except StorageError as error:
            if code_of(error) not in DENIED:
                raise
            return True

    def create(self, tags: Mapping[str, str]) -> None:
        """Create it, without any settings yet.

        Raises:
            ConfigurationError: another account has the name.
        """
        where: Any = {"LocationConstraint": self.place.region}
        more = {} if self.place.region == "us-east-1" else {"CreateBucketConfiguration": where}
        s3: Any = self.clients.s3
        try:
            with explained("create the bucket", self.arn):
                s3.create_bucket(Bucket=self.name, ObjectOwnership="BucketOwnerEnforced", **more)
        except StorageError as error:
            if code_of(error) == "BucketAlreadyExists":
                raise taken(self.name) from error
            if code_of(error) != "BucketAlreadyOwnedByYou":
                raise
        with explained("wait for the bucket", self.arn):
            s3.get_waiter("bucket_exists").wait(
                Bucket=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
            )
        pairs = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
        self.call("put_bucket_tagging", Tagging={"TagSet": pairs})

    def call(self, action: str, *absent: str, **arguments: Any) -> Any:
        """Send a request about it; None if the error has one of the codes in ``absent``."""
        try:
            with explained(_DOING[action.partition("_")[0]], self.arn):
                return getattr(self.clients.s3, action)(
                    Bucket=self.name, ExpectedBucketOwner=self.place.account, **arguments
                )
        except TidegateError as error:
            if code_of(error) in absent:
                return None
            raise


_DOING = {"get": "read the settings of", "put": "change the settings of"}


def taken(name: str) -> ConfigurationError:
    """The error if another account has the name."""
    return ConfigurationError(
        f"the bucket {name} belongs to another AWS account",
        why="all AWS accounts share the names of buckets",
        next="choose another name for it in pipelines_config.yml",
    )


@dataclass(frozen=True)
class Wanted:
    """A setting that a bucket should have."""

    text: str
    """What it does, in words."""
    lacks: Callable[[Bucket], str]
    """What it would change, in words; "" if the bucket has it."""
    add: Callable[[Bucket], None]
    """Adds it to the existing settings."""


def _policy(bucket: Bucket) -> dict[str, Any]:
    answer = bucket.call("get_bucket_policy", "NoSuchBucketPolicy")
    found: dict[str, Any] = json.loads(answer["Policy"]) if answer else {"Version": "2012-10-17"}
    statements = found.get("Statement", [])
    return found | {"Statement": statements if isinstance(statements, list) else [statements]}


def _refuses_plain_http(bucket: Bucket, statement: Mapping[str, Any]) -> bool:
    """Whether a statement of a policy denies all requests without TLS."""
    only = statement.get("Condition") or {}
    secure = {str(v).lower() for v in _listed_values(only.get("Bool", {}), "aws:SecureTransport")}
    resources = set(_listed_values(statement, "Resource"))
    return (
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        and set(_listed_values(statement, "Action")) & {"*", "s3:*"} != set()
        and ({bucket.arn, f"{bucket.arn}/*"} <= resources or "*" in resources)
        and list(only) == ["Bool"]
        and list(only["Bool"]) == ["aws:SecureTransport"]
        and secure == {"false"}
    )


def _listed_values(holder: Mapping[str, Any], key: str) -> list[Any]:
    value = holder.get(key, [])
    return value if isinstance(value, list) else [value]


def _lacks_tls(bucket: Bucket) -> str:
    if any(_refuses_plain_http(bucket, s) for s in _policy(bucket)["Statement"]):
        return ""
    return f"{_TLS}, by a statement added to its policy"


def _add_tls(bucket: Bucket) -> None:
    policy = _policy(bucket)
    own = {
        "Sid": _ONLY_TLS,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket.arn, f"{bucket.arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    others = [s for s in policy["Statement"] if s.get("Sid") != _ONLY_TLS]
    policy["Statement"] = [*others, own]
    bucket.call("put_bucket_policy", Policy=json.dumps(policy))


def _lacks_privacy(bucket: Bucket) -> str:
    answer = bucket.call("get_public_access_block", "NoSuchPublicAccessBlockConfiguration")
    if answer and answer["PublicAccessBlockConfiguration"] == _OPEN:
        return ""
    if any(_is_public(statement) for statement in _policy(bucket)["Statement"]):
        return f"{_PRIVATE}: IT IS PUBLIC NOW, and public users will lose access"
    return _PRIVATE


def _is_public(statement: Mapping[str, Any]) -> bool:
    """Whether a statement allows something to everybody."""
    anybody = statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
    return statement.get("Effect") == "Allow" and anybody and not statement.get("Condition")


def _add_privacy(bucket: Bucket) -> None:
    bucket.call("put_public_access_block", PublicAccessBlockConfiguration=_OPEN)


def key_of(bucket: Bucket) -> str:
    """The KMS key with which new objects are encrypted; "" unless it is a customer's own.

    It is an id, an alias or an ARN. S3's own keys need no permissions. Also "" if the caller may
    not read it.
    """
    try:
        answer = bucket.call("get_bucket_encryption", _UNENCRYPTED) or {}
    except StorageError as error:
        if code_of(error) not in DENIED:
            raise
        return ""
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
    applied = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    keys = [str(one["KMSMasterKeyID"]) for one in applied if one.get("KMSMasterKeyID")]
    return next((key for key in keys if not key.endswith("alias/aws/s3")), "")


def why_unusable(bucket: Bucket, key: str) -> str:
    """Why S3 cannot use a KMS key; "" if it can, or if the caller may not ask."""
    try:
        with explained("look for the KMS key", key):
            answer = bucket.clients.client("kms").describe_key(KeyId=key)
    except Missing:
        return f"its objects are encrypted with the KMS key {key}, which does not exist"
    except TidegateError as error:
        if code_of(error) in DENIED:
            return ""
        raise
    state = answer["KeyMetadata"].get("KeyState", "Enabled")
    if state == "Enabled":
        return ""
    return f"its objects are encrypted with the KMS key {key}, which is {state}"


def _lacks_encryption(bucket: Bucket) -> str:
    has = bucket.call("get_bucket_encryption", _UNENCRYPTED)
    return "" if has else _ENCRYPTED


def _add_encryption(bucket: Bucket) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    bucket.call("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})


def _lifecycle(bucket: Bucket) -> dict[str, Any]:
    """The lifecycle of its objects, in the form that S3 accepts."""
    answer = bucket.call("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration") or {}
    return {
        key: answer[key] for key in ("Rules", "TransitionDefaultMinimumObjectSize") if key in answer
    }


def _add_rules(bucket: Bucket, *rules: Mapping[str, Any]) -> None:
    found = _lifecycle(bucket)
    own = {rule["ID"] for rule in rules}
    others = [_with_filter(rule) for rule in found.pop("Rules", []) if rule.get("ID") not in own]
    bucket.call(
        "put_bucket_lifecycle_configuration",
        LifecycleConfiguration={"Rules": [*others, *rules]},
        **found,
    )


def _with_filter(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """A lifecycle rule with its prefix in ``Filter``, where older rules have it at the top.

    S3 refuses a configuration that has both kinds. Source: S3 API Reference, "LifecycleRule".
    """
    if "Prefix" not in rule:
        return rule
    rest = {key: value for key, value in rule.items() if key != "Prefix"}
    return {**rest, "Filter": {"Prefix": rule["Prefix"]}}


def _lacks_abortion(bucket: Bucket) -> str:
    for rule in _lifecycle(bucket).get("Rules", ()):
        days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        everywhere = rule.get("Filter") in ({}, {"Prefix": ""}) or rule.get("Prefix") == ""
        if days and days <= _ABORT_AFTER and rule["Status"] == "Enabled" and everywhere:
            return ""
    return _UPLOADS


def _add_abortion(bucket: Bucket) -> None:
    rule = {
        "ID": "tidegate-incomplete-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _ABORT_AFTER},
    }
    _add_rules(bucket, rule)


_EXPIRY = tuple(
    {
        "ID": f"tidegate-{prefix.rstrip('/')}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": days},
    }
    for prefix, days in _EXPIRE_AFTER.items()
)


def _lacks_expiry(bucket: Bucket) -> str:
    found = _lifecycle(bucket).get("Rules", ())
    return "" if all(rule in found for rule in _EXPIRY) else _EXPIRE


def _add_expiry(bucket: Bucket) -> None:
    _add_rules(bucket, *_EXPIRY)


def _log_rule(bucket: Bucket) -> dict[str, Any]:
    return {
        "ID": "tidegate-logs",
        "Status": "Enabled",
        "Filter": {"Prefix": SUCCEEDED},
        "Expiration": {"Days": bucket.keep_logs},
    }


def _lacks_log_expiry(bucket: Bucket) -> str:
    if _log_rule(bucket) in _lifecycle(bucket).get("Rules", ()):
        return ""
    return f"logs of successful runs ({SUCCEEDED}) are deleted after {bucket.keep_logs} days"


def _add_log_expiry(bucket: Bucket) -> None:
    _add_rules(bucket, _log_rule(bucket))


def _lacks_versioning(bucket: Bucket) -> str:
    on = bucket.call("get_bucket_versioning").get("Status") == "Enabled"
    return "" if on and _VERSIONS_RULE in _lifecycle(bucket).get("Rules", ()) else _VERSIONS


def _add_versioning(bucket: Bucket) -> None:
    """Source: S3 User Guide, "Retaining multiple versions of objects with S3 Versioning"."""
    _add_rules(bucket, _VERSIONS_RULE)
    bucket.call("put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"})


def _notifications(bucket: Bucket) -> dict[str, Any]:
    answer = bucket.call("get_bucket_notification_configuration")
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def _lacks_events(bucket: Bucket) -> str:
    found = _notifications(bucket)
    if "EventBridgeConfiguration" in found:
        return ""
    others = sum(len(value) for value in found.values())
    return f"{_EVENTS}; its other notifications ({others}) are kept" if others else _EVENTS


def _add_events(bucket: Bucket) -> None:
    bucket.call(
        "put_bucket_notification_configuration",
        NotificationConfiguration={**_notifications(bucket), "EventBridgeConfiguration": {}},
        # Do not check the queues and functions of other notifications.
        SkipDestinationValidation=True,
    )


SETTINGS: Mapping[str, Wanted] = {
    # The policy before the block: afterwards S3 rejects every policy that is public.
    "tls": Wanted(_TLS, _lacks_tls, _add_tls),
    "private": Wanted(_PRIVATE, _lacks_privacy, _add_privacy),
    "encrypted": Wanted(_ENCRYPTED, _lacks_encryption, _add_encryption),
    "uploads": Wanted(_UPLOADS, _lacks_abortion, _add_abortion),
    "events": Wanted(_EVENTS, _lacks_events, _add_events),
    "logs": Wanted(
        "logs of successful runs are deleted after `keep_logs` days (30)",
        _lacks_log_expiry,
        _add_log_expiry,
    ),
    "versioning": Wanted(_VERSIONS, _lacks_versioning, _add_versioning),
    "expiry": Wanted(_EXPIRE, _lacks_expiry, _add_expiry),
}
"""All settings, in the order in which they are added."""
