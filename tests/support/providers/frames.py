"""Example frames of the real app-server: `python -m tests.support.providers.frames` records them
anew.

Each file in `tests/engine/frames/` is one connection, both directions, in the order of the wire.
What differs from run to run is replaced: ids by numbers in order of appearance, times by 0,
the machine's paths and ports by fixed ones. The order of a few frames is Codex's to choose.
"""

import itertools
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.codex.child import home as codexhome
from engine.codex.protocol import appserver
from tests.support.providers.pipe import Frame, Pipe, message
from tests.support.providers.provider import Provider
from tests.support.providers.replies import Answer, HttpError, Message, Reasoning, Stream
from tests.support.providers.scripted import Gate

DIRECTORY = Path(__file__).parents[2] / "engine" / "frames"

SCRIPT: dict[str, Answer] = {
    "think": Stream(
        (
            Reasoning((("Look", "ing."), ("Seen.",)), ("raw ", "thought")),
            Message(("Let me ", "see."), phase="commentary"),
            Message(("4", "2"), phase="final_answer"),
        )
    ),
    "fail": HttpError(401, {"error": {"message": "bad key", "code": "invalid_api_key"}}),
    "wait": Stream((Message(("so far", Gate())),)),
}
"""What the model provider of a recording answers."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIMES = frozenset(
    ("startedAt", "completedAt", "createdAt", "updatedAt", "recencyAt", "create_time")
)
_QUERY = re.compile(r"(?<=oauth/authorize)\?.*")


def load(name: str) -> list[Frame]:
    """The frames of one recorded connection."""
    lines = (DIRECTORY / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _login(pipe: Pipe, cwd: str) -> None:
    """A key, then a login in the browser that nobody ends."""
    pipe.call("account/read", appserver.AccountReadParams())
    pipe.login("sk-test")
    pipe.call("account/read", appserver.AccountReadParams())
    pipe.call("model/list", appserver.ModelListParams())
    pipe.call("account/login/start", appserver.ChatgptLogin())


def _turn(pipe: Pipe, cwd: str) -> None:
    """A turn with reasoning and two messages, then the thread's release."""
    pipe.login("sk-test")
    params = appserver.ThreadStartParams(model="gpt-5.5", cwd=cwd)
    thread_id = pipe.start(params, message("user", "think"))
    pipe.call("turn/start", appserver.TurnStartParams(thread_id=thread_id, effort="low"))
    pipe.notification("turn/completed", thread_id)
    pipe.call("thread/unsubscribe", appserver.ThreadUnsubscribeParams(thread_id))
    pipe.notification("thread/closed", thread_id)


def _raw(pipe: Pipe, cwd: str) -> None:
    """A turn with raw events, by a model that no catalog has."""
    pipe.login("sk-test")
    params = appserver.ThreadStartParams(model="nobody", cwd=cwd, experimental_raw_events=True)
    thread_id = pipe.start(params, message("user", "hi"))
    pipe.call("turn/start", appserver.TurnStartParams(thread_id=thread_id))
    pipe.notification("turn/completed", thread_id)


def _failure(pipe: Pipe, cwd: str) -> None:
    """A turn that the model provider refuses."""
    pipe.login("sk-test")
    params = appserver.ThreadStartParams(model="gpt-5.5", cwd=cwd)
    thread_id = pipe.start(params, message("user", "fail"))
    pipe.call("turn/start", appserver.TurnStartParams(thread_id=thread_id))
    pipe.notification("turn/completed", thread_id)


def _interrupt(pipe: Pipe, cwd: str) -> None:
    """A turn that is stopped while its model is silent."""
    pipe.login("sk-test")
    params = appserver.ThreadStartParams(model="gpt-5.5", cwd=cwd)
    thread_id = pipe.start(params, message("user", "wait"))
    pipe.call("turn/start", appserver.TurnStartParams(thread_id=thread_id))
    pipe.notification("item/agentMessage/delta", thread_id)
    pipe.call("turn/interrupt", appserver.TurnInterruptParams(thread_id, ""))
    pipe.notification("turn/completed", thread_id)


RECORDINGS: dict[str, Callable[[Pipe, str], None]] = {
    "login": _login,
    "turn": _turn,
    "raw": _raw,
    "failure": _failure,
    "interrupt": _interrupt,
}


def record(name: str) -> list[Frame]:
    """Run one recording against the real binary."""
    with tempfile.TemporaryDirectory() as directory, Provider(SCRIPT) as provider:
        setup = codexhome.Setup(data_dir=Path(directory), base_url=provider.url, has_key=True)
        codexhome.prepare(setup)
        with Pipe(setup) as pipe:
            pipe.handshake()
            RECORDINGS[name](pipe, str(setup.cwd))
            pipe.notification("configWarning")
        normalise = Normaliser({directory: "/data", str(provider.port): "11435"})
        return [normalise(frame) for frame in pipe.frames]


class Normaliser:
    """Replaces what differs from run to run."""

    def __init__(self, replacements: dict[str, str]) -> None:
        self._replacements = replacements
        self._numbers = itertools.count(1)
        self._ids: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        """The value with all that it contains normalised."""
        match value:
            case str():
                return self._text(value)
            case list():
                return [self(one) for one in value]
            case dict():
                return {
                    key: 0 if _is_time(key) and one else self(one) for key, one in value.items()
                }
        return value

    def _text(self, text: str) -> str:
        for old, new in self._replacements.items():
            text = text.replace(old, new)
        return _QUERY.sub("?…", _ID.sub(self._number, text))

    def _number(self, found: re.Match[str]) -> str:
        if found[0] not in self._ids:
            self._ids[found[0]] = f"00000000-0000-7000-8000-{next(self._numbers):012}"
        return self._ids[found[0]]


def _is_time(key: str) -> bool:
    return key in _TIMES or key.endswith(("AtMs", "durationMs"))


def main() -> None:
    """Record every connection."""
    DIRECTORY.mkdir(exist_ok=True)
    for name in RECORDINGS:
        lines = (json.dumps(frame, ensure_ascii=False) for frame in record(name))
        (DIRECTORY / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
