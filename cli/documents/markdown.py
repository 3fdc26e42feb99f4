"""Markdown from parts: what stands in a cell or in a line of text ends neither."""

from __future__ import annotations

from collections.abc import Sequence

_ESCAPED = str.maketrans({"|": "\\|", "\n": " ", "<": "&lt;"})


def cell(text: object) -> str:
    """Text for a cell of a table."""
    return str(text).translate(_ESCAPED)


def code(text: object) -> str:
    """The same, as code; nothing where it is empty."""
    told = str(text).replace("`", "'").replace("\n", " ").replace("|", "\\|")
    return f"`{told}`" if told else ""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; its cells are Markdown already."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def block(text: str, language: str = "sh") -> str:
    """A block of code."""
    return f"```{language}\n{text.strip()}\n```"
