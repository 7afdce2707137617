"""The names of attributes are those of the pinned conventions, as far as a package has them."""

from typing import Any, Final, get_args

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import (
    client_attributes,
    error_attributes,
    http_attributes,
    server_attributes,
    url_attributes,
)

from machines import events
from server.access.entry import Entry, StreamEnd
from server.config import settings
from server.http.errors import ApiError
from server.tracing import attributes

TABLES: Final = (attributes.OF_REQUESTS, attributes.OF_ANSWERS)

STABLE: Final = (
    *(client_attributes, error_attributes, http_attributes, server_attributes),
    url_attributes,
)

BEYOND: Final = {"gen_ai.request.reasoning.level"}
"""Names of the GenAI conventions 0.1.0 that came after they had left that package."""

OLDER: Final = frozenset(
    (
        *("gen_ai.operation.name", "gen_ai.system", "gen_ai.openai.request.seed"),
        *("gen_ai.request.model", "gen_ai.request.max_tokens", "gen_ai.request.temperature"),
        *("gen_ai.request.top_p", "gen_ai.request.frequency_penalty"),
        *("gen_ai.request.presence_penalty", "gen_ai.response.finish_reasons"),
        *("gen_ai.response.id", "gen_ai.response.model"),
        *("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    )
)
"""Names of 1.28.0 that are used. Source: `opentelemetry-semantic-conventions` 0.49b0."""

OPENED: Final = events.Opened(
    request_id="r",
    completion_id="chatcmpl-1",
    created=0,
    model="m",
    target="m",
    worker="upstream",
)
TERMINAL: Final = events.Terminal(
    kind="completed",
    emission_trigger="turn_finished",
    status=200,
    finish_reasons=("stop", None),
    usage=events.Usage(7, 2),
    ttft_us=1_500_000,
)


def words(module: Any) -> set[str]:
    return {value for name, value in vars(module).items() if name.isupper()}


def names(field: str) -> set[str]:
    found = {getattr(each, field) for table in TABLES for each in table}
    return {name for name in found if name and not name.startswith("turntape.")}


def entry(**fields: Any) -> Entry:
    made = Entry("r", "POST", "/x", "192.0.2.1", 1.0, route="/x", key="", status=200)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def answered(fields: dict[str, Any] | None = None, **opened: Any) -> dict[str, Any]:
    """The attributes of an answer's span."""
    first = events.Opened(
        **{name: getattr(OPENED, name) for name in OPENED.__struct_fields__} | opened
    )
    end = StreamEnd("st_1", first, TERMINAL)
    ended = attributes.Ended(entry(stream=end, **(fields or {})))
    return attributes.values(attributes.OF_ANSWERS, ended, "gen-ai-0.1.0")


def test_every_name_is_one_of_the_conventions() -> None:
    if "GEN_AI_USAGE_REASONING_OUTPUT_TOKENS" not in vars(gen_ai_attributes):
        pytest.skip("the package is older than the pinned conventions")
    known = words(gen_ai_attributes).union(*map(words, STABLE))
    assert names("name") - known == BEYOND


def test_every_older_name_is_one_of_its_version() -> None:
    of_genai = {name for name in names("older") if name.startswith("gen_ai.")}
    assert of_genai == OLDER
    assert words(gen_ai_attributes) >= OLDER


def test_the_setting_has_the_versions() -> None:
    (declared,) = (each for each in settings.SETTINGS if each.field == "tracing_conventions")
    assert declared.choices == get_args(attributes.Conventions)


@pytest.mark.parametrize("table", TABLES)
def test_no_name_is_declared_twice(table: tuple[attributes.Attribute, ...]) -> None:
    for field in ("name", "older"):
        found = [getattr(each, field) for each in table if getattr(each, field)]
        assert len(found) == len(set(found))


def test_what_a_client_makes_up_is_masked() -> None:
    made_up = answered(model="tell nobody", effort="tell nobody", target="tell nobody")
    assert "tell" not in str(made_up)
    assert made_up["gen_ai.request.model"] == "**** ******"


def test_the_target_that_stood_in_is_the_one_that_answered() -> None:
    taken = events.FallbackTaken("other", "scripted", "upstream_error")
    found = answered({"stood_in": taken})
    assert found["gen_ai.response.model"] == "other"
    assert found["gen_ai.provider.name"] == "turntape"
    assert found["gen_ai.request.model"] == "m"


@pytest.mark.parametrize(
    ("endpoint", "word"),
    [
        (events.CHAT, "chat"),
        (events.RESPONSES, "chat"),
        (events.COMPLETIONS, "text_completion"),
    ],
)
def test_an_operation_is_a_word_of_the_conventions(endpoint: str, word: str) -> None:
    assert answered(endpoint=endpoint)["gen_ai.operation.name"] == word
    known = {each.value for each in gen_ai_attributes.GenAiOperationNameValues}
    assert word in known


def test_a_choice_that_never_finished_is_an_error_among_the_reasons() -> None:
    assert answered()["gen_ai.response.finish_reasons"] == ("stop", "error")
    assert answered()["gen_ai.response.time_to_first_chunk"] == 1.5


def test_a_refusal_has_its_code_and_how_many_it_stands_for() -> None:
    refused = entry(error=ApiError("invalid_api_key", "no"), status=401, method="BREW")
    ended = attributes.Ended(refused, count=40)
    found = attributes.values(attributes.OF_REQUESTS, ended, "gen-ai-0.1.0")
    assert (found["error.type"], found["turntape.requests"]) == ("invalid_api_key", 40)
    assert found["http.request.method"] == "_OTHER"
    gone = attributes.Ended(entry(status=None))
    found = attributes.values(attributes.OF_REQUESTS, gone, "gen-ai-0.1.0")
    assert (found["error.type"], found["http.response.status_code"]) == ("client_gone", 499)
