"""The files of a drafted ingest: YAML with what to check marked, a pipeline, a reader, a test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tidegate.scaffold.ingest.python_text import pipeline_text, reader_text
from tidegate.scaffold.ingest.python_text import test_text as pipeline_test_text
from tidegate.scaffold.ingest.records import Draft, Guess, Reader, Variable
from tidegate.scaffold.yaml_text import lines, scalar, todo

CSV_READER = "tsdat.io.readers.CSVReader"


def folder_of(name: str) -> str:
    """The folder of a pipeline, relative to the repository."""
    return f"pipelines/{name}"


def ingest_files(draft: Draft, samples: Mapping[str, bytes]) -> dict[str, str | bytes]:
    """All files of the ingest but its expected product, by their paths in the repository.

    ``samples`` are the sample files by name: they become the test's inputs.
    """
    folder = folder_of(draft.name)
    files: dict[str, str | bytes] = {
        f"{folder}/__init__.py": "",
        f"{folder}/README.md": readme_text(draft),
        f"{folder}/pipeline.py": pipeline_text(draft),
        f"{folder}/config/pipeline.yaml": pipeline_yaml(draft),
        f"{folder}/config/retriever.yaml": retriever_yaml(draft),
        f"{folder}/config/dataset.yaml": dataset_yaml(draft),
        f"{folder}/config/quality.yaml": QUALITY,
        f"{folder}/test/__init__.py": "",
        f"{folder}/test/test_pipeline.py": pipeline_test_text(draft, sorted(samples)),
    }
    if draft.reader.own:
        files[f"{folder}/readers.py"] = reader_text(draft)
    for name, content in samples.items():
        files[f"{folder}/test/data/input/{name}"] = content
    return files


def pipeline_yaml(draft: Draft) -> str:
    """``config/pipeline.yaml``."""
    folder = folder_of(draft.name)
    place = re.escape(draft.input_path).replace("/", "/")
    return f"""\
classname: pipelines.{draft.name}.pipeline.{draft.classname}

# Files that arrive in input/{draft.input_path}
triggers:
  - .*{place}.*{re.escape(draft.suffix)}$

retriever:
  path: {folder}/config/retriever.yaml

dataset:
  path: {folder}/config/dataset.yaml

quality:
  path: {folder}/config/quality.yaml

storage:
  path: shared/storage.yaml
"""


def retriever_yaml(draft: Draft) -> str:
    """``config/retriever.yaml``: the reader, and which column is which variable."""
    return "\n".join(_retriever(draft)) + "\n"


def _retriever(draft: Draft) -> Iterator[str]:
    for guess in draft.sample.guesses:
        yield _comment(guess)
    yield "classname: tsdat.io.retrievers.DefaultRetriever"
    yield "readers:"
    yield from lines(reader_config(draft), 2)
    yield ""
    yield "coords:"
    yield "  time:"
    source = "time" if draft.reader.time_code else draft.time.columns[0]
    yield f"    name: {scalar(source)}"
    for guess in draft.time.guesses:
        yield f"    {_comment(guess)}"
    yield from _time_converter(draft)
    for coordinate in draft.coordinates:
        yield f"  {coordinate.name}:"
        yield f"    name: {scalar(coordinate.source)}"
    yield ""
    yield "data_vars:"
    for variable in draft.variables:
        yield f"  {variable.name}:"
        found = next((guess for guess in variable.guesses if guess.about == "missing"), None)
        mark = todo(f"missing where it is {found.value}: {found.reason}") if found else ""
        yield f"    name: {scalar(variable.source)}{mark}"


def _comment(guess: Guess) -> str:
    text = f"{guess.about} is {guess.value}: {guess.reason}"
    return f"# {text}" if guess.said else todo(text).strip()


def _time_converter(draft: Draft) -> Iterator[str]:
    time = draft.time
    if time.code or (not time.converted and time.timezone == "UTC"):
        return
    yield "    data_converters:"
    yield "      - classname: tsdat.io.converters.StringToDatetime"
    if time.format:
        yield f"        format: {scalar(time.format)}"
    if time.timezone != "UTC" or time.format:
        yield f"        timezone: {scalar(time.timezone)}"
    if time.keywords:
        if "unit" in time.keywords:
            yield "        # Tsdat warns that there is no format: counted times have none."
        yield "        to_datetime_kwargs:"
        yield from lines(time.keywords, 10)


def reader_config(draft: Draft) -> dict[str, Any]:
    """The ``readers`` section: by the pattern of the files' names."""
    reader = draft.reader
    single = _single_reader(draft, reader)
    if not reader.archive:
        return {".*": single}
    outer = {
        "classname": f"tsdat.io.readers.{reader.archive}",
        "parameters": {"readers": {reader.members: single}},
    }
    return {".*": outer}


def _single_reader(draft: Draft, reader: Reader) -> dict[str, Any]:
    keywords = dict(reader.keywords)
    if reader.own:
        config: dict[str, Any] = {
            "classname": f"pipelines.{draft.name}.readers.{draft.classname}Reader"
        }
        return {**config, "parameters": {"keywords": keywords}} if keywords else config
    if not reader.method:
        config = {"classname": "tsdat.io.readers.NetCDFReader"}
        return {**config, "parameters": keywords} if keywords else config
    config = {"classname": CSV_READER}
    return {**config, "parameters": {"read_csv_kwargs": keywords}} if keywords else config


