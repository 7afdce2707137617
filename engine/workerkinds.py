"""The kinds of workers, and what sets each apart.

Code that treats workers differently asks for the fact that it depends on. It does not compare a
worker's name: a name says nothing about why, and the next kind would have to be added to every
comparison.
"""

import enum
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Name = Literal["codex", "upstream", "scripted"]
"""The workers that a configuration can name."""


class RequestForm(enum.Enum):
    """In which form a worker is given a client's request."""

    CONVERSATION = enum.auto()
    """Translated: messages, tools and options, each read and checked by the server."""

    CHAT_BODY = enum.auto()
    """Passed through: the members of a chat completion; the server reads what it acts on."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """The facts about every worker of one kind.

    Attributes:
        name: in the configuration, in the event log and on `/healthz`.
        request_form: in which form it is given a client's request.
        models_owner: `owned_by` of its models in `/v1/models`.
        sets_effort: whether reasoning effort is a setting of its turns, which a rule of the
            models file may give; else it can only be a member of the request.
        searches_web: whether a rule of the models file may let its turns search the web.
        models_setting: the setting that adds models to those it knows; None: there is none.
        waits_for_clients: whether its source is not read while a client is slow; else it is read
            at any time, and what the client does not take is kept here.
    """

    name: str
    request_form: RequestForm
    models_owner: str
    sets_effort: bool = False
    searches_web: bool = False
    models_setting: str | None = None
    waits_for_clients: bool = False


CODEX: Final = Kind(
    name="codex",
    request_form=RequestForm.CONVERSATION,
    models_owner="openai",
    sets_effort=True,
    searches_web=True,
    models_setting="PROXY_CODEX_MODELS",
)
"""`codex app-server` processes."""

DISABLED: Final = Kind(
    name="disabled", request_form=RequestForm.CONVERSATION, models_owner="openai"
)
"""The worker in the place of Codex, with `PROXY_USE_APP_SERVER=false`."""

UPSTREAM: Final = Kind(
    name="upstream",
    request_form=RequestForm.CHAT_BODY,
    models_owner="openai",
    waits_for_clients=True,
)
"""An HTTP server that speaks Chat Completions."""

SCRIPTED: Final = Kind(
    name="scripted", request_form=RequestForm.CONVERSATION, models_owner="turntape"
)
"""Recorded transcripts."""

KINDS: Final[Mapping[Name, Kind]] = {
    "codex": CODEX,
    "upstream": UPSTREAM,
    "scripted": SCRIPTED,
}
"""The kinds by the names that a configuration may have."""
