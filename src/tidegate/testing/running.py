"""``tidegate test``: carry out the tests of pipelines, several at once, and compare."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tidegate.errors import TidegateError
from tidegate.quality.comparison import Rules
from tidegate.runtime.manifest import Config, Pipeline
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.records import to_json
from tidegate.runtime.runs import Failure, Run
from tidegate.testing.cases import Case, Suite
from tidegate.testing.pipelines import Pipelines
from tidegate.testing.pytest_run import run_with_pytest
from tidegate.testing.results import CaseResult, ProductResult
from tidegate.testing.samples import SampleInputs, SampleProducts, product_key
from tidegate.testing.trial import Trial, TrialProduct, try_run
from tidegate.testing.trying import compare

_UPDATE = "look at the differences; if the new products are right: tidegate test --update"


class Runner:
    """Carries out tests, each in a copy of a process that has Tsdat imported."""

    def __init__(self, pipelines: Pipelines, folder: Path, workers: int) -> None:
        self._pipelines = pipelines
        self._folder = folder
        self._count = workers
        self._workers: list[WorkerProcess] = []
        self._own = threading.local()
        self._stopped = False

    def run(self, suites: Sequence[Suite]) -> Iterator[CaseResult]:
        """The results, in the order of the tests, each as soon as it is known."""
        cases = [case for suite in suites for case in suite.cases]
        with self._pool(min(self._count, max(1, len(cases)))) as pool:
            futures = [
                pool.submit(self._run, case, self._folder / str(number))
                for number, case in enumerate(cases)
            ]
            results = zip(cases, futures)
            for suite in suites:
                found = [next(results)[1] for _ in suite.cases]
                done: list[CaseResult] = []
                for future in found:
                    done.append(future.result())
                    yield done[-1]
                yield from _never_made(suite, done)

    @contextmanager
    def _pool(self, size: int) -> Iterator[ThreadPoolExecutor]:
        pool = ThreadPoolExecutor(size)
        try:
            yield pool
        except BaseException:
            self.stop()
            raise
        finally:
            # A worker ends with the thread that started it.
            pool.shutdown(wait=True, cancel_futures=True)
            for worker in self._workers:
                worker.kill()

    def stop(self) -> None:
        """End what runs; from any thread."""
        self._stopped = True
        for worker in list(self._workers):
            worker.interrupt()

    def _worker(self) -> WorkerProcess:
        """This thread's own."""
        worker = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._own.worker = self._pipelines.worker()
            self._workers.append(worker)
        assert isinstance(worker, WorkerProcess)
        return worker

    def _run(self, case: Case, place: Path) -> CaseResult:
        if self._stopped:
            return CaseResult(case, "skipped", "stopped")
        began = time.monotonic()
        try:
            worker = self._worker()
            worker.start()
            began = time.monotonic()  # Tsdat's own import is not the test's
            result = run_case(self._pipelines, worker, case, place)
        except TidegateError as error:
            result = failed(case, error)
        return replace(result, seconds=round(time.monotonic() - began, 3))


def run_case(pipelines: Pipelines, worker: WorkerProcess, case: Case, place: Path) -> CaseResult:
    """Carry out one test; its products are left below ``place``.

    Raises:
        TidegateError: it cannot be carried out.
    """
    if case.problem is not None:
        return failed(case, case.problem)
    if case.skipped:
        return CaseResult(case, "skipped", case.skipped)
    if case.python is not None:
        return run_with_pytest(pipelines, case, case.python, place)
    trial, _ = _try(pipelines, worker, case, place)
    failure = trial.record.failure
    if failure is not None:
        return CaseResult(
            case, "failed", failure.message, failure.where, failure.next, log=trial.log
        )
    products = tuple(_compare_all(worker, case, trial))
    result = CaseResult(
        case, "passed", products=products, warnings=trial.record.warnings, log=trial.log
    )
    if trial.record.plots_failed:
        return replace(result, state="failed", why=f"plots failed: {trial.record.plots_failed}")
    if not trial.products:
        return replace(result, state="failed", why="it made no product")
    if not all(product.equal for product in products):
        return replace(result, state="failed", next=_UPDATE)
    if not products and case.folder is not None:
        return replace(result, state="failed", why="nothing was compared", next=_UPDATE)
    return result


