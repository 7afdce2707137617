"""The recordings that may answer the requests of one scope, and which of them have.

Of several that match, each answers once, in the order in which they were recorded; behind the last
of them it answers again. Where the whole body of one is the same, those that only match are left
alone. Recordings by sequence answer once and never again.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from engine import scripted
from server.mock import matching
from server.mock.matching import Asked, Match

NEAR: Final = 3
"""Recordings that are shown where none matches."""


class Recording:
    """A recorded stream, and whether it has answered.

    Attributes:
        name: for people: the file, and in a log also the request's id.
        request: what was asked, as its log has it.
    """

    def __init__(self, name: str, transcript: scripted.Transcript) -> None:
        self.name = name
        self.opened = transcript.opened
        self.choices = transcript.choices
        self.request: Any = msgspec.json.decode(transcript.opened.request)
        self.is_used = False


class Library:
    """Recordings in their order.

    Args:
        places: directories of recordings; one that is not there yet has none.

    Raises:
        TranscriptError: a file is no recording.
        OSError: a directory cannot be read.
    """

    def __init__(self, places: Iterable[Path]) -> None:
        self.places = tuple(places)
        self.recordings: list[Recording] = []
        for place in self.places:
            if place.is_dir():
                self.recordings += (
                    Recording(f"{place.name}/{each.name}", each)
                    for each in scripted.load_all(place)
                )
            elif place.exists():
                transcript = scripted.load_file(place)
                self.recordings.append(Recording(transcript.name, transcript))

    def choose(self, asked: Asked, match: Match, *, may_repeat: bool) -> Recording | None:
        """Return the recording that answers a request, and note that it has; None: there is none.

        Args:
            may_repeat: whether one that has answered may answer again.
        """
        found = self._matching(asked, match)
        if match is not Match.SEQUENCE:
            found = self._matching(asked, Match.BODY) or found
        unused = [each for each in found if not each.is_used]
        if unused:
            unused[0].is_used = True
            return unused[0]
        return found[-1] if found and may_repeat and match is not Match.SEQUENCE else None

    def _matching(self, asked: Asked, match: Match) -> list[Recording]:
        return [
            each
            for each in self.recordings
            if matching.is_match(asked, each.opened, each.request, match)
        ]

    def miss(self, asked: Asked, match: Match) -> str:
        """Return what came and what was near, for whoever has to find out why nothing matched."""
        form = asked.form("full")
        last = matching.last_message(form)
        lines = [
            f"No recording answers this request (match: {match.value}).",
            f"  came: {asked.endpoint}, model {matching.shown(matching.model_of(form))}",
            f"        last message  {matching.text_of(last)}",
        ]
        if not self.recordings:
            places = ", ".join(str(place) for place in self.places) or "no directory"
            return "\n".join([*lines, f"  there are no recordings in {places}"])
        nearest = sorted(self.recordings, key=lambda each: -self._likeness(asked, each))[:NEAR]
        for each in nearest:
            lines += self._compared(asked, each)
        others = len(self.recordings) - len(nearest)
        return "\n".join([*lines, *([f"  and {others} others"] if others else [])])

    def _likeness(self, asked: Asked, recording: Recording) -> float:
        form = asked.form(recording.opened.content)
        said, its = (
            matching.text_of(matching.last_message(each)) for each in (form, recording.request)
        )
        import difflib  # a server that is no mock has no use for it

        ratio = difflib.SequenceMatcher(None, said, its).ratio()
        same_model = matching.model_of(form) == matching.model_of(recording.request)
        return ratio + same_model + 2.0 * (asked.endpoint == recording.opened.endpoint)

    def _compared(self, asked: Asked, recording: Recording) -> list[str]:
        """Say in which of the parts that are compared a recording differs."""
        form, request = asked.form(recording.opened.content), recording.request
        masked = " (masked)" if recording.opened.content == "masked" else ""
        lines = [f"  near: {recording.name}{masked}" + ", played already" * recording.is_used]
        for part, mine, its in (
            ("endpoint", asked.endpoint, recording.opened.endpoint),
            ("model", matching.model_of(form), matching.model_of(request)),
            (
                "last message",
                matching.text_of(matching.last_message(form)),
                matching.text_of(matching.last_message(request)),
            ),
        ):
            lines += [f"        {part:<12}  {its}"] if mine != its else []
        names = form.keys() | request.keys() if isinstance(request, dict) else ()
        differing = sorted(name for name in names if form.get(name) != request.get(name))
        return [*lines, f"        differs in    {', '.join(differing) or 'nothing'}"]
