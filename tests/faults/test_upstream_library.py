"""Row 13 and its kin: every error of the HTTP library, at each place that a turn awaits it.

The library is asked what it raises. A version that has an error more fails the first test: then it
is decided in `ENDINGS` what that error means to a client.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, cast

import pytest

from engine.failures import ProviderFailure
from engine.upstream import client as upstreamclient
from machines import events
from tests.faults import expected, library, observed, scene
from tests.faults.upstreamstage import FINISHED, SO_FAR, TOLD, Staged, upstream
from tests.support.providers import upstreams
from tests.support.providers.upstreams import LAST, response

HIDDEN: Final = (b"host.internal", b"10.0.0.1", b"aiohttp", b"Errno")
"""Words of the errors, of which a client is told none."""


class Ending(NamedTuple):
    """What a client is told of an error before the head of an answer.

    Attributes:
        again: whether the request is sent again where its connection had served another before,
            and the upstream may have closed it since.
    """

    status: int
    code: str
    again: bool = False


NO_TIME: Final = Ending(504, "upstream_unreachable")
NO_TIME_KEPT: Final = Ending(504, "upstream_unreachable", again=True)
UNREACHABLE: Final = Ending(502, "upstream_unreachable", again=True)
NO_PROXY: Final = Ending(502, "upstream_unreachable")
DISCONNECTED: Final = Ending(502, "upstream_disconnected", again=True)
NO_ANSWER: Final = Ending(502, "upstream_error")

ENDINGS: Final[dict[Ending, str]] = {
    NO_TIME: "TimeoutError",
    NO_TIME_KEPT: "ConnectionTimeoutError ServerTimeoutError SocketTimeoutError",
    UNREACHABLE: """ClientConnectorCertificateError ClientConnectorDNSError ClientConnectorError
        ClientConnectorSSLError ClientProxyConnectionError ClientSSLError
        UnixClientConnectorError""",
    NO_PROXY: "ClientHttpProxyError",
    DISCONNECTED: """BrokenPipeError ClientConnectionError ClientConnectionResetError
        ClientOSError ConnectionResetError OSError SSLError ServerConnectionError
        ServerDisconnectedError ServerFingerprintMismatch""",
    NO_ANSWER: """BadHttpMessage BadHttpMethod BadStatusLine ClientError ClientPayloadError
        ClientResponseError ContentEncodingError ContentLengthError ContentTypeError
        DecompressSizeError EofStream HttpBadRequest HttpProcessingError InvalidHeader InvalidURL
        InvalidURLError InvalidUrlClientError InvalidUrlRedirectClientError LineTooLong
        NonHttpUrlClientError NonHttpUrlRedirectClientError PayloadEncodingError
        RedirectClientError TooManyRedirects TransferEncodingError UploadAbortedError
        WSServerHandshakeError""",
}
"""The errors by what they mean."""

KNOWN: Final = {name: ending for ending, names in ENDINGS.items() for name in names.split()}

each_error = pytest.mark.parametrize("name", sorted(library.KINDS))


class Tried:
    """A server whose HTTP library fails as requests ask, and how those requests must have ended.

    What the log says of them is read once, at the end.
    """

    def __init__(self, staged: Staged) -> None:
        self.staged = staged
        self.ends: dict[str, tuple[str, str | None, int, int]] = {}

    def must_end(self, kind: events.TerminalKind, code: str | None, answer: scene.Answer) -> None:
        """Have the last test look for the record of this end."""
        assert answer.whole
        self.ends[answer.request_id] = (kind, code, answer.status, len(answer.raw))


@pytest.fixture(scope="module")
def tried() -> Iterator[Tried]:
    settings: dict[str, Any] = {observed.LIBRARY: "on"}
    with upstream(**settings) as staged:
        yield Tried(staged)


def ask(
    tried: Tried,
    place: str,
    name: str,
    answer: upstreams.Answer = upstreams.PLAIN,
    stream: bool = True,
) -> tuple[scene.Answer, int]:
    """The answer to a request whose turn meets an error, and how often the upstream was asked."""
    staged = tried.staged
    prompt = staged.source.prompt(answer)
    headers = {"x-request-id": library.hit(place, name)}
    got = staged.stage.ask(prompt, headers, stream=stream)
    assert [word for word in HIDDEN if word in got.raw] == []
    return got, len(staged.source.requests_for(prompt))


def test_row_13_every_error_of_the_library_is_known() -> None:
    assert set(library.KINDS) - set(KNOWN) == set()


@each_error
@pytest.mark.parametrize("place", ["connect", "head"])
def test_row_13_an_error_before_the_head_is_an_http_error(
    tried: Tried, place: str, name: str
) -> None:
    ending = KNOWN[name]
    answer, asked = ask(tried, place, name)
    assert (answer.status, answer.error["code"]) == (ending.status, ending.code)
    assert asked <= 2
    tried.must_end("upstream_error", ending.code, answer)


@each_error
def test_row_13_a_listing_of_models_that_fails_is_unanswered(name: str) -> None:
    async def main() -> ProviderFailure:
        client = upstreamclient.Client(upstreamclient.Options(url="http://nobody.invalid/v1"))
        session = client._fresh
        client._fresh = cast(Any, library.Raising(name))
        try:
            with pytest.raises(upstreamclient.Unanswered) as unanswered:
                await client.models()
        finally:
            client._fresh = session
            await client.close()
        return unanswered.value.failure

    assert asyncio.run(main()).code == KNOWN[name].code


@each_error
def test_row_35_an_error_of_a_kept_connection_is_tried_on_a_new_one_if_it_may_have_been_closed(
    tried: Tried, name: str
) -> None:
    ending = KNOWN[name]
    tried.staged.streamed(upstreams.PLAIN)  # leaves a connection
    answer, _ = ask(tried, "kept", name)
    if ending.again:
        assert (answer.status, answer.whole) == (200, True)
        tried.must_end("completed", None, answer)
    else:
        assert (answer.status, answer.error["code"]) == (ending.status, ending.code)
        tried.must_end("upstream_error", ending.code, answer)


@each_error
def test_row_02_an_error_before_the_body_is_a_disconnect(tried: Tried, name: str) -> None:
    answer, asked = ask(tried, "body", name, [TOLD, "stall"])
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    assert asked == 1
    tried.must_end("upstream_error", "upstream_disconnected", answer)


@each_error
def test_row_02_an_error_in_the_body_is_a_disconnect(tried: Tried, name: str) -> None:
    message = "The provider's stream ended before the answer was complete."
    answer, asked = ask(tried, "rest", name, [TOLD, "stall"])
    frame = expected.error("upstream_disconnected", message)
    assert (answer.status, answer.body, asked) == (200, SO_FAR + frame, 1)
    tried.must_end("upstream_error", "upstream_disconnected", answer)


@each_error
def test_row_02_an_error_in_the_body_of_a_whole_answer_is_a_502(tried: Tried, name: str) -> None:
    answer, _ = ask(tried, "rest", name, [TOLD, "stall"], stream=False)
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    tried.must_end("upstream_error", "upstream_disconnected", answer)


@each_error
def test_row_18_an_error_behind_a_finish_is_none(tried: Tried, name: str) -> None:
    answer, _ = ask(tried, "rest", name, [TOLD + FINISHED[: -len(LAST)], "stall"])
    assert answer.body == SO_FAR + expected.ENDED
    tried.must_end("completed", None, answer)


@each_error
def test_row_11_a_refusal_is_kept_though_its_body_fails(tried: Tried, name: str) -> None:
    error = {"error": {"message": "No.", "code": "c"}}
    answer, asked = ask(tried, "body", name, response(404, error))
    assert (answer.status, answer.error["code"], asked) == (404, None, 1)
    tried.must_end("upstream_error", "invalid_request", answer)


def test_row_13_nothing_is_held_after_all_of_them(tried: Tried) -> None:
    for place in library.PLACES:
        ask(tried, place, "ClientError", [TOLD, "stall"])
    tried.staged.stage.released()


def test_row_13_each_has_one_end_in_the_log_and_nothing_was_tried_again(tried: Tried) -> None:
    records = tried.staged.stage.server.records()
    assert [each for each in records if each["event"] == "retry_scheduled"] == []
    streams = {each["stream"]: each["request_id"] for each in records if each["event"] == "opened"}
    found = [
        (
            streams[each["stream"]],
            (each["kind"], each.get("code"), each["status"], each["body_bytes"]),
        )
        for each in records
        if each["event"] == "terminal" and streams[each["stream"]] in tried.ends
    ]
    assert len(found) == len(tried.ends)
    assert dict(found) == tried.ends
