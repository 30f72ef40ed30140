"""What became of the tests: plain records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tidegate.quality.comparison import Comparison
from tidegate.testing.cases import Case, Suite

State = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class ProductResult:
    """One product against one expected file."""

    expected: Path
    """The expected file, there or not."""
    made: Path | None = None
    """The product that was made; None where none was."""
    comparison: Comparison | None = None
    """How they differ; None where one of them is not there."""

    @property
    def equal(self) -> bool:
        """Whether both are there and do not differ."""
        return self.comparison is not None and self.comparison.equal

    @property
    def problem(self) -> str:
        """What is wrong if one of the two is not there."""
        if self.made is None:
            return "no product was made for it"
        return "" if self.comparison is not None else "there is no expected file"


@dataclass(frozen=True)
class CaseResult:
    """What became of one test."""

    case: Case
    """The test."""
    state: State
    """How it went."""
    why: str = ""
    """Why it failed or was skipped, where it is not in ``products``."""
    where: str = ""
    """``file:line`` in the repository's own code, where there is one."""
    next: str = ""
    """What to do about it."""
    products: tuple[ProductResult, ...] = ()
    """Each product that was compared."""
    warnings: tuple[str, ...] = ()
    """What a person should know although it passed."""
    seconds: float = 0.0
    """How long it took."""
    log: tuple[str, ...] = ()
    """The lines of the run's log."""


@dataclass(frozen=True)
class Summary:
    """All results."""

    results: tuple[CaseResult, ...]
    """By test, in the order of the pipelines."""
    without: tuple[Suite, ...] = ()
    """Pipelines that have no test."""

    def count(self, state: State) -> int:
        """How many tests ended so."""
        return sum(result.state == state for result in self.results)

    @property
    def ok(self) -> bool:
        """Whether at least one test ran, and none failed."""
        return self.count("passed") > 0 and self.count("failed") == 0


def changes(results: Sequence[CaseResult]) -> list[tuple[Path, Path | None]]:
    """Which expected files an update writes, and from which product; from None: it is removed."""
    found: dict[Path, Path | None] = {}
    for result in results:
        for product in result.products:
            if product.equal:
                continue
            if product.made is not None:
                found[product.expected] = product.made
            elif result.case.config is None:  # no test makes it any more
                found.setdefault(product.expected, None)
    return list(found.items())
