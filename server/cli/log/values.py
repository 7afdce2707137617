"""The values that filters of a fixed vocabulary take: one that nobody knows is a mistake.

A filter that lets nothing through may say that nothing of the kind has happened, or that its word
is misspelled, and a script cannot tell the two. So a word must be one that this version writes, or
one that the log has: of a later version, or a provider's own code. A code that ends with `*` is
never refused; with it a script can wait for a code that only a provider knows.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Final, get_args

from engine.log.find import query
from engine.log.summary import rows
from machines import vocabulary
from machines.stream import finish

NEAR: Final = 0.6
"""How alike a word must be to be offered, as `difflib` measures it."""

WITHIN_WHAT: Final = ("around", "since")
"""The filters that `within` says the length of."""

LISTED_MOST: Final = 12
"""Words of the log that are named."""

KINDS: Final = (*get_args(vocabulary.TerminalKind), rows.OPEN, rows.LIFE)

STATUSES: Final = range(100, 600)
"""The statuses of HTTP. Source: RFC 9110, section 15."""

_Of = Callable[[rows.Summary], Iterable[str | None]]

_FIXED: Final[dict[str, tuple[tuple[str, ...], _Of]]] = {
    "kind": (KINDS, lambda row: (row.kind,)),
    "cause": (get_args(vocabulary.GoneCause), lambda row: (row.cause,)),
    "owner": (get_args(vocabulary.GapOwner), lambda row: (row.longest_gap_owner,)),
    "finish": (finish.CANONICAL, lambda row: row.finish_reasons),
}
"""The filters whose words this version knows all of, and where a row has its own."""


def refuse_unknown(terms: Collection[query.Term], known: list[rows.Summary]) -> None:
    """Refuse a word that neither this version nor the log knows, and `within` by itself.

    Args:
        terms: all can be read.
        known: every row of the log.

    Raises:
        QueryError: there is such a word; what there is instead is in its notes.
    """
    asked_for = {name for name, _, _ in terms}
    for name, value, word in terms:
        if name == "within" and asked_for.isdisjoint(WITHIN_WHAT):
            raise query.QueryError(word, f"it goes with {' or '.join(WITHIN_WHAT)}")
        filtered = name.removeprefix("-")
        for each in filter(None, (part.strip().casefold() for part in value.split(","))):
            if filtered in _FIXED:
                _refuse_word(filtered, each, word, known)
            elif filtered == "code" and not each.endswith("*"):
                _refuse_code(each, word, known)
            elif filtered == "status":
                _refuse_status(each, word)


def _refuse_word(name: str, value: str, word: str, known: list[rows.Summary]) -> None:
    words, of = _FIXED[name]
    had = (each for row in known for each in of(row) if each)
    every = [*dict.fromkeys((*words, *had))]
    if value not in map(str.casefold, every):
        refusal = query.QueryError(word, f"there is no {name} {value}{_meant(value, every)}")
        refusal.add_note(f"It takes {', '.join(every)}.")
        raise refusal


def _refuse_code(value: str, word: str, known: list[rows.Summary]) -> None:
    had = [*dict.fromkeys(row.code for row in known if row.code)]
    if value in map(str.casefold, had):
        return
    from server.http import errors  # most codes that are asked for are in the log

    every = [*had, *errors.CASES]
    if value in every:
        return
    reason = f"neither the log nor this version has a code {value}{_meant(value, every)}"
    refusal = query.QueryError(word, reason)
    more = ", …" if len(had) > LISTED_MOST else ""
    has = f"The log has {', '.join(had[:LISTED_MOST])}{more}." if had else "The log has no codes."
    refusal.add_note(has)
    refusal.add_note(f"{value}* finds all that begin so, and is never refused.")
    raise refusal


def _refuse_status(value: str, word: str) -> None:
    hundreds = {str(each)[0] for each in STATUSES}
    is_one = value[0] in hundreds if value.endswith("xx") else int(value) in (0, *STATUSES)
    if not is_one:
        reason = "no answer has that status: it takes 100 to 599, 5xx, or 0 for none"
        raise query.QueryError(word, reason)


def _meant(value: str, words: Iterable[str]) -> str:
    import difflib  # most words are spelled as they should be

    near = difflib.get_close_matches(value, words, 1, NEAR)
    return f"; did you mean {near[0]}?" if near else ""
