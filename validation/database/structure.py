"""Whether two servers declare the same: tables, columns, constraints, indexes, policies, functions, grants, and on.

Definitions are compared as the servers print them. Owners, and what only the storage knows, may differ. Grants are
compared for roles that are at both sides; the other roles are named. An owner needs no grant. Sequences are compared by
the value that they would give next, with head-room: `sequences`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from adapters.postgres import bookkeeping
from adapters.postgres.catalog import SequenceState
from adapters.postgres.definitions import Declared, declared
from adapters.postgres.driver import Connection
from adapters.postgres.errors import PostgresError
from validation.result import Check, Report

_FIXES = {
    "schema": "create it at B", "table": "create it at B from the schema of A",
    "column": "give both sides the same columns, then copy the table again",
    "constraint": "add it at B as A has it", "index": "build it at B, or drop what is left of one that failed",
    "policy": "create it at B as A has it", "trigger": "create it at B as A has it", "rule": "create it at B",
    "view": "create it at B as A has it", "sequence": "alter the sequence at B", "statistics": "create them at B",
    "function": "create it at B as A has it", "type": "alter the type at B", "collation": "create it at B",
}  # fmt: skip
_SHOWN, _EXAMPLES = 120, 5
_PRINTED_ANEW = {"view", "rule"}
"""What a newer major version prints otherwise (16 leaves out qualifications that are not needed)."""


def compare(
    a: Connection,
    b: Connection,
    schemas: Sequence[str],
    *,
    optional_extensions: Collection[str] = (),
    heir: str = "",
) -> Report:
    """The structure of `schemas` at both sides; A is the source. `heir`: the role that has at one side what several
    owners have at the other: its grants are not compared."""
    wanted = [schema for schema in schemas if schema != bookkeeping.SCHEMA]
    subject = "database: structure"
    try:
        sides = declared(a, wanted), declared(b, wanted)
    except PostgresError as error:
        unknown = Check.unknown("structure", expected="the same at both sides", why=str(error))
        return Report(subject=subject, checks=(unknown,))
    return Report(subject=subject, checks=checks(*sides, optional_extensions=optional_extensions, heir=heir))


def checks(a: Declared, b: Declared, *, optional_extensions: Collection[str] = (), heir: str = "") -> tuple[Check, ...]:
    """One check for each kind of thing, also where neither side has any of it; none where A declares nothing."""
    if not any(one.kind == "schema" for one in a.definitions):
        why = "none of the schemas is there"
        return (Check.unknown("structure", expected="schemas at A", why=why, fix="name the schemas that move"),)
    kinds = [_compared(kind, a, b) for kind in _FIXES]
    return (*kinds, _extensions(a, b, optional_extensions), *_grants(a, b, heir))


def sequences(
    old: Sequence[SequenceState], new: Sequence[SequenceState], headroom: int, unreadable: Collection[str] = ()
) -> Check:
    """Whether each sequence of the old side would give at the new one a value that is `headroom` steps further at
    least: what was given out unseen meanwhile is given to nobody else. `unreadable`: sequences that a role may not
    read."""
    name, expected = "sequences", f"next value at B at least {headroom} steps beyond A's"
    fix = "move the sequences again, while nobody writes"
    if unreadable:
        why = f"no right to read {', '.join(sorted(unreadable)[:_EXAMPLES])}"
        return Check.unknown(name, expected=expected, why=why, fix="grant SELECT on them to the migration's role")
    there = {one.qualified: one for one in new}
    behind: list[str] = []
    for one in old:
        other = there.get(one.qualified)
        if other is None:
            behind.append(f"{one.qualified} is not at B")
        elif (_next(other) - _next(one)) * (1 if one.increment > 0 else -1) < headroom * abs(one.increment):
            behind.append(f"{one.qualified}: next {_next(one)} at A, {_next(other)} at B")
    found = f"{len(behind)} of {len(old)} behind" if behind else f"{len(old)} sequences beyond"
    return Check.that(name, not behind, expected=expected, found=found, fix=fix, detail=_listed(behind))


def _next(one: SequenceState) -> int:
    return one.last + one.increment if one.called else one.last


def _of(kind: str, side: Declared) -> dict[str, str]:
    return {one.name: one.text for one in side.definitions if one.kind == kind}


def _compared(kind: str, a: Declared, b: Declared) -> Check:
    left, right = _of(kind, a), _of(kind, b)
    if kind == "index":  # one that failed at A is nothing to have; at B it stands for none
        left, right = _valid(left), _valid(right)
    wrong = [
        *(f"{name} is not at B" for name in sorted(left.keys() - right.keys())),
        *(f"{name} is not at A" for name in sorted(right.keys() - left.keys())),
    ]
    changed = [
        f"{name}: {_cut(left[name], right[name])} at A, {_cut(right[name], left[name])} at B"
        for name in sorted(left.keys() & right.keys())
        if left[name] != right[name]
    ]
    name, expected = _plural(kind), "the same at both sides"
    if changed and not wrong and kind in _PRINTED_ANEW and a.major != b.major:
        why = f"versions {a.major} and {b.major} print them differently: {_listed(changed)}"
        return Check.unknown(name, expected=expected, why=why, fix="compare them by eye")
    wrong += changed
    found = f"{len(wrong)} of {len(left.keys() | right.keys())} differ" if wrong else f"{len(left)}, the same"
    return Check.that(name, not wrong, expected=expected, found=found, fix=_FIXES[kind], detail=_listed(wrong))


def _valid(indexes: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in indexes.items() if not text.endswith("(invalid)")}


def _extensions(a: Declared, b: Declared, optional: Collection[str]) -> Check:
    left, right = _of("extension", a), _of("extension", b)
    wrong = [
        f"{name} {left[name]} is not at B" if name not in right else f"{name} {left[name]} at A, {right[name]} at B"
        for name in sorted(left)
        if name not in optional and (name not in right or _number(right[name]) < _number(left[name]))
    ]
    return Check.that(
        "extensions", not wrong, expected="at B what A has, not older", fix="install them at B, or update them",
        found=f"{len(wrong)} missing or older" if wrong else f"{len(left)} at A, {len(right)} at B",
        detail=_listed(wrong),
    )  # fmt: skip


def _number(version: str) -> tuple[tuple[int, str], ...]:
    """1.10 is newer than 1.9."""
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in version.replace("-", ".").split("."))


def _grants(a: Declared, b: Declared, heir: str) -> list[Check]:
    left, right = _of("grant", a), _of("grant", b)
    owners = _of("owner", a), _of("owner", b)
    common = (a.roles & b.roles) | {"public"}

    def compared(name: str) -> bool:
        thing, role = name.rsplit(" to ", 1)
        return role in common and role not in (heir, _owner(owners[0], thing), _owner(owners[1], thing))

    wrong = [
        f"{name}: {left.get(name, 'nothing')} at A, {right.get(name, 'nothing')} at B"
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name) and compared(name)
    ]
    absent = sorted({name.rsplit(" to ", 1)[1] for name in left} - common)
    detail = _listed(wrong) + (f" not compared, for they are not at B: roles {', '.join(absent)}" if absent else "")
    count = sum(compared(name) for name in left)
    found = f"{len(wrong)} differ" if wrong else f"{count}, the same"
    fix = "grant at B what A grants, revoke what it does not"
    expected = "the same for roles that are at both sides"
    return [Check.that("grants", not wrong, expected=expected, found=found, fix=fix, detail=detail.strip())]


def _owner(owners: Mapping[str, str], thing: str) -> str:
    """Who owns a thing; of a column the table's owner."""
    return owners.get(thing) or owners.get(thing.rsplit(".", 1)[0], "")


def _plural(kind: str) -> str:
    if kind == "statistics":
        return kind
    return kind[:-1] + "ies" if kind == "policy" else kind + ("es" if kind == "index" else "s")


def _listed(wrong: Sequence[str]) -> str:
    more = len(wrong) - _EXAMPLES
    return "; ".join(wrong[:_EXAMPLES]) + (f"; and {more} more" if more > 0 else "")


def _cut(text: str, other: str) -> str:
    """A long definition from where it differs."""
    if len(text) <= _SHOWN:
        return text
    same = next((at for at, (x, y) in enumerate(zip(text, other, strict=False)) if x != y), min(len(text), len(other)))
    start = max(0, same - 20)
    return ("…" if start else "") + text[start : start + _SHOWN] + ("…" if start + _SHOWN < len(text) else "")
