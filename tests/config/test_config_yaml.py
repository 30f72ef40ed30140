"""The file as YAML: what is no YAML, what is odd YAML, and what no YAML reader expects."""

import os
import string

import pytest
import yaml
from config_samples import AWS, VALID, Workspace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.config import read
from tidegate.config.source import MOST_BYTES

BROKEN = [
    pytest.param("", 1, "the file is empty", "write 'pipelines:'", id="empty"),
    pytest.param(" \n\n", 1, "the file is empty", "write 'pipelines:'", id="blank"),
    pytest.param("# x\n", 1, "the file has only comments", "write", id="comments"),
    pytest.param(
        "# x\n- a\n", 2, "the file has a list at the top, not keys with values",
        "write 'pipelines:' in a line of its own above the list", id="list",
    ),
    pytest.param(
        "lidar\n", 1, "the file has a single value at the top, not keys with values",
        "write 'pipelines:'", id="scalar",
    ),
    pytest.param(
        "null\n", 1, "the file has a single value at the top, not keys with values",
        "write 'pipelines:'", id="null",
    ),
    pytest.param(
        "pipelines:\n\t- name: x\n", 2, "a tab where YAML needs spaces", "write spaces",
        id="tab indents",
    ),
    pytest.param(
        "pipelines:\n- name:\tx: y\n", 2, "a tab where YAML needs spaces", "write spaces",
        id="tab after a key",
    ),
    pytest.param(
        "a: b: c\n", 1, "not valid YAML: mapping values are not allowed here",
        "indent this like the keys above, or quote the value", id="two colons",
    ),
    pytest.param(
        "pipelines:\n- name: x\n type: y\n", 3,
        "not valid YAML: while parsing a block mapping, expected <block end>, but found"
        " '<block mapping start>'", "indent this", id="indentation",
    ),
    pytest.param(
        "a: 1\nb\nc: 1\n", 3,
        "not valid YAML: while scanning a simple key, could not find expected ':'",
        "write ':' after the key", id="no colon",
    ),
    pytest.param(
        "a: *x\n", 1, "not valid YAML: found undefined alias 'x'", "write '&name'",
        id="undefined alias",
    ),
    pytest.param(
        "a: %x\n", 1,
        "not valid YAML: while scanning for the next token, found character '%' that cannot start"
        " any token", "put the value in quotes", id="percent",
    ),
    pytest.param(
        'a: "\\q"\n', 1,
        "not valid YAML: while scanning a double-quoted scalar, found unknown escape character"
        " 'q'", "use single quotes", id="escape",
    ),
    pytest.param(
        "a: 'x\n", 2,
        "not valid YAML: while scanning a quoted scalar, found unexpected end of stream",
        "close the quote", id="open quote",
    ),
    pytest.param(
        "a: [1\nb: 2\n", 2,
        "not valid YAML: while parsing a flow sequence, expected ',' or ']', but got ':'",
        "close the bracket", id="open bracket",
    ),
    pytest.param(
        "a: 1\n---\nb: 2\n", 2,
        "not valid YAML: expected a single document in the stream, but found another document",
        "one file is one document", id="two documents",
    ),
    pytest.param(
        "a: " + "[" * 60 + "]" * 60, 1, "not valid YAML: nested too deeply", "remove levels",
        id="deep",
    ),
    pytest.param(
        "a: 1\nb: \x01\n", 2, "character U+0001 is not allowed in YAML", "remove the character",
        id="control character",
    ),
    pytest.param(
        'a: 1\nb: "\\U99999999"\n', 2, "is not valid YAML: ", "check escapes",
        id="odd escape",
    ),
    pytest.param(
        "a: &a [1, *a]\n", 1, "an alias is inside the value that it refers to",
        "write the value without this alias", id="endless alias",
    ),
    pytest.param(
        "a: &a\n  <<: *a\n", 1, "an alias is inside the value that it refers to",
        "write the value without this alias", id="endless merge",
    ),
    pytest.param(
        "a: 1\nb: é\n".encode("latin-1"), 2,
        "is not UTF-8: byte 0xe9 is not part of a character", "save it as UTF-8", id="latin-1",
    ),
    pytest.param("a: 1\n".encode("utf-16"), 1, "is UTF-16, not UTF-8", "save it", id="utf-16"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "line", "what", "fix"), BROKEN)
