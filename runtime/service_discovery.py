"""Service discovery: how commands find the service that owns a data directory, and call its HTTP API with its local token.

The service writes service.json when it is ready and removes it when it stops. A killed service leaves the file behind, so the
file alone proves nothing: the process must be alive and the directory's lock held.
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
"""Longest wait for the API's response; a healthy service on the same machine takes milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """A running service: its process, its ports on this machine, and the token that authorizes commands as its operator."""

    pid: int
    mqtt_port: int
    http_port: int
    token: str

    def get_json(self, path: str) -> Any:
        """The decoded JSON body that the HTTP API returns for `path`.

        Raises Unavailable where it can't be reached, InputError with the API's reason for a status other than 200, StarloopError
        for a body that is not JSON.
        """
        url = f"http://127.0.0.1:{self.http_port}{path}"
        try:
            with httpx.Client(timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
                response = client.get(url, headers={"authorization": f"Bearer {self.token}"})
        except httpx.HTTPError as error:
            raise Unavailable(f"{url} does not answer: {type(error).__name__} {error}".strip()) from error
        if response.status_code != 200:
            raise InputError(f"{url} answers {response.status_code}: {_error_detail(response)}")
        try:
            return response.json()
        except ValueError as error:
            raise StarloopError(f"{url} answers with a body that is not JSON") from error


def find_running_service(data: Path) -> RunningService | None:
    """The service that owns the directory now, or None where none runs. Raises InputError for an unreadable service.json."""
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
        raise InputError(f"{path}: can't be read ({error}): restart the service, which writes the file anew") from error
    return found if lock_holder(data) is not None and _is_alive(found.pid) else None


def lock_holder(data: Path) -> int | None:
    """The process that holds the directory's lock, or None where none does; 0 where its number can't be read."""
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


def _error_detail(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.text[:200]
    return str(body.get("detail", body))[:300] if isinstance(body, dict) else str(body)[:300]
