"""What a cluster with GPUs gets for our own models, field by field; and the Deployment that stands for them on CPU."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components import vllm
from components.vllm_engine import LISTED
from components.vllm_settings import VllmSettings
from contracts import names
from contracts.llm import REQUIRED_ALIASES, Endpoint, Endpoints
from local.images import definition as images
from tests.components.vllm_rendering import GROWING, KARPENTER, KEDA, KEY_HASH, MONITOR, Rendered, settings

DEFAULT, TRADING = "own-llm-default", "own-llm-trading"
GPU = Rendered()
LOCAL = Rendered(settings(size="small"))
GROWN = Rendered(
    models={"default": GROWING, "trading": {"model": "org/small"}}, pools=KARPENTER, scaling=KEDA, monitor=MONITOR
)
PODS = [
    *((GPU, DEFAULT), (GPU, TRADING)),
    *((GROWN, DEFAULT), (GROWN, TRADING), (LOCAL, DEFAULT)),
]
ON_GPUS = [case for case in PODS if case[0] is not LOCAL]


def _environment(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


# -- a model's pods


def test_a_model_is_a_deployment() -> None:
    assert {m["metadata"]["name"] for m in GPU.of("Deployment")} == {DEFAULT, TRADING}
    assert GPU.container(DEFAULT)["args"][0] == "mistralai/Ministral-3-8B-Instruct-2512"
    assert GPU.container(TRADING)["args"][0] == "mistralai/Devstral-Small-2-24B-Instruct-2512"


def test_names_of_before_are_served_by_todays_models() -> None:
    served = {alias: endpoint.model for alias, endpoint in vllm.endpoints(GPU.settings, GPU.own).items()}
    assert served == {"default": "mistral-7b-instruct", "trading": "codellama-7b-instruct"}


@pytest.mark.parametrize(("made", "app"), ON_GPUS)
def test_gpus_are_asked_for_as_many_as_the_engine_uses(made: Rendered, app: str) -> None:
    limits = made.container(app)["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == made.argument(app, "tensor-parallel-size")
    assert "nvidia.com/gpu" not in LOCAL.container(DEFAULT)["resources"]["limits"]


@pytest.mark.parametrize(("made", "app"), ON_GPUS)
def test_it_may_run_on_nodes_with_gpus(made: Rendered, app: str) -> None:
    tolerated = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert made.pod(app)["tolerations"] == [tolerated]


def test_existing_nodes_are_found_by_their_labels_and_taints() -> None:
    pools = {"labels": {"cloud/pool": "gpu"}, "taints": [{"key": "team", "value": "llm", "effect": "NoExecute"}]}
    pod = Rendered(pools=pools).pod(DEFAULT)
    assert pod["nodeSelector"] == {"cloud/pool": "gpu"}
    assert pod["tolerations"] == [{"key": "team", "operator": "Equal", "value": "llm", "effect": "NoExecute"}]
    assert "nodeSelector" not in GPU.pod(DEFAULT)


@pytest.mark.parametrize(("made", "app"), PODS)
def test_pods_are_spread_over_zones(made: Rendered, app: str) -> None:
    (constraint,) = made.pod(app)["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "topology.kubernetes.io/zone"
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert constraint["labelSelector"] == {"matchLabels": {"app": app}}


@pytest.mark.parametrize(("made", "app"), PODS)
def test_a_start_may_take_as_long_as_the_model_loads_and_then_fails(made: Rendered, app: str) -> None:
    seconds = made.own.models_at(made.settings.size)["default"].load_seconds
    container = made.container(app)
    startup = container["startupProbe"]
    assert startup["httpGet"]["path"] == "/health"
    assert seconds <= startup["periodSeconds"] * startup["failureThreshold"] < seconds + 30
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    if made is not LOCAL:
        deployed = made.one("Deployment", app)
        assert deployed["spec"]["progressDeadlineSeconds"] > seconds
        assert deployed["metadata"]["annotations"] == {
            "pulumi.com/timeoutSeconds": str(deployed["spec"]["progressDeadlineSeconds"])
        }


@pytest.mark.parametrize(("made", "app"), ON_GPUS)
def test_readiness_asks_for_the_model_by_its_name_and_life_for_the_engine(made: Rendered, app: str) -> None:
    container = made.container(app)
    *command, url, served = container["readinessProbe"]["exec"]["command"]
    assert command == ["python3", "-c", LISTED] and url == "http://127.0.0.1:8000/v1/models"
    assert served == made.argument(app, "served-model-name")
    assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": 8000}


@pytest.mark.parametrize(("made", "app"), ON_GPUS)
def test_shared_memory_is_there_and_part_of_the_pods(made: Rendered, app: str) -> None:
    container, volumes = made.container(app), {v["name"]: v for v in made.pod(app)["volumes"]}
    assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]  # noqa: S108
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert container["resources"]["limits"]["memory"] == "32768Mi"


@pytest.mark.parametrize(("made", "app"), ON_GPUS)
def test_weights_outlive_their_pod(made: Rendered, app: str) -> None:
    volumes = {v["name"]: v for v in made.pod(app)["volumes"]}
    assert volumes["cache"]["persistentVolumeClaim"] == {"claimName": app}
    assert {"name": "cache", "mountPath": "/cache"} in made.container(app)["volumeMounts"]
    claim = made.one("PersistentVolumeClaim", app)["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"]
    environment = _environment(made.container(app))
    assert environment["HF_HOME"].startswith("/cache/") and environment["VLLM_CACHE_ROOT"].startswith("/cache/")


def test_the_cache_has_the_size_and_class_of_config() -> None:
    made = Rendered(settings(storage_class="slow"), cache_class="shared")
    claim = made.one("PersistentVolumeClaim", TRADING)["spec"]
    assert claim["resources"]["requests"]["storage"] == "100Gi" and claim["storageClassName"] == "shared"
    inherited = Rendered(settings(storage_class="slow")).one("PersistentVolumeClaim", TRADING)["spec"]
    assert inherited["storageClassName"] == "slow"


def test_a_volume_for_one_node_is_handed_over_not_shared() -> None:
    made = Rendered(cache_access="ReadWriteOnce")
    assert made.one("PersistentVolumeClaim", DEFAULT)["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert made.one("Deployment", DEFAULT)["spec"]["strategy"] == {"type": "Recreate"}
    rolling = GPU.one("Deployment", DEFAULT)["spec"]["strategy"]
    assert rolling["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


# -- the token


@pytest.mark.parametrize(("made", "app"), PODS)
def test_the_token_comes_from_the_secret_and_stands_nowhere(made: Rendered, app: str) -> None:
    secret = vllm.token_secret(made.settings, made.own, "the-token")
    assert secret["metadata"]["name"] == names.OWN_LLM_NAME and secret["stringData"]["api-key"] == "the-token"
    container = made.container(app)
    if made is LOCAL:
        assert container["args"][-2:] == ["--api-key-file", "/run/secrets/llm/api-key"]
        volumes = {v["name"]: v for v in made.pod(app)["volumes"]}
        assert volumes["key"]["secret"]["secretName"] == names.OWN_LLM_NAME
    else:
        reference = {"secretKeyRef": {"name": names.OWN_LLM_NAME, "key": "api-key"}}
        assert _environment(container)["VLLM_API_KEY"] == reference
        assert made.argument(app, "api-key") is None
    template = made.one("Deployment", app)["spec"]["template"]
    assert template["metadata"]["annotations"]["crossover.dev/key-hash"] == KEY_HASH


def test_the_hubs_token_goes_the_same_way_and_only_where_there_is_one() -> None:
    made = Rendered(hf_token="hf-very-secret")
    environment = _environment(made.container(DEFAULT))
    assert environment["HF_TOKEN"] == {"secretKeyRef": {"name": names.OWN_LLM_NAME, "key": "hf-token"}}
    assert "hf-very-secret" not in json.dumps(made.manifests)
    assert vllm.token_secret(made.settings, made.own, "t")["stringData"] == {
        "api-key": "t",
        "hf-token": "hf-very-secret",
    }
    assert "HF_TOKEN" not in _environment(GPU.container(DEFAULT))
    assert "hf-token" not in vllm.token_secret(GPU.settings, GPU.own, "t")["stringData"]


# -- what callers see


@pytest.mark.parametrize("made", [GPU, LOCAL, GROWN])
def test_every_alias_leads_to_a_service_and_the_name_that_is_served_there(made: Rendered) -> None:
    endpoints = vllm.endpoints(made.settings, made.own)
    assert set(endpoints) >= set(REQUIRED_ALIASES)
    Endpoints.parse(Endpoints({"vllm": endpoints}).to_json())
    for endpoint in endpoints.values():
        app = endpoint.base_url.removeprefix("http://").partition(".")[0]
        service = made.one("Service", app)
        assert endpoint.base_url == f"http://{app}.trading.svc.cluster.local:8000/v1"
        assert service["metadata"]["namespace"] == "trading" and service["spec"]["selector"] == {"app": app}
        (port,) = service["spec"]["ports"]
        assert port["port"] == port["targetPort"] == 8000
        args = made.container(app)["args"]
        served = args[args.index("--alias") + 1] if made is LOCAL else made.argument(app, "served-model-name")
        assert endpoint.model == served


def test_an_alias_may_share_a_model() -> None:
    shared = Rendered(aliases={"trading": "default", "chat": "default"})
    endpoints = vllm.endpoints(shared.settings, shared.own)
    assert endpoints["chat"] == endpoints["trading"] == endpoints["default"]
    assert [m["metadata"]["name"] for m in shared.of("Deployment")] == [DEFAULT]


def test_a_name_is_the_alias_where_config_gives_none() -> None:
    assert vllm.endpoints(GROWN.settings, GROWN.own)["trading"] == Endpoint(
        base_url="http://own-llm-trading.trading.svc.cluster.local:8000/v1", model="trading"
    )


@pytest.mark.parametrize("made", [GPU, LOCAL, GROWN])
def test_nothing_is_named_so_that_the_engine_would_read_it_as_its_own(made: Rendered) -> None:
    for service in made.of("Service"):
        assert not service["metadata"]["name"].startswith("vllm")
    for deployed in made.of("Deployment"):
        assert deployed["spec"]["template"]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize(("made", "app"), PODS)
def test_answers_under_way_end_before_their_pod_does(made: Rendered, app: str) -> None:
    container, grace = made.container(app), made.pod(app)["terminationGracePeriodSeconds"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    args = container["args"]
    told = args[args.index("--shutdown-timeout") + 1] if made is LOCAL else made.argument(app, "shutdown-timeout")
    assert int(told or 0) == made.own.shutdown_seconds == 120
    assert grace > pause + made.own.shutdown_seconds and pause > 0


@pytest.mark.parametrize(("made", "app"), PODS)
def test_one_pod_at_a_time_may_be_evicted(made: Rendered, app: str) -> None:
    budget = made.one("PodDisruptionBudget", app)["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}}


# -- the engine's arguments


def test_what_config_says_of_a_model_reaches_its_engine() -> None:
    model = {
        "model": "org/name",
        "revision": "abc123",
        "dtype": "bfloat16",
        "quantization": "fp8",
        "cache_dtype": "fp8",
        "max_model_len": 4096,
        "max_num_seqs": 64,
        "gpu_memory_utilization": 0.85,
        "gpus": 4,
        "tool_parser": "hermes",
        "extra_args": ["--enforce-eager", "--max-num-batched-tokens=8192"],
    }
    made = Rendered(models={"default": model}, aliases={"trading": "default"})
    assert made.container(DEFAULT)["command"] == ["vllm", "serve"]
    assert made.container(DEFAULT)["args"] == [
        "org/name",
        "--served-model-name=default",
        "--host=0.0.0.0",
        "--port=8000",
        "--revision=abc123",
        "--dtype=bfloat16",
        "--quantization=fp8",
        "--kv-cache-dtype=fp8",
        "--max-model-len=4096",
        "--max-num-seqs=64",
        "--gpu-memory-utilization=0.85",
        "--tensor-parallel-size=4",
        "--shutdown-timeout=120",
        "--tool-call-parser=hermes",
        "--enable-auto-tool-choice",
        "--enforce-eager",
        "--max-num-batched-tokens=8192",
    ]
    bare = Rendered(models={"default": {"model": "org/name"}}, aliases={"trading": "default"})
    assert bare.argument(DEFAULT, "tool-call-parser") is bare.argument(DEFAULT, "revision") is None
    assert "--enable-auto-tool-choice" not in bare.container(DEFAULT)["args"]


def test_mistrals_own_files_are_read_as_such() -> None:
    for flag in ("tokenizer-mode", "config-format", "load-format"):
        assert GPU.argument(DEFAULT, flag) == "mistral"
        assert GROWN.argument(DEFAULT, flag) is None


def test_a_chat_template_is_mounted_and_another_one_makes_new_pods() -> None:
    def made(template: str) -> Rendered:
        model = {"model": "org/name", "chat_template": template}
        return Rendered(models={"default": model}, aliases={"trading": "default"})

    first, second = made("{{ messages }}"), made("{{ messages[0] }}")
    assert first.argument(DEFAULT, "chat-template") == "/etc/llm/chat-template.jinja"
    assert first.one("ConfigMap", DEFAULT)["data"] == {"chat-template.jinja": "{{ messages }}"}
    assert {"name": "template", "mountPath": "/etc/llm", "readOnly": True} in first.container(DEFAULT)["volumeMounts"]

    def annotations(rendered: Rendered) -> Any:
        return rendered.one("Deployment", DEFAULT)["spec"]["template"]["metadata"]["annotations"]

    assert annotations(first) != annotations(second)
    assert not GPU.of("ConfigMap")


def test_the_image_is_the_publishers_or_that_of_config() -> None:
    assert GPU.container(DEFAULT)["image"] == "docker.io/vllm/vllm-openai:v0.33.0"
    assert (
        Rendered(image="mirror.example/vllm@sha256:ab").container(DEFAULT)["image"] == "mirror.example/vllm@sha256:ab"
    )


def test_who_has_no_name_may_run_it() -> None:
    """PyTorch and the hub's client want a user and a home; the image has neither for ours."""
    environment = _environment(GPU.container(DEFAULT))
    assert environment["HOME"] == "/tmp" and environment["USER"] and environment["LOGNAME"]  # noqa: S108


