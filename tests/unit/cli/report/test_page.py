"""The report's page: nothing in it is taken for HTML that is none, nothing is fetched, and its data is all of it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cli.report import charts
from cli.report.html import VOID, Html, el, join
from cli.report.measured import Demonstration
from cli.report.model import LastRun, MigrationReport, StepTime, build
from cli.report.page import page
from contracts.audit import Broken, Kind
from tests.unit.cli.report.migrations import BUS, SCRIPT, at, gathered, route, rows, whole
from tests.unit.cli.report.test_model import DEMO, SWITCH

EVIL = f"{SCRIPT}\"'></title><img src=x onerror=alert(2)>--></script>&amp;"


class Parsed(HTMLParser):
    """A page, taken apart: elements with their attributes, texts, and whether all is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.data = ""
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            self.data += data
        elif inside == "style":
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def demonstration() -> Demonstration:
    return Demonstration.model_validate(
        {**DEMO, "switches": [{**SWITCH, "counts": {"lost": 0}, "times": {"publish_stall_ms_max": 598.9}}]}
    )


def parsed(**changes: Any) -> Parsed:
    return Parsed(page(build(gathered(**changes))))


def test_the_page_tells_what_happened() -> None:
    told = parsed(demonstration=demonstration()).text
    for words in (
        "Migration of stack live", "Event bus", "Database", "mvp → shadow", "switched back", "post-checks failed",
        "Job t-1", "fence 0.034", "8 events equal", "FREEZE is there: quarter's end", "bob@desk", "approved",
        "localhost/crossover/workload:local", "599 ms", "publish stall, max, ms", "11 entries",
    ):  # fmt: skip
        assert words in told, words


def evil() -> MigrationReport:
    """Every text that comes from elsewhere would do harm."""
    told = whole()
    told.tell(15, Kind.HELD, None, EVIL, detail=EVIL)
    told.tell(16, Kind.CONFIG, BUS, EVIL, from_=EVIL, to=EVIL)
    told.move(17, "scale", "shadow", EVIL, detail=EVIL, steps=[{"transition": EVIL, "step": EVIL, "outcome": EVIL,
                                                               "seconds": 1.0}])  # fmt: skip
    measured = demonstration().model_copy(update={"problem": EVIL})
    first = measured.switches[0].model_copy(
        update={"verdict": EVIL, "failures": (EVIL,), "times": {f"{EVIL}_ms_max": 1.0}, "goal": EVIL}
    )
    step = StepTime(transition=EVIL, step=EVIL, outcome=EVIL, seconds=1.0)
    run = LastRun(job=EVIL, image=EVIL, verdict=EVIL, message=EVIL, unaudited=EVIL, problem=EVIL, steps=(step,))
    return build(
        gathered(
            stack=EVIL, by=EVIL, log=told.log.lines(), runs={BUS: run}, versions={EVIL: EVIL},
            rows=rows(route(detail=EVIL).model_copy(update={"active": EVIL})),
            broken=Broken(EVIL, EVIL), demonstration=measured.model_copy(update={"switches": (first,)}),
        )
    )  # fmt: skip


def test_no_text_becomes_html() -> None:
    report = evil()
    found = Parsed(page(report))
    tags = [tag for tag, _ in found.elements]
    assert "img" not in tags
    assert [attributes for tag, attributes in found.elements if tag == "script"] == [
        {"type": "application/json", "id": "data"}
    ]
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert SCRIPT in found.text  # it is told, as the text that it is
    assert json.loads(found.data) == json.loads(report.data)


def test_nothing_is_fetched() -> None:
    for text in (page(evil()), page(build(gathered(demonstration=demonstration())))):
        found = Parsed(text)
        names = {name for _, attributes in found.elements for name in attributes}
        assert not names & {"src", "href", "srcset", "xlink:href", "data", "action", "background", "poster", "style"}
        assert not {tag for tag, _ in found.elements} & {"link", "iframe", "object", "embed", "img", "base", "use", "a"}
        assert not re.search(r"url\(|@import|http", found.style)
        policy = next(a["content"] for _, a in found.elements if a.get("http-equiv") == "Content-Security-Policy")
        assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_it_is_made_for_phones_for_the_dark_and_for_paper() -> None:
    found = parsed()
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in found.elements
    assert "prefers-color-scheme: dark" in found.style and "@media print" in found.style
    defined = set(re.findall(r"(--\w+):", found.style))
    assert set(re.findall(r"var\((--\w+)\)", found.style)) <= defined
    used = {one for _, a in found.elements for one in (a.get("class") or "").split()}
    assert {one for one in used if f".{one}" not in found.style} <= {"label"}


def test_the_digest_that_is_shown_is_that_of_the_data_which_is_embedded() -> None:
    report = build(gathered())
    found = Parsed(page(report))
    text = json.dumps(json.loads(found.data), sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == report.digest
    assert report.digest in found.text


def test_the_digest_is_checked_as_the_document_says(tmp_path: Path) -> None:
    document = Path(__file__).parents[4] / "docs" / "journey.md"
    [code] = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    report = evil()
    file = tmp_path / "report.html"
    file.write_text(page(report), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == report.digest, done.stderr


def test_what_could_not_be_had_stands_at_the_top() -> None:
    told = parsed(log="it could not be read: no right", runs={BUS: LastRun(job="t-1", problem="it is gone")}).text
    assert told.index("it could not be read: no right") < told.index("Timeline")
    assert "event_bus: it is gone" in told


def test_a_stack_that_never_moved_has_a_page_too() -> None:
    told = parsed(log=(), routes={}, runs={}).text
    assert "No transition is told of yet." in told and "Nobody asked" in told


@pytest.mark.parametrize("seconds", [0, 30, 86_400 * 90])
def test_a_timeline_of_any_length_stays_within_its_frame(seconds: int) -> None:
    start, end = at(0), at(0) + timedelta(seconds=seconds)
    lane = charts.Lane(
        "bus", [charts.Span(start, end, "mvp", "mvp")], [charts.Mark(end + timedelta(hours=1), "good", "m")]
    )
    found = Parsed(charts.timeline([lane], start, end))
    [frame] = [a for tag, a in found.elements if tag == "svg"]
    width, height = map(int, (frame["viewbox"] or "").split()[2:])
    for tag, attributes in found.elements:
        if tag == "rect":
            left, wide = float(attributes["x"] or 0), float(attributes["width"] or 0)
            assert left >= 0 and left + wide <= width and wide > 0
            assert float(attributes["y"] or 0) + float(attributes["height"] or 0) <= height


def test_bars_are_on_one_scale_and_none_is_negative() -> None:
    found = Parsed(charts.bars([charts.Bar("a", 10, "10 s"), charts.Bar("b", 5, "5 s"), charts.Bar("c", -1, "?")]))
    widths = [float(a["width"] or 0) for tag, a in found.elements if tag == "rect"]
    assert widths[0] == pytest.approx(2 * widths[1]) and widths[2] == 1.0
    assert charts.bars([])


def test_elements_escape_what_is_none() -> None:
    assert el("p", "<b>", el("i", "&"), title='"<') == '<p title="&quot;&lt;">&lt;b&gt;<i>&amp;</i></p>'
    assert el("rect", x=1, class_="a", font_size=2, y=None) == '<rect x="1" class="a" font-size="2"/>'
    assert join("<", Html("<br/>"), 1) == "&lt;<br/>1"
