"""A thread that goes on answers as a new one would: two servers are asked the same, on the real
Codex, of which only one keeps threads. What their provider sees is equal but for ids, for whatever
a client can repeat; what was edited, cut or asked for otherwise has a new thread.
"""

import copy
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.codex import toolplay
from tests.codex.test_prompt_cache import keys, reasons, reused, shown
from tests.support.client import httpclient
from tests.support.logs import serverlog
from tests.support.process import serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import (
    Answer,
    Failed,
    FunctionCall,
    HttpError,
    Incomplete,
    Item,
    Message,
    Reasoning,
    Stream,
    Usage,
)

pytestmark = pytest.mark.codex

ADD = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}}

SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}

SEALED: dict[str, Any] = {"include": ["reasoning.encrypted_content"], "store": False}

IMAGE = {"type": "input_image", "image_url": toolplay.PIXEL}

FAILURES: dict[str, Answer] = {
    "400": HttpError(400, {"error": {"message": "No such item.", "code": "invalid_value"}}),
    "404": HttpError(404, {"error": {"message": "Item with id 'rs_1' not found."}}),
    "422": HttpError(422),
    "long": Stream((), Failed("context_length_exceeded")),
    "refused": HttpError(400, {"error": {"message": "No.", "code": "invalid_prompt"}}),
    "429": HttpError(429),
}


def answer(request: Request) -> Answer:
    """Something of the kind that the first word asks for, which depends on all that was sent."""
    items = request.body["input"]
    asked = [shown(request), request.body.get("reasoning"), request.body.get("text")]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:6]
    words = Message((f"said {digest[:2]}", digest[2:]))
    thoughts = [
        Reasoning((("Hm ", digest), ("So.",)), encrypted_content=f"seal{digest}"),
        Reasoning((("Again.",),), encrypted_content=f"more{digest}"),
    ]
    numbers = enumerate(('{"a": 1.50}', "{}"))
    calls = [FunctionCall(f"call_{len(items)}_{n}", "add", (text,)) for n, text in numbers]
    is_result = items[-1]["type"] != "message"
    kinds: dict[str, tuple[Item, ...]] = {
        "phase": (Message((digest,), phase="final_answer"),),
        "comment": (Message(("Hm.",), phase="commentary"), Message((digest,), "final_answer")),
        "two": (Message((f"one {digest}",)), words),
        "think": (thoughts[0], words),
        "rethink": (thoughts[0], Message(("Mid.",)), thoughts[1], words),
        "call": (calls[0],),
        "calls": (Message(("Now.",)), *calls),
        "thinkcall": (thoughts[0], calls[0]),
        "space": (Message((f" \n{digest} \n",)),),
    }
    kind = request.prompt.split(" ")[0]
    usage = Usage(1000 + 7 * len(items), 50 + len(items), 3 * len(items), len(items))
    if kind in FAILURES and len(items) > 1:
        return FAILURES[kind]
    if kind == "cut":
        return Stream((words,), Incomplete("max_output_tokens"), usage=usage)
    if kind == "uncounted":
        return Stream((words,), usage=None)
    calls_on = not is_result and request.body["tools"]
    chosen = kinds.get(kind, (words,)) if calls_on or "call" not in kind else (words,)
    return Stream(chosen, usage=usage)


class Side:
    """A server, the provider behind it, and a conversation on it."""

    def __init__(self, server: serving.Serve, provider: Provider) -> None:
        self.server = server
        self.provider = provider
        self.begin()

    def begin(self) -> None:
        """Begin another conversation."""
        self.items: list[Any] = []
        self.answers: list[Any] = []
        self.before = len(self.provider.requests), reused(self.server), len(reasons(self.server))

    @property
    def asked(self) -> list[Request]:
        """What the provider was asked in this conversation."""
        return self.provider.requests[self.before[0] :]

    @property
    def reused(self) -> int:
        """How often a thread went on in this conversation."""
        return reused(self.server) - self.before[1]

    @property
    def missed(self) -> list[str]:
        """Why none did."""
        return reasons(self.server)[self.before[2] :]

    def ask(self, words: Any, chained: bool = False, **options: Any) -> dict[str, Any]:
        """Ask the Responses API, and bring the results of what is called; the last answer."""
        new: list[Any] = [{"role": "user", "content": words}]
        while new:
            self.items += new
            body = {"model": "gpt-5.5", "input": self.items, **options}
            if chained:
                earlier = self.answers[-1]["id"] if self.answers else None
                body |= {"input": new, "previous_response_id": earlier}
            reply = httpclient.ask(self.server.url, "POST", "/responses", body)
            found: dict[str, Any] = json.loads(reply.body)
            if reply.status != 200:
                return found
            self.answers.append(found)
            self.items += found["output"]
            new = [
                {"type": "function_call_output", "call_id": item["call_id"], "output": "res"}
                for item in found["output"]
                if item["type"] == "function_call"
            ]
        return found

    def chat(self, words: Any, **options: Any) -> dict[str, Any]:
        """Ask the chat endpoint once; its whole answer."""
        self.items.append({"role": "user", "content": words})
        body = {"model": "gpt-5.5", "messages": self.items, **options}
        status, found = self.server.post(body)
        if status == 200:
            self.answers.append(found)
            content = found["choices"][0]["message"]["content"]
            self.items.append({"role": "assistant", "content": content})
        return found


