"""Authentication and authorization of MQTT clients: credentials, roles and the topics of each role.

Without credentials every client on loopback is an operator. With them a device may publish and subscribe only under its
own topics, a customer under those of their devices, an operator everywhere; and only a customer's own credentials, or an
operator's, may accept what spends money. There is no I/O but reading the credentials file.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import argon2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.adapters.canonical import TOPIC_ROOT
from star.errors import ConfigError, Problem

VERIFIED_PASSWORDS_MAX = 10_000
"""Most verified passwords in the cache, which spares a reconnecting fleet one argon2 hash (about 50 ms) for each client."""
SYSTEM = "$SYS"


class Role(StrEnum):
    """Role of a client."""

    OPERATOR = "operator"
    DEVICE = "device"
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated client. owns_device: whether a device's topics are the client's; an operator's are all."""

    name: str
    role: Role
    owns_device: Callable[[str], bool]
    may_accept: bool

    def may_publish(self, topic: str) -> bool:
        """Whether it may publish to `topic`. Reactions are published by the service and operators only."""
        if topic.startswith(SYSTEM):
            return False
        return self.role is Role.OPERATOR or (self._owns_topic(topic) and not topic.endswith("/reactions"))

    def may_subscribe(self, pattern: str) -> bool:
        """Whether it may subscribe to the filter `pattern` (without `$share/<group>/`)."""
        return self.role is Role.OPERATOR or self._owns_topic(pattern)

    def _owns_topic(self, topic: str) -> bool:
        levels = topic.split("/")
        return topic.startswith(TOPIC_ROOT) and len(levels) > 3 and self.owns_device(levels[2])


def operator_principal(name: str) -> Principal:
    """A principal without restrictions."""
    return Principal(name=name, role=Role.OPERATOR, owns_device=lambda device: True, may_accept=True)


class Credential(BaseModel):
    """One `[[users]]` table of the credentials file. password: an argon2 hash (`$argon2id$…`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    user: Annotated[str, Field(min_length=1, max_length=128)]
    password: Annotated[str, Field(pattern=r"^\$argon2(id|i|d)\$")]
    role: Literal["operator", "device", "customer"]
    device: str | None = None
    customer: str | None = None


class Authenticator:
    """Authenticates clients by user name and password.

    credentials: by user name; None: anonymous clients are operators. customer_of: a device's customer, or None for a
    device that is not in the fleet.
    """

    def __init__(self, credentials: Mapping[str, Credential] | None, customer_of: Callable[[str], str | None]) -> None:
        self._credentials = credentials
        self._customer_of = customer_of
        self._hasher = argon2.PasswordHasher()
        self._secret = os.urandom(32)
        self._verified: dict[str, bytes] = {}

    def authenticate_cached(self, user: str | None, password: bytes | None) -> Principal | None:
        """The principal where no hash has to be computed: without credentials, or with a password verified before."""
        if self._credentials is None:
            return operator_principal("anonymous")
        credential = self._credentials.get(user or "")
        seen = self._verified.get(user or "")
        if credential is None or password is None or seen is None:
            return None
        return self._principal(credential) if hmac.compare_digest(seen, self._digest(password)) else None

    def authenticate(self, user: str | None, password: bytes | None) -> Principal | None:
        """The principal, or None for a wrong name or password. Takes about 50 ms of CPU: not for the event loop."""
        credential = (self._credentials or {}).get(user or "")
        # An unknown user takes the same time, so that response times do not show which names exist.
        verified = self._verify(_DUMMY_HASH if credential is None else credential.password, password or b"")
        if credential is None or not verified:
            return None
        if len(self._verified) >= VERIFIED_PASSWORDS_MAX:
            self._verified.clear()
        self._verified[credential.user] = self._digest(password or b"")
        return self._principal(credential)

    def _verify(self, known: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    def _digest(self, password: bytes) -> bytes:
        return hmac.digest(self._secret, password, hashlib.sha256)

    def _principal(self, credential: Credential) -> Principal:
        if credential.role == "operator":
            return operator_principal(credential.user)
        if credential.role == "device":
            own = credential.device
            return Principal(
                name=credential.user, role=Role.DEVICE, owns_device=lambda device: device == own, may_accept=False
            )
        customer = credential.customer
        return Principal(
            name=credential.user,
            role=Role.CUSTOMER,
            owns_device=lambda device: self._customer_of(device) == customer,
            may_accept=True,
        )


def hash_password(password: str) -> str:
    """The argon2 hash that a credentials file holds."""
    return argon2.PasswordHasher().hash(password)


_DUMMY_HASH = hash_password("nobody")


def load_credentials(path: Path) -> dict[str, Credential]:
    """The credentials of a TOML file, by user name. Raises ConfigError with every problem."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([Problem(file=str(path), line=None, field="", message=str(error))]) from error
    users = data.get("users")
    if not isinstance(users, list) or set(data) != {"users"}:
        message = "expected nothing but [[users]] tables"
        raise ConfigError([Problem(file=str(path), line=None, field="", message=message)])
    found: dict[str, Credential] = {}
    problems: list[Problem] = []
    for place, table in enumerate(users):
        for field, message in _credential_problems(table, found):
            problems.append(Problem(file=str(path), line=None, field=f"users[{place}].{field}", message=message))
    if problems:
        raise ConfigError(problems)
    return found


def _credential_problems(table: object, found: dict[str, Credential]) -> list[tuple[str, str]]:
    """The problems of one table, as (field, message); without any, the table is added to `found`."""
    try:
        credential = Credential.model_validate(table)
    except ValidationError as error:
        return [(".".join(str(part) for part in one["loc"]), one["msg"]) for one in error.errors()]
    if credential.user in found:
        return [("user", f"{credential.user!r} is there twice: expected names that differ")]
    for role in ("device", "customer"):
        if (credential.role == role) != (getattr(credential, role) is not None):
            return [(role, f"expected an id exactly where the role is {role}")]
    found[credential.user] = credential
    return []
