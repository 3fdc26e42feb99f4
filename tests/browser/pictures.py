"""`python -m tests.browser.pictures [FOLDER]`: makes the documents' pictures anew, of what the tests look at."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from cli.report.page import page
from local.setup import browser as programs
from tests.browser.consoles import COPYING, TOKEN, World, served
from tests.browser.histories import report
from tests.browser.windows import Window, let_in

FOLDER = Path(__file__).parents[2] / "docs" / "images"
MOST_BYTES = 150_000
_LOOKS = {"light": {}, "dark": {"dark": True}, "phone": {"phone": True}}


def main(folder: Path = FOLDER) -> None:
    """Make all of them."""
    with sync_playwright() as drivers, tempfile.TemporaryDirectory() as scratch:
        found = drivers.chromium.launch(executable_path=programs.find())
        file = Path(scratch) / "report.html"
        file.write_text(page(report()), encoding="utf-8")
        of_the_report(found, file, folder)
        of_the_console(found, folder)
        found.close()


def of_the_report(found: Browser, file: Path, folder: Path) -> None:
    """In the light, in the dark and on a phone."""
    for name, look in _LOOKS.items():
        window = Window(found, **{"dark": False, "phone": False, **look})
        window.page.goto(file.as_uri())
        keep(window, folder / f"report-{name}.png")


def of_the_console(found: Browser, folder: Path) -> None:
    """The same, and what a button asks."""
    world = World()
    world.output = COPYING
    with served(world, acts=True) as address:
        for name, look in _LOOKS.items():
            window = Window(found, **{"dark": False, "phone": False, **look})
            window.page.goto(address)
            window.page.locator("#c-database progress").wait_for()
            if name == "dark":
                window.page.locator("#c-database").get_by_role("button", name="migrate").click()
                let_in(window.page, TOKEN)
                window.page.get_by_label("Type database to go on").wait_for()
            keep(window, folder / f"console-{name}.png")


def keep(window: Window, file: Path) -> None:
    """What the window shows, in few colours."""
    image = Image.open(io.BytesIO(window.page.screenshot())).convert("RGB")
    window.close()
    if image.width < 1000:  # a phone's, at two dots a pixel
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
    image.quantize(160, dither=Image.Dither.NONE).save(file, optimize=True)
    size = file.stat().st_size
    print(f"{file.name}: {size} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{file.name} is too large for the documents")


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:]))
