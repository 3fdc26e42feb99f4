"""What status makes of config, route and adapters."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.event_bus.base import LogSettings
from adapters.event_bus.factory import fixed_route
from adapters.routes.base import RouteUnavailable, Versioned
from adapters.routes.jobs import after_pattern
from adapters.routes.memory import MemoryRegistry, MemoryRouteStore
from cli.__main__ import app
from cli.declared import declared, emergencies, verdict_hours, wanted_stages
from cli.errors import CliError
from cli.stack import changes, plain
from cli.status import gather, judge, lines, table
from contracts.registry import PROTOCOL_VERSION, AdapterRecord
from contracts.routes import Fence, HistoryEntry, Progress, Route, Stranded
from contracts.stages import Component, Stage, serving_backend
from cutover.carrier.telling import Carried, Telling
from cutover.database.reached import Reached
from cutover.plan import WATCH_FAILED
from cutover.positions import WAL, carried
from validation.result import Verdict
from validation.verdicts import KeptVerdict

WANTED = dict.fromkeys(Component, Stage.MVP)


def route(**changes: object) -> Route:
    return fixed_route("redis", LogSettings(topics=("t",))).model_copy(update=changes)


def adapter(**lag: int) -> AdapterRecord:
    return AdapterRecord("pod", "bus", 1, PROTOCOL_VERSION, 0.0, {f"t/{group}": count for group, count in lag.items()})


def test_a_component_at_the_wanted_stage_is_in_step_and_its_lag_is_the_largest_told() -> None:
    row = judge(Component.EVENT_BUS, Stage.MVP, route(), [adapter(a=3), adapter(a=5, b=1)])
    assert (row.state, row.active, row.serves, row.epoch, row.adapters) == ("in step", Stage.MVP, "redis", 1, 2)
    assert row.lag == {"t/a": 5, "t/b": 1}


def test_a_failed_switch_is_out_of_step_and_says_why() -> None:
    entry = HistoryEntry(
        at="2026-01-01T00:00:00Z",
        from_stage=Stage.SHADOW,
        to_stage=Stage.SCALE,
        epoch=2,
        outcome="undone",
        detail="why",
    )
    row = judge(Component.EVENT_BUS, Stage.SCALE, route(history=(entry,)), [])
    assert (row.state, row.note, row.last_verdict) == ("out of step", "why", "undone (scale)")


def test_a_switch_that_could_not_be_switched_back_is_out_of_step_though_its_stage_holds() -> None:
    entry = HistoryEntry(
        at="2026-01-01T00:00:00Z",
        from_stage=Stage.SCALE,
        to_stage=Stage.SHADOW,
        epoch=2,
        outcome="failed",
        detail="why",
    )
    left = Progress(from_stage=Stage.SHADOW, to_stage=Stage.SCALE, step=WATCH_FAILED, since="2026-01-01T00:00:00Z")
    row = judge(Component.EVENT_BUS, Stage.SCALE, route(stage=Stage.SCALE, progress=left, history=(entry,)), [])
    assert row.state == "out of step" and "could not be switched back: run pulumi up. why" in row.note


def test_a_standing_fence_shows_who_holds_it() -> None:
    row = judge(Component.EVENT_BUS, Stage.MVP, route(fence=Fence(epoch=2, since="noon", holder="job-1")), [])
    assert row.state == "switching"
    assert "noon" in row.note
    assert "job-1" in row.note


def test_no_route_is_not_deployed_and_an_api_server_that_is_away_is_unknown() -> None:
    assert judge(Component.EVENT_BUS, Stage.MVP, None, []).state == "not deployed"

    class Away(MemoryRouteStore):
        def read(self, component: Component) -> Versioned:
            raise RouteUnavailable("no answer")

    rows = gather(WANTED, Away(), MemoryRegistry())
    assert [(r.component, r.state, r.note) for r in rows if r.state == "unknown"] == [
        (component, "unknown", "no answer") for component in Component
    ]


def test_the_table_has_a_row_a_component() -> None:
    rows = gather(WANTED, MemoryRouteStore(route()), MemoryRegistry())
    assert table(rows, "local").row_count == len(Component)


def test_wanted_stages_come_from_config_and_default_to_mvp() -> None:
    config = json.dumps({"crossover:event_bus": {"value": '{"stage":"scale"}', "objectValue": {"stage": "scale"}}})
    assert wanted_stages(plain(config, dict), "Pulumi.x.yaml") == {**WANTED, Component.EVENT_BUS: Stage.SCALE}


def test_an_unknown_stage_names_the_file_and_the_fix() -> None:
    config = json.dumps({"crossover:event_bus": {"objectValue": {"stage": "sale"}}})
    with pytest.raises(CliError, match=r"Pulumi\.x\.yaml asks for stage 'sale'") as raised:
        wanted_stages(plain(config, dict), "Pulumi.x.yaml")
    assert "pulumi config set" in raised.value.fix


def test_a_check_runs_the_transitions_pod_with_other_arguments_and_leaves_the_pattern_alone() -> None:
    labels = {"app": "x", "controller-uid": "1", "batch.kubernetes.io/job-name": "j"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "args": ["--stage", "mvp"]}]}}
    pattern = {"metadata": {"name": "j"}, "spec": {"selector": {}, "template": pod, "backoffLimit": 3}}
    before = json.dumps(pattern)
    made = after_pattern(pattern, "check-", ["--check"])
    assert json.dumps(pattern) == before
    assert made["metadata"] == {"generateName": "check-"}
    assert made["spec"]["template"]["metadata"]["labels"] == {"app": "x"}
    assert made["spec"]["template"]["spec"]["containers"][0]["args"] == ["--check"]
    assert "selector" not in made["spec"]


def _database(stage: Stage, **more: object) -> Route:
    active = serving_backend(Component.DATABASE, stage)
    return Route(component=Component.DATABASE, stage=stage, active=active, epoch=5).model_copy(update=more)


def test_a_database_tells_what_would_be_lost_with_the_side_that_serves() -> None:
    def note(route: Route) -> str:
        return judge(Component.DATABASE, route.stage, route, []).note

    assert "bounded" in note(_database(Stage.SCALE))
    assert "none" in note(_database(Stage.SCALE, tied_since="2026-01-01T00:00:00Z"))
    assert note(_database(Stage.SHADOW)) == ""


def test_a_database_from_which_traffic_fled_tells_up_to_where_nothing_is_missing_and_then_how_much_was() -> None:
    reached = Reached(0x123, 17, "2026-01-01T00:00:00.000+00:00")
    tail = Stranded(backend="selfhosted", epoch=4, copied=reached.cursor, at_least=True)
    row = judge(Component.DATABASE, Stage.SHADOW, _database(Stage.SHADOW, stranded={WAL: tail}), [])
    assert row.state == "out of step"
    assert "beyond WAL position 0/123, the last heartbeat is number 17 of 2026-01-01T00:00:00.000+00:00" in row.note
    assert "config rm --path crossover:database.emergency" in row.note
    tied = tail.model_copy(update={"copied": Reached(0x123, 17, "", tied=True).cursor})
    row = judge(Component.DATABASE, Stage.SHADOW, _database(Stage.SHADOW, stranded={WAL: tied}), [])
    assert "nothing that selfhosted acknowledged is missing" in row.note and "not followed" not in row.note
    new = tail.model_copy(update={"copied": Reached(0x123, 17, "", tied=True, unfollowed="shop.new").cursor})
    row = judge(Component.DATABASE, Stage.SHADOW, _database(Stage.SHADOW, stranded={WAL: new}), [])
    assert "tables that were made at selfhosted and not followed yet all is missing: shop.new" in row.note
    told = tail.model_copy(update={"swept": True, "at_least": False, "count": 3, "first": "0/1", "last": "0/9"})
    row = judge(Component.DATABASE, Stage.SHADOW, _database(Stage.SHADOW, stranded={WAL: told}), [])
    assert "3 transactions that only selfhosted has, from 0/1 to 0/9: kept in crossover.stranded" in row.note


def test_language_models_tell_how_calls_are_shared_out() -> None:
    route = Route(component=Component.LLM_SERVICE, stage=Stage.SCALE, active="vllm", epoch=3, share=20, sample=5.0)
    note = judge(Component.LLM_SERVICE, Stage.SCALE, route, []).note
    assert note == (
        "canary: vllm answers 20 % of the conversations, hosted the rest; 5 % of the calls are sent to the side that "
        "does not answer, too"
    )
    whole = route.model_copy(update={"share": None, "sample": None})
    assert judge(Component.LLM_SERVICE, Stage.SCALE, whole, []).note == ""


BUS = Component.EVENT_BUS
TO_SHADOW = ("config", "set", "--path", "crossover:event_bus.stage", "shadow")


@pytest.mark.parametrize(
    ("emergency", "declared", "wanted"),
    [
        (False, False, [TO_SHADOW]),
        (True, False, [TO_SHADOW, ("config", "set", "--path", "crossover:event_bus.emergency", "true")]),
        (True, True, [TO_SHADOW, ("config", "set", "--path", "crossover:event_bus.emergency", "true")]),
        (False, True, [TO_SHADOW, ("config", "rm", "--path", "crossover:event_bus.emergency")]),
    ],
)
def test_what_is_written_to_config(emergency: bool, declared: bool, wanted: list[tuple[str, ...]]) -> None:
    assert changes(BUS, Stage.SHADOW, emergency=emergency, declared=declared) == wanted


@pytest.mark.parametrize(("value", "found"), [(True, {BUS}), ("true", {BUS}), (False, set()), (None, set())])
def test_a_declared_emergency_is_seen_in_config(value: object, found: set[Component]) -> None:
    entry = {"stage": "shadow"} | ({} if value is None else {"emergency": value})
    assert emergencies(plain(json.dumps({"crossover:event_bus": {"value": json.dumps(entry)}}), dict)) == found
    assert emergencies(plain(json.dumps({"crossover:event_bus": {"objectValue": entry}}), dict)) == found


def test_in_an_emergency_nothing_is_retired() -> None:
    result = CliRunner().invoke(app, ["rollback", "event_bus", "--retire", "--emergency"])
    assert isinstance(result.exception, CliError)
    assert "nobody else has" in str(result.exception)


FILE = """
config:
  crossover:kube_context: here
  crossover:database:
    stage: shadow
    emergency: false
    verdict_hours: 2
    hosted: {host: db.example, password: {secure: v1:abc}}
