"""What doctor asks, what turns each answer red or unknown, and that no secret is in any of it."""

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
from adapters.routes.base import RouteMissing, RouteUnavailable
from adapters.routes.memory import MemoryAccess, MemoryBackupNotes, MemoryRegistry, MemoryRouteStore
from adapters.routes.resources import MemoryResources, Node, PodFacts, Volume
from adapters.routes.workloads import Deployed
from cli import bench, diagnosing, doctor
from cli.__main__ import app
from cli.diagnosing import Asked
from cli.doctor import NEEDED, Cluster, examine
from cli.errors import CliError
from contracts.backups import BackupNote
from contracts.registry import PROTOCOL_VERSION, AdapterRecord
from contracts.routes import Fence, Progress, Route, Stranded
from contracts.stages import Component, Stage, serving_backend
from cutover.carrier.telling import Carried, Telling
from cutover.positions import carried
from cutover.tables import TABLES
from validation.result import Report, Verdict
from validation.verdicts import KeptVerdict

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MIB = 1 << 20
DATABASE, BUS = Component.DATABASE, Component.EVENT_BUS
KEPT = KeptVerdict(outcome=Verdict.HOLDS, at=NOW - HOUR, active="hosted", detail="10 rows equal")
BACKUP = BackupNote(at=NOW - HOUR, side="hosted", by="me", digest="0" * 64, place="here", tables=1, rows=1)
GOES_ON = {"hosted": Carried(behind_seconds=0.1, lag_bytes=0), "selfhosted": Carried(behind_seconds=0, lag_bytes=0)}


def route(component: Component = DATABASE, stage: Stage = Stage.SHADOW, **more: Any) -> Route:
    active = serving_backend(component, stage)
    return Route(
        component=component, stage=stage, active=active, epoch=3, mirror=carried("hosted", "selfhosted", 1),
        verdict=KEPT.to_json(),
    ).model_copy(update=more)  # fmt: skip


def job(stage: Stage = Stage.SHADOW, *conditions: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "transition-1"},
        "spec": {"template": {"metadata": {"labels": {"crossover.dev/stage": stage.value}}}},
        "status": {"conditions": [{"type": one, "status": "True"} for one in conditions]},
    }


def adapter(age: float = 1.0, **status: str) -> AdapterRecord:
    return AdapterRecord("pod-1.pooler", "pooler", 3, PROTOCOL_VERSION, age, status=status)


WELL = Asked(
    component=DATABASE, wanted=Stage.SHADOW, emergency=False, limit=24 * HOUR, route=route(),
    job=job(Stage.SHADOW, "Complete"), adapters=[adapter()], present=frozenset({"pod-1"}),
    deployments={"database-pooler": Deployed(1, 1), "database-carrier": Deployed(1, 1)}, carried=GOES_ON, backup=BACKUP,
    backup_hours=24.0,
)  # fmt: skip


def answers(at: Asked) -> dict[str, Verdict]:
    found = list(diagnosing.component(at, NOW))
    assert all(check.fix for check in found if not check.outcome.passed)
    return {check.name.partition(": ")[2]: check.outcome for check in found}


ALL = {
    "route", "transition", "emergency", "fence", "stranded", "adapters", "database-pooler", "database-carrier",
    "comparison", "carried", "backup",
}  # fmt: skip


def test_where_all_is_well_all_is_asked_and_holds() -> None:
    assert answers(WELL) == dict.fromkeys(ALL, Verdict.HOLDS)


STALE = KEPT.model_copy(update={"at": NOW - 25 * HOUR})
DIFFERS = KEPT.model_copy(update={"outcome": Verdict.DOES_NOT_HOLD, "detail": "bank.t differs"})
FENCE = Fence(epoch=4, since="noon", holder="run")
CUT_OFF = Progress(from_stage=Stage.MVP, to_stage=Stage.SHADOW, step="watch", since="noon")
TAIL = Stranded(backend="selfhosted", epoch=2, copied={})


