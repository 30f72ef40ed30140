"""Why deployments fail, and how stacks stand: events and records as AWS gives them.

No emulator gives all of these. The messages are those that people quote in public issues and that
AWS documents; ``test_cloudformation_stacks`` has what the emulator does bring about.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tidegate.deploy.cloudformation import states
from tidegate.deploy.cloudformation.causes import advice, explain, find_cause, without_ids
from tidegate.deploy.cloudformation.states import Event, parse_state

WHEN = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
ARN = "arn:aws:cloudformation:us-west-2:123456789012:stack/waves/1-2-3"


def event(logical: str, status: str, reason: str = "", *, n: int = 0, **more: Any) -> Event:
    stack = logical == "waves"
    record = {
        "EventId": f"{n}",
        "Timestamp": WHEN + timedelta(seconds=n),
        "LogicalResourceId": logical,
        "PhysicalResourceId": ARN if stack else "",
        "ResourceType": "AWS::CloudFormation::Stack" if stack else "AWS::SQS::Queue",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "StackName": "waves",
        **more,
    }
    return Event.from_record(record, {"Queue": "buoy/morro"}, {"Queue": "waves-queue"})


def numbered(*events: tuple[str, ...]) -> list[Event]:
    return [event(*one, n=n) for n, one in enumerate(events)]


def test_the_first_real_cause_and_no_consequence() -> None:
    """The order in which AWS tells: cancelled ones may come before the cause's own rollback."""
    events = numbered(
        ("waves", "UPDATE_IN_PROGRESS", "User Initiated"),
        ("Queue", "UPDATE_IN_PROGRESS"),
        ("Other", "UPDATE_FAILED", "Resource update cancelled"),
        ("Third", "CREATE_FAILED", "Resource creation cancelled"),
        ("Queue", "UPDATE_FAILED", "the first thing that went wrong"),
        ("Fourth", "CREATE_FAILED", "another thing of its own"),
        ("waves", "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update"),
        ("Queue", "UPDATE_FAILED", "and now it cannot go back"),
        ("waves", "UPDATE_ROLLBACK_FAILED", "The following resource(s) failed to update: [Queue]."),
    )
    cause = find_cause(events)
    assert cause is not None
    assert cause.why == "the first thing that went wrong"
    assert cause.event.what == "queue waves-queue of buoy/morro"
    assert cause.others == 1


def test_what_fails_while_going_back_is_the_cause_of_a_failed_continuation() -> None:
    events = numbered(
        ("waves", "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated"),
        ("Queue", "UPDATE_FAILED", "still not"),
        ("waves", "UPDATE_ROLLBACK_FAILED", "The following resource(s) failed to update: [Queue]."),
    )
    cause = find_cause(events)
    assert cause is not None
    assert cause.why == "still not"


def test_the_stack_itself_can_be_the_cause() -> None:
    """As when an output cannot be made out, or validation fails before anything begins."""
    events = numbered(
        ("waves", "CREATE_FAILED", "Template error: no such attribute"),
        ("waves", "ROLLBACK_IN_PROGRESS"),
        ("waves", "ROLLBACK_COMPLETE"),
    )
    cause = find_cause(events)
    assert cause is not None
    assert cause.event.of_stack
    assert find_cause(events[1:]) is None


DENIED = (
    'Resource handler returned message: "User: arn:aws:sts::123456789012:assumed-role/deploy/AWS'
    "CloudFormation is not authorized to perform: sqs:CreateQueue on resource: arn:aws:sqs:us-west"
    "-2:123456789012:waves-queue because no identity-based policy allows the sqs:CreateQueue action"
    ' (Service: Sqs, Status Code: 403, Request ID: 8e1d) (SDK Attempt Count: 1)" (RequestToken:'
    " 6c0b, HandlerErrorCode: AccessDenied)"
)


