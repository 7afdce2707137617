"""Tests of the help desk against answers that were recorded once."""

import asyncio

import openai
import pytest

from server import answers


@pytest.fixture
def client(turntape_mock):
    return openai.OpenAI(base_url=turntape_mock.url, api_key=turntape_mock.api_key, max_retries=0)


def test_a_question_is_answered(client, turntape_mock):
    assert "recording" in answers.answer(client, "Where is my parcel?")
    (asked,) = turntape_mock.requests
    assert asked.body["messages"][-1]["content"] == "Where is my parcel?"
    assert asked.status == 200


def test_an_answer_comes_in_pieces(turntape_mock):
    async def read():
        client = openai.AsyncOpenAI(base_url=turntape_mock.url, api_key=turntape_mock.api_key)
        async with client:
            return [word async for word in answers.words(client, "How long does it take?")]

    said = asyncio.run(read())
    assert len(said) > 10
    assert "".join(said).startswith("Hello!")


@pytest.mark.turntape(transcript="text-short", fault="disconnect-after=0")
def test_a_broken_connection_is_no_end_of_the_world(client):
    assert answers.answer(client, "Where is my parcel?") == answers.SORRY


@pytest.mark.turntape(transcript="text-short")
def test_a_busy_server_is_asked_again(turntape_mock):
    turntape_mock.fault("status=503, retry-after=0, times=2")
    with openai.OpenAI(base_url=turntape_mock.url, api_key=turntape_mock.api_key) as client:
        assert answers.answer(client, "Where is my parcel?") != answers.SORRY
    assert [asked.status for asked in turntape_mock.requests] == [503, 503, 200]


@pytest.mark.turntape(on_miss="fail")
def test_a_question_without_a_recording_is_a_miss(client, turntape_mock):
    with pytest.raises(openai.NotFoundError, match="No recording answers this request"):
        answers.answer(client, "Who are you?")
    assert "'Who are you?'" in turntape_mock.misses[0]
    turntape_mock.allow_misses()
