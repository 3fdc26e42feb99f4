"""What the console shows, from what was asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cli.console.page import Shape, page, sections
from cli.console.picture import Picture, Sample, Shown, alerts, duration, held_for, line_of, paces, run_of, stalls
from cli.report.model import StepTime
from cli.status import judge
from contracts.audit import Kind, moment
from contracts.registry import PROTOCOL_VERSION, AdapterRecord
from contracts.stages import Component, Stage
from cutover.carrier.telling import Carried
from tests.browser.histories import BUS, DATABASE, NOW, WANTED, routes, told
from tests.unit.cli.report.migrations import SCRIPT, Told
from tests.unit.cli.report.test_page import EVIL, Parsed

LIVE = routes()


def shown(component: Component = BUS, wanted: Stage | None = None, **changes: object) -> Shown:
    row = judge(component, wanted or WANTED[component], LIVE[component], (), now=NOW)
    return Shown(status=row, seen=moment(NOW)).model_copy(update=changes)


def texts(one: Shown) -> list[tuple[str, str]]:
    return [(alert.severity, alert.text) for alert in alerts(one)]


def test_what_is_in_step_alerts_nobody() -> None:
    assert texts(shown()) == []


def test_what_is_out_of_step_or_cannot_be_read_is_for_now() -> None:
    assert texts(shown(wanted=Stage.MVP)) == [("page", "out of step: scale is active, config asks for mvp")]
    assert texts(shown(trouble="no answer")) == [("page", "cannot be read: no answer")]


def test_a_comparison_that_failed_or_is_old_is_for_later() -> None:
    [(severity, text)] = texts(shown(DATABASE))
    assert severity == "ticket" and "trading.orders: 1 row differs" in text
    row = judge(BUS, Stage.SCALE, LIVE[BUS], (), now=NOW + timedelta(hours=30))
    assert texts(Shown(status=row, seen="")) == [("ticket", "comparison holds, 30.7 h old: stale, the limit is 24 h")]


def test_the_carrier_and_lag_have_the_limits_of_the_alert_rules() -> None:
    told = Carried(behind_seconds=61, safe_bytes=100_000_000, error="Conflict", unfollowed="a.b")
    row = judge(DATABASE, Stage.SHADOW, LIVE[DATABASE], (), carried={"hosted": told}, now=NOW)
    row = row.model_copy(update={"compared": None, "comparison": ""})
    assert texts(Shown(status=row, seen="")) == [
        ("page", "the carrier of hosted stands still: Conflict"),
        ("page", "the slot at hosted is lost after 100 MB more of WAL"),
        ("ticket", "selfhosted is 61 s behind hosted"),
        ("page", "rows are not carried, for their tables are new: a.b"),
    ]
    fine = Carried(behind_seconds=59, safe_bytes=300_000_000)
    row = judge(DATABASE, Stage.SHADOW, LIVE[DATABASE], (), carried={"hosted": fine}, now=NOW)
    assert [severity for severity, _ in texts(Shown(status=row, seen=""))] == ["ticket"]
    record = AdapterRecord("pod", "bus", 1, PROTOCOL_VERSION, 0.0, {"t/far": 10_001, "t/near": 10_000})
    row = judge(BUS, Stage.SCALE, LIVE[BUS], [record], now=NOW)
    assert texts(Shown(status=row, seen="")) == [("ticket", "t/far is 10001 events behind")]


def test_the_most_urgent_stands_first_and_all_lost_is_lost() -> None:
    both = Picture(stack="x", at="", components=(shown(DATABASE), shown(wanted=Stage.MVP)))
    assert [alert.severity for alert in both.alerts] == ["page", "ticket"]
    away = shown(trouble="no answer")
    assert Picture(stack="x", at="", components=(away, shown(DATABASE))).lost == ""
    assert Picture(stack="x", at="", components=(away, away)).lost == "no answer"
    assert Picture(stack="x", at="", components=()).lost == ""


def step(name: str, seconds: float) -> StepTime:
    return StepTime(transition="a -> b", step=name, outcome="holds", seconds=seconds)


def test_traffic_is_held_from_the_fence_to_the_opening() -> None:
    whole = [step("preflight", 9), step("fence", 0.1), step("drain", 0.2), step("open", 0.05), step("watch", 10)]
    assert held_for(whole) == pytest.approx(0.35)
    assert held_for(whole[:3]) == pytest.approx(0.3)  # undone before it opened
    assert held_for([step("preflight", 9), step("open", 1)]) is None  # nothing is fenced
    assert held_for([step("break_off", 1), step("flee", 0.5), step("count", 7)]) == pytest.approx(1.5)


def test_the_last_stall_of_each_component_is_told() -> None:
    found = stalls(told().log.entries())
    assert found[BUS] == "shadow → scale held traffic for 150 ms"
    assert found[DATABASE].startswith("scale → shadow held traffic for")
    assert Component.LLM_SERVICE not in found
    slow = Told()
    slow.move(1, "shadow", "scale", steps=[step("fence", 2.0).model_dump()])
    assert stalls(slow.log.entries())[BUS] == "shadow → scale held traffic for at most 2 s"


def test_how_long_it_takes_follows_from_the_pace() -> None:
    samples = [Sample(0, {"a": 1000, "b": 10, "c": 5}), Sample(10, {"a": 900, "b": 20, "c": 5, "new": 1})]
    assert paces(samples) == ("a: in step in 2 min at this pace", "b: it grows")
    assert paces(samples[:1]) == () and paces([]) == ()
    assert paces([Sample(0, {"a": 9}), Sample(1, {"a": 1})]) == ()  # too short to tell
    assert paces([Sample(0, {"a": 9}), Sample(10, {})]) == ()  # in step
    assert (duration(12.4), duration(600), duration(7200)) == ("12 s", "10 min", "2.0 h")


def test_a_run_tells_its_last_lines_and_how_much_is_copied() -> None:
    output = "\n".join(
        [*(f"line {n}" for n in range(20)), "    12%: x", "    37%: 4 of 11 tables, 52 s left", '{"version": 1}', ""]
    )
    found = run_of("job-1", output)
    assert found.share == 37 and len(found.lines) == 8 and found.lines[-1].endswith("52 s left")
    assert run_of("job-1", "fence holds\n").share is None
    assert run_of("job-1", "") == run_of("job-1", "\n")
    assert "hush" not in run_of("job-1", "postgresql://app:hush@db/x is away").lines[0]


def test_an_entry_is_told_without_passwords_and_bounded() -> None:
    log = Told()
    entry = log.tell(1, Kind.APPROVED, BUS, "ann", asked="Move event_bus now?", detail="x" * 3000)
    line = line_of(entry)
    assert line.text.startswith("Move event_bus now?") and len(line.text) <= 400
    assert (line.component, line.kind, line.actor, line.at[11:16]) == ("event_bus", "approved", "ann", "12:01")


def evil() -> Picture:
    """Every text that comes from elsewhere would do harm."""
    log = Told()
    log.tell(1, Kind.HELD, None, EVIL, detail=EVIL, reason=EVIL)
    log.log.append(EVIL, EVIL, EVIL, {"asked": EVIL})
    row = judge(BUS, Stage.SCALE, None, (), problem=EVIL).model_copy(
        update={"serves": EVIL, "last_verdict": EVIL, "since": EVIL, "lag": {EVIL: 20_000}}
    )
    told = {"status": row, "trouble": EVIL, "stall": EVIL, "paces": (EVIL,), "run": run_of(EVIL, EVIL)}
    bad = Shown(status=row, seen=EVIL).model_copy(update=told)
    lines = tuple(line_of(entry) for entry in log.log.entries())
    return Picture(stack=EVIL, at=EVIL, components=(bad, bad), log=lines, troubles=(EVIL,))


@pytest.mark.parametrize("shape", [Shape(), Shape(acts=True), Shape(closed=True)])
def test_no_text_becomes_html(shape: Shape) -> None:
    found = Parsed(page(evil(), shape))
    tags = [tag for tag, _ in found.elements]
    assert "img" not in tags
    assert [a for tag, a in found.elements if tag == "script"] == [{"src": "/console.js", "defer": "defer"}]
    assert not [name for _, a in found.elements for name in a if name.startswith("on") or name == "style"]
    assert found.style == "" and found.data == ""
    assert SCRIPT in found.text  # it is told, as the text that it is
    assert ("dialog" in tags) is (shape.acts or shape.closed)


def test_buttons_are_there_only_where_the_page_may_act() -> None:
    picture = Picture(stack="x", at="", components=tuple(shown(component) for component in Component))

    def buttons(shape: Shape) -> list[tuple[str | None, str | None]]:
        told = Parsed(f"<div>{sections(picture, shape)['components']}</div>").elements
        return [(a["data-component"], a["data-act"]) for tag, a in told if tag == "button"]

    assert buttons(Shape()) == [] and buttons(Shape(closed=True)) == []
    assert "<dialog" not in page(picture, Shape())
    found = buttons(Shape(acts=True))
    assert [act for component, act in found if component == "event_bus"] == ["migrate", "rollback", "emergency"]
    assert [act for component, act in found if component == "llm_service"] == ["migrate", "rollback"]


def test_before_anything_was_read_it_says_so() -> None:
    assert "The cluster is asked ..." in page(Picture(stack="x", at=moment(NOW), components=()), Shape())


def test_a_closed_page_has_nothing_of_the_state_in_it() -> None:
    picture = Picture(stack="x", at=moment(NOW), components=(shown(),), troubles=("a trouble",))
    text = page(picture, Shape(closed=True))
    assert "kafka" not in text and "a trouble" not in text and "2026" not in text
    assert "kafka" in page(picture, Shape())
