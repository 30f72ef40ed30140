"""Every failure that a person can see: what happened, why, what to do next, and an exit code.

Standard library only: the runtime raises these beside Tsdat, the command line prints them.
"""

from __future__ import annotations


class TidegateError(Exception):
    """A failure with a message that is meant for a person.

    ``what`` happened, ``why``, and what to do ``next``; ``where`` is ``file`` or ``file:line``.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", next: str = "", where: str = "") -> None:
        self.what = what
        self.why = why
        self.next = next
        self.where = where
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return "\n".join(part for part in (head, self.why, self.next) if part)


class UsageError(TidegateError):
    """The command was given something that it cannot work with."""

    exit_code = 2


class ConfigurationError(TidegateError):
    """A config, of Tidegate's or of Tsdat's, that cannot be used as it is."""

    exit_code = 2


class PythonEnvironmentError(TidegateError):
    """The pipelines' Python environment is missing, broken or cannot be made."""

    exit_code = 3


class WorkspaceBusy(TidegateError):
    """Another service already runs in this workspace."""

    exit_code = 4


class LedgerError(TidegateError):
    """The ledger cannot be read or written."""

    exit_code = 5


class ClusterError(TidegateError):
    """The Dask cluster cannot be reached, or no worker of it can carry out runs."""

    exit_code = 6


class StorageError(TidegateError):
    """Products cannot be written, or inputs cannot be read, for a reason outside the data."""


class InputChanged(TidegateError):
    """An input was replaced or removed between its arrival and its staging."""


class ProductError(TidegateError):
    """A pipeline saved a product under a name that leads out of its storage, or saved no file."""


class WorkerLost(TidegateError):
    """The process that carried out a run died."""


class NodeLost(WorkerLost):
    """The machine that carried out a run, or its connection, went away: not the run's fault."""


class RunTimeout(TidegateError):
    """A run went on for longer than its config's ``timeout``."""


class RunOutOfMemory(TidegateError):
    """A run used more memory than its config's ``memory``."""