@pytest.mark.parametrize(
    ("item", "changes"),
    [
        ("route", {"route": route(stage=Stage.SCALE, active="hosted")}),
        ("transition", {"job": job(Stage.SHADOW, "Failed")}),
        ("transition", {"job": job(Stage.MVP, "Complete")}),
        ("emergency", {"emergency": True}),
        ("fence", {"route": route(fence=FENCE)}),
        ("fence", {"route": route(progress=CUT_OFF)}),
        ("stranded", {"route": route(stranded={"wal": TAIL})}),
        ("adapters", {"adapters": [adapter(60.0), adapter()]}),
        ("adapters", {"adapters": []}),
        ("adapters", {"adapters": [adapter(trouble="no login")]}),
        ("database-pooler", {"deployments": {**WELL.deployments, "database-pooler": Deployed(1, 0)}}),
        ("database-carrier", {"deployments": {**WELL.deployments, "database-carrier": Deployed(0, 0)}}),
        ("comparison", {"route": route(verdict=STALE.to_json())}),
        ("comparison", {"route": route(verdict=DIFFERS.to_json())}),
        ("comparison", {"route": route(verdict="of a version to come")}),
        ("comparison", {"route": route(verdict=None)}),
        ("carried", {"carried": GOES_ON | {"hosted": Carried(held=1)}}),
        ("carried", {"carried": GOES_ON | {"hosted": Carried(error="Conflict: t")}}),
        ("carried", {"carried": GOES_ON | {"hosted": Carried(unfollowed="shop.new")}}),
        ("backup", {"backup": None}),
        ("backup", {"backup": BACKUP.model_copy(update={"at": NOW - 25 * HOUR})}),
        ("backup", {"backup": BACKUP.model_copy(update={"at": NOW + HOUR})}),
        ("backup", {"backup": BACKUP.model_copy(update={"side": "selfhosted"})}),
    ],
)
def test_what_is_wrong_turns_its_item_red_and_no_other(item: str, changes: dict[str, Any]) -> None:
    assert answers(replace(WELL, **changes)) == dict.fromkeys(ALL, Verdict.HOLDS) | {item: Verdict.DOES_NOT_HOLD}


@pytest.mark.parametrize(
    ("item", "changes"),
    [
        ("transition", {"job": Unknown("no right")}),
        ("adapters", {"adapters": Unknown("away")}),
        ("adapters", {"present": Unknown("away")}),
        ("database-pooler", {"deployments": {**WELL.deployments, "database-pooler": Unknown("no right")}}),
        ("carried", {"carried": Unknown("away")}),
        ("carried", {"carried": {}}),
        ("backup", {"backup": Unknown("no right")}),
    ],
)
def test_what_cannot_be_had_is_unknown_and_nothing_else_is(item: str, changes: dict[str, Any]) -> None:
    assert answers(replace(WELL, **changes)) == dict.fromkeys(ALL, Verdict.HOLDS) | {item: Verdict.COULD_NOT_CHECK}


def test_a_switch_that_is_under_way_is_not_cut_off() -> None:
    under_way = replace(WELL, route=route(fence=FENCE), job=job())
    assert answers(under_way)["fence"] is Verdict.HOLDS


def test_without_a_route_only_that_is_told() -> None:
    assert answers(replace(WELL, route=Unknown("away"))) == {"route": Verdict.COULD_NOT_CHECK}
    assert answers(replace(WELL, route=None))["route"] is Verdict.DOES_NOT_HOLD


def test_at_one_side_alone_nothing_has_to_follow() -> None:
    at_mvp = replace(
        WELL, wanted=Stage.MVP, route=route(stage=Stage.MVP, mirror=None), job=job(Stage.MVP, "Complete"),
        deployments={"database-pooler": Deployed(1, 1), "database-carrier": Unknown("there is none")},
    )  # fmt: skip
    assert answers(at_mvp) == dict.fromkeys(ALL - {"database-carrier", "comparison", "carried"}, Verdict.HOLDS)
    assert answers(replace(at_mvp, backup=None, backup_hours=None))["backup"] is Verdict.HOLDS


LLM = Component.LLM_SERVICE
JUDGED = KEPT.to_json()
MODELS = Asked(
    component=LLM, wanted=Stage.SCALE, emergency=False, limit=24 * HOUR,
    route=route(LLM, Stage.SCALE, mirror=None, verdict=JUDGED), job=job(Stage.SCALE, "Complete"),
    adapters=[AdapterRecord("pod-1.orchestrator", "llm-orchestrator", 3, PROTOCOL_VERSION, 1.0)],
    present=frozenset({"pod-1"}), deployments={"llm-orchestrator": Deployed(1, 1), "own-llm-default": Deployed(1, 1)},
)  # fmt: skip
OF_MODELS = {"route", "transition", "fence", "adapters", "llm-orchestrator", "own-llm-default", "comparison"}


def test_of_language_models_their_pods_and_the_gates_verdict_are_asked() -> None:
    assert answers(MODELS) == dict.fromkeys(OF_MODELS, Verdict.HOLDS)
    stale = replace(MODELS, route=route(LLM, Stage.SCALE, mirror=None, verdict=STALE.to_json()))
    assert answers(stale)["comparison"] is Verdict.DOES_NOT_HOLD
    down = replace(MODELS, deployments={**MODELS.deployments, "own-llm-default": Deployed(1, 0)})
    assert answers(down)["own-llm-default"] is Verdict.DOES_NOT_HOLD


