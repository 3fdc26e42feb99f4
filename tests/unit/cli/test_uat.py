"""The report of `crossover uat`: when it is accepted, what it is held against, and that it is text and no more."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from adapters.routes.audit import MemoryAudit
from adapters.routes.base import RouteUnavailable
from adapters.routes.memory import MemoryRouteStore
from adapters.routes.service_calls import Direct, Proxied
from cli.auditing import Trail
from cli.errors import CliError
from cli.uat import command
from cli.uat.model import Expectation, Outcome, UatReport
from cli.uat.page import page
from contracts.audit import Kind
from contracts.routes import Route
from contracts.stages import Component, Stage

STAGES = {component.value: "mvp" for component in Component}


def expectation(outcome: Outcome = "holds", **changes: Any) -> Expectation:
    made = Expectation(who="A trader", expects="Orders are found.", test="test_orders", outcome=outcome, seconds=0.5)
    return made.model_copy(update=changes)


def report(*expectations: Expectation, **changes: Any) -> UatReport:
    made = UatReport(
        stack="local", by="ann@desk", began="2026-05-01T12:00:00Z", ended="2026-05-01T12:01:00Z", stages=STAGES,
        expectations=expectations, seen={"orders": {"7": {"key": "X"}}},
    )  # fmt: skip
    return made.model_copy(update=changes)


@pytest.mark.parametrize(
    ("outcomes", "moved", "accepted"),
    [
        (["holds", "holds"], False, True),
        (["holds", "not asked"], False, True),
        (["holds", "does not hold"], False, False),
        (["not asked"], False, False),
        ([], False, False),
        (["holds"], True, False),
    ],
)
def test_only_what_was_asked_and_holds_at_one_stage_is_accepted(
    outcomes: list[Outcome], moved: bool, accepted: bool
) -> None:
    made = report(*(expectation(outcome) for outcome in outcomes), moved=moved)
    assert made.accepted is accepted
    assert json.loads(made.to_json())["accepted"] is accepted


def test_a_report_is_read_again_and_one_that_was_changed_is_not() -> None:
    made = report(expectation())
    assert UatReport.read(made.to_json()) == made
    with pytest.raises(CliError, match="was changed since"):
        UatReport.read(made.to_json().replace('"X"', '"Y"'))
    for text in ("", "[]", "{}", '{"version": 1}'):
        with pytest.raises(CliError, match="no report"):
            UatReport.read(text)


def test_the_page_says_who_when_at_which_stages_and_escapes_what_services_said() -> None:
    made = report(expectation("does not hold", detail="</script><b>500</b>"), stages=STAGES | {"database": "scale"})
    told = page(made)
    assert all(words in told for words in ("ann@desk", "12:00:00Z", "Not accepted", "scale", made.digest, "A trader"))
    assert "<b>" not in told and told.count("</script>") == 1
    assert "default-src" in told and "http" not in told.replace("http-equiv", "")


@pytest.mark.parametrize("given", ["trading-engine", "trading-engine=ftp://x", "nobody=http://x", "=http://x"])
def test_an_address_of_no_service_is_refused(given: str) -> None:
    with pytest.raises(CliError, match="no service's address"):
        command.addresses([given])
    assert command.addresses(["trading-engine=http://h:1"]) == {"trading-engine": "http://h:1"}


def test_stages_are_those_of_the_routes_and_what_is_not_known_is_said() -> None:
    route = Route(component=Component.DATABASE, stage=Stage.SCALE, active="selfhosted", epoch=2)
    told = command.stages_of(MemoryRouteStore(route, create=False))
    assert told == dict.fromkeys(STAGES, "not deployed") | {"database": "scale"}


def test_a_service_that_does_not_answer_is_told_apart_from_one_that_refuses() -> None:
    with pytest.raises(RouteUnavailable, match="no answer"):
        Direct("http://127.0.0.1:1").ask("GET", "/readyz", seconds=1)
    with pytest.raises(ValueError, match="no address"):
        Direct("file:///etc/passwd")


class Api:
    """An API server whose proxy answers with a status and a body. Of `kubernetes.client.ApiClient`, what is called."""

    def __init__(self, status: int, body: str) -> None:
        self.status, self.body = status, body
        self.asked: list[tuple[Any, ...]] = []

    def param_serialize(self, *words: Any, **more: Any) -> tuple[Any, ...]:
        self.asked.append((*words, more["query_params"], more["body"]))
        return ()

    def call_api(self, *_: Any, **__: Any) -> Any:
        if self.status != 200:
            error = ApiException(status=self.status, reason="as asked for")
            error.body = self.body
            raise error
        return SimpleNamespace(read=lambda: None)

    def response_deserialize(self, *_: Any) -> Any:
        return SimpleNamespace(data=self.body.encode(), headers={})


@pytest.mark.parametrize("status", [200, 400, 404, 409, 422, 503])
def test_what_a_service_says_through_the_proxy_is_what_it_said(status: int) -> None:
    api = Api(status, '{"error": {"message": "no"}}')
    answer = Proxied(api, "trading", "trading-engine").ask("POST", "/orders?limit=2&key=X", {"a": 1})
    assert (answer.status, answer.content) == (status, {"error": {"message": "no"}})
    path = "/api/v1/namespaces/trading/services/trading-engine:8000/proxy/orders"
    assert api.asked == [("POST", path, [("limit", "2"), ("key", "X")], {"a": 1})]


def test_the_audit_log_is_told_what_came_of_it_at_which_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = MemoryAudit()
    monkeypatch.setattr("cli.uat.command.Trail", lambda stack, context: Trail(stack, context, tmp_path, lambda: log))
    made = report(expectation(), expectation("not asked"))
    command._note(made, None)
    (entry,) = log.entries()
    assert (entry.kind, entry.component) == (Kind.ACCEPTANCE, "")
    assert entry.data["outcome"] == "accepted" and entry.data["digest"] == made.digest
    assert entry.data["counts"] == {"holds": 1, "not asked": 1} and entry.data["stages"] == STAGES
    command._note(report(stages=dict.fromkeys(STAGES, "not known: no cluster is asked")), None)
    assert len(list(log.entries())) == 1
