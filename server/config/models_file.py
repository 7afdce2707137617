"""Reads the file that maps model names to workers, models, defaults and fallbacks."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from engine import workerkinds
from engine.routing import fleet as routing, models, timeouts
from server.config import declared
from server.http import mismatch

T = TypeVar("T")

Name = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,256}$")]
"""A model's name: visible ASCII without spaces, for it may stand in a header."""

Milliseconds = Annotated[int, Meta(ge=0, le=declared.LARGEST)]

CLIENTS_OWN: Final = frozenset(
    {"model", "messages", "stream", "stream_options", "n", "tools", "functions"}
)
"""Members that have no default: the content of a request, and the form of its answer."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file; see `engine.routing.fleet.Rule`."""

    worker: workerkinds.Name | None = None
    model: Name | None = None
    effort: models.Effort | None = None
    web_search: bool = False
    defaults: dict[str, Any] = {}
    fallback: Name | None = None
    first_chunk_timeout_ms: Milliseconds | None = None
    stream_idle_timeout_ms: Milliseconds | None = None
    timeout_ms: Milliseconds | None = None

    @property
    def timeouts(self) -> timeouts.Timeouts:
        """Its own limits of time."""
        return timeouts.Timeouts(
            first_chunk_ms=self.first_chunk_timeout_ms,
            idle_ms=self.stream_idle_timeout_ms,
            total_ms=self.timeout_ms,
        )


CheckDefault = Callable[[str, Any, str], str | None]
"""Why the worker of a name, one that is given turns, cannot honour a field with this value; None
if it can."""


def accept(_field: str, _value: Any, _worker: str) -> str | None:
    """Take any default as it stands: for a run that answers no request."""
    return None


class ModelsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: its tables are read one by one, so that a complaint can name them."""

    models: dict[str, Any]


class ModelsFileError(Exception):
    """Raised for a file that must not be started with; its text says what is wrong, and where."""


def load(
    path: Path, default: workerkinds.Name, check: CheckDefault = accept
) -> dict[str, routing.Rule]:
    """The rules of a file, by name.

    Args:
        default: the worker of an entry that names none.
        check: of what Codex and the scripted worker would have to honour.

    Raises:
        ModelsFileError: with the place that is at fault.
    """
    import tomllib  # most starts read no file

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ModelsFileError(f"is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelsFileError(f"cannot be read: {error}") from None
    found = _converted(document, ModelsFile, "")
    rules = {name: _rule(name, table, default, check) for name, table in found.models.items()}
    for name in rules:
        _check_chain(name, rules)
    return rules


def complaint(unknown: routing.UnknownModel, default: str) -> str:
    """Describe the problem of a rule that leads nowhere.

    Args:
        default: the default worker.
    """
    if isinstance(unknown, routing.UnknownFallback):
        problem = f"'{unknown.model}' is neither in this file nor known to the {default} worker"
    else:
        problem = f"the {unknown.kind.name} worker does not know '{unknown.model}'"
        if unknown.kind.models_setting is not None:
            problem += f"; {unknown.kind.models_setting} adds models to it"
    return f"{_place(unknown.rule, unknown.field)}: {problem}"


def show(name: str, rule: routing.Rule, default: str) -> tuple[str, str]:
    """A rule's place in its file, and what it says, without the values of its defaults."""
    said = f"{rule.worker or default}: {rule.model or name}"
    if rule.effort is not None:
        said += f", effort {rule.effort}"
    if rule.web_search:
        said += ", web search"
    if rule.defaults:
        said += f", with {', '.join(rule.defaults)}"
    own = rule.timeouts
    for what, limit in (
        ("first chunk", own.first_chunk_ms),
        ("idle", own.idle_ms),
        ("whole", own.total_ms),
    ):
        if limit is not None:
            said += f", {what} {limit} ms"
    if rule.fallback is not None:
        said += f", else {rule.fallback}"
    return _place(name), said


def _converted(value: Any, kind: type[T], place: str) -> T:
    found = mismatch.find(kind, value, place)
    if found is not None:
        where = f"{found.path}: " if found.path else ""
        raise ModelsFileError(f"{where}{found.problem}")
    return msgspec.convert(value, kind)


def _rule(name: str, table: Any, default: workerkinds.Name, check: CheckDefault) -> routing.Rule:
    """What one table says."""
    _converted(name, Name, _place(name))
    entry = _converted(table, Entry, _place(name))
    kind = workerkinds.KINDS[entry.worker or default]
    if entry.effort is not None and not kind.sets_effort:
        problem = "is Codex's; for others it is `reasoning_effort` among the defaults"
        raise ModelsFileError(f"{_place(name, 'effort')} {problem}")
    if entry.web_search and not kind.searches_web:
        raise ModelsFileError(f"{_place(name, 'web_search')} is Codex's: no other searches here")
    for field, value in entry.defaults.items():
        place = _place(name, "defaults", field)
        if field in CLIENTS_OWN:
            raise ModelsFileError(f"{place} is for the client to say")
        if kind.request_form is workerkinds.RequestForm.CHAT_BODY:
            continue
        if (wrong := check(field, value, kind.name)) is not None:
            raise ModelsFileError(f"{place}: {wrong}")
    return routing.Rule(
        worker=entry.worker,
        model=entry.model,
        effort=entry.effort,
        web_search=entry.web_search,
        defaults=entry.defaults,
        fallback=entry.fallback,
        timeouts=entry.timeouts,
    )


def _place(name: str, *fields: str) -> str:
    """A place in the file as one would write it there."""
    key = name if re.fullmatch(r"[\w-]+", name, re.ASCII) else f'"{name}"'
    return ".".join(("models", key, *fields))


def _check_chain(name: str, rules: dict[str, routing.Rule]) -> None:
    """Refuse fallbacks that lead back to where they began."""
    chain = [name]
    while (rule := rules.get(chain[-1])) is not None and rule.fallback is not None:
        chain.append(rule.fallback)
        if rule.fallback in chain[:-1]:
            problem = f"leads in a circle: {' -> '.join(chain)}"
            raise ModelsFileError(f"{_place(name, 'fallback')} {problem}")
