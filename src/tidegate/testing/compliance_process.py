"""Run compliance-checker offline: ``python -m tidegate.testing.compliance_process FILE VERSION``.

Prints its findings as one JSON document. ``VERSION`` is such as ``8`` for CF-1.8; the newest
version that the library knows is taken for any other text.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

_ACDD = "acdd:1.3"


def main() -> int:
    """Check the file that the command line names."""
    file, version = sys.argv[1:3]
    _refuse_network()
    warnings.simplefilter("ignore")
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    CheckSuite.load_all_available_checkers()
    known = [name for name in CheckSuite.checkers if name.startswith("cf:1.")]
    newest = max(known, key=lambda name: int(name.rpartition(".")[2]))
    checkers = [f"cf:1.{version}" if f"cf:1.{version}" in known else newest, _ACDD]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        out = Path(folder) / "findings.json"
        ComplianceChecker.run_checker(
            file, checkers, 0, "lenient", output_filename=str(out), output_format="json"
        )
        findings = json.loads(out.read_text())
    print(json.dumps(findings))
    return 0


def _refuse_network() -> None:
    """The library would fetch newer tables of names; then the answer depends on the day."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("the network is not used for this")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.create_connection = refuse
    socket.getaddrinfo = refuse


if __name__ == "__main__":
    sys.exit(main())
