"""The way to an upstream by the environment: a proxy, and a login in a netrc file.

`aiohttp` finds both out anew for each request, with a thread for each of them and the file read in
both. It also fails a request that has a key of its own and a login in the file. So both are looked
up here: the proxy once, and the file when it has changed. A key that is configured comes first.
"""

import asyncio
import base64
import errno
import netrc
import os
import stat
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import structlog

_log = structlog.get_logger(component="upstream")

NETRC_BYTES: Final = 1 << 20
"""The most that is read of a netrc file. It is parsed in pure Python, at a second a MiB."""

Login = tuple[str, str]
"""A name and a password."""


class Environment:
    """The way to one upstream, as the environment has it.

    Args:
        url: of the upstream.
        has_login: whether requests have one already, which is not replaced.
    """

    def __init__(self, url: str, has_login: bool) -> None:
        host, user = _host_of(url)
        self._proxy = proxy_for(url)
        self._host = "" if has_login or user else host
        self._proxy_host = ""
        if self._proxy is not None:
            proxy_host, proxy_user = _host_of(self._proxy)
            self._proxy_host = "" if proxy_user else proxy_host
        self._logins = Logins()

    async def options(self) -> dict[str, Any]:
        """The arguments that a request of the HTTP client is given in addition.

        Raises:
            UnicodeError: a login has characters that none of HTTP has.
        """
        if not self._host and not self._proxy_host:
            return {"proxy": self._proxy}
        logins = await self._logins.current()
        login = _login(logins, self._host)
        found: dict[str, Any] = {"proxy": _with_login(self._proxy, logins, self._proxy_host)}
        if login is not None:
            found["headers"] = {"authorization": _basic(login)}
        return found


class Logins:
    """The netrc file of the operator: that of `NETRC`, or `~/.netrc`."""

    def __init__(self) -> None:
        named = os.environ.get("NETRC")
        self._path = named if named is not None else _usual_path()
        if named is not None and not _mark_of(named):
            _log.warning("netrc_unreadable", why=FileNotFoundError.__name__)
        self._reading = asyncio.Lock()
        self._mark: tuple[int, ...] = ()
        self._file: netrc.netrc | None = None

    async def current(self) -> netrc.netrc | None:
        """The file as it is now; None without one that can be read."""
        async with self._reading:  # who comes meanwhile waits for it, and takes nothing old
            mark = _mark_of(self._path)
            if mark != self._mark:
                self._file = await asyncio.to_thread(_read, self._path) if mark else None
                self._mark = mark
            return self._file


def proxy_for(url: str) -> str | None:
    """The proxy that the environment has for a URL; None: it is asked directly."""
    host, _ = _host_of(url)
    if host and urllib.request.proxy_bypass(host):
        return None
    proxy = urllib.request.getproxies().get(urlsplit(url).scheme)
    if proxy is not None and proxy.lower().startswith(("https:", "wss:")):
        _log.warning("proxy_not_supported", why="it is spoken to in plain HTTP only")
        return None
    return proxy


def _usual_path() -> str:
    try:
        return str(Path.home() / ".netrc")
    except RuntimeError:  # a user without an entry in the system's list, and without HOME
        return os.devnull


def _mark_of(path: str) -> tuple[int, ...]:
    """What is different once a file has changed; empty where there is none."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: str) -> netrc.netrc | None:
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for without an end
            raise OSError(errno.EINVAL, "not a file")
        if found.st_size > NETRC_BYTES:
            raise OSError(errno.EFBIG, "too large")
        return netrc.netrc(path)
    except (netrc.NetrcParseError, UnicodeError, OSError) as error:
        # Its text may repeat a line of the file.
        _log.warning("netrc_unreadable", why=type(error).__name__)
        return None


def _login(logins: netrc.netrc | None, host: str) -> Login | None:
    """The login for a host, which the file may have for every host."""
    found = logins.authenticators(host) if logins is not None and host else None
    if found is None:
        return None
    login, account, password = found
    return login or account or "", password or ""


def _with_login(proxy: str | None, logins: netrc.netrc | None, host: str) -> str | None:
    login = _login(logins, host)
    if proxy is None or login is None:
        return proxy
    parts = urlsplit(proxy)
    name, password = (quote(each, safe="") for each in login)
    return parts._replace(netloc=f"{name}:{password}@{parts.netloc}").geturl()


def _basic(login: Login) -> str:
    """A login as RFC 7617 has it, in the encoding that most servers expect."""
    return "Basic " + base64.b64encode(":".join(login).encode("latin-1")).decode()


def _host_of(url: str) -> tuple[str, str]:
    """The host of a URL and the user in it; empty without."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a URL that nothing is to be had from: the HTTP client says so
        return "", ""
    return parts.hostname or "", parts.username or ""