def test_what_cannot_be_read(workspace, content, line, what, fix):
    [(said_line, said, said_fix)] = workspace.said(content)
    if what.endswith(": "):
        said = said[: len(what)]
    assert (said_line, said) == (line, what)
    assert said_fix.startswith(fix)


def test_an_alias_bomb_is_refused_soon(workspace):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    [(line, what, fix)] = workspace.said("\n".join(lines))
    assert what == "aliases expand to more than 100,000 values"
    assert fix == "write the values without aliases"
    assert line >= 1


def test_a_bomb_of_merges_is_refused_soon(workspace):
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    [(_, what, _)] = workspace.said("\n".join(lines))
    assert what == "aliases expand to more than 100,000 values"


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder, not a file"),
        (lambda path: path.write_bytes(b"#" * (MOST_BYTES + 1)), "is larger than a megabyte"),
    ],
)
def test_a_file_that_is_not_there(tmp_path, make, what):
    path = tmp_path / "pipelines_config.yml"
    make(path)
    reading = read(path)
    [problem] = reading.problems
    assert (problem.line, problem.what, reading.model) == (0, what, None)
    assert str(problem).startswith(f"{path}: {what}\n  ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path):  # pragma: no cover
    path = tmp_path / "pipelines_config.yml"
    path.touch(mode=0)
    assert read(path).problems[0].what == "cannot be read: Permission denied"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: "%YAML 1.1\n---\n" + text + "...\n",
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n\n# the end",
    ],
    ids=["CRLF", "BOM", "BOM and CRLF", "document marks", "no last newline", "comment"],
)
def test_what_editors_do_to_files(workspace, change):
    assert workspace.read(change(VALID)).require() == workspace.read(VALID).require()


def test_lines_are_right_with_crlf_and_bom(workspace):
    content = "\ufeff" + workspace.valid(("  trigger: S3", "  trigers: S3")).replace("\n", "\r\n")
    assert [line for line, _, _ in workspace.said(content)] == [4]


def test_anchors_aliases_and_merge_keys(workspace):
    content = workspace.valid(
        ("    humboldt:\n", "    humboldt: &site\n      timeout: 60\n      retries: 1\n"),
        ("    morro:\n", "    morro:\n      <<: *site\n      retries: 5\n"),
    )
    morro = workspace.read(content).require().pipelines[0].configs["morro"]
    assert (morro.timeout, morro.retries) == (60, 5)
    assert morro.input_bucket_path == "lidar/morro/"


def test_the_first_of_several_merged_mappings_wins(workspace):
    content = workspace.valid(
        (
            "  type: VAP",
            (
                "  environment:\n    <<: [&a {X: '1'}, &b {X: '2', Y: '2', <<: {Z: '3', Y: '9'}}]\n"
                "  type: VAP"
            ),
        )
    )
    environment = workspace.read(content).require().pipelines[1].environment
    assert environment == {"X": "1", "Y": "2", "Z": "3"}


def test_a_mistake_behind_an_alias_is_told_once(workspace):
    content = workspace.valid(
        ("    humboldt:\n", "    humboldt: &site\n      timeout: soon\n"),
        ("    morro:\n", "    morro:\n      <<: *site\n"),
    )
    assert [(n, w) for n, w, _ in workspace.said(content)] == [
        (7, "'timeout' must be a whole number of seconds, not 'soon'")
    ]


