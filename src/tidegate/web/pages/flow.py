"""The way of the data: which inputs feed which config, and which datastreams it makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from tidegate.runtime.manifest import Config
from tidegate.runtime.records import to_json
from tidegate.runtime.wording import quantity
from tidegate.web.endpoints import Endpoint, Page, Parameters
from tidegate.web.flow_layout import NODE_HEIGHT, NODE_WIDTH, lay_out
from tidegate.web.site import Site
from tidegate.web.texts import outcome_mark
from tidegate.workspace.overview import ConfigState

_KEPT = 60.0
_READ = 50
"""Products of a VAP's latest run that are looked at, to find out which datastreams it reads."""
_LONGEST = 25
"""Characters in one line of a node."""


@dataclass(frozen=True)
class Node:
    """A part of the graph."""

    id: str
    """Its name in the graph; different for a config and a datastream of the same name."""
    kind: str
    """input, config, or datastream."""
    name: str
    """What it is called."""
    detail: str
    """A few words about how it is doing."""
    look: str = ""
    """The class of its state: good, warn, bad, busy, old; "" for an input."""
    sign: str = ""
    """The sign of its state."""

    @property
    def short(self) -> str:
        """Its name in the picture: of a long one, its begin and its end."""
        half = _LONGEST // 2
        return (
            self.name if len(self.name) <= _LONGEST else f"{self.name[:half]}…{self.name[-half:]}"
        )


@dataclass(frozen=True)
class Step:
    """A config with what leads to it and what it makes."""

    state: ConfigState
    """How it is doing."""
    reads: tuple[str, ...]
    """The datastreams that a VAP reads."""
    makes: tuple[str, ...]
    """The datastreams of its latest products."""


def flow(site: Site, parameters: Parameters) -> Page:
    """The graph of all configs."""
    states = site.states()
    reads = site.kept("inputs of VAPs", _KEPT, lambda: read_datastreams(site, states))
    steps = [Step(state, reads.get(state.config.id, ()), _made_by(state)) for state in states]
    nodes, edges = graph(steps)
    layout = lay_out([node.id for node in nodes], edges)
    return Page(
        "flow.html",
        "Data flow",
        {
            "steps": steps,
            "nodes": nodes,
            "layout": layout,
            "node_width": NODE_WIDTH,
            "node_height": NODE_HEIGHT,
            "source": source,
        },
        {
            "nodes": [
                {"id": n.id, "kind": n.kind, "name": n.name, "detail": n.detail} for n in nodes
            ],
            "edges": [{"from": begin, "to": end} for begin, end in edges],
            "configs": [
                {
                    "config": step.state.config.id,
                    "reads": list(step.reads),
                    "makes": list(step.makes),
                    "newest_data": to_json(step.state.newest_data),
                }
                for step in steps
            ],
        },
        refresh=10.0,
    )


def read_datastreams(site: Site, states: Iterable[ConfigState]) -> dict[str, tuple[str, ...]]:
    """The datastreams that each VAP reads: as Tsdat says, or as its latest run has read."""
    return {
        state.config.id: _read_by(site, state.config)
        for state in states
        if state.config.kind == "VAP"
    }


def _read_by(site: Site, config: Config) -> tuple[str, ...]:
    if config.tsdat is not None and config.tsdat.datastreams:
        return config.tsdat.datastreams
    latest = site.ledger.records(config=config.id, states=("succeeded", "failed"), limit=5)
    record = next((one for one in latest if one.run.products), None)
    if record is None:
        return ()
    keys = [ref.key for ref in islice(record.run.products, _READ)]
    found = site.ledger.products_at(keys).values()
    return tuple(sorted({product.datastream for product in found if product.datastream}))


def _made_by(state: ConfigState) -> tuple[str, ...]:
    return tuple(end.name for end in state.last_products.streams) if state.last_products else ()


def source(config: Config) -> str:
    """Where the data of a config come from, if not from datastreams."""
    if config.input_path:
        return config.input_path
    if config.kind == "Ingest":
        return ", ".join(config.inputs) or f"schedule {config.schedule}"
    return ""


def graph(steps: Sequence[Step]) -> tuple[list[Node], list[tuple[str, str]]]:
    """The nodes and edges; pure."""
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []

    def add(node: Node) -> str:
        return nodes.setdefault(node.id, node).id

    made = {name for step in steps for name in step.makes}
    for step in steps:
        config = _config_node(step.state)
        if text := source(step.state.config):
            edges.append((add(Node(f"input {text}", "input", text, "raw files")), config.id))
        edges += [
            (add(Node(f"datastream {name}", "datastream", name, "made elsewhere")), config.id)
            for name in step.reads
            if name not in made
        ]
        add(config)
        for end in step.state.last_products.streams if step.state.last_products else ():
            newest = f"data until {end.newest:%Y-%m-%d %H:%M}" if end.newest else "no times"
            node = Node(f"datastream {end.name}", "datastream", end.name, newest)
            edges.append((config.id, add(node)))
    edges += [
        (f"datastream {name}", f"config {step.state.config.id}")
        for step in steps
        for name in step.reads
        if name in made
    ]
    return list(nodes.values()), edges


def _config_node(state: ConfigState) -> Node:
    id, details = state.config.id, []
    outcome = state.last_run.outcome if state.last_run else "no runs yet"
    sign, look = outcome_mark(outcome) if state.last_run else ("", "old")
    if state.failures:
        count = f"{len(state.failures)}{'+' if state.more_failures else ''}"
        details.append(f"{count} open {'failure' if count == '1' else 'failures'}")
        sign, look = "✕", "bad"
    elif state.stale:
        details.append("stale")
        sign, look = "▲", "warn"
    else:
        details.append(outcome)
    if state.running:
        details.append(f"{state.running} running")
    if state.waiting:
        details.append(quantity(state.waiting, "waiting run"))
    return Node(f"config {id}", "config", id, ", ".join(details), look, sign)


ENDPOINTS = (
    Endpoint(
        "flow",
        "/flow",
        "Which inputs feed which config, which datastreams it makes, and which VAPs read these.",
        flow,
        heading="Data flow",
    ),
)
