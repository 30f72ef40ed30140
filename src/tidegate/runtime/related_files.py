"""Files that belong together: companions that a reader opens, and groups that one run must see.

Pure: the caller gives the files that are there. Their versions are copied, and not looked at, so
that a target can find out which files it has to hash before it hashes them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from functools import lru_cache

from tidegate.runtime.manifest import Config
from tidegate.runtime.runs import Input, Run

DATE = re.compile(r"(?<!\d)(\d{4})[-_]?(\d{2})[-_]?(\d{2})(?:[._T-]?(\d{2})(\d{2})(\d{2})?)?(?!\d)")
"""A date, with its time where there is one, in a file's name."""


def has_related(config: Config) -> bool:
    """Whether a run of the config can depend on files other than the one that arrived."""
    return bool(config.companions or config.group_by)


def companions_of(config: Config, key: str) -> tuple[str, ...]:
    """The keys of the companions that the file with that key should have."""
    folder, slash, name = key.rpartition("/")
    found: list[str] = []
    for pattern, companions in config.companions.items():
        match = _stars(pattern).fullmatch(name)
        if match is not None:
            found += [folder + slash + _filled(companion, match) for companion in companions]
    return tuple(dict.fromkeys(other for other in found if other != key))


def is_companion(config: Config, key: str) -> bool:
    """Whether a file is only a companion of others, and starts no run of its own."""
    name = key.rpartition("/")[2]
    if any(_stars(pattern).fullmatch(name) for pattern in config.companions):
        return False
    patterns = (p for companions in config.companions.values() for p in companions)
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def waits_until(config: Config, file: Input, present: Collection[str]) -> datetime | None:
    """Until when a file waits for companions that are not ``present``; None if it need not wait."""
    if file.modified is None or all(key in present for key in companions_of(config, file.key)):
        return None
    return file.modified + timedelta(seconds=config.max_wait)


def group_of(config: Config, file: Input) -> str:
    """The name of the group that a file belongs to; without ``group_by``, the file's own key.

    The time of a file is the one in its name, and otherwise when it was last written.
    """
    by = config.group_by
    folder = file.key.rpartition("/")[0]
    if by is None:
        return file.key
    if by == "folder":
        return folder
    if by in ("hour", "day"):
        moment = date_in(file.key.rpartition("/")[2]) or file.modified
        form = "%Y-%m-%d" if by == "day" else "%Y-%m-%d %H"
        return f"{folder} {moment.astimezone(timezone.utc):{form}}" if moment else file.key
    match = re.search(by, file.key[len(config.input_path or "") :])
    if match is None:
        return file.key  # a file that the expression does not fit is run alone
    return "\0".join(part or "" for part in match.groups()) if match.groups() else match[0]


def related_prefix(config: Config, key: str) -> str:
    """All files that belong to the one with that key are below this prefix."""
    if config.group_by in (None, "folder", "hour", "day"):
        return "".join(key.rpartition("/")[:2])
    return config.input_path or ""


def related_runs(
    config: Config,
    arrived: Iterable[Input],
    present: Iterable[Input],
    at: datetime | None,
    *,
    now: datetime | None = None,
) -> list[Run]:
    """The runs that are due because files have arrived, given all files that are ``present``.

    A file that waits for its companions until after ``now`` is left out; None: nothing waits.
    """
    files = {file.key: file for file in present}
    files.update((file.key, file) for file in arrived)
    mains = [
        file
        for file in files.values()
        if not is_companion(config, file.key) and not _waits(config, file, files, now)
    ]
    touched = {file.key for file in arrived}
    groups = {
        group_of(config, main)
        for main in mains
        if main.key in touched or touched.intersection(companions_of(config, main.key))
    }
    members: dict[str, list[Input]] = {}
    for main in mains:
        if (name := group_of(config, main)) in groups:
            members.setdefault(name, []).append(main)
    return [related_run(config, members[name], files, at) for name in sorted(members)]


def related_run(
    config: Config, inputs: Sequence[Input], present: Mapping[str, Input], at: datetime | None
) -> Run:
    """The run of those files, with those of their companions that are present."""
    ordered = tuple(sorted(inputs, key=lambda file: file.key))
    own = {file.key for file in ordered}
    keys = {key for file in ordered for key in companions_of(config, file.key)} - own
    companions = tuple(present[key] for key in sorted(keys) if key in present)
    return Run(config.id, inputs=ordered, companions=companions, arrived=at)


def run_of_the_rest(run: Run, present: Iterable[Input]) -> Run | None:
    """The run of those files of a run that are ``present``, if others of its files are gone.

    None if no input is left, or if a file was replaced: its new version arrives.
    """
    versions = {file.key: file.version for file in present}
    if any(versions.get(file.key, file.version) != file.version for file in run.files):
        return None
    inputs = tuple(file for file in run.inputs if file.key in versions)
    companions = tuple(file for file in run.companions if file.key in versions)
    if not inputs or len(inputs) + len(companions) == len(run.files):
        return None
    return replace(run, inputs=inputs, companions=companions)


def date_in(name: str) -> datetime | None:
    """The first date, with its time where there is one, in a file's name; UTC."""
    for match in DATE.finditer(name):
        numbers = [int(part) for part in match.groups() if part]
        try:
            return datetime(*numbers, tzinfo=timezone.utc)  # type: ignore[arg-type, misc]
        except ValueError:
            continue
    return None


def _waits(config: Config, file: Input, present: Collection[str], now: datetime | None) -> bool:
    until = waits_until(config, file, present)
    return until is not None and now is not None and until > now


@lru_cache(maxsize=256)
def _stars(pattern: str) -> re.Pattern[str]:
    """A pattern as an expression with a group for each ``*``."""
    parts = ("(.*)" if part == "*" else re.escape(part) for part in re.split(r"(\*)", pattern))
    return re.compile("".join(parts), re.DOTALL)


def _filled(pattern: str, match: re.Match[str]) -> str:
    """A companion's name: each ``*`` stands for what the same ``*`` of the file's pattern is."""
    texts = list(match.groups())
    return re.sub(r"\*", lambda _: texts.pop(0) if texts else "", pattern)
