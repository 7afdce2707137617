"""A `Timeline` as lines for a terminal: the verdict first, then when what happened.

Sentences are folded. Every other line is made whole, and cut last, where it goes to a terminal
(`laid`): a program that reads it gets all of it.
"""

import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from engine.log.timeline import evidence, timeline
from server.cli import printing

COLUMNS: Final = 80
"""Width that sentences are folded to, where there is more."""

BAR: Final = 24
"""Columns of a silence that is as long as the stream."""

PLUMBING: Final = frozenset(
    ("rpc_sent", "rpc_replied", "turn_changed", "thread_changed", "item_started", "turn_started")
)
"""Records that tell how a turn was set up and let go, and are told together."""

GAPS: Final = 12
"""Silences that are drawn, the longest."""

RAN: Final = 10
"""Streams of a process that are named, the last."""

DRAWN_US: Final = 250_000
PART: Final = 5
"""From when on a silence is drawn: its length, or its part of the stream, the fifth."""


Form = Literal["cut", "folded", "whole"]
"""Forms of a line that is too long for a terminal: it is cut, or its words go on in the next
line, or it stays as long as it is, for it is somebody's bytes."""

CUT: Final = ("length", "content_filter")
"""Finish reasons of an answer that is not all that its client asked for."""

ERRORS: Final = 400
"""From which status on an answer is an error."""


class Line(NamedTuple):
    """A line.

    Attributes:
        style: what it is: `head`, `bad`, `good`, `gap`, `faint` or `plain`.
        indent: before each line of a sentence that is folded.
        label: stands in the indent of the first of them.
    """

    text: str
    style: str = "plain"
    form: Form = "cut"
    indent: str = ""
    label: str = ""


def laid(lines: Iterable[Line], width: int | None) -> Iterator[Line]:
    """Return lines as they fit so many columns; None: nothing is cut."""
    for line in lines:
        match line.form:
            case "cut":
                yield line._replace(text=printing.fit(line.text, width))
            case "folded":
                room = min(width or COLUMNS, COLUMNS)
                for number, text in enumerate(folded(line.text, line.indent, room)):
                    label = "" if number else line.label
                    yield Line(label + text[len(label) :], line.style)
            case "whole":
                yield line


def lines(told: timeline.Timeline, *, is_utc: bool = False) -> Iterator[Line]:
    """Return the picture of a stream."""
    yield from _verdict(told, is_utc)
    yield Line("")
    yield from _facts(told)
    yield Line("")
    yield from _course(told)


def moment(microseconds: int, *, is_utc: bool) -> str:
    """Spell a time since the epoch, here or in UTC."""
    there = datetime.fromtimestamp(microseconds / 1e6, UTC)
    local = there if is_utc else there.astimezone()
    zone = "Z" if is_utc else local.strftime("%z")
    return local.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + zone


def _verdict(told: timeline.Timeline, is_utc: bool) -> Iterator[Line]:
    ending, request = told.ending, told.request
    cut = [each for each in told.received.finish_reasons if each in CUT]
    is_good = ending.kind in ("completed", "open", "shutdown") and not cut
    kind = "good" if is_good else "bad"
    status = str(ending.status) if ending.status else ""
    parts = dict.fromkeys((ending.kind, ending.code or "", *cut, status))
    head = " ".join(part for part in parts if part)
    whose = f" · by the {ending.party}" if ending.party != "nobody" else ""
    yield Line(head + whose, kind)
    ids = (request.stream, request.request_id, request.completion_id)
    yield Line("  ".join(each for each in ids if each), "faint")
    lasted = f", for {evidence.seconds(ending.at_us)}" if ending.trigger or ending.at_us else ""
    yield Line(moment(request.opened_us, is_utc=is_utc) + lasted, "faint")
    yield Line("")
    for sentence in (told.verdict, *told.evidence):
        yield sentence_of(sentence, "head", "  ")
    if told.next_step:
        yield sentence_of(f"Next: {told.next_step}", indent="  ")
    for problem in told.problems[:3]:
        yield sentence_of(f"Of the log: {problem}", "bad", "  ")
    if told.later:
        said = "A later version wrote more of it, which is not told here."
        yield sentence_of(said, "bad", "  ")


