"""The service of a workspace, which takes over changes of the code and config by itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tidegate.errors import TidegateError
from tidegate.runtime.runs import Run
from tidegate.targets.local.service import Service
from tidegate.workspace.loading import LoadedWorkspace, Say

_EVERY = 0.5


@dataclass
class WorkspaceService:
    """A ``Service``, and the next one on new code after each change.

    A worker never mixes code from before and after a change: running runs end first, and a run
    during which its own code changed is run again.
    """

    loaded: LoadedWorkspace
    """The workspace, as it was read last."""
    make: Callable[[LoadedWorkspace], Service]
    """Makes its service."""
    say: Say
    """Called with what was taken over."""
    taken_over: Callable[[LoadedWorkspace], None] = lambda loaded: None
    """Called with the workspace when it has been read again."""
    tally: Counter[str] = field(default_factory=Counter)
    """How many attempts ended in each state, since the start."""

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._service = self.make(self.loaded)

    def up(self) -> None:
        """See ``Service.up``."""
        self._serve(Service.up)

    def once(self) -> None:
        """See ``Service.once``."""
        self._serve(Service.once)

    def carry_out(self, runs: Iterable[Run]) -> None:
        """See ``Service.carry_out``."""
        left = list(runs)

        def carry_out(service: Service) -> None:
            nonlocal left
            service.carry_out(left)
            left = [run for run in left if run.key in service.left]

        self._serve(carry_out)

    def carry_out_job(self, id: str) -> None:
        """See ``Service.carry_out_job``."""
        self._serve(lambda service: service.carry_out_job(id))

    def stop(self) -> None:
        """See ``Service.stop``."""
        self._stopped.set()
        self._service.stop()

    def _serve(self, work: Callable[[Service], None]) -> None:
        while True:
            try:
                work(self._service)
            finally:
                self.tally += self._service.tally
            if not self._service.code_change or self._stopped.is_set():
                return
            if not self._take_over(self._service.code_change):
                return

    def _take_over(self, what: str) -> bool:
        """Read everything again; False if the service was stopped before that was possible."""
        before = self.loaded
        while True:
            watch = before.watch()  # from before reading, so that no change is missed
            try:
                self.loaded = before.again(self.say)
                break
            except TidegateError as error:
                self.say(
                    f"{what} changed, and cannot be used: {error}\n"
                    "No runs are started until this is corrected."
                )
            while not (found := watch.settled()):
                if self._stopped.wait(_EVERY):
                    return False
            what = found
        self.taken_over(self.loaded)
        self._service = self.make(self.loaded)
        if self._stopped.is_set():  # it may have been meant for the service before
            return False
        self.say(f"{what} changed: {difference(before, self.loaded)}")
        return True


def difference(before: LoadedWorkspace, now: LoadedWorkspace) -> str:
    """What a workspace runs with from now on, in a few words."""
    old, new = before.manifest, now.manifest
    releases = [
        f"{config.id} has release {new.release(config)}"
        for config in new.configs
        if config not in old.configs or old.release(config) != new.release(config)
    ]
    gone = [c.id for c in old.configs if all(c.id != other.id for other in new.configs)]
    parts = [*releases, *(f"{id} is no longer in the config" for id in gone)]
    shown = ", ".join(parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")
    return f"taken over; {shown}" if parts else "nothing that pipelines run with is different"
