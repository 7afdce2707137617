"""Typed shapes of the `codex app-server` v2 notifications that Turntape listens to.

A Struct names only the fields that something here reads; what else a frame carries is skipped.
The other half of the protocol, the requests, is in `engine.codex.protocol.appserver`.
"""

from typing import Any

import msgspec


class Shape(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Base of everything that crosses the pipe."""


class TurnError(Shape, frozen=True):
    """Why a turn failed.

    Attributes:
        codex_error_info: a word such as `contextWindowExceeded`, or an object of one such word
            with its detail; `error_word` and `http_status` read both.
    """

    message: str
    codex_error_info: str | dict[str, Any] | None = None
    additional_details: str | None = None

    @property
    def error_word(self) -> str:
        """The one word of `codex_error_info`, empty without one."""
        info = self.codex_error_info
        if isinstance(info, dict):
            return next(iter(info), "")
        return info or ""

    @property
    def http_status(self) -> int | None:
        """The HTTP status that Codex saw, as far as it tells."""
        info = self.codex_error_info
        detail = next(iter(info.values()), None) if isinstance(info, dict) else None
        status = detail.get("httpStatusCode") if isinstance(detail, dict) else None
        return status if isinstance(status, int) and not isinstance(status, bool) else None


class Item(Shape, frozen=True):
    """One item of a turn, of any type; what a type does not have is empty.

    Attributes:
        type: `agentMessage`, `reasoning`, or another one.
        text: of an agent message, whole once the item is completed.
        phase: of an agent message: `commentary`, `partial_answer`, `final_answer` or None.
        summary: parts of a reasoning item's summary.
    """

    type: str
    id: str
    text: str = ""
    phase: str | None = None
    summary: tuple[str, ...] = ()


class Turn(Shape, frozen=True):
    """A turn as its start and its end report it.

    Attributes:
        status: `inProgress`, then `completed`, `interrupted` or `failed`.
    """

    id: str
    status: str
    items: tuple[Item, ...]
    error: TurnError | None = None


class ErrorNotification(Shape, frozen=True):
    """A turn met an error; its `turn/completed` follows unless Codex tries again."""

    thread_id: str
    turn_id: str
    error: TurnError
    will_retry: bool


class TurnNotification(Shape, frozen=True):
    """A turn started or completed."""

    thread_id: str
    turn: Turn


class ItemNotification(Shape, frozen=True):
    """An item started or completed."""

    thread_id: str
    turn_id: str
    item: Item


class ItemDelta(Shape, frozen=True):
    """A piece of an item's text."""

    thread_id: str
    turn_id: str
    item_id: str
    delta: str


class SummaryTextDelta(ItemDelta, frozen=True):
    """A piece of one part of a reasoning summary."""

    summary_index: int


class ReasoningTextDelta(ItemDelta, frozen=True):
    """A piece of raw reasoning text."""

    content_index: int


class SummaryPartAdded(Shape, frozen=True):
    """A further part of a reasoning summary begins."""

    thread_id: str
    turn_id: str
    item_id: str
    summary_index: int


class TokenCounts(Shape, frozen=True):
    """Token counts of one model step, or of all steps of a thread."""

    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_output_tokens: int
    total_tokens: int


class ThreadTokenUsage(Shape, frozen=True):
    """`total` adds up over the thread; `last` is 0 where the answer was cut by its limit."""

    total: TokenCounts
    last: TokenCounts


class TokenUsageUpdated(Shape, frozen=True):
    """The counts so far; just before `turn/completed`, once a model step."""

    thread_id: str
    turn_id: str
    token_usage: ThreadTokenUsage


class ResponseItem(msgspec.Struct, frozen=True, gc=False):
    """The members that are read of an item of the Responses API, of any type; its names are that
    API's.

    Attributes:
        type: `function_call`, `reasoning`, `message`, `function_call_output`, or another one.
        arguments: of a function call the exact JSON string; other types have objects here.
        summary: of reasoning, its parts.
    """

    type: str
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Any = None
    encrypted_content: str | None = None
    summary: Any = None


class RawItemCompleted(Shape, frozen=True):
    """An item of the model provider's, of Codex's own, or the echo of an injected one.

    Attributes:
        turn_id: `auto-compact-0` of an echo.
        item: the whole item, to be injected again; `ResponseItem` reads it.
    """

    thread_id: str
    turn_id: str
    item: msgspec.Raw


class RawResponseCompleted(Shape, frozen=True):
    """One model step is whole; None where the provider counted nothing."""

    thread_id: str
    turn_id: str
    response_id: str
    usage: TokenCounts | None = None


class ThreadClosed(Shape, frozen=True):
    """A thread is no longer loaded."""

    thread_id: str


class LoginCompleted(Shape, frozen=True):
    """A login has ended; the id is None for a key."""

    success: bool
    login_id: str | None = None
    error: str | None = None


class AccountUpdated(Shape, frozen=True):
    """The login has changed; only now may a thread be started with it.

    Attributes:
        auth_mode: such as `apikey` or `chatgpt`; None where nobody is logged in any more.
    """

    auth_mode: str | None = None


class RateLimitWindow(Shape, frozen=True):
    """A span of time for which an account has a quota.

    Attributes:
        used_percent: of the quota; whole numbers so far.
        resets_at: Unix seconds.
    """

    used_percent: float
    resets_at: float | None = None
    window_duration_mins: float | None = None


class Credits(Shape, frozen=True):
    """The credits that an account has bought beside its plan.

    Attributes:
        balance: a number as text.
    """

    has_credits: bool
    unlimited: bool
    balance: str | None = None


class RateLimitSnapshot(Shape, frozen=True):
    """The quota of an account. A notification of it is sparse: what it does not name has not
    changed.

    Attributes:
        limit_id: which of the account's limits it is, such as `codex`.
        plan_type: such as `plus`; newer back ends have plans that no schema names.
        primary, secondary: the short window and the long one.
    """

    limit_id: str | None = None
    plan_type: str | None = None
    primary: RateLimitWindow | None = None
    secondary: RateLimitWindow | None = None
    credits: Credits | None = None


class RateLimitsUpdated(Shape, frozen=True):
    """The provider has told of the quota, which it does with each answer to a ChatGPT login."""

    rate_limits: RateLimitSnapshot


class ModelRerouted(Shape, frozen=True):
    """The provider answers with another model than it was asked for.

    Attributes:
        reason: a word such as `highRiskCyberActivity`.
    """

    thread_id: str
    turn_id: str
    to_model: str
    reason: str = ""


class ConfigWarning(Shape, frozen=True):
    """Codex does not like its configuration."""

    summary: str
    details: str | None = None
    path: str | None = None


class Warning(Shape, frozen=True):  # noqa: A001 - the protocol's own name for it
    """Codex is worried, of one thread or of all."""

    message: str
    thread_id: str | None = None


NOTIFICATIONS: dict[str, type[Shape]] = {
    "error": ErrorNotification,
    "turn/started": TurnNotification,
    "turn/completed": TurnNotification,
    "item/started": ItemNotification,
    "item/completed": ItemNotification,
    "item/agentMessage/delta": ItemDelta,
    "item/reasoning/summaryTextDelta": SummaryTextDelta,
    "item/reasoning/textDelta": ReasoningTextDelta,
    "item/reasoning/summaryPartAdded": SummaryPartAdded,
    "thread/tokenUsage/updated": TokenUsageUpdated,
    "rawResponseItem/completed": RawItemCompleted,
    "rawResponse/completed": RawResponseCompleted,
    "thread/closed": ThreadClosed,
    "account/login/completed": LoginCompleted,
    "account/updated": AccountUpdated,
    "account/rateLimits/updated": RateLimitsUpdated,
    "model/rerouted": ModelRerouted,
    "configWarning": ConfigWarning,
    "warning": Warning,
}
"""Notifications we listen to: params. All others are opted out of."""

ASIDE: frozenset[str] = frozenset({"account/rateLimits/updated", "model/rerouted"})
"""Notifications beside the answer: one of another shape is lost, and no turn has a hole by it."""
