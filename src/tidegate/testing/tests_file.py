"""``test/data/tests.yaml``: what a pipeline's tests are, where the files alone do not say it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tidegate.errors import ConfigurationError
from tidegate.quality.comparison import Rules, Tolerance

NAME = "tests.yaml"
_MOST = 5


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ToleranceEntry(_Model):
    """How far values may be apart: at most ``atol + rtol * |expected|``."""

    rtol: float = Field(default=0.0, ge=0)
    atol: float = Field(default=0.0, ge=0)


class Tolerances(_Model):
    """What counts as a difference."""

    rtol: float = Field(default=0.0, ge=0)
    atol: float = Field(default=0.0, ge=0)
    variables: dict[str, ToleranceEntry] = {}
    times: float = Field(default=0.0, ge=0)
    attributes: bool = True
    ignore: list[str] = []

    def rules(self) -> Rules:
        """The same for the comparison."""
        variables = {
            name: Tolerance(entry.rtol, entry.atol) for name, entry in self.variables.items()
        }
        ignore = tuple(self.ignore)
        return Rules(self.rtol, self.atol, variables, self.attributes, ignore, self.times)


def _as_text(value: Any) -> Any:
    """A time as it was written: YAML reads 20201201 and 20201201.120000 as numbers."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.6f}"
    return str(value) if isinstance(value, int) else value


Time = Annotated[str, BeforeValidator(_as_text)]
Text = Annotated[str, BeforeValidator(_as_text)]


class PipelineTest(_Model):
    """One test."""

    config: str | None = None
    inputs: list[str] = []
    arguments: list[Text] = []
    begin: Time | None = None
    end: Time | None = None
    expected: list[str] | None = None
    tolerances: Tolerances | None = None


class PipelineTests(_Model):
    """The whole file."""

    tolerances: Tolerances = Tolerances()
    tests: list[PipelineTest] | None = None


def read_tests_file(path: Path) -> PipelineTests:
    """Read a file; the defaults where there is none.

    Raises:
        ConfigurationError: it cannot be read, or says what has no meaning.
    """
    if not path.exists():
        return PipelineTests()
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
        return PipelineTests.model_validate({} if content is None else content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigurationError(
            "this is not YAML", why=str(getattr(error, "problem", error)), where=where
        ) from error
    except ValidationError as error:
        problems = error.errors()
        lines = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems]
        more = f"\nand {len(lines) - _MOST} more" if len(lines) > _MOST else ""
        raise ConfigurationError(
            "the tests cannot be read",
            why="\n".join(lines[:_MOST]) + more,
            where=str(path),
            next="see docs/testing-pipelines.md for what the file may say",
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "the tests cannot be read", why=str(error), where=str(path)
        ) from error