@pytest.mark.parametrize(
    ("before", "get", "value"),
    [
        ("account_id: 012345670123", lambda m: m.account_id, "012345670123"),
        ("account_id: 332883119153", lambda m: m.account_id, "332883119153"),
        ("python: 3.10", lambda m: m.python, "3.10"),
        ("create_buckets: True", lambda m: m.create_buckets, True),
        ("create_buckets: off", lambda m: m.create_buckets, False),
        ("branches: {no: {}}", lambda m: list(m.branches), ["no"]),
        ("defaults: {timeout: 0900}", lambda m: m.defaults.timeout, 900),
        ("defaults: {environment: {A: 010, timeout: 1e3, Y: yes, N: ''}}",
         lambda m: m.defaults.environment, {"A": "010", "timeout": "1e3", "Y": "yes", "N": ""}),
        ("defaults: {settle: 0.5}", lambda m: m.defaults.settle, 0.5),
        ("defaults: {expect_every: 6h}", lambda m: m.defaults.expect_every, 21_600),
        ("defaults: {expect_every: 90}", lambda m: m.defaults.expect_every, 90),
        ("defaults: {since: 2022-04-05}",
         lambda m: m.defaults.since.isoformat(), "2022-04-05T00:00:00+00:00"),
        ("defaults: {since: 20220405.120000}",
         lambda m: m.defaults.since.isoformat(), "2022-04-05T12:00:00+00:00"),
        ("defaults: {since: 20220405}",
         lambda m: m.defaults.since.isoformat(), "2022-04-05T00:00:00+00:00"),
        ("defaults: {since: 2022-04-05T01:00:00+02:00}",
         lambda m: m.defaults.since.isoformat(), "2022-04-04T23:00:00+00:00"),
        ("defaults: {since: 2022-04-05 01:00}",
         lambda m: m.defaults.since.isoformat(), "2022-04-05T01:00:00+00:00"),
    ],
)  # fmt: skip
def test_scalars_are_what_was_written(workspace, before, get, value):
    found = get(workspace.read(f"{before}\n{VALID}").require())
    assert (found, type(found)) == (value, type(value))


# ── fuzzing: whatever is in the file, there is a model or a problem with a line, never an exception

QUIET = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORDS = sorted({w.strip("-: \n'\"") for w in (AWS + VALID).split()} | {"defaults", "inputs"})
SCALARS = (
    st.sampled_from(WORDS)
    | st.text(max_size=8)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.dates()
)
STRUCTURES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
    ),
    max_leaves=25,
)


def sound(workspace: Workspace, content: str | bytes) -> None:
    reading = workspace.read(content)
    assert (reading.model is None) == bool(reading.problems)
    for problem in reading.problems:
        assert problem.line >= 1
        assert problem.what
        assert problem.fix
        str(problem).encode()


@QUIET
@given(st.binary(max_size=200))
def test_any_bytes(workspace, content):
    sound(workspace, content)


@QUIET
@given(st.text(st.sampled_from(string.printable + "é\u2028\x85\x00"), max_size=200))
def test_any_text(workspace, content):
    sound(workspace, content.encode())


@QUIET
@given(STRUCTURES)
def test_any_structure(workspace, content):
    sound(workspace, yaml.safe_dump(content, allow_unicode=True))


@QUIET
@given(st.dictionaries(st.sampled_from(["pipelines", "defaults", "branches", "repository",
       "pipelines_repo_name", "python"]), STRUCTURES, min_size=1))  # fmt: skip
def test_any_values_of_known_keys(workspace, content):
    sound(workspace, yaml.safe_dump(content, allow_unicode=True))


@QUIET
@given(st.data())
def test_mutations_of_a_valid_file(workspace, data):
    lines = (AWS + VALID).splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "double", "indent", "cut", "put", "swap"]))
        if change == "drop" and len(lines) > 1:
            del lines[at]
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "indent":
            lines[at] = data.draw(st.sampled_from(["", " ", "   ", "\t", "- "])) + lines[at].strip()
        elif change == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        elif change == "put":
            lines[at] += data.draw(st.sampled_from([*list("{}[]*&!|>%@`'\":#,?-=\\~"), ": x"]))
        else:
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
    sound(workspace, "\n".join(lines))


def test_the_mutated_file_is_valid_before(workspace):
    sound(workspace, AWS + VALID)
    assert workspace.read(AWS + VALID).model is not None
