"""The page as one document: its policy lets its own script run alone, and its data ends
nothing."""

import base64
import hashlib
import html.parser
import json
import re

import msgspec

from server.ui import document


class Reader(html.parser.HTMLParser):
    """The elements of a document, and the texts within them."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._within = ""
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag
        if tag in ("script", "style"):
            self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style"):
            self.texts[self._within][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._within = ""


def source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_names_the_script_and_the_style_and_nothing_else() -> None:
    page = document.served()
    reader = Reader(page.body)
    rules = dict(rule.partition(" ")[::2] for rule in page.policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == source(reader.texts["script"][0])
    assert rules["style-src"] == source(reader.texts["style"][0])
    assert rules["connect-src"] == "'self'"
    assert "unsafe" not in page.policy
    assert rules["require-trusted-types-for"] == "'script'"


def test_nothing_of_the_page_is_elsewhere() -> None:
    for page in (document.served(), document.alone(b"{}")):
        for tag, attributes in Reader(page.body).elements:
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
            assert not [name for name in attributes if name.startswith("on")]
    style, script = document.parts()
    assert not re.findall(r"url\(|@import", style)
    named = set(re.findall(r"\bhttps?://[\w.]+", script))
    assert named <= {"http://www.w3.org"}, "a name space of SVG, which nobody asks for"


def test_what_a_file_has_within_it_ends_no_element_and_is_read_as_it_was() -> None:
    hostile = {"name": "</script><script>alert(1)</script><!--", "lines": "\u2028\u2029'\"&lt;"}
    page = document.alone(msgspec.json.encode(hostile))
    reader = Reader(page.body)
    assert len(reader.texts["script"]) == 2
    assert json.loads(reader.texts["script"][0]) == hostile


def test_a_file_asks_nobody() -> None:
    page = document.alone(b"{}")
    assert "connect-src" not in page.policy
    metas = [attributes for tag, attributes in Reader(page.body).elements if tag == "meta"]
    assert {"http-equiv": "Content-Security-Policy", "content": page.policy} in metas


def test_the_library_is_the_one_that_was_pinned() -> None:
    read_me = (document.ROOT / "vendor" / "README.md").read_text(encoding="utf-8")
    library = (document.ROOT / "vendor" / "preact-htm.js").read_bytes()
    assert hashlib.sha256(library).hexdigest() in read_me
    for name in ("LICENSE-htm", "LICENSE-preact"):
        assert name in read_me
        assert (document.ROOT / "vendor" / name).is_file()
