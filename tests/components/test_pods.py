"""Every pod that the program renders, at every stage, fits Pod Security `restricted` and can be watched and bounded."""

from __future__ import annotations

from typing import Any

import pytest

from components.vllm_pool_settings import GPU
from components.vllm_settings import VllmSettings
from contracts.names import BACKTESTING_NAME, TRADING_ENGINE_NAME
from contracts.stages import Stage
from local.images import definition as images
from local.images import wheels
from tests.components.rendering import WORKLOADS, Program, Registered, at, render, template

CASES = [
    pytest.param(at(stage), workload, id=f"{stage.value}-{workload.name}")
    for stage in Stage
    for workload in sorted(at(stage).of(*WORKLOADS), key=lambda one: one.key)
]
API_USERS = {
    *("trading-engine", "market-feed", "event-bus-mirror", "transition-event-bus"),
    *("database-pooler", "database-carrier", "transition-database"),
    *("llm-orchestrator", "transition-llm-service"),
    *("backtesting-service", "transition-backtesting"),
}


def _containers(workload: Registered) -> list[dict[str, Any]]:
    spec = template(workload)["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


@pytest.mark.parametrize(("program", "workload"), CASES)
def test_it_is_restricted(program: Program, workload: Registered) -> None:
    spec = template(workload)["spec"]
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 65532
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for own in (container["securityContext"] for container in _containers(workload)):
        assert own["allowPrivilegeEscalation"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    sources = {key for volume in spec["volumes"] for key in volume if key != "name"}
    assert sources <= {"emptyDir", "secret", "persistentVolumeClaim"}


@pytest.mark.parametrize(("program", "workload"), CASES)
def test_it_is_bounded_and_watched(program: Program, workload: Registered) -> None:
    for resources in (container["resources"] for container in _containers(workload)):
        assert set(resources["requests"]) == {"cpu", "memory"}
        assert set(resources["limits"]) - {GPU} == {"memory"}
    if workload.kind in ("Job", "CronJob"):
        spec = workload.manifest["spec"]
        assert spec.get("jobTemplate", {"spec": spec})["spec"]["activeDeadlineSeconds"] > 0
        assert template(workload)["spec"]["restartPolicy"] == "Never"
    else:
        for container in template(workload)["spec"]["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
        assert workload.name in program.names("PodDisruptionBudget")


@pytest.mark.parametrize(("program", "workload"), CASES)
def test_it_has_an_account_of_its_own_and_a_token_only_for_the_api(program: Program, workload: Registered) -> None:
    spec = template(workload)["spec"]
    account = spec["serviceAccountName"]
    (made,) = (a for a in program.of("ServiceAccount") if a.name == account)
    assert made.manifest["metadata"]["namespace"] == workload.manifest["metadata"]["namespace"]
    assert made.manifest["automountServiceAccountToken"] is False
    assert spec["automountServiceAccountToken"] is (workload.name in API_USERS)
    sharers = [w.name for w in program.of(*WORKLOADS) if template(w)["spec"]["serviceAccountName"] == account]
    assert sharers == [workload.name]


@pytest.mark.parametrize(("program", "workload"), CASES)
def test_what_it_refers_to_exists(program: Program, workload: Registered) -> None:
    spec = template(workload)["spec"]
    namespace = workload.manifest["metadata"]["namespace"]
    secrets = {(s.manifest["metadata"]["namespace"], s.name): set(s.manifest["data"]) for s in program.of("Secret")}
    maps = {(m.manifest["metadata"]["namespace"], m.name) for m in program.of("ConfigMap")}
    for volume in spec["volumes"]:
        if "secret" in volume:
            keys = secrets[namespace, volume["secret"]["secretName"]]
            assert {item["key"] for item in volume["secret"].get("items", [])} <= keys
    mounted = set()
    for container in _containers(workload):
        for source in container.get("envFrom", []):
            if "secretRef" in source:
                assert (namespace, source["secretRef"]["name"]) in secrets
            else:
                assert (namespace, source["configMapRef"]["name"]) in maps
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                assert reference["key"] in secrets[namespace, reference["name"]]
        mounted |= {mount["name"] for mount in container["volumeMounts"]}
    claimed = {c["metadata"]["name"] for c in workload.manifest["spec"].get("volumeClaimTemplates", [])}
    assert mounted == {volume["name"] for volume in spec["volumes"]} | claimed


@pytest.mark.parametrize(("program", "workload"), CASES)
def test_its_image_is_one_that_is_built_and_has_what_it_runs(program: Program, workload: Registered) -> None:
    chain: tuple[Any, ...] = ()
    for container in _containers(workload):
        if container["image"] == VllmSettings().image:
            continue  # its publisher's
        name = container["image"].removeprefix("localhost/crossover/").removesuffix(":local")
        assert name in images.names()
        chain = tuple(images.lineage(images.load(name)))
        if container.get("command", [])[:2] == ["python", "-m"]:
            package = container["command"][2].partition(".")[0]
            assert package in {p for one in chain if one.code for p in one.code.packages}
    if workload.name == BACKTESTING_NAME:
        locks = "".join(wheels.lock_file(one).read_text() for one in chain if one.wheels)
        assert "vectorbt==" in locks


def test_all_of_the_cluster_fits_a_small_machine() -> None:
    from components.sizes import SIZES

    small = SIZES["small"].values()
    assert sum(row.cpu for row in small) < 1.5
    assert sum(row.memory for row in small) < 4096


def test_the_engine_has_time_to_finish_what_is_in_flight() -> None:
    assert template(at(Stage.MVP).one("Deployment", TRADING_ENGINE_NAME))["spec"]["terminationGracePeriodSeconds"] >= 45


def test_strategies_of_ones_own_are_mounted_where_the_service_looks_for_them() -> None:
    given = render({"backtesting": {"strategies": "mine"}})
    for program, told in ((at(Stage.MVP), False), (given, True)):
        spec = template(program.one("Deployment", BACKTESTING_NAME))["spec"]
        (container,) = spec["containers"]
        variables = {one["name"]: one.get("value") for one in container["env"]}
        mounts = {one["mountPath"]: one.get("readOnly") for one in container["volumeMounts"]}
        assert (variables.get("STRATEGIES_PATH") == "/strategies") is told
        assert (mounts.get("/strategies") is True) is told
        assert ({"name": "strategies", "configMap": {"name": "mine"}} in spec["volumes"]) is told
