"""The types of a record's fields, on every Python from 3.8 on.

Before Python 3.10, ``X | None`` in an annotation cannot be evaluated; before 3.9, neither can
``tuple[X, ...]``, nor ``Mapping[str, X]`` of ``collections.abc``. There, the annotation is
rewritten with the names of ``typing`` first.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
import typing
from typing import Any

_PYTHON: tuple[int, ...] = sys.version_info[:2]
_NAMES = {"tuple": "Tuple", "list": "List", "dict": "Dict", "Mapping": "Mapping"}


def type_hints(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields, by name; all annotations of its module are strings."""
    if _PYTHON >= (3, 10):
        return typing.get_type_hints(cls)
    names = {**vars(sys.modules[cls.__module__]), "typing": typing}
    return {field.name: old_hint(str(field.type), names) for field in dataclasses.fields(cls)}


def old_hint(annotation: str, names: dict[str, Any]) -> Any:
    """The type of an annotation, without the syntax that old Pythons lack."""
    tree = _Rewrite().visit(ast.parse(annotation, mode="eval"))
    return eval(compile(ast.fix_missing_locations(tree), annotation, "eval"), names)


class _Rewrite(ast.NodeTransformer):
    """Replaces ``X | None`` with ``Optional[X]``, and names of containers with those of typing."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        sides = [side for side in (node.left, node.right) if not _is_none(side)]
        assert len(sides) == 1, "records have no union but with None"
        return _subscript("Optional", self.visit(sides[0]))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        name = _NAMES.get(node.value.id) if isinstance(node.value, ast.Name) else None
        self.generic_visit(node)
        if name is not None:
            node.value = _typing(name)
        return node


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _typing(name: str) -> ast.expr:
    return ast.Attribute(ast.Name("typing", ast.Load()), name, ast.Load())


def _subscript(name: str, inner: Any) -> ast.AST:
    index = inner if _PYTHON >= (3, 9) else ast.Index(inner)
    return ast.Subscript(_typing(name), index, ast.Load())
