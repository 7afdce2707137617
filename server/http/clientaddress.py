"""The address of the client behind a connection: the peer's, or the one that a proxy tells of.

`Forwarded` (RFC 7239) and `X-Forwarded-For` are lists to which each proxy adds the address that
it was asked from. Anyone may send them, so they are read from the end, and only as far as the
addresses are those of proxies that the operator trusts.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Final

from server.http.exchange import Headers

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PAIR: Final = re.compile(
    r"\s*+(?:([\w!#$%&'*+.^`|~-]++)\s*+=\s*+"
    r"(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s\";,]*+))\s*+)?(?:[;,]|$)",
    re.ASCII,
)
"""A pair of an element of `Forwarded`, or none, and what ends it (RFC 7239 §4)."""

MOST_BYTES: Final = 4096
"""Bytes of such a header that are looked at, from its end; a longer `Forwarded` is none, for its
quotes cannot be told apart from the end."""


def networks(words: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks that a setting names.

    Raises:
        ValueError: one is no address and no network.
    """
    return tuple(ipaddress.ip_network(word, strict=False) for word in words)


def finder(trusted: tuple[Network, ...]) -> Callable[[str, Headers], str]:
    """Make the function that finds the client of a request.

    Args:
        trusted: networks of the proxies whose word counts.

    Returns:
        The client's address, from that of the peer and the request's headers.
    """
    if not trusted:
        return lambda peer, _: peer

    def find(peer: str, headers: Headers) -> str:
        address = _parsed(peer)
        if address is None or not _is_in(address, trusted):
            return peer
        told = {
            _last_stranger(address, hops, trusted)
            for hops in (_x_forwarded_for(headers), _forwarded(headers))
            if hops
        }
        # A proxy passes on the header that it does not write itself: of two that differ, either
        # may be the client's own invention.
        return str(told.pop()) if len(told) == 1 else peer

    return find


def group_of(address: str) -> str:
    """Return what is counted as one client: an IPv6 network of 64 bits is given to each."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _last_stranger(peer: Address, hops: Sequence[str], trusted: tuple[Network, ...]) -> Address:
    """Return the last address that is no trusted proxy's; of hidden ones the proxy's that hid
    it."""
    found = peer
    for hop in reversed(hops):
        if not _is_in(found, trusted):
            break
        address = _parsed(hop)
        if address is None:
            break
        found = address
    return found


def _x_forwarded_for(headers: Headers) -> list[str]:
    value = ",".join(headers.get_all("x-forwarded-for"))
    return [hop.strip() for hop in value[-MOST_BYTES:].split(",") if hop.strip()]


def _forwarded(headers: Headers) -> list[str]:
    """Return the `for` of each element; of none where the header is malformed.

    A client may leave a quote open, which the one that a proxy adds would close.
    """
    value = ",".join(headers.get_all("forwarded"))
    hops, position = [], 0
    while position < len(value) <= MOST_BYTES:
        pair = _PAIR.match(value, position)
        if pair is None:
            return []
        name, quoted, plain = pair.groups()
        if name is not None and name.lower() == "for":
            hops.append(plain if quoted is None else quoted)
        position = pair.end()
    return hops


def _parsed(node: str) -> Address | None:
    """Return the address of a node, which may have a port and be in brackets."""
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    try:
        address = ipaddress.ip_address(node.partition("%")[0])  # a scope is any text
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)
