"""Judges what a client got by what the upstream of its answer has said.

A whole answer arrives exactly, an answer that broke off never looks whole, and an error is one
that something here has caused. Nothing of the product is used to find out.
"""

import itertools
from typing import TYPE_CHECKING, Final

from tests.simulator import answers, client, plan, replies, sayings, upstreamend

if TYPE_CHECKING:
    from tests.simulator import upstream, world

Broken = answers.Broken

ATTEMPTS: Final = 3
"""Requests for one answer, those apart that met a connection on its way to be closed."""

EARLY_S: Final = 0.05
LATE_S: Final = 1.0
"""How far a deadline may be missed by."""

BACKLOG_BYTES: Final = 100_000
"""The most that a connection may hold for a client: its buffer, and what one read can bring."""

COMMENT_BYTES: Final = 100
"""No more than this may be unread of an upstream that only says that it is there."""

CLOSED: Final = frozenset(
    ("upstream_disconnected", "upstream_truncated", "upstream_error", "empty_upstream")
)
"""Codes of answers within which every connection was broken off."""


class Judge:
    """Of one answer.

    Args:
        index: of the request on its connection.
    """

    def __init__(
        self,
        of: "world.World",
        backend: "upstream.Upstream",
        visitor: client.Visitor,
        index: int,
        heard: answers.Heard,
        answer: answers.Answer,
    ) -> None:
        self._plan = of.plan
        self._config = of.plan.weather.config
        self._visitor = visitor
        self._index = index
        self._request = visitor.requests[index]
        self._ask = self._request.ask
        self._heard = heard
        self._answer = answer
        self._entries = backend.played.get(self._request.number, [])
        self._names = plan.FUNCTIONS[: self._ask.tools]
        self._patient = not visitor.left and visitor.step.reading.room is None
        hit = any(of.planter.hit(request.request_id) for request in visitor.requests)
        # A bug was met where this client's upstream was to be held back.
        self._is_unheld = hit and "steering.pause" in of.plan.planted

    def check(self) -> None:
        """Check everything.

        Raises:
            Broken: a rule is.
        """
        wire = self._visitor.wire
        # A body is sent in one piece, and so is what has waited for the disk.
        pieces = all(ask.stream for ask in self._visitor.step.asks)
        pieces = pieces and self._config["log_fsync"] != "always" and not self._is_unheld
        if pieces and wire is not None and wire.most_waiting > BACKLOG_BYTES:
            raise Broken(f"{wire.most_waiting} bytes were held for a client that reads slowly")
        for entry in self._entries:
            self._check_request(entry)
        self._check_attempts()
        if not self._plan.weather.plain:
            return
        if self._heard.done:
            self._check_done()
        elif self._heard.error is not None:
            self._check_failure(self._heard.error or "invalid_request")
        elif self._answer.streams and self._answer.whole:
            self._check_empty()
        else:
            self._check_beginnings()

    # Requests.

    def _check_request(self, entry: upstreamend.Entry) -> None:
        """The upstream was asked what the client asked, with the server's key."""
        if entry.headers["authorization"] != "bearer sk-upstream":
            raise Broken(f"the upstream was given {entry.headers['authorization']}")
        sent = dict(entry.body)
        asked = self._request.chat_body()
        if self._ask.api == "responses":  # which says as little as it can
            asked = {name: value for name, value in asked.items() if name in sent}
        if not (sent["stream"] and sent["stream_options"]["include_usage"]):
            raise Broken("the upstream was not asked for a counted stream")
        for ours in ("stream", "stream_options"):
            asked.pop(ours, None)
            sent.pop(ours)
        if asked != sent:
            raise Broken(f"the upstream was asked {sent}, by a client that asked {asked}")

    def _check_attempts(self) -> None:
        for earlier, later in itertools.pairwise(self._entries):
            if _is_stale(earlier):
                if later.reused:
                    raise Broken("asked again on a connection that may be stale too")
            elif not _is_retried(earlier):
                raise Broken(f"asked again after {earlier.reply}")
        if len(self._attempts) > ATTEMPTS:
            raise Broken(f"asked {len(self._attempts)} times")

    @property
    def _attempts(self) -> list[upstreamend.Entry]:
        return [entry for entry in self._entries if not _is_stale(entry)]

    # Whole answers.

    def _check_done(self) -> None:
        entry = self._entries[-1] if self._entries else None
        untrue = "nothing is whole" if entry is None else self._untrue(entry)
        if untrue and not self._was_cut():
            raise Broken(untrue)
        if untrue:
            self._check_beginnings()
        elif entry is not None:
            self._check_usage(entry)

    def _untrue(self, entry: upstreamend.Entry) -> str:
        """What is wrong with a whole answer; nothing if it is true to its upstream's."""
        if entry.whole_at is None:
            return "told that an answer is whole that is not"
        for number, choice in enumerate(self._heard.choices):
            saying = sayings.Saying(entry.reply, number, sayings.atoms(entry, number), self._names)
            is_missing = isinstance(entry.reply, replies.Stream) and (
                entry.reply.ending == "no_finish" and not saying.atoms
            )
            if is_missing and choice == answers.Choice():
                continue
            if is_missing or not saying.is_whole(choice, self._ask):
                return f"choice {number} is {choice}, of {entry.reply}"
        return ""

    def _was_cut(self) -> bool:
        """Whether the answer may have been ended because it took too long."""
        limit = self._config["nonstream_truncate_after_ms"] / 1000
        took = self._ended - self._request.sent_at
        return bool(limit) and not self._ask.stream and took >= limit - EARLY_S

    def _check_usage(self, entry: upstreamend.Entry) -> None:
        """Counts are those that the upstream told in time, or unknown if it did not."""
        usage = self._heard.usage
        if usage is None:
            return
        assert entry.whole_at is not None
        soon = entry.whole_at + 0.5 * self._config["finish_grace_ms"] / 1000
        early = [counts for at, counts in entry.counts if at <= soon]
        told = [counts for _, counts in entry.counts]
        if self._heard.usage_mark == "estimated":
            self._check_estimate(usage)
            return
        if self._heard.usage_mark == "unknown" or not usage["total_tokens"]:
            hurried = self._plan.of(plan.Drain)  # a stop does not wait for counts
            if any(map(sum, early)) and self._patient and not hurried:
                raise Broken(f"usage is unknown, and was told: {early}")
            return
        said = (usage["prompt_tokens"], usage["completion_tokens"])
        if said not in {_largest(early), _largest(told)}:
            raise Broken(f"usage {said} where {told} was told")

    def _check_estimate(self, usage: dict[str, int]) -> None:
        """An estimate is of an answer that was cut, as it was told."""
        if not self._was_cut():
            raise Broken(f"usage {usage} is an estimate of what was not cut")
        if self._heard.estimate not in (None, usage["completion_tokens"]):
            raise Broken(f"usage {usage} is no estimate of {self._heard.choices}")

    # Failures.

    def _check_failure(self, code: str) -> None:
        if self._is_excused(code):
            self._check_beginnings()
            return
        if not self._entries:
            raise Broken(f"{code}, and the upstream was not asked")
        entry = self._entries[-1]
        if _is_stale(entry):
            raise Broken("a connection that was closed while it was idle was not replaced")
        codes = self._codes(entry)
        if code not in codes:
            raise Broken(f"{code} where {sorted(codes)} was due, after {entry.reply}")
        if _is_retried(entry) and not entry.over and len(self._attempts) < ATTEMPTS:
            raise Broken(f"given up after {len(self._attempts)} attempts")
        if code == "empty_upstream" and self._may_be_empty():
            raise Broken("an error in place of an empty stream")
        if isinstance(entry.reply, replies.Refusal) and not (entry.over or self._answer.streams):
            self._check_refusal(entry.reply, self._answer)
        self._check_beginnings(exact=self._patient and not entry.over)

    def _codes(self, entry: upstreamend.Entry) -> set[str]:
        """What a client may be told after such a reply."""
        codes = set(CLOSED) if entry.over else set()
        match entry.reply:
            case replies.Refusal(status=status) if 300 <= status < 400:
                return codes | {"upstream_redirected"}
            case replies.Refusal() | replies.Rubbish() as reply:
                return codes | set(reply.codes)
            case replies.Completion(broken="cut"):
                codes.add("upstream_error")
            case replies.Completion(broken=str()):
                codes.add("upstream_disconnected")
            case replies.Stream() as reply:
                codes |= self._stream_codes(entry, reply)
        return codes

    def _stream_codes(self, entry: upstreamend.Entry, reply: replies.Stream) -> set[str]:
        match reply.ending:
            case "reset" | "short":
                return self._broken_codes(entry, reply)
            case "reset_after" if not self._patient:
                return self._broken_codes(entry, reply)  # what was not read is lost
            case "end" | "cut":
                return self._ended_codes(entry, reply)
            case "error":
                return {replies.ERRORS[reply.error][1]}
            case "bad_json":
                return {"upstream_decode_error"}
            case "too_large":
                return {"upstream_event_too_large"}
            case "contradiction":
                return {"upstream_text_mismatch"}
            case "error_word":
                return {"upstream_error"}
        return set()

    def _broken_codes(self, entry: upstreamend.Entry, reply: replies.Stream) -> set[str]:
        """Of a connection that breaks; without a length aiohttp takes that for the body's end."""
        ends = self._ended_codes(entry, reply) if reply.framing == "close" else set()
        return {"upstream_disconnected"} | ends

    def _ended_codes(self, entry: upstreamend.Entry, reply: replies.Stream) -> set[str]:
        """Of a body that ends too early."""
        if entry.events:
            return {"upstream_truncated"}
        labelled = (reply.label or "").startswith("text/event-stream")
        return {"empty_upstream" if labelled else "upstream_error"}

    def _is_excused(self, code: str) -> bool:
        """Whether an error has a cause that is none of the upstream's replies."""
        config = self._config
        match code:
            case "server_shutdown":
                return self._plan.of(plan.Drain)
            case "concurrency_exceeded":
                return self._ask.stream and bool(config["sse_max_concurrency"])
            case "invalid_request":  # more choices than streams may ever be open
                return self._ask.stream and 0 < config["sse_max_concurrency"] < self._ask.n
            case "worker_not_ready":
                refuses = bool(config["log_on_error"] == "refuse")
                return refuses and self._plan.of(plan.DiskTrouble)
            case "request_timeout_client" | "bad_http":
                return not self._request.sent
            case "upstream_unreachable":
                return self._plan.of(plan.Outage)
            case "request_timeout":
                limits = (config["first_chunk_timeout_ms"], config["timeout_ms"])
                least = min(limit for limit in limits if limit) / 1000
                return bool(self._ended - self._request.sent_at >= least - EARLY_S)
            case "idle_timeout" if self._entries:
                return self._fell_silent(self._entries[-1])
        return False

    def _fell_silent(self, entry: upstreamend.Entry) -> bool:
        """Whether an upstream had said nothing for as long as it may."""
        if 0 < self._visitor.step.reading.more < plan.FAST:
            return True  # the deadline counts while the upstream is paused for its client
        silence = self._ended - entry.life
        limit = self._config["stream_idle_timeout_ms"] / 1000
        late = self._patient and silence > limit + LATE_S
        unread = entry.wire.undelivered > COMMENT_BYTES
        return bool(silence >= limit - EARLY_S) and not late and not unread

    @property
    def _ended(self) -> float:
        """When the client had the answer."""
        times = self._visitor.times
        return times[self._index] if self._index < len(times) else self._visitor.left_at

    def _check_refusal(self, refusal: replies.Refusal, answer: answers.Answer) -> None:
        status = refusal.status if 400 <= refusal.status < 500 else 502
        if answer.status != status:
            raise Broken(f"status {answer.status} of a {refusal.status}")
        after = answer.headers.get("retry-after")
        if refusal.retry_after is not None and after != str(max(1, refusal.retry_after)):
            raise Broken(f"retry-after {after} of a {refusal}")

    def _may_be_empty(self) -> bool:
        """Whether an empty stream is an answer: it is none of the Responses API."""
        allowed = self._config["empty_upstream"] == "empty" and self._ask.api == "chat"
        return self._ask.stream and allowed

    def _check_empty(self) -> None:
        due = self._codes(self._entries[-1]) if self._entries else set()
        if not (self._may_be_empty() and "empty_upstream" in due):
            raise Broken("a stream that neither is whole nor says why")

    def _check_beginnings(self, exact: bool = False) -> None:
        """What was told is a beginning of what was said.

        Args:
            exact: whether it must be all that was said.
        """
        entry = self._entries[-1] if self._entries else None
        for number, choice in enumerate(self._heard.choices):
            if choice == answers.Choice(finish=choice.finish):
                saying = sayings.Saying(None, number, (), self._names)
            elif entry is None:
                raise Broken(f"told {choice}, and the upstream was not asked")
            else:
                saying = sayings.Saying(
                    entry.reply, number, sayings.atoms(entry, number), self._names
                )
            if not saying.begins(choice):
                raise Broken(f"choice {number} is {choice}, of {saying.atoms}")
        if exact and entry is not None and self._ask.stream:
            self._check_all_told(entry)

    def _check_all_told(self, entry: upstreamend.Entry) -> None:
        """Nothing that came before a failure is kept from a client that reads."""
        for number, atoms in enumerate(entry.told):
            saying = sayings.Saying(entry.reply, number, tuple(atoms), self._names)
            heard = self._heard.choices[number].content if self._heard.choices else ""
            if saying.content != heard:
                raise Broken(
                    f"choice {number} is {heard!r}, of {saying.content!r} before a failure"
                )


def _is_stale(entry: upstreamend.Entry) -> bool:
    """Whether a request met a pooled connection that was being closed.

    Who sends a part of a head on one, and closes it, looks the same to the product's client.
    """
    return entry.reused and entry.over == "hung_up" and not entry.headed


def _is_retried(entry: upstreamend.Entry) -> bool:
    return isinstance(entry.reply, replies.Refusal) and entry.reply.retried


def _largest(counts: list[tuple[int, int]]) -> tuple[int, int]:
    return (
        max((each[0] for each in counts), default=0),
        max((each[1] for each in counts), default=0),
    )
