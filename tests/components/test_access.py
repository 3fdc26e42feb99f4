"""Least rights, closed networks, and secrets that stay secret."""

from __future__ import annotations

from typing import Any

import pytest

from contracts import names
from contracts.stages import Stage
from tests.components.rendering import WORKLOADS, Program, at, decoded, password, render, template

PASSWORDS = [
    password(name)
    for name in (
        "event-bus-redis-password",
        *(f"event-bus-kafka-{user}-password" for user in ("broker", "cutover", "mirror", "trading")),
        "hosted-postgres-app-password",
        "hosted-postgres-migrator-password",
        "hosted-postgres-admin-password",
        "database-postgres-admin-password",
        "database-postgres-backup-password",
        "hosted-llm-key",
        "own-llm-key",
        "configuration-salt",
    )
]
AUDIT = "crossover-audit-trading-transitions"
"""Role and binding of those who append to the audit log."""


# -- rights in the Kubernetes API


@pytest.mark.parametrize("stage", Stage)
def test_no_role_has_more_than_it_needs(stage: Stage) -> None:
    rules = {role.name: role.manifest["rules"] for role in at(stage).of("Role")}
    ours = {"database-pooler", "database-carrier", "database-cutover"}
    models = {"llm-orchestrator", "llm-cutover"}
    backtests = {"backtesting-service", "backtesting-cutover"}
    of = {**dict.fromkeys(ours, "database"), **dict.fromkeys(models, "llm-service")}
    of |= dict.fromkeys(backtests, "backtesting")
    # Of the audit log's namespace: whoever fills a ConfigMap there makes the next one.
    audit = at(stage).one("Role", AUDIT)
    assert audit.manifest["metadata"]["namespace"] == "crossover-audit"
    assert rules.pop(AUDIT) == [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "update"]}]
    assert set(rules) == {"event-bus-adapter", "event-bus-mirror", "crossover-cutover", *of}
    for name, granted in rules.items():
        for rule in granted:
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert "secrets" not in rule["resources"]
            if "configmaps" in rule["resources"]:
                component = of.get(name, "event-bus")
                noted = name == "database-cutover" and rule["verbs"] == ["get"]
                assert rule["resourceNames"] == [
                    "crossover-backup-database" if noted else f"crossover-route-{component}"
                ]
    writers = {
        name for name, granted in rules.items() for rule in granted
        if "configmaps" in rule["resources"] and {"patch", "update"} & set(rule["verbs"])
    }  # fmt: skip
    assert writers == {"crossover-cutover", "database-cutover", "llm-cutover", "backtesting-cutover"}
    # GPUs are facts of nodes, which are of no namespace.
    (nodes,) = at(stage).of("ClusterRole")
    assert (nodes.name, nodes.manifest["rules"]) == (
        "trading-llm-cutover", [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    )  # fmt: skip
    (bound,) = at(stage).of("ClusterRoleBinding")
    assert bound.manifest["subjects"] == [{"kind": "ServiceAccount", "name": "llm-cutover", "namespace": "trading"}]


def test_who_has_no_gpus_gets_no_right_outside_the_namespace() -> None:
    assert not list(render({"size": "small"}).of("ClusterRole", "ClusterRoleBinding"))


def test_only_who_needs_a_right_is_bound() -> None:
    bound = {
        binding.name: {subject["name"] for subject in binding.manifest["subjects"]}
        for binding in at(Stage.SCALE).of("RoleBinding")
    }
    assert bound == {
        "event-bus-adapter": {"event-bus-client", "trading-engine", "market-feed"},
        "event-bus-mirror": {"event-bus-mirror"},
        "crossover-cutover": {"crossover-cutover"},
        **{name: {name} for name in ("database-pooler", "database-carrier", "database-cutover")},
        **{name: {name} for name in ("llm-orchestrator", "llm-cutover")},
        **{name: {name} for name in ("backtesting-service", "backtesting-cutover")},
        AUDIT: {"crossover-cutover", "database-cutover", "llm-cutover", "backtesting-cutover"},
    }
    across = at(Stage.SCALE).one("RoleBinding", AUDIT).manifest
    assert across["metadata"]["namespace"] == "crossover-audit"
    assert {subject["namespace"] for subject in across["subjects"]} == {"trading"}


# -- the network: who reaches whom, by the rules of the API


def _matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _allows(
    rules: list[dict[str, Any]], side: str, home: str, namespace: str, labels: dict[str, str], port: int
) -> bool:
    for rule in rules:
        if port not in {each["port"] for each in rule["ports"]}:
            continue
        if side not in rule:
            return True
        for peer in rule[side]:
            spaces = peer.get("namespaceSelector")
            there = _matches(spaces, {"kubernetes.io/metadata.name": namespace}) if spaces else namespace == home
            if there and _matches(peer.get("podSelector", {}), labels):
                return True
    return False


class _Network:
    def __init__(self, program: Program) -> None:
        self._policies = [policy.manifest for policy in program.of("NetworkPolicy")]
        self._pods: dict[str, tuple[str, dict[str, str]]] = {}
        for workload in program.of(*WORKLOADS):
            labels = template(workload)["metadata"]["labels"]
            self._pods[labels["app"]] = (workload.manifest["metadata"]["namespace"], labels)

    def _side(self, kind: str, pod: tuple[str, dict[str, str]], other: tuple[str, dict[str, str]], port: int) -> bool:
        peers, key = ("from", "ingress") if kind == "Ingress" else ("to", "egress")
        mine = [
            policy["spec"]
            for policy in self._policies
            if policy["metadata"]["namespace"] == pod[0]
            and kind in policy["spec"]["policyTypes"]
            and _matches(policy["spec"]["podSelector"], pod[1])
        ]
        assert mine, "no policy selects the pod: it would be open"
        return any(_allows(spec.get(key, []), peers, pod[0], *other, port) for spec in mine)

    def reaches(self, source: str, target: str, port: int) -> bool:
        """Whether both ends let it through."""
        a, b = self._pods[source], self._pods[target]
        return self._side("Egress", a, b, port) and self._side("Ingress", b, a, port)

    def reaches_api(self, source: str) -> bool:
        pod = self._pods[source]
        return self._side("Egress", pod, ("elsewhere", {}), 6443)

    def edges(self, ports: dict[str, int]) -> set[tuple[str, str]]:
        return {
            (source, target)
            for source in self._pods
            for target, port in ports.items()
            if target in self._pods and self.reaches(source, target, port)
        }


PORTS = {
    names.REDIS_NAME: names.REDIS_PORT,
    names.KAFKA_NAME: names.KAFKA_PORT,
    names.POOLER_NAME: names.POOLER_PORT,
    names.HOSTED_POSTGRES_NAME: names.POSTGRES_PORT,
    names.SELFHOSTED_POSTGRES_NAME: names.POSTGRES_PORT,
    names.CARRIER_NAME: names.METRICS_PORT,
    names.HOSTED_LLM_NAME: names.HOSTED_LLM_PORT,
    names.TRADING_ENGINE_NAME: names.HTTP_PORT,
    names.LLM_ORCHESTRATOR_NAME: names.HTTP_PORT,
    names.BACKTESTING_NAME: names.HTTP_PORT,
    names.MARKET_FEED_NAME: names.HTTP_PORT,
    names.MIRROR_NAME: names.METRICS_PORT,
}
DATABASE_CLIENTS = ("database-pooler", "database-carrier", "database-cutover")
SERVERS = (names.HOSTED_POSTGRES_NAME, names.SELFHOSTED_POSTGRES_NAME)
BUS_CLIENTS = ("trading-engine", "market-feed", "event-bus-mirror", "crossover-cutover")


def test_the_network_has_just_the_edges_that_the_workload_needs() -> None:
    network = _Network(at(Stage.SCALE))
    wanted = {(client, bus) for client in BUS_CLIENTS for bus in (names.REDIS_NAME, names.KAFKA_NAME)}
    wanted |= {
        (names.KAFKA_NAME, names.KAFKA_NAME),
        ("trading-engine", names.POOLER_NAME),
        ("trading-engine", names.LLM_ORCHESTRATOR_NAME),
        *((client, server) for client in DATABASE_CLIENTS for server in SERVERS),
        (names.BASE_BACKUP_NAME, names.SELFHOSTED_POSTGRES_NAME),
        (names.LLM_ORCHESTRATOR_NAME, names.HOSTED_LLM_NAME),
        (names.LLM_CUTOVER_NAME, names.HOSTED_LLM_NAME),
        (names.LLM_CUTOVER_NAME, names.LLM_ORCHESTRATOR_NAME),
        (names.BACKTESTING_CUTOVER_NAME, names.BACKTESTING_NAME),
    }
    assert network.edges(PORTS) == wanted
    asks_api = {app for app in network._pods if network.reaches_api(app)}
    others = {names.LLM_ORCHESTRATOR_NAME, names.LLM_CUTOVER_NAME}
    others |= {names.BACKTESTING_NAME, names.BACKTESTING_CUTOVER_NAME}
    assert asks_api == {*BUS_CLIENTS, *DATABASE_CLIENTS, *others}


@pytest.mark.parametrize("stage", Stage)
def test_namespaces_admit_restricted_pods_only_and_deny_by_default(stage: Stage) -> None:
    for namespace in at(stage).of("Namespace"):
        assert namespace.manifest["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert namespace.protect is not namespace.retained
        deny = at(stage).one("NetworkPolicy", f"{namespace.name}-default-deny").manifest["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_audit_log_outlives_the_stack_and_the_next_stack_takes_it_up() -> None:
    program = at(Stage.MVP)
    kept = [r for r in program.resources if r.retained and "crossover-audit" in r.name]
    assert {(r.kind, r.manifest["metadata"]["name"]) for r in kept} == {
        ("Namespace", "crossover-audit"), ("NetworkPolicy", "default-deny"),
    }  # fmt: skip
    assert not [r for r in program.of("ConfigMap") if r.manifest["metadata"].get("namespace") == "crossover-audit"]
    keeper = program.one("kubernetes", "cluster-kept")
    assert keeper.manifest["upsertExistingObjects"] == "true"
    assert {r.name for r in program.resources if "::cluster-kept::" in r.provider} == {r.name for r in kept}
    # What is not kept must not take over what is there.
    assert "upsertExistingObjects" not in program.one("kubernetes", "cluster").manifest


def test_a_transition_knows_its_job_and_where_the_audit_log_is() -> None:
    program = render({"namespaces": {"audit": "ours"}})
    jobs = list(program.of("Job"))
    assert len(jobs) == 4
    for job in jobs:
        env = {one["name"]: one for one in template(job)["spec"]["containers"][0]["env"]}
        assert env[names.ENV_AUDIT_NAMESPACE]["value"] == "ours"
        path = env[names.ENV_JOB_NAME]["valueFrom"]["fieldRef"]["fieldPath"]
        assert path == "metadata.labels['batch.kubernetes.io/job-name']"


# -- secrets


@pytest.mark.parametrize("stage", Stage)
def test_every_password_is_secret_wherever_it_stands(stage: Stage) -> None:
    import base64

    hidden = [(p, base64.b64encode(p.encode()).decode().rstrip("=")[:40]) for p in PASSWORDS]
    for resource in at(stage).resources:
        for plain, encoded in hidden:
            assert plain not in resource.open_text, resource.key
            assert encoded not in resource.open_text, resource.key
    for secret in at(stage).of("Secret"):
        assert secret.manifest["data"]
        for value in secret.manifest["data"].values():
            assert value in secret.secrets
        assert secret.secret_outputs == {"data", "stringData"}  # what is read back of it, too


def test_each_client_has_its_own_credentials() -> None:
    program = at(Stage.SHADOW)
    users = {
        name: (values[names.ENV_KAFKA_USER], values[names.ENV_KAFKA_PASSWORD])
        for name in ("event-bus-client", "event-bus-mirror", "crossover-cutover")
        for values in [decoded(program.one("Secret", name))]
    }
    assert users == {
        "event-bus-client": ("trading", password("event-bus-kafka-trading-password")),
        "event-bus-mirror": ("mirror", password("event-bus-kafka-mirror-password")),
        "crossover-cutover": ("cutover", password("event-bus-kafka-cutover-password")),
    }


def test_a_users_own_secrets_stay_secret_too() -> None:
    program = render(
        {
            "database": {"hosted": {"host": "db.example", "password": "p@ss:word"}},
            "llm_service": {
                "provider": "groq",
                "base_url": "https://api.groq.com/openai/v1",
                "api_key": "gsk-secret",
                "models": {"default": "llama"},
            },
        }
    )
    for resource in program.resources:
        assert "p@ss" not in resource.open_text
        assert "gsk-secret" not in resource.open_text
    assert not program.names("Deployment") & {"hosted-llm"}
    assert "hosted-postgres" not in program.names("StatefulSet")
    url = decoded(program.one("Secret", "database-client"))["DATABASE_URL"]
    assert url == "postgresql://postgres:p%40ss%3Aword@database-pooler:6432/trading"
    pooler = decoded(program.one("Secret", "database-pooler"))
    assert pooler["hosted"] == "postgresql://postgres:p%40ss%3Aword@db.example:5432/postgres?sslmode=require"
    assert pooler["selfhosted"].startswith("postgresql://trading_app:")
    assert "@postgres-service.trading.svc.cluster.local:5432/trading?sslmode=require" in pooler["selfhosted"]
    assert pooler["userlist.txt"] == '"postgres" "p@ss:word"\n'
    moved = decoded(program.one("Secret", "database-move"))
    assert (
        moved["HOSTED_DATABASE_URL"] == "postgresql://postgres:p%40ss%3Aword@db.example:5432/postgres?sslmode=require"
    )
