"""What the pages show: every page, bad parameters, names that are markup, files."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import jsonschema
import pytest
from web_dashboard import Web
from web_history import INGEST, NOW, PNG, STREAM, VAP

from tidegate.runtime.manifest import Config, Manifest
from tidegate.runtime.records import dumps
from tidegate.runtime.release_notes import note_releases
from tidegate.runtime.runs import Product
from tidegate.web.pages import ENDPOINTS
from tidegate.web.pages.releases import config_changes
from tidegate.web.texts import with_code

WEEK = {"begin": "2026-11-22", "end": "2026-11-28"}
EVIL = "<script>alert('x')</script>&\"'"


def failed(web: Web):
    """The run that failed."""
    (record,) = web.history.ledger.records(states=("failed",))
    return record


def test_every_page_and_its_data(web: Web) -> None:
    product = next(iter(web.history.ledger.products(datastream=STREAM)))
    client = web.client()
    given = {"/runs/{key}": failed(web).key, "/products/{key:path}": product.key}
    for endpoint in ENDPOINTS.values():
        if endpoint.name in ("content", "compare", "day"):  # need a worker, or a datastream
            continue
        path = endpoint.path.replace("{key:path}", "{key}")
        path = path.replace("{key}", given.get(endpoint.path, ""))
        page = client.get(path)
        assert page.status_code == 200, (path, page.text)
        assert page.headers["content-type"].startswith("text/html")
        data = client.get(f"/api/{endpoint.name}" if path == "/" else f"/api{path}")
        assert data.status_code == 200
        json.loads(data.text)


def test_the_overview_says_how_each_config_is_doing(web: Web) -> None:
    data = web.client().get("/api/overview").json()
    ingest, vap = data["configs"]
    assert (ingest["config"], vap["config"]) == (INGEST, VAP)
    assert (ingest["open_failures"], vap["open_failures"]) == (1, 0)
    assert ingest["stale"]  # expect_every: 2h, and the last file is ten hours old
    assert (ingest["checked_values_last_day"], ingest["bad_values_last_day"]) == (288, 7)
    assert {item["kind"] for item in data["attention"]} == {"failures", "silence"}


def test_runs_are_filtered(web: Web) -> None:
    client = web.client()

    def found(**query: str) -> int:
        return len(client.get("/api/runs", params=query).json()["runs"])

    assert found() == 8
    assert found(config=VAP) == 1
    assert found(state="failed") == found(state="open") == 1
    assert found(text="COLUMN 'speed'") == 1
    assert found(text=failed(web).key[:8]) == 1
    assert found(begin="2026-11-27", end="2026-11-27") == 1
    web.history.write(web.history.run(INGEST, "again"), NOW, compared="changed")
    assert (found(data="changed"), found(data="equal")) == (1, 0)
    assert client.get("/api/runs", params={"config": "none"}).status_code == 400
    # Another version of the same file closes it.
    web.history.ingest("lidar.20261127.sta", NOW - timedelta(days=1), version="2")
    assert (found(state="failed"), found(state="open")) == (1, 0)


def test_older_runs_are_on_further_pages(web: Web) -> None:
    for number in range(70):
        web.history.fail(f"f{number}", "no", when=NOW + timedelta(minutes=number // 3))
    client, seen, before = web.client(), [], ""
    while True:
        data = client.get("/api/runs", params={"before": before}).json()
        seen += [run["key"] for run in data["runs"]]
        before = data["more_before"]
        if before is None:
            break
    assert len(seen) == len(set(seen)) == 78


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs?state=nonsense", 400),
        ("/runs?begin=yesterday", 400),
        ("/runs?begin=99999-01-01", 400),
        ("/runs?before=never", 400),
        ("/runs?text=" + "x" * 5000, 400),
        ("/runs?config=%00%ff", 400),
        ("/runs/none", 404),
        ("/runs/..%2f..%2fetc", 404),
        ("/runs/%ff", 404),
        ("/runs/none/log", 404),
        ("/products?begin=0001-01-01", 400),
        ("/products/none", 404),
        ("/products/%ff%00", 404),
        ("/availability?datastream=none", 404),
        ("/availability?begin=x", 400),
        ("/availability/day", 404),
        ("/availability/day?datastream=none&day=2026-11-28", 404),
        ("/plots?day=2026-13-01", 400),
        ("/compare?first=none", 404),
        ("/compare?other_day=never", 400),
        ("/compare?datastream=none", 404),
        ("/compare?earlier=maybe", 400),
        ("/compare?earlier=yes", 404),
        ("/compare/difference.png?first=none", 404),
        ("/timeline?day=x", 400),
        ("/timeline?hour=24", 400),
        ("/timeline?config=none", 400),
        ("/nowhere", 404),
        ("/static/none.js", 404),
        ("/static/../security.py", 404),
    ],
)
def test_bad_addresses_get_a_page_that_says_so(web: Web, path: str, status: int) -> None:
    answer = web.client().get(path)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text
    if path.startswith(
        ("/runs", "/products", "/availability", "/plots", "/compare?", "/timeline")
    ) and (not path.endswith("/log")):
        data = web.client().get(f"/api{path}")
        assert data.status_code == status
        assert status == 200 or data.json()["error"]


def test_a_fault_of_tidegate_is_a_page_too(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    client = web.client()
    monkeypatch.setattr("tidegate.web.site.config_states", lambda *given: 1 / 0)
    answer = client.get("/")
    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    assert client.get("/api/overview").json()["next"]


def test_markup_in_names_is_text(web: Web) -> None:
    """File names, messages, log lines, datastreams, variables: nothing is ever an element."""
    begin = NOW - timedelta(hours=2)
    key = f"root/{EVIL}/{EVIL}.nc"
    made = Product(key, "data", 1, "d" * 64, EVIL, begin, NOW, {EVIL: 1}, empty=(EVIL,))
    made = replace(made, valid={EVIL: 0.5})
    run = web.history.run(INGEST, EVIL)
    record = web.history.write(
        run, NOW, products=(made,), warnings=(EVIL,), log=[("ERROR", EVIL, EVIL)]
    )
    bad = web.history.fail(f"{EVIL}2", EVIL)
    client = web.client()
    paths = ["/", "/runs", "/requests", f"/runs/{record.key}", f"/runs/{bad.key}", "/products"]
    pages = [client.get(path) for path in paths]
    pages += [
        client.get("/products", params={"datastream": EVIL}),
        client.get("/runs", params={"text": EVIL}),
        client.get(f"/runs/{record.key}", params={"q": EVIL}),
        client.get("/runs", params={"config": EVIL}),
        client.get("/runs", params={"state": EVIL}),
        client.get("/availability"),
        client.get("/availability", params={"datastream": EVIL, **WEEK}),
        client.get("/availability/day", params={"datastream": EVIL, "day": "2026-11-28"}),
        client.get("/plots", params={"datastream": EVIL, "other": EVIL}),
        client.get("/compare", params={"datastream": EVIL, "day": "2020-01-01"}),
        client.get("/products/" + key.replace("<", "%3C").replace("?", "%3F")),
    ]
    for page in pages:
        assert "<script>alert" not in page.text, page.url
        assert page.text.count("<script") <= 1
    assert [page.status_code for page in pages[:6]] == [200] * 6
    assert pages[-1].status_code == 200
    assert "alert(" in pages[-1].text


def test_what_is_in_backticks_is_code_and_never_an_element() -> None:
    assert with_code("run `a <b>` or <i>") == "run <code>a &lt;b&gt;</code> or &lt;i&gt;"
    assert with_code("one ` only, and `<b>") == "one <code> only, and </code>&lt;b&gt;"
    assert [with_code(text) for text in ("`\n`", "``")] == ["`\n`", "``"]


def test_names_that_are_not_utf8_or_turn_text(web: Web) -> None:
    record = web.history.fail("bad\udcff\u202egnp", "line\x1b[31m")
    client = web.client()
    for path in ("/", "/runs", f"/runs/{record.key}"):
        page = client.get(path)
        assert page.status_code == 200
        assert "\u202e" not in page.text
        assert "\x1b" not in page.text


def test_a_product_is_downloaded_and_a_plot_is_shown(web: Web) -> None:
    data, plot = list(web.history.ledger.products(datastream=STREAM, limit=2))
    client = web.client()
    answer = client.get(f"/files/{data.key}")
    assert answer.content == data.key.encode()
    assert answer.headers["content-disposition"].startswith("attachment")
    shown = client.get(f"/images/{plot.key}")
    assert shown.content == PNG
    assert "sandbox" in shown.headers["content-security-policy"]
    assert client.get(f"/images/{data.key}").headers["content-disposition"].startswith("attach")


def test_plots_by_day_and_side_by_side(web: Web) -> None:
    client = web.client()

    def shown(**query: str) -> list[list[tuple[str, int]]]:
        rows = client.get("/api/plots", params=query).json()["rows"]
        return [[(column["day"], len(column["plots"])) for column in row] for row in rows]

    assert shown() == [[("2026-11-28", 1)]]
    assert shown(day="2026-11-27") == []  # its run failed
    assert shown(day="2026-11-26", beside="2026-11-28") == [[("2026-11-26", 1), ("2026-11-28", 1)]]
    assert shown(datastream=STREAM, other="none") == [[("2026-11-28", 1), ("2026-11-28", 0)]]
    page = client.get("/plots?day=2026-11-26&beside=2026-11-28").text
    assert "day=2026-11-25&amp;beside=2026-11-27" in page


def test_availability_of_all_one_and_a_day(web: Web) -> None:
    client = web.client()
    data = client.get("/api/availability?begin=2026-11-22&end=2026-11-28").json()
    by_name = {one["datastream"]: one for one in data["series"]}
    shares = [round(cell["available"], 2) for cell in by_name[STREAM]["cells"]]
    assert shares[:5] == [1, 1, 1, 1, 1]
    assert shares[5] < 0.1  # its run failed
    one = client.get("/api/availability", params={"datastream": STREAM, **WEEK}).json()
    assert {v["variable"] for v in one["variables"]} == {
        "wind_speed",
        "wind_direction",
        "battery",
    }
    assert len(one["series"][0]["gaps"]) == 1
    day = client.get(f"/api/availability/day?datastream={STREAM}&day=2026-11-26").json()
    assert (len(day["hours"]["cells"]), len(day["products"]), len(day["runs"])) == (24, 1, 1)
    page = client.get("/availability", params={"datastream": STREAM, **WEEK}).text
    assert "2026-11-26: 100 % there, 1 product, 2.4 % bad" in page
    gaps = client.get("/availability/gaps.csv", params={"datastream": STREAM, **WEEK}).text
    assert len(gaps.splitlines()) == 2
    days = client.get("/availability/days.csv", params={"datastream": STREAM, **WEEK}).text
    assert len(days.splitlines()) == 8


def test_releases_that_made_the_latest_runs(web: Web) -> None:
    used = web.client().get("/api/releases").json()["used"]
    assert [(one["config"], one["runs"], one["failed"], one["latest"]) for one in used] == [
        (INGEST, 7, 1, True),
        (VAP, 1, 0, True),
    ]


def test_changes_of_code_and_packages_are_shown(web: Web) -> None:
    config = Config("lidar", "humboldt", "Ingest", "S3", "p.yaml")
    ledger = web.history.ledger
    for days, release, packages in ((30, "4" * 64, ["tsdat==0.9.3"]), (7, "5" * 64, ["tsdat==1"])):
        manifest = Manifest((config,), {"lidar": release})
        note_releases(ledger, manifest, packages, NOW - timedelta(days=days))
    client = web.client()
    changed = client.get("/api/releases").json()["noted"]
    assert [one.get("changes", []) for one in changed] == [["the code", "tsdat 0.9.3 → 1"], []]
    assert "tsdat 0.9.3 → 1" in client.get("/releases").text
    product = next(iter(ledger.products(datastream=STREAM)))
    assert client.get(f"/api/products/{product.key}").json()["packages"] == ["tsdat==1"]
    assert "tsdat==1" in client.get(f"/products/{product.key}").text


def test_how_the_configs_of_two_releases_differ() -> None:
    config = Config("lidar", "humboldt", "Ingest", "S3", "x.yaml", timeout=60)
    gone, new = replace(config, name="gone"), replace(config, name="new")
    before = dumps(Manifest((config, gone)))
    after = dumps(Manifest((replace(config, timeout=90, retries=5), new)))
    assert list(config_changes(before, after)) == [
        "lidar/gone is gone",
        "lidar/humboldt: retries the default → 5, timeout 60 → 90",
        "lidar/new is new",
    ]
    assert list(config_changes("", after)) == []


def test_files_outside_of_the_outputs_are_never_sent(web: Web) -> None:
    secret = web.root / "secret.nc"
    secret.write_text("secret")
    begin, keys = NOW, ["../secret.nc", "link/secret.nc", str(secret), "a/../../secret.nc"]
    (web.root / "output").mkdir(exist_ok=True)
    (web.root / "output" / "link").symlink_to(web.root)
    made = [Product(key, "data", 6, "e" * 64, STREAM, begin, begin) for key in keys]
    record = web.history.ledger.claim(
        web.history.run(INGEST, "x"), owner="t", lease=timedelta(1), now=NOW, release=""
    ).record
    assert record is not None
    web.history.ledger.finish(
        replace(record, state="succeeded", finished=NOW, products=tuple(made))
    )
    client = web.client()
    for key in (*keys, "../pipelines_config.yml", "%2e%2e/secret.nc"):
        for address in (key, key.replace("/", "%2F").replace(".", "%2E")):
            answer = client.get(f"/files/{address}")
            assert answer.status_code in (404, 500, 410), (address, answer.text)
            assert "secret" not in answer.text.replace("secret.nc", "")


def test_health_metrics_and_the_description_of_the_api(web: Web) -> None:
    client = web.client()
    assert client.get("/healthz").json() == {"status": "ok"}
    metrics = client.get("/metrics").text
    assert f'tidegate_open_failures{{config="{INGEST}"}} 1.0' in metrics
    api = client.get("/api/openapi.json").json()
    jsonschema.validate(
        api,
        {"required": ["openapi", "info", "paths"], "properties": {"openapi": {"const": "3.1.0"}}},
    )
    assert set(api["paths"]) >= {"/api/overview", "/api/runs/{key}", "/api/products/{key}"}


def test_an_empty_workspace(tmp_path) -> None:
    from web_history import HistoryWriter, make_workspace

    root = make_workspace(tmp_path / "empty")
    web = Web(root, HistoryWriter(root))
    try:
        client = web.client()
        for endpoint in ENDPOINTS.values():
            if "{" not in endpoint.path and endpoint.name != "day":
                assert client.get(endpoint.path).status_code == 200, endpoint.path
    finally:
        web.close()


def test_a_config_with_problems_is_said_and_the_last_valid_one_is_shown(web: Web) -> None:
    client = web.client()
    (web.root / "pipelines_config.yml").write_text("pipelines: [")
    data = client.get("/api/overview").json()
    assert len(data["configs"]) == 2
    assert any("config has problems" in item["text"] for item in data["attention"])
