"""Tokens and citations of a chat answer are those of a response's text."""

import msgspec
import pytest

from server.responses.render import textmembers
from server.responses.render.textmembers import Token, UrlCitation


def test_a_token_always_has_its_bytes_and_its_alternatives() -> None:
    token = {"token": "漢", "logprob": -1}
    other = {"token": "a", "logprob": -2, "bytes": None}
    members = {"logprobs": {"content": [token, {**token, "top_logprobs": [other]}]}, "more": 1}
    found = textmembers.logprobs(msgspec.Raw(msgspec.json.encode(members)))
    data = list("漢".encode())
    assert found == [
        Token("漢", -1, data, []),
        Token("漢", -1, data, [Token("a", -2, [97])]),
    ]


def test_a_citation_is_flat() -> None:
    cited = {"start_index": 1, "end_index": 2, "title": "t", "url": "u", "content": "more"}
    members = {"annotations": [{"type": "url_citation", "url_citation": cited}]}
    found = textmembers.citations(msgspec.Raw(msgspec.json.encode(members)))
    assert found == [UrlCitation(1, 2, "t", "u")]


@pytest.mark.parametrize(
    "members", [b"{}", b'{"logprobs":null,"annotations":null}', b'{"logprobs":{"tokens":["a"]}}']
)
def test_a_masked_log_has_none(members: bytes) -> None:
    assert textmembers.logprobs(msgspec.Raw(members)) == []
    assert textmembers.citations(msgspec.Raw(members)) == []
