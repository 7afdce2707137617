"""A real Chromium: a page of an allowed origin streams, and a page of any other drives nothing.

The server takes no key, as on one's own machine, where a page of anybody's would need none.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from tests.support.client import httpclient
from tests.support.process import browser, machinetime, nodejs, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import LAST, STREAM_HEAD, chunk, counted, framed, sse

pytestmark = [pytest.mark.browser, browser.needed]

ALLOWED: Final = "app.test"
"""The host of the pages that may ask."""

OTHER: Final = "evil.test"
"""The host of the pages that may not."""

REBOUND: Final = "rebound.test"
"""A name that its owner has let point to this machine."""

PAGE: Final = b"""<!doctype html><title>A page</title>
<script type="importmap">{"imports": {"openai": "/openai/index.mjs"}}</script>
"""

BODY: Final = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}

REST: Final = [framed(sse(chunk(finish="stop"), counted(7, 2), "[DONE]")), LAST]


class Stage(NamedTuple):
    """A browser, the port of a site for it, and a server before an upstream."""

    window: browser.Browser
    site: int
    server: serving.Serve
    upstream: upstreams.Hosted

    def on(self, host: str) -> browser.Browser:
        """The window with a page of that host in it."""
        self.window.open(f"http://{host}:{self.site}/")
        return self.window

    def access_lines(self, after: int) -> list[dict[str, Any]]:
        """The lines of requests behind the first so many lines."""
        lines = list(self.server.lines)[after:]
        return [line for line in lines if line.get("event") == "request_ended"]


def find(path: str) -> browser.File | None:
    if path == "":
        return browser.File(browser.HTML, PAGE)
    root, _, file = path.partition("/")
    modules = nodejs.CLIENT / "node_modules" / "openai"
    return browser.directory(modules.resolve())(file) if root == "openai" else None


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with (
        browser.site(find) as port,
        browser.running(ALLOWED, OTHER, REBOUND) as window,
        upstreams.stage(
            (upstreams.PLAIN,), PROXY_CORS_ALLOWED_ORIGINS=f"http://{ALLOWED}:{port}"
        ) as (server, upstream),
    ):
        yield Stage(window, port, server, upstream)


def test_a_page_of_an_allowed_origin_streams_by_fetch(stage: Stage) -> None:
    gate = scripted.Gate()
    first, second = (framed(sse(chunk(text))) for text in ("Hel", "lo"))
    prompt = stage.upstream.prompt([STREAM_HEAD, first, gate, second, *REST])
    body = json.dumps({**BODY, "messages": [{"role": "user", "content": prompt}]})
    page = stage.on(ALLOWED)
    begun = page.run(
        """
        const response = await fetch(args[0] + "/chat/completions", {
          method: "POST", headers: {"content-type": "application/json"}, body: args[1],
        });
        window.reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        window.text = "";
        while (!window.text.includes('"Hel"')) window.text += (await window.reader.read()).value;
        return [response.status, response.headers.get("x-request-id") !== null];
        """,
        stage.server.url,
        body,
    )
    assert begun == [200, True]
    gate.open()
    whole = page.run(
        """
        for (let each; !(each = await window.reader.read()).done;) window.text += each.value;
        return window.text;
        """
    )
    frames = [each for each in whole.split("\n\n") if each]
    texts = [json.loads(each.removeprefix("data: ")) for each in frames[1:3]]
    assert [each["choices"][0]["delta"]["content"] for each in texts] == ["Hel", "lo"]
    assert frames[-1] == "data: [DONE]"


SDK: Final = """
const { default: OpenAI } = await import("openai");
const client = new OpenAI({
  baseURL: args[0], apiKey: "unused", dangerouslyAllowBrowser: true, maxRetries: 0,
});
"""


@nodejs.needed
def test_a_page_of_an_allowed_origin_streams_by_the_sdk(stage: Stage) -> None:
    told = stage.on(ALLOWED).run(
        SDK
        + """
        const stream = await client.chat.completions.create({
          ...args[1], stream_options: {include_usage: true},
        });
        const texts = [];
        let tokens = null;
        for await (const chunk of stream) {
          texts.push(chunk.choices[0]?.delta.content ?? "");
          tokens = chunk.usage?.total_tokens ?? tokens;
        }
        return [texts.join(""), tokens];
        """,
        stage.server.url,
        BODY,
    )
    assert told == ["Hello world", 9]


@nodejs.needed
def test_a_page_of_an_allowed_origin_reads_errors_by_the_sdk(stage: Stage) -> None:
    told = stage.on(ALLOWED).run(
        SDK
        + """
        try {
          await client.chat.completions.create({...args[1], messages: []});
        } catch (error) {
          return [error.constructor.name, error.status, error.param, typeof error.requestID];
        }
        """,
        stage.server.url,
        BODY,
    )
    assert told == ["BadRequestError", 400, "messages", "string"]


@nodejs.needed
def test_a_page_of_another_origin_can_ask_nothing_by_the_sdk(stage: Stage) -> None:
    before = len(stage.upstream.requests)
    told = stage.on(OTHER).run(
        SDK
        + """
        try {
          await client.chat.completions.create(args[1]);
        } catch (error) {
          return error.constructor.name;
        }
        """,
        stage.server.url,
        BODY,
    )
    assert told == "APIConnectionError"
    assert len(stage.upstream.requests) == before


SENT: Final = {
    "JSON, after a preflight": """
        return await fetch(url, {method: "POST", headers: {"content-type": "application/json"},
          body}).then((response) => response.status, (error) => error.name);
        """,
    "text": 'return (await fetch(url, {method: "POST", mode: "no-cors", body})).type;',
    "a blob that is nothing": """
        return (await fetch(url, {method: "POST", mode: "no-cors", body: new Blob([body])})).type;
        """,
    "bytes": """
        const data = new TextEncoder().encode(body);
        return (await fetch(url, {method: "POST", mode: "no-cors", body: data})).type;
        """,
    "JSON that claims to be text": """
        return (await fetch(url, {method: "POST", mode: "no-cors", body,
          headers: {"content-type": "text/plain; charset=application/json"}})).type;
        """,
    "a beacon": "return navigator.sendBeacon(url, body);",
    "a form as text": """
        const form = document.createElement("form");
        const frame = document.createElement("iframe");
        frame.name = "answer";
        Object.assign(form, {
          method: "POST", action: url, enctype: "text/plain", target: "answer",
        });
        const field = document.createElement("input");
        // A form writes `name=value`: the sign falls into a member that nobody knows.
        field.name = body.slice(0, -1) + ', "x": "';
        field.value = '"}';
        form.append(field);
        document.body.append(frame, form);
        const loaded = new Promise((done) => frame.addEventListener("load", done));
        form.submit();
        await loaded;
        return "sent";
        """,
}
"""How a page sends a chat request: its name, and what the page is told of it."""


@pytest.mark.parametrize("way", SENT)
@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
def test_a_page_of_another_origin_drives_nothing(stage: Stage, way: str, path: str) -> None:
    before, told = len(stage.upstream.requests), len(stage.server.lines)
    body = json.dumps({**BODY, "input": "hi"})
    script = f"const [url, body] = args; {SENT[way]}"
    result = stage.on(OTHER).run(script, stage.server.url + path, body)
    assert result in ("TypeError", "opaque", "sent", True)
    machinetime.until(lambda: bool(stage.access_lines(told)))
    (line,) = stage.access_lines(told)
    asked = {"OPTIONS": 204, "POST": 415}
    assert line["status"] == asked[line["method"]]
    assert len(stage.upstream.requests) == before


def test_a_page_of_another_origin_reads_nothing(stage: Stage) -> None:
    told = stage.on(OTHER).run(
        """
        const models = args[0] + "/models";
        const read = await fetch(models).then((answer) => answer.status, (error) => error.name);
        return [read, await (await fetch(models, {mode: "no-cors"})).text()];
        """,
        stage.server.url,
    )
    assert told == ["TypeError", ""]


def test_a_name_that_was_made_to_point_here_is_refused(stage: Stage) -> None:
    """DNS rebinding: to the browser the server is of the page's own origin, and all is allowed."""
    before = len(stage.upstream.requests)
    port = stage.server.base.rpartition(":")[2]
    window = stage.window
    window.open(f"http://{REBOUND}:{port}/")
    told = window.run(
        """
        const response = await fetch("/v1/chat/completions", {
          method: "POST", headers: {"content-type": "application/json"}, body: args[0],
        });
        return [response.status, (await response.json()).error.code];
        """,
        json.dumps(BODY),
    )
    assert told == [403, "host_not_allowed"]
    assert len(stage.upstream.requests) == before


def test_who_is_no_browser_is_answered_whatever_origin_it_claims(stage: Stage) -> None:
    """The rule is the browser's: an origin is no login."""
    headers = {"origin": f"http://{OTHER}:{stage.site}"}
    answer = httpclient.ask(stage.server.url, "POST", "/chat/completions", BODY, headers)
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
