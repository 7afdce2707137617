"""A shell script that asks again what the streams were asked, with curl.

`OPENAI_BASE_URL` says where, `OPENAI_API_KEY` with which key: neither is in a log.
"""

import shlex
from collections.abc import Sequence
from typing import BinaryIO, Final

from engine.log.find import stories
from machines import parse
from server.cli import printing
from server.cli.log.formats import asking

HEAD: Final = f"""\
#!/bin/sh
# Made by turntape. Which server and which key it was is not in a log: set the two.
: "${{OPENAI_BASE_URL:={asking.BASE_URL}}}"
: "${{OPENAI_API_KEY:=unused}}"
"""
"""The beginning of a script."""


def write(found: Sequence[stories.Story], file: BinaryIO) -> None:
    """Write a script with a call for each stream."""
    file.write(HEAD.encode())
    file.writelines("\n".join(("", *_lines(story), "")).encode() for story in found)


def _lines(story: stories.Story) -> list[str]:
    asked = asking.asked(story)
    if asked is None:
        return [_comment(f"{story.stream}: nobody asked for it")]
    told = asked.told
    model = f", model {told.request.model}" if told.request.model else ""
    lines = [_comment(f"{story.stream}{model}: {told.ending.kind}")]
    lines += map(_comment, asked.missing)
    if asked.body is None:
        return lines
    headers = ["content-type: application/json", f"x-request-id: {told.request.request_id}"]
    return [
        *lines,
        f'curl -sS -N "$OPENAI_BASE_URL"{shlex.quote(asked.path)} \\',
        f'  -H "authorization: Bearer {asking.KEY}" \\',
        *(f"  -H {shlex.quote(printing.printable(each))} \\" for each in headers),
        f"  --data-binary {shlex.quote(_body(asked.body))}",
    ]


def _comment(text: str) -> str:
    return f"# {printing.printable(text)}"


def _body(body: bytes) -> str:
    """The body, with an escape of JSON for every character that a terminal would not draw."""
    text = parse.compact(body.decode())
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else "".join(f"\\u{half:04x}" for half in _halves(each))
        for each in text
    )


def _halves(character: str) -> tuple[int, ...]:
    """The UTF-16 code units of a character."""
    data = character.encode("utf-16-be")
    return tuple(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
