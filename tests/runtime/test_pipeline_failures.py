"""Failures of packages that do not fit each other are not the data's fault."""

import importlib.util

import pytest

from tidegate.runtime.pipeline_failures import (
    advice_on_import,
    config_message_of,
    failure_of,
    yaml_file_of,
)


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


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("serial_numbers", "add serial_numbers to requirements.txt"),
        ("yaml.nodes", "add PyYAML to requirements.txt"),
        ("tsdat.transform_v9", "newer one in requirements.txt"),
        ("utils.wind", "in the repository"),
    ],
)
def test_what_to_do_about_a_module_that_is_missing(module, advice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "utils").mkdir()
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert advice in advice_on_import(wrapped)
    assert advice in failure_of(wrapped.__cause__).next
    assert advice_on_import(ValueError("x")) == ""


class Rejection(Exception):
    """As pydantic's errors are."""

    def errors(self):
        inner = "dict[function-plain[pattern_str_validator()],RetrievedVariableConfig]"
        return [
            {"loc": ("data_vars", "x", inner, "nam"), "msg": "a dictionary or instance of X"},
            {"loc": ("data_vars", "x", "RetrievedVariableConfig", "name"), "msg": "required"},
        ]


def test_a_message_names_the_file_and_the_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = RuntimeError("Error encountered while instantiating")
    error.__cause__ = Rejection()
    assert config_message_of(error) == "data_vars.x.name: required"
    config = tmp_path / "pipeline.yaml"
    config.write_text(
        "classname: x\nretriever:\n  # here\n  path: shared/r.yaml\ndataset:\n  path: d\n"
    )
    assert yaml_file_of(error, "pipeline.yaml") == "shared/r.yaml"
    config.write_text("classname: x\n")
    assert yaml_file_of(error, "pipeline.yaml") == "pipeline.yaml"
    assert yaml_file_of(ValueError("x"), "pipeline.yaml") == "pipeline.yaml"
