"""What a cutover asks of Kafka, where Kafka is not of one mind yet."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.event_bus import kafka_admin
from adapters.event_bus.errors import AccessDenied
from adapters.event_bus.kafka_admin import KafkaAdmin
from adapters.event_bus.kafka_client import KafkaAddress, KafkaError


def admin_that_is_told(monkeypatch: pytest.MonkeyPatch, *answers: tuple[list[str], list[int]]) -> KafkaAdmin:
    """An admin whose question for groups is answered so, one after the other: ids, and error codes of brokers."""
    left = iter(answers)

    def listed(**_: Any) -> Future[Any]:
        ids, codes = next(left)
        answer: Future[Any] = Future()
        answer.set_result(
            SimpleNamespace(valid=[SimpleNamespace(group_id=i) for i in ids], errors=[KafkaError(c) for c in codes])
        )
        return answer

    monkeypatch.setattr(kafka_admin, "login_refused", lambda _: pytest.fail("who answered took the login"))
    monkeypatch.setattr(
        "adapters.event_bus.kafka_client.admin.AdminClient", lambda _: SimpleNamespace(list_consumer_groups=listed)
    )
    return KafkaAdmin(KafkaAddress("broker:9092"), "test")


def test_groups_are_asked_for_again_while_a_coordinator_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = KafkaError.COORDINATOR_LOAD_IN_PROGRESS
    admin = admin_that_is_told(monkeypatch, ([], [loading]), (["a"], [loading]), (["a", "b"], []))
    assert admin.groups() == ["a", "b"]


def test_groups_that_may_not_be_listed_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = admin_that_is_told(monkeypatch, ([], [KafkaError.GROUP_AUTHORIZATION_FAILED]))
    with pytest.raises(AccessDenied):
        admin.groups()
