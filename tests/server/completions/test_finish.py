"""What an answer begins with, as far as the log has kept it."""

import msgspec
import pytest

from server.completions import finish
from tests.support.machines.playbook import opened


@pytest.mark.parametrize(
    ("request_json", "prompts"),
    [
        (b'{"prompt":"a","echo":true}', (b'"a"',)),
        (b'{"prompt":["a","b"],"echo":true}', (b'"a"', b'"b"')),
        (b'{"prompt":"a","echo":false}', ()),
        (b'{"prompt":"a"}', ()),
        (b'{"prompt":{"omitted":{"bytes":9,"digest":"00"}},"echo":true}', ()),
        (b"null", ()),
    ],
)
def test_the_prompts_that_are_repeated_are_those_of_the_log(
    request_json: bytes, prompts: tuple[bytes, ...]
) -> None:
    assert finish.logged(msgspec.Raw(request_json)) == prompts


def test_as_many_choices_begin_with_each_prompt() -> None:
    prompts = (b'"a"', b'""')
    found = [finish.echo_of(opened(n=4), prompts, choice) for choice in range(4)]
    assert found == [b'"a"', b'"a"', b"", b""]
    assert finish.echo_of(opened(n=2), (), 1) == b""


@pytest.mark.parametrize(
    ("canonical", "word"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
    ],
)
def test_a_reason_is_one_that_the_api_has(canonical: str, word: str) -> None:
    assert finish.reason(canonical) == word