def sentence_of(text: str, style: str = "plain", indent: str = "") -> Line:
    """Return a line whose words go on in the next where there is no room."""
    return Line(text, style, "folded", indent)


def folded(text: str, indent: str, width: int) -> list[str]:
    """Return a text in lines that fit, each with so much before it."""
    shown = printing.printable(text)
    # As if each were wide where one is: a fold must not go over the edge.
    if printing.columns(shown) != len(shown):
        width = width // 2 + len(indent)
    return textwrap.wrap(
        shown,
        max(width, len(indent) + 2),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _facts(told: timeline.Timeline) -> Iterator[Line]:
    request, got = told.request, told.received
    if _is_refusal(told):
        yield _fact("asked", ", ".join(_refused(request)))
        return
    if not request.model:
        if request.worker:
            yield _fact("worker", request.worker)
        yield from _ran(told)
        return
    target = f" → {request.target}" if request.target != request.model else ""
    mode = "stream" if request.streaming else "no stream"
    also = [f"n {request.n}"] if request.n > 1 else []
    also += [f"effort {request.effort}"] if request.effort else []
    also += [f"key {request.key}"] if request.key else []
    also += ["texts are masked"] if request.content == "masked" else []
    asked_for = [f"{request.model}{target} on {request.worker}", request.endpoint, mode, *also]
    yield _fact("asked", ", ".join(asked_for))
    yield _fact_folded("received", ", ".join(_received(told)))
    if got.usage is not None:
        counts = f"{got.usage.prompt_tokens} in, {got.usage.completion_tokens} out"
        yield _fact("usage", f"{counts} ({got.usage_source})")
    if len(told.attempts) > 1 or any(each.process or each.thread for each in told.attempts):
        for attempt in told.attempts:
            yield _fact("attempt", _attempt(attempt), "bad" if attempt.code else "plain")
    for call in told.calls[:20]:
        yield _fact("call", _call(call), "bad" if call.fate != "sent" else "plain")


def _is_refusal(told: timeline.Timeline) -> bool:
    """Whether the request was refused before it was a stream."""
    return told.ending.kind == "rejected" and not told.ending.trigger


def _refused(request: timeline.Request) -> Iterator[str]:
    yield request.endpoint
    if request.model:
        yield f"model {request.model}"
    if request.key:
        yield f"key {request.key}"
    if request.client:
        yield f"from {request.client}"
    if request.content == "masked":
        yield "texts are masked"


def _fact(name: str, text: str, style: str = "plain") -> Line:
    return Line(f"{name:<9} {text}", style)


def _fact_folded(name: str, text: str) -> Line:
    """A fact that matters whole, in as many lines as it needs."""
    return Line(text, form="folded", indent=" " * 10, label=f"{name:<9} ")


def _ran(told: timeline.Timeline) -> Iterator[Line]:
    """Return the last streams of a process: those that its end took with it are among them."""
    if len(told.ran) > RAN:
        yield _fact("ran", f"{len(told.ran)} streams, the last {RAN} of them:")
    for each in told.ran[-RAN:]:
        ended = " ".join(filter(None, (each.kind, each.code)))
        said = f"{each.stream} {ended}, at {evidence.seconds(each.at_us)}"
        yield _fact("ran", said, "plain" if each.kind == "completed" else "bad")


def _received(told: timeline.Timeline) -> Iterator[str]:
    got, is_stream = told.received, told.request.streaming
    if got.status is None:
        yield "nothing"
    elif got.error and (got.status >= ERRORS or not is_stream):
        yield f"{got.status}, an error of {got.body_bytes} bytes instead of an answer"
    else:
        yield str(got.status)
        is_cut = told.ending.kind == "truncated" or not set(CUT).isdisjoint(got.finish_reasons)
        yield "not whole" if not got.whole else "cut short" if is_cut else "whole"
        yield f"{got.characters} characters"
        if got.frames:
            error = ", an error the last" if got.error else ""
            yield f"{got.frames} frames{error}" if is_stream else "one body"
            yield f"{got.body_bytes} bytes"
        if got.first_us is not None and is_stream:
            yield f"first after {evidence.seconds(got.first_us)}"
    if got.unsent:
        yield f"{got.unsent} characters that were ready did not go out"
    reasons = ", ".join(reason or "-" for reason in got.finish_reasons)
    if reasons.strip("-, "):
        yield f"finish {reasons}"


def _attempt(attempt: timeline.Attempt) -> str:
    span = f"{attempt.start_us / 1e6:.2f}-{attempt.end_us / 1e6:.2f} s"
    how = "" if attempt.how == "first" else attempt.how
    which = " ".join(filter(None, (str(attempt.number or ""), how)))
    reason = f" ({attempt.reason})" if attempt.reason else ""
    failed = f": {attempt.code}" if attempt.code else ""
    choice = f" choice {attempt.choice}" if attempt.choice else ""
    where = f"{attempt.worker} {attempt.process}".strip()
    thread = f", {attempt.thread} thread" if attempt.thread else ""
    return f"{which}{reason}{choice} on {where}{thread}, {span}{failed}"


def _call(call: timeline.Call) -> str:
    parses = {True: "parses", False: "is no JSON object", None: "is masked"}[call.parses]
    return f"{call.name} {call.call_id}: {call.size} bytes, {parses}, {call.fate}"


def _course(told: timeline.Timeline) -> Iterator[Line]:
    whole = told.ending.at_us
    drawn = {gap.after: gap for gap in told.gaps[:GAPS] if _is_drawn(gap, whole)}
    for parked in (gap for gap in told.gaps if gap.owner == "parked"):
        yield _gap(parked, whole)
    for group in _grouped(told.marks, drawn):
        yield mark(group[0]) if len(group) == 1 else _plumbing(group)
        gap = drawn.get(group[-1].last_seq)
        if gap is not None:
            yield _gap(gap, whole)


def _is_drawn(gap: timeline.Gap, whole_us: int) -> bool:
    """Return whether a silence is long, or a good part of the stream."""
    length = gap.end_us - gap.start_us
    return gap.owner != "parked" and length >= min(DRAWN_US, whole_us // PART)


def _grouped(
    marks: Iterable[timeline.Mark], gaps: dict[int, timeline.Gap]
) -> Iterator[list[timeline.Mark]]:
    group: list[timeline.Mark] = []
    for mark in marks:
        if group and mark.event not in PLUMBING:
            yield group
            group = []
        group.append(mark)
        if mark.event not in PLUMBING or mark.last_seq in gaps:
            yield group
            group = []
    if group:
        yield group


def _plumbing(group: list[timeline.Mark]) -> Line:
    methods = [mark.text for mark in group if mark.event == "rpc_sent"]
    said = ", ".join(methods) or ", ".join(dict.fromkeys(mark.event for mark in group))
    return Line(_row(group[0].at_us, "worker", f"{len(group)} steps: {said}"), "faint")


def mark(mark: timeline.Mark) -> Line:
    """Return the line of one mark."""
    if mark.records > 1 or mark.characters:
        took = evidence.seconds(mark.end_us - mark.at_us)
        said = f"{mark.event} × {mark.records}, {mark.characters} characters in {took}"
        said += f": {mark.text}" if mark.text else ""
    else:
        said = f"{mark.event}: {mark.text}" if mark.text else mark.event
    if mark.choice:
        said = f"[{mark.choice}] {said}"
    style = "bad" if mark.event in _BAD else "faint" if mark.event in PLUMBING else "plain"
    return Line(_row(mark.at_us, mark.lane, said), style)


_BAD: Final = frozenset(
    ("turn_failed", "retry_scheduled", "fallback_taken", "fallback_skipped", "client_gone")
)
"""Records that say that something went wrong."""


_WAITED: Final[dict[timeline.Owner, str]] = {
    "worker": "nothing from the model",
    "client": "it did not read",
    "server": "it waited, or was held up",
    "queued": "no free place on a worker",
    "parked": "for results of its calls",
}
"""The reason of a silence, behind whose it was."""


def _gap(gap: timeline.Gap, whole_us: int) -> Line:
    length = gap.end_us - gap.start_us
    bar = "·" * max(1, min(BAR, round(BAR * length / max(whole_us, 1))))
    said = f"{bar} {evidence.seconds(length)}, {_WAITED[gap.owner]}"
    return Line(f"{'':>10}  {gap.owner:<7}  {said}", "gap")


def _row(at_us: int, lane: str, said: str) -> str:
    return f"{at_us / 1e6:>8.3f} s  {lane:<7}  {said}"
