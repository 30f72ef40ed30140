"""Failures of packages that do not fit each other are not the data's fault."""

import importlib.util

import pytest

from tidegate.runtime.pipeline_failures import failure_of


def raised_in(folder, body):
    """The exception that a function in a module of that folder raises."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "module.py").write_text(f"def fail():\n    {body}\n")
    spec = importlib.util.spec_from_file_location("module", folder / "module.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        module.fail()
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("raise ImportError('cannot import name')", "configuration"),
        ("import math; math.gone", "bad-input"),
        ("raise ValueError('assignment destination is read-only')", "bad-input"),
        ("raise ValueError('another')", "bad-input"),
    ],
)
def test_where_it_is_raised_tells_whose_fault_it_is(tmp_path, body, kind):
    package = failure_of(raised_in(tmp_path / "lib/site-packages/package", body))
    assert package.kind == ("bad-input" if "another" in body else "environment")
    assert failure_of(raised_in(tmp_path / "pipelines", body)).kind == kind
