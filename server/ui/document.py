"""The page as one HTML document: its script, its style and, in a file, its data within it.

The page may do nothing but what its own script does: the policy names that script and that style
by their digests, so that a text of a log that became markup would still not run, and there is
nobody whom the page could ask but the server it came from. Texts are put in place as texts, never
as markup, which `require-trusted-types-for` holds in browsers that know it.
"""

import base64
import functools
import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from server.ui import bundle

ROOT: Final = Path(__file__).parent / "page"
"""The page's modules and its style."""

ENTRY: Final = "main.js"

ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect x='1' y='2' width='14' height='3' rx='1.5' fill='%234c7dff'/%3E"
    "%3Crect x='3' y='6.5' width='9' height='3' rx='1.5' fill='%2323a26d'/%3E"
    "%3Crect x='6' y='11' width='9' height='3' rx='1.5' fill='%23d9534f'/%3E%3C/svg%3E"
)


class Document(NamedTuple):
    """The page, and the policy that it is to be read under.

    Attributes:
        policy: value of `Content-Security-Policy`.
    """

    body: bytes
    policy: str


def served() -> Document:
    """Return the page that asks its server for what it shows."""
    policy = _policy("connect-src 'self'", "frame-ancestors 'none'")
    return Document(_html("", ""), policy)


def alone(data: bytes) -> Document:
    """Return the page with its data within it, which asks nobody.

    Args:
        data: JSON.
    """
    policy = _policy()
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    # As JSON has it, it may hold what ends a script, or begins a comment in one.
    text = data.decode().replace("<", "\\u003c")
    return Document(
        _html(meta, f'<script type="application/json" id="data">{text}</script>\n'), policy
    )


@functools.cache
def parts() -> tuple[str, str]:
    """Return the page's style and its script."""
    modules = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(ROOT.rglob("*.js"))
    }
    style = (ROOT / "style.css").read_text(encoding="utf-8")
    return style, bundle.bundle(modules, ENTRY)


def _policy(*more: str) -> str:
    style, script = (_digest(text) for text in parts())
    rules = (
        "default-src 'none'",
        f"script-src {script}",
        f"style-src {style}",
        "img-src data:",
        *more,
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return "; ".join(rules)


def _digest(text: str) -> str:
    """A source of a policy (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _html(head: str, data: str) -> bytes:
    style, script = parts()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{head}<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Turntape</title>
<link rel="icon" href="{ICON}">
<style>{style}</style>
</head>
<body>
<div id="app"><noscript>This page shows a log with a script of its own.</noscript></div>
{data}<script>{script}</script>
</body>
</html>
""".encode()
