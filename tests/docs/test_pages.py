"""Every page of the documentation: commands and options that exist, blocks that parse, settings that are read, links that lead somewhere."""

from __future__ import annotations

import ast
import functools
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from config.settings import PREFIX, Settings
from starloop.cli import cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")])
SETTINGS = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
NO_SETTINGS = {
    "STARLOOP_BROKER_PASSWORD": "of `run edge`",
    "STARLOOP_UPLINK_PASSWORD": "of `run edge`",
    "STARLOOP_PROMETHEUS_URL": "of Grafana's provisioning",
    "STARLOOP_SERVERS": "of make servers",
    "STARLOOP_DATA": "of the tests",
}
"""Variables that pages name and that are no fields of the settings, with what reads them."""
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_WORD = re.compile(r"[a-z][a-z-]*(?:\|[a-z-]+)*")
_MAKE = re.compile(r"(?:^|[`\s;&])make ((?:[a-z-]+ ?)+)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, *languages: str) -> list[str]:
    """The page's fenced blocks in these languages."""
    return [block for language, block in _BLOCK.findall(page.read_text()) if language in languages]


def code(page: Path) -> list[str]:
    """All that a reader may type: console and shell blocks, indented blocks, code within sentences; a line each."""
    text = _BLOCK.sub("", page.read_text())
    inline = [" ".join(span.split()) for span in _INLINE.findall(text)]
    lines = "\n".join([*blocks(page, "console", "sh", "bash"), *_INDENTED.findall(text)])
    return [*re.sub(r"\\\n\s*", "", lines).splitlines(), *inline]


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind each `starloop` that a page tells to run."""
    for line in code(page):
        for given in re.findall(r"(?:^|(?<!install)[\s/;(])starloop ([a-z][^\n;#>]*)", line.replace("\\|", "|")):
            try:
                yield shlex.split(re.split(r" [|&]", given)[0])
            except ValueError:
                yield given.split()


@functools.cache
def options(command: click.Command) -> frozenset[str]:
    """What a command takes."""
    named = [name for one in command.params for name in (*one.opts, *one.secondary_opts)]
    return frozenset([*named, "--help", "-h"])


def mistakes(words: list[str]) -> list[str]:
    """What of a command is not there: a subcommand, an option. `a|b` stands for either."""
    found: list[str] = []
    commands_here: list[click.Command] = [cli]
    rest = list(words)
    while rest and all(isinstance(one, click.Group) for one in commands_here) and _WORD.fullmatch(rest[0]):
        names, group = rest.pop(0).split("|"), commands_here[0]
        assert isinstance(group, click.Group)
        commands_here = []
        for name in names:
            command = group.get_command(click.Context(group), name)
            found += [] if command else [f"no command {name!r}"]
            commands_here += [command] if command else []
        if not commands_here:
            return found
    taken = frozenset[str]().union(*(options(one) for one in commands_here))
    asked = [word.split("=")[0].strip("[](),.:") for word in rest if word.lstrip("[").startswith("--")]
    return found + [f"no option {option!r}" for option in asked if option not in taken]


@every_page
def test_every_command_and_option_that_a_page_names_is_there(page: Path) -> None:
    """Each `starloop …` in a block or a sentence is a command, and each of its options is one that it has."""
    assert {" ".join(words): mistakes(words) for words in commands(page) if mistakes(words)} == {}


def test_a_command_that_is_not_there_would_be_found(tmp_path: Path) -> None:
    """The check above can fail: in a block, in a sentence, for a subcommand, for an option."""
    page = tmp_path / "page.md"
    page.write_text(
        "`starloop dance`\n\n```console\n$ starloop run gate --wings 2\n$ starloop log export|burn --data x\n```\n"
    )
    assert [mistakes(words) for words in commands(page)] == [
        ["no option '--wings'"],
        ["no command 'burn'"],
        ["no command 'dance'"],
    ]


@every_page
def test_every_make_target_that_a_page_names_is_one(page: Path) -> None:
    """Of this repository's Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for line in code(page) for words in _MAKE.findall(line) for target in words.split()}
    assert named - targets == set()


@every_page
def test_every_setting_that_a_page_names_is_read(page: Path) -> None:
    """Nobody is told to set what nothing looks at."""
    named = set(re.findall(rf"(?<![A-Z_]){PREFIX}[A-Z0-9_]*[A-Z0-9]\b(?![_*])", page.read_text()))
    assert named - SETTINGS - set(NO_SETTINGS) == set()


@every_page
def test_every_block_of_data_or_code_parses(page: Path) -> None:
    """TOML and Python as they stand; JSON too, but for blocks that are said to be shortened by an ellipsis."""
    for block in blocks(page, "toml"):
        tomllib.loads(block)
    for block in blocks(page, "python"):
        ast.parse(block)
    for block in blocks(page, "json"):
        if "…" not in block:
            json.loads(block)


@every_page
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    """Links within the repository, without their anchors; those of docs/ stay in docs/, as the site has nothing else."""
    text = _INLINE.sub("", _BLOCK.sub("", page.read_text()))
    links = re.findall(r"\]\((?!https?://)([^)#\s]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    if page.is_relative_to(DOCS):
        assert [link for link in links if not (page.parent / link).resolve().is_relative_to(DOCS)] == []


def test_the_index_leads_to_every_page() -> None:
    """docs/README.md has each page, or the index of its section has it."""
    index = (DOCS / "README.md").read_text()
    for page in sorted(DOCS.rglob("*.md")):
        name = page.relative_to(DOCS)
        if name.parts[0] == "decisions" and page.name != "README.md":
            continue  # the records are in the order of their numbers
        section = page.parent / "README.md"
        in_section = section.exists() and section != page and f"({page.name})" in section.read_text()
        assert page == DOCS / "README.md" or f"({name})" in index or in_section, name