def dataset_yaml(draft: Draft) -> str:
    """``config/dataset.yaml``: the attributes of the product and of its variables."""
    return "\n".join(_dataset(draft)) + "\n"


def _dataset(draft: Draft) -> Iterator[str]:
    words = draft.name.replace("_", " ").replace("-", " ")
    formats = draft.sample.format
    yield "attrs:"
    yield f"  title: {scalar(words[:1].upper() + words[1:])}{todo('made of the name')}"
    yield f"  description: {scalar(f'Measurements read from {formats} files.')}{todo('say more')}"
    yield "  Conventions: CF-1.11"
    yield "  featureType: timeSeries"
    yield f"  location_id: {scalar(draft.location)}"
    yield f"  dataset_name: {scalar(draft.dataset)}"
    yield "  data_level: a1"
    yield ""
    yield "coords:"
    yield "  time:"
    yield "    dims: [time]"
    yield "    dtype: datetime64[ns]"
    yield "    attrs:"
    yield "      units: Seconds since 1970-01-01 00:00:00"
    yield "      standard_name: time"
    yield "      long_name: Time (UTC)"
    for coordinate in draft.coordinates:
        yield from _variable(coordinate)
    yield ""
    yield "data_vars:"
    for variable in draft.variables:
        yield from _variable(variable)


def _variable(variable: Variable) -> Iterator[str]:
    noted = {guess.about: guess for guess in variable.guesses}
    yield f"  {variable.name}:{_note(noted.get('values'))}"
    yield f"    dims: [{', '.join(variable.dims)}]"
    yield f"    dtype: {variable.dtype}{_note(noted.get('dtype'))}"
    yield "    attrs:"
    limits = noted.get("valid_min, valid_max")
    for key, value in variable.attrs.items():
        guess = limits if key.startswith("valid_") else noted.get(key)
        yield f"      {key}: {scalar(value)}{_note(guess)}"


def _note(guess: Guess | None) -> str:
    return todo(guess.reason) if guess is not None else ""


def readme_text(draft: Draft) -> str:
    """The pipeline's README."""
    own = f"* `readers.py`: reads the files.{chr(10)}" if draft.reader.own else ""
    facts = "; ".join(draft.sample.facts) or "nothing out of the ordinary"
    folder = folder_of(draft.name)
    return f"""\
# {draft.name}

Ingest of {draft.sample.format} files, which arrive in `input/{draft.input_path}`.
Recognized: {facts}.

Drafted by `tidegate new ingest`. What was guessed is marked `TODO check` in `config/`: look at
each, correct it, and remove the mark. Then run the sample again with `tidegate test {draft.name}`,
and make its product the expected one.

* `config/retriever.yaml`: how the files are read, and which column is which variable.
* `config/dataset.yaml`: names, units, attributes and valid ranges of the product.
* `config/quality.yaml`: the quality checks.
* `pipeline.py`: the plots, and where code of your own goes.
* `test/data/input`, `test/data/expected`: the sample, and the product that it should give.
{own}The folder is `{folder}`.
"""


QUALITY = """\
# The quality checks. Bad values stay in the product; the qc_ variables say which failed what.
managers:
  # Coordinates first: a sample without a time is of no use.
  - name: Remove missing times
    checker:
      classname: tsdat.qc.checkers.CheckMissing
    apply_to: [COORDS]
    handlers:
      - classname: tsdat.qc.handlers.RemoveFailedValues

  - name: Sort by time
    checker:
      classname: tsdat.qc.checkers.CheckMonotonic
      parameters:
        require_increasing: true
    apply_to: [time]
    handlers:
      - classname: tsdat.qc.handlers.SortDatasetByCoordinate

  # Once sorted, a time that does not increase is a repeated one: the first is kept.
  - name: Remove repeated times
    checker:
      classname: tsdat.qc.checkers.CheckMonotonic
      parameters:
        require_increasing: true
    apply_to: [time]
    handlers:
      - classname: tsdat.qc.handlers.RemoveFailedValues

  - name: Missing values
    checker:
      classname: tsdat.qc.checkers.CheckMissing
    apply_to: [DATA_VARS]
    handlers:
      - classname: tsdat.qc.handlers.RecordQualityResults
        parameters:
          assessment: bad
          meaning: Value is missing (_FillValue or NaN)

  # The limits are attributes of the variables, in dataset.yaml.
  - name: Below the valid range
    checker:
      classname: tsdat.qc.checkers.CheckValidMin
    apply_to: [DATA_VARS]
    handlers:
      - classname: tsdat.qc.handlers.RecordQualityResults
        parameters:
          assessment: bad
          meaning: Value is less than valid_min

  - name: Above the valid range
    checker:
      classname: tsdat.qc.checkers.CheckValidMax
    apply_to: [DATA_VARS]
    handlers:
      - classname: tsdat.qc.handlers.RecordQualityResults
        parameters:
          assessment: bad
          meaning: Value is greater than valid_max
"""

STORAGE = """\
# Plain files with Tsdat's own names: data/{location_id}/{datastream}/ and ancillary/... under the
# storage root (storage/root, or the value of TSDAT_STORAGE_ROOT).
classname: tsdat.io.storage.FileSystem
handler:
  classname: tsdat.io.handlers.NetCDFHandler
"""


def sample_contents(paths: list[Path]) -> dict[str, bytes]:
    """The content of the sample files by their names, which must differ."""
    return {path.name: path.read_bytes() for path in paths}
