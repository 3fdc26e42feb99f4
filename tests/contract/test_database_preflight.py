"""Preflight of the database on real servers: a seeded project holds, and each thing that is made wrong there turns its
own item red and no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from adapters.known import Unknown
from adapters.postgres import asking
from adapters.postgres.driver import Address, connect
from cutover.database.preflight import Backup, End, Journey, Situation, checks, gather
from tests.contract.database_preflight_cases import CASES, JOIN, LEAVE, SWITCH, Case
from tests.contract.hosted_postgres import Project, as_role, project
from tests.contract.two_postgres import OWN_ROLE, Pair
from validation.result import Check, Verdict

pytestmark = pytest.mark.contract
_NO_SLOTS = {"hosted: slot", "selfhosted: slot"}
"""A switch asks for slots that are read, and nobody reads any here."""


@pytest.fixture(scope="module")
def both() -> Iterator[Project]:
    with project() as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WAL_SECONDS", 0.05)


@contextmanager
def made_wrong(both: Project, case: Case) -> Iterator[Pair]:
    pair = both.new(**case.database)
    with ExitStack() as stack:
        for at, statements, undo in (
            (pair.hosted_admin, case.admin, case.undo),
            (pair.hosted, case.mover, ()),
            (pair.own, case.own, case.undo_own),
        ):
            stack.callback(run_at, at, undo)
            run_at(at, statements)
        for side, role, statement in case.sessions:
            at = pair.hosted if side == "hosted" else pair.own
            session = stack.enter_context(
                connect(as_role(at, role), "engine", autocommit=not statement.startswith("begin;"))
            )
            for one in statement.removeprefix("begin;").split(";"):
                session.execute(one.encode())
        yield pair


def run_at(at: Address, statements: Sequence[str]) -> None:
    if statements:
        with connect(at, "crossover-test") as connection:
            for statement in statements:
                connection.execute(statement.encode())


def answers(pair: Pair, case: Case, source: Address | None = None) -> dict[str, Check]:
    ends = End("hosted", source or pair.hosted), End("selfhosted", pair.own)
    at = Situation(
        journey=case.journey, source="hosted", target="selfhosted", facts=gather(*ends, case.schemas),
        pooled=frozenset({OWN_ROLE, "hosted"}), backup=Backup(side="hosted", hours=1.0, place="x"), **case.configured,  # type: ignore[arg-type]
    )  # fmt: skip
    return {check.name: check for check in checks(at)}


def red(found: Mapping[str, Check], verdict: Verdict = Verdict.DOES_NOT_HOLD) -> set[str]:
    return {name for name, check in found.items() if check.outcome is verdict}


@pytest.mark.parametrize("journey", [JOIN, SWITCH, LEAVE])
def test_a_project_as_it_comes_holds(both: Project, journey: Journey) -> None:
    found = answers(both.new(), Case({}, journey))
    assert red(found) == (_NO_SLOTS if journey is SWITCH else set())
    assert red(found, Verdict.COULD_NOT_CHECK) == set()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_made_wrong_turns_its_item_red_and_no_other(both: Project, case: Case) -> None:
    with made_wrong(both, case) as pair:
        found = answers(pair, case)
        assert red(found, Verdict.COULD_NOT_CHECK) == set()
        assert red(found) == set(case.turns) | (_NO_SLOTS if case.journey is SWITCH else set())
        for name, text in case.turns.items():
            assert text in found[name].found
            assert "secret" not in found[name].found
            assert found[name].fix


def test_a_table_that_is_locked_is_not_waited_for(both: Project) -> None:
    case = Case({}, sessions=[("hosted", "hosted", "begin;alter table public.watchlists add column odd int")])
    with made_wrong(both, case) as pair:
        started = time.monotonic()
        found = answers(pair, case)
        assert time.monotonic() - started < 4
        assert red(found) == {"hosted: DDL in flight"}
        assert "holds AccessExclusiveLock" in found["hosted: replica identity"].detail


def test_only_what_is_the_roles_own_moves_by_default(both: Project) -> None:
    admin = ["create schema theirs", "create table theirs.odd (a int)"]
    mover = ["create schema mine", "create table mine.good (a int primary key)", "create schema crossover",
             "create table crossover.mark (a int)", "create schema bare"]  # fmt: skip
    with made_wrong(both, Case({}, admin=admin, mover=mover)) as pair:
        found = answers(pair, Case({}))
        assert red(found) == set()
        assert found["hosted: schemas"].found == "mine, public move; none of the role's own stay"
        named = answers(pair, Case({}, schemas=["public"]))
        assert named["hosted: schemas"].found == "public move; mine stay"


def test_a_table_of_the_workloads_role_moves(both: Project) -> None:
    """The migration role owns it through being in that role."""
    admin = [f"create schema trading authorization {OWN_ROLE}", f"set role {OWN_ROLE}",
             "create table trading.ledger (a int primary key)"]  # fmt: skip
    with made_wrong(both, Case({}, admin=admin)) as pair:
        found = answers(pair, Case({}))
        assert red(found) == set()
        assert "public, trading move" in found["hosted: schemas"].found


def test_a_superuser_at_the_hosted_side_is_refused(both: Project) -> None:
    pair = both.new()
    found = answers(pair, Case({}), pair.hosted_admin)
    assert red(found) == {"hosted: no superuser", "selfhosted: roles and grants"}


def test_who_sees_no_sessions_is_told_so(both: Project) -> None:
    case = Case({}, admin=["revoke pg_monitor from hosted"], undo=["grant pg_monitor to hosted with admin option"])
    with made_wrong(both, case) as pair:
        found = answers(pair, case)
        assert red(found) == {"hosted: rights"}
        assert red(found, Verdict.COULD_NOT_CHECK) == {
            f"hosted: {name}"
            for name in ("DDL in flight", "prepared transactions", "long transactions", "session features")
        }


def test_checksums_and_a_standby_that_is_missing_are_seen(both: Project) -> None:
    pair = both.new()
    facts = asking.ask(pair.hosted)
    assert facts.server.checksums
    assert asking.ask(pair.own).server.checksums
    run_at(pair.own, ["alter system set synchronous_standby_names = 'nobody'", "select pg_reload_conf()"])
    try:
        eventually(lambda: red(answers(pair, Case({}))) == {"selfhosted: synchronous commit"})
    finally:
        run_at(pair.own, ["alter system reset synchronous_standby_names", "select pg_reload_conf()"])
        eventually(lambda: red(answers(pair, Case({}))) == set())


def test_a_slot_is_one_for_all_databases_of_a_server(both: Project) -> None:
    one, other = both.new(), both.new()
    run_at(one.hosted, ["select pg_create_logical_replication_slot('crossover_from_hosted', 'pgoutput')"])
    try:
        assert red(answers(one, Case({}))) == set()
        assert red(answers(other, Case({}))) == {"hosted: slot name"}
    finally:
        run_at(one.hosted, ["select pg_drop_replication_slot('crossover_from_hosted')"])


def test_a_password_that_is_wrong_is_refused_and_a_server_that_is_gone_unknown(both: Project) -> None:
    pair = both.new()
    wrong = answers(pair, Case({}), replace(pair.hosted, password="s3cret"))
    assert wrong["hosted: reachable"].outcome is Verdict.DOES_NOT_HOLD
    assert "s3cret" not in str(wrong)
    gone = answers(pair, Case({}), replace(pair.hosted, port=1))
    assert gone["hosted: reachable"].outcome is Verdict.COULD_NOT_CHECK


def test_the_facts_of_a_project(both: Project) -> None:
    pair = both.new()
    run_at(pair.hosted, ["create temporary table passing (a int)"])
    facts = asking.ask(pair.hosted)
    contents = facts.contents
    assert not isinstance(contents, Unknown)
    assert (contents.schemas, contents.missing, contents.rows) == (("public",), (), ("public.watchlists",))
    assert [str(table) for table in contents.tables] == ["public.watchlists"]
    assert contents.roles_named["authenticated"] == {"grant", "policy"}
    assert contents.bytes >= 8192
    assert not facts.role.superuser and facts.role.replica_role and facts.role.watches
    assert abs(facts.clock.ahead) < 1
    replication = facts.replication
    assert not isinstance(replication, Unknown)
    assert (replication.wal_level, replication.slots_limit, replication.keep_bytes) == ("logical", 5, 512 << 20)
    assert not isinstance(facts.event_triggers, Unknown)
    assert [(one.name, one.moves) for one in facts.event_triggers] == [
        ("pgrst_ddl_watch", False),
        ("pgrst_drop_watch", False),
    ]


def eventually(holds: Callable[[], bool]) -> None:
    """A reload is announced to nobody."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
