"""Security of listening endpoints: which addresses need credentials and TLS, and the TLS context of a server."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from config.settings import Settings
from star.errors import InputError


def check_exposure(settings: Settings, *, mqtt: bool = True, http: bool = True) -> None:
    """Raises InputError if an endpoint beyond loopback lacks TLS, or for MQTT credentials, unless --insecure is set.

    mqtt, http: the endpoints that this process has.
    """
    if settings.insecure:
        return
    tls = [("STARLOOP_TLS_CERT", settings.tls_cert), ("STARLOOP_TLS_KEY", settings.tls_key)]
    for present, host, needs in (
        (mqtt, settings.mqtt_host, [("STARLOOP_MQTT_CREDENTIALS", settings.mqtt_credentials), *tls]),
        (http, settings.http_host, tls),
    ):
        if present and not is_loopback(host) and any(value is None for _, value in needs):
            raise InputError(
                f"host is {host!r}, reachable from other machines: expected credentials and TLS"
                f" ({', '.join(name for name, _ in needs)}), or --insecure to allow it anyway"
            )


def is_loopback(host: str) -> bool:
    """Whether a host name or address is reachable from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """TLS context of a server, from version 1.2; None without a certificate. Raises InputError."""
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{cert}: {error}: expected a certificate chain and, with --tls-key, its key") from error
    return context
