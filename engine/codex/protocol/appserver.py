"""Typed shapes of the `codex app-server` v2 requests that Turntape sends, and the schema's pin.

A Struct names only the fields that something here reads or writes, camelCase on the wire; what
else a frame carries is skipped. Notifications are in `engine.codex.protocol.notifications`. The
shapes come from the binary's own schema (`codex app-server generate-json-schema --experimental`);
`tests.tools.schemadrift` compares the two.
"""

import pathlib
import re
from types import UnionType
from typing import Any

import msgspec

from engine.codex.protocol import notifications
from engine.codex.protocol.notifications import Shape


class Empty(Shape, frozen=True):
    """Params or a result without a field that matters."""


class ClientInfo(Shape, frozen=True):
    """The client's name and version: `name` becomes the `originator` header upstream."""

    name: str
    version: str


class Capabilities(Shape, frozen=True):
    """The capabilities that a connection asks for; `thread/start` needs the experimental
    methods."""

    experimental_api: bool = True
    request_attestation: bool = False
    opt_out_notification_methods: tuple[str, ...] = ()


class InitializeParams(Shape, frozen=True):
    """The first request of a connection."""

    client_info: ClientInfo
    capabilities: Capabilities


class InitializeResult(Shape, frozen=True):
    """The user agent holds the binary's version: see `version_of`."""

    user_agent: str
    codex_home: str


class ModelListParams(Shape, frozen=True):
    """A page of Codex's models."""

    cursor: str | None = None
    include_hidden: bool = False


class Effort(Shape, frozen=True):
    """A reasoning effort that a model takes."""

    reasoning_effort: str


class Model(Shape, frozen=True):
    """One model of the list; `model` is what `thread/start` takes."""

    model: str
    display_name: str
    hidden: bool
    supported_reasoning_efforts: tuple[Effort, ...]


class ModelListResult(Shape, frozen=True):
    """A page of models; None as cursor after the last."""

    data: tuple[Model, ...]
    next_cursor: str | None = None


class AccountReadParams(Shape, frozen=True):
    """Asks for the login; a refresh would need the network."""

    refresh_token: bool = False


class Account(Shape, frozen=True):
    """A login.

    Attributes:
        type: `apiKey`, `chatgpt`, or another one.
        plan_type: of a ChatGPT login.
    """

    type: str = ""
    plan_type: str | None = None


class AccountReadResult(Shape, frozen=True):
    """`account` is None where nobody is logged in."""

    requires_openai_auth: bool
    account: Account | None = None


class ApiKeyLogin(Shape, frozen=True, tag_field="type", tag="apiKey"):
    """Logs in with a key, which Codex keeps in its home."""

    api_key: str

    def __repr__(self) -> str:
        return "ApiKeyLogin(api_key=...)"


class ChatgptLogin(Shape, frozen=True, tag_field="type", tag="chatgpt"):
    """Begins a login in the browser, which comes back to this machine's port 1455."""


class DeviceLogin(Shape, frozen=True, tag_field="type", tag="chatgptDeviceCode"):
    """Begins a login in a browser anywhere, by a code that is entered there."""


class LoginResult(Shape, frozen=True):
    """How a login began.

    Attributes:
        auth_url: to be opened, of a login that comes back to this machine.
        verification_url, user_code: to be opened, and what is entered there, of one by a code.
    """

    type: str
    login_id: str | None = None
    auth_url: str | None = None
    verification_url: str | None = None
    user_code: str | None = None


class RateLimitsResult(Shape, frozen=True):
    """The quota of the ChatGPT account; a login with a key has none, and is refused."""

    rate_limits: notifications.RateLimitSnapshot


class UsageSummary(Shape, frozen=True):
    """Tokens of the account, all of its clients together."""

    lifetime_tokens: int | None = None
    peak_daily_tokens: int | None = None


class UsageResult(Shape, frozen=True):
    """The use of a ChatGPT account; a login with a key is refused."""

    summary: UsageSummary


class DynamicTool(Shape, frozen=True, tag_field="type", tag="function"):
    """A client's function, as `engine.codex.request.tools` names and describes it to Codex."""

    name: str
    description: str
    input_schema: msgspec.Raw


class ThreadStartParams(Shape, frozen=True, kw_only=True):
    """A new thread. The defaults keep Codex's own tools, prompts and files out of it.

    Attributes:
        cwd: an absolute path of an empty directory.
        experimental_raw_events: whether `rawResponse…` notifications come, and an echo of
            every injected item with them.
        dynamic_tools: what the model may call; the calls come as `item/tool/call`.
        config: settings, by their names in a `config.toml`, over those of the process.
    """

    model: str
    cwd: str
    ephemeral: bool = True
    environments: tuple[()] = ()
    approval_policy: str = "never"
    sandbox: str = "read-only"
    base_instructions: str = ""
    experimental_raw_events: bool = False
    dynamic_tools: tuple[DynamicTool, ...] = ()
    config: dict[str, str] | None = None


class Thread(Shape, frozen=True):
    """A conversation that Codex holds."""

    id: str


class ThreadStartResult(Shape, frozen=True):
    """The thread, and the model it really has."""

    thread: Thread
    model: str


class ThreadForkParams(Shape, frozen=True, kw_only=True):
    """A new thread that begins as a persisted one is, whose key it sends to the provider. The
    functions are the source's, and no raw events come (0.163 to 0.171).

    Attributes:
        thread_id: the source's.
        path: of the source's file.
        exclude_turns: whether the result leaves out what the source holds.
        config: as of a new thread.
    """

    thread_id: str
    path: str
    model: str
    cwd: str
    ephemeral: bool = True
    approval_policy: str = "never"
    sandbox: str = "read-only"
    base_instructions: str = ""
    exclude_turns: bool = True
    config: dict[str, str] | None = None


