"""How large a module, a function and a class of Tidegate may be; each package says what it is for.

Ruff holds complexity (C901) and the number of statements (PLR0915).
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "tidegate"

MODULE, FUNCTION, METHODS = 500, 60, 25

TOO_LARGE: dict[str, int] = {}
"""What is larger than the limit, and how large it may be: make it smaller, and remove it here."""


@functools.cache
def sizes() -> list[tuple[str, int, int]]:
    """As ``_sizes``; both tests need it."""
    return list(_sizes())


def _sizes() -> Iterator[tuple[str, int, int]]:
    """Every module, function and class: its name, its size and the limit of its kind."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        text = path.read_text(encoding="utf-8")
        yield name, len(text.splitlines()), MODULE
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{name}: {node.name}()", node.end_lineno - node.lineno + 1, FUNCTION
            elif isinstance(node, ast.ClassDef):
                methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
                yield f"{name}: {node.name}", len(methods), METHODS


def test_nothing_is_larger_than_its_limit() -> None:
    larger = {name: size for name, size, limit in sizes() if size > TOO_LARGE.get(name, limit)}
    assert not larger, f"split these (limits: {MODULE=}, {FUNCTION=}, {METHODS=}): {larger}"


def test_the_list_of_exceptions_has_only_what_is_too_large() -> None:
    measured = {name: (size, limit) for name, size, limit in sizes()}
    small = [
        name for name in TOO_LARGE if name not in measured or measured[name][0] <= measured[name][1]
    ]
    assert not small, f"remove from TOO_LARGE: {small}"


def test_every_package_says_what_it_is_for() -> None:
    silent = [
        folder.relative_to(SOURCE).as_posix()
        for folder in [SOURCE, *sorted(path.parent for path in SOURCE.rglob("*/__init__.py"))]
        if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    ]
    assert not silent, f"a sentence on what each of these packages is for: {silent}"
