"""Base backups of our own Postgres: when there are any, what they may do, and that their volume outlives them."""

from __future__ import annotations

from typing import Any

import pytest

from components.settings import BaseBackups, SettingsError, parse
from contracts import names
from contracts.stages import Stage
from tests.components.rendering import Program, at, decoded, password, render_all, template

NAME = names.BASE_BACKUP_NAME


def _job(program: Program) -> dict[str, Any]:
    found: dict[str, Any] = program.one("CronJob", NAME).manifest["spec"]
    return found


@pytest.mark.parametrize("stage", Stage)
def test_they_are_made_while_our_own_server_is_there(stage: Stage) -> None:
    assert (NAME in at(stage).names("CronJob")) is ("postgres" in at(stage).names("StatefulSet"))


@pytest.mark.parametrize(
    ("size", "given", "made"),
    [
        ("small", None, False),
        ("standard", None, True),
        ("small", {"schedule": "0 * * * *"}, True),
        ("standard", {"enabled": False}, False),
    ],
)
def test_whether_there_are_any_is_config_and_size(size: str, given: dict[str, Any] | None, made: bool) -> None:
    own = {} if given is None else {"backup": given}
    settings = parse("local", {"kube_context": "c", "size": size, "database": {"selfhosted": own}})
    assert (settings.base_backups is not None) is made


def test_config_decides_when_how_long_and_where() -> None:
    backup = {"schedule": "5 4 * * 0", "keep": 30, "storage": "80Gi"}
    database = {"stage": "shadow", "selfhosted": {"backup": backup, "tls_secret": "own-tls"}}
    given, without = render_all([{"database": database}, {"size": "small", "database": {"stage": "shadow"}}])
    spec = _job(given)
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("5 4 * * 0", "Etc/UTC", "Forbid")
    (container,) = template(given.one("CronJob", NAME))["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert env["KEEP_DAYS"] == "30"
    assert (env["PGSSLMODE"], env["PGSSLROOTCERT"]) == ("verify-full", "/etc/crossover/authorities/selfhosted/ca.crt")
    assert "/etc/crossover/authorities/selfhosted" in {mount["mountPath"] for mount in container["volumeMounts"]}
    claim = given.one("PersistentVolumeClaim", NAME).manifest["spec"]
    assert claim["resources"]["requests"]["storage"] == "80Gi"
    assert not any(resource.name == NAME for resource in without.resources)
    roles = decoded(without.one("Secret", "database-postgres"))["roles.sql"]
    assert "ALTER ROLE crossover_backup NOLOGIN" in roles and "REPLICATION PASSWORD" not in roles


def test_it_may_replicate_and_look_into_no_database() -> None:
    files = decoded(at(Stage.SCALE).one("Secret", "database-postgres"))
    rules = [line.split() for line in files["pg_hba.conf"].splitlines() if not line.startswith("#")]
    mine = [rule for rule in rules if rule[0] == "hostssl" and rule[2] in ("crossover_backup", "all")]
    assert mine[:2] == [
        ["hostssl", "replication", "crossover_backup", "all", "scram-sha-256"],
        ["hostssl", "all", "crossover_backup", "all", "reject"],
    ]
    secret = password("database-postgres-backup-password")
    assert f"ALTER ROLE crossover_backup WITH LOGIN REPLICATION PASSWORD '{secret}'" in files["roles.sql"]
    assert decoded(at(Stage.SCALE).one("Secret", NAME)) == {"password": secret}
    env = template(at(Stage.SCALE).one("CronJob", NAME))["spec"]["containers"][0]["env"]
    assert [one["valueFrom"] for one in env if one["name"] == "PGPASSWORD"] == [
        {"secretKeyRef": {"name": NAME, "key": "password"}}
    ]


def test_its_volume_stays_when_the_server_goes() -> None:
    volume = at(Stage.SCALE).one("PersistentVolumeClaim", NAME)
    assert volume.retained
    assert "::cluster-kept::" in volume.provider  # which takes up the one that an earlier server left
    assert not at(Stage.SCALE).one("CronJob", NAME).retained


@pytest.mark.parametrize("wrong", [{"schedule": "daily"}, {"keep": 0}, {"storage": "much"}, {"kept": 3}])
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        parse("local", {"kube_context": "c", "database": {"selfhosted": {"backup": wrong}}})
    assert "crossover:database.selfhosted.backup" in "".join(caught.value.problems)


def test_the_defaults_are_those_that_are_documented() -> None:
    backups = BaseBackups()
    assert (backups.schedule, backups.keep, backups.storage) == ("30 2 * * *", 7, "30Gi")
