"""Installing, looking up and removing a service: systemd on Linux, launchd on macOS."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import TidegateError, UsageError
from tidegate.workspace.system_service.unit import ServiceUnit

_SECONDS = 90
_WITHOUT = (
    "run `tidegate up` from cron (`@reboot tidegate up /path/to/workspace`), from Docker"
    " (docs/service.md), or start it by hand"
)


@dataclass(frozen=True)
class ServiceState:
    """How a service stands."""

    name: str
    """The service's name."""
    installed: bool
    """Whether its file is there."""
    state: str
    """In the manager's own word: ``active``, ``inactive``, ``failed``, ``activating``, …"""
    at_boot: bool
    """Whether it starts at boot, without anybody signed in."""
    file: str
    """The file that describes it."""
    log_command: str
    """How to see what it prints."""


class Manager(ABC):
    """What starts services on this system."""

    folder: Path
    """The folder of the user's services."""

    @abstractmethod
    def file(self, unit: ServiceUnit) -> Path:
        """The file that describes the service."""

    @abstractmethod
    def text(self, unit: ServiceUnit) -> str:
        """What is in that file."""

    @abstractmethod
    def log_command(self, unit: ServiceUnit) -> str:
        """The command that shows what the service prints."""

    @abstractmethod
    def start(self, unit: ServiceUnit) -> list[str]:
        """Start the service now and at each boot; returns what a person still has to do."""

    @abstractmethod
    def stop(self, unit: ServiceUnit) -> None:
        """Stop the service, and do not start it at boot any more."""

    @abstractmethod
    def state(self, unit: ServiceUnit) -> ServiceState:
        """How the service stands."""

    def install(self, unit: ServiceUnit) -> list[str]:
        """Write the file and start the service; returns what a person still has to do.

        Raises:
            TidegateError: the file cannot be written, or the system refuses to start the service.
        """
        file, text = self.file(unit), self.text(unit)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name(f".{file.name}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(file)
        except OSError as error:
            raise TidegateError(
                f"cannot write {file}",
                why=error.strerror or str(error),
                next="make the folder writable, and install again",
            ) from error
        return self.start(unit)

    def remove(self, unit: ServiceUnit) -> bool:
        """Stop the service and delete its file; returns whether there was one.

        The workspace, its products and its ledger stay.
        """
        file = self.file(unit)
        if not file.exists():
            return False
        self.stop(unit)
        file.unlink(missing_ok=True)
        return True


class Systemd(Manager):
    """systemd's manager of the user's own services: no administrator is needed."""

    def __init__(self) -> None:
        config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        self.folder = Path(config) / "systemd" / "user"

    def file(self, unit: ServiceUnit) -> Path:
        return self.folder / f"{unit.name}.service"

    def text(self, unit: ServiceUnit) -> str:
        return unit.systemd()

    def log_command(self, unit: ServiceUnit) -> str:
        return f"journalctl --user -u {unit.name} -f"

    def start(self, unit: ServiceUnit) -> list[str]:
        _run("systemctl", "--user", "daemon-reload")
        _run("systemctl", "--user", "enable", f"{unit.name}.service")
        # `restart` starts it too, and takes over a file that has changed.
        _run("systemctl", "--user", "restart", f"{unit.name}.service")
        if self._lingers() or _succeeds("loginctl", "enable-linger", getpass.getuser()):
            return []
        user = getpass.getuser()
        text = "the service ends when you sign out, and does not start at boot; to change that,"
        return [f"{text} an administrator runs: loginctl enable-linger {user}"]

    def stop(self, unit: ServiceUnit) -> None:
        _run("systemctl", "--user", "disable", "--now", f"{unit.name}.service")
        self.file(unit).unlink(missing_ok=True)
        _run("systemctl", "--user", "daemon-reload")

    def state(self, unit: ServiceUnit) -> ServiceState:
        installed = self.file(unit).exists()
        word = "not installed"
        if installed:
            shown = _output("systemctl", "--user", "is-active", f"{unit.name}.service")
            word = shown.strip() or "unknown"
        return ServiceState(
            unit.name,
            installed,
            word,
            installed and self._lingers(),
            str(self.file(unit)),
            self.log_command(unit),
        )

    def _lingers(self) -> bool:
        shown = _output("loginctl", "show-user", getpass.getuser(), "--property=Linger")
        return shown.strip() == "Linger=yes"


class Launchd(Manager):
    """launchd's agents of the user, on macOS."""

    def __init__(self) -> None:
        self.folder = Path.home() / "Library" / "LaunchAgents"

    def file(self, unit: ServiceUnit) -> Path:
        return self.folder / f"{unit.name}.plist"

    def text(self, unit: ServiceUnit) -> str:
        return unit.launchd().decode()

    def log_command(self, unit: ServiceUnit) -> str:
        return f"tail -f {unit.log}"

    def start(self, unit: ServiceUnit) -> list[str]:
        domain = f"gui/{os.getuid()}"
        _succeeds("launchctl", "bootout", f"{domain}/{unit.name}")
        _run("launchctl", "bootstrap", domain, str(self.file(unit)))
        return ["macOS starts it when you sign in: turn on automatic sign-in to have it at boot"]

    def stop(self, unit: ServiceUnit) -> None:
        _succeeds("launchctl", "bootout", f"gui/{os.getuid()}/{unit.name}")

    def state(self, unit: ServiceUnit) -> ServiceState:
        installed = self.file(unit).exists()
        shown = _output("launchctl", "print", f"gui/{os.getuid()}/{unit.name}")
        lines = (line.strip() for line in shown.splitlines())
        word = next((line[8:] for line in lines if line.startswith("state = ")), "inactive")
        word = word if installed else "not installed"
        return ServiceState(
            unit.name, installed, word, False, str(self.file(unit)), self.log_command(unit)
        )


def manager_of_this_system() -> Manager:
    """The manager of services that this system has.

    Raises:
        UsageError: there is none that Tidegate knows, or it does not run.
    """
    if sys.platform == "darwin":
        return Launchd()
    if shutil.which("systemctl") is None:
        raise UsageError(
            "this system has no systemd", why="`systemctl` was not found", next=_WITHOUT
        )
    if not _succeeds("systemctl", "--user", "show-environment"):
        raise UsageError(
            "systemd does not run for this user",
            why="`systemctl --user` cannot reach it: as in a container, in WSL without systemd,"
            " or after `su` and `sudo`",
            next=f"sign in as that user itself (ssh, console); else {_WITHOUT}",
        )
    return Systemd()


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]} was not found")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {_SECONDS} s")


def _succeeds(*command: str) -> bool:
    return _call(*command).returncode == 0


def _output(*command: str) -> str:
    return _call(*command).stdout


def _run(*command: str) -> None:
    done = _call(*command)
    if done.returncode != 0:
        raise TidegateError(
            f"`{' '.join(command)}` failed",
            why=(done.stderr or done.stdout).strip() or f"exit code {done.returncode}",
            next="fix what it says, and run the command again",
        )
