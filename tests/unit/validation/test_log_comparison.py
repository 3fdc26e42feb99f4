"""What counts as the same event in two logs, and how differences are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.event_bus.base import ORIGIN_HEADER, Record, Stored
from adapters.event_bus.wire import decode, encode_copy
from contracts.envelope import Event
from validation.event_marks import Mark, mark
from validation.log_comparison import PairedKeys

EVENT = Event.create("t", "Δ", b"payload", source="s").under(7)


def record(event: Event) -> Record:
    """As a writer of ours stores it."""
    return Record(0, "1", event.headers(), event.payload)


def copied(original: Record) -> Record:
    """What a mirror makes of `original`."""
    found: Stored = decode("t", *original)
    headers, _, payload = encode_copy(found, "redis")
    return Record(1, "9", headers, payload)


FOREIGN = {
    "as we write": EVENT.headers(),
    "with a header of others": EVENT.headers() | {"traceparent": b"00-abc"},
    "without what has a default": {
        name: value for name, value in EVENT.headers().items() if name not in ("ce_schemaversion", "content-type")
    },
    "an epoch with zeros before": EVENT.headers() | {"ce_epoch": b"007"},
    "another version of CloudEvents": EVENT.headers() | {"ce_specversion": b"1.1"},
    "zero bytes in a value": EVENT.headers() | {"ce_source": b"a\0b"},
    "no text": EVENT.headers() | {"ce_source": b"\xff"},
    "an attribute is missing": {name: value for name, value in EVENT.headers().items() if name != "ce_id"},
    "an empty attribute": EVENT.headers() | {"ce_id": b""},
    "nothing at all": {},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_copy_has_the_mark_of_what_it_was_copied_from(headers: dict[str, bytes]) -> None:
    original = Record(0, "1", headers, b"payload")
    assert mark(copied(original)) == mark(original)


@pytest.mark.parametrize(
    "other",
    [
        replace(EVENT, id="other"),
        replace(EVENT, key="other"),
        replace(EVENT, source="other"),
        replace(EVENT, time="other"),
        replace(EVENT, type="other"),
        replace(EVENT, content_type="other"),
        replace(EVENT, schema_version="2"),
        replace(EVENT, epoch=8),
        replace(EVENT, payload=b"Payload"),
    ],
)
def test_another_attribute_or_payload_is_another_mark(other: Event) -> None:
    assert mark(record(other)) != mark(record(EVENT))


def test_where_a_value_ends_matters() -> None:
    one, two = replace(EVENT, source="a\0b", type="c"), replace(EVENT, source="a", type="b\0c")
    assert mark(record(one))[1].digest != mark(record(two))[1].digest


def test_the_origin_is_no_part_of_the_mark() -> None:
    headers = EVENT.headers()
    assert mark(Record(0, "1", headers | {ORIGIN_HEADER: b"redis"}, b"p")) == mark(Record(0, "1", headers, b"p"))


def pair(source: str, target: str) -> PairedKeys:
    """Letters are events of one key: a capital letter is the same event with other content."""
    pairs = PairedKeys()
    found = [[(b"k", Mark(x.lower().encode(), x.encode())) for x in side] for side in (source, target)]
    pairs.add(*found)
    return pairs


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("abc", "abc", "no difference"),
        ("abc", "ab", "1 missing, 0 extra, 0 reordered, 0 changed (first: missing c)"),
        ("ab", "abc", "0 missing, 1 extra, 0 reordered, 0 changed (first: extra c)"),
        ("abc", "aBc", "0 missing, 0 extra, 0 reordered, 1 changed (first: changed b)"),
        ("abc", "acb", "0 missing, 0 extra, 2 reordered, 0 changed (first: reordered b; reordered c)"),
        ("ab", "abb", "0 missing, 1 extra, 0 reordered, 0 changed (first: extra b)"),
    ],
)
def test_differences_are_told_by_kind(source: str, target: str, said: str) -> None:
    pairs = pair(source, target)
    assert str(pairs.differences()) == said
    assert pairs.settled is (said == "no difference")


def test_nothing_is_kept_of_what_has_its_partner() -> None:
    pairs = PairedKeys()
    for n in range(1000):
        found = (b"key-%d" % n, Mark(b"id", b""))
        pairs.add([found], [])
        pairs.add([], [found])
    assert pairs.paired == 1000 and pairs.settled
