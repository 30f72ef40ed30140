"""Reprocessing where there are no jobs: which runs to request, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial

from tidegate.errors import UsageError
from tidegate.runtime.jobs import stages_of
from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Run
from tidegate.runtime.scope import Scope
from tidegate.workspace import rerun
from tidegate.workspace.jobs import JobRequest
from tidegate.workspace.session import Session
from tidegate.workspace.verification import lost_runs


@dataclass(frozen=True)
class Stage:
    """Configs that are run together: none of them reads what another one makes."""

    runs: tuple[Run, ...]
    """Their runs."""
    counts: dict[str, int]
    """How many these are, for each config."""
    searched: tuple[str, ...] = ()
    """Configs of which the function was asked to find the runs itself, and to carry them out."""


class StageRequests:
    """The runs that a request asks for, by stages: ingests, then the VAPs that read them."""

    def __init__(self, session: Session, request: JobRequest, *, wait: bool) -> None:
        """``wait``: whether the end of a stage is waited for.

        Raises:
            UsageError: what is asked for needs a job, or somebody who waits.
        """
        if request.limit is not None:
            raise UsageError(
                "--limit works on this machine only",
                next="on AWS, `concurrency` of the config limits how many runs go on at once",
            )
        self._session = session
        self._request = request
        self.wait = wait
        with session.ledger() as ledger:
            self.stages, _ = stages_of(
                session.manifest, ledger, request.configs, with_vaps=request.with_vaps
            )
        if len(self.stages) > 1 and not wait:
            later = ", ".join(id for ids in self.stages[1:] for id in ids)
            raise UsageError(
                f"{later}: these VAPs are run after the ingests that they read, so the command has"
                " to wait",
                next="leave out `--wait 0`, or reprocess the VAPs when the ingests have ended",
            )

    def all(self, *, ask_functions: bool = False) -> list[Stage]:
        """All stages, by what is on record now; for ``ask_functions`` see ``choose``."""
        return [self.choose(n, ask_functions=ask_functions) for n in range(len(self.stages))]

    def choose(self, number: int, *, ask_functions: bool = False) -> Stage:
        """The runs of a stage, by what is on record now.

        ``ask_functions``: for files without products, a function may search itself; nobody can wait
        for the end of that, so it is only done for a single stage.
        """
        runs: list[Run] = []
        counts: dict[str, int] = {}
        searched: list[str] = []
        for id in self.stages[number]:
            config = self._session.manifest.config(id)
            if ask_functions and len(self.stages) == 1 and self._is_searched(config):
                searched.append(id)
                continue
            found = self._runs(config, later=number > 0)
            runs += found
            counts[id] = len(found)
        return Stage(tuple(runs), counts, tuple(searched))

    def _is_searched(self, config: Config) -> bool:
        request = self._request
        return request.only == "missing" and self._session.request_missing(
            config, request.begin, request.end
        )

    def _runs(self, config: Config, *, later: bool) -> Sequence[Run]:
        session, request = self._session, self._request
        scope = Scope(
            config,
            request.begin,
            request.end,
            request.only,
            inputs_changed=later and config.kind == "VAP",
        )
        with session.ledger() as ledger:
            if scope.only == "missing":
                with session.product_files(exclusive=False) as store:
                    lost = lost_runs(ledger.products(config=config.id), store)
                scope = replace(scope, lost=lost)
            release, now = session.manifest.release(config), datetime.now(timezone.utc)
            files = partial(session.raw_files, config)
            return rerun.to_reprocess(scope, ledger, release, files, now)
