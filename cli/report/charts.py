"""Charts as inline SVG: stages over time, and bars. Colours are classes of page.py's style, so that light and dark have
their own; whatever a colour says stands there as text, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cli.report.html import Html, el, join

_WIDTH, _LEFT, _RIGHT = 760, 122, 12
_LANE, _TOP, _AXIS = 34, 6, 22
_TICKS = 5
_BAR, _LABEL, _VALUE = 22, 270, 90


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a lane, in the class of its `kind`."""

    start: datetime
    end: datetime
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a lane."""

    at: datetime
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of a timeline."""

    label: str
    spans: Sequence[Span]
    marks: Sequence[Mark]


def timeline(lanes: Sequence[Lane], start: datetime, end: datetime) -> Html:
    """Rows over one axis of time."""
    end = max(end, start + timedelta(seconds=1))
    scale = (_WIDTH - _LEFT - _RIGHT) / (end - start).total_seconds()

    def x(at: datetime) -> float:
        return round(_LEFT + (min(max(at, start), end) - start).total_seconds() * scale, 1)

    height = _TOP + _LANE * len(lanes) + _AXIS
    parts = [_lane(lane, _TOP + _LANE * number, x) for number, lane in enumerate(lanes)]
    parts.append(_axis(start, end, _TOP + _LANE * len(lanes), x))
    label = "; ".join(f"{lane.label}: {', '.join(span.title for span in lane.spans) or 'nothing'}" for lane in lanes)
    return _svg(height, label, parts)


def _lane(lane: Lane, top: int, x: Callable[[datetime], float]) -> Html:
    middle = top + _LANE // 2
    parts = [el("text", lane.label, x=0, y=middle + 4, class_="label")]
    for span in lane.spans:
        left, right = x(span.start), x(span.end)
        title = el("title", span.title)
        parts.append(
            el(
                "rect",
                title,
                x=left,
                y=top + 6,
                width=max(right - left, 1.0),
                height=_LANE - 12,
                class_=f"s-{span.kind}",
            )
        )
        start = _free(left, len(span.kind) * 9 - 5, sorted(x(mark.at) for mark in lane.marks))
        if right - start > 9 * len(span.kind):
            parts.append(el("text", span.kind, x=start + 5, y=middle + 4, class_="inside"))
    for mark in lane.marks:
        at = x(mark.at)
        shape = f"M{at} {top + 2}v{_LANE - 4}"
        parts.append(el("path", el("title", mark.title), d=shape, class_=f"m-{mark.kind}"))
    return join(*parts)


def _free(left: float, width: float, marks: Sequence[float]) -> float:
    """Where so much text may begin, at `left` or behind a mark, that no mark crosses it. `marks`: in order."""
    for mark in marks:
        if left < mark < left + width + 5:
            left = mark
    return left


def _axis(start: datetime, end: datetime, top: int, x: Callable[[datetime], float]) -> Html:
    short = end - start < timedelta(days=1)
    parts = [el("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=top, y2=top, class_="axis")]
    for tick in range(_TICKS):
        at = start + (end - start) * tick / (_TICKS - 1)
        anchor = "start" if tick == 0 else "end" if tick == _TICKS - 1 else "middle"
        told = f"{at:%H:%M:%S}" if short and tick else f"{at:%Y-%m-%d %H:%M}"
        parts.append(el("line", x1=x(at), x2=x(at), y1=top, y2=top + 4, class_="axis"))
        parts.append(el("text", told, x=x(at), y=top + 17, text_anchor=anchor, class_="tick"))
    return join(*parts)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: `told` is its value for people."""

    label: str
    value: float
    told: str
    kind: str = "bar"


def bars(rows: Sequence[Bar]) -> Html:
    """One below the other, on one scale from 0."""
    most = max((row.value for row in rows), default=0.0) or 1.0
    room = _WIDTH - _LABEL - _VALUE
    parts: list[Html] = []
    for number, row in enumerate(rows):
        top, width = _BAR * number, round(max(row.value, 0.0) / most * room, 1)
        parts.append(el("text", row.label, x=_LABEL - 8, y=top + 15, text_anchor="end", class_="label"))
        parts.append(el("rect", x=_LABEL, y=top + 4, width=max(width, 1.0), height=_BAR - 8, class_=f"b-{row.kind}"))
        parts.append(el("text", row.told, x=_LABEL + max(width, 1.0) + 6, y=top + 15, class_="tick"))
    return _svg(_BAR * len(rows) + 4, "; ".join(f"{row.label} {row.told}" for row in rows), parts)


def _svg(height: int, label: str, parts: Sequence[Html]) -> Html:
    drawn = el("svg", *parts, viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=label)
    return el("div", drawn, class_="wide")
