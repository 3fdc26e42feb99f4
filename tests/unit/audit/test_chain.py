"""What a chain of entries proves: nothing in it is changed, taken out or put in unseen; and nothing secret is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.audit import Entry, Kind, first_broken, plain


def chain(count: int = 4) -> list[Entry]:
    made: list[Entry] = []
    for number in range(count):
        last = made[-1] if made else None
        made.append(
            Entry.after(
                last, at=f"2026-05-01T12:00:0{number}.000Z", kind=Kind.CONFIG, component="event_bus", actor="ann@desk",
                data={"from": "mvp", "to": "scale", "n": number},
            )
        )  # fmt: skip
    return made


def lines(entries: list[Entry]) -> list[tuple[str, str]]:
    return [("log", entry.line) for entry in entries]


def test_the_hash_is_that_of_all_the_rest_as_anyone_can_compute_it() -> None:
    told = json.loads(chain()[2].line)
    claimed = told.pop("hash")
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == claimed


def _changed(entries: list[Entry], at: int, **changes: Any) -> list[tuple[str, str]]:
    return lines([*entries[:at], entries[at].model_copy(update=changes), *entries[at + 1 :]])


def _anew(entries: list[Entry], at: int) -> list[tuple[str, str]]:
    """One entry is another, with a hash that fits it: those behind it do not fit any more."""
    one = entries[at]
    made = Entry.after(
        entries[at - 1], at=one.at, kind=one.kind, component=one.component, actor="eve", data=one.data
    )  # fmt: skip
    return lines([*entries[:at], made, *entries[at + 1 :]])


@pytest.mark.parametrize(
    ("spoil", "place", "why"),
    [
        (lambda e: _changed(e, 1, actor="eve"), 2, "its content is another"),
        (lambda e: _changed(e, 1, data={**e[1].data, "to": "mvp"}), 2, "its content is another"),
        (lambda e: _changed(e, 1, extra="more"), 2, "its content is another"),
        (lambda e: _changed(e, 1, hash="0" * 64), 2, "its content is another"),
        (lambda e: _anew(e, 1), 3, "does not follow the entry before it"),
        (lambda e: lines([e[0], *e[2:]]), 2, "says that it is entry 3"),
        (lambda e: lines(e[1:]), 1, "says that it is entry 2"),
        (lambda e: lines([e[0], e[1], e[1], *e[2:]]), 3, "says that it is entry 2"),
        (lambda e: lines([e[0], e[2], e[1], e[3]]), 2, "says that it is entry 3"),
        (lambda e: [*lines(e), ("log", "")], 5, "cannot be read"),
        (lambda e: [*lines(e), ("log", "[]")], 5, "cannot be read"),
        (lambda e: [("log", e[0].line.replace('"seq":1', '"seq":1,"seq":1')), *lines(e[1:])], 1, "its content"),
        (lambda e: [("log", e[0].line.replace(",", ", ")), *lines(e[1:])], 1, "its content is another"),
    ],
)
def test_what_was_changed_is_named(spoil: Callable[[list[Entry]], list[tuple[str, str]]], place: int, why: str) -> None:
    assert first_broken(lines(chain())) is None
    broken = first_broken(spoil(chain()))
    assert broken is not None
    assert broken.place == f"entry {place} (log)"
    assert why in broken.why


def test_what_a_newer_version_adds_is_kept_and_hashed() -> None:
    first = chain(1)[0]
    body = {**first.model_dump(exclude={"hash"}), "tenant": "desk-1"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    line = json.dumps(
        {**body, "hash": hashlib.sha256(text.encode()).hexdigest()}, sort_keys=True, separators=(",", ":")
    )  # fmt: skip
    assert Entry.read(line).line == line
    assert first_broken([("log", line)]) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), _JSON, max_size=4), st.text(), st.text())
def test_whatever_is_told_is_read_as_it_was_written(data: dict[str, Any], actor: str, component: str) -> None:
    made = Entry.after(None, at="t", kind="k", component=component, actor=actor, data=data)
    assert "\n" not in made.line and made.line.isascii()
    assert Entry.read(made.line) == made
    assert first_broken([("log", made.line)]) is None


@pytest.mark.parametrize(
    "told",
    [
        "could not connect to postgresql://app:hush-hush@db.example:5432/x",
        "redis://:hush-hush@host/0 is away",
        "FATAL: password=hush-hush was refused",
        'the API said {"api_key": "hush-hush"}',
        "PASSWORD: hush-hush",
        {"deep": [{"password": "hush-hush", "access_token": "hush-hush"}]},
    ],
)
def test_what_looks_like_a_secret_is_not_kept(told: Any) -> None:
    assert "hush" not in json.dumps(plain({"detail": told}))


def test_what_looks_like_none_is_kept_and_a_long_text_is_cut() -> None:
    kept = {"detail": "first token: 12 ms, 300 tokens; lag 0", "seconds": 0.5, "n": None}
    assert plain(kept) == kept
    assert len(plain("x" * 5000)) == 2003
