"""What the child that asks Kafka came to, as its parent tells it."""

from __future__ import annotations

import json
import sys

import pytest

from adapters.event_bus import kafka_operations
from adapters.event_bus.errors import AccessDenied, BackendUnavailable, EventBusError
from adapters.event_bus.kafka_client import KafkaAddress

ADDRESS = KafkaAddress("broker:9092", "cutover", "hunter2")


def child(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let this Python program answer in the child's place."""
    monkeypatch.setattr(kafka_operations, "_CHILD", (sys.executable, "-c", program))


def test_the_question_goes_through_the_pipe_and_the_answer_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    answering = (
        "import json, os, sys; question = json.load(sys.stdin);"
        "assert question['address']['password'] == 'hunter2' and 'hunter2' not in str((sys.argv, dict(os.environ)));"
        "print(json.dumps({'operations': {name: ['READ'] for name in question['topics']}}))"
    )
    child(monkeypatch, answering)
    assert kafka_operations.own_operations(ADDRESS, ["a", "b"]) == {"a": {"READ"}, "b": {"READ"}}


def test_a_child_that_aborts_says_that_no_broker_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, "import os; os.abort()")
    with pytest.raises(BackendUnavailable, match="names no live broker"):
        kafka_operations.own_operations(ADDRESS, [])


@pytest.mark.parametrize(("kind", "raised"), [("AccessDenied", AccessDenied), ("", EventBusError)])
def test_an_error_of_the_child_is_raised_here(
    monkeypatch: pytest.MonkeyPatch, kind: str, raised: type[EventBusError]
) -> None:
    child(monkeypatch, f"print({json.dumps({'error': kind, 'text': 'no'})!r})")
    with pytest.raises(raised, match="no"):
        kafka_operations.own_operations(ADDRESS, [])


def test_a_child_that_fails_is_told_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, "import sys; sys.exit('no such module')")
    with pytest.raises(EventBusError, match="no such module") as told:
        kafka_operations.own_operations(ADDRESS, [])
    assert "hunter2" not in str(told.value)
