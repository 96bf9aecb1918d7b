"""The service that owns a data directory, as other commands find and ask it: over its HTTP API, with its local token.

The running service writes service.json when it is ready and removes it when it stops; after a kill it stays behind, so
a file alone proves nothing: the process must live, and hold the directory's lock.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from runtime.data_dir import SERVICE_FILE
from star.errors import InputError, StarloopError, Unavailable
from stream.transports.embedded_log.directory_lock import LOCK_NAME

REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """A running service: its process, its ports on this machine, and the token that makes a command an operator."""

    pid: int
    mqtt_port: int
    http_port: int
    token: str

    def get_json(self, path: str) -> Any:
        """The JSON that the HTTP API gives for `path`.

        Raises Unavailable where it does not answer, InputError, with its own words, where it refuses.
        """
        url = f"http://127.0.0.1:{self.http_port}{path}"
        try:
            with httpx.Client(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
                answer = client.get(url, headers={"authorization": f"Bearer {self.token}"})
        except httpx.HTTPError as error:
            raise Unavailable(f"{url} does not answer: {type(error).__name__} {error}".strip()) from error
        if answer.status_code != 200:
            raise InputError(f"{url} answers {answer.status_code}: {_error_detail(answer)}")
        try:
            return answer.json()
        except ValueError as error:
            raise StarloopError(f"{url} answers something that is not JSON") from error


def find_running_service(data: Path) -> RunningService | None:
    """The service that owns the directory now, or None. Raises InputError for a service file that can't be read."""
    path = data / SERVICE_FILE
    try:
        fields = json.loads(path.read_text())
        found = RunningService(
            pid=int(fields["pid"]),
            mqtt_port=int(fields["mqtt_port"]),
            http_port=int(fields["http_port"]),
            token=str(fields["token"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: can't be read ({error}): start the service again, it writes the file anew"
        ) from error
    return found if lock_holder(data) is not None and _is_alive(found.pid) else None


def lock_holder(data: Path) -> int | None:
    """The process that holds the directory's lock, or None where nobody does (0 where its number can't be read)."""
    try:
        with (data / LOCK_NAME).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = file.read(32).strip()
                return int(text) if text.isdigit() else 0
    except OSError:
        return None
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _error_detail(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:200]
    return str(body.get("detail", body))[:300] if isinstance(body, dict) else str(body)[:300]
