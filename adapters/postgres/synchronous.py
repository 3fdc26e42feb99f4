"""Whether a commit at a side is acknowledged only once the other side has it: the stream that leads there as the
synchronous standby of its server. Only where our role is a superuser."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.postgres import heartbeats
from adapters.postgres.driver import SESSION, Address, lsn, translated
from adapters.postgres.side import Side, opened

_NAMES = "synchronous_standby_names"
_STANDBY = """
select state, sync_state, flush_lsn::text from pg_catalog.pg_stat_replication where application_name = %s
"""
_WAITS = ("on", "remote_apply")
_EXEMPT = """
select coalesce('role ' || quote_ident(r.rolname), 'every role') || ' in '
         || coalesce('database ' || quote_ident(d.datname), 'every database') || ': ' || c.setting
  from pg_catalog.pg_db_role_setting s
  left join pg_catalog.pg_roles r on r.oid = s.setrole
  left join pg_catalog.pg_database d on d.oid = s.setdatabase
  cross join lateral unnest(s.setconfig) as c (setting)
 where c.setting like 'synchronous_commit=%%' and split_part(c.setting, '=', 2) <> all(%s)
   and (s.setdatabase = 0 or d.datname = pg_catalog.current_database())
 order by 1
"""


@dataclass(frozen=True, slots=True)
class Standby:
    """A stream as its server sees it. `flushed`: how far its reader has told that all is durable."""

    state: str
    sync_state: str
    flushed: int

    @property
    def streaming(self) -> bool:
        """Whether it has caught up and gets what is committed at once."""
        return self.state == "streaming"

    @property
    def waited_for(self) -> bool:
        """Whether commits wait for it."""
        return self.streaming and self.sync_state in ("sync", "quorum")


def standby(side: Side, name: str) -> Standby | None:
    """The stream whose application_name is `name`; None where it is not connected."""
    for state, sync_state, flushed in side.rows(_STANDBY, (name,)):
        return Standby(state or "", sync_state or "", lsn(flushed) if flushed else 0)
    return None


def named(side: Side) -> str:
    """The standbys that commits wait for, as the server is told; empty for none."""
    return str(side.row(f"show {_NAMES}")[0])


def wait_for(side: Side, name: str) -> None:
    """Let commits wait for the stream `name`. The servers' processes hear of it a moment later."""
    side.run(f"alter system set {_NAMES} = '{name}'")
    side.run("select pg_catalog.pg_reload_conf()")


def wait_for_nobody(side: Side) -> None:
    """Let commits wait for nobody; those that wait go on."""
    side.run(f"alter system reset {_NAMES}")
    side.run("select pg_catalog.pg_reload_conf()")


def exempt(address: Address, application: str) -> tuple[str, ...]:
    """Whose commits would not wait, by a setting that is weaker: of the server, a role or a database."""
    with opened(address, application) as side:  # whose session says nothing of its own about it
        found = tuple(row[0] for row in side.rows(_EXEMPT, (list(_WAITS),)))
        (default,) = side.row("show synchronous_commit")
    return found if default in _WAITS else (*found, f"the server: synchronous_commit={default}")


def waited(address: Address, application: str, backend: str, name: str, rounds: int = 3) -> bool:
    """Whether commits there wait for the stream `name`: of `rounds` commits each was at its other end as it came back.
    What the server says is not enough: its processes hear of a setting at different times. Waits as commits do: for
    ever, where the stream stands still."""
    with opened(address, application, {**SESSION, "synchronous_commit": "on"}) as side:
        for _ in range(rounds):
            with translated(address):
                sent = heartbeats.beat(side.connection, backend)
            found = standby(side, name)
            if found is None or found.flushed < sent.lsn:
                return False
    return True
