"""What the demonstration tells at its end: reports/demo.json, and a table. Pure but for `write`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from contracts.stages import Component
from local.demo.pod import EFFECTS_OF
from validation.load.verifying import WHOLE
from validation.result import Report, Verdict, combine

COUNTS = ("acknowledged", "lost", "doubled", "reordered", "changed", "caller_errors")
STALLS = ("publish_stall_ms_max", "consume_stall_ms_max")
BANK_STALLS = ("stall_ms_max", "stall_ms_p99")
CHAT_STALLS = ("ttft_ms_p50", "ttft_ms_p95", "gap_ms_max")
BACKTEST_TIMES = ("answer_ms_max", "run_ms_p50", "run_ms_p95", "moved", "compared", "differing")
_STYLES = {Verdict.HOLDS: "green", Verdict.DOES_NOT_HOLD: "bold red", Verdict.COULD_NOT_CHECK: "bold yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One `pulumi up` that moved a component. Times in ns since 1970 UTC; `failure` is why it failed."""

    component: str
    origin: str
    goal: str
    started: int
    ended: int
    failure: str = ""

    @property
    def name(self) -> str:
        """The name of its window."""
        return f"{self.origin}->{self.goal}"

    def window(self, around: float) -> tuple[int, int]:
        """From `around` seconds before it to as many after it."""
        return self.started - int(around * 1e9), self.ended + int(around * 1e9)


def row(switch: Switch, report: Report | None, stalls: Sequence[str] = STALLS) -> dict[str, Any]:
    """The entry of reports/demo.json. A figure that could not be had is null, and the verdict says so."""
    figures: Mapping[str, float] = report.figures if report else {}
    verdict = report.overall() if report else Verdict.COULD_NOT_CHECK
    if switch.failure:
        verdict = Verdict.DOES_NOT_HOLD
    counted = {name: int(figures[name]) if name in figures else None for name in COUNTS}
    return {
        "component": switch.component,
        "from": switch.origin,
        "to": switch.goal,
        "started": datetime.fromtimestamp(switch.started / 1e9, UTC).isoformat(timespec="milliseconds"),
        "seconds": round((switch.ended - switch.started) / 1e9, 1),
        **counted,
        **{name: figures.get(name) for name in stalls},
        "rate": figures.get("rate"),
        "window_seconds": figures.get("seconds"),
        "acknowledged_by": {
            name.removeprefix("acknowledged_"): int(value)
            for name, value in figures.items()
            if name.startswith("acknowledged_")
        },
        "verdict": verdict.value,
        "failures": ([switch.failure] if switch.failure else []) + _failures(report),
    }


def _failures(report: Report | None) -> list[str]:
    if report is None:
        return ["there is no report on this"]
    return [f"{check.name}: {check.found} {check.detail}".strip() for check in report.failures()]


def document(
    switches: Sequence[Switch], reports: Mapping[str, Report], facts: Mapping[str, Any], problem: str = ""
) -> dict[str, Any]:
    """The whole of reports/demo.json. `facts` are the conditions of the run."""
    rows = [row(switch, reports.get(switch.name)) for switch in switches]
    whole, effects = reports.get(WHOLE), reports.get(EFFECTS_OF)
    verdicts = [Verdict(entry["verdict"]) for entry in rows]
    verdicts.append(whole.overall() if whole else Verdict.COULD_NOT_CHECK)
    verdicts.append(effects.overall() if effects else Verdict.COULD_NOT_CHECK)
    if problem:
        verdicts.append(Verdict.DOES_NOT_HOLD)
    return {
        "switches": rows,
        "whole": _brief(whole),
        "effects": {"of": EFFECTS_OF, **_brief(effects)},
        "run": dict(facts),
        "problem": problem or None,
        "verdict": combine(verdicts).value,
    }


def part_document(
    switches: Sequence[Switch],
    reports: Mapping[str, Report],
    whole: Report | None,
    stalls: Sequence[str],
    problem: str = "",
) -> dict[str, Any]:
    """What a component's part of the demonstration adds: its switches, and its load as a whole."""
    rows = [row(switch, reports.get(switch.name), stalls) for switch in switches]
    verdicts = [Verdict(entry["verdict"]) for entry in rows]
    verdicts.append(whole.overall() if whole else Verdict.COULD_NOT_CHECK)
    if problem:
        verdicts.append(Verdict.DOES_NOT_HOLD)
    return {"switches": rows, "whole": _brief(whole), "problem": problem or None, "verdict": combine(verdicts).value}