"""


def test_an_object_with_a_secret_in_it_is_read_from_its_file_without_the_secret(tmp_path: Path) -> None:
    """`pulumi config --json` leaves such an object out as a whole, and the stage with it."""
    (tmp_path / "Pulumi.x.yaml").write_text(FILE)
    (tmp_path / "Pulumi.yaml").write_text("config:\n  size: {default: standard}\n  database: {default: {stage: mvp}}\n")
    found = declared(tmp_path, "x")
    assert found == {
        "size": "standard",
        "kube_context": "here",
        "database": {
            "stage": "shadow",
            "emergency": False,
            "verdict_hours": 2,
            "hosted": {"host": "db.example", "password": "(secret)"},
        },
    }
    told = json.dumps({"crossover:database": {"secret": True}, "crossover:kube_context": {"value": "here"}})
    config = plain(told, lambda: found)
    assert wanted_stages(config, "")[Component.DATABASE] is Stage.SHADOW
    assert (verdict_hours(config, Component.DATABASE), verdict_hours(config, BUS)) == (2.0, 24.0)


@pytest.mark.parametrize(
    ("text", "why"), [(None, "there is no Pulumi.x.yaml"), ("a: [1\nb: 2", "Pulumi.x.yaml, line 2"), ("[]", "no keys")]
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "Pulumi.x.yaml").write_text(text)
    with pytest.raises(CliError, match=why) as raised:
        declared(tmp_path, "x")
    assert raised.value.fix


NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
KEPT = KeptVerdict(outcome=Verdict.HOLDS, at=NOW - timedelta(hours=30), active="hosted", detail="10 rows equal")


def _compared(verdict: str | None, hours: float = 24.0) -> str:
    at = _database(Stage.SHADOW, mirror=carried("hosted", "selfhosted", 1), verdict=verdict)
    row = judge(Component.DATABASE, Stage.SHADOW, at, [], limit=timedelta(hours=hours), now=NOW)
    assert (row.compared is None) == ("holds" not in row.comparison and "not hold" not in row.comparison)
    return row.comparison


def test_the_age_of_the_last_comparison_is_shown_and_whether_it_is_stale() -> None:
    assert _compared(KEPT.to_json()) == "comparison holds, 30.0 h old: stale, the limit is 24 h"
    assert _compared(KEPT.to_json(), 48) == "comparison holds, 30.0 h old"
    wrong = KEPT.model_copy(update={"outcome": Verdict.DOES_NOT_HOLD, "at": NOW, "detail": "bank.t differs"})
    assert _compared(wrong.to_json()) == "comparison does not hold, 0.0 h old (bank.t differs)"
    assert "no comparison that can be read" in _compared("of a version to come")
    assert _compared(None) == "both sides were not compared yet"
    alone = judge(Component.DATABASE, Stage.MVP, _database(Stage.MVP, verdict=KEPT.to_json()), [], now=NOW)
    assert alone.comparison == ""


def test_a_database_shows_how_far_the_side_is_that_follows() -> None:
    registry = MemoryRegistry()
    told = {
        "hosted": Carried(behind_seconds=0.25, lag_bytes=12_000, safe_bytes=512_000_000, unfollowed="a.b"),
        "selfhosted": Carried(behind_seconds=3, lag_bytes=0, held=2, error="Conflict: t"),
    }
    Telling(registry, "pod", lambda: told).tell()
    at = _database(Stage.SHADOW, mirror=carried("hosted", "selfhosted", 1))
    rows = gather(WANTED, MemoryRouteStore(at), registry, registry)
    [row] = [row for row in rows if row.component is Component.DATABASE]
    assert row.carried == told
    said = lines(row)
    assert (
        "database: hosted to selfhosted 0.2 s behind, 12.0 kB of WAL; the slot has 512.0 MB until it is lost"
        "; NOT carried, for they are new: a.b: run pulumi up"
    ) in said
    assert (
        "database: selfhosted to hosted 3.0 s behind, 0 bytes of WAL; the slot has no limit; 2 transactions held; "
        "stands still: Conflict: t" in said
    )
    assert "0.2 s" in [str(cell) for cell in table(rows, "x").columns[7].cells]
    row.model_dump_json()


def test_the_age_of_the_gates_last_judgement_is_shown_where_there_are_two_sides() -> None:
    llm = Component.LLM_SERVICE
    at = Route(component=llm, stage=Stage.SCALE, active="vllm", epoch=3, verdict=KEPT.to_json())
    shown = judge(llm, Stage.SCALE, at, [], now=NOW)
    assert shown.comparison == "comparison holds, 30.0 h old: stale, the limit is 24 h"
    alone = at.model_copy(update={"stage": Stage.COMPLETE})
    assert judge(llm, Stage.COMPLETE, alone, [], now=NOW).comparison == ""


def test_a_component_without_an_emergency_says_so_before_anything_is_written() -> None:
    result = CliRunner().invoke(app, ["rollback", "llm_service", "--emergency"])
    assert isinstance(result.exception, CliError)
    assert "has no emergency" in str(result.exception)
    assert result.exception.fix == "crossover rollback llm_service"
