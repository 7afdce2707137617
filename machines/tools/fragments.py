"""Joins the tool-call fragments of one choice into calls as OpenAI clients require them.

Theory of operation. Upstreams say in four ways to which call a fragment belongs: by index, by id,
by both, by neither; some give every call index 0, some a new id to every fragment. `Joiner._find`
decides, from the id, from the place the upstream named, from whether the arguments so far are
over. A call opens for the client when its name is known, and its id or that none will come; from
then on each piece of its arguments goes out as soon as `machines.tools.arguments` is sure of it.

Some upstreams say every call once more, as a whole, at the end. Such a call is known by its id,
else by its name and arguments: what it continues goes out, what it contradicts is an error.
"""

import msgspec

from machines import vocabulary
from machines.tools.arguments import Arguments
from machines.tools.shape import SPACE


class Fragment(msgspec.Struct, frozen=True, gc=False):
    """The members of one delta of a call; an empty id or name counts as None.

    Attributes:
        index: the upstream's, which may be missing or the same for all calls.
        arguments: a piece of JSON text, or all of it so far; None where the field is missing.
        more: whether this is only a part of what the upstream sent. The next fragment goes on
            with it, and names no call.
        kind: of the call.
        members: a JSON object of further members.
    """

    index: int | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    more: bool = False
    kind: vocabulary.CallKind = "function"
    members: msgspec.Raw = vocabulary.NO_MEMBERS


class Opened(msgspec.Struct, frozen=True, gc=False):
    """The beginning of a call for the client; `arguments` is what is known of them so far."""

    index: int
    call_id: str
    name: str
    arguments: str
    kind: vocabulary.CallKind = "function"
    members: msgspec.Raw = vocabulary.NO_MEMBERS


class Extended(msgspec.Struct, frozen=True, gc=False):
    """A further piece of an opened call's arguments, never empty."""

    index: int
    arguments: str


class Marked(msgspec.Struct, frozen=True, gc=False):
    """Further members of an opened call; none in a replay of a log that does not have them."""

    index: int
    members: msgspec.Raw = vocabulary.NO_MEMBERS


class Call(msgspec.Struct, frozen=True, gc=False):
    """A call as it was sent to the client."""

    index: int
    call_id: str
    name: str
    arguments: str
    kind: vocabulary.CallKind = "function"


Change = Opened | Extended | Marked
"""A change of a call that is sent to the client."""


