"""How a kind of line is declared: its component, its severities, its fields, and what to do.

Names of events and fields are what alerts are built on, so none is renamed. A name is in lower
case with `_`, and says what happened (`worker_lost`) or what is the matter
(`event_log_failing`).
"""

import enum
from typing import Final

import msgspec


class Severity(enum.StrEnum):
    """How much a line wants to be read."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Shape(enum.Enum):
    """The types that a field may have in JSON, in the words of JSON Schema."""

    TEXT = ("string",)
    COUNT = ("integer",)
    NUMBER = ("number",)
    FLAG = ("boolean",)
    TEXTS = ("array",)
    MAYBE_TEXT = ("string", "null")
    MAYBE_COUNT = ("integer", "null")
    ID = ("integer", "string", "null")


class Field(msgspec.Struct, frozen=True):
    """A field of lines, which means the same in all of them."""

    shape: Shape
    meaning: str


class Event(msgspec.Struct, frozen=True):
    """A kind of line.

    Attributes:
        component: the part that writes it.
        severities: those that it may have.
        fields: names of those that it adds, in one text; behind one that may be missing is a `?`.
        meaning: what has happened.
        advice: what to do; empty where there is nothing to be done.
    """

    name: str
    component: str
    severities: tuple[Severity, ...]
    fields: str
    meaning: str
    advice: str = ""

    def required(self) -> tuple[str, ...]:
        """Return the fields that are in every line of it."""
        return tuple(name for name in self.fields.split() if not name.endswith("?"))

    def all_fields(self) -> tuple[str, ...]:
        """Return every field that it may have beside the common ones."""
        return tuple(name.removesuffix("?") for name in self.fields.split())


DEBUG: Final = (Severity.DEBUG,)
INFO: Final = (Severity.INFO,)
WARNING: Final = (Severity.WARNING,)
ERROR: Final = (Severity.ERROR,)
CRITICAL: Final = (Severity.CRITICAL,)
TO_ERROR: Final = (Severity.DEBUG, Severity.INFO, Severity.WARNING, Severity.ERROR)
