"""pgbouncer.ini, from where the server is that it stands before. Pure.

The clients' side of the file is the same whatever stands behind it: one database name, one file of logins, one port.
So a switch changes the entry of [databases] and `server_tls_*`, and nothing that would need a restart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapters.postgres.driver import Address
from adapters.postgres.errors import InvalidAddress
from adapters.postgres.pooler import PooledDatabase
from contracts import names

NOWHERE = "/nonexistent/crossover-fence"
"""The host of a pooler that may reach no server: a folder of Unix sockets that does not exist. Clients wait."""
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""What `sslrootcert=system` means to libpq; PgBouncer needs the file's name."""
_TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolerSettings:
    """What does not depend on the side. `folder`: of its Unix socket, on which the console is; `logins`: userlist.txt,
    with what clients log in by. `admins` may use the console with a password; who runs as the pooler's Unix user may
    without. `prepared_statements` None leaves the parameter out, which PgBouncer before 1.21 does not know."""

    folder: str
    logins: str
    database: str = names.DATABASE_NAME
    address: str = "0.0.0.0"
    port: int = names.POOLER_PORT
    pool_size: int = 20
    max_clients: int = 500
    prepared_statements: int | None = 200
    admins: str = ""


def rendered(settings: PoolerSettings, target: Address | None) -> str:
    """pgbouncer.ini with `target` behind it; None: no server at all. Holds the target's password.

    Raises InvalidAddress where PgBouncer could not do what the address asks for.
    """
    prepared = settings.prepared_statements
    lines = [
        "; Written by the pooler's agent at each switch. Changes made by hand are lost.",
        "[databases]",
        f"{_name(settings.database)} = {_entry(target)}",
        "",
        "[pgbouncer]",
        f"listen_addr = {settings.address}",
        f"listen_port = {settings.port}",
        f"unix_socket_dir = {settings.folder}",
        "auth_type = scram-sha-256",
        f"auth_file = {settings.logins}",
        *([f"admin_users = {settings.admins}"] if settings.admins else []),
        "pool_mode = transaction",
        f"max_client_conn = {settings.max_clients}",
        f"default_pool_size = {settings.pool_size}",
        *([] if prepared is None else [f"max_prepared_statements = {prepared}"]),
        *_tls(target),
        "ignore_startup_parameters = extra_float_digits,options",
        "; a switch holds statements and logins for seconds; nobody is to be turned away for that",
        "query_wait_timeout = 300",
        "client_login_timeout = 120",
        "server_login_retry = 1",
        "; a name that does not resolve yet is asked for again soon",
        "dns_nxdomain_ttl = 2",
        "; a host that is gone without a word is noticed within half a minute",
        "tcp_keepidle = 10",
        "tcp_keepintvl = 5",
        "tcp_keepcnt = 4",
    ]
    return "\n".join(lines) + "\n"


def points_at(entry: PooledDatabase, target: Address | None) -> bool:
    """Whether a loaded entry is the one that `rendered` makes of `target`."""
    if target is None:
        return entry.host == NOWHERE
    wanted = target.host, target.port, target.database, target.user
    return (entry.host, entry.port, entry.database, entry.user) == wanted


def _entry(target: Address | None) -> str:
    if target is None:
        return f"host={NOWHERE} dbname=none user=none"
    given = {
        "host": target.host, "port": str(target.port), "dbname": target.database, "user": target.user,
        "password": target.password,
    }  # fmt: skip
    return " ".join(f"{key}={_value(key, value)}" for key, value in given.items() if value)


def _value(key: str, text: str) -> str:
    """Quoted as PgBouncer reads it. The text is in no error: it may be a password."""
    if _CONTROL.search(text):
        raise InvalidAddress(f"the {key} of the database's address holds a control character: PgBouncer cannot read it")
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def _name(database: str) -> str:
    if _CONTROL.search(database):
        raise InvalidAddress("the name of the pooled database holds a control character: PgBouncer cannot read it")
    quoted = database.replace('"', '""')
    return database if re.fullmatch(r"\w+", database, re.ASCII) else f'"{quoted}"'


def _tls(target: Address | None) -> list[str]:
    """Of the whole pooler, not of the database. Both lines always: a RELOAD leaves what is not named as it was."""
    if target is None:
        return ["server_tls_sslmode = disable", "server_tls_ca_file ="]
    if target.sslmode not in _TLS_MODES:
        raise InvalidAddress(f"{target}: sslmode {target.sslmode!r} is none of {', '.join(_TLS_MODES)}")
    authority = SYSTEM_BUNDLE if target.sslrootcert == "system" else target.sslrootcert
    if target.sslmode.startswith("verify") and not authority:
        raise InvalidAddress(
            f"{target}: sslmode {target.sslmode} names no authority to verify by: PgBouncer would refuse every server. "
            "Add sslrootcert=PATH, or sslrootcert=system, to its URL"
        )
    if _CONTROL.search(authority):
        raise InvalidAddress(f"{target}: sslrootcert holds a control character")
    return [f"server_tls_sslmode = {target.sslmode}", f"server_tls_ca_file = {authority}"]
