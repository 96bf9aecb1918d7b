"""One-time links and sessions, in an SQLite file, so that they can be revoked. Of tokens it has keyed hashes only."""

from __future__ import annotations

import hmac
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from config.sqlite_file import open_sqlite
from console.access.accounts import OWNER, Account, Users

LINK_LIFETIME_S = 15 * 60
SESSION_LIFETIME_S = 14 * 24 * 3600
SESSIONS_MAX = 1_000
"""Most sessions; beyond it the oldest end."""

FORMAT = 1
"""Format number of the file."""
_SCHEMA = """
create table if not exists link (hash text primary key, expires_s real not null) without rowid;
create table if not exists session (
  hash text primary key, account text not null, expires_s real not null, started_s real not null
) without rowid;
"""


def load_or_create_secret(path: Path) -> str:
    """The secret in the file `path`, which is created with mode 0600 where it is missing."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("ascii").strip()
    secret = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    return secret


class Sessions:
    """Links and sessions of one data directory. Thread-safe. Raises NewerFormat for a file of a newer Starloop."""

    def __init__(self, folder: Path, users: Users, now_s: Callable[[], float] = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._secret = load_or_create_secret(folder / "console.secret").encode()
        self._users = users
        self._now_s = now_s
        self._lock = threading.Lock()
        path = folder / "sessions.db"
        # Created before SQLite opens it, so that it is at no time readable by others.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = open_sqlite(path, schema=_SCHEMA, format_number=FORMAT)
        # Cookies do not distinguish ports: two services on one host need different names.
        self.cookie = f"starloop_{self.keyed_hash('cookie', '')[:10]}"

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def create_link(self) -> str:
        """A token that signs in as the owner, once, within LINK_LIFETIME_S."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._db.execute("delete from link where expires_s < ?", (self._now_s(),))
            self._db.execute(
                "insert into link values (?, ?)", (self.keyed_hash("link", token), self._now_s() + LINK_LIFETIME_S)
            )
        return token

    def redeem_link(self, token: str) -> Account | None:
        """Uses a link: the owner's account, or None for a token that is unknown, used or expired."""
        with self._lock:
            used = self._db.execute(
                "delete from link where hash = ? and expires_s >= ?", (self.keyed_hash("link", token), self._now_s())
            )
            return OWNER if used.rowcount == 1 else None

    def start(self, account: Account) -> str:
        """Starts a session; returns its id, for the cookie."""
        session = secrets.token_urlsafe(32)
        now_s = self._now_s()
        with self._lock:
            self._db.execute("delete from session where expires_s < ?", (now_s,))
            self._db.execute(
                "delete from session where hash in (select hash from session order by started_s desc limit -1 offset ?)",
                (SESSIONS_MAX - 1,),
            )
            self._db.execute(
                "insert into session values (?, ?, ?, ?)",
                (self.keyed_hash("session", session), account.name, now_s + SESSION_LIFETIME_S, now_s),
            )
        return session

    def find_account(self, session: str | None) -> Account | None:
        """The session's account; None where it has ended, was revoked, or its user is no longer in the users file."""
        if not session:
            return None
        with self._lock:
            row = self._db.execute(
                "select account from session where hash = ? and expires_s >= ?",
                (self.keyed_hash("session", session), self._now_s()),
            ).fetchone()
        if row is None:
            return None
        return OWNER if row[0] == OWNER.name else self._users.find(row[0])

    def end(self, session: str) -> None:
        """Ends one session."""
        with self._lock:
            self._db.execute("delete from session where hash = ?", (self.keyed_hash("session", session),))

    def revoke(self, account: str) -> int:
        """Ends every session of this account; returns their number."""
        with self._lock:
            return self._db.execute("delete from session where account = ?", (account,)).rowcount

    def form_token(self, session: str) -> str:
        """The token for forms of this session."""
        return self.keyed_hash("form", session)

    def keyed_hash(self, purpose: str, text: str) -> str:
        """The keyed hash of a text, in hexadecimal: useless without the secret file."""
        return hmac.digest(self._secret, f"{purpose}\n{text}".encode(), "sha256").hex()
