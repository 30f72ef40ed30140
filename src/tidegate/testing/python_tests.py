"""The tests that a pipelines repository already has in Python, read and not run.

Repositories made from Tsdat's pipeline-template have a ``test/test_pipeline.py`` beside each
pipeline, with functions of one shape: load a config, run it on a file, compare the dataset with an
expected file. What such a function says is read from its source, so that Tidegate can carry it out
as any other test, with a difference that is shown by variable. A function of another shape is left
to pytest.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.quality.comparison import Rules

# What xarray.testing.assert_allclose, and so Tsdat's assert_close, uses by default.
_RTOL, _ATOL = 1e-5, 1e-8
# Tsdat's assert_close compares times as seconds since 1970, with the same relative tolerance.
_SINCE_1970 = 1.7e9
_OPENED = ("open_dataset", "load_dataset")
_COMPARED = {
    "assert_close": Rules(_RTOL, _ATOL, times=_RTOL * _SINCE_1970),
    "assert_allclose": Rules(_RTOL, _ATOL, attributes=False),
    "assert_equal": Rules(attributes=False),
    "assert_identical": Rules(),
}
_PATHS = ("Path", "PurePath", "str")


@dataclass(frozen=True)
class PythonRun:
    """One ``pipeline.run(…)`` of a test function, and what its dataset is compared with."""

    config_file: str
    """The pipeline config file, as the test names it."""
    inputs: tuple[str, ...]
    """What the pipeline is given."""
    line: int
    """Where it is run."""
    expected: tuple[tuple[str, Rules], ...] = ()
    """Files that its dataset is compared with."""


@dataclass(frozen=True)
class PythonTest:
    """One test function."""

    file: str
    """The file, relative to the repository's root."""
    name: str
    """The function's name."""
    line: int
    """Where it begins."""
    runs: tuple[PythonRun, ...] = ()
    """What it runs, in order."""
    before: tuple[tuple[str, str], ...] = ()
    """Other test functions that it calls first, as file and name: they make a VAP's inputs."""
    unreadable: str = ""
    """Why it cannot be read, with the line; then only pytest can run it."""
    skipped: str = ""
    """Why it is not to be run, where the test says so."""


