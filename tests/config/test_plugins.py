"""Plug-ins: what an installed distribution brings is found by name, or its fault is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.fleet_file import load_catalogue
from config.plugins import ADAPTERS_GROUP, load_plugins, profile_dirs
from config.profile_file import load_profiles
from star.errors import ConfigError


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution on the path with an adapter and a folder of profiles."""
    info = tmp_path / "acme_salt-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-salt\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[starloop.adapters]\nzz-salt = acme_salt:adapt\n[starloop.profiles]\nsalt = acme_salt\n"
    )
    package = tmp_path / "acme_salt"
    package.mkdir()
    (package / "__init__.py").write_text("def adapt(topic, payload, received_at):\n    return []\n")
    (package / "salt.toml").write_text(
        "name = 'salt'\ndescription = 'Softener salt'\n[slots.salt]\nsignal = 'level'\ncapacity = 25.0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield info
    sys.modules.pop("acme_salt", None)


def test_a_plug_in_brings_an_adapter_and_profiles(installed: Path) -> None:
    """Both are found through entry points, with the distribution's name."""
    ours = [plugin for plugin in load_plugins(ADAPTERS_GROUP) if plugin.name == "zz-salt"]
    assert [plugin.distribution for plugin in ours] == ["acme-salt"]
    assert callable(ours[0].loaded)
    assert load_profiles(*profile_dirs())["salt"].slots["salt"].capacity == 25.0
    fleet = installed.parent / "fleet.toml"
    fleet.write_text("[[customers]]\nid = 'c'\n[[devices]]\nid = 'd'\ncustomer = 'c'\nprofile = 'salt'\n")
    assert load_catalogue(fleet).slots.keys() == {"d/salt"}


def test_a_plug_in_that_can_t_be_loaded_is_named(installed: Path) -> None:
    """The distribution and the entry point are in the message."""
    (installed / "entry_points.txt").write_text(
        "[starloop.adapters]\nzz-salt = acme_salt:gone\n[starloop.profiles]\nsalt = acme_gone\n"
    )
    with pytest.raises(ConfigError, match=r"acme-salt: starloop\.adapters\.zz-salt: can't be loaded"):
        list(load_plugins(ADAPTERS_GROUP))
    with pytest.raises(ConfigError, match=r"acme-salt: starloop\.profiles\.salt: can't be found"):
        profile_dirs()
