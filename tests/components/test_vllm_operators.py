"""What the operators of others make of our own models: Karpenter's nodes, KEDA's pods, what Prometheus scrapes.

Each object is held against the schema of the operator's own CRD (crds/, each with its source), with nothing in it that
the schema does not know: the API server drops that without a word.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from components import vllm
from components.kube import API_VERSIONS
from tests.components.vllm_rendering import GROWING, KARPENTER, KEDA, MONITOR, Rendered

DEFAULT, TRADING = "own-llm-default", "own-llm-trading"
MODELS = {"default": GROWING, "trading": {"model": "org/small"}}
KEDAS = Rendered(models=MODELS, pools=KARPENTER, scaling=KEDA, monitor=MONITOR)
HPAS = Rendered(models=MODELS, scaling={"kind": "hpa"}, monitor=MONITOR)


def _closed(schema: Any) -> Any:
    """The schema with objects that take no further keys, but where it says that they do."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _closed(value) for key, value in schema.items()}
    return made | ({"additionalProperties": False} if "properties" in made else {})


def _crd(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / "crds" / f"{kind}.json").read_text())
    return found


@pytest.mark.parametrize("kind", ["NodePool", "ScaledObject", "ServiceMonitor"])
def test_an_object_is_what_its_operator_reads(kind: str) -> None:
    crd = _crd(kind)
    assert API_VERSIONS[kind] == crd["apiVersion"]
    made = KEDAS.of(kind)
    assert made
    for manifest in made:
        # By way of JSON, as it travels.
        jsonschema.validate(json.loads(json.dumps(manifest["spec"])), _closed(crd["schema"]))
        assert ("namespace" in manifest["metadata"]) is (crd["scope"] == "Namespaced")


def test_a_key_that_an_operator_does_not_know_is_found() -> None:
    (pool,) = KEDAS.of("NodePool")
    with pytest.raises(jsonschema.ValidationError, match="ttlSecondsAfterEmpty"):
        jsonschema.validate(pool["spec"] | {"ttlSecondsAfterEmpty": 30}, _closed(_crd("NodePool")["schema"]))


def test_without_config_for_them_there_are_none() -> None:
    kinds = {manifest["kind"] for manifest in Rendered().manifests}
    assert not kinds & {"NodePool", "ScaledObject", "ServiceMonitor", "HorizontalPodAutoscaler"}


# -- Karpenter


def test_a_pool_is_made_for_the_models_alone_and_bounded() -> None:
    (pool,) = KEDAS.of("NodePool")
    assert pool["metadata"]["name"] == "trading-own-llm"
    spec, template = pool["spec"], pool["spec"]["template"]
    assert template["spec"]["taints"] == [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]
    assert template["spec"]["nodeClassRef"] == KARPENTER["node_class"]
    assert spec["limits"] == {"nvidia.com/gpu": 9, "cpu": "200"}
    assert {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]} in [
        {**each, "values": list(each["values"])} for each in template["spec"]["requirements"]
    ]
    assert template["spec"]["expireAfter"] == "720h"
    for app in (DEFAULT, TRADING):
        selector = KEDAS.pod(app)["nodeSelector"]
        assert selector.items() <= template["metadata"]["labels"].items() and selector


def test_a_model_that_runs_is_not_moved_to_save_a_node() -> None:
    (pool,) = KEDAS.of("NodePool")
    assert pool["spec"]["disruption"] == {
        "consolidationPolicy": "WhenEmpty",
        "consolidateAfter": "10m",
        "budgets": [{"nodes": "1"}],
    }


