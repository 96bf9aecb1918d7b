"""The installation's signing secret, used for suppliers whose table in the fleet file has none.

It is generated once, kept in a file that only the service's user can read, and never logged. Where there are several
suppliers, a secret for each is safer: with a shared one, each could forge orders to the others.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

SECRET_FILE = "webhook-secret"
"""Name of the file in the data directory."""
_SECRET_BYTES = 32
"""Length of a secret in bytes, within the 24 to 64 that Standard Webhooks asks for."""


def installation_secret(data: Path) -> str:
    """The secret (`whsec_…`) of the data directory; written, with mode 0600, on first use.

    The file appears whole under its name, so that a process killed in between leaves no half of a secret.
    """
    path = data / SECRET_FILE
    fresh = "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    part = path.with_name(f"{SECRET_FILE}.{os.getpid()}")
    if not path.exists():
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(fresh + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    return path.read_text().strip()
