"""Preflight of the database, item by item: what turns each red, that it says what was found and the fix, and that
what could not be had is never taken for good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.known import Clock, Unknown
from adapters.postgres.facts import Activity, Connections, Extension, Kind, SequenceRange, Storage
from contracts.stages import Stage
from cutover.database.preflight import ACCEPTABLE, ITEMS, Journey, checks, journey
from cutover.database.preflight.situation import Situation
from cutover.plan import path
from tests.unit.postgres.built_facts import Spoil, both, configured, locale, tells, whole
from tests.unit.postgres.preflight_cases import (
    HOSTED,
    LEAVE,
    MISSING,
    MOVING,
    OWN,
    SWITCH,
    WRONG,
    busy,
    own_slot,
    thing,
)
from validation.result import Check, Verdict

_KNOWN_WITH_THE_SIDE = {
    "data checksums", "encryption", "collation version", "rights", "no superuser",
}  # fmt: skip
"""Asked of what every side that answers tells."""
_TOLD_ALWAYS = {"temporary tables", "materialised views to fill"}


def answers(at: Situation) -> dict[str, Check]:
    found = checks(at)
    names = [check.name for check in found]
    assert len(names) == len(set(names))
    return {check.name: check for check in found}


def _named(value: object) -> str:
    """Of a parameter, the same in every process: a function's text has its address."""
    return str(value)[:45] if isinstance(value, str) else ""


@pytest.mark.parametrize("kind", list(Journey))
def test_whatever_is_as_it_should_be_holds(kind: Journey) -> None:
    found = answers(whole(kind))
    assert found
    assert [check for check in found.values() if not check.outcome.passed or "told" in check.name] == []


@pytest.mark.parametrize(("name", "kind", "spoil", "found", "fix"), WRONG, ids=_named)
def test_what_is_wrong_turns_its_item_red_and_no_other(
    name: str, kind: Journey, spoil: Spoil, found: str, fix: str
) -> None:
    at = spoil(whole(kind))
    check = answers(at)[name]
    assert check.outcome is Verdict.DOES_NOT_HOLD
    assert found in check.found
    assert fix in check.fix
    assert [one.name for one in answers(at).values() if one.outcome is not Verdict.HOLDS] == [name]


@pytest.mark.parametrize(("name", "kind", "spoil"), MISSING, ids=_named)
def test_what_cannot_be_had_is_not_taken_for_good(name: str, kind: Journey, spoil: Spoil) -> None:
    check = answers(spoil(whole(kind)))[name]
    assert check.outcome is Verdict.COULD_NOT_CHECK
    assert check.detail
    assert check.fix


def test_every_item_is_seen_red_and_unknown() -> None:
    every = {"reachable", *(item.name for item in ITEMS)}
    red = {name.split(": ", 1)[1] for name, *_ in WRONG}
    unknown = {name.split(": ", 1)[1] for name, *_ in MISSING}
    assert every - red == _TOLD_ALWAYS
    assert every - unknown == _KNOWN_WITH_THE_SIDE


@pytest.mark.parametrize("name", sorted(ACCEPTABLE))
def test_what_config_accepts_is_told(name: str) -> None:
    for item, kind, spoil, found, _ in WRONG:
        if item.endswith(f": {name}"):
            check = answers(configured(accepted=frozenset({name}))(spoil(whole(kind))))[f"{item} (told only)"]
            assert check.outcome.passed and found in check.found and "accepted by config" in check.found


def test_what_may_not_be_accepted_stays_red() -> None:
    names = frozenset(item.name for item in ITEMS)
    for item, kind, spoil, *_ in WRONG:
        name = item.split(": ", 1)[1]
        found = answers(configured(accepted=names)(spoil(whole(kind))))
        assert (item in found and not found[item].outcome.passed) is (name not in ACCEPTABLE), item


def back(at: Situation) -> Situation:
    """The same two sides, the other way round."""
    quiet = both(tells(HOSTED, activity=Activity()))(at)
    return replace(quiet, source=OWN, target=HOSTED)


def test_going_back_is_not_held_up_by_the_state_of_the_side_that_is_left() -> None:
    def full(name: str) -> Spoil:
        return both(
            tells(name, storage=Storage(database=1, used=990_000_000)),
            tells(name, clock=Clock(ahead=60.0, within=0.0)),
            tells(name, connections=Connections(free=0, limit=97)),
            tells(name, "replication", synchronous="x"),
            tells(name, "server", **locale(actual="2")),
        )

    left = back(full(OWN)(whole(SWITCH)))
    assert [check.name for check in checks(left) if not check.outcome.passed] == []
    assert sum("the side is being left" in check.found for check in checks(left)) == 5
    assert sum(not check.outcome.passed for check in checks(back(full(HOSTED)(whole(SWITCH))))) == 5
    assert sum(not check.outcome.passed for check in checks(full(OWN)(whole(SWITCH)))) == 5


def test_a_side_that_is_left_may_be_dead_and_one_that_stays_may_not() -> None:
    facts = whole(LEAVE).facts
    gone = replace(whole(LEAVE), facts={HOSTED: facts[HOSTED], OWN: Unknown("dead")})
    assert all(check.outcome.passed for check in checks(gone))
    assert "dead" in answers(gone)["selfhosted: reachable (told only)"].found
    stays = replace(whole(LEAVE), facts={HOSTED: Unknown("dead"), OWN: facts[OWN]})
    assert answers(stays)["hosted: reachable"].outcome is Verdict.COULD_NOT_CHECK


