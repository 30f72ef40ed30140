"""Read a YAML file as plain data, with the line of each value.

YAML 1.1 turns `012345670123` into an octal number, `3.10` into 3.1 and `no` into False. So scalars
are kept as text here, except for keys whose values are numbers or true and false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tidegate.config.problems import Finding, KeyPath, Problem

MOST_BYTES = 1_000_000
MOST_VALUES = 100_000
DEEPEST = 40

_STANDARD = "tag:yaml.org,2002:"
_KNOWN_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "value", "map", "seq", "merge")
_INT = re.compile(r"[-+]?\d{1,15}")
_FLOAT = re.compile(r"[-+]?(\d{1,15}\.\d{0,15}|\.\d{1,15})")
_YES, _NO = ("true", "yes", "on"), ("false", "no", "off")
# Characters that do not belong in terminals, file names and environment variables.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Invalid:
    """Replaces a value with a reported problem; see ``INVALID``."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID = Invalid()


@dataclass
class Source:
    """A file that was read as YAML, or the problem that prevented it."""

    file: str
    """The path of the file, as it was given."""
    data: dict[str, Any] = field(default_factory=dict)
    """Mappings, lists, text, numbers, booleans; INVALID for values with a reported problem."""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """The line of each value; in a mapping, the line of its key."""
    findings: list[Finding] = field(default_factory=list)
    """Problems found while reading the YAML."""
    fatal: Problem | None = None
    """Why there are no data at all."""

    def line(self, path: KeyPath) -> int:
        """The line of the value at ``path``, or of its nearest parent."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, finding: Finding) -> Problem:
        """The finding with its line."""
        return Problem(self.file, self.line(finding.path), finding.what, finding.fix)


def load(
    path: Path, typed: Callable[[KeyPath], bool], optional: Callable[[KeyPath], bool]
) -> Source:
    """Read ``path``. Never raises.

    ``typed`` says which values may be numbers or booleans, ``optional`` which keys may have no
    value and then count as left out.
    """
    source = Source(str(path))
    try:
        node = _compose(_text(path))
        data = _Reader(source, typed, optional).value(node, ())
        if isinstance(data, dict):
            source.data = data
        elif not source.findings:
            raise _not_a_mapping(data, node)
    except _Unreadable as error:
        source.fatal = Problem(source.file, error.line, error.what, error.fix)
    return source


class _Unreadable(Exception):
    """The file has no usable data: what is wrong, what to do, the line (0: the file itself)."""

    def __init__(self, what: str, fix: str, line: int = 1) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.line = line


def _not_a_mapping(data: object, node: yaml.Node) -> _Unreadable:
    kind, fix = "a single value", "write 'pipelines:' and a list of pipelines"
    if isinstance(data, list):
        kind, fix = "a list", "write 'pipelines:' in a line of its own above the list"
    what = f"the file has {kind} at the top, not keys with values"
    return _Unreadable(what, fix, node.start_mark.line + 1)


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            fix = "name the file: 'pipelines_config.yml'"
            raise _Unreadable("is a folder, not a file", fix, 0)
        if path.stat().st_size > MOST_BYTES:
            fix = "name the 'pipelines_config.yml' itself"
            raise _Unreadable("is larger than a megabyte", fix, 0)
        raw = path.read_bytes()
    except FileNotFoundError:
        fix = "write one (see docs/configuration.md) or name another"
        raise _Unreadable("no such file", fix, 0) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        fix = "make it readable, or name another file"
        raise _Unreadable(f"cannot be read: {reason}", fix, 0) from error
    text = _decode(raw)
    if not text.strip():
        raise _Unreadable("the file is empty", "write 'pipelines:' and a list of pipelines")
    return text


def _decode(raw: bytes) -> str:
    fix = "save it as UTF-8 in the editor"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable("is UTF-16, not UTF-8", fix)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8: byte 0x{raw[error.start]:02x} is not part of a character"
        line = raw[: error.start].count(b"\n") + 1
        raise _Unreadable(what, fix, line) from None


class _Loader(yaml.SafeLoader):
    """Composes nodes, with a limit on the depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "nested too deeply", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _compose(text: str) -> yaml.Node:
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _explain(error, text) from None
    except yaml.reader.ReaderError as error:
        what = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        line = text.count("\n", 0, error.position) + 1
        raise _Unreadable(what, "remove the character", line) from None
    except Exception as error:  # PyYAML raises other errors for some escapes and directives
        line = loader.line + 1 if loader is not None else 1
        fix = "check escapes after a backslash, and lines that begin with '%'"
        raise _Unreadable(f"is not valid YAML: {error}", fix, line) from None
    finally:
        if loader is not None:
            loader.dispose()
    if node is None:
        fix = "write 'pipelines:' and a list of pipelines"
        raise _Unreadable("the file has only comments", fix)
    return node


