"""Tokens and citations of an upstream's text, as the Responses API has them.

Chat Completions has the tokens' probabilities beside a choice and citations in its message; this
API has both in the part of the text. `engine.upstream.apitypes` has looked at their types; a
masked log has none of them.
"""

from typing import Final

import msgspec

from machines import parse


class Token(msgspec.Struct, omit_defaults=True):
    """A token and its probability.

    Attributes:
        top_logprobs: of the tokens that were likely there; None for one of those.
    """

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: "list[Token] | None" = None


class UrlCitation(msgspec.Struct, tag_field="type", tag="url_citation"):
    """The source of a part of the text."""

    start_index: int
    end_index: int
    title: str
    url: str


class _Logprobs(msgspec.Struct):
    content: list[Token] | None = None


class _ChatCitation(msgspec.Struct):
    start_index: int
    end_index: int
    title: str
    url: str


class _Annotation(msgspec.Struct):
    url_citation: _ChatCitation


class _Members(msgspec.Struct):
    logprobs: _Logprobs | None = None
    annotations: list[_Annotation] | None = None


_members: Final = msgspec.json.Decoder(_Members)


def logprobs(members: msgspec.Raw) -> list[Token]:
    """Return the tokens of the text in a choice's further members."""
    found = _read(members).logprobs
    tokens = (found.content if found is not None else None) or []
    for token in tokens:
        _complete(token)
        token.top_logprobs = token.top_logprobs or []
        for other in token.top_logprobs:
            _complete(other)
    return tokens


def citations(members: msgspec.Raw) -> list[UrlCitation]:
    """Return the citations in a message's further members."""
    found = _read(members).annotations or []
    return [
        UrlCitation(each.start_index, each.end_index, each.title, each.url)
        for each in (one.url_citation for one in found)
    ]


def _complete(token: Token) -> None:
    """Give a token its bytes, which not every upstream has and this API always does."""
    if token.bytes is None:
        token.bytes = list(token.token.encode("utf-8", "replace"))


def _read(members: msgspec.Raw) -> _Members:
    try:
        return parse.parse_outer(members, _members)
    except parse.ParseError:
        return _Members()
