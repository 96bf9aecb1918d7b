"""Settings: documented, taken from the environment, and refused in one line that names the variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import Settings, settings_rows, settings_table, unknown_variables
from star.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def test_an_operator_finds_every_setting_in_the_reference() -> None:
    """docs/reference/settings.md holds the table that the code gives, row by row."""
    assert settings_table() in PAGE.read_text(), "write settings_table() into docs/reference/settings.md"


def test_a_setting_has_a_name_a_default_a_unit_and_a_help() -> None:
    """Names that end in a unit have it; every help is a sentence."""
    for name, default, unit, help in settings_rows():
        assert default, name
        assert help.endswith("."), name
        for ending in ("MS", "S", "DAYS"):
            if name.endswith(f"_{ending}"):
                assert unit == ending.lower(), name


def test_an_option_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """STARLOOP_MQTT_PORT counts, unless the command says a port; an option not given does not."""
    monkeypatch.setenv("STARLOOP_MQTT_PORT", "2883")
    assert Settings.read().mqtt_port == 2883
    assert Settings.read(mqtt_port=None).mqtt_port == 2883
    assert Settings.read(mqtt_port=0).mqtt_port == 0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STARLOOP_MQTT_PORT", "99999", "STARLOOP_MQTT_PORT: is '99999': expected less than or equal to 65535"),
        ("STARLOOP_BATCH_MS", "soon", "STARLOOP_BATCH_MS: is 'soon'"),
        ("STARLOOP_LOG_LEVEL", "loud", "STARLOOP_LOG_LEVEL: is 'loud': expected 'debug', 'info'"),
        ("STARLOOP_PROFILE_DIRS", "/etc", "profile_dirs"),
        ("STARLOOP_TLS_CERT", "cert.pem", "expected tls_cert and tls_key together"),
        ("STARLOOP_TICK_IDLE_MS", "5", "expected tick_idle_ms not below tick_busy_ms"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    """The message names the variable, what was found and what was expected."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        Settings.read()
    assert said in str(caught.value)


def test_a_token_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The InfluxDB token does not appear when settings are printed."""
    monkeypatch.setenv("STARLOOP_INFLUX_TOKEN", "s3cret")
    assert "s3cret" not in repr(Settings.read())


def test_variables_that_are_no_settings_are_reported() -> None:
    """A misspelt variable is found, with what may have been meant."""
    given = {"STARLOOP_MQTT_PROT": "1", "STARLOOP_DATA": "/x", "STARLOOP_HTTP_PORT": "1", "PATH": "/bin"}
    assert unknown_variables(given) == ['STARLOOP_MQTT_PROT (did you mean "STARLOOP_MQTT_PORT"?)']
