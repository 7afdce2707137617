"""Judges what a client got by what the scripts of its turns say."""

from typing import TYPE_CHECKING, Final

from tests.simulator import answers, client, director, plan, scripts

if TYPE_CHECKING:
    from tests.simulator import world

Broken = answers.Broken


def check(
    of: "world.World",
    directed_by: director.Director,
    visitor: client.Visitor,
    index: int,
    heard: answers.Heard,
    answer: answers.Answer,
) -> None:
    """Check one answer.

    Raises:
        Broken: it is true to no script.
    """
    request = visitor.requests[index]
    if answer.streams and answer.whole and not heard.done and heard.error is None:
        raise Broken("a stream that neither is whole nor says why")
    if is_calm(of.plan) and not visitor.left and heard.error is not None and request.sent:
        raise Broken(f"{heard.error} on a calm day")
    played = directed_by.played.get(request.number, [])
    if of.plan.weather.plain:
        _check_contexts(directed_by.contexts.get(request.number, []), request)
        for choice in heard.choices:
            _check_choice(of.plan, played, request, choice, heard)
    if heard.done:
        _check_usage(of.plan, played, request, heard)


def is_calm(of: plan.Plan) -> bool:
    """Whether nothing can go wrong but what the clients do."""
    config = of.weather.config
    scripts_end = all(
        script.ending == "completed" and max(script.delays) < 1 and len(script.delays) < 4
        for ask in plan.asks(of).values()
        for script in ask.turns
    )
    room = config["worker_max_concurrency"] > 2 and not config["sse_max_concurrency"]
    long = not config["timeout_ms"] and not config["nonstream_truncate_after_ms"]
    required = any(ask.required for ask in plan.asks(of).values())
    started = all(
        step.at >= plan.BUSY_S for _, step in of.steps if not isinstance(step, plan.Defect)
    )
    harmless = plan.Visit | plan.Noise | plan.Defect
    only_visits = all(isinstance(step, harmless) for _, step in of.steps)
    well = of.defect is None or of.defect.is_of_a_request
    calm = scripts_end and room and long and only_visits and started
    return calm and well and not required


def _check_contexts(contexts: list[list[tuple[str, str]]], request: client.Request) -> None:
    """The model was shown the client's conversation, on whatever thread; line ends aside, by
    which the messages of an answer are joined."""
    if not all(message["role"] in _TALKERS for message in request.messages):
        return
    due = [(message["role"], _flat(message["content"])) for message in request.messages]
    for context in contexts:
        shown = [(role, _flat(text)) for role, text in context if role in _TALKERS]
        if shown != due and not request.ask.required:
            raise Broken(f"{request.request_id}: the model was shown {shown}, and not {due}")


_TALKERS: Final = ("user", "assistant")


def _flat(text: str | None) -> str:
    return (text or "").replace("\n", "")


def _check_choice(
    of: plan.Plan,
    played: list[scripts.Script],
    request: client.Request,
    choice: answers.Choice,
    heard: answers.Heard,
) -> None:
    """A choice is true to one of the scripts that were played for it."""
    ask = request.ask
    asked = scripts.Asked(
        tools=plan.FUNCTIONS[: ask.tools],
        stop=ask.stop,
        max_tokens=ask.max_tokens,
        parallel=ask.parallel,
        legacy=ask.legacy,
        apart=ask.api == "responses",
    )
    told = scripts.Told(
        choice.content,
        None if ask.required else choice.reasoning,
        tuple((name, arguments) for _, name, arguments in choice.calls),
        choice.finish if heard.done else None,
    )
    silent = not (choice.content or choice.reasoning or choice.calls)
    if silent and told.finish in (None, "length"):
        return
    disturbed = not is_calm(of)
    if not any(scripts.Expected(script, asked, disturbed).fits(told) for script in played):
        raise Broken(f"{request.request_id} was told {told}, of {played}")


def _check_usage(
    of: plan.Plan,
    played: list[scripts.Script],
    request: client.Request,
    heard: answers.Heard,
) -> None:
    """Counts are a script's, or an estimate of what was told where that was cut."""
    ask = request.ask
    if heard.usage is None or heard.usage["total_tokens"] == 0:
        return
    if heard.usage_mark == "unknown":
        raise Broken(f"usage {heard.usage} that is unknown")
    told = heard.usage["prompt_tokens"], heard.usage["completion_tokens"]
    counts = {script.counts for script in played}
    if ask.n > 1 or ask.required or (heard.usage_mark is None and told in counts):
        return
    if heard.usage_mark is None and (ask.keepalive or not ask.stream):
        raise Broken(f"usage {heard.usage} where {counts} was counted")
    if is_calm(of) and not (ask.stop or ask.max_tokens is not None or heard.choices[0].calls):
        raise Broken(f"usage {heard.usage} is an estimate of what was not cut")
    if told[0] == 0 or heard.estimate not in (None, told[1]):
        raise Broken(f"usage {heard.usage} is no estimate of {heard.choices}")
