"""The page of a log in a browser: what a reader does there, and what they see."""

from typing import Any, Literal

from tests.support.process import browser, machinetime

WATCH = """
window.wrong = [];
addEventListener('error', (event) => wrong.push(`error: ${event.message}`));
addEventListener('unhandledrejection', (event) => wrong.push(`rejected: ${event.reason}`));
addEventListener('securitypolicyviolation', (event) => {
  wrong.push(`policy: ${event.violatedDirective} ${event.blockedURI}`);
});
"""
"""Notes what goes wrong in a page, before any of its own script runs."""


class Window:
    """A browser's window with the page in it.

    Args:
        link: opens it: the server's, with its token, or a file's.
    """

    def __init__(self, chromium: browser.Browser, link: str) -> None:
        self.browser = chromium
        chromium.tell("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        self.size()
        self.browser.prefer("light")
        chromium.open(link)
        self.until("return document.querySelector('#app').textContent !== ''")
        self.base = str(self.run("return location.href.split(/[?#]/)[0]"))

    def size(self, width: int = 1440, height: int = 900, zoom: float = 1.0) -> None:
        """Have a window of this size, and what is in it enlarged."""
        self.browser.resize(width, height, zoom)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.browser.run(script, *arguments)

    def until(self, script: str, *arguments: Any) -> Any:
        """Wait until a script returns something true; what that is."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = [self.run(script, *arguments)]
            return bool(found[0])

        machinetime.until(look)
        return found[0]

    def go(self, place: str) -> None:
        """Go to a place of the page, such as `#/stream/st_1`, and wait until it is drawn."""
        self.run("location.hash = args[0]", place)
        self.until(
            "await new Promise(requestAnimationFrame);"
            "return document.querySelector("
            "'.streams[aria-busy=false], .verdict, .problem:not(:empty)')"
        )

    def stream(self, stream: str, **query: str) -> None:
        """Open a stream."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        self.go(f"#/stream/{stream}{'?' + text if text else ''}")
        self.until(
            "return document.querySelector('h1').textContent === args[0]"
            " && document.querySelector('.verdict-text')",
            stream,
        )

    def text(self, selector: str) -> str:
        """What an element says; empty where there is none."""
        return str(self.run("return document.querySelector(args[0])?.innerText ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        """What every such element says."""
        found = self.run(
            "return [...document.querySelectorAll(args[0])].map((each) => each.innerText)",
            selector,
        )
        return [str(each) for each in found]

    def click(self, selector: str) -> None:
        """Click an element, once it is there."""
        self.until("return document.querySelector(args[0])", selector)
        self.run("document.querySelector(args[0]).click()", selector)

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field, as if it was typed."""
        self.run(
            "const field = document.querySelector(args[0]); field.value = args[1];"
            "field.dispatchEvent(new Event('input', {bubbles: true}))",
            selector,
            text,
        )

    def prefer(self, scheme: Literal["light", "dark"]) -> None:
        """Be a reader who prefers light pages, or dark ones."""
        self.browser.prefer(scheme)

    def wrong(self) -> list[str]:
        """What went wrong in the page."""
        return [str(each) for each in self.run("return window.wrong ?? []")]

    def place(self, selector: str) -> tuple[int, int, int, int]:
        """Left, top, width and height of an element."""
        found = self.run(
            "const box = document.querySelector(args[0]).getBoundingClientRect();"
            "return [box.left, box.top, box.width, box.height]",
            selector,
        )
        left, top, width, height = (round(each) for each in found)
        return left, top, width, height
