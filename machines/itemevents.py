"""Events that begin or end an item of a provider's, or a part of one, and what it says beside.

A client of Chat Completions has one text of an answer and one of the thinking. A client of the
Responses API has the items that these were, and these events say where each begins and ends. Who
sends or reads events finds them in `machines.events` too, under the same names.
"""

from typing import Final

import msgspec

from machines.vocabulary import OF_ALL, MembersPlace, Phase, StreamEvent


class ReasoningPartStarted(StreamEvent, frozen=True, tag="reasoning_part_started"):
    """A further part of a reasoning item begins, such as of its summary; the first one begins with
    its text."""

    choice: int = 0


class ReasoningCompleted(StreamEvent, frozen=True, tag="reasoning_completed"):
    """A reasoning item is whole.

    Attributes:
        encrypted_content: what the model's provider reads in a later request; empty where there
            is none.
    """

    encrypted_content: str
    choice: int = 0


class MessageStarted(StreamEvent, frozen=True, tag="message_started"):
    """A message of the model begins, where the client is told of each by itself.

    Attributes:
        phase: None where the provider names none.
    """

    phase: Phase | None = None
    choice: int = 0


class MessageCompleted(StreamEvent, frozen=True, tag="message_completed"):
    """A message of the model is whole.

    Attributes:
        phase: as it is known by now.
    """

    phase: Phase | None = None
    choice: int = 0


MESSAGE_BOUNDARIES: Final = (MessageStarted, MessageCompleted)
"""Events before which text that is held must be told: it is of the message before."""

ItemBoundary = ReasoningPartStarted | ReasoningCompleted | MessageStarted | MessageCompleted
"""An event that begins or ends an item of the provider's, or a part of one."""


class ExtraMembers(StreamEvent, frozen=True, tag="extra_members"):
    """Members of an upstream's answer that mean nothing here: they go to the client as they came.

    Attributes:
        members: a JSON object of them.
        choice: of those of a choice or a delta.
        followed: whether output of the same chunk comes behind them, which they go with.
    """

    place: MembersPlace
    members: msgspec.Raw
    choice: int = 0
    followed: bool = False

    @property
    def waits(self) -> bool:
        """Whether they go with output, and are none by themselves."""
        return self.followed or self.place in OF_ALL