class ThreadInjectItemsParams(Shape, frozen=True):
    """History, as Responses API items; at least one."""

    thread_id: str
    items: tuple[msgspec.Raw, ...]


class TurnStartParams(Shape, frozen=True, kw_only=True):
    """A turn over the history as it stands: nothing is added by its input.

    Attributes:
        effort: None for the model's own default.
        summary: of the reasoning: `auto`, `concise`, `detailed` or `none`; None: the model's.
        service_tier_for_turn: of this turn and no later one; None for the usual one.
        output_schema: a JSON schema, None for free text.
    """

    thread_id: str
    input: tuple[()] = ()
    effort: str | None = None
    summary: str | None = None
    service_tier_for_turn: str | None = None
    output_schema: msgspec.Raw | None = None


class TurnStartResult(Shape, frozen=True):
    """The turn that began; its notifications may come before this."""

    turn: notifications.Turn


class TurnInterruptParams(Shape, frozen=True):
    """Stops a turn; an empty `turn_id` means whichever is active."""

    thread_id: str
    turn_id: str


class ThreadUnsubscribeParams(Shape, frozen=True):
    """Releases a thread. It does not stop a turn."""

    thread_id: str


class ThreadUnsubscribeResult(Shape, frozen=True):
    """`unsubscribed`, `notSubscribed` or `notLoaded`."""

    status: str


class ToolCallParams(Shape, frozen=True):
    """The model calls a dynamic tool; its turn waits for the answer.

    Attributes:
        arguments: parsed and written again by Codex: the exact string is in the raw item.
    """

    thread_id: str
    turn_id: str
    call_id: str
    tool: str
    arguments: msgspec.Raw
    namespace: str | None = None


class InputText(Shape, frozen=True, tag_field="type", tag="inputText"):
    """A text of a tool's result."""

    text: str


class InputImage(Shape, frozen=True, tag_field="type", tag="inputImage"):
    """An image of a tool's result, as a data URL."""

    image_url: str


class ToolCallResult(Shape, frozen=True):
    """The result of a tool; the model sees the content, and nothing of `success`."""

    content_items: tuple[InputText | InputImage, ...]
    success: bool = True


Params = type | UnionType
"""A Struct, or a union of several."""

METHODS: dict[str, tuple[Params, type]] = {
    "initialize": (InitializeParams, InitializeResult),
    "server/diagnostics": (Empty, Empty),
    "model/list": (ModelListParams, ModelListResult),
    "account/read": (AccountReadParams, AccountReadResult),
    "account/login/start": (ApiKeyLogin | ChatgptLogin | DeviceLogin, LoginResult),
    "account/logout": (Empty, Empty),
    "account/rateLimits/read": (Empty, RateLimitsResult),
    "account/usage/read": (Empty, UsageResult),
    "thread/start": (ThreadStartParams, ThreadStartResult),
    "thread/fork": (ThreadForkParams, ThreadStartResult),
    "thread/inject_items": (ThreadInjectItemsParams, Empty),
    "turn/start": (TurnStartParams, TurnStartResult),
    "turn/interrupt": (TurnInterruptParams, Empty),
    "thread/unsubscribe": (ThreadUnsubscribeParams, ThreadUnsubscribeResult),
}
"""Requests we send: params and result. The notification `initialized` follows the first."""

SERVER_REQUESTS: dict[str, tuple[type, type]] = {
    "item/tool/call": (ToolCallParams, ToolCallResult),
}
"""Requests we answer: params and answer. All others are refused."""

PIN_PATH = pathlib.Path(__file__).with_name("appserver_pin.json")
"""The schema's content when these shapes were last compared with it."""

_PIN: dict[str, Any] = msgspec.json.decode(PIN_PATH.read_bytes())

SCHEMA_PIN: str = _PIN["version"]
"""Version of the binary whose schema these shapes were compared with."""

TESTED_VERSION = tuple(map(int, SCHEMA_PIN.split(".")))
"""The same as numbers, to be compared."""

MINIMUM_VERSION = (0, 163, 0)
"""The oldest binary that was measured."""

NEWER_NOTIFICATIONS = ("thread/search/partial", "thread/section/changed")
"""Notifications of 0.169.0 and 0.171.0 that the pinned version does not know. A name that a binary
does not know may be opted out of."""

OPT_OUT: tuple[str, ...] = tuple(
    method
    for method in dict.fromkeys((*_PIN["server_notifications"], *NEWER_NOTIFICATIONS))
    if method not in notifications.NOTIFICATIONS
)
"""Notifications that the binary shall not send."""

_USER_AGENT = re.compile(r"[^/]*/(\d+)\.(\d+)\.(\d+)")


def introduction(version: str) -> InitializeParams:
    """Make the first request: our name and `version`, and the notifications that we do not
    want."""
    return InitializeParams(
        ClientInfo("turntape", version), Capabilities(opt_out_notification_methods=OPT_OUT)
    )


def version_of(user_agent: str) -> tuple[int, int, int]:
    """The binary's version from `initialize`, such as `turntape/0.163.0 (Debian …)`.

    Raises:
        ValueError: for a user agent of another form.
    """
    found = _USER_AGENT.match(user_agent)
    if found is None:
        raise ValueError(f"no version in user agent {user_agent[:80]!r}")
    major, minor, patch = map(int, found.groups())
    return major, minor, patch
