"""Who may read and do what: names, origins, the token, forms, and a dashboard without buttons."""

from __future__ import annotations

import pytest
from web_dashboard import ADDRESS, Web
from web_history import INGEST, NOW

from tidegate.errors import UsageError
from tidegate.runtime.jobs import Job, JobCounts
from tidegate.runtime.open_failures import open_failures
from tidegate.web.options import WebOptions, check_options
from tidegate.web.security import Guard

TOKEN = "a-long-token-for-the-tests"


def failed(web: Web) -> str:
    """The key of the run that failed."""
    return next(web.history.ledger.records(states=("failed",))).key


def form(web: Web, **fields: str) -> dict[str, str]:
    """The fields of one of our forms."""
    return {"csrf": web.guard.csrf, "who": "Ada", **fields}


@pytest.mark.parametrize(
    ("options", "host", "fine"),
    [
        ({}, "127.0.0.1:8321", True),
        ({}, "localhost", True),
        ({}, "[::1]:8321", True),
        ({}, "evil.example", False),
        ({}, "10.0.0.7:8321", False),
        ({}, "127.0.0.1.evil.example", False),
        ({}, "", False),
        ({}, "localhost@evil.example", False),
        ({"names": ("station.example",)}, "station.example", True),
        ({"host": "0.0.0.0", "token": TOKEN}, "10.0.0.7:8321", True),
        ({"host": "0.0.0.0", "token": TOKEN}, "evil.example", False),
    ],
)
def test_a_host_must_be_a_name_of_this_server(options, host: str, fine: bool) -> None:
    headers = {"host": host, "authorization": f"Bearer {TOKEN}"}
    refusal = Guard(WebOptions(**options)).check("GET", "/", headers, {})
    assert (refusal is None) == fine
    assert refusal is None or refusal.status == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"origin": ADDRESS}, 303),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": ADDRESS, "sec-fetch-site": "same-origin"}, 303),
    ],
)
def test_a_button_works_only_from_our_own_pages(web: Web, headers, status: int) -> None:
    client = web.client()
    answer = client.post(f"/runs/{failed(web)}/acknowledge", data=form(web), headers=headers)
    assert answer.status_code == status, answer.text


def test_a_form_needs_its_hidden_value_and_a_name(web: Web) -> None:
    client, path = web.client(), f"/runs/{failed(web)}/acknowledge"
    for fields in ({"who": "Ada"}, {"who": "Ada", "csrf": "wrong"}, {"who": "Ada", "csrf": "é"}):
        assert client.post(path, data=fields).status_code == 403
    assert client.post(path, data=form(web, who=" ")).status_code == 400
    assert len(list(open_failures(web.history.ledger))) == 1
    assert client.post(path, data=form(web)).status_code == 303
    assert list(open_failures(web.history.ledger)) == []


def test_what_was_asked_for_is_on_record_with_who_and_when(web: Web) -> None:
    client, key = web.client(), failed(web)
    client.post(f"/runs/{key}/acknowledge", data=form(web, who="Ada <b>"))
    client.post(
        "/reprocess",
        data=form(web, config=INGEST, begin="2026-11-22", end="2026-11-23", only="failed"),
    )
    asked = web.client().get("/api/requests").json()["requests"]
    assert [(a["what"], a["who"]) for a in asked] == [
        ("reprocess", "Ada (testclient)"),
        ("acknowledge", "Ada <b> (testclient)"),
    ]
    assert asked[0]["when"].startswith("2026-11-28T18:00")
    page = client.get(f"/runs/{key}").text
    assert "Acknowledged by Ada &lt;b&gt;" in page


@pytest.mark.parametrize(
    "fields",
    [
        {"config": "none", "begin": "2026-11-22", "end": "2026-11-23"},
        {"config": INGEST, "begin": "tomorrow"},
        {"config": INGEST, "begin": "2026-11-23", "end": "2026-11-01"},
        {"config": INGEST, "only": "everything"},
        {},
    ],
)
def test_bad_fields_are_refused_and_nothing_is_on_record(web: Web, fields) -> None:
    client = web.client()
    assert client.post("/reprocess", data=form(web, **fields)).status_code == 400
    assert client.get("/api/requests").json()["requests"] == []


