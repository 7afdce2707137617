"""A `codex app-server` in memory: one process, its threads, and the scripts that its turns play.

What a thread is to say is found by the marks in its input: `#30@alice` is the first ask of
step 3, and alice's.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from bench import appframes
from tests.simulator import director, frames, plan, scripts

RPC_LATE_S: Final = 1.2
"""Delay of a late reply: below the limit of the weather, `worker_request_timeout_ms`."""

Json = dict[str, Any]


class AppServer:
    """One process.

    Args:
        name: of its generator and of its threads' ids.
        write: takes its output.
        leave: called with its exit code, and what it says last, to end by itself.
    """

    def __init__(
        self,
        name: str,
        directed_by: director.Director,
        weather: plan.Weather,
        write: Callable[[bytes], None],
        leave: Callable[[int, bytes], None],
    ) -> None:
        self.threads: dict[str, director.Thread] = {}
        self.frozen = False
        self._name = name
        self._director = directed_by
        self._weather = weather
        self._write = write
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random(name)
        self._numbers = itertools.count(1)
        self._timers: set[asyncio.TimerHandle] = set()
        self._unheard: list[bytes] = []
        self._unsaid: list[bytes] = []

    def running(self) -> list[director.Thread]:
        """Threads whose turn goes on and waits for nobody."""
        return [each for each in self.threads.values() if each.running and not each.asked]

    def holds_innocents(self) -> bool:
        """Whether a thread of an innocent's is here."""
        return any(each.is_innocent for each in self.threads.values())

    def expose(self, why: str) -> None:
        """Something hits all of this process."""
        for thread in self.threads.values():
            self._director.expose(thread.model, why)

    def end(self) -> None:
        """It is no more."""
        self.expose("dead")
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.threads.clear()

    def hear(self, line: bytes) -> None:
        """One line of its input."""
        message = msgspec.json.decode(line)
        if self.frozen:
            self._director.expose(self._model(message.get("params") or {}), "deaf")
            self._unheard.append(line)
            return
        if "method" not in message:
            self._answered(message)
        elif "id" in message:
            self._requested(message["id"], message["method"], message.get("params") or {})

    def say(self, *lines: bytes) -> None:
        """Write lines; those of a frozen process come when it thaws."""
        if self.frozen:
            self._unsaid += lines
        else:
            self._write(b"".join(lines))

    def freeze(self, seconds: float) -> None:
        """Neither hear nor speak for a while."""
        self.frozen = True
        self.expose("deaf")
        self._later(seconds, self._thaw)

    def _thaw(self) -> None:
        self.frozen = False
        unheard, self._unheard = self._unheard, []
        unsaid, self._unsaid = self._unsaid, []
        self.say(*unsaid)
        for line in unheard:
            self.hear(line)

    def _later(self, delay: float, what: Callable[..., None], *arguments: Any) -> None:
        def act() -> None:
            self._timers.discard(timer)
            what(*arguments)

        timer = self._loop.call_later(delay, act)
        self._timers.add(timer)

    # Requests.

    def _requested(self, rpc_id: int, method: str, params: Json) -> None:
        model = self._model(params)
        fault = "" if model in plan.MODELS else self._director.fault(method)
        if fault == "silent":
            return
        if fault in ("overloaded", "refused"):
            code = appframes.OVERLOADED if fault == "overloaded" else appframes.INVALID_REQUEST
            self._later(self._delay(params), self.say, appframes.refusal(rpc_id, code, "no"))
            return
        # A thread keeps the order of its requests: they are done now, and answered later.
        try:
            result, begin = self._act(method, params)
        except KeyError:
            refusal = appframes.refusal(rpc_id, appframes.INVALID_REQUEST, "thread not found")
            self._later(self._delay(params), self.say, refusal)
            return
        delay = self._delay(params, result)
        # A turn may be faster than its reply.
        if begin is not None and self._rng_of(params, result).random() < 0.3:
            self._later(delay / 2, begin)
            begin = None
        reply = appframes.reply(rpc_id, 7 if fault == "nonsense" else result)
        self._later(RPC_LATE_S if fault == "late" else delay, self._reply, reply, begin)

    def _model(self, params: Json) -> str:
        """The model of the thread that a request is about; none for other requests."""
        thread = self.threads.get(params.get("threadId", ""))
        return thread.model if thread is not None else str(params.get("model", ""))

    def _rng_of(self, params: Json, result: Any = None) -> random.Random:
        """What a reply draws from, which may be the one that a thread begins with."""
        begun = result.get("thread", {}) if isinstance(result, dict) else {}
        thread = self.threads.get(params.get("threadId") or begun.get("id", ""))
        return thread.rng if thread is not None and thread.rng is not None else self._rng

    def _delay(self, params: Json, result: Any = None) -> float:
        latency = self._weather.latency
        return self._rng_of(params, result).uniform(0, latency) if latency else 0.0

    def _reply(self, reply: bytes, begin: Callable[[], None] | None) -> None:
        self.say(reply)
        if begin is not None:
            begin()

    def _tell(self, method: str) -> object:
        """The answer to a question about the process; None for other requests."""
        match method:
            case "initialize":
                return appframes.introduction("0.163.0")
            case "model/list":
                return appframes.models((*appframes.MODELS, *plan.MODELS))
            case "server/diagnostics":
                return appframes.diagnostics(1)
            case "account/read":
                return appframes.account(has_key=True)
        return None

    def _act(self, method: str, params: Json) -> tuple[object, Callable[[], None] | None]:
        if (told := self._tell(method)) is not None:
            return told, None
        match method:
            case "account/login/start":
                return {"type": params["type"]}, lambda: self.say(appframes.logged_in())
            case "thread/start":
                return self._start(params), None
        thread = self.threads[params["threadId"]]
        match method:
            case "thread/inject_items":
                self._inject(thread, params["items"])
                return {}, None
            case "turn/start":
                return self._begin_turn(thread)
            case "turn/interrupt":
                return {}, lambda: self._interrupt(thread)
        assert method == "thread/unsubscribe", method
        thread.subscribed = False
        if not thread.running:
            del self.threads[thread.id]
        return {"status": "unsubscribed"}, None

    def _start(self, params: Json) -> object:
        number = next(self._numbers)
        thread_id = f"{self._name}-{number}"
        thread = self.threads[thread_id] = director.Thread(thread_id, number, params)
        self._director.begin(thread)
        return appframes.thread(thread_id, params["model"], params["cwd"])

    def _inject(self, thread: director.Thread, items: list[Json]) -> None:
        """Take a history; the last of its marks is of the one who asks."""
        marks = director.MARK.findall(json.dumps(items))
        if marks:
            self._director.give(thread, int(marks[-1][0]), marks[-1][1])
        for item in items:
            self._director.check_owner(thread, item.get("encrypted_content", ""))
            said = "".join(part.get("text", "") for part in item.get("content") or ())
            thread.seen.append((item.get("role") or item["type"], said))
            if thread.raw:
                echo = {"threadId": thread.id, "turnId": "auto-compact-0", "item": item}
                self.say(appframes.notification("rawResponseItem/completed", echo))

    def _begin_turn(self, thread: director.Thread) -> tuple[object, Callable[[], None]]:
        if thread.seen and thread.seen[-1][0] == "assistant":
            thread.step = -1  # what it was to be asked was refused, and it answers nobody
        self._director.check_turn(thread)
        thread.turn_id = f"turn-{next(self._numbers)}"
        thread.running = True
        return {"turn": frames.turn(thread.turn_id, "inProgress")}, lambda: self._play(thread)

    def _interrupt(self, thread: director.Thread) -> None:
        if thread.running:
            self._end_turn(thread, "interrupted")

    # Turns.

    def _play(self, thread: director.Thread) -> None:
        script = self._director.next(thread, self._loop.time())
        lines = list(self._lines(thread, script))
        delays = itertools.cycle(script.delays)
        self._later(next(delays), self._advance, thread, thread.turn_id, lines, script, delays)

    def _advance(
        self,
        thread: director.Thread,
        turn_id: str,
        lines: list[bytes],
        script: scripts.Script,
        delays: Iterable[float],
    ) -> None:
        """Write the next line, and those that come with it without a pause."""
        if not (thread.running and thread.turn_id == turn_id):
            return
        out = []
        delay = 0.0
        pauses = iter(delays)
        while lines and delay == 0.0:
            out.append(lines.pop(0))
            delay = next(pauses)
        if thread.subscribed:
            self.say(*out)
        if lines or delay:
            self._later(delay, self._advance, thread, turn_id, lines, script, pauses)
        else:
            self._finish(thread, script)

    def _lines(self, thread: director.Thread, script: scripts.Script) -> Iterable[bytes]:
        ids = {"threadId": thread.id, "turnId": thread.turn_id}
        started = {"threadId": thread.id, "turn": frames.turn(thread.turn_id, "inProgress")}
        yield appframes.notification("turn/started", started)
        for number, item in enumerate(script.items):
            yield from frames.item(item, f"{thread.turn_id}/{number}", ids)
        if thread.raw and script.ending == "completed":
            secret = f"secret of #{thread.step}@{thread.owner}"
            raw = [{"type": "reasoning", "summary": [], "encrypted_content": secret}]
            raw += [
                {
                    "type": "function_call",
                    "call_id": call.call_id,
                    "name": self._alias(thread, call),
                    "arguments": call.arguments,
                }
                for call in script.calls
            ]
            for each in raw:
                yield appframes.notification("rawResponseItem/completed", {**ids, "item": each})

    def _alias(self, thread: director.Thread, call: scripts.Called) -> str:
        return thread.tools[call.tool] if call.tool >= 0 else "unknown"

    def _finish(self, thread: director.Thread, script: scripts.Script) -> None:
        """The end of a turn, as its script has it."""
        match script.ending:
            case "silent" | "silent_when_whole":
                return
            case "exit_mid_line":
                self._leave(1, b'{"method":"item/agentMessage/delta","params":{"threadId":"')
                return
            case "exit" | "exit_when_whole":
                self._leave(0, b"")
                return
        if script.ending == "completed" and thread.raw:
            counts = None if script.counts is None else frames.counts(script.counts)
            whole = {**self._ids(thread), "responseId": "r", "usage": counts}
            self.say(appframes.notification("rawResponse/completed", whole))
            if script.calls:
                self._wait_for_results(thread, script)
                return
        if script.counts is not None:
            counted = thread.counted
            thread.counted = (counted[0] + script.counts[0], counted[1] + script.counts[1])
            totals = {"total": frames.counts(thread.counted), "last": frames.counts(script.counts)}
            usage = {**self._ids(thread), "tokenUsage": totals}
            self.say(appframes.notification("thread/tokenUsage/updated", usage))
        answer = "".join(t for i in script.items if i.kind == "answer" for t in i.texts)
        thread.seen.append(("assistant", answer))
        self._end_turn(thread, script.ending, script)

    def _ids(self, thread: director.Thread) -> Json:
        return {"threadId": thread.id, "turnId": thread.turn_id}

    def _end_turn(
        self, thread: director.Thread, ending: str, script: scripts.Script | None = None
    ) -> None:
        thread.running = False
        thread.whole &= ending == "completed"
        thread.asked.clear()
        error: Json | None = None
        if ending in ("incomplete", "content_filter"):
            word = "max_output_tokens" if ending == "incomplete" else "content_filter"
            text = f"Incomplete response returned, reason: {word}"
            error = {"message": text, "codexErrorInfo": "other"}
        elif ending == "failed" and script is not None:
            info, status, text = scripts.ERRORS[script.error]
            detail = info if status is None else {info: {"httpStatusCode": status}}
            error = {"message": text, "codexErrorInfo": detail}
        status_word = {"completed": "completed", "interrupted": "interrupted"}.get(
            ending, "failed"
        )
        ended = {"threadId": thread.id, "turn": frames.turn(thread.turn_id, status_word, error)}
        line = appframes.notification("turn/completed", ended)
        late = {**self._ids(thread), "itemId": "late", "delta": "LATE"}
        again = script is not None and script.again
        more = [appframes.notification("item/agentMessage/delta", late), line] if again else []
        if thread.subscribed:
            self.say(line, *more)
        if not thread.subscribed:
            self.threads.pop(thread.id, None)

    # Calls.

    def _wait_for_results(self, thread: director.Thread, script: scripts.Script) -> None:
        """Ask for the result of every call that can have one."""
        for call in script.calls:
            if call.tool < 0 or not _is_json(call.arguments):
                continue
            rpc_id = f"{thread.id}/{next(self._numbers)}"
            thread.asked[rpc_id] = call
            params = {
                **self._ids(thread),
                "callId": call.call_id,
                "tool": self._alias(thread, call),
                "arguments": json.loads(call.arguments),
            }
            request = {"id": rpc_id, "method": "item/tool/call", "params": params}
            self.say(msgspec.json.encode(request) + b"\n")

    def _answered(self, message: Json) -> None:
        """The result of a call."""
        thread = self.threads.get(str(message["id"]).rpartition("/")[0])
        if thread is None or message["id"] not in thread.asked:
            return
        del thread.asked[message["id"]]
        if "error" in message:  # nobody listens to this turn any more
            return
        text = json.dumps(message["result"])
        self._director.check_owner(thread, text)
        thread.step = int(director.MARK.findall(text)[-1][0])
        if not thread.asked:
            self._later(0.001, self._go_on, thread, thread.turn_id)

    def _go_on(self, thread: director.Thread, turn_id: str) -> None:
        if thread.running and thread.turn_id == turn_id:
            self._play(thread)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
