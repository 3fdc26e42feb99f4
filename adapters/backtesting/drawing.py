"""Backtests drawn, as one page that needs no network: plotly's script is in it. The one module that imports plotly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from plotly import graph_objects as go
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from adapters.backtesting.curves import Drawn
from contracts.sweeps import HeatMap, Sweep

_COLOURS = ("#1f6f8b", "#d1495b")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { border: 1px solid #ccc; padding: .2rem .6rem; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums } .wrong { color: #b00020; font-weight: 600 }
.right { color: #1b7f3b } pre { white-space: pre-wrap; background: #f5f5f5; padding: .5rem }
"""


def page(title: str, lines: Sequence[str], runs: Sequence[Drawn]) -> str:
    """An HTML page: `lines` of text, a table of `runs`, and each of them drawn, those that differ first."""
    ordered = sorted(runs, key=lambda run: run.divergence is None or run.divergence.same)
    text = "".join(f"<p>{escape(line)}</p>" for line in lines)
    body = [_overview(ordered), *(_part(number, run) for number, run in enumerate(ordered, 1))]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><h1>{escape(title)}</h1>{text}{''.join(body)}</body></html>"
    )


def _overview(runs: Sequence[Drawn]) -> str:
    rows = []
    for number, run in enumerate(runs, 1):
        found = run.divergence
        if found is None:
            told = f"<td>{escape(run.curves[0].engine)} alone</td>"
        elif found.same:
            told = '<td class="right">the same</td>'
        else:
            told = f'<td class="wrong">{found.differences} differences</td>'
        apart = "" if found is None else f"{found.equity_apart:.1e}"
        cells = (f"{run.curves[0].figures.trades}", f"{run.bars:,}", apart)
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        name = f'<td><a href="#run-{number}">{escape(run.title)}</a></td>'
        rows.append(f"<tr>{name}{told}{numbers}</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("backtest", "engines", "trades", "bars", "equity apart"))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _part(number: int, run: Drawn) -> str:
    asked = ", ".join(f"{name} {value}" for name, value in run.request.items())
    text = [f'<h2 id="run-{number}">{number}. {escape(run.title)}</h2><p>{escape(asked)}</p>', _figures(run)]
    if run.divergence is not None and not run.divergence.same:
        text.append(f'<pre class="wrong">{escape(chr(10).join(run.divergence.named))}</pre>')
    if len(run.at) < run.bars:
        text.append(f"<p>{len(run.at):,} of {run.bars:,} bars are drawn, the extremes among them.</p>")
    return "".join([*text, _chart(run)])


def _figures(run: Drawn) -> str:
    head = "".join(f"<th>{escape(f'{curve.engine} {curve.version}')}</th>" for curve in run.curves)
    rows = []
    for name in type(run.curves[0].figures).model_fields:
        values = [getattr(curve.figures, name) for curve in run.curves]
        cells = "".join(f'<td class="number">{_number(value)}</td>' for value in values)
        rows.append(f"<tr><td>{escape(name.replace('_', ' '))}</td>{cells}</tr>")
    return f"<details><summary>figures</summary><table><tr><th></th>{head}</tr>{''.join(rows)}</table></details>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"


def _chart(run: Drawn) -> str:
    titles = ["equity", "drawdown", "distance of both equities"][: 3 if run.apart else 2]
    chart = make_subplots(
        rows=len(titles), cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.07,
        row_heights=[0.55, 0.25, 0.2][: len(titles)],
    )  # fmt: skip
    for curve, colour, dash in zip(run.curves, _COLOURS, ("solid", "dot"), strict=False):
        line = {"color": colour, "dash": dash, "width": 1.5}
        chart.add_trace(_line(run, curve.equity, curve.engine, line), row=1, col=1)
        below = [-part for part in curve.drawdown]
        chart.add_trace(_line(run, below, curve.engine, line, shown=False), row=2, col=1)
    if run.apart:
        chart.add_trace(_line(run, run.apart, "distance", {"color": "#666", "width": 1}, shown=False), row=3, col=1)
    if run.marks:
        chart.add_trace(_marks(run), row=1, col=1)
    chart.update_layout(height=280 * len(titles), margin={"l": 60, "r": 20, "t": 40, "b": 30}, hovermode="x unified")
    return html(chart)


def _line(run: Drawn, values: Iterable[float], name: str, line: dict[str, Any], *, shown: bool = True) -> Any:
    return go.Scatter(x=run.at, y=list(values), name=name, mode="lines", line=line, showlegend=shown, legendgroup=name)


def _marks(run: Drawn) -> Any:
    """Where orders differ, on the first engine's equity."""
    heights = [_before(run, mark.at) for mark in run.marks]
    return go.Scatter(
        x=[mark.at for mark in run.marks], y=heights, text=[mark.text for mark in run.marks], mode="markers",
        name="orders that differ", marker={"color": "#b00020", "size": 9, "symbol": "x"},
    )  # fmt: skip


def _before(run: Drawn, at: Any) -> float:
    worth = run.curves[0].equity[0]
    for when, equity in zip(run.at, run.curves[0].equity, strict=True):
        if when > at:
            break
        worth = equity
    return worth


def html(chart: Any) -> str:
    """A chart as a part of a page that has plotly's script."""
    return str(chart.to_html(full_html=False, include_plotlyjs=False))


def heat_map_page(drawn: HeatMap, sweep: Sweep) -> str:
    """The heat map of a sweep as one page."""
    figure = go.Figure(
        go.Heatmap(
            z=drawn.values,
            x=drawn.x_labels,
            y=drawn.y_labels or [""],
            colorbar={"title": {"text": f"{drawn.metric} ({drawn.how})"}},
            hoverongaps=False,
            colorscale="Viridis",
        )
    )
    # Labels are categories: as numbers, values that lie far apart would leave gaps.
    figure.update_layout(
        title={"text": f"{sweep.asked.strategy} on {' and '.join(sweep.asked.symbols)}, by {sweep.engine}"},
        xaxis={"title": {"text": drawn.x}, "type": "category"},
        yaxis={"title": {"text": drawn.y}, "type": "category"},
        template="plotly_white",
    )
    return str(figure.to_html(full_html=True, include_plotlyjs=True))
