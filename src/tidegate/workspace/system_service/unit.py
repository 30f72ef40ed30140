"""The files that describe a service: a systemd user unit and a launchd property list; pure.

Formats: ``man systemd.service``, ``man systemd.syntax`` and ``man launchd.plist``.
"""

from __future__ import annotations

import hashlib
import plistlib
import re
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 60
"""How long the service may take to stop: running jobs get 10 s, then products are published."""
RESTART_SECONDS = 30
"""The pause before a service that failed is started again."""


@dataclass(frozen=True)
class ServiceUnit:
    """What the operating system is to run for one workspace."""

    workspace: Path
    """The workspace, absolute."""
    command: tuple[str, ...]
    """The command and its arguments; the first is an absolute path."""
    log: Path
    """Where launchd writes what the service prints; systemd has its journal."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables of the service, such as the search path."""

    @property
    def name(self) -> str:
        """The service's name, one for each workspace: its folder's name and a hash of its path."""
        folder = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.workspace.name).strip("-.") or "workspace"
        digest = hashlib.sha256(str(self.workspace).encode()).hexdigest()[:8]
        return f"tidegate-{folder}-{digest}"

    def systemd(self) -> str:
        """The text of a systemd user unit."""
        lines = [
            "[Unit]",
            f"Description=Tidegate: Tsdat pipelines in {_escape_percent(str(self.workspace))}",
            "# Start again for as long as it takes: a full disk or a network drive comes back.",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            "Type=exec",
            f"WorkingDirectory={_escape_percent(str(self.workspace))}",
            *(f"Environment={_quote(f'{name}={value}')}" for name, value in self.environment),
            f"ExecStart={' '.join(_quote(part, dollar=True) for part in self.command)}",
            "Restart=on-failure",
            f"RestartSec={RESTART_SECONDS}",
            "# Tidegate ends its own worker processes.",
            "KillMode=mixed",
            f"TimeoutStopSec={STOP_SECONDS}",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
        return "\n".join(lines)

    def launchd(self) -> bytes:
        """The property list of a launchd agent."""
        return plistlib.dumps(
            {
                "Label": self.name,
                "ProgramArguments": list(self.command),
                "WorkingDirectory": str(self.workspace),
                "EnvironmentVariables": dict(self.environment),
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "ThrottleInterval": RESTART_SECONDS,
                "ExitTimeOut": STOP_SECONDS,
                "StandardOutPath": str(self.log),
                "StandardErrorPath": str(self.log),
            }
        )


def _escape_percent(text: str) -> str:
    """``%`` begins a specifier in a unit file."""
    return text.replace("%", "%%")


def _quote(text: str, *, dollar: bool = False) -> str:
    """A word in a unit file, in double quotes; ``$`` begins a variable in ExecStart only."""
    escaped = _escape_percent(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped.replace("$", "$$") if dollar else escaped}"'
