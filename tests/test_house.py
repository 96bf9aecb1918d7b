"""The house: what HOUSE.md's rules can be checked by machine, for every file of the project.

What it can't check (whether a name is good, whether a comment says why) is for a reader.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from starloop.cli import COMMANDS, cli

ROOT = Path(__file__).parents[1]
ROOMS = (
    "star",
    "config",
    "edge",
    "simulators",
    "models",
    "stream",
    "reactor",
    "console",
    "runtime",
    "evaluation",
    "operations",
    "starloop",
)
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
LINE_CHARACTERS_MAX = 140
ASYNC_ROOMS = {"edge", "stream", "reactor", "console", "runtime", "operations", "starloop"}
ANY_IN_STAR = {"analyse.py", "react.py", "records.py"}
"""Files of star/ that read JSON or make it, and so meet Any at their edge; no other file may."""
SLEEPERS = {"starloop/bench/ingest.py", "simulators/load.py"}
"""Files that may call time.sleep: the load generator, a process of its own whose purpose is its pace."""

_HOMES = r"/roo[t]/|/home/[a-z]+/"
# The path of this very checkout counts too, where it is long enough to be no word of its own.
_WORKPLACE = re.compile(f"{re.escape(str(ROOT))}/|{_HOMES}" if len(ROOT.parts) > 2 else _HOMES)
_BANNER = re.compile(r"^\s*#\s*([-=*#~]{4,}|.*[-=*#~]{8,}\s*$)")
_CODE = re.compile(r"^\s*#\s*(def |class |import |from \w+ import |return\b|if .*:$|for .* in .*:$|\w+ = \w+\(.*\)$)")
_UNFINISHED = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")
_BARE = re.compile(r"#\s*(type:\s*ignore(?!\[)|noqa(?!:))")


def sources(*rooms: str) -> list[Path]:
    """Every Python file of the rooms."""
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


LIBRARY = sources(*ROOMS)
TESTS = sources("tests")
EVERY = [*LIBRARY, *TESTS]


def shown(path: Path) -> str:
    """The path from the root of the repository."""
    return str(path.relative_to(ROOT))


def trees(paths: list[Path]) -> Iterator[tuple[str, ast.Module]]:
    """Every file's path with its syntax tree."""
    for path in paths:
        yield shown(path), ast.parse(path.read_text(), filename=str(path))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, methods and inner ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def matching(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """`file:line` of every line that the pattern is found in."""
    return [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def test_a_file_is_split_before_it_has_more_than_400_lines() -> None:
    """No Python file is longer."""
    assert [shown(path) for path in EVERY if path.read_text().count("\n") > FILE_LINES_MAX] == []


def test_a_line_fits_on_a_screen() -> None:
    """No line of code is much longer than the 120 characters that the formatter keeps code to."""
    long = re.compile(rf"^(?!.*  # (noqa|type): ).{{{LINE_CHARACTERS_MAX + 1},}}")
    assert matching(long, LIBRARY) == []


def test_a_function_has_at_most_70_lines() -> None:
    """From its def to its last line."""
    long = [
        f"{path}:{one.lineno} {one.name}"
        for path, tree in trees(EVERY)
        for one in functions(tree)
        if (one.end_lineno or one.lineno) - one.lineno >= FUNCTION_LINES_MAX
    ]
    assert long == []


def test_a_module_says_what_it_is() -> None:
    """Every module with code in it has a docstring."""
    assert [path for path, tree in trees(EVERY) if tree.body and not ast.get_docstring(tree)] == []


def test_a_public_name_says_what_it_gives() -> None:
    """Public classes and functions at the top of a module of the library have docstrings."""
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in trees(LIBRARY)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_a_test_states_the_fact_it_proves() -> None:
    """Every test has a docstring, and a name of at least four words."""
    silent = [
        f"{path}:{one.lineno} {one.name}"
        for path, tree in trees(TESTS)
        for one in functions(tree)
        if one.name.startswith("test_") and (not ast.get_docstring(one) or one.name.count("_") < 4)
    ]
    assert silent == []


def test_comments_are_sentences_not_banners_or_old_code() -> None:
    """No banner, no commented-out code, nothing left unfinished."""
    others = [path for path in EVERY if path != Path(__file__)]
    assert matching(_BANNER, others) + matching(_CODE, others) + matching(_UNFINISHED, others) == []


def test_a_silenced_warning_says_which() -> None:
    """No bare `type: ignore` or `noqa`."""
    assert matching(_BARE, [path for path in EVERY if path != Path(__file__)]) == []


def test_nothing_in_the_repository_names_the_machine_it_was_written_on() -> None:
    """No absolute path of a workplace in any tracked text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    found: list[str] = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if not name or path == Path(__file__) or not path.is_file() or path.stat().st_size > 2_000_000:
            continue
        text = path.read_bytes()
        if b"\0" not in text and _WORKPLACE.search(text.decode("utf-8", "replace")):
            found.append(name)
    assert found == []


def test_the_core_knows_its_types() -> None:
    """`Any` appears in star/ only where JSON is read or made."""
    users = {Path(path).name for path, tree in trees(sources("star")) for node in ast.walk(tree) if _is_any(node)}
    assert users <= ANY_IN_STAR


def _is_any(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "Any"


def test_the_core_is_pure() -> None:
    """star/ imports the standard library and numpy only, and nothing that reads a clock, a file, a socket or chance."""
    allowed = {"__future__", "base64", "collections", "dataclasses", "datetime", "enum", "functools", "hashlib"}
    allowed |= {"itertools", "json", "math", "re", "statistics", "struct", "typing", "numpy", "star"}
    found: set[str] = set()
    for _, tree in trees(sources("star")):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").split(".")[0])
    assert found <= allowed, found - allowed


def test_nothing_in_the_library_sleeps() -> None:
    """No time.sleep: time is an argument, and waiting is the event loop's or a condition's."""
    sleeping = matching(re.compile(r"\btime\.sleep\(|from time import .*\bsleep\b"), LIBRARY)
    assert [one for one in sleeping if one.split(":")[0] not in SLEEPERS] == []


def test_only_the_rims_are_async() -> None:
    """No coroutine in star, config, models or simulators' physics."""
    found = [
        f"{path}:{one.lineno}"
        for path, tree in trees([path for path in LIBRARY if path.relative_to(ROOT).parts[0] not in ASYNC_ROOMS])
        for one in functions(tree)
        if isinstance(one, ast.AsyncFunctionDef) and not path.startswith("star/ports")
    ]
    assert found == []


def test_imports_point_one_way() -> None:
    """import-linter's contracts hold."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    """Its module imports, has a click command, and `--help` says what it does."""
    command = importlib.import_module(COMMANDS[name]).command
    assert isinstance(command, click.Command)
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert command.help


def test_decisions_are_written_down() -> None:
    """Each record is numbered, fits a page, and says what was decided and why."""
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text()
        assert text.count("\n") <= 60, path.name
        assert "## Decided" in text, path.name
        assert "## Why" in text, path.name


def test_the_wheel_holds_every_room() -> None:
    """pyproject names every room for the wheel, the linter, the type checker and coverage."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert set(project["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(ROOMS)
    assert set(project["importlinter"]["root_packages"]) == set(ROOMS)
    assert set(project["mypy"]["packages"]) == set(ROOMS)
    assert set(project["coverage"]["run"]["source"]) == set(ROOMS)
