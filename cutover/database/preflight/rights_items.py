"""Items on rights and roles: what the migration role may do, and which roles both sides must have."""

from __future__ import annotations

from adapters.postgres.catalog import quoted
from adapters.postgres.facts import Kind, SideFacts
from cutover.database.preflight.item import Finding, Item, On, named
from cutover.database.preflight.situation import HOSTED, Journey, Situation, known

_ALL = frozenset({Journey.ESTABLISH, Journey.JOIN, Journey.SWITCH, Journey.LEAVE})
_STEADY = frozenset({Journey.JOIN, Journey.SWITCH, Journey.LEAVE})


def _rights(at: Situation, side: str, facts: SideFacts) -> Finding:
    role = facts.role
    name = quoted(role.name)
    lacks = [
        (text, fix)
        for holds, text, fix in (
            (role.replication or role.superuser, "REPLICATION", f"ALTER ROLE {name} REPLICATION"),
            (role.creates, "CREATE on the database", f"GRANT CREATE ON DATABASE {quoted(facts.database)} TO {name}"),
            (role.watches, "pg_monitor, without which it sees no sessions", f"GRANT pg_monitor TO {name}"),
        )
        if not holds
    ]
    subscribes = "may" if role.subscribes else "may not"
    return Finding(
        wrong=[f"{role.name} lacks {text}" for text, _ in lacks],
        fine=f"{role.name} has them; it {subscribes} make subscriptions, which nothing here needs",
        fix="; ".join(fix for _, fix in lacks),
    )


def _superuser(at: Situation, side: str, facts: SideFacts) -> Finding:
    role = facts.role
    return Finding(wrong=[f"{role.name} is one"] if role.superuser else [], fine=f"{role.name} is none")


def _ownership(at: Situation, side: str, facts: SideFacts) -> Finding:
    found = known(facts.contents)
    if facts.role.superuser:
        return Finding(fine="it is a superuser, who may publish any table")
    wrong = [f"{table} is {owner}'s" for owner, tables in sorted(found.foreign_owners.items()) for table in tables]
    grants = "; ".join(f"GRANT {quoted(owner)} TO {quoted(facts.role.name)}" for owner in sorted(found.foreign_owners))
    return Finding(wrong=wrong, fine=f"{len(found.tables)} tables are its own, or of a role that it is in", fix=grants)


def _row_security(at: Situation, side: str, facts: SideFacts) -> Finding:
    guarded = known(facts.contents).of(Kind.RLS)
    wrong = [thing.name for thing in guarded if thing.mode]
    fine = f"{len(guarded)} tables have it, and hide nothing from {facts.role.name}: they move with their policies"
    return Finding(wrong=wrong, fine=fine, fix=f"ALTER ROLE {quoted(facts.role.name)} BYPASSRLS")


def _replica_role(at: Situation, side: str, facts: SideFacts) -> Finding:
    if facts.role.replica_role:
        return Finding(fine=f"{facts.role.name} may set it")
    moving = at.moving
    triggers = [thing.name for thing in moving.of(Kind.TRIGGER, Kind.RULE) if thing.mode != "D"]
    wrong = [f"{name} would fire for each row that is carried" for name in triggers]
    wrong += [f"{moving.foreign_keys} foreign keys would be checked out of turn"] if moving.foreign_keys else []
    fine = f"{facts.role.name} may not set it, and there is no trigger, rule or foreign key that would mind"
    fix = f"GRANT SET ON PARAMETER session_replication_role TO {quoted(facts.role.name)}"
    return Finding(wrong=wrong, fine=fine, fix=fix)


def _roles(at: Situation, side: str, facts: SideFacts) -> Finding:
    """The roles that own what moves are not moved: what is theirs becomes that of their counterpart."""
    owners = {at.serving.role.name, *(at.pooled if at.target == HOSTED else ())}
    wanted = {name: ways for name, ways in at.moving.roles_named.items() if name not in owners}
    missing = sorted(set(wanted) - known(facts.roles))
    return Finding(
        wrong=[f"{name} ({', '.join(sorted(wanted[name]))})" for name in missing],
        fine=f"{len(wanted)} roles are named by grants, policies and owners, and are there: {named(sorted(wanted))}"
        if wanted
        else "no grant, policy or owner names another role",
        fix="; ".join(f"CREATE ROLE {quoted(name)} NOLOGIN" for name in missing),
    )


ITEMS = (
    Item(
        name="rights",
        expected="REPLICATION, CREATE on the database, and pg_monitor",
        fix="Grant them",
        decide=_rights,
        journeys=_ALL,
    ),
    Item(
        name="no superuser",
        expected="the migration role is no superuser at the hosted side",
        fix="Make a role as docs/database-preflight.md says, and give its URL",
        decide=_superuser,
        on=On.HOSTED,
        journeys=_STEADY,
        acceptable=True,
    ),
    Item(
        name="ownership",
        expected="every table that moves is owned by the migration role, or by one that it is a member of",
        fix="Grant it the owning role",
        decide=_ownership,
    ),
    Item(
        name="row-level security",
        expected="no policy hides rows from the migration role",
        fix="ALTER ROLE ... BYPASSRLS",
        decide=_row_security,
    ),
    Item(
        name="session_replication_role",
        expected="the migration role may set it, or nothing would fire",
        fix="GRANT SET ON PARAMETER session_replication_role TO the migration role",
        decide=_replica_role,
    ),
    Item(
        name="roles and grants",
        expected="every role that grants, policies and owners name is there",
        fix="CREATE ROLE ... NOLOGIN",
        decide=_roles,
        on=On.TARGET,
    ),
)