_HINTS = (
    ("mapping values are not allowed", "indent this like the keys above, or quote the value"),
    ("could not find expected ':'", "write ':' after the key, and check the indentation"),
    ("expected <block end>", "indent this like the lines around it"),
    ("found undefined alias", "write '&name' where it is defined, above '*name', or quote it"),
    ("found unknown escape", "use single quotes: nothing is escaped in them"),
    ("cannot start any token", "put the value in quotes"),
    ("expected ',' or", "close the bracket, or quote a value that has brackets in it"),
    ("unexpected end of stream", "close the quote or the bracket"),
    ("single document", "one file is one document: remove the second '---'"),
    ("but found another document", "one file is one document: remove the second '---'"),
    ("found duplicate anchor", "give the second anchor another name"),
    ("nested too deeply", "remove levels: no key is nested that deep"),
)


def _explain(error: yaml.MarkedYAMLError, text: str) -> _Unreadable:
    mark = error.problem_mark or error.context_mark
    written = re.split(r"\r\n|\r|\n", text)
    line = min(mark.line, len(written) - 1) if mark else 0
    said = error.problem or error.context or "cannot be read"
    if "'\\t'" in said or re.match(r" *\t", written[line]):
        return _Unreadable("a tab where YAML needs spaces", "write spaces for the tab", line + 1)
    fix = next((hint for sign, hint in _HINTS if sign in said), "check the line above, too")
    context = f" {error.context}," if error.context and error.problem else ""
    return _Unreadable(f"not valid YAML:{context} {said}", fix, line + 1)


class _Reader:
    """Turns nodes into data, and notes the line of each value."""

    def __init__(
        self,
        source: Source,
        typed: Callable[[KeyPath], bool],
        optional: Callable[[KeyPath], bool],
    ) -> None:
        self.source = source
        self.typed = typed
        self.optional = optional
        self.values = 0
        self.open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.source.lines.setdefault(path, node.start_mark.line + 1)
        self._count(node)
        tag = node.tag.removeprefix(_STANDARD)
        if tag not in _KNOWN_TAGS:
            return self._wrong(path, f"the tag '{node.tag}' is not supported", "remove it")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, tag)
        self.open.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, path)
        finally:
            self.open.pop()

    def _count(self, node: yaml.Node) -> None:
        """Limit the number of values: aliases can make a small file endless."""
        self.values += 1
        if self.values > MOST_VALUES:
            what = f"aliases expand to more than {MOST_VALUES:,} values"
            raise _Unreadable(what, "write the values without aliases", node.start_mark.line + 1)
        if any(node is outer for outer in self.open):
            what = "an alias is inside the value that it refers to"
            raise _Unreadable(what, "write the value without this alias", node.start_mark.line + 1)

    def _wrong(self, path: KeyPath, what: str, fix: str) -> Invalid:
        self.source.findings.append(Finding(path, what, fix))
        return INVALID

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath, tag: str) -> Any:
        text: str = node.value
        name = next((str(part) for part in reversed(path) if isinstance(part, str)), "the file")
        if tag == "null" and path:
            return self._wrong(
                path, f"'{name}' has no value", "write one after it, or remove the key"
            )
        if _UNFIT.search(text):
            return self._wrong(path, f"'{name}' has a control character", "remove the character")
        return _typed(text) if node.style is None and self.typed(path) else text

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[yaml.MappingNode] = []
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_STANDARD}merge":
                merged += self._merged(value_node, path)
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            line = key_node.start_mark.line + 1
            if key in first:
                what = f"'{key}' is written twice, first in line {first[key]}"
                place = (*path, "", line)
                self.source.lines[place] = line
                self._wrong(place, what, "keep one of the two")
                continue
            first[key] = line
            self.source.lines[(*path, key)] = line
            if value_node.tag == f"{_STANDARD}null" and self.optional((*path, key)):
                continue  # such as "schedule:" in the templates of Tsdat's deployment recipe
            result[key] = self.value(value_node, (*path, key))
        for extra in merged:
            self._merge(extra, path, result)
        return result

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if isinstance(node, yaml.ScalarNode) and not _UNFIT.search(node.value):
            return str(node.value)
        line = node.start_mark.line + 1
        place = (*path, "", line)  # a unique path, so that this key has its own line
        self.source.lines[place] = line
        self._wrong(place, "a key must be plain text", "write it in quotes")
        return None

    def _merged(self, node: yaml.Node, path: KeyPath) -> Iterator[yaml.MappingNode]:
        """The mappings that ``<<:`` merges."""
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(item, yaml.MappingNode):
                yield item
            else:
                self.source.lines[(*path, "<<")] = node.start_mark.line + 1
                self._wrong((*path, "<<"), "'<<' takes a mapping", "write '<<: *name'")

    def _merge(self, node: yaml.MappingNode, path: KeyPath, result: dict[str, Any]) -> None:
        """Add the keys of ``node`` that ``result`` does not have, with their own lines."""
        self._count(node)
        self.open.append(node)
        try:
            nested: list[yaml.MappingNode] = []
            for key_node, value_node in node.value:
                if key_node.tag == f"{_STANDARD}merge":
                    nested += self._merged(value_node, path)
                    continue
                key = self._key(key_node, path)
                if key is not None and key not in result:
                    self.source.lines[(*path, key)] = key_node.start_mark.line + 1
                    result[key] = self.value(value_node, (*path, key))
            for extra in nested:
                self._merge(extra, path, result)
        finally:
            self.open.pop()


def _typed(text: str) -> int | float | bool | str:
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if text.lower() in _YES + _NO:
        return text.lower() in _YES
    return text
