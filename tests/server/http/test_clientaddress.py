"""Whose address a request is accounted to: the peer's, unless a trusted proxy tells of another."""

import pytest

from server.http import clientaddress
from server.http.exchange import Headers

PROXIES = clientaddress.networks(("127.0.0.1", "10.0.0.0/8", "fd00::/8"))


def client(peer: str, *headers: tuple[str, str]) -> str:
    return clientaddress.finder(PROXIES)(peer, Headers(headers))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),  # the client's own word before the proxy's
        ("203.0.113.7, 10.1.1.1", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("unknown", "127.0.0.1"),
        ("fe80::1% status=200 key=PROXY_API_KEY", "fe80::1"),
        ("203.0.113.7, _hidden", "127.0.0.1"),
        ("203.0.113.7, _hidden, 10.1.1.1", "10.1.1.1"),
        ("", "127.0.0.1"),
        ("x" * 100_000, "127.0.0.1"),
        (", ".join(["203.0.113.7"] * 100_000), "203.0.113.7"),
    ],
)
def test_the_last_address_that_is_no_proxys_counts(value: str, found: str) -> None:
    assert client("127.0.0.1", ("x-forwarded-for", value)) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ('For="[2001:db8::1]:80"; proto=https;by=10.0.0.1', "2001:db8::1"),
        ("for=198.51.100.1, for=203.0.113.7;host=a", "203.0.113.7"),
        ("for=203.0.113.7, for=10.0.0.2", "203.0.113.7"),
        ("proto=https", "127.0.0.1"),
        ('for="_gazonk"', "127.0.0.1"),
        ('for=203.0.113.7;by="x;for=198.51.100.9"', "203.0.113.7"),
        (" , for=203.0.113.7;;proto=http , ", "203.0.113.7"),
        # A quote that a client leaves open is closed by the one that the proxy adds.
        ('for="[2001:db8::bad], for="[2001:db8::77]:4711"', "127.0.0.1"),
        ('for="198.51.100.9:, for="203.0.113.7:4711"', "127.0.0.1"),
        ('for=", for="[2001:db8::77]"', "127.0.0.1"),
        ('for="203.0.113.7', "127.0.0.1"),
        ("for=203.0.113.7," * 1000, "127.0.0.1"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(value: str, found: str) -> None:
    assert client("127.0.0.1", ("forwarded", value)) == found


def test_lines_of_one_name_are_one_list() -> None:
    lines = (("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.7"))
    assert client("10.0.0.1", *lines) == "203.0.113.7"


def test_of_two_headers_that_differ_neither_is_believed() -> None:
    told = (("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=198.51.100.1"))
    assert client("127.0.0.1", *told) == "127.0.0.1"
    same = (("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7"))
    assert client("127.0.0.1", *same) == "203.0.113.7"


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::9", ""])
def test_a_stranger_is_not_believed(peer: str) -> None:
    assert client(peer, ("x-forwarded-for", "203.0.113.7")) == peer


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    find = clientaddress.finder(())
    assert find("127.0.0.1", Headers([("x-forwarded-for", "203.0.113.7")])) == "127.0.0.1"


def test_a_mapped_address_is_that_of_its_network() -> None:
    assert client("::ffff:127.0.0.1", ("x-forwarded-for", "203.0.113.7")) == "203.0.113.7"


def test_one_client_of_ipv6_has_a_network() -> None:
    group = clientaddress.group_of
    assert group("2001:db8::1") == group("2001:db8::ffff:1") == "2001:db8::/64"
    assert group("203.0.113.7") == "203.0.113.7"
    assert group("") == ""
