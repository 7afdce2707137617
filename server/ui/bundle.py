"""Makes one script of the page's modules, which are written to be read, not to be built.

The problem: a page that is one file and works from a disk cannot import, because browsers let no
module of `file:` load another (https://html.spec.whatwg.org/#fetch-a-single-module-script). So
each module becomes a function that is called once and returns what it exports, in the order in
which they need each other. That takes no parser where modules keep to a form: one `import { a, b }
from "./name.js";` a module that is needed, at the beginning of a line, and `export` only before
`function`, `async function`, `const` or `class`. What has another form is refused.
"""

import re
from collections.abc import Mapping
from typing import Final

_IMPORT: Final = re.compile(r'^import \{([\w\s,$]+)\} from "\./([\w/.-]+)";$', re.MULTILINE)
_EXPORT: Final = re.compile(
    r"^export (?=(?:async function|function|const|class) ([\w$]+))", re.MULTILINE
)
_CLAUSE: Final = re.compile(r"^(.*[;}])export\{([\w\s,$]+)\};?\s*$", re.DOTALL)
"""The one clause at the end of a minified library, with nothing before it on its line."""

_LEFT: Final = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)

_CLOSING: Final = re.compile(r"</script|<!--", re.IGNORECASE)
"""Anything that would end a script within a document, or change how the rest is read."""


class BundleError(ValueError):
    """Raised for a module that does not keep to the form."""


def bundle(modules: Mapping[str, str], entry: str) -> str:
    """Return one script that does what the module `entry` does.

    Args:
        modules: the text of each, by its name, such as `list.js` or `vendor/library.js`.

    Raises:
        BundleError: one has another form, is not there, or needs itself.
    """
    made: dict[str, str] = {}
    _add(entry, modules, made, ())
    script = "\n".join(['"use strict";', *made.values()])
    if _CLOSING.search(script):
        raise BundleError(f"{entry}: it would end within the document")
    return f"(() => {{\n{script}\n}})();\n"


def _add(
    name: str, modules: Mapping[str, str], made: dict[str, str], above: tuple[str, ...]
) -> None:
    if name in made:
        return
    if name in above:
        raise BundleError(f"{name}: it needs itself, by way of {above[-1]}")
    if name not in modules:
        raise BundleError(f"{above[-1] if above else 'the page'}: there is no {name}")
    text = modules[name]
    for needed in _IMPORT.finditer(text):
        _add(needed[2], modules, made, (*above, name))
    made[name] = _as_function(name, text, {each: f"m{number}" for number, each in enumerate(made)})


def _as_function(name: str, text: str, known: Mapping[str, str]) -> str:
    exports = [f"{each[1]}" for each in _EXPORT.finditer(text)]
    body = _IMPORT.sub(
        lambda found: f"const {{{' '.join(found[1].split())}}} = {known[found[2]]};", text
    )
    body = _EXPORT.sub("", body)
    if (clause := _CLAUSE.match(body)) is not None:
        body = clause[1]
        exports += [_member(each) for each in clause[2].split(",")]
    if (left := _LEFT.search(body)) is not None:
        raise BundleError(f"{name}: {left[0]}")
    return f"const m{len(known)} = (() => {{\n{body}\nreturn {{{', '.join(exports)}}};\n}})();"


def _member(clause: str) -> str:
    own, _, name = clause.strip().partition(" as ")
    return f"{name}: {own}" if name else own
