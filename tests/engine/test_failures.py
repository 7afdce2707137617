"""What every failure has: an event, and texts that are fit for a client or the operator."""

import time

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine import failures, redaction
from machines import events


def test_a_failure_becomes_an_event_of_its_choice() -> None:
    assert failures.BUSY.event(2) == events.TurnFailed(
        "rejected",
        "worker_busy",
        "Every worker is at its turn limit. Try again shortly.",
        2,
        None,
        None,
        1,
    )
    assert failures.LOST.event(0).kind == "worker_lost"
    whole = failures.ProviderFailure(
        code="c",
        message="m",
        status=400,
        param="p",
        retry_after=2,
        word="w",
        detail="d",
        should_retry=False,
    )
    assert whole.event(1) == events.TurnFailed(
        "upstream_error", "c", "m", 1, 400, "p", 2, "w", "d", False
    )


def test_the_operator_is_told_hosts_and_no_keys() -> None:
    known = redaction.Redaction(("operators-own-key",))
    said = "502 from http://me:pw@gpu-3.corp:8080/v1 for operators-own-key, Bearer abc.def sk-12 x"
    told = "502 from http://gpu-3.corp:8080/v1 for ********,   x"
    assert failures.detail(said, known) == told
    assert failures.detail("", known) is None
    assert len((failures.detail("é" * 100_000, known) or "").encode()) <= failures.DETAIL_BYTES
    assert failures.detail("\ud800", known) == "?"


@pytest.mark.parametrize(
    ("message", "safe"),
    [
        ("bad key, url: http://127.0.0.1:11435/v1/responses", "bad key"),
        (
            "error sending request (https://api.corp:8443/v1?key=1",
            "error sending request (********",
        ),
        ("wss://h/x and postgres://user:pw@db/1 failed", "******** and ******** failed"),
        ("no address for api.openai.com.", "no address for ********."),
        (
            "connect to 10.0.0.7:443 or [::1]:80 or fe80::1%eth0 failed",
            "connect to ******** or ******** or ******** failed",
        ),
        ("localhost:11435 refused", "******** refused"),
        ("gateway.eu-1:8080 refused", "******** refused"),
        ("Incorrect API key provided: sk-proj-a_B-1.", "Incorrect API key provided: ********."),
        ("Authorization: Bearer  abc.def", "Authorization: ********"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.a-b_c", "token ********"),
        ("Cannot load 'https://a.example/x'.", "Cannot load '********'."),
        ("https://a.example/x.", ""),
    ],
)
def test_a_message_loses_hosts_urls_and_keys(message: str, safe: str) -> None:
    assert failures.safe(message, redaction.NONE) == safe


@pytest.mark.parametrize(
    "message",
    [
        "The model `gpt-5.5` does not support messages[0].content[1].image_url.",
        "Invalid 'tools[0].function.name': expected '^[a-zA-Z0-9_-]+$'.",
        "Text must be shorter than 1,048,576 characters (std::string), e.g. at 10:30:15.",
        "Incomplete response: response.completed was not seen. A task-force for 3:4.",
    ],
)
def test_a_message_keeps_everything_else(message: str) -> None:
    assert failures.safe(message, redaction.NONE) == message


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
HOSTS = st.one_of(
    st.builds("{}.{}.{}".format, NAMES, NAMES, st.sampled_from(["com", "net", "internal", "ai"])),
    st.ip_addresses(v=4).map(str),
    st.just("localhost"),
)
SECRETS = st.one_of(
    HOSTS,
    st.builds("{}:{}".format, HOSTS, st.integers(1, 65535)),
    st.builds(
        "{}://{}/{}".format, st.sampled_from(["http", "https", "HTTPS", "ws", "wss"]), HOSTS, NAMES
    ),
    st.ip_addresses(v=6).map(lambda address: f"[{address.exploded}]:8080"),
    st.ip_addresses(v=6).map(lambda address: address.exploded),
    st.from_regex(r"sk-[A-Za-z0-9_-]{4,40}", fullmatch=True),
    st.from_regex(r"Bearer [A-Za-z0-9._-]{4,40}", fullmatch=True),
)
EDGES = st.sampled_from([" ", ", ", " (", "'", '"', ": ", "\n", "`", "="])


@given(SECRETS, EDGES, EDGES)
def test_no_host_url_or_key_survives(secret: str, before: str, after: str) -> None:
    message = failures.safe(f"The request failed{before}{secret}{after}and so on", redaction.NONE)
    assert secret.split()[-1] not in message
    assert message.startswith("The request failed")
    if "://" not in secret and not secret.startswith("Bearer"):
        assert message.endswith("and so on"), "no more is taken than the secret itself"


@pytest.mark.parametrize("piece", ["a.", "a-", "1.", "a:", "fe:", "::", "[1:", "Bearer ", "eyJ"])
def test_a_message_of_any_length_takes_linear_time(piece: str) -> None:
    begun = time.process_time()
    failures.safe(piece * 100_000, redaction.NONE)
    assert time.process_time() - begun < 5, "backtracking over all of it takes minutes"


SENT = (b'"m"', b'[{"content":"see https:\\/\\/a.example\\/x and http://b.example/y?z=1"}]')


@pytest.mark.parametrize(
    ("message", "safe"),
    [
        ("Error while downloading https://a.example/x.", None),
        ("Cannot load 'http://b.example/y?z=1': 404", None),
        ("(https://a.example/x) and https://c.example/x", "(https://a.example/x) and ********"),
        ("https://a.example/x?key=1 failed", "******** failed"),
        ("at http://b.example/y?z=1&k=2 it failed", "at ******** it failed"),
    ],
)
def test_k80_a_url_that_the_client_sent_stays(message: str, safe: str | None) -> None:
    known = redaction.NONE.beside(map(msgspec.Raw, SENT))
    assert failures.safe(message, known) == (message if safe is None else safe)
    assert failures.safe(message, redaction.NONE) != message


def test_a_request_is_not_searched_without_end() -> None:
    url = "https://a.example/x"
    known = redaction.NONE.beside(
        [msgspec.Raw(b'"' + b"x" * (redaction.SEARCHED // 5) + b'"')] * 9
    )
    assert not known.was_sent(url)
    long = msgspec.Raw(b'"%b%b"' % (b"x" * (redaction.SEARCHED // 5), url.encode()))
    known = redaction.NONE.beside([long])
    assert [known.was_sent(url) for _ in range(4)] == [True, True, False, False]


def test_a_secret_of_the_servers_goes_though_the_client_sent_it() -> None:
    url = "https://a.example/operators-own-key"
    known = redaction.Redaction(("operators-own-key",)).beside([msgspec.Raw(f'"{url}"'.encode())])
    assert failures.safe(f"No {url} here", known) == "No ******** here"