class CallIds:
    """Gives every call of a choice an id of its own.

    Args:
        prefix: an id that never came is this and the call's index.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._given: set[str] = set()

    def unique(self, call_id: str, index: int) -> str:
        """Return the id of a call: its own, unless it has none or another call has it."""
        made = f"{self._prefix}{index}"
        unique = call_id or made
        while unique in self._given:
            unique, made = made, f"{made}_"
        self._given.add(unique)
        return unique


class Entry:
    """One call, as far as fragments have made it known.

    Attributes:
        index, given_id: the client's, once it is opened.
        members: further ones, that have not gone to the client.
    """

    __slots__ = (
        "arguments",
        "call_id",
        "given_id",
        "index",
        "kind",
        "members",
        "name",
        "place",
    )

    def __init__(self, place: int | None) -> None:
        self.place = place
        self.call_id = ""
        self.name = ""
        self.arguments = Arguments()
        self.index: int | None = None
        self.given_id = ""
        self.kind: vocabulary.CallKind = "function"
        self.members: list[msgspec.Raw] = []


class Joiner:
    """Joins the fragments of one choice's calls.

    Args:
        id_prefix: an id that never came is this and the call's index.
    """

    def __init__(self, id_prefix: str) -> None:
        self._prefix = id_prefix
        self.reset_turn()

    def reset_turn(self) -> None:
        """Forget everything: indices begin at 0 again, and ids may come again."""
        self._entries: list[Entry] = []
        self._opened: list[Entry] = []
        self._without_id: list[Entry] = []
        self._unrepeated: dict[Entry, None] = {}
        self._repeated: dict[tuple[str, str, str], Entry] = {}
        self._ids = CallIds(self._prefix)
        self._known: dict[tuple[int | None, str], Entry] = {}
        self._latest: dict[int, Entry] = {}
        self._last: Entry | None = None
        self._held: list[Fragment] = []
        self._dropped: tuple[str, ...] = ()

    @property
    def dropped(self) -> tuple[str, ...]:
        """The ids of the calls with arguments that `end` found without a name; an empty id where
        there was none."""
        return self._dropped

    @property
    def count(self) -> int:
        """The number of calls that have begun, whether they were opened for the client or not."""
        return len(self._entries)

    def ingest_delta(self, fragment: Fragment) -> tuple[Change, ...]:
        """Take a fragment of a stream."""
        has_members = fragment.members != vocabulary.NO_MEMBERS
        if not (fragment.call_id or fragment.name or fragment.arguments or has_members):
            return ()
        if self._held or self._is_ambiguous(fragment):
            self._held.append(fragment)
            if fragment.more:
                return ()
            first, text = self._held[0], "".join(part.arguments or "" for part in self._held)
            fragment = msgspec.structs.replace(first, arguments=text, more=False)
            self._held.clear()
        changes: list[Change] = []
        entry = self._find(fragment) or self._begin(fragment.index, changes)
        self._learn(entry, fragment)
        piece = entry.arguments.add(fragment.arguments or "", fragment.more)
        self._emit(entry, piece, changes)
        return tuple(changes)

    def ingest_whole(self, call: Fragment) -> tuple[Change, ...] | None:
        """Take a call that is whole, whatever of it came before.

        A new one is opened, a begun one completed, a known one left alone; fragments that still
        come for it are ignored.

        Returns:
            None where it contradicts the call that it repeats.
        """
        changes: list[Change] = []
        entry = self._counterpart(call)
        if entry is None:
            entry = self._begin(None, changes)
        elif entry not in self._unrepeated:
            return ()
        self._learn(entry, call)
        del self._unrepeated[entry]
        for call_id in ("", entry.call_id):
            self._repeated[call_id, entry.name, call.arguments or ""] = entry
        piece = entry.arguments.take_whole(call.arguments) if call.arguments else ""
        if piece is None:
            return None
        self._emit(entry, piece, changes)
        self._open_waiting(changes)
        return tuple(changes)

    def end(self) -> tuple[Change, ...]:
        """Emit what was held, as the choice is over. Afterwards only `snapshot` may be called."""
        changes: list[Change] = []
        for entry in self._entries:
            self._emit(entry, entry.arguments.end(), changes)
        self._open_waiting(changes)
        self._dropped = tuple(
            entry.call_id for entry in self._entries if entry.arguments.begun and not entry.name
        )
        return tuple(changes)

    def snapshot(self) -> tuple[Call, ...]:
        """Return the calls that the client was sent so far, in order of index."""
        return tuple(
            Call(index, entry.given_id, entry.name, entry.arguments.text(), entry.kind)
            for index, entry in enumerate(self._opened)
        )

    def is_whole(self, index: int) -> bool:
        """Return whether the arguments that the client was sent of a call are an object."""
        return self._opened[index].arguments.is_object

    def _find(self, fragment: Fragment) -> Entry | None:
        """Return the call that a fragment belongs to; None for a new one."""
        place = fragment.index
        if fragment.call_id:
            entry = self._known.get((place, fragment.call_id))
            entry = entry or self._known.get((None, fragment.call_id))
            if entry is not None and (place is None or entry.place in (None, place)):
                return entry
        entry = self._last if place is None else self._latest.get(place)
        if entry is None:
            return None
        if fragment.call_id:
            continues = _is_late_id(fragment, entry)
        else:
            continues = not _is_next_call(fragment, entry)
        return entry if continues else None

    def _is_ambiguous(self, part: Fragment) -> bool:
        """Return whether only the other parts of a fragment tell if it repeats a call or begins
        one."""
        entry = self._latest.get(part.index) if part.index is not None else None
        if entry is None or not part.more:
            return False
        resent = part.name == entry.name != "" and not part.call_id
        return resent and entry.arguments.may_be(part.arguments or "")

    def _counterpart(self, whole: Fragment) -> Entry | None:
        """Return the earlier call that a whole call repeats, if there is one.

        Messages have their calls in the order in which they were made, so the first one that is
        looked at is the right one, nearly always.
        """
        text = whole.arguments or ""
        known = self._known.get((None, whole.call_id or ""))
        if known in self._unrepeated and _may_be(known, whole):
            return known
        first: Entry | None = None
        for entry in self._unrepeated:
            if _may_be(entry, whole):
                if text.startswith(entry.arguments.text()):
                    return entry
                first = first or entry
        if first is not None and first.arguments.is_value(text):
            return first
        return self._repeated.get((whole.call_id or "", whole.name or "", text))

    def _begin(self, place: int | None, changes: list[Change]) -> Entry:
        """Make room for a new call; calls that waited for an id wait no longer."""
        self._open_waiting(changes)
        entry = Entry(place)
        self._entries.append(entry)
        self._unrepeated[entry] = None
        if place is not None:
            self._latest[place] = entry
        return entry

    def _learn(self, entry: Entry, fragment: Fragment) -> None:
        self._last = entry
        if entry.place is None and fragment.index is not None:
            entry.place = fragment.index
            self._latest[fragment.index] = entry
        if fragment.call_id:
            entry.call_id = entry.call_id or fragment.call_id
            self._known[entry.place, fragment.call_id] = entry
            self._known[None, fragment.call_id] = entry
        entry.name = entry.name or fragment.name or ""
        if fragment.kind == "custom":
            entry.kind = "custom"
        if fragment.members != vocabulary.NO_MEMBERS:
            entry.members.append(fragment.members)

    def _emit(self, entry: Entry, piece: str, changes: list[Change]) -> None:
        """Emit the new part of a call, or open the call as soon as that is possible."""
        if entry.index is not None:
            if piece:
                changes.append(Extended(entry.index, piece))
            changes += (Marked(entry.index, members) for members in entry.members)
            entry.members.clear()
        elif entry.name and (entry.call_id or entry.arguments.begun):
            self._open(entry, changes)
        elif entry.name:
            self._without_id.append(entry)

    def _open(self, entry: Entry, changes: list[Change]) -> None:
        entry.index = len(self._opened)
        entry.given_id = self._ids.unique(entry.call_id, entry.index)
        self._opened.append(entry)
        first = entry.members.pop(0) if entry.members else vocabulary.NO_MEMBERS
        text = entry.arguments.text()
        changes.append(Opened(entry.index, entry.given_id, entry.name, text, entry.kind, first))
        changes += (Marked(entry.index, members) for members in entry.members)
        entry.members.clear()

    def _open_waiting(self, changes: list[Change]) -> None:
        """Open the calls that waited for nothing but an id."""
        for entry in self._without_id:
            if entry.index is None:
                self._open(entry, changes)
        self._without_id.clear()


def _may_be(entry: Entry, whole: Fragment) -> bool:
    """Return whether a call may be repeated by a whole call, by its id and name."""
    same_id = not (whole.call_id and entry.call_id) or whole.call_id == entry.call_id
    return same_id and (not whole.name or entry.name in ("", whole.name))


def _is_late_id(fragment: Fragment, entry: Entry) -> bool:
    """Return whether an id not seen before still belongs to the call before it.

    It may be the first that this call gets. And some upstreams make one up for each fragment:
    arguments without a name do not begin a call while the call before them is not over.
    """
    if not entry.name and not entry.call_id:
        return True
    if entry.arguments.over(fragment.arguments or ""):
        return False
    if not entry.call_id:
        return fragment.name in (None, "", entry.name)
    return bool(entry.name) and fragment.arguments is not None and not fragment.name


def _is_next_call(fragment: Fragment, entry: Entry) -> bool:
    """Return whether a fragment without an id begins a call after the last one at its place."""
    if not (fragment.name and entry.name):
        return False
    piece = fragment.arguments or ""
    other = fragment.name != entry.name
    if fragment.index is None:
        return other or entry.arguments.over(piece)
    if not entry.arguments.over(piece):
        return False
    same = piece.strip(SPACE) == "" or entry.arguments.are(piece)
    return other or not same
