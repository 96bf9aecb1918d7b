"""Accounts: who is signed in, whose items they see, and whether they may spend money; the users file."""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from star.errors import ConfigError, Problem

_hasher = PasswordHasher()
# Verified for unknown names, so that response times do not show which names exist.
_DUMMY_HASH = _hasher.hash("nobody has this password")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account. customer: None for an operator, who sees everything. spends: whether its acceptance authorizes an order.

    Whoever has the secrets of the data directory (the printed link, the service's token) owns everything in it and may
    spend; an operator with a password may only monitor and correct.
    """

    name: str
    customer: str | None = None
    spends: bool = False

    @property
    def operator(self) -> bool:
        """Whether the account sees every customer."""
        return self.customer is None

    @property
    def customers(self) -> Collection[str] | None:
        """The customers that the account sees; None: all."""
        return None if self.customer is None else frozenset({self.customer})

    def can_see(self, customer: str) -> bool:
        """Whether the account may see and change what belongs to this customer."""
        return self.customer is None or self.customer == customer


OWNER = Account(name="(owner)", spends=True)
"""The holder of a printed link or of the service's own token. No user may have this name."""


class User(BaseModel):
    """A `[[users]]` table of the users file. password: an argon2 hash. token_sha256: of an API token, in hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\s()]+$")]
    customer: str | None = None
    password: str | None = None
    token_sha256: str | None = None

    def account(self) -> Account:
        """The account of this user. A customer's own credentials may spend the customer's money."""
        return Account(name=self.name, customer=self.customer, spends=self.customer is not None)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    users: tuple[User, ...] = ()


class Users:
    """The users of a TOML file, which is read again when it changes; a missing file has none. Raises ConfigError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_ns = -1
        self._users: tuple[User, ...] = ()
        self._all()

    def authenticate_password(self, name: str, password: str) -> Account | None:
        """The account with this name and password, or None. Takes as long for a name that does not exist."""
        user = next((user for user in self._all() if user.name == name and user.password), None)
        try:
            _hasher.verify(user.password if user is not None and user.password else _DUMMY_HASH, password)
        except (VerificationError, InvalidHashError):
            return None
        return None if user is None else user.account()

    def authenticate_token(self, token: str) -> Account | None:
        """The account with this API token, or None."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        for user in self._all():
            if user.token_sha256 and hmac.compare_digest(user.token_sha256.lower(), digest):
                return user.account()
        return None

    def has_passwords(self) -> bool:
        """Whether any user has a password."""
        return any(user.password for user in self._all())

    def find(self, name: str) -> Account | None:
        """The account of that name, or None where there is none."""
        return next((user.account() for user in self._all() if user.name == name), None)

    def _all(self) -> tuple[User, ...]:
        try:
            changed_ns = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            self._users, self._read_ns = (), -1
            return self._users
        if changed_ns != self._read_ns:
            self._users = _users_of(self._path)
            self._read_ns = changed_ns
        return self._users


def _users_of(path: Path) -> tuple[User, ...]:
    try:
        return _File.model_validate(tomllib.loads(path.read_text("utf-8"))).users
    except (tomllib.TOMLDecodeError, ValidationError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(file=str(path), line=None, field="users", message=str(error))]) from error


def hash_password(password: str) -> str:
    """The hash of a password for the users file."""
    return _hasher.hash(password)
