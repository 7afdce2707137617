"""How a setting is declared: what values it takes, what sets it, and what it means."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

LARGEST = 2**31 - 1
"""Upper bound of a count: 24 days in ms, 68 years in s, and every timer can hold it."""


class Kind(msgspec.Struct, frozen=True):
    """The facts about a setting's values that their type does not tell.

    Attributes:
        minimum, maximum: both allowed; numbers only.
        pattern: a regular expression that each text matches as a whole; `expects` is its words.
        secret: never shown.
        verbatim: white space around it counts, and it may hold escapes.
    """

    unit: Literal["", "ms", "s", "bytes"] = ""
    minimum: int = 0
    maximum: int = LARGEST
    pattern: str = r".+"
    expects: str = "text"
    secret: bool = False
    verbatim: bool = False


Count = Annotated[int, Kind()]
Positive = Annotated[int, Kind(minimum=1)]
Items = Annotated[int, Kind(minimum=1, maximum=1 << 18)]
Port = Annotated[int, Kind(maximum=65535)]
Processes = Annotated[int, Kind(minimum=1, maximum=64)]
Choices = Annotated[int, Kind(minimum=1, maximum=128)]
Factor = Annotated[float, Kind(maximum=1000)]
Milliseconds = Annotated[int, Kind("ms")]
Deadline = Annotated[int, Kind("ms", minimum=1)]
Seconds = Annotated[int, Kind("s")]
Size = Annotated[int, Kind("bytes", minimum=1, maximum=GIB)]
Segment = Annotated[int, Kind("bytes", minimum=4 * KIB, maximum=GIB)]
Budget = Annotated[int, Kind("bytes", maximum=1024 * GIB)]
Token = Annotated[
    str, Kind(pattern=r"[\x21-\x7e]+", expects="visible ASCII without spaces", secret=True)
]
Url = Annotated[
    str, Kind(pattern=r"https?://[^\s@?#]+", expects="an http(s) URL without login or query")
]
LoginUrl = Annotated[
    str,
    Kind(
        pattern=r"(?i:true|yes|1|false|no|0)|https?://[^\s@]+",
        expects="true, false, or an http(s) URL",
    ),
]
Verbatim = Annotated[
    str, Kind(pattern=r"(?s).+", expects=r"text, in it `\n`, `\t` and `\\`", verbatim=True)
]
HttpHeaders = Annotated[
    tuple[str, ...],
    Kind(
        pattern=r"[!#$%&'*+.^_`|~0-9A-Za-z-]+ *: *[\x20-\x7e]*",
        expects="a comma-separated list of Name: value",
        secret=True,
    ),
]
Names = Annotated[tuple[str, ...], Kind(expects="a comma-separated list")]
Networks = Annotated[
    tuple[str, ...],
    Kind(
        pattern=r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?",
        expects="a comma-separated list of addresses and networks",
    ),
]
Origins = Annotated[
    tuple[str, ...],
    Kind(
        pattern=r"\*|[a-z][a-z0-9+.-]*://[^\s/]+",
        expects="a comma-separated list of scheme://host[:port], or *",
    ),
]


class Setting(msgspec.Struct, frozen=True):
    """A field's place outside the program.

    Attributes:
        name: the environment variable.
        meaning: one line, for the operator.
        alias: a second variable for the same.
        flag: the command line's name for it.
        derived: what the default is, in words, where it is worked out at the start.
    """

    name: str
    meaning: str
    alias: str | None = None
    flag: str | None = None
    derived: str | None = None


class Declared(NamedTuple):
    """A field of `Config` with all that was declared of it.

    Attributes:
        type: bool, int, float, str, Path or tuple.
        choices: the words of a Literal, else empty.
        default: None also where it is worked out at the start.
    """

    field: str
    type: type
    choices: tuple[str, ...]
    kind: Kind
    default: object
    setting: Setting

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that set it, the preferred one first."""
        alias = self.setting.alias
        return (self.setting.name,) if alias is None else (self.setting.name, alias)


def declare(field: msgspec.structs.FieldInfo) -> Declared:
    """Return the declaration of a field, from its annotations."""
    hint: Any = field.type
    kind = Kind()
    setting: Setting | None = None
    while get_origin(hint) in (Annotated, Union, UnionType):
        if get_origin(hint) is Annotated:
            hint, *notes = get_args(hint)
            kind = next((note for note in notes if isinstance(note, Kind)), kind)
            setting = next((note for note in notes if isinstance(note, Setting)), setting)
        else:
            (hint,) = (part for part in get_args(hint) if part is not NoneType)
    assert setting is not None, f"{field.name} has no Setting"
    default = None if field.default is msgspec.NODEFAULT else field.default
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    base = str if choices else get_origin(hint) or hint
    return Declared(field.name, base, choices, kind, default, setting)
