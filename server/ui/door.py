"""Lets in who may see the page: whoever was given its URL, in the browser that opened it first.

The page shows what people said to models, and any web site and any other user of the machine can
reach a port of loopback. So the URL has a token, which is good once; the browser that brings it
gets a cookie in its place, which no script reads and no other site's request carries. HEAD, with
which programs look at a link before somebody follows it, does not use the token up. Names that
are not loopback's are refused, or by DNS rebinding any site could be this one; and so are requests
that another origin's page makes, where the browser says so.
"""

import hmac
import secrets

from server.api import gates
from server.config.load import is_loopback
from server.http.errors import ApiError
from server.http.exchange import HeaderList, Request

OWN_SITES = frozenset({None, "none", "same-origin"})
"""Values of `Sec-Fetch-Site` of what the page asks itself, or a person by typing; browsers that do
not know the header send none (https://www.w3.org/TR/fetch-metadata/)."""


class Door:
    """Lets one browser in.

    Args:
        port: of the server. Cookies are those of a host, whatever its port, so it is in the name.

    Attributes:
        token: opens it, once.
    """

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(24)
        self._is_used = False
        self._session = secrets.token_urlsafe(24)
        self._cookie = f"turntape_ui_{port}"

    def open(self, request: Request, token: str) -> HeaderList:
        """Return the header that lets a browser in from now on; none if it is in, or only looks.

        Raises:
            ApiError: it is another token, or it was used before by another browser.
        """
        if self._is_in(request):
            return []
        if self._is_used or not hmac.compare_digest(token.encode(), self.token.encode()):
            raise ApiError(
                "invalid_api_key",
                "This link was used before, or is of another run: start `turntape ui` again.",
            )
        if request.method == "HEAD":
            return []
        self._is_used = True
        return [
            ("set-cookie", f"{self._cookie}={self._session}; HttpOnly; SameSite=Strict; Path=/")
        ]

    def check(self, request: Request) -> None:
        """Refuse what is not the browser that was let in.

        Raises:
            ApiError: it is not.
        """
        if not self._is_in(request):
            raise ApiError("invalid_api_key", "Open the link that `turntape ui` has printed.")

    def _is_in(self, request: Request) -> bool:
        given = (each for line in request.headers.get_all("cookie") for each in line.split(";"))
        session = f"{self._cookie}={self._session}".encode()
        return any(hmac.compare_digest(each.strip().encode(), session) for each in given)


def check_origin(request: Request) -> None:
    """Refuse names that are not loopback's, and what the page of another origin asks.

    Raises:
        ApiError: `host_not_allowed`.
    """
    host = request.headers.get("host")
    if host is None or not is_loopback(gates.host_name(host)):
        raise ApiError("host_not_allowed", "Only loopback hosts are served.")
    is_navigation = request.headers.get("sec-fetch-mode") == "navigate"
    if request.headers.get("sec-fetch-site") not in OWN_SITES and not is_navigation:
        raise ApiError("host_not_allowed", "Only the page itself may ask.")