def joined(body: Mapping[str, Any], name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with a component's part under `name`, and one verdict."""
    problems = [problem for problem in (body["problem"], part["problem"]) if problem]
    return {
        **body,
        "switches": [*body["switches"], *part["switches"]],
        name: part["whole"],
        "problem": "\n".join(problems) or None,
        "verdict": combine([Verdict(body["verdict"]), Verdict(part["verdict"])]).value,
    }


def _brief(report: Report | None) -> dict[str, Any]:
    return {"figures": dict(report.figures) if report else {}, "failures": _failures(report)}


def write(path: Path, body: Mapping[str, Any]) -> None:
    """Write reports/demo.json, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(body, indent=2) + "\n")
    scratch.replace(path)


def table(body: Mapping[str, Any], groups: int) -> Table:
    """The figures for people. Counts over groups are sums: one event lost by two groups counts twice."""
    entries = [entry for entry in body["switches"] if entry["component"] == Component.EVENT_BUS.value]
    shown = _headed(f"The ledger, per switch ({groups} consumer groups)", entries)
    lines: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "pulumi up": lambda e: f"{e['seconds']} s",
        "load": lambda e: "-" if e["rate"] is None else f"{e['rate']:.0f} events/s for {e['window_seconds']:.0f} s",
        "acknowledged": lambda e: _number(e["acknowledged"]),
        "  by backend": lambda e: ", ".join(f"{name} {count:,}" for name, count in e["acknowledged_by"].items()),
        "lost": lambda e: _number(e["lost"]),
        "doubled": lambda e: _number(e["doubled"]),
        "reordered": lambda e: _number(e["reordered"]),
        "changed": lambda e: _number(e["changed"]),
        "errors seen by callers": lambda e: _number(e["caller_errors"]),
        "longest publish stall": lambda e: _milliseconds(e["publish_stall_ms_max"]),
        "longest consume stall": lambda e: _milliseconds(e["consume_stall_ms_max"]),
    }
    return _filled(shown, lines, entries)


def bank_table(body: Mapping[str, Any]) -> Table:
    """The figures of the database's switches, for people."""
    entries = [entry for entry in body["switches"] if entry["component"] == Component.DATABASE.value]
    shown = _headed("The bank, per switch of the database", entries)
    lines: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "pulumi up": lambda e: f"{e['seconds']} s",
        "load": lambda e: "-" if e["rate"] is None else f"{e['rate']:.0f} transfers/s for {e['window_seconds']:.0f} s",
        "acknowledged": lambda e: _number(e["acknowledged"]),
        "lost": lambda e: _number(e["lost"]),
        "doubled": lambda e: _number(e["doubled"]),
        "changed": lambda e: _number(e["changed"]),
        "failed transactions": lambda e: _number(e["caller_errors"]),
        "longest stall": lambda e: _milliseconds(e["stall_ms_max"]),
        "99 % are answered within": lambda e: _milliseconds(e["stall_ms_p99"]),
    }
    return _filled(shown, lines, entries)


def chat_table(body: Mapping[str, Any]) -> Table:
    """The figures of the language model's switches, for people."""
    entries = [entry for entry in body["switches"] if entry["component"] == Component.LLM_SERVICE.value]
    shown = _headed("Conversations, per switch of the language model", entries)
    lines: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "pulumi up": lambda e: f"{e['seconds']} s",
        "load": lambda e: "-" if e["rate"] is None else f"{e['rate']:.1f} calls/s for {e['window_seconds']:.0f} s",
        "answers that came whole": lambda e: _number(e["acknowledged"]),
        "  by who answered": lambda e: ", ".join(f"{name} {count:,}" for name, count in e["acknowledged_by"].items()),
        "lost": lambda e: _number(e["lost"]),
        "doubled": lambda e: _number(e["doubled"]),
        "errors seen by callers": lambda e: _number(e["caller_errors"]),
        "first token, median": lambda e: _milliseconds(e["ttft_ms_p50"]),
        "first token, 95 % within": lambda e: _milliseconds(e["ttft_ms_p95"]),
        "longest gap in a stream": lambda e: _milliseconds(e["gap_ms_max"]),
    }
    return _filled(shown, lines, entries)


def backtest_table(body: Mapping[str, Any]) -> Table:
    """The figures of the switches of backtests, for people."""
    entries = [entry for entry in body["switches"] if entry["component"] == Component.BACKTESTING.value]
    shown = _headed("Backtests, per switch", entries)
    lines: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "pulumi up": lambda e: f"{e['seconds']} s",
        "load": lambda e: "-" if e["rate"] is None else f"{e['rate']:.1f} runs/s for {e['window_seconds']:.0f} s",
        "runs done": lambda e: _number(e["acknowledged"]),
        "  by engine": lambda e: ", ".join(f"{name} {count:,}" for name, count in e["acknowledged_by"].items()),
        "lost": lambda e: _number(e["lost"]),
        "made twice": lambda e: _number(e["doubled"]),
        "ended by another engine": lambda e: _number(e["moved"]),
        "errors seen by callers": lambda e: _number(e["caller_errors"]),
        "done by both engines, too": lambda e: _number(e["compared"]),
        "  of these other results": lambda e: _number(e["differing"]),
        "longest answer to a caller": lambda e: _milliseconds(e["answer_ms_max"]),
        "a run takes, median": lambda e: _milliseconds(e["run_ms_p50"]),
        "a run takes, 95 % within": lambda e: _milliseconds(e["run_ms_p95"]),
    }
    return _filled(shown, lines, entries)


def _headed(title: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    for entry in entries:
        shown.add_column(f"{entry['from']} → {entry['to']}", justify="right")
    return shown


def _filled(
    shown: Table, lines: Mapping[str, Callable[[Mapping[str, Any]], str]], entries: Sequence[Mapping[str, Any]]
) -> Table:
    for name, of in lines.items():
        shown.add_row(name, *(of(entry) for entry in entries))
    verdicts = [Verdict(entry["verdict"]) for entry in entries]
    shown.add_row("verdict", *(Text(v.value.replace("_", " "), style=_STYLES[v]) for v in verdicts))
    return shown


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"


def _milliseconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f} ms"
