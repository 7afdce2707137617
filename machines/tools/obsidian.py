"""Obsidian Copilot's tools, and the XML block in which a call of one is written and read.

Theory of operation. A block has one canonical form, which `canonical` writes:

    <use_tool>
      <name>localSearch</name>
      <query>plans for May</query>
      <salientTerms>[&quot;plans&quot;,&quot;May&quot;]</salientTerms>
    </use_tool>

`read` takes what models write instead of it. The name may be an attribute; the body may be child
tags, or JSON; and as models do not escape, a value may hold any `<` and `>`: a child ends where
its own closing tag is followed by another child or by the end of the body. Values are exact:
the canonical form adds no whitespace inside of a child, so none is taken away. Nothing that was
written is dropped unseen: a body that is neither children nor text makes the block malformed.

JSON is never turned into Python's numbers and back. Values stay the JSON text they were, without
the whitespace between tokens, so that `1.50` and integers of any length survive.

Every regular expression here is possessive where it repeats, which makes reading linear.
"""

import re
from typing import Final

import msgspec

from machines import parse


class Call(msgspec.Struct, frozen=True, gc=False):
    """A call of a tool.

    Attributes:
        arguments: JSON text of an object; any other text where the model wrote no object.
    """

    name: str
    arguments: str


class Tool(msgspec.Struct, frozen=True, gc=False):
    """The parameters of a tool; those that may be left out come last."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """All parameters, in canonical order."""
        return self.required + self.optional


TOOLS: Final = {
    "localSearch": Tool(("query", "salientTerms"), ("timeRange",)),
    "webSearch": Tool(("query", "chatHistory")),
    "getCurrentTime": Tool((), ("timezoneOffset",)),
    "convertTimeBetweenTimezones": Tool(("time", "fromOffset", "toOffset")),
    "getTimeRangeMs": Tool(("timeExpression",)),
    "getTimeInfoByEpoch": Tool(("epoch",)),
    "readNote": Tool(("notePath",), ("chunkIndex",)),
    "getFileTree": Tool(),
    "getTagList": Tool((), ("includeInline", "maxEntries")),
    "writeToFile": Tool(("path", "content")),
    "replaceInFile": Tool(("path", "diff")),
    "updateMemory": Tool(("statement",)),
    "youtubeTranscription": Tool(),
}
"""Tools by name, with the parameters that Obsidian Copilot's prompts name, in their order."""

OPENING: Final = "<use_tool"
"""The beginning of a block, which whitespace, `/` or `>` follows."""

CLOSING: Final = "</use_tool>"
"""The end of a block, unless its opening tag closes itself."""

Members = dict[str, str]
"""An object: the JSON text of each value by its name."""

VALUE_DEPTH: Final = parse.MAX_DEPTH - 2
"""Most levels of a child's value: in the arguments an array and an object may stand around it."""

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING: Final = msgspec.json.Decoder(str)

MEMBERS_MAX: Final = 1024
"""Most parameters of a call that are told apart: a block of more children is malformed, and an
object of more members stays the text that it is."""

_ESCAPES: Final = (
    ("&", "&amp;"),
    ("<", "&lt;"),
    (">", "&gt;"),
    ('"', "&quot;"),
    ("'", "&apos;"),
)
"""Each character and its entity. The ampersand is first where it is written and last where it is
read, so that no entity is made of what another one left."""

_KEY: Final = re.compile(r"[^\W\d][\w.-]*+")
"""A name of a parameter that can be a tag."""

_NEXT: Final = re.compile(rf"\s*+(?:<(?P<key>{_KEY.pattern})\s*+(?P<empty>/?)>|\Z)")
"""Matches what may follow a child: another one, or the end of the body."""

# The branches are atomic because of CPython's gh-106052, as in `machines.parse`.
_TAG: Final = re.compile(
    rf"{OPENING}(?=[\s/>])(?P<attributes>(?:[^\"'>]++|(?>\"[^\"]*+\")|(?>'[^']*+'))*+)>"
)
_ATTRIBUTE: Final = re.compile(
    r"(?<![^\s\"'=])(?P<key>[^\s\"'=]++)\s*+=\s*+(?P<quote>[\"'])(?P<value>.*?)(?P=quote)",
    re.DOTALL,
)


def canonical(name: str, arguments: str) -> str:
    """Return the canonical block of a call.

    Known parameters come in the order of `TOOLS`, then unknown ones by their code points. Strings
    are written as they are, all other values as compact JSON. A null is an absent parameter, and
    blank arguments are an empty object. One `<args>` line holds arguments that are no object, and
    the whole of an object that child tags could not tell apart: one with a name that is no tag,
    or with `args` as its only parameter.

    Args:
        arguments: JSON text of an object, or any text.
    """
    members = _members(arguments) if arguments.strip() else {}
    present = {key: value for key, value in (members or {}).items() if value != "null"}
    lines = [_line("name", name)]
    if members is None or set(present) == {"args"} or not all(map(_KEY.fullmatch, present)):
        lines.append(_line("args", arguments))
    else:
        lines += [_line(key, _text(value)) for key, value in _ordered(name, present).items()]
    return "\n".join([f"{OPENING}>", *lines, CLOSING])


