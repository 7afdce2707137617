"""Rows, and what filters make of them: the server's filters and the page's are held to both."""

from typing import Any, Final

import msgspec

from engine.log.find import query
from engine.log.summary import rows

HOUR_US: Final = 3_600_000_000

NOON_US: Final = 1_790_000_000_000_000

_FIELDS: Final[list[dict[str, Any]]] = [
    {
        "summary": "st_good",
        "request_id": "req_1",
        "kind": "completed",
        "status": 200,
        "model": "gpt-5.5",
        "worker": "codex",
        "key": "ci",
        "completion_id": "chatcmpl-7",
        "endpoint": "chat.completions",
        "finish_reasons": ("stop",),
        "duration_us": 1_500_000,
        "longest_gap_us": 300_000,
    },
    {
        "summary": "st_idle",
        "request_id": "req_2",
        "kind": "timeout",
        "status": 200,
        "code": "idle_timeout",
        "model": "gpt-5.5-mini",
        "worker": "codex",
        "process": "wk_1234",
        "endpoint": "responses",
        "duration_us": 31_000_000,
        "longest_gap_us": 30_000_000,
    },
    {
        "summary": "st_gone",
        "request_id": "req_3 with 'quotes'",
        "kind": "client_gone",
        "status": 200,
        "cause": "left",
        "longest_gap_owner": "client",
        "model": "local/llama 3",
        "worker": "upstream",
        "duration_us": 2_000_000,
    },
    {"summary": "rj_1", "status": 401, "code": "invalid_api_key"},
    {"summary": "st_open", "kind": "open", "model": "gpt-5.5", "trigger": "opened"},
]

ROWS: Final = tuple(
    rows.Summary(at=(1, number), t=NOON_US + number * HOUR_US, **fields)
    for number, fields in enumerate(_FIELDS)
)

FOUND: Final[dict[str, str]] = {
    "": "st_good st_idle st_gone rj_1 st_open",
    "  ": "st_good st_idle st_gone rj_1 st_open",
    "is:failed": "st_idle st_gone rj_1",
    "is:good": "st_good st_open",
    "is:open": "st_open",
    "is:refused": "rj_1",
    "is:open,refused": "rj_1 st_open",
    "is:streaming": "st_good st_idle",
    "kind:completed": "st_good",
    "kind:rejected": "rj_1",
    "-kind:completed": "st_idle st_gone rj_1 st_open",
    "code:idle_timeout": "st_idle",
    "code:idle_timeout,invalid_api_key": "st_idle rj_1",
    "code:i*": "st_idle rj_1",
    "model:gpt-5.5": "st_good st_open",
    "model:GPT-5.5": "st_good st_open",
    "model:gpt* is:failed": "st_idle",
    'model:"local/llama 3"': "st_gone",
    "status:401": "rj_1",
    "status:2xx,401": "st_good st_idle st_gone rj_1",
    "key:ci": "st_good",
    "-key:ci is:good": "st_open",
    "worker:upstream": "st_gone",
    "worker:wk_12": "st_idle",
    "owner:client": "st_gone",
    "cause:left": "st_gone",
    "finish:stop": "st_good",
    "endpoint:responses": "st_idle",
    "id:chatcmpl-7": "st_good",
    "slow:2s": "st_idle st_gone",
    "slow:2000ms": "st_idle st_gone",
    "slow:0.5m": "st_idle",
    "slow:31": "st_idle",
    "gap:1s": "st_idle",
    "st_g": "st_good st_gone",
    "REQ_2": "st_idle",
    "-st_g": "st_idle rj_1 st_open",
    "\"with 'quotes'\"": "st_gone",
    "since:2026-09-21T15:30:00Z": "st_gone rj_1 st_open",
    "until:2026-09-21T15:30:00+00:00": "st_good st_idle",
    "since:1790010000": "rj_1 st_open",
    "since:90m": "rj_1 st_open",
    "since:2h within:1h": "st_gone",
    "around:2026-09-21T15:13:00Z": "st_idle",
    "around:2026-09-21T15:13:00Z within:1h": "st_good st_idle",
}
"""The streams that each filter lets through."""

WRONG: Final = (
    "nonsense:1",
    "constructor:1",
    "-slow:2s",
    "model:",
    "is:bad",
    "status:abc",
    "slow:soon",
    "slow:1d2",
    "since:yesterdayish",
    "since:25:00",
)
"""Filters that say nothing."""


def plain() -> list[dict[str, Any]]:
    """The rows as the page gets them."""
    found: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(ROWS))
    return found


def problem(text: str) -> str:
    """What the command says of a filter that says nothing."""
    try:
        query.parse(text, query.Moment(max(row.t for row in ROWS)))
    except query.QueryError as error:
        return str(error)
    raise AssertionError(f"{text!r} says something")
