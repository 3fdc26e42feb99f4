"""`crossover dead-letters`: what it runs, what it makes of the answer, and its exit status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.routes.jobs import as_client
from cli import dead_letters, pod_reports
from cli.__main__ import app
from cli.errors import CliError

LETTER = {
    "id": "L1", "at": "2026-01-01T00:00:00Z", "group": "engine", "cause": "no [bar]", "attempts": 5,
    "event_id": "E1", "key": "AAPL", "type": "t", "bytes": 3, "replays": 0,
}  # fmt: skip


class Jobs:
    """Answers a run with `answer`, and remembers what was to be run."""

    answer: tuple[int, str] = (0, "")
    asked: tuple[str, ...] = ()

    def __init__(self, api: Any, namespace: str) -> None:
        self.namespace = namespace

    def run_as_client(self, name: str, command: list[str]) -> tuple[int, str]:
        Jobs.asked = (name, *command)
        return Jobs.answer


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "connect", lambda context: None)
    monkeypatch.setattr(dead_letters, "KubernetesJobs", Jobs)


def run(*arguments: str, answer: dict[str, Any], code: int = 0) -> tuple[int, str]:
    Jobs.answer = (code, "a warning on the way\n" + json.dumps(answer))
    result = CliRunner().invoke(app, ["dead-letters", *arguments])
    return result.exit_code, result.output


def test_a_list_names_cause_count_and_the_command_that_replays() -> None:
    code, text = run("list", "market_data", answer={"topic": "market_data", "error": "", "letters": [LETTER]})
    assert code == 0
    assert Jobs.asked == ("dead-letters", "python", "-m", "services.dead_letters", "list", "market_data")
    for part in ("no [bar]", "5 attempts", "event E1 of key AAPL", "crossover dead-letters replay market_data"):
        assert part in text


def test_a_replay_passes_on_what_was_asked_for_and_the_exit_status() -> None:
    report = {"topic": "t", "error": "", "letters": [LETTER], "passed_over": [], "replayed": [], "failed": {"L1": "no"}}
    code, text = run(
        "replay", "t", "--group", "engine", "--id", "L1", "--id", "E2", "--again", answer=report, code=1
    )  # fmt: skip
    assert code == 1
    assert Jobs.asked[4:] == ("replay", "t", "--group", "engine", "--id", "L1", "--id", "E2", "--again")
    assert "failed L1: no" in text and "0 of 1 events of t were replayed" in text


def test_a_preview_says_what_would_be_done() -> None:
    code, text = run(
        "replay", "t", "--preview", answer={"topic": "t", "error": "", "letters": [LETTER], "passed_over": []}
    )
    assert (code, Jobs.asked[-1]) == (0, "--preview")
    assert "1 events of t would be replayed" in text


def test_for_machines_the_report_is_passed_on_as_it_is() -> None:
    report = {"topic": "u", "error": "topic 'u.dead_letter' is not configured"}
    code, text = run("list", "u", "--json", answer=report, code=2)
    assert code == 2
    assert json.loads(text) == report


def test_a_pod_that_said_nothing_is_told_as_such() -> None:
    with pytest.raises(CliError, match="gave no report: Traceback"):
        pod_reports.report_of("Traceback ...\n{broken", "look at it")


def test_the_pod_is_a_client_of_the_bus_and_no_cutover() -> None:
    container = {"name": "c", "image": "i", "command": ["python", "-m", "cutover"], "args": ["--stage", "mvp"],
                 "envFrom": [{"secretRef": {"name": "crossover-cutover"}}]}  # fmt: skip
    pod = {
        "metadata": {"labels": {"app": "crossover-cutover", "crossover.dev/transition": "event-bus"}},
        "spec": {
            "containers": [container],
            "serviceAccountName": "crossover-cutover",
            "serviceAccount": "crossover-cutover",
        },
    }
    made = as_client({"spec": {"template": pod}}, "dead-letters-", ["python", "-m", "services.dead_letters", "list"])
    assert "cutover" not in json.dumps(made)
    template = made["spec"]["template"]
    assert template["metadata"]["labels"] == {"app": "dead-letters", "crossover.dev/adapter": "event-bus"}
    [changed] = template["spec"]["containers"]
    assert [*changed["command"], *changed["args"]] == ["python", "-m", "services.dead_letters", "list"]