def failed(case: Case, error: TidegateError) -> CaseResult:
    """A test that could not be carried out."""
    why = f"{error.what}: {error.why}" if error.why else error.what
    return CaseResult(case, "failed", why, error.where, error.next)


def _try(
    pipelines: Pipelines, worker: WorkerProcess, case: Case, place: Path
) -> tuple[Trial, dict[str, Path]]:
    """Carry out a test's run, and before it what it needs; all products that there are then."""
    config = case.config
    assert config is not None
    files: dict[str, Path] = {}
    for number, other in enumerate(case.before):
        trial, made = _try(pipelines, worker, other, place / f"before-{number}")
        if trial.record.failure is not None:
            raise _needed(other, trial.record.failure)
        files.update(made)
    if case.samples:
        pipeline = _described(worker, config)
        files.update((product_key(worker, pipeline, path), path) for path in case.samples)
    inputs, source = SampleInputs(pipelines.repository), SampleProducts(files)
    run = Run(
        config.id,
        inputs=tuple(inputs.input(path) for path in case.inputs),
        window=case.window,
        products=source.refs() if case.window else (),
        arguments=case.arguments,
    )
    trial = try_run(worker, config, run, inputs, place, source)
    shutil.rmtree(place / "work", ignore_errors=True)
    return trial, {**files, **{one.product.key: one.file for one in trial.products}}


def _needed(case: Case, failure: Failure) -> TidegateError:
    return TidegateError(
        f"{case.name}, which makes its inputs, failed",
        why=failure.message,
        where=failure.where,
        next=failure.next,
    )


def _described(worker: WorkerProcess, config: Config) -> Pipeline:
    answer = worker.describe(config.config_file)
    if not isinstance(answer, Pipeline):
        raise answer
    return answer


# --- comparing -----------------------------------------------------------------------------------


def _compare_all(worker: WorkerProcess, case: Case, trial: Trial) -> Iterator[ProductResult]:
    for expected, rules in case.expected:
        yield _compare(worker, _made_for(expected, trial), expected, rules)
    if case.folder is None:
        return
    for product in trial.products:
        expected = _expected_for(product, case.folder)
        if product.product.kind == "data" or expected.exists():
            yield _compare(worker, product, expected, case.rules)


def _compare(
    worker: WorkerProcess, product: TrialProduct | None, expected: Path, rules: Rules
) -> ProductResult:
    if product is None:
        return ProductResult(expected)
    if not expected.exists():
        return ProductResult(expected, product.file)
    found = compare(worker, product.file, expected, to_json(rules))
    return ProductResult(expected, product.file, found)


def _made_for(expected: Path, trial: Trial) -> TrialProduct | None:
    """The product of the expected file's name, or the only one: tests may name it otherwise."""
    data = [product for product in trial.products if product.product.kind == "data"]
    named = [product for product in trial.products if product.name == expected.name]
    return next(iter(named or (data if len(data) == 1 else [])), None)


def _expected_for(product: TrialProduct, folder: Path) -> Path:
    """The file of the product's name below the folder; where it belongs if there is none."""
    found = sorted(folder.rglob(product.name)) if folder.is_dir() else []
    return found[0] if found else folder / product.name


def _never_made(suite: Suite, results: Sequence[CaseResult]) -> Iterator[CaseResult]:
    """Expected files that no test of the pipeline makes: success must mean that all were."""
    folders = {result.case.folder for result in results if result.case.folder is not None}
    if any(result.state == "failed" and not result.products for result in results):
        return  # a run that failed would have made some
    seen = {product.expected for result in results for product in result.products}
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and path not in seen and not path.name.startswith("."):
                case = Case(suite.pipeline, path.name, f"{suite.folder}/test/data/expected")
                yield CaseResult(case, "failed", products=(ProductResult(path),), next=_UPDATE)
