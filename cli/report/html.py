"""HTML by elements: what is no element is escaped, wherever it stands."""

from __future__ import annotations

from html import escape

VOID = frozenset({"meta", "br", "rect", "line", "path", "link", "input"})
"""Elements that have no content."""


class Html(str):
    """Text that is HTML already: only el() and join() make it."""

    __slots__ = ()


def el(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. Children that are no Html are escaped, as are the values of attributes; an attribute that is None is
    left out. `class_`: class; `font_size`: font-size."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items() if value is not None
    )  # fmt: skip
    if name in VOID and not children:
        return Html(f"<{name}{told}/>")
    return Html(f"<{name}{told}>{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """Several, one behind the other."""
    return Html("".join(child if isinstance(child, Html) else escape(str(child)) for child in children))


def table(head: tuple[str, ...], rows: list[tuple[object, ...]], *, numbers: tuple[int, ...] = ()) -> Html:
    """A table that scrolls by itself where it is wider than the page; on a phone, where it has more than three columns,
    each row is a list of what its cells are and hold. `numbers`: columns set to the right."""
    top = el("tr", *(el("th", name, class_="number" if at in numbers else None) for at, name in enumerate(head)))
    body = [el("tr", *(_cell(head[at], cell, at in numbers) for at, cell in enumerate(row))) for row in rows]
    made = el("table", el("thead", top), el("tbody", *body))
    return el("div", made, class_="wide few" if len(head) <= 3 else "wide")


def _cell(head: str, cell: object, number: bool) -> Html:
    return el("td", cell, data_head=head, class_="number" if number else None)
