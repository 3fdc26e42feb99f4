"""pgbouncer.ini is the same for clients whatever stands behind it, and no address can say more in it than it should."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.postgres.driver import Address
from adapters.postgres.errors import InvalidAddress
from adapters.postgres.pooler import PooledDatabase
from adapters.postgres.pooler_config import NOWHERE, SYSTEM_BUNDLE, PoolerSettings, points_at, rendered

SETTINGS = PoolerSettings(folder="/run/pooler", logins="/etc/pgbouncer/userlist.txt")
HOSTED = Address("db.example.com", 5432, "postgres", "app", "p w's;\"x", "verify-full", "/etc/ca.crt")


def parameters(ini: str) -> dict[str, str]:
    return dict(line.split(" = ", 1) for line in ini.splitlines() if " = " in line)


def parsed(entry: str) -> dict[str, str]:
    """As PgBouncer reads key='value' pairs, where '' is one quote."""
    found, rest = {}, entry
    while rest:
        key, rest = rest.split("='", 1)
        value = ""
        while True:
            end = rest.index("'")
            value, rest = value + rest[:end], rest[end + 1 :]
            if not rest.startswith("'"):
                break
            value, rest = value + "'", rest[1:]
        found[key.strip()] = value
    return found


def test_what_the_pooler_had_before_there_were_two_sides_is_still_so() -> None:
    given = parameters(rendered(SETTINGS, HOSTED))
    assert (
        given
        | {
            "listen_addr": "0.0.0.0",
            "listen_port": "6432",
            "auth_type": "scram-sha-256",
            "auth_file": "/etc/pgbouncer/userlist.txt",
            "pool_mode": "transaction",
            "max_client_conn": "500",
            "default_pool_size": "20",
            "max_prepared_statements": "200",
            "ignore_startup_parameters": "extra_float_digits,options",
            "query_wait_timeout": "300",
            "server_login_retry": "1",
            "dns_nxdomain_ttl": "2",
        }
        == given
    )


def test_a_side_differs_in_its_entry_and_its_tls_only() -> None:
    one, other = (
        parameters(rendered(SETTINGS, HOSTED)),
        parameters(rendered(SETTINGS, replace(HOSTED, sslmode="require"))),
    )
    nowhere = parameters(rendered(SETTINGS, None))
    allowed = {"trading", "server_tls_sslmode", "server_tls_ca_file"}
    for against in (other, nowhere):
        assert {key for key in one.keys() | against.keys() if one.get(key) != against.get(key)} <= allowed
    assert (one["server_tls_sslmode"], one["server_tls_ca_file"]) == ("verify-full", "/etc/ca.crt")
    assert nowhere["server_tls_sslmode"] == "disable"


@given(password=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_password_is_read_as_it_is_and_stays_on_its_line(password: str) -> None:
    ini = rendered(SETTINGS, replace(HOSTED, password=password))
    line = next(line for line in ini.split("\n") if line.startswith("trading = "))
    assert parsed(line.removeprefix("trading = ")) == {
        "host": "db.example.com", "port": "5432", "dbname": "postgres", "user": "app", "password": password,
    }  # fmt: skip


@pytest.mark.parametrize("field", ["host", "database", "user", "password", "sslrootcert"])
def test_what_would_end_the_line_is_refused_and_not_repeated(field: str) -> None:
    with pytest.raises(InvalidAddress) as refused:
        rendered(SETTINGS, replace(HOSTED, **{field: "s3cret\nauth_type = any"}))  # type: ignore[arg-type]
    assert field != "password" or "s3cret" not in str(refused.value)


def test_verification_needs_an_authority_and_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InvalidAddress, match="sslrootcert=PATH"):
        rendered(SETTINGS, replace(HOSTED, sslrootcert=""))
    with pytest.raises(InvalidAddress, match="sslmode"):
        rendered(SETTINGS, replace(HOSTED, sslmode="sometimes"))
    assert parameters(rendered(SETTINGS, replace(HOSTED, sslrootcert="system")))["server_tls_ca_file"] == SYSTEM_BUNDLE


def test_an_entry_points_at_a_side_where_everything_that_shows_agrees() -> None:
    entry = PooledDatabase("trading", "db.example.com", 5432, "postgres", "app", False)
    assert points_at(entry, HOSTED)
    for changed in ({"host": "other"}, {"port": 1}, {"database": "x"}, {"user": "x"}):
        assert not points_at(replace(entry, **changed), HOSTED)
    assert not points_at(entry, None)
    assert points_at(replace(entry, host=NOWHERE), None)


def test_older_poolers_are_not_told_of_what_they_do_not_know_and_names_are_quoted() -> None:
    given = parameters(rendered(replace(SETTINGS, prepared_statements=None, database='a "b"', admins="boss"), HOSTED))
    assert "max_prepared_statements" not in given
    assert given["admin_users"] == "boss"
    assert '"a ""b"""' in given
