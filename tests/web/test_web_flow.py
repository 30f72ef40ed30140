"""The graph of inputs, configs and datastreams: where nodes are, and what leads to what."""

from __future__ import annotations

from itertools import pairwise

from web_dashboard import Web
from web_history import INGEST, STREAM, VAP, VAP_STREAM

from tidegate.web.flow_layout import NODE_HEIGHT, lay_out


def test_nodes_are_after_those_that_lead_to_them() -> None:
    edges = [("a", "b"), ("b", "d"), ("a", "d"), ("c", "d"), ("d", "e"), ("x", "y")]
    layout = lay_out("abcdexy", edges)
    for begin, end in edges:
        assert layout.places[begin].x < layout.places[end].x
    assert len(layout.lines) == len(edges)
    assert max(place.x for place in layout.places.values()) < layout.width


def test_no_node_covers_another() -> None:
    nodes = [f"{kind}{n}" for kind in "icd" for n in range(12)] + ["v", "out"]
    edges = [(f"{a}{n}", f"{b}{n}") for a, b in ("ic", "cd") for n in range(12)]
    edges += [(f"d{n}", "v") for n in (0, 5, 11)] + [("v", "out")]
    places = lay_out(nodes, edges).places.values()
    for column in {place.x for place in places}:
        heights = sorted(place.y for place in places if place.x == column)
        assert heights[0] >= 0
        assert all(b - a >= NODE_HEIGHT for a, b in pairwise(heights))


def test_circles_and_unknown_nodes() -> None:
    layout = lay_out(["a", "b"], [("a", "b"), ("b", "a"), ("a", "a"), ("a", "none")])
    assert len(layout.lines) == 3
    assert lay_out([], []).lines == ()


def test_the_page(web: Web) -> None:
    data = web.client().get("/api/flow").json()
    edges = [(edge["from"], edge["to"]) for edge in data["edges"]]
    assert edges == [
        ("input lidar/humboldt/", f"config {INGEST}"),
        (f"config {INGEST}", f"datastream {STREAM}"),
        (f"config {VAP}", f"datastream {VAP_STREAM}"),
        (f"datastream {STREAM}", f"config {VAP}"),
    ]
    details = {node["id"]: node["detail"] for node in data["nodes"]}
    assert details[f"config {INGEST}"] == "1 open failure"
    page = web.client().get("/flow").text
    assert page.count('class="node ') == len(data["nodes"])
