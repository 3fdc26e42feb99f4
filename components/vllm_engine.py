"""The container of one of our own models: vLLM on GPUs, or llama.cpp's server on CPU, behind the same API. Pure.

The token reaches neither by its arguments: vLLM reads it from its environment, llama.cpp from a file.
"""

from __future__ import annotations

from dataclasses import replace

from components.containers import container
from components.pods import Container, Manifest, Probes, env, exec_probe, http_probe, secret_env
from components.settings import Settings
from components.sizes import Resources, resources
from components.vllm_model_settings import ModelSettings
from components.vllm_pools import devices
from components.vllm_settings import VllmSettings
from contracts import names

PORT = names.OWN_LLM_PORT
SECRET, TOKEN_KEY, HUB_KEY = names.OWN_LLM_NAME, "api-key", "hf-token"
ENV_TOKEN = "VLLM_API_KEY"  # noqa: S105 - the name of a variable, not a token
CACHE, SHM, TEMPLATE_FOLDER, TEMPLATE = "/cache", "/dev/shm", "/etc/llm", "chat-template.jinja"  # noqa: S108 - a volume
PAUSE_SECONDS = 5
"""Between the word that a pod ends and its last new question: so long may proxies and clients need to hear of it."""
_MARGIN_SECONDS = 15
"""Beyond what answers under way may take: to stop the engine itself."""
_GIB = 1024
LISTED = (
    "import json, os, sys, urllib.request as web\n"
    "url, name = sys.argv[1:]\n"
    f"asked = web.Request(url, headers={{'Authorization': 'Bearer ' + os.environ['{ENV_TOKEN}']}})\n"
    # Without the proxies of the environment, which know nothing of the pod.
    "with web.build_opener(web.ProxyHandler({})).open(asked, timeout=4) as answer:\n"
    "    found = [model['id'] for model in json.load(answer)['data']]\n"
    "sys.exit(None if name in found else f'{name} is not served, but {found}')\n"
)
"""Asks, with the token, whether the model is served under its name. vLLM's /health says only that its engine is not
dead, and /v1/models is behind the token, which no httpGet probe could send without having it in its manifest."""


def grace_seconds(own: VllmSettings) -> int:
    """How long a pod gets to end."""
    return PAUSE_SECONDS + own.shutdown_seconds + _MARGIN_SECONDS


def arguments(own: VllmSettings, model: ModelSettings, served: str) -> list[str]:
    """`vllm serve` takes these."""
    given: dict[str, object] = {
        "served-model-name": served,
        "host": "0.0.0.0",
        "port": PORT,
        "revision": model.revision,
        "dtype": model.dtype,
        "quantization": model.quantization,
        "kv-cache-dtype": model.cache_dtype,
        "max-model-len": model.max_model_len,
        "max-num-seqs": model.max_num_seqs,
        "gpu-memory-utilization": f"{model.gpu_memory_utilization:g}",
        "tensor-parallel-size": model.gpus,
        # By default vLLM breaks off what is under way.
        "shutdown-timeout": own.shutdown_seconds,
        "tool-call-parser": model.tool_parser,
        "chat-template": f"{TEMPLATE_FOLDER}/{TEMPLATE}" if model.chat_template else None,
    }
    if model.format == "mistral":
        given |= dict.fromkeys(("tokenizer-mode", "config-format", "load-format"), "mistral")
    made = [f"--{flag}={value}" for flag, value in given.items() if value is not None]
    tools = ["--enable-auto-tool-choice"] if model.tool_parser else []
    return [model.model, *made, *tools, *model.extra_args]


def on_gpus(settings: Settings, own: VllmSettings, app: str, model: ModelSettings, served: str) -> Container:
    """vLLM."""
    listed = exec_probe(["python3", "-c", LISTED, f"http://127.0.0.1:{PORT}/v1/models", served], period=10)
    memory = model.memory_gb * _GIB
    return Container(
        name=app,
        image=own.image,
        pull_policy=settings.images.pull_policy,
        resources=Resources(model.cpu, memory, memory),
        command=["vllm", "serve"],
        args=arguments(own, model, served),
        env=_environment(own),
        ports={"http": PORT},
        mounts={
            CACHE: ("cache", False),
            SHM: ("shm", False),
            **({TEMPLATE_FOLDER: ("template", True)} if model.chat_template else {}),
        },
        # It listens once the model is loaded. What ends before is restarted at once, and its last words are the pod's.
        probes=Probes(
            startup=http_probe("/health", PORT, period=10, failures=-(-model.load_seconds // 10)),
            readiness=listed,
            liveness=http_probe("/health", PORT, period=10, failures=6),
        ),
        devices=devices(model.gpus),
        pause_seconds=PAUSE_SECONDS,
    )


def on_cpu(settings: Settings, own: VllmSettings, app: str, model: ModelSettings, served: str) -> Container:
    """llama.cpp's server, as the stand-in for a hosted API has it (components/llm_service.py)."""
    answered, threads = model.max_num_seqs or 2, max(1, round(resources(settings.size, names.OWN_LLM_NAME).cpu))
    probe = http_probe("/health", PORT, period=10, failures=6)
    made = container(
        settings,
        names.OWN_LLM_NAME,
        "llm",
        args=[
            *("--model", _file(model.model), "--alias", served, "--host", "0.0.0.0", "--port", str(PORT)),
            # Its context is shared by the questions that are answered at once.
            *("--ctx-size", str(model.max_model_len * answered), "--parallel", str(answered)),
            *("--threads", str(threads), "--shutdown-timeout", str(own.shutdown_seconds)),
            *("--api-key-file", f"/run/secrets/llm/{TOKEN_KEY}"),
        ],
        ports={"http": PORT},
        mounts={"/run/secrets/llm": ("key", True)},
        probes=Probes(
            startup=http_probe("/health", PORT, period=2, failures=-(-model.load_seconds // 2)),
            readiness=probe,
            liveness=probe,
        ),
    )
    return replace(made, name=app, pause_seconds=PAUSE_SECONDS)


def _file(model: str) -> str:
    """A path, or the name of a model in the image."""
    return model if model.startswith("/") else f"/opt/models/{model}.gguf"


def _environment(own: VllmSettings) -> list[Manifest]:
    """The token, and where a user without a name and a home may write."""
    hub = [secret_env("HF_TOKEN", SECRET, HUB_KEY)] if own.hf_token is not None else []
    return [
        secret_env(ENV_TOKEN, SECRET, TOKEN_KEY),
        *hub,
        *env(
            HF_HOME=f"{CACHE}/huggingface",
            VLLM_CACHE_ROOT=f"{CACHE}/vllm",
            TRITON_CACHE_DIR=f"{CACHE}/triton",
            HOME="/tmp",  # noqa: S108 - an emptyDir
            # PyTorch asks who it is, and the image knows nobody of this number.
            USER="vllm",
            LOGNAME="vllm",
            VLLM_NO_USAGE_STATS="1",
            HF_HUB_DISABLE_TELEMETRY="1",
        ),
    ]
