"""Numbers in messages."""

from __future__ import annotations


def quantity(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: ``1 run``, ``2 runs``, ``1,250 runs``.

    ``plural`` is needed only where it is not ``singular`` with an s.
    """
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number:,} {noun}"