def read(raw: str) -> Call | None:
    """Return the call in a block, from its opening tag to its closing one; None where it is
    malformed.

    The name is that of the first `<name>` child, else of the `name` attribute; other attributes
    say nothing. The arguments are, whichever the body has,

    - child tags: an object, ordered as `canonical` orders it. A value that is a whole JSON array
      or object is that, every other one a string; a child that is repeated is an array.
    - text, or one `<args>` child: the JSON object that the text is, ordered likewise; any other
      text is the arguments, as it is.
    - nothing: an empty object.

    So of what `canonical` was given, numbers and booleans come back as strings, nulls do not come
    back, and a string that is itself a JSON array or object comes back as that.
    """
    tag = _TAG.match(raw)
    if tag is None:
        return None
    if tag.end() == len(raw) and raw.endswith("/>"):
        body = ""
    elif tag.end() <= len(raw) - len(CLOSING) and raw.endswith(CLOSING):
        body = raw[tag.end() : -len(CLOSING)]
    else:
        return None
    found = _children(body)
    if found is None:
        return None
    children, rest = found
    attributes = {match["key"]: match["value"] for match in _ATTRIBUTE.finditer(tag["attributes"])}
    named, *others = children.pop("name", [attributes.get("name", "")])
    if others:
        children["name"] = others
    name = _unescape(named).strip()
    if not name or (rest and children) or rest.startswith("<"):
        return None
    return Call(name, _arguments(name, children, rest))


def _children(body: str) -> tuple[dict[str, list[str]], str] | None:
    """Return the child tags that a body begins with, as escaped values by name, and the text after
    them.

    None where there are more than a name and `MEMBERS_MAX` parameters.
    """
    children: dict[str, list[str]] = {}
    count = position = 0
    while (tag := _NEXT.match(body, position)) and tag["key"]:
        closing = f"</{tag['key']}>"
        end = tag.end() if tag["empty"] else _end(body, closing, tag.end())
        if end < 0:
            break
        count += 1
        if count > MEMBERS_MAX + 1:  # one is the name
            return None
        children.setdefault(tag["key"], []).append(body[tag.end() : end])
        position = end if tag["empty"] else end + len(closing)
    return children, body[position:].strip()


def _end(body: str, closing: str, start: int) -> int:
    """Return where the value that begins at `start` ends; -1 if it does not.

    A closing tag inside of a value is told from the one that ends it by what follows.
    """
    first = end = body.find(closing, start)
    while end >= 0 and not _NEXT.match(body, end + len(closing)):
        end = body.find(closing, end + len(closing))
    return end if end >= 0 else first


def _arguments(name: str, children: dict[str, list[str]], rest: str) -> str:
    """Return the arguments of a call, from its children or from the text in their place."""
    if list(children) == ["args"] and len(children["args"]) == 1:
        text = _unescape(children["args"][0])
        members = _members(text) if text.strip() else {}
    elif rest:
        text = _unescape(rest)
        members = _members(rest) or _members(text)
    else:
        text = ""
        members = {key: _joined(values) for key, values in children.items()}
    return text if members is None else _object(_ordered(name, members))


def _object(members: Members) -> str:
    return f"{{{','.join(f'{_quoted(key)}:{value}' for key, value in members.items())}}}"


def _joined(values: list[str]) -> str:
    """Return the JSON text of a child's value, or of all values where it is repeated."""
    texts = [_value(_unescape(value)) for value in values]
    return texts[0] if len(texts) == 1 else f"[{','.join(texts)}]"


def _value(text: str) -> str:
    """Return the JSON text of a value: itself if it is a whole array or object, else a string."""
    compact = _compact(text, VALUE_DEPTH) if text.lstrip().startswith(("[", "{")) else None
    return _quoted(text) if compact is None else compact


def _members(text: str) -> Members | None:
    """Return the members of a JSON object; None if the text is none, or has more than
    `MEMBERS_MAX`."""
    compact = _compact(text)
    if compact is None or not compact.startswith("{"):
        return None
    members = parse.parse(compact, _OBJECT)
    if len(members) > MEMBERS_MAX:
        return None
    return {key: bytes(value).decode() for key, value in members.items()}


def _compact(text: str, depth: int = parse.MAX_DEPTH) -> str | None:
    """Return JSON text without the whitespace between its tokens; None if it is no JSON."""
    try:
        return parse.compact(text, depth)
    except parse.ParseError:
        return None


def _ordered(name: str, members: Members) -> Members:
    known = TOOLS[name].parameters if name in TOOLS else ()
    order = [key for key in known if key in members] + sorted(members.keys() - set(known))
    return {key: members[key] for key in order}


def _line(key: str, text: str) -> str:
    return f"  <{key}>{_escape(text)}</{key}>"


def _text(value: str) -> str:
    """Return the content of a child for a JSON value."""
    return parse.parse(value, _STRING) if value.startswith('"') else value


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _escape(text: str) -> str:
    for character, entity in _ESCAPES:
        text = text.replace(character, entity)
    return text


def _unescape(text: str) -> str:
    text = text.replace("&#39;", "'")
    for character, entity in reversed(_ESCAPES):
        text = text.replace(entity, character)
    return text
