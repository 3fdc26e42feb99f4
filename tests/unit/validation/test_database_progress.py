"""What of a comparison is kept, and what is not gone on with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.postgres.catalog import Column, Table
from adapters.postgres.checksums import Span
from validation.database.progress import Progress, UnreadableProgress

TABLE = Table("s", "t", (Column("id", "integer"), Column("b", "text")), ("id",), ("id",))


def test_it_goes_there_and_back() -> None:
    progress = Progress("it")
    parts = progress.cut(TABLE, [Span(None, ("5",)), Span(("5",), None)])
    parts[1].rows = 7
    read = Progress.resumed(progress.to_json(), "it")
    assert read == progress
    known = read.known(TABLE)
    assert known is not None
    assert [(part.span, part.rows) for part in known] == [(Span(None, ("5",)), None), (Span(("5",), None), 7)]


def test_another_shape_is_not_known() -> None:
    progress = Progress("it")
    progress.cut(TABLE, [Span()])
    assert progress.known(replace(TABLE, rows=9, bytes=9, owner="x")) is not None
    assert progress.known(replace(TABLE, columns=(*TABLE.columns, Column("c", "text")))) is None
    assert progress.known(replace(TABLE, columns=(TABLE.columns[0], Column("b", "jsonb")))) is None
    assert progress.known(replace(TABLE, primary_key=("b",))) is None
    assert progress.known(replace(TABLE, name="u")) is None


def test_another_identity_begins_anew() -> None:
    progress = Progress("it")
    progress.cut(TABLE, [Span()])
    assert Progress.resumed(progress.to_json(), "other").tables == {}
    assert Progress.resumed(None, "other").identity == "other"


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "{}", "3", '{"version": 2}', '{"version": 1, "identity": "it"}',
        '{"version": 1, "identity": "it", "started": "then", "tables": {}}',
        *(
            '{"version": 1, "identity": "it", "started": "2024-01-01T00:00:00+00:00", "tables": {"s.t": {"shape": "",'
            f' "parts": [{part}]' "}}}"
            for part in (
                "{}", '{"lower": null, "upper": null, "rows": -1}', '{"lower": "5", "upper": null, "rows": 1}',
                '{"lower": null, "upper": [5], "rows": 1}', '{"lower": null, "upper": null, "rows": "1"}',
            )
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_begins_anew(text: str) -> None:
    with pytest.raises(UnreadableProgress):
        Progress.from_json(text)
    assert Progress.resumed(text, "it").tables == {}
