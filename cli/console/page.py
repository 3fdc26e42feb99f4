"""The console as HTML: sections that the page's script puts in the place of their older selves. A browser without
scripts gets the same page, and asks for it anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cli.console.acts import offered
from cli.console.picture import Line, Picture, Run, Shown
from cli.report.html import Html, el, join, table
from cli.report.page import NAMES
from contracts.stages import Component, Stage

RELOAD_SECONDS = 5
_STATES = {"in step": "good", "not deployed": "dim", "switching": "moving"}


@dataclass(frozen=True, slots=True)
class Shape:
    """How the page is: `acts`, whether there are buttons; `closed`, whether it asks for a token before it shows
    anything."""

    acts: bool = False
    closed: bool = False


def sections(picture: Picture, shape: Shape) -> Mapping[str, Html]:
    """What changes, by the id of its element."""
    return {
        "alerts": _alerts(picture),
        "components": join(*(_component(shown, shape) for shown in picture.components)),
        "log": _log(picture),
    }


def page(picture: Picture, shape: Shape) -> str:
    """The whole page."""
    filled: Mapping[str, Html] = {} if shape.closed else sections(picture, shape)
    title = f"Stack {picture.stack}"
    again = el("noscript", el("meta", http_equiv="refresh", content=str(RELOAD_SECONDS)))
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        again,
        el("title", title),
        el("link", rel="icon", href="data:,"),
        el("link", rel="stylesheet", href="/console.css"),
        el("script", src="/console.js", defer="defer"),
    )
    told = f"as of {picture.at[:19].replace('T', ' ')} UTC" if not shape.closed else ""
    body = el(
        "body",
        el("header", el("h1", title), el("p", told, id="age", class_="dim")),
        el("div", _lost(picture), id="lost", role="status", class_=None if picture.lost else "quiet"),
        el("div", filled.get("alerts", ""), id="alerts"),
        el("main", filled.get("components", ""), id="components", class_="cards"),
        el("h2", "What happened"),
        el("div", filled.get("log", ""), id="log"),
        _dialog() if shape.acts or shape.closed else "",
    )
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _lost(picture: Picture) -> str:
    return lost_text(picture) if picture.lost else ""


def lost_text(picture: Picture) -> str:
    """What is said where nothing can be read from the cluster."""
    return f"The cluster cannot be read: {picture.lost}. What is shown is what was read last." if picture.lost else ""


def _alerts(picture: Picture) -> Html:
    found = [(alert.severity, f"{_name(alert.component)}: {alert.text}") for alert in picture.alerts]
    found += [("ticket", trouble) for trouble in picture.troubles]
    if not found:
        return el("p", "No alert." if picture.components else "The cluster is asked ...", class_="dim")
    return el("ul", *(el("li", text, class_=f"a-{severity}") for severity, text in found), class_="alerts")


def _name(component: str) -> str:
    return NAMES.get(component, component)


def _component(shown: Shown, shape: Shape) -> Html:
    row = shown.status
    state = el("span", row.state, class_=f"state {_STATES.get(row.state, 'bad')}")
    parts: list[object] = [el("h2", _name(row.component.value), " ", state)]
    if shown.trouble:
        since = f"as of {_time(shown.seen)}" if shown.seen else "never read"
        parts.append(el("p", f"{since}; cannot be read now", class_="stale"))
    parts += [_rail(shown), _facts(shown)]
    parts += [el("p", note, class_="note") for note in shown.notes]
    if shown.run is not None:
        parts.append(_run(shown.run))
    if shape.acts and (acts := offered(row.component)):
        buttons = [
            el("button", act.value, type="button", data_component=row.component.value, data_act=act.value,
               class_=f"act-{act.value}")
            for act in acts
        ]  # fmt: skip
        parts.append(el("p", *buttons, class_="acts"))
    return el("section", *parts, class_="card stale-card" if shown.trouble else "card", id=f"c-{row.component.slug}")


def _rail(shown: Shown) -> Html:
    """The stages, with the one that is active and the one that is wanted."""
    row = shown.status
    items = []
    for stage in Stage:
        here, wanted = stage is row.active, stage is row.wanted
        told = "active" if here else "wanted" if wanted else ""
        classes = f"{'here s-' + stage.value if here else ''} {'wanted' if wanted else ''}".strip()
        items.append(el("li", stage.value, el("small", told), class_=classes or None))
    return el("ol", *items, class_="rail")


def _facts(shown: Shown) -> Html:
    row = shown.status
    facts: list[tuple[str, object]] = [("serves", row.serves)]
    if row.epoch is not None:
        facts += [("epoch", row.epoch), ("adapters", row.adapters)]
    if row.epoch is not None and row.component is Component.EVENT_BUS:
        facts.append(("lag", f"{sum(row.lag.values())} events"))
    since = f", {_time(row.since)}" if row.since else ""
    facts.append(("last verdict", f"{row.last_verdict}{since}"))
    if shown.stall:
        facts.append(("last stall", shown.stall))
    facts += [("catching up", pace) for pace in shown.paces]
    return el("dl", *(join(el("dt", name), el("dd", value)) for name, value in facts))


def _run(run: Run) -> Html:
    parts: list[object] = [el("p", "Under way: ", el("code", run.job))]
    if run.share is not None:
        parts.append(el("progress", f"{run.share} %", value=run.share, max=100, aria_label="copied"))
    parts.append(el("pre", "\n".join(run.lines) or "it has written nothing yet"))
    return el("div", *parts, class_="run")


def _log(picture: Picture) -> Html:
    if not picture.log:
        return el("p", "The audit log tells of nothing yet.", class_="dim")
    rows: list[tuple[object, ...]] = [_line(line) for line in picture.log]
    return table(("when (UTC)", "component", "what", "who", "detail"), rows)


def _line(line: Line) -> tuple[object, ...]:
    return _time(line.at), _name(line.component) or "all", line.kind, line.actor, line.text


def _time(text: str) -> str:
    return text[:19].replace("T", " ")


def _dialog() -> Html:
    """Where a token is asked for, steps are shown and a name is typed. The script fills it."""
    return el(
        "dialog",
        el("h2", "", id="d-title"),
        el("p", "", id="d-text"),
        el("pre", "", id="d-steps", hidden="hidden", tabindex="0"),
        el("label", el("span", "", id="d-ask"), el("input", id="d-input", autocomplete="off", spellcheck="false"),
           id="d-label"),
        el("p", "", id="d-problem", class_="bad", role="alert"),
        el("p", el("button", "close", type="button", id="d-close"), " ", el("button", "", type="button", id="d-go"),
           class_="acts"),
        id="dialog", aria_labelledby="d-title",
    )  # fmt: skip
