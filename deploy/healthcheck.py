"""Whether the process in this container lives: the answer of /healthz at a role's health port, or else at the console's.

It is run by the container engine, with the environment of the process it asks about, and needs the standard library only.
"""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 2.0
PLACES = (("HEALTH", "9464"), ("HTTP", "8080"))
"""A role without the console has the first, the console and `starloop up` have the second; both with their default ports."""


def addresses(environment: dict[str, str]) -> list[str]:
    """Where /healthz may be."""
    found = []
    for name, port in PLACES:
        host = environment.get(f"STARLOOP_{name}_HOST", "")
        here = "127.0.0.1" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        scheme = "https" if name == "HTTP" and environment.get("STARLOOP_TLS_CERT") else "http"
        found.append(f"{scheme}://{here}:{environment.get(f'STARLOOP_{name}_PORT', port)}/healthz")
    return found


def lives(address: str) -> bool:
    """Whether it answers. The certificate names the address that others use, not this one, so it is not looked at."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unchecked)
    )
    try:
        with opener.open(address, timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(not any(lives(address) for address in addresses(dict(os.environ))))
