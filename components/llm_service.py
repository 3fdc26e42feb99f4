"""The language models: llm-orchestrator's API, and behind it a hosted OpenAI-compatible one, our own, or both.

Where stack config names no hosted API, a stand-in runs in the `hosted` namespace: a real small model behind the same
API, with a key. What is deployed at a stage is contracts/stages.STAGE_TABLE; keys, rights and network edges of both
sides exist at every stage, and the orchestrator's pods are the same at all of them, so that a switch restarts nobody.
"""

from __future__ import annotations

import math

import pulumi

from components import llm_access, vllm
from components.bus_access import route_config_map
from components.containers import container, python_service
from components.foundation import Foundation
from components.kube import content_hash, create, create_all, password
from components.llm_access import COMPONENT, HOSTED, ORCHESTRATOR, OURS, STAND_IN_MODEL
from components.manifests import deployment, disruption_budget, secret, service, service_account
from components.networking import allow, edge, pods_in, pods_labelled, pods_of
from components.pods import Manifest, Pod, Probes, env, http_probe, identity_env
from components.settings import Settings
from components.transition import Transition
from contracts import names
from contracts.registry import LABEL_ADAPTER
from contracts.stages import deployed_backends

CLIENT = names.LLM_CLIENT_NAME
LLM = names.HOSTED_LLM_NAME
CALLERS = (ORCHESTRATOR, names.LLM_CUTOVER_NAME)
"""Who asks models themselves: a cutover judges them before callers get their answers."""
HTTP_CLIENT = names.LABEL_HTTP_CLIENT
"""Pods of the backend's namespace with this label, "true", may call the services' HTTP APIs."""


def stand_in(settings: Settings, key_hash: object) -> list[Manifest]:
    """The stand-in for a hosted API: llama-server with a small model."""
    namespace = settings.namespaces.hosted
    probe = http_probe("/health", names.HOSTED_LLM_PORT, period=10, failures=6)
    made = container(
        settings,
        LLM,
        "llm",
        args=[
            *("--host", "0.0.0.0", "--port", str(names.HOSTED_LLM_PORT)),
            *("--alias", STAND_IN_MODEL, "--ctx-size", "4096", "--parallel", "2", "--threads", "1"),
            *("--api-key-file", "/run/secrets/llm/api-key"),
        ],
        ports={"http": names.HOSTED_LLM_PORT},
        mounts={"/run/secrets/llm": ("key", True)},
        probes=Probes(
            startup=http_probe("/health", names.HOSTED_LLM_PORT, period=2, failures=150),
            readiness=probe,
            liveness=probe,
        ),
    )
    pod = Pod(
        app=LLM,
        container=made,
        service_account=LLM,
        volumes={"key": {"secret": {"secretName": LLM}}},
        hashes={"key": key_hash},
    )
    return [
        service_account(LLM, namespace),
        service(LLM, namespace, {"http": names.HOSTED_LLM_PORT}),
        disruption_budget(LLM, namespace),
        deployment(pod, namespace),
    ]


def orchestrator(settings: Settings, key_hash: object) -> list[Manifest]:
    """The llm-orchestrator service: an adapter of this component, which follows the route. It knows both sides at every
    stage, so that a switch restarts no pod of it."""
    namespace, llm = settings.namespaces.backend, settings.llm_service
    made = python_service(
        settings,
        ORCHESTRATOR,
        "services.llm_orchestrator",
        env=[
            *identity_env(),
            *env(
                **{
                    names.ENV_ROUTES: "kubernetes",
                    names.ENV_NAMESPACE: namespace,
                    names.ENV_LLM_SERVICE_TYPE: llm.provider,
                    names.ENV_LLM_ENDPOINTS: llm_access.endpoints(settings).to_json(),
                    names.ENV_LLM_TIMEOUT: f"{llm.timeout_seconds:g}",
                    **llm.limits.env(),
                }
            ),
        ],
        env_from=[{"secretRef": {"name": CLIENT}}],
    )
    pod = Pod(
        app=ORCHESTRATOR,
        container=made,
        service_account=ORCHESTRATOR,
        api=True,
        labels={LABEL_ADAPTER: COMPONENT.slug},
        hashes={"key": key_hash},
        # A rolled pod answers what it let in to its end; the rest is word getting round, and its own end.
        grace_seconds=math.ceil(llm.limits.whole_seconds) + 25,
    )
    callers = [pods_of(names.TRADING_ENGINE_NAME), pods_of(names.LLM_CUTOVER_NAME), pods_labelled(HTTP_CLIENT, "true")]
    return [
        service(ORCHESTRATOR, namespace, {"http": names.HTTP_PORT}),
        disruption_budget(ORCHESTRATOR, namespace),
        allow(ORCHESTRATOR, namespace, pods_of(ORCHESTRATOR), ingress=[edge("from", callers, [names.HTTP_PORT])]),
        deployment(pod, namespace),
    ]