def test_a_pool_is_what_config_says() -> None:
    asked = KARPENTER | {
        "labels": {"team": "llm"},
        "taints": [{"key": "team", "value": "llm", "effect": "NoSchedule"}],
        "requirements": [{"key": "karpenter.k8s.aws/instance-gpu-name", "operator": "In", "values": ["l40s", "h100"]}],
        "consolidation": {"policy": "WhenEmptyOrUnderutilized", "after": "1h", "expire_after": "Never"},
    }
    made = Rendered(pools=asked)
    (pool,) = made.of("NodePool")
    template = pool["spec"]["template"]
    jsonschema.validate(json.loads(json.dumps(pool["spec"])), _closed(_crd("NodePool")["schema"]))
    assert template["metadata"]["labels"]["team"] == "llm"
    assert template["spec"]["taints"] == [{"key": "team", "value": "llm", "effect": "NoSchedule"}]
    assert [each["key"] for each in template["spec"]["requirements"]] == ["karpenter.k8s.aws/instance-gpu-name"]
    assert pool["spec"]["disruption"]["consolidateAfter"] == "1h" and template["spec"]["expireAfter"] == "Never"
    assert made.pod(DEFAULT)["tolerations"] == [
        {"key": "team", "operator": "Equal", "value": "llm", "effect": "NoSchedule"}
    ]


# -- who says how many pods there are


def test_keda_scales_by_queue_and_cache() -> None:
    (scaled,) = KEDAS.of("ScaledObject")
    spec = scaled["spec"]
    assert scaled["metadata"]["name"] == DEFAULT and spec["scaleTargetRef"] == {"name": DEFAULT}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 3)
    waiting, cache = spec["triggers"]
    where = '{namespace="trading",service="own-llm-default"}'
    assert waiting["metricType"] == "AverageValue"
    assert waiting["metadata"] == {
        "serverAddress": KEDA["prometheus"],
        "query": f"sum(vllm:num_requests_waiting{where})",
        "threshold": "4",
        "ignoreNullValues": "false",
    }
    assert cache["metricType"] == "Value" and cache["metadata"]["threshold"] == "0.8"
    assert cache["metadata"]["query"] == f"avg(vllm:kv_cache_usage_perc{where})"
    leaving = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert leaving["stabilizationWindowSeconds"] == 600
    assert leaving["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]


def test_an_autoscaler_of_kubernetes_own_does_the_same() -> None:
    (scaler,) = HPAS.of("HorizontalPodAutoscaler")
    spec = scaler["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": DEFAULT}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 3)
    targets = {each["pods"]["metric"]["name"]: each["pods"]["target"] for each in spec["metrics"]}
    assert targets == {
        "vllm_num_requests_waiting": {"type": "AverageValue", "averageValue": "4"},
        "vllm_kv_cache_usage_perc": {"type": "AverageValue", "averageValue": "800m"},
    }


@pytest.mark.parametrize("made", [KEDAS, HPAS])
def test_an_update_does_not_undo_what_was_scaled(made: Rendered) -> None:
    assert "replicas" not in made.one("Deployment", DEFAULT)["spec"]
    assert made.one("Deployment", TRADING)["spec"]["replicas"] == 1


# -- Prometheus


def test_each_model_is_scraped_where_its_service_has_a_port() -> None:
    monitors = {monitor["metadata"]["name"]: monitor for monitor in KEDAS.of("ServiceMonitor")}
    assert set(monitors) == {DEFAULT, TRADING}
    for app, monitor in monitors.items():
        service = KEDAS.one("Service", app)
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert endpoint["path"] == "/metrics"
        assert monitor["metadata"]["labels"]["release"] == "prometheus"


# -- what preflight asks the cluster for


def test_the_gpus_that_are_needed_are_told() -> None:
    needs = {each.app: each for each in vllm.gpu_needs(KEDAS.settings, KEDAS.own).root}
    assert (needs[DEFAULT].pods, needs[DEFAULT].gpus) == (2, 2)
    assert needs[DEFAULT].memory is None and needs[DEFAULT].fits(80) is None
    assert vllm.gpu_needs(KEDAS.settings, KEDAS.own).gpus == 5
    shipped = {each.app: each for each in vllm.gpu_needs(Rendered().settings, Rendered().own).root}
    assert shipped[DEFAULT].fits(22) and not shipped[DEFAULT].fits(15)
    assert shipped[TRADING].fits(44) and not shipped[TRADING].fits(24)
