"""Items on what goes on in the databases at this moment: transactions, DDL, sessions of others."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.postgres.facts import SideFacts
from cutover.database.preflight.item import Finding, Item, On
from cutover.database.preflight.situation import Journey, Situation, known

_END = "SELECT pg_terminate_backend(pid)"


def _ended(pids: Iterable[int]) -> str:
    """What ends these sessions."""
    return "; ".join(f"SELECT pg_terminate_backend({pid})" for pid in sorted(set(pids))[:5])


def _ddl(at: Situation, side: str, facts: SideFacts) -> Finding:
    found = known(facts.activity).ddl
    fix = f"Wait until it is done, or {_ended(one.pid for one in found)}"
    return Finding(wrong=[str(one) for one in found], fine="none", fix=fix)


def _prepared(at: Situation, side: str, facts: SideFacts) -> Finding:
    found = known(facts.activity).prepared
    return Finding(wrong=[f"{one.gid} of {one.owner}, {one.seconds:.0f} s old" for one in found], fine="none")


def _transactions(at: Situation, side: str, facts: SideFacts) -> Finding:
    found = [one for one in known(facts.activity).sessions if one.transaction_seconds is not None]
    limit = at.limits.transaction_seconds
    long = [one for one in found if (one.transaction_seconds or 0) > limit]
    longest = max((one.transaction_seconds or 0 for one in found), default=0.0)
    return Finding(
        wrong=[str(one) for one in long],
        fine=f"{len(found)} are open, the longest for {longest:.0f} s",
        expected=f"none is open for more than {limit:g} s",
        fix=f"Wait until it has ended, or {_ended(one.pid for one in long)}",
    )


def _session_features(at: Situation, side: str, facts: SideFacts) -> Finding:
    """A lock that an idle session holds, and LISTEN, are the session's: the pooler takes both from its client even
    without a switch. Within a transaction they are as safe as the transaction."""
    users = at.workload
    sessions = [one for one in known(facts.activity).sessions if one.user in users]
    wrong = [f"{one} holds an advisory lock" for one in sessions if one.advisory and one.transaction_seconds is None]
    wrong += [f"{one} listens" for one in sessions if one.listens]
    return Finding(wrong=wrong, fine=f"none in {len(sessions)} sessions of {', '.join(sorted(users)) or 'nobody'}")


def _others(at: Situation, side: str, facts: SideFacts) -> Finding:
    users = at.workload
    found = [one for one in known(facts.activity).sessions if one.user in users]
    fix = f"Point that client at the pooler, then {_ended(one.pid for one in found)}"
    return Finding(wrong=[str(one) for one in found], fine=f"none of {', '.join(sorted(users)) or 'nobody'}", fix=fix)


ITEMS = (
    Item(
        name="DDL in flight",
        expected="nobody changes a table that moves",
        fix=f"Wait until it is done, or {_END}",
        decide=_ddl,
    ),
    Item(
        name="prepared transactions",
        expected="none: a slot waits for them, and so does a switch",
        fix="COMMIT PREPARED or ROLLBACK PREPARED",
        decide=_prepared,
    ),
    Item(
        name="long transactions",
        expected="none: a slot waits for them, and so does a switch",
        fix=f"Wait until it has ended, or {_END}",
        decide=_transactions,
    ),
    Item(
        name="session features",
        expected="no advisory lock or LISTEN is held by a session of the workload: neither survives the pooler",
        fix="Use pg_advisory_xact_lock, and listen over a connection of its own that makes itself anew",
        decide=_session_features,
        on=On.SOURCE,
        acceptable=True,
    ),
    Item(
        name="sessions past the pooler",
        expected="nobody of the workload is connected to the side that does not serve",
        fix=f"Point that client at the pooler, then {_END}",
        decide=_others,
        on=On.TARGET,
        journeys=frozenset({Journey.SWITCH, Journey.LEAVE}),
    ),
)
