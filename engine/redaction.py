"""Takes the configured secrets out of texts: the one place that compares with their values.

A provider may repeat the key that it was given, and no form tells a key that is a word from any
other word. So whoever makes the parts of a server gives them a `Redaction` of its secrets, and
what foreigners say passes it on its way to a client, to a record or to the diagnostics.
"""

import copy
import re
import urllib.parse
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from engine import slices

HIDDEN: Final = "********"
"""Stands in the place of a secret."""

SHORTEST: Final = 8
"""Least characters of a secret that is looked for in what clients and the log are given: a shorter
one is a word that means something else as well."""

MAX_SECRET: Final = 4096
"""Characters past a limit which are looked at, so that no secret is cut and then missed."""

ESCAPES: Final = 16
"""Backslashes in a row that are looked at within a secret: one, doubled four times."""

SEARCHED: Final = 1 << 25
"""Most bytes of a request that are searched for what its client sent: some milliseconds."""

_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~-]+")
"""Matches characters that are spelled alike in a text, in a URL, and in a string of JSON or
Python."""

_BEGINS: Final = r"(?:(?<![^\W_])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{2}))"
"""No letter or digit stands before, but for the end of an escaped character."""


class Redaction:
    """Finds secrets as they are, as a URL has them, and as Python and JSON show them.

    They are found where they stand as a whole: one that is a word is not cut out of other words.
    A search takes time in proportion to the text.

    Args:
        secrets: their values.
        shortest: characters below which one is no secret.
    """

    def __init__(self, secrets: Iterable[str] = (), shortest: int = SHORTEST) -> None:
        self._known: frozenset[str] = frozenset()
        self._shortest = shortest
        self._sent: tuple[msgspec.Raw, ...] = ()
        self._searched = 0
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Find these from now on as well: those from before may still be about."""
        self._known |= {one for one in secrets if len(one) >= self._shortest}
        # The longest first: one may be how another begins.
        known = sorted(self._known, key=len, reverse=True)
        self._needles = tuple(max(_UNRESERVED.findall(one), key=len, default="") for one in known)
        self._bytes = tuple(needle.encode() for needle in self._needles)
        self._reach = max([MAX_SECRET, *(3 * len(one) for one in known)])
        patterns = "|".join(map(_pattern_of, known))
        self._pattern = re.compile(rf"{_BEGINS}(?:{patterns})(?![^\W_])") if known else None

    def __repr__(self) -> str:
        """How many there are, and none of them."""
        return f"Redaction({len(self._needles)} secrets)"

    def beside(self, sent: Iterable[msgspec.Raw]) -> "Redaction":
        """Return one that also knows what the client of a request sent, as JSON."""
        found = copy.copy(self)
        found._sent = tuple(sent)
        return found

    def was_sent(self, text: str) -> bool:
        """Return whether a client sent this text itself; False also where too much would have to
        be searched for it."""
        spellings = {text.encode("utf-8", "replace"), text.replace("/", "\\/").encode()}
        for value in self._sent:
            self._searched += memoryview(value).nbytes * len(spellings)
            if self._searched > SEARCHED:
                return False
            data = bytes(value)
            if any(spelling in data for spelling in spellings):
                return True
        return False

    def hide(self, text: str, stand_in: str = HIDDEN) -> str:
        """The text with a stand-in for each secret."""
        if self._pattern is None or not any(needle in text for needle in self._needles):
            return text
        return self._pattern.sub(stand_in, text)

    def start_of(self, text: str, limit: int, stand_in: str = HIDDEN) -> str:
        """The beginning of a text, freed of secrets before it is cut."""
        return self.hide(text[: limit + self._reach], stand_in)[:limit]

    def start_of_bytes(self, data: bytes, limit: int) -> str:
        """The same of what may be UTF-8; `limit` is in bytes."""
        start = self.hide(data[: limit + self._reach].decode("utf-8", "surrogateescape"))
        return start.encode("utf-8", "surrogateescape")[:limit].decode("utf-8", "replace")

    def may_be_in(self, data: bytes) -> bool:
        """Whether JSON of ours may hold a secret; quick, and without one it is mostly no."""
        return any(needle in data for needle in self._bytes)

    def hide_in(self, value: Any) -> slices.Steps[Any]:
        """A decoded value with a stand-in for each secret in its strings and names."""
        yield
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list):
            items: list[Any] = []
            for item in value:
                freed = yield from self.hide_in(item)
                items.append(freed)
            return items
        if not isinstance(value, dict):
            return value
        members = {}
        for name, member in value.items():
            members[self.hide(name)] = yield from self.hide_in(member)
        return members

    def hide_fields(self, record: msgspec.Struct, fields: Iterable[str]) -> dict[str, Any]:
        """Return those of a record's fields that hold a secret, with the secret hidden."""
        if self._pattern is None:
            return {}
        found = {}
        for field in fields:
            value = getattr(record, field)
            freed = self._hide_words(value)
            if freed != value:
                found[field] = freed
        return found

    def _hide_words(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, tuple):
            return tuple(map(self._hide_words, value))
        if isinstance(value, dict):
            return {name: self._hide_words(word) for name, word in value.items()}
        return value


def _pattern_of(secret: str) -> str:
    parts = re.findall(r"\\+|['\"]|[^\\'\"]+", secret)
    # Backslashes double each time that it is shown within what is shown. Without a limit the time
    # of a search would grow with the square of a run of them.
    shown = "".join(
        rf"\\{{1,{ESCAPES}}}"
        if part.startswith("\\")
        else rf"\\{{0,{ESCAPES}}}{part}"
        if part in "'\""
        else re.escape(part)
        for part in parts
    )
    return f"{shown}|{re.escape(urllib.parse.quote(secret, safe=''))}"


NONE: Final = Redaction()
"""Where no secret is configured."""