class Pair:
    """A server that keeps threads beside one that keeps none."""

    def __init__(self, keeps: Side, anew: Side) -> None:
        self.keeps = keeps
        self.sides = keeps, anew

    def each(self, ask: Callable[[Side], Any]) -> Any:
        """Ask both the same: what they answer, which must be the same but for ids and times."""
        found = [ask(side) for side in self.sides]
        assert plain(found[0]) == plain(found[1])
        assert view(self.sides[0]) == view(self.sides[1])
        return found[0]


def plain(found: Any) -> Any:
    """An answer without what is new in each."""
    if isinstance(found, list):
        return [plain(each) for each in found]
    if not isinstance(found, dict):
        return found
    new = {"id", "created", "created_at", "completed_at", "previous_response_id"}
    sealed = {"encrypted_content"}  # with the provider's id
    return {name: plain(value) for name, value in found.items() if name not in new | sealed}


def view(side: Side) -> list[Any]:
    """What the provider was shown: all but the ids of items and threads."""
    own = {"input", "prompt_cache_key", "client_metadata"}
    return [
        [shown(request), {k: v for k, v in request.body.items() if k not in own}]
        for request in side.asked
    ]


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    with (
        Provider(answer) as one,
        Provider(answer) as other,
        serving.codex(one.url) as keeps,
        serving.codex(other.url, PROXY_REUSE_MAX="0") as anew,
    ):
        yield Pair(Side(keeps, one), Side(anew, other))
        serverlog.audit(keeps)
        serverlog.audit(anew)


@pytest.fixture
def pair(servers: Pair) -> Pair:
    for side in servers.sides:
        side.begin()
    return servers


ALL = ("phase", "comment", "two", "think", "rethink", "call", "calls", "thinkcall", "space")


@pytest.mark.parametrize("chained", [False, True], ids=["full", "chained"])
@pytest.mark.parametrize("tools", [(), (ADD,)], ids=["words", "tools"])
def test_every_kind_of_answer_is_gone_on_with(pair: Pair, tools: Any, chained: bool) -> None:
    """Phases, commentary, several messages, reasoning, calls and parallel ones, to the letter."""
    options = {"tools": list(tools), **({} if chained else SEALED)}
    for kind in (f"begin {tools} {chained}", *ALL, "uncounted", "end"):
        pair.each(functools.partial(Side.ask, words=kind, chained=chained, **options))
    assert pair.keeps.reused == len(ALL) + 2
    assert len(keys(pair.keeps.asked)) == 1
    assert pair.keeps.missed == []


def test_images_and_schemas_are_gone_on_with(pair: Pair) -> None:
    form: dict[str, Any] = {
        "text": {"format": {"type": "json_schema", "name": "f", "schema": SCHEMA}}
    }
    look = [{"type": "input_text", "text": "look"}, IMAGE]
    for words, options in (("image", {}), (look, {}), (look, form), ("free", {}), ("end", form)):
        pair.each(functools.partial(Side.ask, words=words, **options))
    assert pair.keeps.reused == 4
    assert len(keys(pair.keeps.asked)) == 1


def test_several_choices_and_both_apis_are_gone_on_with(pair: Pair) -> None:
    pair.each(lambda side: side.chat("several choices"))
    for side in pair.sides:
        side.chat("more", n=2)
    one, other = pair.sides
    assert view(one) == view(other)
    assert [each["message"] for each in plain(one.answers[-1])["choices"]] == [
        each["message"] for each in plain(other.answers[-1])["choices"]
    ]
    assert (one.reused, one.missed) == (1, ["in_use"])
    pair.each(lambda side: side.chat("end"))
    pair.each(lambda side: side.ask("on the other API", store=False))
    assert (one.reused, len(keys(one.asked)), one.missed) == (3, 2, ["in_use"])


def _summary(items: list[Any]) -> None:
    _last(items, "reasoning")["summary"][0]["text"] = "Not this."


def _sealed(items: list[Any]) -> None:
    _last(items, "reasoning")["encrypted_content"] = "rs_x:other"


def _twice(items: list[Any]) -> None:
    items.insert(-1, copy.deepcopy(_last(items, "reasoning")))


def _moved(items: list[Any]) -> None:
    thoughts = [item for item in items if item.get("type") == "reasoning"]
    items[:] = [item for item in items if item.get("type") != "reasoning"]
    items[1:1] = thoughts


