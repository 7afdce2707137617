"""The page in a real Chromium: what its reader sees and does, and what nothing in a log can do."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.log.find import catalog, stories
from machines import events
from server.cli import command_line as cli
from server.ui import document, export
from tests.server.ui import filtercases
from tests.support.logs import gallery
from tests.support.process import browser, machinetime, nodejs, uipage, uiwindow

pytestmark = [pytest.mark.browser, browser.needed]

ROW = ".virtual .row"

ESC, ENTER, LEFT, RIGHT = "\ue00c", "\ue007", "\ue012", "\ue014"
"""Keys as WebDriver numbers them (https://www.w3.org/TR/webdriver2/#keyboard-actions)."""


@pytest.fixture(scope="module")
def opened(chromium: browser.Browser, served: uipage.Page) -> uiwindow.Window:
    return uiwindow.Window(chromium, served.link)


@pytest.fixture
def window(opened: uiwindow.Window, gallery_log: Path) -> Iterator[uiwindow.Window]:
    opened.size()
    opened.prefer("light")
    if opened.run("return location.href.split(/[?#]/)[0]") != opened.base:
        opened.browser.open(opened.base)
    opened.go("#/")
    rows = len([*catalog.Catalog(gallery_log).ended_rows()])
    # What the test before has filtered is loaded again.
    opened.until(
        "return document.querySelector('.virtual .row')"
        " && document.querySelector('.tally b').innerText === args[0]",
        f"{rows} streams",
    )
    yield opened
    assert opened.wrong() == []


def stream_of(log: Path, **wanted: object) -> str:
    """A stream of a log whose row has these members."""
    for row in catalog.Catalog(log).ended_rows():
        if all(getattr(row, name) == value for name, value in wanted.items()):
            return row.summary
    raise LookupError(wanted)


def test_the_list_shows_every_stream_newest_first(
    window: uiwindow.Window, gallery_log: Path
) -> None:
    rows = [*catalog.Catalog(gallery_log).ended_rows()]
    assert window.text(".tally b") == f"{len(rows)} streams"
    times = window.texts(".cell-time")
    assert len(times) > 20
    assert times == sorted(times, reverse=True)
    window.until("return document.querySelectorAll('.spark').length > 5")


def test_a_filter_narrows_it_and_stands_in_the_url(window: uiwindow.Window) -> None:
    window.type("#filter", "code:idle_timeout")
    window.until("return location.hash.includes('q=code')")
    window.until(
        "const found = [...document.querySelectorAll('.cell-code')].map((each) => each.innerText);"
        "return found.length && found.every((each) => each === 'idle_timeout')"
    )
    here = window.run("return location.href")
    window.browser.open(here)
    window.run("location.reload()")
    window.until("return document.querySelector('.virtual .row')")
    assert set(window.texts(".cell-code")) == {"idle_timeout"}
    assert window.run("return document.querySelector('#filter').value") == "code:idle_timeout"


def test_a_filter_that_says_nothing_says_why(window: uiwindow.Window) -> None:
    window.type("#filter", "slow:soon")
    window.until("return document.querySelector('#filter-problem').textContent")
    assert "it takes a time such as 2s" in window.text("#filter-problem")
    window.type("#filter", "")
    window.until("return !document.querySelector('#filter-problem').textContent")


def test_a_facet_narrows_the_list(window: uiwindow.Window) -> None:
    window.click(".facets section:nth-child(2) .facet")
    name = window.text(".facets section:nth-child(2) .facet[aria-pressed=true] .facet-name")
    window.until(
        "const found = [...document.querySelectorAll('.cell-model')];"
        "return found.length && found.every((each) => each.innerText === args[0])",
        name,
    )
    window.click(".facets .facet[aria-pressed=true]")
    window.until("return !document.querySelector('.facets .facet[aria-pressed=true]')")


def test_a_span_of_time_is_dragged_on_the_strip(window: uiwindow.Window) -> None:
    left, top, width, height = window.place(".strip")
    whole = window.text(".tally b")
    middle = top + height // 3
    window.browser.drag((left + width // 4, middle), (left + width // 2, middle))
    window.until(
        "return location.hash.includes('from=') && document.querySelector('.strip-chosen')"
    )
    part = window.text(".tally b")
    assert 0 < int(part.split()[0]) < int(whole.split()[0])
    window.click(".tally .quiet")
    window.until("return document.querySelector('.tally b').innerText === args[0]", whole)


def test_the_keys_lead_into_a_stream_and_back(window: uiwindow.Window) -> None:
    window.run("document.querySelector('.facet').focus()")  # Enter is not for it any more
    window.browser.press("jj")
    chosen = window.until("return document.querySelector('[aria-current] .cell-id')?.innerText")
    window.browser.press(ENTER)
    window.until("return document.querySelector('h1')?.innerText === args[0]", chosen)
    window.browser.press("j")
    window.until("return document.querySelector('h1')?.innerText !== args[0]", chosen)
    window.browser.press(ESC)
    window.until("return document.activeElement.matches('.virtual')")
    window.browser.press("/")
    assert window.until("return document.activeElement.id === 'filter'")
    window.browser.press(ESC)
    window.browser.press("?")
    window.until("return document.querySelector('dialog[open]')")
    window.browser.press(ESC)
    window.until("return !document.querySelector('dialog')")


def test_a_stream_says_first_what_happened(window: uiwindow.Window, gallery_log: Path) -> None:
    window.stream(stream_of(gallery_log, code="idle_timeout"))
    assert window.text(".verdict-text") == "The model stopped sending in the middle of its answer."
    assert "idle_timeout" in window.text(".verdict-kind")
    assert "TTFT" in window.text(".lane-client")
    assert "30.0 s worker" in window.text(".lane-worker").replace("\n", " ")
    assert window.run("return document.querySelectorAll('.lane').length") == 3


def test_a_mark_leads_to_its_record(window: uiwindow.Window, gallery_log: Path) -> None:
    window.stream(stream_of(gallery_log, code="upstream_disconnected"))
    window.click(".lane-worker .mark-bad")
    window.until(
        "return document.querySelector('.inspect-full h2')?.innerText.includes('turn_failed')"
    )
    assert "responseStreamDisconnected" in window.text(".inspect-full pre")
    assert "seq=" in window.run("return location.hash")
    assert window.texts("[role=option][aria-selected=true] b") == ["turn_failed"]


def test_the_slider_plays_what_the_client_saw_on_and_back(
    window: uiwindow.Window, gallery_log: Path
) -> None:
    rows = catalog.Catalog(gallery_log).ended_rows()
    window.stream(next(row.summary for row in rows if row.summary.endswith("good")))
    whole = window.text(".answer .text")
    assert gallery.WORDS.startswith(whole.strip())
    slider = "document.querySelector('.scrubber input')"
    window.run(f"{slider}.focus(); {slider}.value = 0; {slider}.dispatchEvent(new Event('input'))")
    window.until("return !document.querySelector('.answer .text')")
    window.browser.press(RIGHT)
    window.until("return document.querySelector('.answer .text')?.innerText.trim() === 'The'")
    window.browser.press(RIGHT * 2)
    window.until(
        "return document.querySelector('.answer .text')?.innerText.trim() === 'The tide turns'"
    )
    window.browser.press(LEFT)
    window.until("return document.querySelector('.answer .text')?.innerText.trim() === 'The tide'")
    assert "frame 2 of" in window.text(".scrubber-time")
    window.until("return /[?&]t=[0-9]+/.test(location.hash)")
    window.run("location.reload()")
    window.until("return document.querySelector('.answer .text')?.innerText.trim() === 'The tide'")
    window.run(
        "document.querySelector('.speed select').value = '10';"
        "document.querySelector('.speed select').dispatchEvent(new Event('change'))"
    )
    window.click(".play")
    window.until("return document.querySelector('.answer .text')?.innerText === args[0]", whole)
    window.until("return !/[?&]t=/.test(location.hash)")


def test_the_tabs_show_request_bytes_path_and_records(
    window: uiwindow.Window, gallery_log: Path
) -> None:
    stream = stream_of(gallery_log, kind="completed", finish_reasons=("tool_calls",))
    window.stream(stream)
    assert "get_forecast" in window.text(".part-call")
    assert "Bergen" in window.text(".part-call pre")
    window.click("#tab-request")
    window.until("return document.querySelector('.fields')")
    assert "gpt" in window.text(".fields") or "codex" in window.text(".fields")
    window.click("#tab-bytes")
    window.until("return document.querySelector('.proof-same')")
    assert "data: {" in window.text(".inspect-full pre")
    window.click("#tab-path")
    window.until("return document.querySelectorAll('.way-lit').length >= 3")
    assert window.texts(".steps b")[0] == "held"
    assert window.texts(".steps b")[-1] == "done"
    window.click("#tab-records")
    window.until("return document.querySelector('.inspect .line')")


def test_two_streams_are_compared_by_phase(window: uiwindow.Window, gallery_log: Path) -> None:
    window.stream(stream_of(gallery_log, code="upstream_disconnected"), tab="compare")
    window.until("return document.querySelectorAll('.compare-band').length === 2")
    states = window.texts(".compare-tables table:first-child th[scope=row]")
    assert states[:2] == ["held", "content"]
    facts = window.text(".compare-tables table:last-child")
    assert "upstream_error · upstream_disconnected" in facts
    assert "completed" in facts
    other = stream_of(gallery_log, code="worker_exited")
    window.type("#with", other)
    window.click(".compare-with button")
    window.until(
        "return document.querySelectorAll('.compare-band a')[1]?.innerText === args[0]", other
    )
    assert f"with={other}" in window.run("return location.hash")


@pytest.mark.parametrize(
    "place", ["#/", "answer", "request", "bytes", "records", "path", "compare"]
)
def test_nothing_scrolls_sideways_at_400_percent(
    window: uiwindow.Window, gallery_log: Path, place: str
) -> None:
    window.size(1280, 1024, zoom=4)
    if place != "#/":
        window.stream(stream_of(gallery_log, code="upstream_disconnected"), tab=place)
    window.until("return innerWidth <= 320")
    wide = window.run(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth,"
        "[...document.querySelectorAll('#app *')].filter((each) =>"
        " each.scrollWidth > each.clientWidth + 1"
        " && ['auto', 'scroll'].includes(getComputedStyle(each).overflowX))"
        ".map((each) => each.className)]"
    )
    assert wide[0] <= wide[1]
    assert wide[2] == []


def module(path: str) -> browser.File | None:
    """A module of the page, or a page with none."""
    if not path:
        return browser.File(browser.HTML, b"<!doctype html><title>Modules</title>")
    return browser.directory(document.ROOT)(path)


def test_what_the_page_has_for_its_filter_is_the_language_of_the_command(
    chromium: browser.Browser,
) -> None:
    """Modules of the page, as they are in the checkout."""
    with browser.site(module) as port:
        chromium.open(f"http://127.0.0.1:{port}/")
        found = chromium.run(
            "const { parse } = await import('/filters.js');"
            "const [rows, filters, wrong] = args;"
            "const newest = Math.max(...rows.map((row) => row.t));"
            "const names = filters.map((text) =>"
            " rows.filter(parse(text, newest)).map((row) => row.summary).join(' '));"
            "const said = wrong.map((text) => {"
            " try { parse(text, newest); return '' } catch (error) { return error.message } });"
            "return [names, said]",
            filtercases.plain(),
            list(filtercases.FOUND),
            list(filtercases.WRONG),
        )
        assert dict(zip(filtercases.FOUND, found[0], strict=True)) == filtercases.FOUND
        for text, said in zip(filtercases.WRONG, found[1], strict=True):
            assert said == filtercases.problem(text)
        chosen = chromium.run(
            "const { nearest } = await import('/compare.js');"
            "return nearest(args[0], args[1])?.summary",
            [LIKE | each for each in NEAR_ONES],
            {"stream": "st_bad", "model": "m", "endpoint": "e", "opened_us": 1000, "n": 2},
        )
        assert chosen == "st_chosen"
        toggled = chromium.run(
            "const { toggled } = await import('/filters.js');"
            "return args[0].map((given) => toggled(...given))",
            [
                ["", "code", "a"],
                ["code:a req_1", "code", "b"],
                ["code:a,b", "code", "a"],
                ["slow:2s code:a", "code", "a"],
                ["", "model", "local/llama 3"],
            ],
        )
        assert toggled == [
            "code:a",
            "code:a,b req_1",
            "code:b",
            "slow:2s",
            'model:"local/llama 3"',
        ]


LIKE = {"kind": "completed", "model": "m", "endpoint": "e", "t": 5000, "n": 2}

NEAR_ONES: list[dict[str, Any]] = [
    {"summary": "st_bad", "t": 1000},
    {"summary": "st_failed", "t": 1000, "kind": "timeout"},
    {"summary": "st_other", "t": 1000, "model": "another"},
    {"summary": "st_cut", "t": 1000, "finish_reasons": ["length"]},
    {"summary": "st_erased", "t": 1000, "purged": 7},
    {"summary": "st_alone", "t": 1000, "n": 1},
    {"summary": "st_later"},
    {"summary": "st_chosen", "t": 6000, "duration_us": 4000, "finish_reasons": ["stop"]},
]
"""Streams to compare one with: but for the last each is worse in something."""


def written(directory: Path, log: Path, name: str = "page.html") -> Path:
    """The page of a log's streams as a file."""
    found = catalog.Catalog(log)
    path = directory / name
    with path.open("wb") as file:
        export.write([stories.read(found, row) for row in found.ended_rows()], file)
    return path


def test_the_exported_file_works_from_a_disk(
    chromium: browser.Browser, gallery_log: Path, tmp_path: Path
) -> None:
    path = written(tmp_path, gallery_log)
    window = uiwindow.Window(chromium, path.as_uri())
    window.until("return document.querySelector('.virtual .row')")
    assert not window.text(".live")
    window.type("#filter", "is:failed -kind:rejected")
    window.until(
        "return document.querySelector('.tone-bad')"
        " && !document.querySelector('.virtual .tone-good')"
    )
    stream = stream_of(gallery_log, code="idle_timeout")
    window.stream(stream)
    assert window.text(".verdict-text") == "The model stopped sending in the middle of its answer."
    window.click("#tab-compare")
    window.until("return document.querySelectorAll('.compare-band').length === 2")
    asked = window.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert asked == []
    assert window.wrong() == []


BACK = "document.dispatchEvent(new Event('visibilitychange'));"
"""What a browser tells a page whose reader comes back to it."""


def test_streams_come_in_as_they_are_written(chromium: browser.Browser, tmp_path: Path) -> None:
    writing = gallery.Gallery(tmp_path)
    writing.add("st_1", gallery.STORIES["good"])
    with uipage.Page(tmp_path) as page:
        window = uiwindow.Window(chromium, page.link)
        window.until("return document.querySelectorAll('.virtual .row').length === 1")
        second = writing.begin("st_2")
        second.go_on(gallery.STORIES["good"][:9])
        window.until("return document.querySelector('.virtual .cell-end')?.innerText === 'open'")
        writing.add("st_3", gallery.STORIES["spent"])
        # Who comes back does not wait until the page looks of itself.
        window.until(f"{BACK} return document.querySelectorAll('.cell-id').length === 3")
        window.click(".live")
        writing.add("st_4", gallery.STORIES["good"])
        window.until("return (await (await fetch('/api/streams')).json()).newest === 4")
        window.run(f"{BACK} await fetch('/api/streams')")
        assert sorted(window.texts(".virtual .cell-id")) == ["st_1", "st_2", "st_3"]
        window.click(".live")
        window.until("return document.querySelectorAll('.virtual .row').length === 4")
        # A stream that has not ended is read along.
        window.stream("st_2")
        assert window.texts(".facts dt")[0] == "Newest record"
        assert window.run("return document.querySelector('.lane-client .end')") is None
        begun = window.text(".answer .text")
        second.go_on(gallery.STORIES["good"][9:])
        writing.close()
        window.until(
            f"{BACK} return document.querySelector('.verdict-kind').innerText"
            ".startsWith('completed')"
        )
        assert window.text(".answer .text").startswith(begun.strip())
        assert window.text(".answer .text").strip() == " ".join(gallery.WORDS.split(" ")[:60])
        assert window.texts(".facts dt")[0] == "Ended"
        assert window.wrong() == []


def test_what_is_left_of_an_erased_stream_is_its_row(
    chromium: browser.Browser, tmp_path: Path
) -> None:
    writing = gallery.Gallery(tmp_path)
    for stream, story in (("st_1", "good"), ("st_2", "good"), ("st_3", "spent")):
        writing.add(stream, gallery.STORIES[story])
    writing.close()
    assert cli.main(["purge", "st_2", "--log", str(tmp_path), "--yes"]) == 0
    with uipage.Page(tmp_path) as page:
        window = uiwindow.Window(chromium, page.link)
        window.until("return document.querySelectorAll('.virtual .row').length === 3")
        marked = "return [...document.querySelectorAll('.virtual .row')].filter((row) =>"
        marked += (
            " row.innerText.includes('erased')).map((row) => row.innerText.split('\\n').at(-1))"
        )
        assert window.run(marked) == ["st_2"]
        window.go("#/stream/st_2")
        window.until("return document.querySelector('.detail .problem')")
        assert "Its records were erased." in window.text(".detail .problem")
        # The nearest good one is that which is not there any more.
        window.stream("st_3", tab="compare")
        window.until("return document.querySelectorAll('.compare-band a').length === 2")
        assert window.texts(".compare-band a") == ["st_3", "st_1"]
        assert window.wrong() == []


def test_a_refusal_is_shown_as_its_client_had_it(
    window: uiwindow.Window, gallery_log: Path
) -> None:
    window.stream(stream_of(gallery_log, code="invalid_api_key"))
    assert "401 invalid_api_key: Incorrect API key provided." in window.text(".answer")


HOSTILE = {
    "markup": "</script><img src=x onerror=\"window.hit='markup'\"><script>window.hit=4</script>",
    "quotes": "\" onfocus=window.hit=1 autofocus x='`${window.hit=2}`",
    "entities": "&lt;b&gt; &amp;&#x3c;",
    "escapes": "\x1b[31mred\x1b]0;title\x07\x00\x08",
    "turned": "safe \u202egnp.exe\u202c \u2066end\u2069",
    "urls": "javascript:window.hit=3 {{7*7}} <!-- ]]> -->",
}
"""Texts that somebody may have put into a log."""


def hostile_log(directory: Path) -> None:
    gallery_of = gallery.Gallery(directory)
    for number, (name, text) in enumerate(HOSTILE.items()):
        gallery_of.add(
            f"st_{name}",
            (
                *gallery.begun(5),
                (3, events.TextDelta(text)),
                (3, events.ToolCalled(f"call_{number}", text, json.dumps({"a": text}))),
                (9, events.TurnFailed("upstream_error", text, text, word=text, detail=text)),
            ),
            model=text,
            target=text,
            request_id=text,
            worker=text,
            key=text,
            request=gallery.raw({"model": text, "messages": [{"role": "user", "content": text}]}),
        )
    gallery_of.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    log = tmp_path_factory.mktemp("hostile")
    hostile_log(log)
    return log


SHOW = """
const [stream, tabs] = args;
const shown = [];
for (const tab of tabs) {
  location.hash = `#/stream/${stream}?tab=${tab}`;
  const panel = () => document.querySelector(`.panel-${tab}`)?.innerText.trim();
  while (document.querySelector('h1')?.textContent !== stream || !panel()) {
    await new Promise(requestAnimationFrame);
  }
  shown.push(document.querySelector('.part-content .text')?.innerText ?? '');
}
return shown;
"""
"""Opens a stream, tab by tab, each until it shows something; its text, where a tab has it."""


@pytest.mark.parametrize("form", ["served", "file"])
def test_nothing_of_a_hostile_log_runs_and_all_of_it_is_shown(
    chromium: browser.Browser, hostile: Path, tmp_path: Path, form: str
) -> None:
    with contextlib.ExitStack() as stack:
        if form == "served":
            link = stack.enter_context(uipage.Page(hostile)).link
        else:
            link = written(tmp_path, hostile).as_uri()
        window = uiwindow.Window(chromium, link)
        window.go("#/")
        window.until(
            "return document.querySelectorAll('.virtual .row').length === args[0]", len(HOSTILE)
        )
        for name, text in HOSTILE.items():
            tabs = ("answer", "request", "bytes", "records", "path", "compare")
            answer, *_ = window.run(SHOW, f"st_{name}", tabs)
            assert answer.strip() == visible(text).strip()
        assert window.run("return window.hit ?? null") is None
        assert (
            window.run(
                "return document.querySelectorAll('#app img, #app script, #app iframe').length"
            )
            == 0
        )
        assert window.run("return document.title").endswith("Turntape")
        assert window.wrong() == []


def visible(text: str) -> str:
    """A text as the page shows it."""
    found = []
    for character in text:
        code = ord(character)
        if character == "\n" or character.isprintable():
            found.append(character)
        else:
            found.append(f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
    return "".join(found)


def test_ten_thousand_streams_scroll_without_a_long_task(
    chromium: browser.Browser, tmp_path: Path
) -> None:
    gallery.many(tmp_path, 10_000)
    with uipage.Page(tmp_path) as page:
        window = uiwindow.Window(chromium, page.link)
        window.until(
            "return document.querySelector('.tally b')?.innerText.startsWith('10\u202f000')"
        )
        window.until("return document.querySelector('.streams[aria-busy=false]')")
        # What a task takes by the clock is the machine's doing too: CPU time is the page's own.
        chromium.tell("Performance.enable", timeDomain="threadTicks")
        steps = [step * 400 if step < 20 else step * 7919 % 9900 * 40 for step in range(40)]
        taken, rows = [], []
        before = busy_s(chromium)
        for top in steps:
            rows.append(window.run(SCROLL, top))
            now = busy_s(chromium)
            taken.append(now - before)
            before = now
        chromium.tell("Performance.disable")
        assert max(rows) < 60
        # Even CPU time is longer where others have the caches.
        limit = LONG_TASK_S * machinetime.slowness()
        assert max(taken) < limit, sorted(taken)[-5:]
        window.run("const box = document.querySelector('.virtual'); box.scrollTop = 1e9")
        window.until(
            "return [...document.querySelectorAll('.cell-id')].at(-1).innerText === 'st_000000'"
        )
        assert window.wrong() == []


LONG_TASK_S = 0.05
"""What a browser calls a long task (https://w3c.github.io/longtasks/)."""

SCROLL = """
document.querySelector('.virtual').scrollTop = args[0];
await new Promise(requestAnimationFrame);
await new Promise(requestAnimationFrame);
return document.querySelectorAll('.virtual .row').length;
"""


def busy_s(chromium: browser.Browser) -> float:
    """CPU seconds that the page's thread has spent on tasks: all between two looks are more than
    the longest of them."""
    metrics = chromium.tell("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


AXE = nodejs.CLIENT / "node_modules" / "axe-core" / "axe.min.js"


@pytest.mark.skipif(not AXE.is_file(), reason="needs `npm install --prefix tests/clients/node`")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "place", ["#/", "answer", "request", "bytes", "records", "path", "compare"]
)
def test_axe_finds_nothing(
    window: uiwindow.Window, gallery_log: Path, place: str, scheme: Any
) -> None:
    window.prefer(scheme)
    if place != "#/":
        window.stream(stream_of(gallery_log, code="upstream_disconnected"), tab=place)
        window.until("return document.querySelector('.panel').innerText.trim()")
    # Of WebDriver's own world: the page's policy lets in no script but its own.
    window.run(AXE.read_text(encoding="utf-8") + "; window.axe = axe;")
    found = window.run(
        "const told = await axe.run(document, { runOnly: args });"
        "return told.violations.map((each) => [each.id, each.help,"
        " each.nodes.slice(0, 3).map((node) => node.html + ' ' + node.failureSummary)])",
        *("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"),
    )
    assert found == []