class LlmService(pulumi.ComponentResource):
    """See the module."""

    ready: list[pulumi.Resource]
    transition: Transition

    def __init__(
        self, name: str, settings: Settings, foundation: Foundation, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        llm = settings.llm_service
        super().__init__("crossover:llm_service:LlmService", name, {"stage": llm.stage.value}, opts)
        self._settings, self._salt = settings, foundation.salt
        self._inside = pulumi.ResourceOptions(parent=self, depends_on=foundation.ready)
        self._secrets()
        manifests = [*llm_access.rights(settings), *llm_access.edges(settings), *llm_access.prompts(settings)]
        base = create_all([*manifests, *self._stand_in_edges()], self._inside)
        written = pulumi.ResourceOptions.merge(self._inside, pulumi.ResourceOptions(ignore_changes=["data"]))
        route = create(route_config_map(settings, COMPONENT), written)
        after = pulumi.ResourceOptions(parent=self, depends_on=[*foundation.ready, *base, *self._kept, route])
        deployed = deployed_backends(COMPONENT, llm.stage)
        made: list[pulumi.Resource] = []
        if HOSTED in deployed and llm.base_url is None:
            made += create_all(stand_in(settings, self._hosted_hash), after)
        if OURS in deployed:
            made += create_all(vllm.manifests(settings, llm.own, self._own_hash, CALLERS), after)
        # It waits for neither side: at a first update it follows as soon as there is a route.
        made += create_all(orchestrator(settings, self._client_hash), after)
        self.transition = Transition(
            name,
            settings,
            COMPONENT,
            llm.stage,
            owner=foundation.owner,
            watch_seconds=llm.watch_seconds,
            deadline=llm.deadline_seconds,
            ready=[route, *base, *self._kept, *made],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.ready = [*made, self.transition.job]
        self.register_outputs({"stage": llm.stage.value, "url": llm_access.orchestrator_url()})

    def _secrets(self) -> None:
        """Both sides' keys, at every stage, and the hashes of what is configured with them."""
        settings, llm, namespace = self._settings, self._settings.llm_service, self._settings.namespaces.backend
        stand_in_key, token = password("hosted-llm-key", self), password("own-llm-key", self)
        given = llm.api_key
        key = stand_in_key if given is None else pulumi.Output.secret(given.get_secret_value())
        client = {names.ENV_LLM_API_KEY: key, names.ENV_LLM_OWN_API_KEY: token}
        manifests = [secret(CLIENT, namespace, client), vllm.token_secret(settings, llm.own, token)]
        if llm.base_url is None:
            manifests.append(secret(LLM, settings.namespaces.hosted, {"api-key": key}))
        self._hosted_hash = content_hash({"key": key}, self._salt)
        self._own_hash = content_hash(vllm.token_data(llm.own, token), self._salt)
        self._client_hash = content_hash(client, self._salt)
        self._kept = create_all(manifests, self._inside)

    def _stand_in_edges(self) -> list[Manifest]:
        """Who reaches the stand-in, at every stage; nothing where the hosted API is no pod of ours."""
        settings = self._settings
        if settings.llm_service.base_url is not None:
            return []
        peers = [pods_in(settings.namespaces.backend, app) for app in CALLERS]
        ingress = [edge("from", peers, [names.HOSTED_LLM_PORT])]
        return [allow(LLM, settings.namespaces.hosted, pods_of(LLM), ingress=ingress)]
