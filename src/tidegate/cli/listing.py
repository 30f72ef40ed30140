"""Lists for a terminal: aligned columns below headings, each row on one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

_GAP = "  "
_INDENT = 9
_LEAST = 12


@dataclass(frozen=True)
class Row:
    """One row. Cells, heading and the lines below are Rich markup; ``last`` is plain text."""

    cells: tuple[str, ...]
    """The first columns; they are never shortened."""
    last: str
    """The last column: where there is no room for it, its beginning is left out."""
    heading: str = ""
    """Printed once, above the rows that have it in common."""
    below: tuple[str, ...] = ()
    """Lines below the row."""


def print_list(console: Console, rows: Sequence[Row]) -> None:
    """Print rows; those of one heading stand together already."""
    texts = [[Text.from_markup(cell) for cell in row.cells] for row in rows]
    columns = range(max((len(row.cells) for row in rows), default=0))
    widths = [max(cell_len(cells[i].plain) for cells in texts) for i in columns]
    room = console.width - sum(widths) - len(_GAP) * len(widths)
    heading = ""
    for row, cells in zip(rows, texts, strict=True):
        if row.heading != heading:
            heading = row.heading
            console.print(f"[bold]{heading}[/]")
        line = Text()
        for cell, width in zip(cells, widths, strict=True):
            line.append_text(cell).append(" " * (width - cell_len(cell.plain)) + _GAP)
        line.append(shorten_start(row.last, max(room, _LEAST)))
        console.print(line, soft_wrap=True)
        for text in row.below:
            console.print(Padding(Text.from_markup(text), (0, 0, 0, _INDENT)))


def shorten_start(text: str, width: int) -> str:
    """The text, or its end after an ellipsis: names of files differ at their end."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return "…" + text
