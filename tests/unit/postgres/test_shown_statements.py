"""A statement of somebody's is shown without what may be his data, or a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.server_facts import shown


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select 1", "select ?"),
        ("  select *\n  from orders_2024 o1\twhere id = 17 ", "select * from orders_2024 o1 where id = ?"),
        ("alter role x password 'hush'", "alter role x password ?"),
        ("select 'it''s', E'it\\'s hush', 2.5e3", "select ?, ?, ?"),
        ("do $body$ hush 'x' $body$ language sql", "do ? language sql"),
        ("select 'cut off by the serv", "select ?"),
        ("select E'cut off by the serv\\", "select ?"),
        ("select $1, $$hush", "select $1, ?"),
        ("", ""),
    ],
)
def test_literals_are_left_out(query: str, expected: str) -> None:
    assert shown(query) == expected


def test_a_long_statement_is_cut() -> None:
    found = shown("select " + "a, " * 100)
    assert len(found) == 80
    assert found.endswith("...")


@given(st.text())
def test_no_quoted_text_is_ever_shown(text: str) -> None:
    quoted = text.replace("'", "''")
    assert shown(f"select '{quoted}', x") == "select ?, x"


@given(st.text())
def test_no_escaped_text_is_ever_shown(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    assert shown(f"select E'{escaped}', x") == "select ?, x"
