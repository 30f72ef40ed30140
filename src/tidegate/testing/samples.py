"""Sample files as inputs of a run: raw files, and products that a VAP reads."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tidegate.errors import ConfigurationError, TidegateError, UsageError
from tidegate.quality.content import Content
from tidegate.runtime.manifest import Pipeline
from tidegate.runtime.process import WorkerProcess
from tidegate.runtime.publish import content_hash
from tidegate.runtime.records import from_json
from tidegate.runtime.related_files import date_in
from tidegate.runtime.runs import Input, Product, ProductRef
from tidegate.targets.local.inputs import FolderInputs
from tidegate.testing.trial import DESCRIBE

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)\}")


class SampleInputs:
    """Raw files of the repository; beside each, the other files of its folder.

    Some readers open a second file beside the one that they are given.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._files = FolderInputs(repository)

    def input(self, path: Path) -> Input:
        """A file below the repository; raises UsageError where it does not count as a raw file."""
        key = path.relative_to(self._repository).as_posix()
        found = self._files.find(key)
        if found is None:
            raise UsageError(
                f"{key} does not count as a raw file",
                why="dotfiles, *.part, *.tmp, *~, folders, and links that lead out do not",
                next="give it another name",
            )
        return self._files.identify(found)

    def fetch(self, input: Input, destination: Path) -> None:
        """As ``Inputs.fetch``; the neighbours are links to the files themselves."""
        self._files.fetch(input, destination)
        for path in (self._repository / input.key).parent.iterdir():
            with contextlib.suppress(FileExistsError):
                if path.is_file() and path.name != destination.name:
                    (destination.parent / path.name).symlink_to(path)

    def fetch_all(self, wanted: Sequence[tuple[Input, Path]]) -> None:
        """As ``Inputs.fetch_all``."""
        for input, destination in wanted:
            self.fetch(input, destination)

    def replaced(self, input: Input) -> bool:
        """As ``Inputs.replaced``."""
        return self._files.replaced(input)

    def list(self, prefix: str) -> Iterable[Input]:
        """As ``Inputs.list``."""
        return self._files.list(prefix)


class SampleProducts:
    """Products by key, wherever they lie: what a VAP under test reads. Nothing is written."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def refs(self) -> tuple[ProductRef, ...]:
        """All of them, at their present versions."""
        return tuple(
            ProductRef(key, content_hash(path)[1]) for key, path in sorted(self._files.items())
        )

    def fetch(self, ref: ProductRef, destination: Path) -> None:
        """As ``Outputs.fetch``."""
        source = self._files[ref.key]
        if source.is_dir():
            shutil.copytree(source, destination)
        else:
            shutil.copyfile(source, destination)

    def fetch_all(self, wanted: Sequence[tuple[ProductRef, Path]]) -> None:
        """As ``Outputs.fetch_all``."""
        for ref, destination in wanted:
            self.fetch(ref, destination)

    def publish(self, products: Sequence[tuple[Product, Path]]) -> None:
        """Not for samples."""
        raise AssertionError("samples are read only")

    def remove(self, keys: Iterable[str]) -> None:
        """Not for samples."""
        raise AssertionError("samples are read only")

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Not for samples."""
        raise AssertionError("samples are read only")

    def set_aside(self, keys: Iterable[str]) -> str:
        """Not for samples."""
        raise AssertionError("samples are read only")


def product_key(worker: WorkerProcess, pipeline: Pipeline, sample: Path) -> str:
    """Where Tsdat's storage looks for a product: by the path template of the VAP's own storage.

    Raises:
        ConfigurationError: the sample cannot be read, or does not say what the template needs.
    """
    try:
        content = from_json(Content, worker.call(DESCRIBE, {"path": str(sample)}))
    except (TidegateError, ValueError) as error:
        raise ConfigurationError(f"{sample.name} cannot be read", why=str(error)) from error
    fields = {**content.attributes, **_from_name(sample.name), "extension": sample.suffix[1:]}

    def field(match: re.Match[str]) -> str:
        if match[1] not in fields:
            raise ConfigurationError(
                f"{sample.name} cannot be put where the VAP looks for it",
                why=f"storage paths have {{{match[1]}}}, and the file has no such attribute",
                next="add the attribute to the sample file",
            )
        return fields[match[1]]

    def optional(match: re.Match[str]) -> str:
        return match[1] if all(name in fields for name in _FIELD.findall(match[1])) else ""

    folder = _FIELD.sub(field, _OPTIONAL.sub(optional, pipeline.data_path))
    return "/".join(part for part in (pipeline.storage_root, folder, sample.name) if part)


def _from_name(name: str) -> dict[str, str]:
    """The fields of a path that a product's name tells: those of its time, and its datastream."""
    fields: dict[str, str] = {}
    stream = re.match(r"(.+?)\.\d{8}[.T_-]?\d{0,6}", name)
    if stream:
        fields["datastream"] = stream[1]
        location, _, rest = stream[1].partition(".")
        fields.update(location_id=location, data_level=rest.rpartition(".")[2])
    moment = date_in(name)
    if moment is not None:
        for names, form in (
            (("year", "yyyy"), "%Y"),
            (("month", "mm"), "%m"),
            (("day", "dd"), "%d"),
            (("hour", "HH"), "%H"),
            (("minute", "MM"), "%M"),
            (("second", "SS"), "%S"),
            (("date",), "%Y%m%d"),
            (("time",), "%H%M%S"),
            (("date_time",), "%Y%m%d.%H%M%S"),
        ):
            fields.update(dict.fromkeys(names, f"{moment:{form}}"))
    return fields
