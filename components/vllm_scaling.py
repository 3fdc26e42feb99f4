"""How a model's pods grow with its queue, and how Prometheus hears of it: a ScaledObject or an autoscaler, a
ServiceMonitor. Pure.

Both figures are vLLM's own. The queue says that there are too few pods now, the cache that there soon will be. A model
loads for minutes, so pods come at once and go one by one.
"""

from __future__ import annotations

from components.manifests import metadata
from components.pods import Manifest
from components.vllm_model_settings import ModelSettings
from components.vllm_settings import VllmSettings

WAITING, KV_CACHE = "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"
SCRAPE_SECONDS = 15
_LEAVE_SECONDS = 300
"""Between two pods that go."""


def scaled(own: VllmSettings, model: ModelSettings) -> bool:
    """Whether something else than config says how many pods there are."""
    return own.scaling.kind != "none" and model.replicas.most > model.replicas.min


def manifests(own: VllmSettings, app: str, namespace: str, model: ModelSettings) -> list[Manifest]:
    """All that watches `app`."""
    made = [_service_monitor(own, app, namespace)] if own.monitor.enabled else []
    if scaled(own, model):
        scaler = _scaled_object if own.scaling.kind == "keda" else _autoscaler
        made.append(scaler(own, app, namespace, model))
    return made


def _service_monitor(own: VllmSettings, app: str, namespace: str) -> Manifest:
    about = metadata(app, namespace)
    about["labels"] |= own.monitor.labels
    return {
        "kind": "ServiceMonitor",
        "metadata": about,
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "namespaceSelector": {"matchNames": [namespace]},
            "endpoints": [{"port": "http", "path": "/metrics", "interval": f"{SCRAPE_SECONDS}s"}],
        },
    }


def _scaled_object(own: VllmSettings, app: str, namespace: str, model: ModelSettings) -> Manifest:
    where = f'{{namespace="{namespace}",service="{app}"}}'
    scaling = own.scaling

    def trigger(name: str, metric_type: str, query: str, threshold: float) -> Manifest:
        # No figures are no reason to go or come: KEDA then keeps what is there.
        told = {"serverAddress": scaling.prometheus, "query": query, "threshold": f"{threshold:g}"}
        return {
            "type": "prometheus",
            "name": name,
            "metricType": metric_type,
            "metadata": {**told, "ignoreNullValues": "false"},
        }

    return {
        "kind": "ScaledObject",
        "metadata": metadata(app, namespace),
        "spec": {
            "scaleTargetRef": {"name": app},
            "minReplicaCount": model.replicas.min,
            "maxReplicaCount": model.replicas.most,
            "pollingInterval": SCRAPE_SECONDS,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(own)}},
            "triggers": [
                trigger("waiting", "AverageValue", f"sum({WAITING}{where})", scaling.waiting),
                trigger("kv-cache", "Value", f"avg({KV_CACHE}{where})", scaling.kv_cache),
            ],
        },
    }


def _autoscaler(own: VllmSettings, app: str, namespace: str, model: ModelSettings) -> Manifest:
    def metric(name: str, average: str) -> Manifest:
        # A metric's name in the API has no colon: docs/llm-own-models.md has the adapter's rules.
        return {
            "type": "Pods",
            "pods": {
                "metric": {"name": name.replace(":", "_")},
                "target": {"type": "AverageValue", "averageValue": average},
            },
        }

    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(app, namespace),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
            "minReplicas": model.replicas.min,
            "maxReplicas": model.replicas.most,
            "behavior": _behavior(own),
            "metrics": [
                metric(WAITING, str(own.scaling.waiting)),
                metric(KV_CACHE, f"{round(own.scaling.kv_cache * 1000)}m"),
            ],
        },
    }


def _behavior(own: VllmSettings) -> Manifest:
    leaving = {"type": "Pods", "value": 1, "periodSeconds": _LEAVE_SECONDS}
    return {"scaleDown": {"stabilizationWindowSeconds": own.scaling.calm_seconds, "policies": [leaving]}}
