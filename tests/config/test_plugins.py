"""Plug-ins: what an installed distribution provides is found by name, or what is wrong with it is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Protocol

import pytest

from config import plugins
from config.fleet_file import load_catalogue
from config.plugins import ADAPTERS_GROUP, load, profile_dirs
from config.profile_file import load_profiles
from star.errors import ConfigError

GROUP = "starloop.greeters"


class Greeter(Protocol):
    """What the plug-ins of the tests are expected to be."""

    @property
    def language(self) -> str:
        """A property, which an attribute may stand for."""
        ...

    def greet(self, name: str) -> str:
        """A method."""
        ...


class FrenchGreeter:
    """A greeter."""

    language = "fr"

    def greet(self, name: str) -> str:
        """French."""
        return f"Bonjour {name}"


class GreeterOfSomeone(FrenchGreeter):
    """A class that can't be called without arguments."""

    def __init__(self, name: str) -> None:
        self.name = name


greeter = FrenchGreeter()
silent = object()


def entry(name: str, value: str) -> EntryPoint:
    """An entry point of this module, or of the module that is named."""
    return EntryPoint(name=name, value=value if ":" in value else f"{__name__}:{value}", group=GROUP)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())


def _this_module() -> object:
    module = type(sys)(__name__)
    vars(module).update(globals())
    return module


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution on the path with an adapter and a folder of profiles."""
    info = tmp_path / "acme_salt-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-salt\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[starloop.adapters]\nzz-salt = acme_salt\n[starloop.profiles]\nsalt = acme_salt\n"
    )
    package = tmp_path / "acme_salt"
    package.mkdir()
    (package / "__init__.py").write_text("def decode(topic, payload, arrived_ms):\n    return []\n")
    (package / "salt.toml").write_text(
        "name = 'salt'\ndescription = 'Softener salt'\n[slots.salt]\nsignal = 'level'\ncapacity = 25.0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield info
    sys.modules.pop("acme_salt", None)


def test_objects_and_classes_are_loaded_by_name() -> None:
    """A class is called, an object taken as it is; the names are sorted."""
    found = load(GROUP, Greeter, [entry("b", "greeter"), entry("a", "FrenchGreeter")])  # type: ignore[type-abstract]
    assert list(found) == ["a", "b"]
    assert [one.greet("Ada") for one in found.values()] == ["Bonjour Ada"] * 2
    assert load(GROUP, FrenchGreeter, [entry("b", "greeter")])["b"] is greeter


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("gone", "greeters.x: can't be loaded"),
        ("no_such_module:greeter", "greeters.x: can't be loaded"),
        ("silent", "has no greet and no language: expected an object of kind .*Greeter, with greet, language"),
        ("GreeterOfSomeone", "is a class that can't be called without arguments"),
    ],
)
def test_an_object_that_is_no_plugin_is_refused_by_name(value: str, message: str) -> None:
    """The distribution, the entry point and what was expected are in the message."""
    with pytest.raises(ConfigError, match=f"plug-in of an unknown distribution: starloop.*{message}"):
        load(GROUP, Greeter, [entry("x", value)])  # type: ignore[type-abstract]


def test_an_object_of_another_class_is_refused() -> None:
    """Where a class is expected, its members alone are not enough."""
    with pytest.raises(ConfigError, match=r"is of type FrenchGreeter: expected .*GreeterOfSomeone"):
        load(GROUP, GreeterOfSomeone, [entry("x", "greeter")])


def test_two_plugins_of_one_name_are_refused() -> None:
    """Neither silently replaces the other."""
    with pytest.raises(ConfigError, match="is there twice"):
        load(GROUP, Greeter, [entry("x", "greeter"), entry("x", "FrenchGreeter")])  # type: ignore[type-abstract]


def test_a_group_without_the_built_in_plugins_is_reported() -> None:
    """An installation without entry points, such as one of an older version, is not taken for an empty one."""
    with pytest.raises(ConfigError, match=r"distribution starloop: starloop\.greeters: has no entry points"):
        load(GROUP, Greeter)  # type: ignore[type-abstract]


@pytest.mark.usefixtures("installed")
def test_a_distribution_brings_an_adapter_and_profiles(tmp_path: Path) -> None:
    """Both are found through entry points."""
    assert "salt" in load_profiles(*profile_dirs())
    assert load_profiles(*profile_dirs())["salt"].slots["salt"].capacity == 25.0
    fleet = tmp_path / "fleet.toml"
    fleet.write_text("[[customers]]\nid = 'c'\n[[devices]]\nid = 'd'\ncustomer = 'c'\nprofile = 'salt'\n")
    assert load_catalogue(fleet).slots.keys() == {"d/salt"}


def test_a_plugin_that_can_t_be_imported_is_named(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution and the entry point are in the message."""
    monkeypatch.setattr(plugins, "OWN_DISTRIBUTION", "acme-salt")
    (installed / "entry_points.txt").write_text(
        "[starloop.adapters]\nzz-salt = acme_salt:gone\n[starloop.profiles]\nsalt = acme_gone\n"
    )
    with pytest.raises(ConfigError, match=r"acme-salt: starloop\.adapters\.zz-salt: can't be loaded"):
        load(ADAPTERS_GROUP, object)
    with pytest.raises(ConfigError, match=r"acme-salt: starloop\.profiles\.salt: can't be found"):
        profile_dirs()
