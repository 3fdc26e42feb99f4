"""Backtesting: one service that runs backtests and keeps their results on a volume."""

from __future__ import annotations

import pulumi

from components.containers import BACKTESTING_IMAGE, python_service
from components.foundation import Foundation
from components.kube import create_all
from components.llm_service import HTTP_CLIENT
from components.manifests import claim, deployment, disruption_budget, service, service_account
from components.networking import allow, edge, pods_labelled, pods_of
from components.pods import TMP, Manifest, Pod, env
from components.settings import Settings
from contracts import names
from contracts.stages import Component, serving_backend

COMPONENT = Component.BACKTESTING
NAME = names.BACKTESTING_NAME
RESULTS = "/results"


def manifests(settings: Settings) -> list[Manifest]:
    """The backtesting service. Its volume takes one pod at a time."""
    namespace, backtesting = settings.namespaces.backend, settings.backtesting
    made = python_service(
        settings,
        NAME,
        "services.backtesting_service",
        env=env(
            **{
                names.ENV_BACKTESTING_ENGINE: serving_backend(COMPONENT, backtesting.stage),
                names.ENV_BACKTESTING_WORKERS: str(backtesting.workers),
                names.ENV_RESULTS_PATH: f"{RESULTS}/runs",
                # Compiled code and fonts are cached where the container may write.
                "NUMBA_CACHE_DIR": f"{TMP}/numba",
                "MPLCONFIGDIR": f"{TMP}/matplotlib",
                "HOME": TMP,
            }
        ),
        mounts={RESULTS: ("results", False)},
        image=BACKTESTING_IMAGE,
    )
    pod = Pod(
        app=NAME,
        container=made,
        service_account=NAME,
        volumes={"results": {"persistentVolumeClaim": {"claimName": NAME}}},
        grace_seconds=45,
    )
    return [
        service_account(NAME, namespace),
        claim(NAME, namespace, storage=backtesting.storage, storage_class=settings.storage_class),
        service(NAME, namespace, {"http": names.HTTP_PORT}),
        disruption_budget(NAME, namespace),
        allow(
            NAME,
            namespace,
            pods_of(NAME),
            ingress=[edge("from", [pods_labelled(HTTP_CLIENT, "true")], [names.HTTP_PORT])],
        ),
        deployment(pod, namespace, recreate=True),
    ]


class Backtesting(pulumi.ComponentResource):
    """See the module."""

    def __init__(
        self, name: str, settings: Settings, foundation: Foundation, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        stage = settings.backtesting.stage
        super().__init__("crossover:backtesting:Backtesting", name, {"stage": stage.value}, opts)
        create_all(manifests(settings), pulumi.ResourceOptions(parent=self, depends_on=foundation.ready))
        self.register_outputs({"stage": stage.value, "url": f"http://{NAME}:{names.HTTP_PORT}"})
