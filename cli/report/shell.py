"""What every page that is one file has: it fetches nothing, runs no script, and holds its data."""

from __future__ import annotations

from cli.report.html import Html, el
from cli.report.style import STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def whole(title: str, *parts: Html | str) -> str:
    """The file: `parts` below its title."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("title", title),
        el("style", Html(STYLE)),
    )
    body = el("body", el("h1", title), *parts)
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def embedded(data: str) -> Html:
    """JSON, as the element #data. No end tag and no comment can stand in it: the characters of both are told by their
    numbers."""
    safe = data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return el("script", Html(safe), type="application/json", id="data")
