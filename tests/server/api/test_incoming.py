"""What a request is answered before it is begun: its limits, and what of it is not honoured."""

from tests.server.plain import BODY, chat
from tests.support.process import serving


def test_what_is_not_honoured_is_named(keyless: serving.Serve) -> None:
    answer = chat(
        keyless,
        {**BODY, "temperature": 0.5, "seed": None, "made_up": 1, "response_format": None},
    )
    assert answer.headers["x-turntape-ignored"] == "temperature, made_up"
    assert "x-turntape-emulated" not in answer.headers
    emulated = chat(keyless, {**BODY, "response_format": {"type": "json_object"}})
    assert emulated.headers["x-turntape-emulated"] == "response_format"


def test_too_many_choices_and_too_long_a_prompt_are_refused() -> None:
    with serving.running(
        "--worker", "scripted", PROXY_MAX_CHAT_CHOICES="2", PROXY_MAX_PROMPT_TOKENS="50"
    ) as server:
        many = chat(server, {**BODY, "n": 3})
        assert (many.status, many.error["param"]) == (400, "n")
        long = chat(server, {**BODY, "user": "x" * 300})
        assert (long.status, long.error["code"]) == (400, "context_length_exceeded")
