"""The installation's own signing secret: for suppliers whose table in the fleet file names none.

It is made once, kept in a file that only the service's user can read, and never logged. A supplier verifies with it
what a secret of its own would sign; giving suppliers a secret each is better where there are several.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

SECRET_FILE = "webhook-secret"
"""The file's name in the data directory."""
_SECRET_BYTES = 32


def installation_secret(data: Path) -> str:
    """The secret (`whsec_…`) of the data directory; made, with mode 0600, on first use."""
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