def _phase(items: list[Any]) -> None:
    _last(items, "message")["phase"] = "commentary"


def _divided(items: list[Any]) -> None:
    whole = _last(items, "message")
    part = copy.deepcopy(whole) | {"id": "msg_part"}
    text = whole["content"][0]["text"]
    whole["content"][0]["text"], part["content"][0]["text"] = text[:4], text[4:]
    items.insert(items.index(whole) + 1, part)


def _joined(items: list[Any]) -> None:
    texts = [item for item in items if item.get("type") == "message"]
    texts[0]["content"][0]["text"] += texts[1]["content"][0]["text"]
    items.remove(texts[1])


def _named(items: list[Any]) -> None:
    items[0]["role"] = "developer"


def _dropped(items: list[Any]) -> None:
    items.remove(_last(items, "message"))


def _last(items: list[Any], kind: str) -> Any:
    return [item for item in items if item.get("type") == kind][-1]


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("think", _summary),
        ("think", _sealed),
        ("think", _twice),
        ("rethink", _moved),
        ("phase", _phase),
        ("phase", _divided),
        ("two", _joined),
        ("two", _named),
        ("two", _dropped),
    ],
)
def test_an_edit_of_the_last_answer_has_a_new_thread(
    pair: Pair, kind: str, edit: Callable[[list[Any]], None]
) -> None:
    pair.each(lambda side: side.ask(f"{kind} {edit.__name__}", **SEALED))
    for side in pair.sides:
        edit(side.items)
    pair.each(lambda side: side.ask("and", **SEALED))
    assert pair.keeps.reused == 0
    pair.each(lambda side: side.ask("end", **SEALED))
    assert pair.keeps.reused == 1


@pytest.mark.parametrize(
    ("words", "options"),
    [("cut", {}), ("stopped", {"stop": ["aid"]}), ("limited", {"max_tokens": 1})],
    ids=["cut", "stop", "max_tokens"],
)
def test_an_answer_that_was_cut_has_a_new_thread(
    pair: Pair, words: str, options: Mapping[str, Any]
) -> None:
    pair.each(lambda side: side.chat(words, **options))
    pair.each(lambda side: side.chat("end"))
    assert (pair.keeps.reused, pair.keeps.missed) == (0, ["not_kept"])


@pytest.mark.parametrize(
    ("kind", "asked"),
    [("400", 2), ("404", 2), ("422", 2), ("long", 2), ("refused", 1), ("429", 1)],
)
def test_what_the_thread_may_be_to_blame_for_is_asked_on_a_new_one(
    pair: Pair, kind: str, asked: int
) -> None:
    """A refusal of the prompt is not asked for twice, and a limit not drawn on twice."""
    one, other = pair.sides
    for side in pair.sides:
        side.chat(f"begin {kind}")
    before = len(one.asked)
    assert plain(one.chat(kind)) == plain(other.chat(kind))
    assert len(one.asked) - before == asked
    assert len(keys(one.asked)) == asked
    assert view(one)[-1] == view(other)[-1]
    for side in pair.sides:
        side.items.pop()
    assert plain(one.chat("end")) == plain(other.chat("end"))


def test_a_summary_that_a_waiting_turn_was_given_is_not_gone_on_with(pair: Pair) -> None:
    """Codex goes on with it, so whoever brings results without it has a new thread."""
    for side in pair.sides:
        options = {"tools": [ADD], "store": False}
        said = [{"role": "user", "content": "call with a summary"}]
        body = {"model": "gpt-5.5", "input": said, "reasoning": {"summary": "auto"}, **options}
        found = json.loads(httpclient.ask(side.server.url, "POST", "/responses", body).body)
        (call,) = found["output"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "res"}
        side.items += [*said, call, result]
        side.answers.append(found)
    pair.each(lambda side: side.ask("end", tools=[ADD], store=False))
    assert "summary" not in (pair.keeps.asked[-1].body["reasoning"] or {})


OPERATORS = """
model_auto_compact_token_limit = 500
model_context_window = 2000
compact_prompt = "Summarise."
tool_output_token_limit = 10

[features]
async_compaction = true
context_management = true
current_time_reminder = true
token_budget = true
"""


def test_no_setting_of_an_operators_shortens_a_thread_or_adds_to_it(tmp_path: Path) -> None:
    """Codex would summarise the thread, and forget the question that it was asked."""
    (tmp_path / "config.toml").write_text(OPERATORS)
    with (
        Provider(answer) as provider,
        serving.codex(provider.url, CODEX_HOME=str(tmp_path)) as server,
    ):
        side = Side(server, provider)
        for words in ("one", "call", "three"):
            side.ask(words, tools=[ADD], store=False)
        assert side.reused == 2
        assert [len(request.body["input"]) for request in side.asked] == [1, 3, 5, 7]
        asked = [text for role, text in side.asked[-1].messages if role == "user"]
        assert asked == ["one", "call", "three"]
