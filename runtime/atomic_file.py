"""Atomic replacement of a file: a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, body: bytes, *, mode: int = 0o666) -> None:
    """Replaces the file's content. mode: permissions of a new file, less the process's umask. Raises OSError.

    It does not flush to disk: for files that can be written again after a power cut.
    """
    temporary = path.with_name(path.name + ".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(body)
    temporary.replace(path)
