"""Bind the ledger of this machine to its output folder; see ``runtime.binding``."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from tidegate.errors import LedgerError, StorageError
from tidegate.runtime.binding import STATE, Judgement, explain, judge, sample
from tidegate.runtime.protocols import Ledger

MARK = ".tidegate"
"""The file in the output folder with the id."""

Say = Callable[[str], None]


def describe_folder(ledger: Ledger, output: Path) -> Judgement:
    """How the ledger and an output folder belong together.

    Raises:
        StorageError: the folder cannot be read.
    """
    products = list(sample(ledger))
    now = ledger.products_at(product.key for product in products)
    present = any((output / key).exists() for key in now)
    ledger_id = ledger.state(STATE) or ""
    return judge(ledger_id, _read(output), recorded=bool(now), present=present)


def bind_folder(ledger: Ledger, output: Path) -> None:
    """Write the same id into the ledger and the output folder."""
    id = ledger.state(STATE) or secrets.token_hex(8)
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / MARK).write_text(
            f"{id}\nThe id of the ledger that describes this folder; keep this file.\n"
        )
    except OSError as error:
        raise StorageError(
            f"cannot write to {output}",
            why=error.strerror or str(error),
            next="make the folder writable",
        ) from error
    ledger.set_state(STATE, id)


def check_folder(ledger: Ledger, output: Path, say: Say) -> None:
    """Check before a service writes to the folder; bind them if they are new to each other.

    Raises:
        LedgerError: the products on record are not in this folder, which is another one.
        StorageError: the folder cannot be used.
    """
    judgement = describe_folder(ledger, output)
    if judgement == "other outputs":
        raise LedgerError(
            explain(judgement, str(output)),
            why="it may be a folder of another name, or a disk that is not mounted",
            next="put the old folder back; or, if its products are to be made again, run "
            "`tidegate verify --repair`",
        )
    if text := explain(judgement, str(output)):
        say(text)
    if judgement != "bound":
        try:
            bind_folder(ledger, output)
        except StorageError as error:  # runs will say so too, and are tried again
            say(str(error))


def _read(output: Path) -> str:
    try:
        return (output / MARK).read_text().split("\n", 1)[0].strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise StorageError(
            f"cannot read {output / MARK}", why=str(error), next="make it readable, or delete it"
        ) from error