def test_a_job_is_on_the_overview_and_can_be_paused_and_cancelled(web: Web) -> None:
    counts = JobCounts(planned=500, succeeded=100, failed={"timeout": 2})
    job = Job("abc123", NOW, ((INGEST,),), expected={INGEST: 87_600}, counts=counts)
    web.history.ledger.jobs.add(job)
    client = web.client()
    (shown,) = client.get("/api/overview").json()["jobs"]
    assert (shown["id"], shown["runs"], shown["ended"], shown["failed"]) == (job.id, 87_600, 102, 2)
    assert 'action="/jobs/abc123/pause"' in client.get("/").text
    assert "/jobs/abc123/" not in web.client(read_only=True).get("/").text
    assert web.client(read_only=True).post("/jobs/abc123/pause", data=form(web)).status_code == 403
    client = web.client()
    assert client.post("/jobs/abc123/pause", data=form(web)).status_code == 303
    assert client.get("/api/overview").json()["jobs"][0]["state"] == "paused"
    assert client.post("/jobs/abc123/cancel", data=form(web)).status_code == 303
    assert client.get("/api/overview").json()["jobs"] == []
    for id in ("abc123", "fff"):  # it has ended; there is none
        assert client.post(f"/jobs/{id}/pause", data=form(web)).status_code == 400
    asked = client.get("/api/requests").json()["requests"]
    assert [(a["what"], a["about"]) for a in asked] == [
        ("cancel", "job abc123"),
        ("pause", "job abc123"),
    ]


def test_a_run_that_does_not_exist_cannot_be_retried(web: Web) -> None:
    assert web.client().post("/runs/abc/retry", data=form(web)).status_code == 400


def test_nothing_can_be_done_read_only(web: Web) -> None:
    client = web.client(read_only=True)
    for path in (f"/runs/{failed(web)}/retry", f"/runs/{failed(web)}/acknowledge", "/reprocess"):
        assert client.post(path, data=form(web)).status_code == 403
    assert 'method="post"' not in client.get(f"/runs/{failed(web)}").text
    assert len(list(open_failures(web.history.ledger))) == 1


def test_a_get_does_nothing(web: Web) -> None:
    assert web.client().get(f"/runs/{failed(web)}/acknowledge").status_code == 405


def test_with_a_token_nothing_is_shown_without_it(web: Web) -> None:
    client = web.client(token=TOKEN)
    for path in ("/", "/runs", "/products"):
        assert client.get(path).status_code == 303
    for path in ("/api/overview", "/metrics"):
        assert client.get(path).status_code == 401
    assert client.get("/healthz").status_code == 200
    wrong = {"authorization": "Bearer nonsense"}
    assert client.get("/api/overview", headers=wrong).status_code == 401
    right = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/overview", headers=right).status_code == 200
    assert client.post("/login", data={"token": "x", "to": "/"}).status_code == 403
    answer = client.post("/login", data={"token": TOKEN, "to": "//evil.example"})
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "httponly" in cookie.lower()
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert client.get("/").status_code == 200
    client.post("/logout")
    assert client.get("/").status_code == 303


def test_other_machines_need_a_token() -> None:
    for host in ("0.0.0.0", "::", "10.0.0.7"):
        with pytest.raises(UsageError):
            check_options(WebOptions(host))
        check_options(WebOptions(host, token=TOKEN))
    check_options(WebOptions("::1"))


def test_headers_allow_nothing_from_elsewhere(web: Web) -> None:
    for path in ("/", "/nowhere", "/static/page.js"):
        headers = web.client().get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    page = web.client().get("/").text
    assert " style=" not in page
    assert "://" not in page.replace("http://www.w3.org", "")


def test_a_huge_form_is_refused(web: Web) -> None:
    answer = web.client().post("/reprocess", data=form(web, config="x" * 200_000))
    assert answer.status_code == 413
