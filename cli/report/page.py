"""The report as one HTML file: no script runs in it, and nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cli.report import charts
from cli.report.html import Html, el, join, table
from cli.report.measured import COUNTS, Measured
from cli.report.model import MigrationReport, Move, Standing, StepTime, bands, instant
from cli.report.shell import embedded, whole
from contracts.stages import Component
from validation.verdicts import moment

"""What a browser may load for it: nothing."""
NAMES = {
    "event_bus": "Event bus",
    "llm_service": "Language models",
    "database": "Database",
    "backtesting": "Backtests",
}
_SHOWN = {"caller_errors": "errors seen by callers"}


def page(report: MigrationReport, signature: str = "") -> str:
    """The whole file. `signature`: of its digest (signing.py), where it is signed."""
    title = f"Migration of stack {report.stack}"
    return whole(
        title,
        el("p", f"Made {_when(report.made_at)} UTC by {report.made_by}", class_="dim"),
        _gaps(report),
        _overview(report),
        _timeline(report),
        *(_component(report, standing) for standing in report.standings),
        _config(report),
        _said(report),
        _measured(report),
        _versions(report),
        _proof(report),
        _data(report, signature),
    )


def _when(text: str) -> str:
    """A time to the second, by UTC."""
    return f"{instant(text):%Y-%m-%d %H:%M:%S}"


def _name(component: str) -> str:
    return NAMES.get(component, component)


def _outcome(text: str, good: bool) -> Html:
    return el("span", text.replace("_", " "), class_="good" if good else "bad")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


def _gaps(report: MigrationReport) -> Html:
    if not report.gaps:
        return join()
    listed = el("ul", *(el("li", gap) for gap in report.gaps))
    return el("div", el("strong", "Not all is as it should be:"), listed, class_="box")


def _overview(report: MigrationReport) -> Html:
    rows: list[tuple[object, ...]] = []
    for one in report.standings:
        last = next((move for move in reversed(report.moves) if move.component is one.component and move.ended), None)
        told = _outcome(f"{last.origin} → {last.goal}: {last.outcome}", last.good) if last is not None else "none"
        state = _outcome(one.state, one.state in {"in step", "not deployed"})
        epoch = "" if one.epoch is None else one.epoch
        rows.append((_name(one.component), one.wanted.value, one.stage or "-", one.serves, epoch, state, told))
    head = ("component", "wanted", "stage", "serves", "epoch", "state", "last transition")
    return table(head, rows, numbers=(4,))


def _timeline(report: MigrationReport) -> Html:
    """Of each component the stages over time, and when it moved."""
    if not report.moves:
        return join(el("h2", "Timeline"), el("p", "No transition is told of yet.", class_="dim"))
    start, now = instant(report.moves[0].began), instant(report.made_at)
    lanes = [_lane(report, standing, start, now) for standing in report.standings]
    drawn = charts.timeline(lanes, start, now)
    told = "Each band is a stage, each upright line a transition; a broken line is one that did not end as it should."
    return join(el("h2", "Timeline"), el("p", told, class_="dim"), drawn)


def _lane(report: MigrationReport, standing: Standing, start: datetime, now: datetime) -> charts.Lane:
    of = [move for move in report.moves if move.component is standing.component]
    spans = [
        charts.Span(band.start, band.end, band.stage, f"{band.stage} from {band.start:%Y-%m-%d %H:%M:%S}")
        for band in bands(standing, of, start, now)
    ]
    marks = [
        charts.Mark(
            instant(move.ended or move.began), "good" if move.good else "bad",
            f"{move.origin} → {move.goal}: {move.outcome}, {_when(move.ended or move.began)}",
        )
        for move in of
    ]  # fmt: skip
    return charts.Lane(_name(standing.component), spans, marks)


def _component(report: MigrationReport, standing: Standing) -> Html:
    of = [move for move in report.moves if move.component is standing.component]
    parts: list[object] = [el("h2", _name(standing.component))]
    if standing.notes:
        parts.append(el("ul", *(el("li", note) for note in standing.notes)))
    parts += [_compared(standing), _moves(of), _longest(of), _run(standing)]
    return el("section", *parts)


def _compared(standing: Standing) -> Html:
    kept = standing.compared
    if kept is None:
        return join()
    told = _outcome(kept.outcome.value, kept.outcome.passed)
    return el("p", "Last comparison: ", told, f", {moment(kept.at)}: {kept.detail or 'without figures'}")


def _moves(of: Sequence[Move]) -> Html:
    rows: list[tuple[object, ...]] = []
    for move in of:
        steps = ", ".join(_step(step) for step in move.steps)
        detail = join(move.detail, " " if move.detail else "", el("small", steps))
        by = move.by or "the route tells of it"
        told = _outcome(move.outcome, move.good)
        way, epoch = f"{move.origin} → {move.goal}", "" if move.epoch is None else move.epoch
        rows.append((_when(move.began), way, told, epoch, _seconds(move.seconds), by, detail))
    if not rows:
        return el("p", "No transition is told of yet.", class_="dim")
    return table(("began (UTC)", "way", "outcome", "epoch", "s", "by", "detail, and steps in s"), rows, numbers=(3, 4))


def _step(step: StepTime) -> str:
    told = "" if step.outcome == "holds" else f" ({step.outcome})"
    return f"{step.step} {_seconds(step.seconds)}{told}"


def _longest(of: Sequence[Move]) -> Html:
    """The steps of the newest move that has any, drawn."""
    newest = next((move for move in reversed(of) if move.steps), None)
    if newest is None:
        return join()
    rows = [
        charts.Bar(step.step, step.seconds, f"{_seconds(step.seconds)} s", "bar" if step.outcome == "holds" else "bad")
        for step in newest.steps
    ]
    title = f"Steps of {newest.origin} → {newest.goal}, {_when(newest.began)}"
    return join(el("h3", title), charts.bars(rows))


def _run(standing: Standing) -> Html:
    run = standing.run
    if not run.job:
        return join()
    if not run.verdict:
        return el("p", f"Last run: Job {run.job}: {run.problem or 'it tells nothing yet'}", class_="dim")
    told = [el("p", "Last run: Job ", el("code", run.job), ": ", _outcome(run.verdict, run.verdict == "holds"))]
    told += [el("p", text) for text in (run.message, run.unaudited) if text]
    return join(*told)


def _config(report: MigrationReport) -> Html:
    rows: list[tuple[object, ...]] = [
        (_name(one.component), one.first, one.last, one.changes, _when(one.at), one.by) for one in report.changes
    ]
    told = table(("component", "was", "asked for", "changes", "last (UTC)", "by"), rows, numbers=(3,))
    nothing = el("p", "The audit log tells of no change by the crossover command.", class_="dim")
    return join(el("h2", "Stages in config"), told if rows else nothing)


def _said(report: MigrationReport) -> Html:
    rows: list[tuple[object, ...]] = [
        (_when(one.at), _name(one.component) or "all", one.kind, one.by, one.detail) for one in report.said
    ]
    nothing = el("p", "Nobody asked, approved or held back anything by the crossover command.", class_="dim")
    told = table(("when (UTC)", "component", "what", "who", "detail"), rows)
    return join(el("h2", "Who asked, approved, refused"), told if rows else nothing)


def _measured(report: MigrationReport) -> Html:
    found = report.demonstration
    if found is None:
        return join()
    parts: list[object] = [el("h2", "Measured under load"), el("p", "Verdict: ", _passed(found.verdict))]
    if found.problem:
        parts.append(el("p", found.problem, class_="bad"))
    for component in Component:
        if of := [one for one in found.switches if one.component is component]:
            parts += [el("h3", _name(component)), _ledger(of), _stalls(of)]
    return el("section", *parts)


def _passed(verdict: str) -> Html:
    return _outcome(verdict, verdict == "holds")


def _ledger(of: Sequence[Measured]) -> Html:
    """The switches side by side: a row a figure."""
    head = ("", *(f"{one.origin} → {one.goal}" for one in of))
    rows: list[tuple[object, ...]] = [("s of pulumi up", *(_seconds(one.seconds) for one in of))]
    rows.append(("offered a second", *("" if one.rate is None else f"{one.rate:,.1f}" for one in of)))
    for name in COUNTS:
        if any(one.counts.get(name) is not None for one in of):
            rows.append((_SHOWN.get(name, name), *(_count(one.counts.get(name)) for one in of)))
    for name in dict.fromkeys(name for one in of for name in one.times):
        rows.append((_label(name), *(_count(one.times.get(name)) for one in of)))
    rows.append(("verdict", *(join(_passed(one.verdict), " ", "; ".join(one.failures)) for one in of)))
    return table(head, rows, numbers=tuple(range(1, len(head))))


def _count(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"


def _label(name: str) -> str:
    """`publish_stall_ms_max` -> `publish stall, max, ms`."""
    before, found, after = name.partition("_ms_")
    return f"{before.replace('_', ' ')}, {after}, ms" if found else name.replace("_", " ")


def _stalls(of: Sequence[Measured]) -> Html:
    rows = [
        charts.Bar(f"{one.origin} → {one.goal}, {_label(name).removesuffix(', ms')}", value, f"{value:,.0f} ms")
        for one in of for name, value in one.times.items() if "_ms_" in name and value is not None
    ]  # fmt: skip
    return charts.bars(rows) if rows else join()


def _versions(report: MigrationReport) -> Html:
    rows: list[tuple[object, ...]] = list(report.versions.items())
    rows += [(f"{_name(one.component)}, image of its last Transition", one.run.image) for one in report.standings]
    rows = [row for row in rows if row[1]]
    return join(el("h2", "Versions"), table(("what", "version"), rows))


def _proof(report: MigrationReport) -> Html:
    audit = report.audit
    if audit.whole is None:
        told = el("p", _outcome("The audit log could not be read", False), f": {audit.trouble}")
    elif not audit.whole:
        told = el("p", _outcome("The audit log is broken", False), f": {audit.trouble}")
    else:
        text = f"{audit.entries} entries, each following the one before it; the last has the hash "
        told = el("p", text, el("code", audit.last_hash or "(none)"))
    return join(el("h2", "Audit log"), told)


def _data(report: MigrationReport, signature: str) -> Html:
    told = (
        "All that is shown here comes from the JSON in this file's element #data. Its sha256, as JSON with sorted "
        "keys, without spaces, in ASCII, is "
    )
    signed = el("pre", signature, id="signature") if signature else Html("")
    return join(el("h2", "Data"), el("p", told, el("code", report.digest)), signed, embedded(report.data))
