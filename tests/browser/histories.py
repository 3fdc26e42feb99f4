"""A migration with all that a page can show: four components, ways there and back, failures, figures under load."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from adapters.routes.base import AdapterRegistry, Bulletins
from cli.report.measured import Demonstration, Measured
from cli.report.model import Gathered, LastRun, MigrationReport, build, steps_of
from cli.status import judge
from contracts.audit import Kind, moment
from contracts.routes import HistoryEntry, Mirror, Route
from contracts.stages import Component, Stage, serving_backend
from cutover.carrier.telling import Carried, Telling
from cutover.positions import carried
from cutover.tables import TABLES
from tests.unit.cli.report.migrations import NOON, Told, at
from validation.result import Verdict
from validation.verdicts import KeptVerdict

BUS, LLM = Component.EVENT_BUS, Component.LLM_SERVICE
DATABASE, BACKTESTING = Component.DATABASE, Component.BACKTESTING
NOW = NOON + timedelta(minutes=170)
_SECONDS = {
    "preflight": 1.2, "backfill": 21.4, "copy": 48.2, "warm_up": 14.0, "compare": 6.1, "fence": 0.034, "seal": 0.041,
    "drain": 0.012, "check": 0.055, "open": 0.008, "watch": 10.5,
}  # fmt: skip
HOLDS = "holds"


def _steps(component: Component, origin: Stage, goal: Stage, outcome: str, until: str = "") -> list[dict[str, Any]]:
    """Those of the table, up to `until`, the last one with `outcome`."""
    names = [step.value for step in TABLES[component].rows[origin, goal]]
    names = names[: names.index(until) + 1] if until else names
    return [
        {
            "transition": f"{origin} -> {goal}", "step": name, "seconds": _SECONDS.get(name, 0.2),
            "outcome": outcome if name == names[-1] else HOLDS,
        }
        for name in names
    ]  # fmt: skip


def _moved(
    told: Told, minutes: float, component: Component, way: str, outcome: str = HOLDS, *, epoch: int, detail: str = ""
) -> None:
    origin, goal = (Stage(name) for name in way.split("-"))
    job = f"Job crossover-{component.slug}-transition-{epoch}"
    told.tell(minutes, Kind.BEGUN, component, job, from_=origin.value, to=goal.value, epoch=epoch)
    ended = {"outcome": outcome, "seconds": 150.0, "detail": detail, "epoch": epoch}
    steps = _steps(component, origin, goal, outcome, detail.partition(":")[0])
    told.tell(minutes + 2.5, Kind.ENDED, component, job, from_=origin.value, to=goal.value, steps=steps, **ended)


def told() -> Told:
    """What the audit log tells."""
    log = Told()
    log.tell(
        0, Kind.HELD, None, "ann@desk", detail="the maintenance window is closed until Saturday 2026-05-02 22:00 UTC"
    )
    log.tell(1, Kind.OUTSIDE, BUS, "ann@desk", reason="the exchange is closed today")
    log.tell(2, Kind.CONFIG, BUS, "ann@desk", from_="mvp", to="scale")
    _moved(log, 3, BUS, "mvp-shadow", epoch=1)
    _moved(log, 9, BUS, "shadow-scale", "undone", epoch=2,
           detail="drain: kafka lacks 412 events of market_data after 30 s: its volume is full")  # fmt: skip
    _moved(log, 24, BUS, "shadow-scale", epoch=3)
    log.tell(30, Kind.APPROVED, LLM, "bob@desk", asked="Move llm_service now?")
    log.tell(31, Kind.CONFIG, LLM, "bob@desk", from_="mvp", to="scale")
    _moved(log, 32, LLM, "mvp-shadow", epoch=1)
    _moved(log, 40, LLM, "shadow-scale", epoch=2)
    log.tell(60, Kind.CONFIG, DATABASE, "bob@desk", from_="mvp", to="scale")
    _moved(log, 61, DATABASE, "mvp-shadow", epoch=1)
    _moved(log, 80, DATABASE, "shadow-scale", epoch=2)
    log.tell(110, Kind.CONFIG, DATABASE, "ann@desk", from_="scale", to="shadow")
    _moved(log, 111, DATABASE, "scale-shadow", epoch=3)
    log.tell(130, Kind.REFUSED, BACKTESTING, "bob@desk", asked="Move backtesting now?")
    log.tell(140, Kind.CONFIG, BACKTESTING, "bob@desk", from_="mvp", to="scale")
    _moved(log, 141, BACKTESTING, "mvp-shadow", epoch=1)
    log.tell(
        160, Kind.BEGUN, BACKTESTING, "Job crossover-backtesting-transition-2", from_="shadow", to="scale", epoch=2
    )
    return log


def route(
    component: Component, stage: Stage, epoch: int, now: datetime, detail: str, verdict: Verdict = Verdict.HOLDS
) -> Route:
    """One whose sides were compared a while before `now`."""
    active = serving_backend(component, stage)
    kept = KeptVerdict(outcome=verdict, at=now - timedelta(minutes=40), active=active, detail=detail)
    mirrors = {
        BUS: Mirror(source="kafka", target="redis", starts={}, target_starts={}),
        DATABASE: carried("hosted", "selfhosted", 1),
    }
    share = {"share": 80, "sample": 5.0} if component is LLM else {"sample": 10.0} if component is BACKTESTING else {}
    return Route.model_validate(
        {"component": component, "stage": stage, "active": active, "epoch": epoch, "mirror": mirrors.get(component),
         "verdict": kept.to_json(), **share}
    )  # fmt: skip


def routes(now: datetime = NOW) -> dict[Component, Route]:
    """All of them."""
    differs = "trading.orders: 1 row differs, id 48213, price"
    return {
        BUS: route(BUS, Stage.SCALE, 3, now, "186,231 events of 2 topics equal"),
        LLM: route(LLM, Stage.SCALE, 2, now, "212 prompts: own 0.93, hosted 0.92, within the margin"),
        DATABASE: route(DATABASE, Stage.SHADOW, 3, now, differs, Verdict.DOES_NOT_HOLD),
        BACKTESTING: route(BACKTESTING, Stage.SHADOW, 1, now, "48 runs, 2,113 orders equal"),
    }


def moved(live: Route, when: datetime) -> Route:
    """It, with a move that ended then."""
    ended = {"from_stage": Stage.SHADOW, "to_stage": live.stage, "epoch": live.epoch, "outcome": HOLDS}
    return live.with_history(HistoryEntry.model_validate({"at": moment(when), **ended}))


WANTED = {BUS: Stage.SCALE, LLM: Stage.SCALE, DATABASE: Stage.SHADOW, BACKTESTING: Stage.SCALE}


def announce(registry: AdapterRegistry, bulletins: Bulletins) -> None:
    """Adapters and a carrier that are alive."""
    registry.announce(BUS, "trading-engine-0", "bus", 3, {"market_data/engine": 41, "trading_signals/desk": 3})
    for component in (LLM, DATABASE, BACKTESTING):
        registry.announce(component, f"{component.slug}-0", "adapter", 1)
    told = {"hosted": Carried(behind_seconds=0.3, lag_bytes=12_000, safe_bytes=512_000_000)}
    Telling(bulletins, "database-carrier-0", lambda: told).tell()


# -- the report


def _figures(times: dict[str, float], *, rate: float, acknowledged: int, seconds: float) -> dict[str, Any]:
    counts = dict.fromkeys(("lost", "doubled", "reordered", "changed", "caller_errors"), 0)
    return {"rate": rate, "seconds": seconds, "counts": {"acknowledged": acknowledged, **counts}, "times": times}


def demonstration() -> Demonstration:
    """Figures under load, of every component."""
    bus = {"publish_stall_ms_max": 598.9, "consume_stall_ms_max": 828.9}
    bank, chats = {"stall_ms_max": 400.4, "stall_ms_p99": 96.9}, {"ttft_ms_p50": 399.6, "gap_ms_max": 1137.3}
    runs = {"answer_ms_max": 240.0, "run_ms_p95": 1900.0, "moved": 3.0, "compared": 12.0, "differing": 0.0}
    loads = {
        BUS: _figures(bus, rate=1050.0, acknowledged=186_231, seconds=57.4),
        LLM: _figures(chats, rate=1.5, acknowledged=429, seconds=226.1),
        DATABASE: _figures(bank, rate=200.0, acknowledged=21_813, seconds=49.1),
        BACKTESTING: _figures(runs, rate=0.5, acknowledged=61, seconds=38.0),
    }
    switches = [
        Measured.model_validate({"component": component, "from": origin, "to": goal, "started": moment(at(1)),
                                 "verdict": HOLDS, **load})
        for component, load in loads.items() for origin, goal in (("mvp", "scale"), ("scale", "shadow"))
    ]  # fmt: skip
    failed = switches[-1].model_copy(
        update={"verdict": "does not hold", "failures": ("differing: 2 runs came to something else",)}
    )
    return Demonstration(verdict="does not hold", switches=(*switches[:-1], failed))


def report() -> MigrationReport:
    """The whole report."""
    rows = [judge(component, WANTED[component], routes()[component], (), now=NOW) for component in Component]
    runs = {
        component: LastRun(
            job=f"crossover-{component.slug}-transition-3", image="registry.example/crossover/workload:0.1.0",
            verdict=HOLDS, message="every step holds",
            steps=steps_of(_steps(component, Stage.SHADOW, Stage.SCALE, HOLDS)),
        )
        for component in Component
    }  # fmt: skip
    log = told().log
    versions = {"crossover": "0.1.0", "Pulumi": "v3.256.0", "Python": "3.13.0", "Kubernetes": "v1.36.3"}
    return build(
        Gathered(
            stack="live", by="ann@desk", now=NOW, rows=rows, routes=routes(), log=log.lines(), broken=log.verify(),
            runs=runs, demonstration=demonstration(), versions=versions,
        )
    )  # fmt: skip