# -- on CPU


def test_on_a_small_cluster_one_server_on_cpu_stands_for_all() -> None:
    assert [m["metadata"]["name"] for m in LOCAL.of("Deployment")] == [DEFAULT]
    container = LOCAL.container(DEFAULT)
    assert container["image"] == "localhost/crossover/llm:local" and "command" not in container
    args = dict(zip(container["args"][::2], container["args"][1::2], strict=True))
    assert args["--model"] == "/opt/models/smollm2-135m-instruct.gguf"
    assert (args["--ctx-size"], args["--parallel"], args["--threads"], args["--port"]) == ("4096", "2", "1", "8000")
    assert container["readinessProbe"]["httpGet"]["path"] == "/health"
    kinds = {manifest["kind"] for manifest in LOCAL.manifests}
    assert kinds == {"ServiceAccount", "Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"}
    assert not vllm.gpu_needs(LOCAL.settings, LOCAL.own).root


def test_its_model_is_in_the_image() -> None:
    wheels = images.load("llm").wheels
    assert wheels is not None
    args = LOCAL.container(DEFAULT)["args"]
    assert args[args.index("--model") + 1] in wheels.files.values()


@pytest.mark.parametrize(
    ("size", "engine", "deployed"),
    [("small", None, "llama_cpp"), ("standard", None, "vllm"), ("small", "vllm", "vllm"),
     ("standard", "llama_cpp", "llama_cpp")],
)  # fmt: skip
def test_config_has_the_last_word_on_the_engine(size: str, engine: str | None, deployed: str) -> None:
    made = Rendered(settings(size=size), engine=engine)
    assert made.own.engine_at(size) == deployed
    assert (made.container(DEFAULT).get("command") is None) is (deployed == "llama_cpp")


