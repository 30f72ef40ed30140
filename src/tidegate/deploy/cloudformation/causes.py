"""Why a stack could not be deployed, and what to do about it; pure.

When one resource fails, CloudFormation gives up others that were under way, and takes back what was
made: one cause makes dozens of events. The first that is no consequence is the cause. What services
say is passed on by CloudFormation as ``Resource handler returned message: "…" (RequestToken: …,
HandlerErrorCode: NotFound)``; the codes are those of the CloudFormation CLI user guide, *Handler
error codes*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tidegate.deploy.cloudformation.states import Event

CONTINUE = "tidegate deploy BRANCH --continue-rollback"
"""The command that takes a stack out of UPDATE_ROLLBACK_FAILED."""
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
    """What AWS told."""
    kind: str
    """One of the kinds below, or ``other``."""
    why: str
    """What AWS said, without what is of no use to a person."""
    next: str
    """What to do about it."""
    others: int = 0
    """How many more failed by themselves in the same operation."""


def first_cause(events: Sequence[Event]) -> Cause | None:
    """The first real cause of a failure; ``events`` are of one operation, the oldest first."""
    failed = [event for event in events if event.failed]
    of_resources = [event for event in failed if not event.of_stack]
    # What fails while it is taken back is a consequence, and a problem of its own.
    back = next((n for n, event in enumerate(events) if _goes_back(event)), len(events))
    before = [event for event in events[:back] if event in of_resources]
    real = (
        before or of_resources or [e for e in failed if not _STACK_WIDE.match(e.reason)] or failed
    )
    if not real:
        return None
    return replace(explained(real[0]), others=len({e.logical for e in real}) - 1)


def _goes_back(event: Event) -> bool:
    return event.of_stack and "ROLLBACK" in event.status


def explained(event: Event) -> Cause:
    """A failure, and what to do about it."""
    kind = _kind(event.reason)
    next = _NEXT[kind].format(**_words(event.reason, event.what, event.logical))
    return Cause(event, kind, plain(event.reason), next)


def advice(reason: str, what: str) -> str:
    """What to do about a refusal of CloudFormation's own; "" where that is not known."""
    kind = _kind(reason)
    return "" if kind in ("other", "gone") else _NEXT[kind].format(**_words(reason, what, what))


def _kind(reason: str) -> str:
    code = _CODE.search(reason)
    for kind, pattern, codes in _KINDS:
        if (code and code[1] in codes) or re.search(pattern, reason, re.I):
            return kind
    return "other"


def plain(reason: str) -> str:
    """A reason of AWS's without tokens and request ids."""
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
        "action": denied["action"] if denied else older[1] if older else "what it asked for",
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
    "named": "AWS cannot make the new {what} beside the old one of the same name: take its config"
    " out of pipelines_config.yml and deploy, then put it back and deploy again",
    "role": "AWS refuses the role: look whether it still exists and trusts the service; a role that"
    " was made just now may take some seconds to be known, then {again}",
    "denied": "allow {action} on {resource} to {who}, or ask whoever administers the account;"
    " then {again}",
    "credentials": "the credentials ended while AWS worked with them: sign in, then {again}",
    "soon": "SQS takes the name of a deleted queue again after a minute: wait, then {again}",
    "concurrency": "the account has too few concurrent executions of Lambda to set some aside: take"
    " `concurrency: 1` out of that config, or ask AWS for more (Service Quotas, Lambda)",
    "image": "the image is not in the registry any more, or Lambda may not read it: `tidegate"
    " release` builds it again",
    "taken": "something of that name is there that this stack did not make: what the older recipe"
    " left, or another branch's. `tidegate destroy BRANCH --dry-run` finds what was left; remove"
    " it, then {again}",
    "gone": "something was deleted outside CloudFormation. To have {what} made again: {again} with"
    " --recreate {logical}",
    "full": "empty it, or keep it: what holds data is deleted by hand only; then {again}",
    "limit": "a limit of the account is reached: remove what is not needed, or ask AWS for more"
    " (Service Quotas); then {again}",
    "passing": "it may pass: {again}",
    "other": "look at the events of the stack in AWS's console; once it is mended, {again}",
}
