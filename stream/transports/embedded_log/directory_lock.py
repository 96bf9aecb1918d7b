"""Lock of a data directory: one process owns it as long as it lives.

The lock is the kernel's (flock), so a killed process leaves none behind; the process id in the file is for the error message.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from star.errors import LogError

LOCK_NAME = "owner.lock"


class DirectoryLock:
    """The lock, held from construction to `release`. Raises LogError, with the process id, where another process holds it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / LOCK_NAME
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LogError(
                f"{self.path}: can't be opened ({error.strerror}): expected a directory to write in"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise LogError(
                f"{directory}: in use by process {holder}: stop it, or choose another directory with --data"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Releases the lock. The file stays, since removing it would race with the next owner."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