# -- every pod, as tests/components/test_pods.py wants it of all others


@pytest.mark.parametrize(("made", "app"), PODS)
def test_it_is_restricted_and_bounded(made: Rendered, app: str) -> None:
    pod, container = made.pod(app), made.container(app)
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == 65532
    own = container["securityContext"]
    assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    resources = container["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) - {"nvidia.com/gpu"} == {"memory"}
    assert pod["serviceAccountName"] == app and pod["automountServiceAccountToken"] is False
    assert made.one("ServiceAccount", app)["automountServiceAccountToken"] is False
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize(("made", "app"), PODS)
def test_only_callers_and_prometheus_reach_it(made: Rendered, app: str) -> None:
    policy = made.one("NetworkPolicy", app)["spec"]
    assert policy["podSelector"] == {"matchLabels": {"app": app}}
    (rule,) = policy["ingress"]
    caller = {"podSelector": {"matchLabels": {"app": "llm-orchestrator"}}}
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert rule["from"] == ([caller, prometheus] if made is GROWN else [caller])
    assert [port["port"] for port in rule["ports"]] == [8000]
    if made is LOCAL:
        assert "egress" not in policy
    else:
        assert [[port["port"] for port in each["ports"]] for each in policy["egress"]] == [[443]]


def test_who_else_may_call_is_the_callers_word() -> None:
    made = vllm.manifests(GPU.settings, VllmSettings(), KEY_HASH, callers=["llm-orchestrator", "llm-cutover"])
    (policy, *_) = (manifest for manifest in made if manifest["kind"] == "NetworkPolicy")
    apps = [peer["podSelector"]["matchLabels"]["app"] for peer in policy["spec"]["ingress"][0]["from"]]
    assert apps == ["llm-orchestrator", "llm-cutover"]
