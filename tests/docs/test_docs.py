"""What the documents say is held against the code: commands, options, and the README's examples."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import typer.main
import yaml
from typer.core import TyperGroup

from tidegate.cli import PANELS, main, make_app

ROOT = Path(__file__).parents[2]
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
README = (ROOT / "README.md").read_text()


@functools.cache
def sections() -> dict[str, str]:
    """The part of docs/commands.md about each command."""
    parts = re.split(r"^## tidegate ([a-z]+(?: [a-z]+)*).*$", COMMANDS, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


@functools.cache
def commands() -> dict[str, list[str]]:
    """The options of each command, as the code has them; of groups, those of what is in them."""

    def found(group: TyperGroup, before: str) -> Iterator[tuple[str, list[str]]]:
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                yield from found(command, f"{before}{name} ")
            if not isinstance(command, TyperGroup) or command.invoke_without_command:
                options = [
                    o for param in command.params for o in (*param.opts, *param.secondary_opts)
                ]
                yield before + name, options

    return dict(found(typer.main.get_group(make_app()), ""))


def test_every_command_is_documented_and_no_other():
    assert set(sections()) == set(commands())


def test_every_command_stands_below_a_heading_of_the_help():
    group = typer.main.get_group(make_app())
    assert {name: command.rich_help_panel for name, command in group.commands.items()} == {
        name: panel for panel, names in PANELS.items() for name in names
    }


def test_a_command_is_found_in_its_module():
    names = set(typer.main.get_group(make_app()).commands)
    for name in names:
        alone = set(typer.main.get_group(make_app([name])).commands)
        assert name in alone < names


@pytest.mark.parametrize("name", sorted(sections()))
def test_every_option_is_documented(name):
    everywhere = COMMANDS.split("## tidegate", 1)[0]
    for option in commands()[name]:
        if option.startswith("-"):
            assert f"`{option}`" in sections()[name] + everywhere, f"{option} of {name}"


@pytest.mark.parametrize("name", sorted(sections()))
def test_help_has_an_example(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    assert f"tidegate {name}" in capsys.readouterr().out.split("Usage", 1)[1].split("\n", 1)[1]


def test_the_config_of_the_readme_is_the_example():
    block = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1]
    example = yaml.safe_load((ROOT / "examples" / "pipelines_config.yml").read_text())
    shown = yaml.safe_load(block)
    assert shown["pipelines"][1] == example["pipelines"][1]
    assert (
        shown["pipelines"][0]["configs"]["humboldt"]
        == example["pipelines"][0]["configs"]["humboldt"]
    )


def anchors(document: Path) -> set[str]:
    """What a link can name of a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ +(.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^):]+)\)", document.read_text()):
            file, _, anchor = target.partition("#")
            page = document.parent / file if file else document
            assert page.exists(), f"{document.name}: {target}"
            assert not anchor or anchor in anchors(page), f"{document.name}: {target}"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder in which ``tidegate demo`` has made ``demo``; tests in this module share it."""
    folder = tmp_path_factory.mktemp("demo")
    made = json.loads(run_in(folder, "tidegate demo --json"))
    assert made["runs"]["lidar/humboldt"] == {"failed": 1, "succeeded": 3}
    assert made["runs"]["lidar/morro"] == {"succeeded": 3}
    assert made["runs"]["lidar_vap/humboldt"]["succeeded"] == 3
    return folder


def run_in(folder: Path, line: str, expected: int = 0) -> str:
    """Run a command line, and return what it prints."""
    command = [sys.executable, "-m", "tidegate", *shlex.split(line)[1:]]
    if command[3] in ("check", "up", "retry", "reprocess", "emulate"):
        command += ["--python", sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == expected, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_commands_of_the_readme(demo):
    """In the order in which they stand, in a demo made before them."""
    failed = run_in(demo, "tidegate runs -w demo --failed").split("\t")[0]
    lines = [
        line.removeprefix("$ ")
        for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) >= 7
    for line in lines:
        # The file that was cut off is still cut off.
        fails = " retry " in line or " emulate " in line
        with few_files(demo) if " emulate " in line else contextlib.nullcontext():
            run_in(demo, line.replace("RUN", failed), expected=int(fails))


@contextlib.contextmanager
def few_files(folder: Path) -> Iterator[None]:
    """Meanwhile, the demo has two raw files: a good one, and the one that was cut off."""
    files = {path: path.stat().st_size for path in (folder / "demo/input/lidar").rglob("*.7z")}
    humboldt = sorted((path for path in files if path.parent.name == "humboldt"), key=files.get)
    away = {
        path: folder / f"{path.parent.name}-{path.name}"
        for path in files
        if path not in (humboldt[0], humboldt[-1])
    }
    for path, place in away.items():
        path.rename(place)
    try:
        yield
    finally:
        for path, place in away.items():
            place.rename(path)


@pytest.mark.slow
def test_every_page_of_the_dashboard_shows_the_demo(demo, tmp_path):
    """In a browser: accessible, on a phone and in the dark, on paper, without errors."""
    from web_browser import Visit, chromium  # other tests here need neither browser nor server

    from tidegate.web.options import WebOptions
    from tidegate.web.serving import WebServer
    from tidegate.workspace.session import TargetOptions

    target = TargetOptions(demo / "demo")
    with chromium() as browser, WebServer(target, WebOptions(), python=sys.executable) as server:
        wide = Visit(browser, server.url, tmp_path, color_scheme="light")
        phone = Visit(
            browser,
            server.url,
            tmp_path,
            color_scheme="dark",
            viewport={"width": 390, "height": 800},
        )
        for name, path in addresses(server.url).items():
            for visit in (wide, phone):
                visit.page.goto(path)
                for picture in visit.page.locator(".look img").all():
                    picture.evaluate("image => image.decode()")  # raises if it is no picture
                visit.check(name)
    assert wide.problems + phone.problems == []


def addresses(url: str) -> dict[str, str]:
    """A page of each kind, from what is on record."""
    from tidegate.web.pages import ENDPOINTS

    def data(path: str) -> Any:
        with urlopen(f"{url}api/{path}", timeout=60) as answer:
            return json.load(answer)

    (failed,) = data("runs?state=failed")["runs"][:1]
    made = next(run for run in data("runs?config=lidar/humboldt")["runs"] if "products" in run)
    product = next(one for one in made["products"] if one["kind"] == "data")
    key, stream = quote(product["key"]), product["datastream"]
    day = product["begin"][:10]
    given = {
        "run": f"runs/{failed['key']}",
        "product": f"products/{key}",
        "content": f"contents/{key}",
        "compare": f"compare?first={key}",
        "day": f"availability/day?datastream={stream}&day={day}",
        "timeline": f"timeline?day={made['started'][:10]}",
        "plots": f"plots?day={day}",
    }
    pages = {name: given.get(name, one.path) for name, one in ENDPOINTS.items()}
    return {**pages, "products of one": f"products?datastream={stream}&begin={day}&end={day}"}
