"""`starloop check`: a summary of a valid file, or all errors of an invalid one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from config.profile_file import SHIPPED_PROFILES_DIR
from starloop.cli import cli, main

FLEET = Path(__file__).parents[1] / "data" / "weusedto" / "fleet.toml"
MISTAKES = Path(__file__).parents[1] / "config" / "mistakes.toml"


def run(*arguments: str | Path) -> Result:
    """`starloop check …`."""
    return CliRunner().invoke(cli, ["check", *map(str, arguments)])


def test_an_operator_learns_what_a_fleet_file_holds() -> None:
    """One line for people, one object for programs, exit 0."""
    result = run(FLEET)
    assert (result.exit_code, result.stdout) == (0, f"{FLEET}: 1 customer, 1 device, 2 slots, 0 parts, 1 supplier\n")
    assert json.loads(run(FLEET, "--json").stdout) == {
        "file": str(FLEET), "ok": True, "customers": 1, "devices": 1, "slots": 2, "parts": 0, "suppliers": 1,
        "problems": [],
    }  # fmt: skip


def test_an_operator_learns_what_a_profile_holds() -> None:
    """A profile is distinguished from a fleet file by its top-level names."""
    result = run(SHIPPED_PROFILES_DIR / "coffee-machine.toml")
    assert result.stdout.endswith("profile coffee-machine, slots beans, parts descaling\n")


def test_every_mistake_is_a_line_or_an_object_and_the_exit_is_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit status is 1, and each problem has its file and line."""
    monkeypatch.setattr("sys.argv", ["starloop", "check", str(MISTAKES)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 38
    assert all(line.startswith(f"starloop: {MISTAKES}:") for line in lines)
    result = run(MISTAKES, "--json")
    assert result.exit_code == 1
    body = json.loads(result.stdout)
    assert (body["ok"], len(body["problems"])) == (False, 38)
    assert body["problems"][0].keys() == {"file", "line", "field", "message"}


def test_profiles_of_the_operators_own_count(tmp_path: Path) -> None:
    """--profiles names their folder; without it the profile is unknown."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "salt.toml").write_text(
        "name = 'salt'\ndescription = 'd'\n[slots.salt]\nsignal = 'level'\ncapacity = 25.0\n"
    )
    fleet = tmp_path / "fleet.toml"
    fleet.write_text("[[customers]]\nid = 'c'\n[[devices]]\nid = 'd'\ncustomer = 'c'\nprofile = 'salt'\n")
    assert run(fleet, "--profiles", tmp_path / "p").exit_code == 0
    assert run(fleet).exit_code != 0
