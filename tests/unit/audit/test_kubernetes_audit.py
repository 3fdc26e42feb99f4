"""The audit log in ConfigMaps keeps the contract, over HTTP as the real API server speaks it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.routes.audit import Segments
from adapters.routes.base import RouteUnavailable
from adapters.routes.kubernetes_audit import KubernetesAudit, KubernetesSegments
from contracts.audit import Kind
from tests.contract.audit_contract import AuditContract
from tests.unit.audit.config_maps import NAMESPACE, ConfigMaps


@pytest.fixture
def server() -> Iterator[ConfigMaps]:
    with ConfigMaps() as made:
        # What the cluster puts into every namespace, and what somebody else did.
        made.put("kube-root-ca.crt", {"metadata": {}, "data": {"ca.crt": "x"}})
        made.put("crossover-audit-notes", {"metadata": {}, "data": {}})
        yield made


class TestKubernetesAudit(AuditContract):
    @pytest.fixture
    def segments(self, server: ConfigMaps) -> Segments:
        return KubernetesSegments(NAMESPACE, server.api())


def test_who_appends_gets_creates_and_updates_and_nothing_else(server: ConfigMaps) -> None:
    log = KubernetesAudit(NAMESPACE, server.api())
    for _ in range(3):
        log.append(Kind.HELD, "", "ann", {"detail": "x"})
        next(iter(log.latest()))
    assert all(name for verb, name in server.asked if verb == "GET"), "who appends may not list"
    assert {verb for verb, _ in server.asked} == {"GET", "POST", "PUT"}


def test_all_pages_of_segments_are_read(server: ConfigMaps) -> None:
    segments = KubernetesSegments(NAMESPACE, server.api())
    for number in range(1, 26):
        segments.create(number, "")
    assert [one.number for one in segments.all()] == list(range(1, 26))


@pytest.mark.parametrize("status", [403, 500])
def test_a_log_that_may_not_be_written_is_an_error_at_once(server: ConfigMaps, status: int) -> None:
    server.refuses = status
    with pytest.raises(RouteUnavailable, match=str(status)):
        KubernetesAudit(NAMESPACE, server.api()).append(Kind.HELD, "", "ann", {})
    assert len(server.asked) == 1
