"""Codex's login as it lies in its home: of which kind it is, and whether it has become another.

The problem: a process reads `auth.json` once, when it starts (0.163, measured). Who logs in or out
beside a running server changes the file, and no process notices. So the server looks at the file
itself. What it must not take for another login is the same one with fresh tokens, which Codex
writes into the file every few days.
"""

import enum
import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Final

import msgspec

NAME: Final = "auth.json"
"""The file of Codex's login, in its home."""

MOST_BYTES: Final = 1 << 20
"""Most bytes of it that are read; Codex's own have some 4 kB."""

_FRESH: Final = frozenset({"tokens", "last_refresh"})
"""Members that change while the login stays."""


class Kind(enum.Enum):
    """The kinds of a login; the value is the word for people, pages and metrics."""

    NONE = "none"
    API_KEY = "api_key"
    CHATGPT = "chatgpt"
    OTHER = "other"
    """A kind that Codex has and that is not told apart here."""


class Unreadable(Exception):
    """Raised for a file that is no login of Codex's; its text is for the operator."""


class Login(msgspec.Struct, frozen=True):
    """A login.

    Attributes:
        mark: equal for the same login with other tokens; no secret, and of no use elsewhere.
    """

    kind: Kind = Kind.NONE
    mark: str = ""


NOBODY: Final = Login()
"""No login."""


def read(home: Path) -> Login:
    """Return the login of a home.

    Raises:
        Unreadable: its file holds something else.
        OSError: it cannot be read.
    """
    try:
        file = open(home / NAME, "rb", opener=_open)  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return NOBODY
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Unreadable("is not a regular file")
        data = file.read(MOST_BYTES)
    try:
        kept = msgspec.json.decode(data)
        return _login(kept if isinstance(kept, dict) else {})
    except (msgspec.DecodeError, RecursionError):  # the second: nested too deeply
        raise Unreadable("is no JSON") from None


def _open(path: str, flags: int) -> int:
    """Open a file that may be a link, as mounted secrets are; a pipe must not hang whoever looks.

    `open` closes what is a directory; `os.fdopen` would leave its descriptor open.
    """
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _login(members: dict[str, Any]) -> Login:
    tokens = members.get("tokens")
    if tokens:
        kind = Kind.CHATGPT
    elif members.get("OPENAI_API_KEY"):
        kind = Kind.API_KEY
    elif any(value for name, value in members.items() if name not in ("auth_mode", *_FRESH)):
        kind = Kind.OTHER
    else:
        return NOBODY
    lasting: dict[str, Any] = {k: v for k, v in members.items() if k not in _FRESH}
    if isinstance(tokens, dict):
        lasting["account"] = tokens.get("account_id")
    return Login(kind, hashlib.sha256(msgspec.json.encode(lasting, order="sorted")).hexdigest())


class Watch:
    """The login of a home, looked at again and again.

    Attributes:
        path: of its file.
        login: as it was found last.
        problem: why the file cannot be read now, for the operator; empty where it can be.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / NAME
        self.problem = ""
        self._home = home
        self._seen: tuple[int, ...] | None = None
        self.login = NOBODY

    def look(self) -> bool:
        """Look at the file, in a thread: a disk may hang. Returns whether it has been written.

        What cannot be read leaves things as they are: it may be half written.
        """
        seen: tuple[int, ...] = ()
        try:
            found = self.path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.problem = _why(error)
            return False
        if seen == self._seen:
            self.problem = ""
            return False
        try:
            self.login = read(self._home)
        except (OSError, Unreadable) as error:
            self.problem = _why(error)
            return False
        self._seen, self.problem = seen, ""
        return True


def _why(error: OSError | Unreadable) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
