"""Which attributes of a product CF and ACDD ask for and it does not have.

The checks are those of ``compliance-checker`` (the extra ``tidegate[try]``), run in a process of
their own without a network: it would fetch newer tables of names, and the answer would depend on
the day.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from tidegate.quality.content import Content

Priority = Literal["high", "medium", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "medium", "low")

_PROCESS = "tidegate.testing.compliance_process"
_SECONDS = 120
_UNKNOWN = "attributes for CF and ACDD could not be checked"
_PER_VARIABLE = re.compile(r'variable "(?P<name>[^"]+)" missing the following attributes')
_CF = re.compile(r"CF-1\.(\d+)")


@dataclass(frozen=True)
class Finding:
    """One thing that a standard asks for."""

    standard: str
    """``CF`` or ``ACDD``, with its version."""
    priority: Priority
    """How much the standard insists."""
    what: str
    """The attribute that is missing or wrong, in a few words."""
    variables: tuple[str, ...] = ()
    """The variables that lack it; none for a global attribute."""


@dataclass(frozen=True)
class Compliance:
    """What the standards say of one product."""

    findings: tuple[Finding, ...] = ()
    """What is missing or wrong, the most important first."""
    unknown: str = ""
    """Why it could not be checked."""


class ComplianceChecker:
    """Checks products, one after the other; can be stopped from another thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.stopped = False
        """Whether it was stopped: then what ``check`` says means nothing."""

    def check(self, product: Path, content: Content) -> Compliance:
        """Check a netCDF file; ``content`` says its variables, and which CF it says it follows."""
        if find_spec("compliance_checker") is None:
            return Compliance(
                unknown="attributes for CF and ACDD were not checked: that needs tidegate[try]"
            )
        match = _CF.search(content.attributes.get("Conventions", ""))
        command = [sys.executable, "-m", _PROCESS, str(product), match[1] if match else ""]
        try:
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as self._process:
                try:
                    if self.stopped:
                        self._process.kill()
                    out, errors = self._process.communicate(timeout=_SECONDS)
                except BaseException:
                    self._process.kill()
                    raise
        except (OSError, subprocess.TimeoutExpired) as error:
            return Compliance(unknown=f"{_UNKNOWN}: {error}")
        try:
            found = json.loads(out)
        except ValueError:
            last = errors.strip().splitlines()[-1:] or [f"exit code {self._process.returncode}"]
            return Compliance(unknown=f"{_UNKNOWN}: {last[0]}")
        return Compliance(tuple(read_findings(found, [one.name for one in content.variables])))

    def stop(self) -> None:
        """End the check that goes on, and let none follow."""
        self.stopped = True
        process = self._process
        if process is not None:
            process.kill()


def read_findings(found: Mapping[str, Any], variables: Sequence[str]) -> Iterator[Finding]:
    """The checker's own JSON as findings; what it says of several variables is one finding."""
    names = sorted(variables, key=len, reverse=True)
    known = re.compile(rf"\b(qc_)?({'|'.join(map(re.escape, names))})\b" if names else "$^")
    for priority in PRIORITIES:
        for checker, result in found.items():
            merged: dict[str, list[str]] = {}
            for check in result.get(f"{priority}_priorities", ()):
                about = _PER_VARIABLE.match(str(check.get("name", "")))
                for message in check.get("msgs", ()):
                    what, variable = _without_variable(str(message), known)
                    named = about["name"] if about else variable
                    merged.setdefault(what, []).extend([named] if named else [])
            for what, listed in merged.items():
                yield Finding(_standard(checker), priority, what, tuple(dict.fromkeys(listed)))


def _standard(checker: str) -> str:
    """``CF 1.8`` for ``cf:1.8``; ACDD is always checked in the one version that there is."""
    name, _, version = checker.partition(":")
    return f"{name.upper()} {version or '1.3'}"


def _without_variable(message: str, known: re.Pattern[str]) -> tuple[str, str]:
    """A message with "the variable" in place of a variable's name, and that name."""
    message = re.sub(r"\(?(?:type: )?<class 'numpy\.(\w+)'>\)?", r"(\1)", message)
    match = known.search(message)
    if match is None or message.startswith("variable "):
        return message, ""
    name = re.escape(match[0])
    about = rf"(?:[Tt]he )?(?:variable )?(?:'{name}'|\b{name}\b)"
    return re.sub(about, "the variable", message, count=1), match[0]
