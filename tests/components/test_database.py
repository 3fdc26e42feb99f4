"""The database through its stages: what is deployed, what waits for what, and how the pooler is configured."""

from __future__ import annotations

import pytest

from components.pooler import files
from contracts import names
from contracts.stages import STAGE_TABLE, Component, Stage, deployed_backends
from tests.components.rendering import Program, Registered, at, decoded, render, template

DATABASE = Component.DATABASE
SERVERS = {"hosted": "hosted-postgres", "selfhosted": "postgres"}


def _job(program: Program) -> Registered:
    return program.one("Job", "transition-database")


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_deploys_what_its_row_says(stage: Stage) -> None:
    deployed = {kind for kind, name in SERVERS.items() if name in at(stage).names("StatefulSet")}
    assert deployed == deployed_backends(DATABASE, stage)
    carried = names.CARRIER_NAME in at(stage).names("Deployment")
    assert carried is (STAGE_TABLE[stage].follows is not None)


@pytest.mark.parametrize("stage", Stage)
def test_the_wanted_stage_shows_on_the_transition(stage: Stage) -> None:
    assert at(stage).one("Transition", "database").manifest == {"component": "database", "stage": stage.value}
    (container,) = template(_job(at(stage)))["spec"]["containers"]
    assert container["args"][:4] == ["--component", "database", "--stage", stage.value]
    assert container["envFrom"] == [{"secretRef": {"name": "database-move"}}]


def test_an_emergency_what_may_be_lost_and_what_is_hidden_are_the_transitions_to_know() -> None:
    told = {"rollback_loss": "none", "mask": ["a.b.c", "a.*.d"], "verdict_hours": 2}
    program = render({"database": {"stage": "shadow", "emergency": True, **told}})
    assert program.one("Transition", "database").manifest["emergency"] is True
    (container,) = template(_job(program))["spec"]["containers"]
    assert container["args"][-1] == "--emergency"
    assert {"name": names.ENV_DATABASE_ROLLBACK_LOSS, "value": "none"} in container["env"]
    hidden = {"name": names.ENV_DATABASE_MASK, "value": "a.b.c,a.*.d"}
    assert hidden in container["env"] and {"name": names.ENV_VERDICT_HOURS, "value": "2"} in container["env"]
    (carrier,) = template(program.one("Deployment", names.CARRIER_NAME))["spec"]["containers"]
    assert hidden in carrier["env"]
    (usual,) = template(_job(at(Stage.SHADOW)))["spec"]["containers"]
    assert "--emergency" not in usual["args"]
    assert {"name": names.ENV_DATABASE_ROLLBACK_LOSS, "value": "bounded"} in usual["env"]
    assert {"name": names.ENV_VERDICT_HOURS, "value": "24"} in usual["env"]
    assert names.ENV_DATABASE_MASK not in {one["name"] for one in usual["env"]}


def test_both_servers_the_pooler_and_the_carrier_come_before_the_transition_and_services_after() -> None:
    program = at(Stage.SHADOW)
    waited = {key.rsplit("::", 1)[-1] for key in _job(program).depends_on}
    assert {"hosted-postgres", "postgres", "database-carrier", "database-pooler", "crossover-route-database"} <= waited
    engine = program.one("Deployment", names.TRADING_ENGINE_NAME)
    assert _job(program).key in engine.depends_on


@pytest.mark.parametrize("name", ["crossover-route-database", "crossover-backup-database"])
def test_what_a_cutover_or_a_backup_writes_is_left_alone(name: str) -> None:
    assert at(Stage.MVP).one("ConfigMap", name).ignored == ("data",)


def test_a_backup_finds_the_image_of_the_server_that_it_restores_into() -> None:
    annotations = _job(at(Stage.MVP)).manifest["metadata"]["annotations"]
    (own,) = template(at(Stage.SCALE).one("StatefulSet", "postgres"))["spec"]["containers"]
    assert annotations["crossover.dev/postgres-image"] == own["image"]


@pytest.mark.parametrize("stage", Stage)
def test_services_never_learn_of_a_stage(stage: Stage) -> None:
    url = decoded(at(stage).one("Secret", "database-client"))["DATABASE_URL"]
    assert url == decoded(at(Stage.MVP).one("Secret", "database-client"))["DATABASE_URL"]
    assert "@database-pooler:6432/trading" in url


def test_passwords_of_servers_stand_in_no_manifest_of_a_pod() -> None:
    for workload in at(Stage.SHADOW).of("Deployment", "StatefulSet", "Job"):
        assert "PW" not in str(template(workload)).replace("PWD", "")


def test_logins_are_quoted_as_the_pooler_reads_them() -> None:
    made = files({"hosted": "postgresql://a", "selfhosted": "postgresql://b"}, "o'brien", 'q"uote')
    assert made == {
        "hosted": "postgresql://a",
        "selfhosted": "postgresql://b",
        "userlist.txt": '"o\'brien" "q""uote"\n',
    }


@pytest.mark.parametrize("stage", Stage)
def test_the_pooler_has_its_side_written_before_it_starts(stage: Stage) -> None:
    spec = template(at(stage).one("Deployment", names.POOLER_NAME))["spec"]
    (before,) = spec["initContainers"]
    assert before["command"] == ["python", "-m", "cutover.pooler", "--once"]
    pooler, agent = spec["containers"]
    shared = {mount["mountPath"] for mount in pooler["volumeMounts"] if mount["name"] == "run"}
    assert shared == {mount["mountPath"] for mount in agent["volumeMounts"] if mount["name"] == "run"}
    assert pooler["command"][1].startswith(shared.pop())
    assert not any(mount["name"] == "sides" for mount in pooler["volumeMounts"])


def test_the_users_own_server_is_reached_and_none_is_played() -> None:
    given = {"host": "db.example", "port": 6000, "password": "pw", "sslmode": "verify-full"}
    program = render({"database": {"stage": "shadow", "hosted": given}})
    assert "hosted-postgres" not in program.names("StatefulSet") | program.names("Secret")
    moved = decoded(program.one("Secret", "database-move"))["HOSTED_DATABASE_URL"]
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    assert moved == f"postgresql://postgres:pw@db.example:6000/postgres?sslmode=verify-full&sslrootcert={bundle}"
    rules = program.one("NetworkPolicy", "database-carrier").manifest["spec"]["egress"]
    assert {"ports": [{"port": 6000, "protocol": "TCP"}]} in rules
