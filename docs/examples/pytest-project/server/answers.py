"""Asks a model, and bears with it."""

from collections.abc import AsyncIterator

import openai

MODEL = "gpt-4o"

SORRY = "Sorry, nobody is here at the moment."


def answer(client: openai.OpenAI, question: str) -> str:
    """The whole answer to a question; an apology where there is none."""
    try:
        completion = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": question}]
        )
    except (openai.APIConnectionError, openai.InternalServerError):
        return SORRY
    return completion.choices[0].message.content or SORRY


async def words(client: openai.AsyncOpenAI, question: str) -> AsyncIterator[str]:
    """The answer as it comes."""
    stream = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}], stream=True
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content
