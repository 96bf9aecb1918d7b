"""`starloop check FILE`: validates a fleet file or profile: one line per error, or one summary line.

The kind of file is recognised by its top-level names. Nothing is started or sent.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from config.catalogue import Catalogue
from config.fleet_file import load_catalogue
from config.profile_file import load_profile
from config.profile_schema import Profile
from config.toml.reader import read_toml
from star.errors import ConfigError

_PROFILE_NAMES = frozenset(Profile.model_fields)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--profiles",
    "folders",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    multiple=True,
    help="Folder with additional profiles; repeatable. A folder `profiles` beside FILE is used too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, folders: tuple[Path, ...], as_json: bool) -> None:
    """Validate a fleet file or profile.

    Every error is one line with file, line, field and what was expected.
    """
    try:
        summary = _profile_summary(file) if _is_profile(file) else _fleet_summary(file, folders)
    except ConfigError as error:
        if not as_json:
            raise
        problems = [asdict(problem) for problem in error.problems]
        click.echo(json.dumps({"file": str(file), "ok": False, "problems": problems}, ensure_ascii=False))
        raise click.exceptions.Exit(1) from None
    if as_json:
        click.echo(json.dumps({"file": str(file), "ok": True, **summary, "problems": []}, ensure_ascii=False))
    else:
        click.echo(f"{file}: {', '.join(_counted(name, value) for name, value in summary.items())}")


def _is_profile(file: Path) -> bool:
    names = read_toml(file).data.keys()
    return bool(names & _PROFILE_NAMES) and not names & {"customers", "devices", "suppliers"}


def _fleet_summary(file: Path, folders: tuple[Path, ...]) -> dict[str, Any]:
    from reactor.suppliers.registry import supplier_strategies  # loads numpy, which a profile does not need

    catalogue: Catalogue = load_catalogue(file, *folders)
    supplier_strategies()  # names of kinds are checked by the fleet file; this checks what they provide
    return {
        "customers": len(catalogue.customers),
        "devices": len(catalogue.devices),
        "slots": len(catalogue.slots),
        "parts": len(catalogue.parts),
        "suppliers": len(catalogue.suppliers),
    }


def _profile_summary(file: Path) -> dict[str, Any]:
    profile = load_profile(file)
    return {"profile": profile.name, "slots": list(profile.slots), "parts": list(profile.parts)}


def _counted(name: str, value: Any) -> str:
    if isinstance(value, int):
        return f"{value} {name[:-1] if value == 1 else name}"
    return f"{name} {', '.join(value) or 'none'}" if isinstance(value, list) else f"{name} {value}"
