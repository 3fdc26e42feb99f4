"""The verdict at the laptop, from what a Transition Job really prints."""

from __future__ import annotations

from components.verdict import missing, report
from contracts.stages import Component, Stage
from cutover.reporting import as_json, summary
from cutover.run import HOLDS, Outcome, StepRecord

BUS = Component.EVENT_BUS


def _log(outcome: Outcome) -> str:
    return "\n".join(["event_bus: shadow -> scale", "{not json", summary(BUS, outcome), as_json(BUS, outcome), ""])


def test_the_table_names_stage_verdict_and_steps() -> None:
    records = [
        StepRecord("shadow -> scale", "fence", HOLDS, "3 adapters", 0.12),
        StepRecord("shadow -> scale", "open", HOLDS, "", 0.03),
    ]
    text = report(BUS, _log(Outcome(Stage.SCALE, Stage.SCALE, HOLDS, "", records)))
    assert text is not None
    lines = text.splitlines()
    assert lines[0] == "event_bus: VERDICT holds, at scale"
    assert lines[1].strip() == "shadow -> scale"
    assert lines[2].split() == ["fence", "holds", "0.120", "s"]
    assert lines[3].split() == ["open", "holds", "0.030", "s"]


def test_a_run_with_nothing_to_do_says_so() -> None:
    text = report(BUS, _log(Outcome(Stage.MVP, Stage.MVP)))
    assert text is not None
    assert "nothing to do" in text


def test_a_log_without_a_verdict_is_not_a_pass() -> None:
    assert report(BUS, "some line\n{}\n") is None
    assert report(BUS, _log(Outcome(Stage.MVP, Stage.MVP)).replace("event_bus", "database")) is None
    assert "could not be read" in missing(BUS, "trading", "j")
    assert "kubectl logs -n trading job/j" in missing(BUS, "trading", "j")