def test_a_side_that_does_not_answer_is_asked_nothing_else() -> None:
    at = replace(whole(), facts={HOSTED: Unknown("no route"), OWN: whole().facts[OWN]})
    assert [name for name in answers(at) if name.startswith("hosted")] == ["hosted: reachable"]


def test_rows_of_an_earlier_try_are_gone_on_with_while_its_slot_is_whole_and_copied_anew_else() -> None:
    tried = both(tells(OWN, "contents", rows=("app.orders",)), tells(OWN, bookkeeping=True))
    name = "selfhosted: empty target"
    assert "gone on with" in answers(both(tried, own_slot())(whole()))[name].found
    assert "copied anew" in answers(both(tried, own_slot(status="lost"))(whole()))[f"{name} (told only)"].found
    assert "copied anew" in answers(tried(whole()))[f"{name} (told only)"].found


def test_rows_of_the_hosted_side_are_never_thrown_away_unasked() -> None:
    at = replace(
        both(tells(HOSTED, "contents", rows=("app.orders",)), tells(HOSTED, bookkeeping=True))(whole()),
        source=OWN,
        target=HOSTED,
    )
    found = answers(at)["hosted: empty target"]
    assert found.outcome is Verdict.DOES_NOT_HOLD
    assert "TRUNCATE app.orders" in found.fix and "DROP" not in found.fix


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Kind.TEMPORARY, "temporary tables"), (Kind.MATERIALISED, "materialised views to fill")],
)
def test_what_nothing_can_be_done_about_is_told(kind: Kind, name: str) -> None:
    found = answers(thing(kind)(whole()))
    assert found[f"hosted: {name} (told only)"].outcome.passed


def test_what_calls_a_function_that_moves_is_told_until_the_switch() -> None:
    at = tells(HOSTED, event_triggers=(MOVING,))(whole())
    assert "make those there before the switch" in answers(at)["selfhosted: event triggers (told only)"].found
    there = both(tells(HOSTED, event_triggers=(MOVING,)), tells(OWN, event_triggers=(MOVING,)))(whole(SWITCH))
    assert answers(there)["selfhosted: event triggers"].outcome.passed


def test_a_disk_of_unknown_size_is_told_only() -> None:
    found = answers(both(configured(volumes={}), tells(HOSTED, "replication", keep_bytes=None))(whole()))
    assert {name for name in found if "told" in name} == {
        "hosted: piled-up WAL (told only)",
        "hosted: disk (told only)",
        "selfhosted: disk (told only)",
    }


@pytest.mark.parametrize("other", ["C", "POSIX", "C.utf8", "c.UTF-8"])
def test_collations_that_order_by_code_point_are_alike(other: str) -> None:
    at = tells(OWN, "server", **locale(collate=other, provider="builtin"))(whole())
    assert answers(at)["selfhosted: collations"].outcome.passed


def test_a_session_of_others_is_none_of_the_workload() -> None:
    at = busy(user="authenticator", listens=True, advisory=True)(whole())
    assert answers(at)["hosted: session features"].outcome.passed
    pooled = configured(pooled=frozenset({"authenticator"}))(at)
    assert not answers(pooled)["hosted: session features"].outcome.passed


def test_a_lock_within_a_transaction_is_as_safe_as_the_transaction() -> None:
    at = busy(advisory=True, transaction_seconds=1.0)(whole())
    assert answers(at)["hosted: session features"].outcome.passed


def test_a_sequence_that_cycles_is_let_be() -> None:
    one = SequenceRange(name="s", last=9, limit=10, increment=1, cycles=True)
    at = tells(HOSTED, "contents", sequences=(one,))(whole())
    assert answers(at)["hosted: sequences and identity columns"].outcome.passed


@pytest.mark.parametrize(
    ("versions", "holds"),
    [
        (("1.10", "1.9"), True),
        (("1.9", "1.10"), False),
        (("1.10", "1.10"), True),
        (("2", "1.9"), True),
        (("b", "a"), False),
    ],
)
def test_versions_of_extensions_are_compared_as_numbers(versions: tuple[str, str], holds: bool) -> None:
    there, here = versions
    at = both(
        tells(HOSTED, extensions=(Extension("x", here, "s", needed=True),)),
        tells(OWN, extensions=(Extension("x", there, "s"),)),
    )(whole())
    assert answers(at)["selfhosted: extensions"].outcome.passed is holds


def test_transitions_are_journeys() -> None:
    def of(origin: Stage | None, goal: Stage) -> Journey:
        (row,) = path(origin, goal)
        return journey(row)

    assert of(None, Stage.MVP) is Journey.ESTABLISH
    assert of(Stage.MVP, Stage.SHADOW) is of(Stage.COMPLETE, Stage.SCALE) is Journey.JOIN
    assert of(Stage.SHADOW, Stage.SCALE) is of(Stage.SCALE, Stage.SHADOW) is Journey.SWITCH
    assert of(Stage.SCALE, Stage.COMPLETE) is of(Stage.SHADOW, Stage.MVP) is Journey.LEAVE
