"""Atomic replacement of a file: a reader sees the old content or all of the new, never a part, also after a crash."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from star.errors import InputError


def write_atomically(path: Path, body: bytes, *, mode: int = 0o666) -> None:
    """Replaces the file's content. mode: permissions of a new file, less the process's umask. Raises OSError.

    It does not flush to disk: for files that can be written again after a power cut.
    """
    temporary = path.with_name(path.name + ".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(body)
    temporary.replace(path)


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """A temporary file that is flushed to disk and replaces `path` when the block ends; it is deleted if the block fails.

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