def read_python_tests(repository: Path, file: str) -> tuple[PythonTest, ...]:
    """The test functions of a file, relative to the repository's root."""
    try:
        tree = ast.parse((repository / file).read_text("utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        return (PythonTest(file, Path(file).stem, line, unreadable=str(error)),)
    names = _Names()
    for statement in tree.body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            names.note_import(statement)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            names.note_constant(statement)
    functions = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test")
    ]
    tests = {function.name for function in functions}
    return tuple(_read_function(function, file, names, tests) for function in functions)


class _Unreadable(Exception):
    """A statement of another shape than expected."""

    def __init__(self, node: ast.AST, what: str = "") -> None:
        line = getattr(node, "lineno", 0)
        super().__init__(f"line {line}: {what or ast.unparse(node).splitlines()[0][:80]}")


@dataclass
class _Names:
    """What names stand for: constants, and test functions of other files."""

    constants: dict[str, Any] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)

    def copy(self) -> _Names:
        return _Names(dict(self.constants), dict(self.imports))

    def note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            file = node.module.replace(".", "/") + ".py"
            for alias in node.names:
                self.imports[alias.asname or alias.name] = (file, alias.name)

    def note_constant(self, node: ast.Assign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and node.value is not None:
            try:
                self.constants[targets[0].id] = self.value(node.value)
            except _Unreadable:
                self.constants.pop(targets[0].id, None)

    def value(self, node: ast.expr) -> Any:
        """The value of an expression of constants; raises _Unreadable."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.constants[node.id]
        if isinstance(node, (ast.List, ast.Tuple)):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.JoinedStr):
            return "".join(str(self.value(part)) for part in node.values)
        if isinstance(node, ast.FormattedValue) and node.format_spec is None:
            return self.value(node.value)
        if isinstance(node, ast.Call) and _called(node) in _PATHS and not node.keywords:
            return "/".join(str(self.value(part)) for part in node.args)
        if isinstance(node, ast.Call) and _called(node) in ("as_posix", "resolve", "absolute"):
            assert isinstance(node.func, ast.Attribute)
            return self.value(node.func.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Div)):
            between = "/" if isinstance(node.op, ast.Div) else ""
            return f"{self.value(node.left)}{between}{self.value(node.right)}"
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            same = self.value(node.left) == self.value(node.comparators[0])
            if isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
                return same is isinstance(node.ops[0], ast.Eq)
        raise _Unreadable(node)


@dataclass(frozen=True)
class _Handle:
    """What a variable of a test stands for."""

    kind: str
    """config, pipeline, dataset or expected."""
    of: Any
    """The config file, the number of the run, or the expected file."""


class _Reader:
    """Follows the statements of one test function."""

    def __init__(self, names: _Names, file: str, tests: set[str]) -> None:
        self._names = names
        self._file = file
        self._tests = tests
        self.runs: list[PythonRun] = []
        self.before: list[tuple[str, str]] = []

    def follow(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._follow(statement)

    def _follow(self, node: ast.stmt) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self._names.note_import(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            self._assign(node)
        elif isinstance(node, ast.If):
            self.follow(node.body if self._names.value(node.test) else node.orelse)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self._call(node.value)
        elif not (isinstance(node, ast.Pass) or _is_text(node)):
            raise _Unreadable(node)

    def _assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        target, value = targets[0], node.value
        assert value is not None
        if len(targets) != 1 or not isinstance(target, ast.Name):
            if not self._is_storage_root(target):
                raise _Unreadable(node)
            return  # runs have a storage root of their own here
        handle = self._handle(value) if isinstance(value, ast.Call) else None
        self._names.constants[target.id] = handle or self._names.value(value)

    def _is_storage_root(self, target: ast.expr) -> bool:
        """Whether it is ``config.storage.parameters["storage_root"]``."""
        return isinstance(target, ast.Subscript) and ast.unparse(target).endswith(
            ".storage.parameters['storage_root']"
        )

    def _handle(self, call: ast.Call) -> _Handle | None:
        """What a call gives, where it is one of those that tests of pipelines make."""
        name = _called(call)
        if name == "from_yaml" and len(call.args) == 1:
            return _Handle("config", self._names.value(call.args[0]))
        if name == "instantiate_pipeline":
            return _Handle("pipeline", self._held(call, "config"))
        if name == "run":
            return self._run(call)
        if name in _OPENED and call.args:
            return _Handle("expected", self._names.value(call.args[0]))
        return None

    def _run(self, call: ast.Call) -> _Handle:
        config = self._held(call, "pipeline")
        given = [*call.args, *(word.value for word in call.keywords if word.arg == "inputs")]
        if len(given) != 1:
            raise _Unreadable(call)
        inputs = self._names.value(given[0])
        if not isinstance(inputs, list):
            raise _Unreadable(call)
        self.runs.append(PythonRun(str(config), tuple(map(str, inputs)), call.lineno))
        return _Handle("dataset", len(self.runs) - 1)

    def _held(self, call: ast.Call, kind: str) -> Any:
        """What the object stands for that a method is called on."""
        if isinstance(call.func, ast.Attribute):
            on = call.func.value
            handle = self._handle(on) if isinstance(on, ast.Call) else None
            if isinstance(on, ast.Name):
                handle = self._names.constants.get(on.id)
            if isinstance(handle, _Handle) and handle.kind == kind:
                return handle.of
        raise _Unreadable(call)

    def _call(self, call: ast.Call) -> None:
        name = _called(call)
        if name == "run":
            self._run(call)
        elif name in _COMPARED:
            self._compare(call, _COMPARED[name])
        elif name == "close":
            return
        elif isinstance(call.func, ast.Name) and not (call.args or call.keywords):
            if name in self._names.imports and self._names.imports[name][1].startswith("test"):
                self.before.append(self._names.imports[name])
            elif name in self._tests:
                self.before.append((self._file, name))
            else:
                raise _Unreadable(call)
        elif ast.unparse(call.func) == "pytest.skip":
            raise _Skipped(str(self._names.value(call.args[0])) if call.args else "")
        else:
            raise _Unreadable(call)

    def _compare(self, call: ast.Call, rules: Rules) -> None:
        if len(call.args) != 2:
            raise _Unreadable(call)
        handles = [self._argument(argument) for argument in call.args]
        kinds = {handle.kind: handle.of for handle in handles}
        if set(kinds) != {"dataset", "expected"}:
            raise _Unreadable(call)
        changed: dict[str, Any] = dict(vars(rules))
        for word in call.keywords:
            if word.arg in ("rtol", "atol"):
                changed[word.arg] = float(self._names.value(word.value))
            elif word.arg == "check_attrs":
                changed["attributes"] = bool(self._names.value(word.value))
            elif word.arg not in ("check_fill_value", "decode_bytes", "check_dim_order"):
                raise _Unreadable(call)
        if rules.times:
            changed["times"] = changed["rtol"] * _SINCE_1970
        run = self.runs[kinds["dataset"]]
        expected = (*run.expected, (str(kinds["expected"]), Rules(**changed)))
        self.runs[kinds["dataset"]] = PythonRun(run.config_file, run.inputs, run.line, expected)

    def _argument(self, node: ast.expr) -> _Handle:
        handle = self._handle(node) if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Name):
            handle = self._names.constants.get(node.id)
        if not isinstance(handle, _Handle):
            raise _Unreadable(node)
        return handle


class _Skipped(Exception):
    """The test says that it is not to be run."""


def _read_function(
    function: ast.FunctionDef, file: str, names: _Names, tests: set[str]
) -> PythonTest:
    skipped = _skip_mark(function)
    if skipped is not None:
        return PythonTest(file, function.name, function.lineno, skipped=skipped)
    reader = _Reader(names.copy(), file, tests)
    try:
        if function.args.args or any("parametrize" in _text(d) for d in function.decorator_list):
            raise _Unreadable(function, "it has parameters")
        reader.follow(function.body)
        if not reader.runs and not reader.before:
            raise _Unreadable(function, "it runs no pipeline")
    except _Skipped as skip:
        return PythonTest(file, function.name, function.lineno, skipped=str(skip) or "skipped")
    except _Unreadable as error:
        return PythonTest(file, function.name, function.lineno, unreadable=str(error))
    return PythonTest(
        file, function.name, function.lineno, tuple(reader.runs), tuple(reader.before)
    )


def _skip_mark(function: ast.FunctionDef) -> str | None:
    """The reason of ``@pytest.mark.skip``; a condition (``skipif``) is for pytest to judge."""
    for decorator in function.decorator_list:
        if _text(decorator).startswith("pytest.mark.skip") and "skipif" not in _text(decorator):
            words: Mapping[str | None, ast.expr] = (
                {word.arg: word.value for word in decorator.keywords}
                if isinstance(decorator, ast.Call)
                else {}
            )
            reason = words.get("reason")
            return str(reason.value) if isinstance(reason, ast.Constant) else "marked as skipped"
    return None


def find_python_tests(repository: Path, folder: str) -> Iterator[str]:
    """The files with tests of a pipeline: ``test_*.py`` in its ``test`` or ``tests`` folder."""
    for name in ("test", "tests"):
        for path in sorted((repository / folder / name).glob("test_*.py")):
            yield path.relative_to(repository).as_posix()


def _called(call: ast.Call) -> str:
    """The last part of the name of what is called."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _text(node: ast.AST) -> str:
    return ast.unparse(node)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
