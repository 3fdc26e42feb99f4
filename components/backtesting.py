"""Backtesting: one service that runs backtests by either engine and keeps their results on a volume.

Both engines are in its image at every stage; which of them takes new runs is the route's word, so that a switch
restarts nobody and no run is cut off.
"""

from __future__ import annotations

import pulumi

from components.bus_access import adapter_rules, cutover_rules, route_config_map
from components.containers import BACKTESTING_IMAGE, python_service
from components.foundation import Foundation
from components.kube import create, create_all
from components.llm_service import HTTP_CLIENT
from components.manifests import (
    claim,
    deployment,
    disruption_budget,
    role,
    role_binding,
    service,
    service_account,
)
from components.networking import allow, edge, pods_labelled, pods_of, to_api
from components.pods import TMP, Manifest, Pod, env, identity_env
from components.settings import Settings
from components.transition import Transition
from contracts import names
from contracts.registry import LABEL_ADAPTER
from contracts.stages import Component

COMPONENT = Component.BACKTESTING
NAME = names.BACKTESTING_NAME
CUTOVER = names.BACKTESTING_CUTOVER_NAME
SWEEP = names.BACKTEST_SWEEP_NAME
RESULTS, STRATEGIES = "/results", "/strategies"


def access(settings: Settings) -> list[Manifest]:
    """Who may do what: the service is an adapter of this component, the cutover asks it over HTTP, and the pods of a
    sweep, which `crossover sweep` makes, reach nothing else."""
    namespace = settings.namespaces.backend
    made: list[Manifest] = []
    for account, rules in ((NAME, adapter_rules(COMPONENT)), (CUTOVER, cutover_rules(COMPONENT))):
        made += [
            service_account(account, namespace),
            role(account, namespace, rules),
            role_binding(account, namespace, account, [account]),
        ]
    callers = [pods_of(CUTOVER), pods_of(SWEEP), pods_labelled(HTTP_CLIENT, "true")]
    front = edge("to", [pods_of(NAME)], [names.HTTP_PORT])
    return [
        *made,
        allow(
            NAME, namespace, pods_of(NAME), ingress=[edge("from", callers, [names.HTTP_PORT])], egress=[to_api()]
        ),
        allow(CUTOVER, namespace, pods_of(CUTOVER), egress=[front, to_api()]),
        allow(SWEEP, namespace, pods_of(SWEEP), egress=[front]),
    ]  # fmt: skip


def manifests(settings: Settings) -> list[Manifest]:
    """The backtesting service. Its volume takes one pod at a time."""
    namespace, backtesting = settings.namespaces.backend, settings.backtesting
    own: dict[str, Manifest] = {}
    if backtesting.strategies is not None:
        own = {"strategies": {"configMap": {"name": backtesting.strategies}}}
    made = python_service(
        settings,
        NAME,
        "services.backtesting_service",
        env=[
            *identity_env(),
            *env(
                **{
                    names.ENV_ROUTES: "kubernetes",
                    names.ENV_NAMESPACE: namespace,
                    names.ENV_BACKTESTING_WORKERS: str(backtesting.workers),
                    names.ENV_BACKTESTING_SECONDS: f"{backtesting.limit_seconds:g}",
                    names.ENV_BACKTESTING_MIB: str(backtesting.limit_mib),
                    names.ENV_RESULTS_PATH: f"{RESULTS}/runs",
                    names.ENV_STRATEGIES_PATH: STRATEGIES if own else None,
                    names.ENV_DATA_PATH: f"{RESULTS}/catalog",
                    # Compiled code and fonts are cached where the container may write.
                    "NUMBA_CACHE_DIR": f"{TMP}/numba",
                    "MPLCONFIGDIR": f"{TMP}/matplotlib",
                    "HOME": TMP,
                }
            ),
        ],
        mounts={RESULTS: ("results", False)} | ({STRATEGIES: ("strategies", True)} if own else {}),
        image=BACKTESTING_IMAGE,
    )
    pod = Pod(
        app=NAME,
        container=made,
        service_account=NAME,
        api=True,
        labels={LABEL_ADAPTER: COMPONENT.slug},
        volumes={"results": {"persistentVolumeClaim": {"claimName": NAME}}, **own},
        grace_seconds=45,
    )
    return [
        claim(NAME, namespace, storage=backtesting.storage, storage_class=settings.storage_class),
        service(NAME, namespace, {"http": names.HTTP_PORT}),
        disruption_budget(NAME, namespace),
        deployment(pod, namespace, recreate=True),
    ]


class Backtesting(pulumi.ComponentResource):
    """See the module."""

    transition: Transition

    def __init__(
        self, name: str, settings: Settings, foundation: Foundation, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        backtesting = settings.backtesting
        super().__init__("crossover:backtesting:Backtesting", name, {"stage": backtesting.stage.value}, opts)
        inside = pulumi.ResourceOptions(parent=self, depends_on=foundation.ready)
        base = create_all(access(settings), inside)
        written = pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(ignore_changes=["data"]))
        route = create(route_config_map(settings, COMPONENT), written)
        after = pulumi.ResourceOptions(parent=self, depends_on=[*foundation.ready, *base, route])
        made = create_all(manifests(settings), after)
        self.transition = Transition(
            name,
            settings,
            COMPONENT,
            backtesting.stage,
            owner=foundation.owner,
            watch_seconds=backtesting.watch_seconds,
            deadline=backtesting.deadline_seconds,
            ready=[route, *made],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"stage": backtesting.stage.value, "url": f"http://{NAME}:{names.HTTP_PORT}"})
