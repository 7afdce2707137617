"""Takes the pictures of the page of a log for `docs/ui.md`: `python -m tests.tools.pictures`.

They are of the log that the page's tests look at, in the colours that their names say, so that a
change of the page is seen in them.
"""

import os
import tempfile
from pathlib import Path
from typing import Final, Literal, NamedTuple

from tests.support.logs import gallery
from tests.support.process import browser, uipage, uiwindow
from tests.tools import redraw

DIRECTORY: Final = redraw.DOCS / "ui"

WIDTH: Final = 1280
HEIGHT: Final = 780

BROKEN: Final = "st_0069brok"
SILENT: Final = "st_0066sile"
"""Streams of the gallery."""


class Picture(NamedTuple):
    """One picture.

    Attributes:
        place: of the page.
        ready: a script that is true when all of it is drawn.
        zoom: how much the reader has enlarged it.
        moment: what the slider is at, of a thousand.
    """

    name: str
    place: str
    ready: str
    scheme: Literal["light", "dark"]
    zoom: float = 1.0
    moment: int | None = None


_LISTED: Final = (
    "return [...document.querySelectorAll('.virtual .row')].slice(0, 8)"
    ".every((row) => row.querySelector('.spark') || row.innerText.includes('refused'))"
)

_FAILED: Final = f"if (document.querySelector('.virtual .tone-good')) return false; {_LISTED}"

PICTURES: Final = (
    Picture("list.light", "#/", _LISTED, "light"),
    Picture("list.dark", "#/?q=is:failed", _FAILED, "dark"),
    Picture(
        "stream.dark",
        f"#/stream/{SILENT}?fold=1",
        "return document.querySelector('.answer .text')",
        "dark",
        moment=700,
    ),
    Picture(
        "path.light",
        f"#/stream/{BROKEN}?tab=path",
        "return document.querySelector('.way-lit')",
        "light",
    ),
    Picture(
        "compare.light",
        f"#/stream/{BROKEN}?tab=compare",
        "return document.querySelectorAll('.compare-band').length === 2",
        "light",
    ),
    Picture(
        "near.light",
        f"#/stream/{SILENT}",
        "return document.querySelector('.answer')",
        "light",
        zoom=4.0,
    ),
)


def take(window: uiwindow.Window, picture: Picture) -> bytes:
    """A picture, as PNG."""
    window.prefer(picture.scheme)
    window.size(WIDTH, HEIGHT, picture.zoom)
    window.go(picture.place)
    window.until(picture.ready)
    if picture.moment is not None:
        window.run(
            "const slider = document.querySelector('.scrubber input[type=range]');"
            "slider.value = args[0]; slider.dispatchEvent(new Event('input'));",
            picture.moment,
        )
    window.run("document.activeElement?.blur(); await new Promise(requestAnimationFrame)")
    return window.browser.picture()


def main(directory: Path = DIRECTORY) -> None:
    """Take all of them."""
    directory.mkdir(exist_ok=True)
    os.environ["TZ"] = "UTC"
    with tempfile.TemporaryDirectory() as log, browser.running() as chromium:
        gallery.mixed(Path(log))
        with uipage.Page(Path(log)) as page:
            window = uiwindow.Window(chromium, page.link)
            for picture in PICTURES:
                (directory / f"{picture.name}.png").write_bytes(take(window, picture))


if __name__ == "__main__":
    main()
