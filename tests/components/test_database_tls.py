"""TLS to both Postgres servers: who asks for what, and that whoever verifies has the authority where its URL says."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.postgres.driver import Address
from adapters.postgres.pooler_config import PoolerSettings, rendered
from components.settings import SettingsError, parse
from contracts import names
from contracts.stages import Stage
from tests.components.rendering import Program, at, decoded, render, template

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
GIVEN = {"host": "db.example", "password": "pw"}
CLIENTS = (
    ("Deployment", names.POOLER_NAME),
    ("Deployment", names.CARRIER_NAME),
    ("Job", "transition-database"),
)


@pytest.fixture(scope="module")
def verified() -> Program:
    return render(
        {"database": {"stage": "shadow", "hosted": {**GIVEN, "ca": PEM}, "selfhosted": {"tls_secret": "own-tls"}}}
    )


def _urls(program: Program) -> dict[str, Address]:
    moved, pooled = (decoded(program.one("Secret", name)) for name in ("database-move", "database-pooler"))
    return {
        "hosted as mover": Address.parse(moved["HOSTED_DATABASE_URL"]),
        "ours as mover": Address.parse(moved["SELFHOSTED_DATABASE_URL"]),
        "hosted as pooler": Address.parse(pooled["hosted"]),
        "ours as pooler": Address.parse(pooled["selfhosted"]),
    }


def test_by_default_our_own_server_is_encrypted_to_and_the_stand_in_is_not() -> None:
    modes = {who: address.sslmode for who, address in _urls(at(Stage.SHADOW)).items()}
    assert modes == {
        **{f"hosted as {who}": "disable" for who in ("mover", "pooler")},
        **{f"ours as {who}": "require" for who in ("mover", "pooler")},
    }


@pytest.mark.parametrize(
    ("hosted", "mode", "authority"),
    [
        ({}, "require", ""),
        ({"sslmode": "verify-full"}, "verify-full", "/etc/ssl/certs/ca-certificates.crt"),
        ({"ca": PEM}, "verify-full", "/etc/crossover/authorities/hosted/ca.crt"),
        ({"sslmode": "prefer"}, "prefer", ""),
    ],
)
def test_a_hosted_server_is_verified_where_there_is_an_authority(
    hosted: dict[str, Any], mode: str, authority: str
) -> None:
    urls = _urls(render({"database": {"hosted": {**GIVEN, **hosted}}}))
    for who in ("mover", "pooler"):
        found = urls[f"hosted as {who}"]
        assert (found.sslmode, found.sslrootcert) == (mode, authority)


def test_whoever_verifies_finds_each_authority_where_its_url_says(verified: Program) -> None:
    paths = {address.sslrootcert.rpartition("/")[0] for address in _urls(verified).values()}
    assert paths == {"/etc/crossover/authorities/hosted", "/etc/crossover/authorities/selfhosted"}
    for kind, name in CLIENTS:
        spec = template(verified.one(kind, name))["spec"]
        sources = {volume["name"]: volume.get("secret") for volume in spec["volumes"]}
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            mounted = {mount["mountPath"]: sources[mount["name"]] for mount in container["volumeMounts"]}
            assert paths <= set(mounted), (name, container["name"])
            found = {path: mounted[path]["secretName"] for path in paths}
            assert set(found.values()) == {"database-authorities", "own-tls"}
            assert all(mounted[path]["items"] == [{"key": "ca.crt", "path": "ca.crt"}] for path in paths)
    assert decoded(verified.one("Secret", "database-authorities")) == {"ca.crt": PEM}


def test_pgbouncer_gets_each_sides_mode_and_authority(verified: Program) -> None:
    urls = _urls(verified)
    for side, folder in (("hosted", "hosted"), ("ours", "selfhosted")):
        lines = rendered(PoolerSettings(folder="/run", logins="/x"), urls[f"{side} as pooler"]).splitlines()
        assert "server_tls_sslmode = verify-full" in lines
        assert f"server_tls_ca_file = /etc/crossover/authorities/{folder}/ca.crt" in lines


def test_nothing_is_mounted_where_nobody_is_verified() -> None:
    for kind, name in CLIENTS:
        assert "authority" not in str(template(at(Stage.SHADOW).one(kind, name)))
    assert "database-authorities" not in at(Stage.SHADOW).names("Secret")


def test_another_authority_makes_new_pods(verified: Program) -> None:
    other = render({"database": {"stage": "shadow", "hosted": {**GIVEN, "ca": PEM.replace("MIIB", "MIIC")}}})
    plain = render({"database": {"stage": "shadow", "hosted": {**GIVEN, "ca": PEM}}})
    for name in (names.POOLER_NAME, names.CARRIER_NAME):
        a, b = (template(one.one("Deployment", name))["metadata"]["annotations"] for one in (other, plain))
        assert a != b


def test_our_own_server_makes_a_certificate_for_its_names_or_takes_the_users(verified: Program) -> None:
    def container(program: Program) -> tuple[dict[str, str], set[str]]:
        (found,) = template(program.one("StatefulSet", "postgres"))["spec"]["containers"]
        env = {one["name"]: one["value"] for one in found["env"]}
        return env, {mount["mountPath"] for mount in found["volumeMounts"]}

    env, mounts = container(at(Stage.SCALE))
    told = env["POSTGRES_TLS_NAMES"].split(",")
    assert _urls(at(Stage.SCALE))["ours as mover"].host in told
    assert "/run/secrets/tls" not in mounts
    env, mounts = container(verified)
    assert "POSTGRES_TLS_NAMES" not in env
    assert "/run/secrets/tls" in mounts


def test_from_other_pods_our_own_server_takes_tls_only() -> None:
    rules = decoded(at(Stage.SCALE).one("Secret", "database-postgres"))["pg_hba.conf"].splitlines()
    open_to_all = [line.split() for line in rules if line.startswith("host") and "127.0.0.1" not in line]
    assert {line[0] for line in open_to_all if line[3] != "::1/128"} == {"hostssl"}
    ways = {line.split()[-1] for line in rules if line and not line.startswith("#")}
    assert ways == {"scram-sha-256", "reject"}


@pytest.mark.parametrize(
    ("hosted", "said"),
    [
        ({"ca": PEM, "sslmode": "require"}, "nobody would be verified"),
        ({"ca": "ca.pem"}, "crossover:database.hosted.ca"),
    ],
)
def test_an_authority_that_would_not_count_is_refused(hosted: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse("local", {"kube_context": "c", "database": {"hosted": {**GIVEN, **hosted}}})
    assert said in "".join(caught.value.problems)