REASONS = {
    "denied": (
        (
            'Resource handler returned message: "User: arn:aws:sts::1:assumed-role/deploy/AWS is'
            " not authorized to perform: sqs:CreateQueue on resource: arn:aws:sqs:us-west-2:1:q"
            ' because no identity-based policy allows it" (HandlerErrorCode: AccessDenied)'
        ),
        "allow sqs:CreateQueue on arn:aws:sqs:us-west-2:1:q for arn:aws:sts::1:assumed-role/",
    ),
    "denied, as older services say it": (
        "API: iam:CreateRole Access Denied",
        "allow iam:CreateRole on queue waves-queue",
    ),
    "gone": (
        (
            'Resource handler returned message: "The specified queue does not exist. (Service: Sqs,'
            ' Status Code: 400, Request ID: 1)" (RequestToken: 1, HandlerErrorCode: NotFound)'
        ),
        "--recreate Queue",
    ),
    "gone, as Lambda says it": (
        (
            "Function not found: arn:aws:lambda:us-west-2:1:function:f (Service: AWSLambda; Status"
            " Code: 404; Error Code: ResourceNotFoundException; Request ID: 1; Proxy: null)"
        ),
        "--recreate Queue",
    ),
    "taken": (
        "Resource of type 'AWS::SQS::Queue' with identifier 'waves-queue' already exists.",
        "destroy BRANCH --dry-run",
    ),
    "named": (
        (
            "CloudFormation cannot update a stack when a custom-named resource requires replacing."
            " Rename waves-lambda and update the stack again."
        ),
        "add it",
    ),
    "role": (
        "Role arn:aws:iam::123456789012:role/deploy is invalid or cannot be assumed",
        "trust policy",
    ),
    "soon": (
        (
            'Resource handler returned message: "You must wait 60 seconds after deleting a queue'
            ' before you can create another with the same name." (HandlerErrorCode: InvalidRequest)'
        ),
        "after a minute",
    ),
    "concurrency": (
        (
            "Specified ReservedConcurrentExecutions for function decreases account's"
            " UnreservedConcurrentExecution below its minimum value of [10]."
        ),
        "Service Quotas, Lambda",
    ),
    "image": (
        (
            'Resource handler returned message: "Source image 1.dkr.ecr.us-west-2.amazonaws.com/'
            'waves@sha256:ab does not exist." (HandlerErrorCode: NotFound)'
        ),
        "`tidegate release` builds it again",
    ),
    "credentials": (
        "The security token included in the request is expired (ExpiredToken)",
        "sign in",
    ),
    "passing": (
        'Resource handler returned message: "Rate exceeded" (HandlerErrorCode: Throttling)',
        "deploy again",
    ),
    "limit": (
        'Resource handler returned message: "…" (HandlerErrorCode: ServiceLimitExceeded)',
        "Service Quotas",
    ),
    "full": (
        "The bucket you tried to delete is not empty (Service: S3, Status Code: 409)",
        "empty it",
    ),
    "other": ("Something new", "console"),
}


@pytest.mark.parametrize("kind", REASONS)
def test_each_cause_has_its_remedy(kind: str) -> None:
    reason, next = REASONS[kind]
    cause = explain(event("Queue", "UPDATE_FAILED", reason))
    assert cause.kind == kind.split(",")[0]
    assert next in cause.next


def test_refusals_of_cloudformation_itself_have_remedies_too() -> None:
    reason, next = REASONS["role"]
    assert next in advice(f"ValidationError: {reason}", "the stack waves")
    assert advice("ValidationError: something new", "the stack waves") == ""


def test_reasons_are_told_without_what_is_of_no_use() -> None:
    text = without_ids(DENIED)
    assert text.startswith("User: arn:aws:sts")
    assert text.endswith("allows the sqs:CreateQueue action")
    assert without_ids("") == "AWS does not say why"


