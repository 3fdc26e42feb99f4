"""What `validate --all` makes of what components and services say."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from typer.testing import CliRunner

from adapters.routes.base import RouteMissing, RouteUnavailable
from cli.__main__ import app
from cli.errors import CliError
from cli.validating import Finding, answered, gathered, shown
from contracts.stages import Component
from validation.result import Check, Report

BUS, DATABASE = Component.EVENT_BUS, Component.DATABASE


def found(said: Mapping[Component, str | Exception], services: Mapping[str, str | Exception | None]) -> list[Finding]:
    def of_component(component: Component) -> str:
        answer = said[component]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def of_service(service: str) -> str | None:
        answer = services[service]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return gathered(of_component, of_service, list(said), list(services))


def report(verdict: str, message: str = "") -> str:
    return f"  ok  redis: reachable\n{json.dumps({'verdict': verdict, 'message': message})}"


def test_all_that_holds_is_told_services_first() -> None:
    rows = found({BUS: report("holds"), DATABASE: report("holds")}, {"market-feed": None})
    assert [(row.of, row.kind, row.verdict) for row in rows] == [
        ("market-feed", "service", "holds"), ("event_bus", "component", "holds"), ("database", "component", "holds")
    ]  # fmt: skip
    assert all(row.holds for row in rows)


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (report("does not hold", "lag"), "does not hold", "lag"),
        (RouteMissing("no Transition"), "could not be checked", "no Transition"),
        ("killed", "could not be checked", "the pod gave no report: killed"),
        ("{broken", "could not be checked", "the pod gave no report: {broken"),
    ],
)
def test_one_that_does_not_hold_keeps_no_other_from_being_checked(
    said: str | Exception, verdict: str, detail: str
) -> None:
    bus, database = found({BUS: said, DATABASE: report("holds")}, {})
    assert (bus.verdict, bus.detail, database.holds) == (verdict, detail, True)


def test_a_service_tells_why_it_is_not_ready() -> None:
    rows = found({}, {"a": '{"reasons": {"bus": "no route"}}', "b": RouteUnavailable("refused"), "c": None})
    assert [row.verdict for row in rows] == ["does not hold", "could not be checked", "holds"]
    assert "no route" in rows[0].detail
    assert shown(rows).row_count == 3


def test_recorded_traffic_is_told_by_service_with_what_is_not_the_same() -> None:
    checks = (
        Check.that("b GET /x", True, expected="", found=""),
        Check.that("a GET /x", False, expected="", found="", detail="items.0.price: 1 -> 2"),
        Check.unknown("a GET /y", expected="", why="nobody is there"),
        Check.unknown("c GET /x", expected="", why="nobody is there"),
    )
    rows = answered(Report(subject="traffic", checks=checks))
    assert [(row.of, row.kind, row.verdict) for row in rows] == [
        ("a", "traffic", "does not hold"), ("b", "traffic", "holds"), ("c", "traffic", "could not be checked")
    ]  # fmt: skip
    assert rows[0].detail == "2 of 2: a GET /x: items.0.price: 1 -> 2"
    assert answered(Report(subject="traffic", checks=())) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["validate"], "no component was given"),
        (["validate", "event_bus", "--json"], "--json says something of --all only"),
        (["validate", "event_bus", "--traffic", "x"], "--traffic says something of --all only"),
        (["validate", "--all", "--traffic", "nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["validate", "--all", "--report", "x.html"], "--report is of backtesting alone"),
        (["validate", "database", "rows"], "database has no checks by name"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], says: str) -> None:
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, CliError)
    assert says in str(result.exception)
