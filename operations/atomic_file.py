"""Atomic file replacement: a reader sees the old file or the complete new one, also after a crash."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from star.errors import InputError


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """A temporary file that replaces `path` when the block ends, and is deleted if the block fails.

    Raises InputError if the file can't be written.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: {error.strerror}: expected a writable file") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
