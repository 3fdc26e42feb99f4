"""`crossover report`'s page in a real browser, from a file, with the network refused."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pypdf import PdfReader

from cli.report.model import MigrationReport
from cli.report.page import page
from tests.browser.histories import report
from tests.browser.windows import Window

Open = Callable[..., Window]
ROOT = Path(__file__).parents[2]
COMPONENTS = ("Event bus", "Language models", "Database", "Backtests")


@pytest.fixture(scope="module")
def made() -> MigrationReport:
    return report()


@pytest.fixture(scope="module")
def file(made: MigrationReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("report") / "report.html"
    found.write_text(page(made), encoding="utf-8")
    return found


def opened(window: Open, file: Path, *, dark: bool = False, phone: bool = False) -> Window:
    found = window(dark=dark, phone=phone)
    found.cut_off()
    found.page.goto(file.as_uri())
    return found


def test_it_shows_everything_and_asks_for_nothing(window: Open, file: Path) -> None:
    shown = opened(window, file)
    headings = shown.page.locator("h2").all_inner_texts()
    assert [name for name in headings if name in COMPONENTS] == list(COMPONENTS)
    text = shown.page.locator("body").inner_text()
    for words in ("undone", "its volume is full", "no end is told", "186,231", "does not hold", "bob@desk", "599 ms"):
        assert words in text, words
    drawn = [chart for chart in shown.page.locator("svg").all() if (box := chart.bounding_box()) and box["height"] > 40]
    assert len(drawn) == shown.page.locator("svg").count() >= 9
    assert shown.requests == [file.as_uri()]


def test_a_page_that_asks_for_something_is_seen_to(window: Open, file: Path, tmp_path: Path) -> None:
    """The test of the test: a picture from elsewhere is noticed, and the page's own policy refuses it."""
    spoilt = tmp_path / "spoilt.html"
    text = file.read_text(encoding="utf-8")
    spoilt.write_text(text.replace("<h1>", '<img src="http://127.0.0.1:9/x.png"><h1>', 1), encoding="utf-8")
    shown = opened(window, spoilt)
    assert any("Content Security Policy" in error for error in shown.errors)
    shown.errors.clear()
    spoilt.write_text(spoilt.read_text(encoding="utf-8").replace("default-src", "default-xxx"), encoding="utf-8")
    shown.page.goto(spoilt.as_uri())
    assert any("x.png" in request for request in shown.requests)
    shown.errors.clear()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(window: Open, file: Path, dark: bool) -> None:
    shown = opened(window, file, dark=dark)
    background = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(21, 24, 27)" if dark else "rgb(255, 255, 255)")
    assert shown.unreadable() == []
    shown.page.evaluate("document.querySelector('h1').style.color = 'rgba(128, 128, 128, .5)'")
    assert [text for text, _ in shown.unreadable()] == ["Migration of stack live"]  # the measure measures


def test_a_phone_shows_it_without_scrolling_sideways(window: Open, file: Path) -> None:
    shown = opened(window, file, phone=True)
    assert shown.page.evaluate("window.innerWidth") == 390
    assert shown.overflow() <= 0
    wide = shown.page.locator(".wide").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
    )
    assert wide > 0  # what is wider than the phone scrolls by itself


def test_paper_has_it_in_pages(window: Open, file: Path, made: MigrationReport) -> None:
    shown = opened(window, file)
    printed = shown.page.pdf(format="A4")
    pages = [found.extract_text() for found in PdfReader(io.BytesIO(printed)).pages]
    assert 3 <= len(pages) <= 20 and all(text.strip() for text in pages)
    whole = " ".join(" ".join(pages).split())
    for words in ("Migration of stack live", *COMPONENTS, "Measured under load", "Versions", made.digest[:20]):
        assert words in whole, words
    # What is printed is laid out as it is here: nothing is cut off at the right.
    shown.page.emulate_media(media="print")
    shown.page.set_viewport_size({"width": 718, "height": 1000})  # A4 at 96 dots an inch, without its margins
    assert shown.overflow() <= 0
    assert shown.page.locator(".wide").evaluate_all(
        "all => all.every(one => getComputedStyle(one).overflowX === 'visible')"
    )


def test_the_hash_of_its_data_is_the_one_that_it_shows(window: Open, file: Path, made: MigrationReport) -> None:
    shown = opened(window, file)
    data = json.loads(shown.page.locator("#data").inner_text() or shown.page.locator("#data").text_content() or "")
    digest = hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert digest == made.digest
    assert digest in shown.page.locator("body").inner_text()
    # The browser can make it, too, of what it read. `crypto.subtle` is there for files.
    theirs = shown.page.evaluate("""async () => {
        const bytes = new TextEncoder().encode(document.querySelector('#data').textContent
          .replaceAll('\\\\u003c', '<').replaceAll('\\\\u003e', '>').replaceAll('\\\\u0026', '&'));
        const hash = await crypto.subtle.digest('SHA-256', bytes);
        return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
    }""")
    assert theirs == digest
    document = (ROOT / "docs" / "journey.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest
