"""Why a deployment of a stack failed, and what to do about it; pure.

When one resource fails, CloudFormation cancels the others and rolls back: one cause produces dozens
of events. The cause is the first event that is not a consequence of another. CloudFormation passes
on messages of services as ``Resource handler returned message: "…" (RequestToken: …,
HandlerErrorCode: NotFound)``; the codes are listed in the CloudFormation CLI user guide, *Handler
error codes*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tidegate.deploy.cloudformation.states import Event

CONTINUE = "tidegate deploy BRANCH --continue-rollback"
"""The command that continues a failed rollback (UPDATE_ROLLBACK_FAILED)."""
AGAIN = "deploy again"

_HANDLER = re.compile(r'^Resource handler returned message: "(?P<said>.*?)"(?: \(|$)', re.S)
_CODE = re.compile(r"HandlerErrorCode: (\w+)")
_NOISE = re.compile(r"\s*\((?:Service|Amazon|Status Code|Request ?Token|Request ID|SDK)[^()]*\)$")
_DENIED = re.compile(
    r"User: (?P<who>\S+) is not authorized to perform: (?P<action>[\w:*-]+)"
    r"(?: on (?:the )?resource: (?P<resource>[^\s\"]+))?"
)
_OLD_DENIED = re.compile(r"API: (?P<action>[\w:-]+) Access Denied", re.I)
_STACK_WIDE = re.compile(r"^The following resource\(s\) failed|^Resource \S+ failed:", re.I)


@dataclass(frozen=True)
class Cause:
    """Why something failed."""

    event: Event
    """The event of the failure."""
    kind: str
    """One of the kinds in ``_KINDS``, or ``other``."""
    why: str
    """AWS's message, without request ids."""
    next: str
    """What to do about it."""
    others: int = 0
    """How many other resources failed independently in the same operation."""


def find_cause(events: Sequence[Event]) -> Cause | None:
    """The cause of a failure; ``events`` belong to one operation, ordered from the oldest."""
    failed = [event for event in events if event.failed]
    of_resources = [event for event in failed if not event.of_stack]
    # What fails during the rollback is a consequence.
    back = next((n for n, event in enumerate(events) if _starts_rollback(event)), len(events))
    before = [event for event in events[:back] if event in of_resources]
    real = (
        before or of_resources or [e for e in failed if not _STACK_WIDE.match(e.reason)] or failed
    )
    if not real:
        return None
    return replace(explain(real[0]), others=len({e.logical for e in real}) - 1)


def _starts_rollback(event: Event) -> bool:
    return event.of_stack and "ROLLBACK" in event.status


def explain(event: Event) -> Cause:
    """The cause in an event, and what to do about it."""
    kind = _kind(event.reason)
    next = _NEXT[kind].format(**_words(event.reason, event.what, event.logical))
    return Cause(event, kind, without_ids(event.reason), next)


def advice(reason: str, what: str) -> str:
    """What to do about a request that CloudFormation rejected; "" if unknown."""
    kind = _kind(reason)
    return "" if kind in ("other", "gone") else _NEXT[kind].format(**_words(reason, what, what))


def _kind(reason: str) -> str:
    code = _CODE.search(reason)
    for kind, pattern, codes in _KINDS:
        if (code and code[1] in codes) or re.search(pattern, reason, re.I):
            return kind
    return "other"


def without_ids(reason: str) -> str:
    """AWS's reason without tokens and request ids."""
    handled = _HANDLER.match(reason)
    said = handled["said"] if handled else reason
    while (shorter := _NOISE.sub("", said.strip())) != said:
        said = shorter
    return said or "AWS does not say why"


def _words(reason: str, what: str, logical: str) -> Mapping[str, str]:
    denied = _DENIED.search(reason)
    older = _OLD_DENIED.search(reason)
    resource = (denied["resource"] or "") if denied else ""
    return {
        "what": what,
        "logical": logical,
        "action": denied["action"] if denied else older[1] if older else "the action",
        "resource": resource.rstrip(".,") or what,
        "who": denied["who"] if denied else "the role that deploys",
        "again": AGAIN,
    }


_KINDS: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("named", r"custom-named resource requires replacing", frozenset()),
    ("role", r"(role|arn)\S* is invalid or cannot be assumed", frozenset()),
    (
        "denied",
        r"is not authorized to perform|Access ?Denied",
        frozenset({"AccessDenied", "UnauthorizedTaggingOperation"}),
    ),
    (
        "credentials",
        r"security token .* (is|has) (expired|invalid)|ExpiredToken",
        frozenset({"InvalidCredentials"}),
    ),
    ("soon", r"must wait 60 seconds|QueueDeletedRecently", frozenset()),
    ("concurrency", r"UnreservedConcurrentExecution", frozenset()),
    ("image", r"Source image \S* ?does not exist|ECR image|image manifest", frozenset()),
    ("taken", r"already exists|NAME_CONFLICT", frozenset({"AlreadyExists", "ResourceConflict"})),
    (
        "gone",
        (
            r"NonExistentQueue|NoSuchEntity|ResourceNotFoundException"
            r"|(does not|doesn't) exist|cannot be found|\bnot found\b"
        ),
        frozenset({"NotFound"}),
    ),
    ("full", r"bucket you tried to delete is not empty|still contains images", frozenset()),
    ("limit", r"limit exceeded|LimitExceeded|quota", frozenset({"ServiceLimitExceeded"})),
    (
        "passing",
        r"Rate exceeded|Throttl|ServiceUnavailable|InternalFailure|timed? ?out",
        frozenset(
            {
                *("Throttling", "NetworkFailure", "ServiceInternalError", "InternalFailure"),
                *("ServiceTimeout", "NotStabilized", "GeneralServiceException"),
            }
        ),
    ),
)
_NEXT = {
    "named": "CloudFormation cannot create the new {what} while the old one exists, with the same"
    " name: remove its config from pipelines_config.yml and deploy, then add it and deploy again",
    "role": "check that the role exists and that its trust policy allows the service; a role that"
    " was just created may need some seconds, then {again}",
    "denied": "allow {action} on {resource} for {who}, or ask an administrator of the account; then"
    " {again}",
    "credentials": "the credentials expired during the operation: sign in, then {again}",
    "soon": "SQS accepts the name of a deleted queue again after a minute: wait, then {again}",
    "concurrency": "the account has too few concurrent executions of Lambda to reserve some: remove"
    " `concurrency: 1` from that config, or request a higher limit (Service Quotas, Lambda)",
    "image": "the image is no longer in the repository, or Lambda may not read it: `tidegate"
    " release` builds it again",
    "taken": "another resource with this name exists, from the older recipe or from another branch."
    " `tidegate destroy BRANCH --dry-run` lists what the older recipe left; delete it, then"
    " {again}",
    "gone": "someone deleted a resource outside CloudFormation. To recreate {what}: {again} with"
    " --recreate {logical}",
    "full": "empty it, or keep it: Tidegate never deletes data on its own; then {again}",
    "limit": "a limit of the account is reached: delete what you do not need, or request a higher"
    " limit (Service Quotas); then {again}",
    "passing": "the problem may be temporary: {again}",
    "other": "look at the events of the stack in AWS's console; once it is fixed, {again}",
}
