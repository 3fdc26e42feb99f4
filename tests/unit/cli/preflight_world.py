"""A stack that is ready to be migrated, as preflight and doctor see it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.routes.audit import MemoryAudit
from adapters.routes.base import RouteUnavailable
from adapters.routes.memory import MemoryAccess, MemoryBackupNotes, MemoryRegistry, MemoryRouteStore
from adapters.routes.resources import MemoryResources, Node, PodFacts, Volume
from adapters.routes.workloads import Deployed
from cli.doctor import NEEDED, Cluster
from contracts.audit import Kind
from contracts.confirmations import QUESTIONS, confirmation
from contracts.routes import Route
from contracts.stages import Component, Stage, serving_backend
from cutover.carrier.telling import Telling
from cutover.tables import TABLES

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MIB = 1 << 20
PROJECT = "requiredPulumiVersion: '>=3.250.0'\nconfig:\n  size: {default: small}\n"
CONFIG = "config:\n  crossover:kube_context: here\n  crossover:database: {accept: [backup]}\n"
ALERTS = "groups: [{rules: [{alert: A}, {alert: B}]}]"


def project(home: Path, migration: str = "{}") -> None:
    """The files of a stack `x` in `home`, and tools that answer."""
    (home / "Pulumi.yaml").write_text(PROJECT)
    (home / "Pulumi.x.yaml").write_text(f"{CONFIG}  crossover:migration: {migration}\n")
    (home / "observability").mkdir(exist_ok=True)
    (home / "observability" / "alerts.yaml").write_text(ALERTS)
    for name, says in (("pulumi", "v3.256.0"), ("kubectl", "v1.36.3")):
        (home / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (home / name).chmod(0o755)


def resources() -> MemoryResources:
    """One node with room for all, and pods that serve metrics and name a Secret."""
    pods = [
        PodFacts("redis-0", "event-bus-redis", "Running", True, node="n", memory=128 * MIB, limit=1024 * MIB),
        PodFacts(
            "engine-1", "trading-engine", "Running", True, node="n", ports={"http": 8000}, secrets=frozenset({"s"})
        ),
    ]  # fmt: skip
    return MemoryResources(
        [Node("n", True, True, 8.0, 16384 * MIB)], pods, used={"redis-0": MIB},
        volumes_={"n": [Volume("data", MIB, 100 * MIB)]}, classes={"local": True}, secrets_=frozenset({"s"}),
        alerts_=frozenset({"A", "B", "C"}), exposed={"engine-1": "crossover_llm_queued 0\n"},
    )  # fmt: skip


@dataclass
class World:
    """Every component at mvp, each with a rehearsed way back and every question answered with yes."""

    resources: MemoryResources = field(default_factory=resources)
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    store: MemoryRouteStore = field(default_factory=MemoryRouteStore)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    verdicts: dict[Component, str] = field(default_factory=dict)
    asked: list[Component] = field(default_factory=list)
    away: bool = False

    def __post_init__(self) -> None:
        for component in TABLES:
            at = Route(component=component, stage=Stage.MVP, active=serving_backend(component, Stage.MVP), epoch=1)
            self.store.write(at, self.store.read(component).version)
            self.registry.announce(component, "pod.adapter", "role", 1)
            self.went(component, Stage.SCALE, Stage.SHADOW)
        Telling(self.registry, "pod", dict).tell()
        for item in QUESTIONS:
            self.yes(item, NOW - timedelta(days=1))

    def went(self, component: Component, origin: Stage, goal: Stage, outcome: str = "holds") -> None:
        data = {"from": origin.value, "to": goal.value, "outcome": outcome, "seconds": 2.5, "namespace": "rehearsal"}
        self.audit.append(Kind.ENDED, component.value, "Job j", data)

    def yes(self, item: str, at: datetime) -> None:
        data = confirmation(item, QUESTIONS.get(item, "Is it?"), "", stack="x", at=at, days=7)
        self.audit.append(Kind.CONFIRMED, "", "ann", data)

    def beside(self, component: Component) -> str:
        self.asked.append(component)
        verdict = self.verdicts.get(component, "holds")
        told: dict[str, Any] = {"name": "redis: reachable", "verdict": verdict, "found": "as cutover"}
        told |= {} if verdict == "holds" else {"expected": "an answer", "detail": "silent", "fix": "start it"}
        whole = verdict if verdict == "holds" else "does not hold"
        return f"VERDICT\n{json.dumps({'verdict': whole, 'message': 'm', 'steps': [{'items': [told]}]})}"

    def connected(self, context: str | None = None, namespace: str = "") -> Cluster:
        if self.away:
            raise RouteUnavailable("no answer")
        done = {
            "metadata": {"name": "transition-1"},
            "spec": {"template": {"metadata": {"labels": {"crossover.dev/stage": "mvp"}}}},
            "status": {"conditions": [{"type": "Complete", "status": "True"}]},
        }
        return Cluster(
            self.store, self.registry, self.registry, MemoryBackupNotes(), MemoryAccess(NEEDED), lambda _: done,
            lambda _: Deployed(1, 1), lambda _: self.audit, self.resources, lambda _: None, self.beside,
        )  # fmt: skip
