"""Codex's provider may repeat the key that it is given: nobody else gets to know it."""

import json

import pytest

from tests.support.client import chatclient
from tests.support.process import serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import Answer, HttpError

pytestmark = pytest.mark.codex

KEY = "cdxKey9876543210cdxKey99"


@pytest.mark.long(usual=("full",))
@pytest.mark.parametrize("content", ["full", "masked"])
def test_a_provider_that_repeats_the_key_tells_it_nobody(content: str) -> None:
    error = {"message": f"Incorrect API key provided: {KEY}. Get one.", "code": KEY, "param": KEY}

    def script(request: Request) -> Answer:
        return HttpError(int(request.prompt), {"error": error})

    environ = {"PROXY_CODEX_API_KEY": KEY, "PROXY_EVENT_LOG": content}
    with Provider(script) as provider, serving.codex(provider.url, **environ) as server:
        for status in (400, 401, 403, 404, 422, 429):
            answer = chatclient.ask(server, str(status))
            assert answer.status == status
            assert KEY not in json.dumps(answer.error)
        assert {request.key for request in provider.requests} == {KEY}
        server.stop()
        assert server.terminals()
        assert KEY not in json.dumps([server.records(), server.lines])
        assert server.replay().returncode == 0