@pytest.mark.parametrize(
    ("stage", "left"),
    [
        (Stage.MVP, OF_MODELS - {"own-llm-default", "comparison"}),
        (Stage.SHADOW, OF_MODELS - {"comparison"}),
        (Stage.COMPLETE, OF_MODELS - {"comparison"}),
    ],
)
def test_of_language_models_only_what_a_stage_has_is_asked(stage: Stage, left: set[str]) -> None:
    at = replace(
        MODELS, wanted=stage, route=route(LLM, stage, mirror=None, verdict=None), job=job(stage, "Complete")
    )  # fmt: skip
    assert answers(at) == dict.fromkeys(left, Verdict.HOLDS)


# -- from config, tools and cluster

PROJECT = "requiredPulumiVersion: '>=3.250.0'\nconfig:\n  size: {default: standard}\n"
CONFIG = """
config:
  crossover:kube_context: here
  crossover:event_bus: {stage: mvp}
  crossover:database: {stage: mvp, accept: [backup]%s}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    (tmp_path / "Pulumi.x.yaml").write_text(CONFIG % "")
    tool(tmp_path, "pulumi", "v3.256.0")
    tool(tmp_path, "kubectl", "Client Version: v1.36.3")
    return tmp_path


def tool(home: Path, name: str, says: str) -> None:
    program = home / name
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)


def resources() -> MemoryResources:
    """A node, and pods of what stands at mvp, with nothing wrong."""
    volume = Volume("data-event-bus-redis-0", 1 << 20, 1 << 30)
    pods = [
        PodFacts("redis-0", "event-bus-redis", "Running", True, node="n", memory=128 * MIB, limit=1024 * MIB),
        PodFacts("engine-1", "trading-engine", "Running", True, node="n", ports={"http": 8000}),
    ]
    return MemoryResources(
        [Node("n", True, True, 8.0, 16384 * MIB)], pods, used={"redis-0": MIB}, volumes_={"n": [volume]},
        classes={"local": True}, alerts_=frozenset(), exposed={"engine-1": "crossover_llm_queued 0\n"},
    )  # fmt: skip


def beside(component: Component) -> str:
    item = {"name": "redis: reachable", "verdict": "holds", "found": "as cutover"}
    return json.dumps({"component": component.value, "verdict": "holds", "steps": [{"items": [item]}]})


def healthy(_context: str | None = None, _namespace: str = "") -> Cluster:
    store, registry = MemoryRouteStore(), MemoryRegistry()
    for component in TABLES:
        at = Route(component=component, stage=Stage.MVP, active=serving_backend(component, Stage.MVP), epoch=1)
        store.write(at, store.read(component).version)
        registry.announce(component, "pod.adapter", "role", 1)
    Telling(registry, "pod", dict).tell()
    done = job(Stage.MVP, "Complete")
    return Cluster(
        store, registry, registry, MemoryBackupNotes(), MemoryAccess(NEEDED), lambda _: done,
        lambda _: Deployed(1, 1), lambda _: MemoryAudit(), resources(), lambda _: None, beside,
    )  # fmt: skip


def examined(home: Path, cluster: Callable[[str | None, str], Cluster] = healthy, **more: Any) -> Report:
    return examine(home, "x", {"PATH": f"{home}:/usr/bin:/bin"}, cluster, now=NOW, **more)


def failed(report: Report) -> list[str]:
    return [check.name for check in report.failures()]


def test_a_stack_that_is_well_is_told_so(home: Path) -> None:
    report = examined(home)
    assert report.overall() is Verdict.HOLDS, report.failures()
    assert {"config", "pulumi", "kubectl", "cluster", "rights", "event_bus: route"} <= {c.name for c in report.checks}


def test_each_error_of_config_is_told_with_file_and_key_and_no_secret(home: Path) -> None:
    bad = ", stge: scale, hosted: {host: h, password: hush-hush, sslmode: maybe}"
    (home / "Pulumi.x.yaml").write_text(CONFIG % bad)
    report = examined(home)
    wrong = [check for check in report.failures() if check.name == "config"]
    assert len(wrong) == 2
    assert all("Pulumi.x.yaml: crossover:database." in check.found and check.fix for check in wrong)
    assert "config: database.hosted.password" in failed(report)
    assert report.overall() is Verdict.DOES_NOT_HOLD
    assert "hush" not in report.to_json()


def test_a_secret_that_is_one_is_no_error_and_not_shown(home: Path) -> None:
    (home / "Pulumi.x.yaml").write_text(CONFIG % ", hosted: {host: h, password: {secure: v1:hush}}")
    report = examined(home)
    assert report.overall() is Verdict.HOLDS, report.failures()
    assert "hush" not in report.to_json()


@pytest.mark.parametrize(("text", "line"), [("config: [\n", "line"), (None, "no Pulumi.x.yaml")])
def test_a_config_that_cannot_be_read_leaves_the_tools_to_look_at(home: Path, text: str | None, line: str) -> None:
    (home / "Pulumi.x.yaml").unlink()
    if text is not None:
        (home / "Pulumi.x.yaml").write_text(text)
    report = examined(home)
    assert [check.name for check in report.checks] == ["config", "pulumi", "kubectl"]
    assert line in report.checks[0].found


def test_what_only_a_pod_reaches_is_asked_where_that_is_wanted(home: Path) -> None:
    assert not [check for check in examined(home).checks if check.name == "event_bus: redis: reachable"]
    report = examined(home, deep=True)
    assert report.overall() is Verdict.HOLDS, report.failures()
    assert {"event_bus: redis: reachable", "database: redis: reachable"} <= {check.name for check in report.checks}


def test_a_tool_that_is_missing_or_old_is_told(home: Path) -> None:
    tool(home, "pulumi", "v3.249.9")
    (home / "kubectl").unlink()
    report = examine(home, "x", {"PATH": str(home)}, healthy, now=NOW)
    assert failed(report) == ["pulumi", "kubectl"]


def test_a_cluster_that_does_not_answer_is_asked_nothing_more(home: Path) -> None:
    def away(context: str | None, namespace: str) -> Cluster:
        assert (context, namespace) == ("here", "trading")
        raise RouteUnavailable("no answer")

    report = examined(home, away)
    assert failed(report) == ["cluster: context here, namespace trading"]
    assert (report.overall(), doctor.EXIT[report.overall()]) == (Verdict.COULD_NOT_CHECK, 2)


def test_rights_and_jobs_that_are_missing_are_named(home: Path) -> None:
    def lesser(context: str | None, namespace: str) -> Cluster:
        def none(_: Component) -> dict[str, Any]:
            raise RouteMissing("event_bus has no Transition here: pulumi up makes it")

        return replace(healthy(), access=MemoryAccess(NEEDED[1:]), job=none)

    report = examined(home, lesser)
    assert failed(report) == ["rights", *(f"{component.value}: transition" for component in TABLES)]
    [rights] = [check for check in report.checks if check.name == "rights"]
    assert "get configmaps" in rights.found


@pytest.mark.parametrize(("reachable", "code"), [(True, 0), (False, 2)])
def test_the_command_tells_by_its_exit_status(
    home: Path, monkeypatch: pytest.MonkeyPatch, reachable: bool, code: int
) -> None:
    def connected(context: str | None, namespace: str) -> Cluster:
        if not reachable:
            raise RouteUnavailable("no answer")
        return healthy()

    monkeypatch.setattr(doctor.Cluster, "connected", connected)
    monkeypatch.setattr("cli.__main__.ROOT", home)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    result = CliRunner().invoke(app, ["doctor", "--stack", "x", "--json"])
    assert result.exit_code == code, result.output
    assert json.loads(result.output)["overall"] == ("holds" if reachable else "could_not_check")
    assert CliRunner().invoke(app, ["doctor", "--stack", "x"]).exit_code == code


# -- bench


def test_a_benchmark_is_run_by_its_components_name(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    for component in Component:
        _, *arguments = bench.command(root, component, ["copy"])
        assert arguments == ["-m", "benchmarks", component.value, "copy"]
    (tmp_path / "benchmarks").mkdir()
    for name in ("__main__", "database"):
        (tmp_path / "benchmarks" / f"{name}.py").touch()
    with pytest.raises(CliError, match="no benchmark of backtesting") as raised:
        bench.command(tmp_path, Component.BACKTESTING, [])
    assert raised.value.fix == "one of: database"


def test_a_checkout_without_benchmarks_says_so(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="has no benchmarks"):
        bench.command(tmp_path, DATABASE, [])


def test_what_a_benchmark_ends_with_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    for name in ("__init__", "database"):
        (tmp_path / "benchmarks" / f"{name}.py").write_text("")
    (tmp_path / "benchmarks" / "__main__.py").write_text("import sys; sys.exit(len(sys.argv))")
    assert bench.run(tmp_path, DATABASE, ["copy", "checksum"]) == 4