@pytest.mark.parametrize(
    ("status", "condition"),
    [
        ("CREATE_COMPLETE", "ready"),
        ("UPDATE_ROLLBACK_COMPLETE", "ready"),
        ("REVIEW_IN_PROGRESS", "missing"),
        ("DELETE_COMPLETE", "missing"),
        ("ROLLBACK_COMPLETE", "failed"),
        ("ROLLBACK_FAILED", "failed"),
        ("CREATE_FAILED", "failed"),
        ("DELETE_FAILED", "failed"),
        ("UPDATE_ROLLBACK_FAILED", "stuck"),
        ("UPDATE_FAILED", "stuck"),
        ("IMPORT_ROLLBACK_FAILED", "stuck"),
        ("UPDATE_IN_PROGRESS", "busy"),
        ("DELETE_IN_PROGRESS", "busy"),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "busy"),
        ("SOMETHING_NEW", "stuck"),
    ],
)
def test_what_the_state_of_a_stack_means(status: str, condition: str) -> None:
    record = {
        "StackName": "waves",
        "StackStatus": status,
        "CreationTime": WHEN - timedelta(days=3),
        "LastUpdatedTime": WHEN,
        "DeletionTime": WHEN + timedelta(hours=1),
    }
    found = parse_state("waves", record)
    assert found.condition == condition
    moment = "13:00:00" if status == "DELETE_IN_PROGRESS" else "12:00:00"
    assert (f"since 2026-11-24 {moment} UTC" in found.sentence) == (condition == "busy")


def test_there_is_no_such_stack() -> None:
    assert parse_state("waves", None).sentence == "the stack waves does not exist"
    assert not parse_state("waves", None).exists


def test_who_began_what_goes_on() -> None:
    """The latest first, as ``describe_stack_events`` gives them; two operations."""

    def of(token: str, *events: tuple[str, ...]) -> list[Event]:
        return [event(*one, n=n, ClientRequestToken=token) for n, one in enumerate(events)]

    mine = states.make_token("arn:aws:sts::123456789012:assumed-role/admin/ann.lee@x.org", "1a2b")
    assert mine == "tidegate-ann-lee-1a2b"
    events = [
        *of("Console-Execute-1", ("waves", "UPDATE_IN_PROGRESS", "User Initiated")),
        *of(mine, ("waves", "UPDATE_COMPLETE")),
        *of(mine, ("waves", "UPDATE_IN_PROGRESS", "User Initiated")),
    ]
    begun = states.first_event(events)
    assert begun is not None
    assert states.who_began(begun.token) == "someone in AWS's console"
    begun = states.first_event(events[1:])
    assert begun is not None
    assert states.who_began(begun.token) == "a deployment by ann-lee with Tidegate"
    assert states.who_began("tidegate-1a2b") == "a deployment with Tidegate"
    assert states.who_began("x-1") == "the request x-1"
    assert states.who_began("") == ""
    assert states.first_event([]) is None


def test_going_back_is_the_same_operation_as_what_failed() -> None:
    events = numbered(
        ("waves", "UPDATE_IN_PROGRESS", "User Initiated"),
        ("Queue", "UPDATE_FAILED", "no"),
        ("waves", "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update"),
    )
    begun = states.first_event(events[::-1])
    assert begun is events[0]


def test_what_kept_a_stack_from_going_back() -> None:
    events = numbered(
        ("Queue", "UPDATE_FAILED", "why it went back at all"),
        ("waves", "UPDATE_ROLLBACK_IN_PROGRESS"),
        ("Other", "UPDATE_FAILED", "why it is stuck"),
        ("waves", "UPDATE_ROLLBACK_FAILED"),
    )
    assert [e.logical for e in states.rollback_failures(events[::-1])] == ["Other"]


def test_events_in_words() -> None:
    assert event("Queue", "CREATE_IN_PROGRESS").text == (
        "queue waves-queue of buoy/morro: being created"
    )
    assert event("waves", "UPDATE_ROLLBACK_COMPLETE").text == "stack waves: rolled back"
    assert event("Queue", "SOMETHING_NEW", "why").text.endswith(": something new (why)")
