"""Places the nodes of a graph in columns, from left to right, without a library; pure.

Each node is in the column after those that lead to it. In a column, a node is as near as possible
to the height of those nodes, so that lines cross little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NODE_WIDTH, NODE_HEIGHT = 208, 44
_COLUMN, _ROW = 252, 58
_MARGIN = 6
_SWEEPS = 4


@dataclass(frozen=True)
class Place:
    """Where a node is, by its upper left corner."""

    x: int
    """From the left."""
    y: int
    """From the top."""


@dataclass(frozen=True)
class Line:
    """A line from one node to another."""

    begin: str
    """The node where it begins."""
    end: str
    """The node where it ends."""
    path: str
    """Its shape, for the attribute ``d`` of a path in SVG."""


@dataclass(frozen=True)
class Layout:
    """The whole graph."""

    width: int
    """How wide it is."""
    height: int
    """How high it is."""
    places: Mapping[str, Place]
    """Where each node is."""
    lines: tuple[Line, ...]
    """The lines between them."""


def lay_out(nodes: Sequence[str], edges: Iterable[tuple[str, str]]) -> Layout:
    """Where to draw nodes and lines; a line that closes a circle is drawn back to the left."""
    known = set(nodes)
    lines = [(a, b) for a, b in dict.fromkeys(edges) if a in known and b in known]
    columns = _columns(nodes, lines)
    by_column: dict[int, list[str]] = {}
    for node in nodes:
        by_column.setdefault(columns[node], []).append(node)
    rows = _rows([by_column[number] for number in sorted(by_column)], lines)
    places = {
        node: Place(_MARGIN + _COLUMN * columns[node], _MARGIN + round(_ROW * rows[node]))
        for node in nodes
    }
    width = max((place.x for place in places.values()), default=0) + NODE_WIDTH + _MARGIN
    height = max((place.y for place in places.values()), default=0) + NODE_HEIGHT + _MARGIN
    return Layout(
        width, height, places, tuple(Line(a, b, _path(places[a], places[b])) for a, b in lines)
    )


def _columns(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The number of nodes on the longest way that leads to each; circles are cut."""
    before: dict[str, list[str]] = {node: [] for node in nodes}
    for begin, end in edges:
        before[end].append(begin)
    found: dict[str, int] = {}

    def column(node: str, on_the_way: frozenset[str]) -> int:
        if node not in found:
            way = on_the_way | {node}
            earlier = [column(one, way) for one in before[node] if one not in way]
            found[node] = max(earlier, default=-1) + 1
        return found[node]

    for node in nodes:
        column(node, frozenset())
    return found


def _rows(columns: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The height of each node, in rows."""
    beside: dict[str, list[str]] = {node: [] for column in columns for node in column}
    for begin, end in edges:
        beside[begin].append(end)
        beside[end].append(begin)
    rows = {node: float(n) for column in columns for n, node in enumerate(column)}
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            wanted = {n: _mean([rows[one] for one in beside[n]], rows[n]) for n in column}
            _place(sorted(column, key=lambda node: (wanted[node], rows[node])), wanted, rows)
    least = min(rows.values(), default=0.0)
    return {node: row - least for node, row in rows.items()}


def _place(ordered: Sequence[str], wanted: Mapping[str, float], rows: dict[str, float]) -> None:
    """Put a column's nodes where they are wanted, at least one row apart, and centred."""
    last: float | None = None
    for node in ordered:
        rows[node] = wanted[node] if last is None else max(wanted[node], last + 1)
        last = rows[node]
    pushed = _mean([rows[node] - wanted[node] for node in ordered], 0.0)
    for node in ordered:
        rows[node] -= pushed


def _mean(values: Sequence[float], without: float) -> float:
    return sum(values) / len(values) if values else without


def _path(begin: Place, end: Place) -> str:
    """A curve from the right side of one node to the left side of another."""
    x1, y1 = begin.x + NODE_WIDTH, begin.y + NODE_HEIGHT // 2
    x2, y2 = end.x, end.y + NODE_HEIGHT // 2
    bend = max(30, abs(x2 - x1) // 2)
    return f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"
