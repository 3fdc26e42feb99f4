"""The checklist before a migration: what it asks, what turns an item red, people's word, and who is held up by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.known import Unknown
from adapters.routes.audit import MemoryAudit
from adapters.routes.base import RouteUnavailable
from adapters.routes.resources import Node, PodFacts
from cli import beside, doctor, permits, preflighting
from cli import preflight as command
from cli.__main__ import app
from cli.beside import items_beside
from cli.errors import CliError
from cli.preflighting import Coming, holding_up, room
from cli.stack import Stack
from components.sizes import resources as row
from contracts import names
from contracts.audit import Kind
from contracts.confirmations import confirmed
from contracts.stages import Component, Stage
from cutover.tables import TABLES
from tests.unit.cli.preflight_world import MIB, NOW, World, project
from validation.result import Check, Report, Verdict

BUS, DATABASE = Component.EVENT_BUS, Component.DATABASE


@pytest.fixture
def home(tmp_path: Path) -> Path:
    project(tmp_path)
    return tmp_path


def examined(home: Path, world: World, *components: Component, **more: Any) -> Report:
    env = {"PATH": f"{home}:/usr/bin:/bin"}
    return command.examine(home, "x", env, world.connected, components or tuple(TABLES), now=NOW, **more)


def failed(report: Report) -> dict[str, Verdict]:
    assert all(check.fix for check in report.failures())
    return {check.name: check.outcome for check in report.failures()}


def test_a_stack_that_is_ready_is_told_so_item_by_item(home: Path) -> None:
    world = World()
    report = examined(home, world)
    assert failed(report) == {}
    asked = {check.name for check in report.checks}
    assert asked >= {
        "cluster: room", "cluster: storage class", "nodes", "event_bus: adapters", "event_bus: adapters: protocol",
        "event_bus: redis: reachable", "database: way back rehearsed", "monitoring: metrics", "monitoring: alerts",
        "database: backup", "secrets: in config", "secrets: in the cluster", "audit log", "people: stakeholders",
        "people: window", "people: on-call", "people: rollback-criteria", "event_bus: redis answers",
    }  # fmt: skip
    assert sorted(world.asked) == sorted(TABLES)


def test_of_one_component_no_other_is_asked(home: Path) -> None:
    world = World()
    report = examined(home, world, BUS)
    assert world.asked == [BUS]
    assert not [check.name for check in report.checks if check.name.startswith("database: ")]


def small(world: World) -> None:
    world.resources.nodes_ = [Node("n", True, True, 8.0, 256 * MIB)]


def unwatched(world: World) -> None:
    world.resources.alerts_ = frozenset({"A"})


def no_operator(world: World) -> None:
    world.resources.alerts_ = None


def no_class(world: World) -> None:
    world.resources.classes = {"local": False}


def no_secret(world: World) -> None:
    world.resources.secrets_ = frozenset()


def no_metrics(world: World) -> None:
    world.resources.exposed = {}


def unreached(world: World) -> None:
    def refused(pod: str, port: int) -> str:
        raise RouteUnavailable(f"{pod}:{port}: the API server answered 403 Forbidden", status=403)

    world.resources.metrics = refused  # type: ignore[method-assign]


def unrehearsed(world: World) -> None:
    entries = [entry for entry in world.audit.entries() if entry.component != DATABASE.value]
    world.audit = MemoryAudit()
    for entry in entries:
        world.audit.append(entry.kind, entry.component, entry.actor, entry.data)
    world.went(DATABASE, Stage.SCALE, Stage.SHADOW, "failed")
    world.went(DATABASE, Stage.SHADOW, Stage.SCALE)
    world.went(DATABASE, Stage.SHADOW, Stage.MVP)


def expired(world: World) -> None:
    world.yes("window", NOW - timedelta(days=8))


def revoked(world: World) -> None:
    world.audit.append(Kind.REVOKED, "", "bob", {"item": "on-call", "stack": "x"})


def red_beside(world: World) -> None:
    world.verdicts[BUS] = "does_not_hold"


RED, UNKNOWN = Verdict.DOES_NOT_HOLD, Verdict.COULD_NOT_CHECK


@pytest.mark.parametrize(
    ("spoil", "item", "outcome"),
    [
        (small, "cluster: room", RED),
        (unwatched, "monitoring: alerts", RED),
        (no_operator, "monitoring: alerts", UNKNOWN),
        (no_class, "cluster: storage class", RED),
        (no_secret, "secrets: in the cluster", RED),
        (no_metrics, "monitoring: metrics", RED),
        (unreached, "monitoring: metrics", UNKNOWN),
        (unrehearsed, "database: way back rehearsed", RED),
        (expired, "people: window", RED),
        (revoked, "people: on-call", RED),
        (red_beside, "event_bus: redis: reachable", RED),
    ],
)
def test_what_is_wrong_turns_its_item_red_and_no_other(
    home: Path, spoil: Callable[[World], None], item: str, outcome: Verdict
) -> None:
    world = World()
    spoil(world)
    assert failed(examined(home, world)) == {item: outcome}


def test_where_the_log_is_broken_neither_people_nor_rehearsals_can_be_known(home: Path) -> None:
    world = World()
    lines = [(where, line.replace("ann", "eve")) for where, line in world.audit.lines()]
    world.audit.lines = lambda: lines  # type: ignore[method-assign]
    found = failed(examined(home, world, BUS))
    assert found["audit log"] is RED
    assert found["people: window"] is UNKNOWN and found["event_bus: way back rehearsed"] is UNKNOWN


def test_without_a_cluster_people_are_unknown_and_nothing_is_said_of_it_but_that(home: Path) -> None:
    world = World(away=True)
    found = failed(examined(home, world))
    assert found.pop("cluster: context here, namespace trading") is UNKNOWN
    assert set(found) == {"people: stakeholders", "people: window", "people: on-call", "people: rollback-criteria"}
    assert set(found.values()) == {UNKNOWN}


def test_a_secret_in_the_clear_is_told_by_its_key_and_not_shown(home: Path) -> None:
    hosted = "hosted: {host: h, password: hush-hush}"
    (home / "Pulumi.x.yaml").write_text(
        f"config:\n  crossover:kube_context: here\n  crossover:database: {{accept: [backup], {hosted}}}\n"
    )
    report = examined(home, World())
    assert "secrets: in config" in failed(report)
    assert "crossover:database.hosted.password" in report.to_json() and "hush" not in report.to_json()


def test_config_asks_more_and_lets_pass_what_it_names_but_no_person(home: Path) -> None:
    project(
        home, "{questions: {ticket: 'Is it approved?', window: ''}, accept: ['monitoring: alerts', 'people: ticket']}"
    )
    world = World()
    unwatched(world)
    report = examined(home, world)
    assert failed(report) == {"people: ticket": RED}
    told = {check.name: check for check in report.checks}
    assert "1 of 2" in told["monitoring: alerts (told only)"].found
    assert "people: window" not in told


# -- room


def test_pods_need_a_node_each_and_not_the_sum_of_all() -> None:
    wanted = [Coming(names.KAFKA_NAME, row("standard", names.KAFKA_NAME), 2)]
    nodes = [Node(name, True, True, 4.0, 6000 * MIB) for name in "ab"]
    assert room(wanted, nodes, [], False).outcome is Verdict.HOLDS
    one = [Node("a", True, True, 8.0, 6000 * MIB), Node("b", True, False, 8.0, 60000 * MIB)]
    found = room(wanted, one, [], False)
    assert found.outcome is RED and "no place for event-bus-kafka" in found.found
    assert room(wanted, one, [], True).outcome is UNKNOWN
    assert room([], one, [], False).outcome is Verdict.HOLDS
    assert room(wanted, Unknown("no right"), [], False).outcome is UNKNOWN


def test_what_others_asked_for_is_taken() -> None:
    wanted = [Coming(names.KAFKA_NAME, row("standard", names.KAFKA_NAME))]
    nodes = [Node("a", True, True, 4.0, 6000 * MIB)]
    other = PodFacts("o", "o", "Running", True, node="a", cpu=3.5)
    assert room(wanted, nodes, [other], False).outcome is RED
    assert room(wanted, nodes, [replace(other, phase="Succeeded")], False).outcome is Verdict.HOLDS
    assert room(wanted, [replace(nodes[0], ready=False)], [], False).outcome is RED


# -- pods beside the data


def test_a_pod_that_says_nothing_leaves_the_others_to_be_asked() -> None:
    def said(component: Component) -> str:
        if component is BUS:
            raise RouteUnavailable("away")
        return "No such option: --preflight" if component is DATABASE else World().beside(component)

    found = items_beside(said, [BUS, DATABASE, Component.BACKTESTING])
    assert [check.outcome for check in found] == [UNKNOWN, UNKNOWN, Verdict.HOLDS]
    assert "--preflight" in found[1].detail


@pytest.mark.parametrize(
    ("report", "outcomes"),
    [
        ({"verdict": "does not hold", "message": "a fence stands", "steps": []}, [RED]),
        ({"verdict": "holds", "message": "", "steps": []}, [UNKNOWN]),
        ({"verdict": "could not be checked", "message": "no route"}, [UNKNOWN]),
        ({"verdict": "does not hold", "steps": [{"items": [{"name": "n", "verdict": "holds"}]}]}, [Verdict.HOLDS, RED]),
        ({"verdict": "holds", "steps": [{"items": [{"name": "n", "verdict": "of a version to come"}]}]}, [UNKNOWN]),
    ],
)
def test_what_a_pod_reports_never_passes_by_itself(report: dict[str, Any], outcomes: list[Verdict]) -> None:
    assert [check.outcome for check in items_beside(lambda _: json.dumps(report), [BUS])] == outcomes


def test_the_pod_is_asked_for_preflight_alone() -> None:
    class Jobs:
        def run_like_transition(self, component: Component, arguments: list[str], say: Any, timeout: float) -> bool:
            say(" ".join(arguments))
            return True

    said = beside.asked_in_pods(Jobs())  # type: ignore[arg-type]
    assert said(BUS) == "--component event_bus --check --preflight"


# -- the command


@pytest.fixture
def world(home: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    for item in ("stakeholders", "window", "on-call", "rollback-criteria"):
        made.yes(item, datetime.now(UTC))
    monkeypatch.setattr(doctor.Cluster, "connected", made.connected)
    monkeypatch.setattr(command, "connect", lambda _: None)
    monkeypatch.setattr(command, "KubernetesAudit", lambda *_: made.audit)
    for module in ("cli.preflight", "cli.moving", "cli.auditing"):
        monkeypatch.setattr(f"{module}.ROOT", home)
    monkeypatch.setattr(command.held_up, "__defaults__", (home,))
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    monkeypatch.setenv(names.ENV_ACTOR, "cid")
    return made


def run(*words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--stack", "x"])


def test_the_command_tells_by_its_exit_status(world: World) -> None:
    result = run("preflight", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["overall"] == "holds"
    no_operator(world)
    assert run("preflight", "event_bus").exit_code == 2
    unwatched(world)
    assert run("preflight", "--all").exit_code == 1


def test_a_yes_is_kept_with_its_name_and_can_be_taken_back(world: World) -> None:
    result = run("preflight", "--confirm", "window", "--note", "CHG-7")
    assert result.exit_code == 0, result.output
    yes = confirmed(world.audit.entries(), "x")["window"]
    assert (yes.by, yes.note) == ("cid", "CHG-7")
    assert yes.until - yes.since == timedelta(days=7)
    assert run("preflight", "--revoke", "window").exit_code == 0
    assert "window" not in confirmed(world.audit.entries(), "x")
    assert world.audit.verify() is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--confirm", "weather"], "'weather' is nothing that people are asked"),
        (["--confirm", "window", "--revoke", "window"], "take one item"),
        (["event_bus", "--confirm", "window"], "take one item"),
        (["event_bus", "--all"], "which is meant"),
        (["--note", "x"], "--note says something of --confirm"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_kept(world: World, words: list[str], says: str) -> None:
    before = len(world.audit.entries())
    result = run("preflight", *words)
    assert isinstance(result.exception, CliError) and says in str(result.exception)
    assert len(world.audit.entries()) == before


def test_a_yes_that_cannot_be_kept_is_no_yes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise RouteUnavailable("no answer")

    monkeypatch.setattr(command, "connect", away)
    result = run("preflight", "--confirm", "window")
    assert isinstance(result.exception, CliError) and "nothing was confirmed" in str(result.exception)


# -- a migration that requires it


def test_what_holds_a_migration_up_is_people_and_what_does_not_hold() -> None:
    def check(name: str, outcome: Verdict) -> Check:
        return Check(name=name, outcome=outcome, expected="", found="")

    held = [check("people: window", UNKNOWN), check("people: on-call", RED), check("monitoring: alerts", RED)]
    passes = [
        check("monitoring: metrics", UNKNOWN), check("event_bus: route", RED), check("event_bus: fence", RED),
        check("people: stakeholders", Verdict.HOLDS),
    ]  # fmt: skip
    assert holding_up([*passes, *held]) == held
    assert set(preflighting.RESUMED) == {"route", "transition", "fence"}


@pytest.mark.parametrize(
    ("migration", "required"),
    [(None, False), ({}, False), ({"preflight": "off"}, False), ({"preflight": "required"}, True)],
)
def test_config_says_whether_a_migration_requires_it(migration: object, required: bool) -> None:
    assert permits.preflight_required({"migration": migration}) is required


def test_another_word_for_it_moves_nothing() -> None:
    with pytest.raises(CliError, match="'yes', which is neither off nor required") as raised:
        permits.preflight_required({"migration": {"preflight": "yes"}})
    assert raised.value.fix.endswith("migration.preflight required")


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[Component]:
    """What was moved, in place of moving it."""
    found: list[Component] = []
    monkeypatch.setattr("cli.moving._move", lambda component, *_, **__: found.append(component))
    monkeypatch.setattr(Stack, "config", lambda _: {"migration": {"preflight": "required"}})
    return found


def test_a_migration_that_requires_it_is_refused_without_it_and_runs_no_pod(
    home: Path, world: World, moved: list[Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.auditing.KubernetesAudit", lambda *_: world.audit)
    monkeypatch.setattr("cli.auditing.connect", lambda _: None)
    assert run("migrate", "event_bus").exit_code == 0
    assert (moved, world.asked) == ([BUS], [])
    world.audit.append(Kind.REVOKED, "", "bob", {"item": "window", "stack": "x"})
    result = run("migrate", "event_bus")
    assert isinstance(result.exception, CliError)
    assert "people: window: nobody has said yes" in str(result.exception)
    assert "crossover preflight event_bus" in result.exception.fix
    assert moved == [BUS]
    last = world.audit.entries()[-1]
    assert (last.kind, last.component) == (Kind.HELD, "event_bus")
    assert run("rollback", "event_bus").exit_code == 0  # no preflight holds a way back
    assert moved == [BUS, BUS]
