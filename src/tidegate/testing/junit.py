"""The results as JUnit XML, which CI services show."""

from __future__ import annotations

from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from tidegate.errors import StorageError
from tidegate.testing.results import CaseResult, Summary


def write_junit(path: Path, summary: Summary, text: dict[int, str]) -> None:
    """Write the file; ``text`` says by the result's number what is wrong, for a person.

    Raises:
        StorageError: it cannot be written.
    """
    xml = JUnitXml("tidegate test")
    suites: dict[str, TestSuite] = {}
    for number, result in enumerate(summary.results):
        name = result.case.pipeline
        suite = suites.setdefault(name, TestSuite(name))
        suite.add_testcase(_case(result, text.get(number, "")))
    for without in summary.without:
        suite = suites.setdefault(without.pipeline, TestSuite(without.pipeline))
        case = TestCase("no test", without.pipeline)
        case.result = [Skipped("the pipeline has no test")]
        suite.add_testcase(case)
    for suite in suites.values():
        xml.add_testsuite(suite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        xml.write(str(path), pretty=True)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}", why=error.strerror or str(error), next="name another file"
        ) from error


def _case(result: CaseResult, text: str) -> TestCase:
    case = TestCase(result.case.name, result.case.pipeline, result.seconds)
    first = result.why.splitlines()[0] if result.why else ""
    if result.state == "skipped":
        case.result = [Skipped(first)]
    elif result.state == "failed":
        kind = Failure if result.products else Error
        found = kind(first or "the products are not as expected")
        found.text = text
        case.result = [found]
    return case
