"""What the name of a product file says, according to Tsdat's templates for file names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from tidegate.runtime.manifest import Config, Manifest, Pipeline

Kind = Literal["data", "ancillary"]
Fields = Mapping[str, str | None]
"""The values of a template's placeholders in a name; None for those in a missing optional part."""

_PLACEHOLDERS = {
    **dict.fromkeys(("year", "yyyy"), r"\d{4}"),
    **dict.fromkeys(("month", "mm", "day", "dd", "hour", "HH", "minute", "MM"), r"\d{2}"),
    **dict.fromkeys(("second", "SS"), r"\d{2}"),
    **dict.fromkeys(("date", "start_date"), r"\d{8}"),
    **dict.fromkeys(("time", "start_time"), r"\d{6}"),
    "date_time": r"\d{8}\.\d{6}",
    "extension": r"[^/.]+",
    "ext": r"[^/.]+",
}
_TIME_PARTS: tuple[tuple[str, ...], ...] = (
    ("year", "yyyy"), ("month", "mm"), ("day", "dd"),
    ("hour", "HH"), ("minute", "MM"), ("second", "SS"),
)  # fmt: skip
_TOKEN = re.compile(r"\{([^}]*)\}|\[([^\]]*)\]|([^{}\[\]]+)")


@dataclass(frozen=True)
class NameTemplate:
    """The names of the products of one or more configs."""

    root: str
    """The storage root that they are below."""
    kind: Kind
    """Data files, or plots and other files."""
    pattern: re.Pattern[str]
    """Matches a key of such a product."""
    configs: tuple[Config, ...]
    """The configs with this template."""


def name_templates(manifest: Manifest) -> list[NameTemplate]:
    """All templates of the configs, each once; templates of data first."""
    found: dict[tuple[str, Kind, str], list[Config]] = defaultdict(list)
    for config in manifest.configs:
        t = config.tsdat or Pipeline("")
        pairs: tuple[tuple[Kind, str, str], ...] = (
            ("data", t.data_path, t.data_filename),
            ("ancillary", t.plot_path, t.plot_filename),
        )
        for kind, folder, name in pairs:
            if name:
                folder = folder.replace("{storage_root}/", "").removeprefix("./")
                parts = [part for part in (t.storage_root, folder, name) if part not in ("", ".")]
                found[t.storage_root, kind, "/".join(parts)].append(config)
    ordered = sorted(found.items(), key=lambda item: item[0][1] != "data")
    return [NameTemplate(r, k, template_pattern(text), tuple(c)) for (r, k, text), c in ordered]


def template_pattern(template: str) -> re.Pattern[str]:
    """A regular expression that matches the names which a Tsdat template produces.

    ``{name}`` stands for a value, the same one at each occurrence; ``[…]`` is optional.
    """
    return re.compile(_expression(template, set()) + r"\Z")


def _expression(template: str, seen: set[str]) -> str:
    found = ""
    for name, optional, text in _TOKEN.findall(template):
        if name and name in seen:
            found += f"(?P={name})"
        elif name:
            seen.add(name)
            value = _PLACEHOLDERS.get(name, "[^/]+?")
            found += f"(?P<{name}>{value})" if name.isidentifier() else ".+?"
        elif optional:
            found += f"(?:{_expression(optional, seen)})?"
        else:
            found += re.escape(text)
    return found


def begin_from_name(fields: Fields) -> datetime | None:
    """The first time in a file according to its name, UTC; None if the name has no year."""
    whole = fields.get("date_time") or ""
    date = fields.get("date") or fields.get("start_date") or whole[:8]
    clock = fields.get("time") or fields.get("start_time") or whole[9:]
    digits = f"{date:8}{clock:6}"
    numbers: list[int] = []
    for n, names in enumerate(_TIME_PARTS):
        place = slice(0, 4) if n == 0 else slice(2 * n + 2, 2 * n + 4)
        text = next((fields[name] for name in names if fields.get(name)), None) or digits[place]
        if not text or not text.strip():
            break
        numbers.append(int(text))
    if not numbers:
        return None
    try:
        whole_date = [*numbers, 1, 1][: max(len(numbers), 3)]
        return datetime(*whole_date, tzinfo=timezone.utc)  # type: ignore[arg-type, misc]
    except ValueError:
        return None


def datastream_from_name(fields: Fields, pipeline: Pipeline) -> str:
    """The datastream in a name; the pipeline's own if the name does not contain one."""
    datastream = fields.get("datastream")
    if datastream:
        return datastream
    needed = [fields.get(name) for name in ("location_id", "dataset_name", "data_level")]
    if all(needed):
        more = "".join(f"-{fields[n]}" for n in ("qualifier", "temporal") if fields.get(n))
        return f"{needed[0]}.{needed[1]}{more}.{needed[2]}"
    return pipeline.datastream
