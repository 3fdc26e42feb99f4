"""`crossover strays`: what it runs, what it makes of the answer, and its exit status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import strays
from cli.__main__ import app
from cli.errors import CliError
from contracts.stages import Component

STRAY = {
    "name": "0/1A2B",
    "side": "hosted",
    "lines": ["0/1A2B at hosted", "    bank.note (id = '9'): only by the stray"],
}


class Jobs:
    """Answers a run with `answer`, and remembers what was to be run."""

    answer: tuple[int, str] = (0, "")
    asked: tuple[Any, ...] = ()

    def __init__(self, api: Any, namespace: str) -> None:
        self.namespace = namespace

    def run_beside(self, component: Component, name: str, command: list[str]) -> tuple[int, str]:
        Jobs.asked = (component, name, *command)
        return Jobs.answer


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "connect", lambda context: None)
    monkeypatch.setattr(strays, "KubernetesJobs", Jobs)
    monkeypatch.setenv("LOGNAME", "ann")


def run(*arguments: str, code: int = 0, **answer: Any) -> tuple[int, str]:
    report = {"action": "list", "strays": [], "settled": [], "error": ""} | answer
    Jobs.answer = (code, "a warning on the way\n" + json.dumps(report))
    result = CliRunner().invoke(app, ["strays", *arguments])
    return result.exit_code, result.output


def test_a_list_tells_each_row_and_what_settles_them() -> None:
    code, text = run("database", strays=[STRAY])
    assert code == 0 and Jobs.asked[:6] == (Component.DATABASE, "strays", "python", "-m", "cutover.strays", "list")
    for part in ("bank.note (id = '9')", "crossover strays database --apply", "crossover strays database --discard"):
        assert part in text
    assert "no stray" in run("database")[1]


@pytest.mark.parametrize("action", ["apply", "discard"])
def test_what_is_settled_is_named_with_whose_decision_it_was(action: str) -> None:
    settled = [{"name": "0/1A2B", "side": "hosted", "verdict": "applied"}]
    code, text = run("database", f"--{action}", "--stray", "0/1A2B", action=action, strays=[STRAY], settled=settled)
    assert code == 0 and Jobs.asked[5:8] == (action, "--stray", "0/1A2B")
    assert Jobs.asked[-2] == "--by" and Jobs.asked[-1].startswith("ann@")
    assert "applied: 0/1A2B at hosted" in text and "1 of 1 strays were settled" in text


def test_an_error_is_told_and_passed_on() -> None:
    code, text = run("database", "--apply", code=1, action="apply", error="it emptied t (TRUNCATE)")
    assert code == 1 and "error: it emptied t" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("event_bus",), "event_bus has no strays"),
        (("database", "--apply", "--discard"), "exclude each other"),
        (("database", "--stray", "0/1"), "add --apply or --discard"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], told: str) -> None:
    Jobs.asked = ()
    result = CliRunner().invoke(app, ["strays", *arguments])
    assert isinstance(result.exception, CliError) and told in f"{result.exception} {result.exception.fix}"
    assert Jobs.asked == ()


def test_for_machines_the_report_is_passed_on_as_it_is() -> None:
    code, text = run("database", "--json", strays=[STRAY])
    assert code == 0 and json.loads(text)["strays"] == [STRAY]
