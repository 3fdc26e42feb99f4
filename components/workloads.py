"""The trading engine and the market feed: the services that hold an event bus adapter.

Nothing of theirs depends on the event bus's stage: a switch changes neither their environment nor their pods.
"""

from __future__ import annotations

import pulumi

from components.bus_access import CLIENT as BUS_CLIENT
from components.bus_access import env_from
from components.containers import python_service
from components.database import CLIENT as DATABASE_CLIENT
from components.database import Database
from components.event_bus import EventBus
from components.kube import create_all
from components.llm_service import HTTP_CLIENT
from components.manifests import deployment, disruption_budget, service, service_account
from components.networking import allow, edge, pods_labelled, pods_of
from components.pods import Manifest, Pod, env, identity_env, secret_env
from components.settings import Settings
from contracts import names
from contracts.registry import LABEL_ADAPTER
from contracts.stages import Component

ENGINE, FEED = names.TRADING_ENGINE_NAME, names.MARKET_FEED_NAME
ADAPTER_ACCOUNTS = [ENGINE, FEED]
"""Service accounts with an adapter's rights."""
_ADAPTER = {LABEL_ADAPTER: Component.EVENT_BUS.slug}
_GRACE_SECONDS = 60
"""What is in flight is finished first: the services take up to 45 s for it."""


def trading_engine(settings: Settings, bus_hash: object, database_hash: object) -> list[Manifest]:
    """The trading engine and its API."""
    namespace, engine = settings.namespaces.backend, settings.trading_engine
    made = python_service(
        settings,
        ENGINE,
        "services.trading_engine",
        env=[
            *identity_env(),
            secret_env(names.ENV_DATABASE_URL, DATABASE_CLIENT, names.ENV_DATABASE_URL),
            *env(
                **{
                    names.ENV_LLM_ORCHESTRATOR_URL: f"http://{names.LLM_ORCHESTRATOR_NAME}:{names.HTTP_PORT}/v1",
                    names.ENV_COMMENT_INTERVAL: f"{engine.comment_interval_seconds:g}",
                }
            ),
        ],
        env_from=env_from(BUS_CLIENT),
    )
    pod = Pod(
        app=ENGINE,
        container=made,
        service_account=ENGINE,
        api=True,
        labels=_ADAPTER,
        hashes={"event-bus": bus_hash, "database": database_hash},
        grace_seconds=_GRACE_SECONDS,
    )
    return [
        service_account(ENGINE, namespace),
        service(ENGINE, namespace, {"http": names.HTTP_PORT}),
        disruption_budget(ENGINE, namespace),
        allow(
            ENGINE,
            namespace,
            pods_of(ENGINE),
            ingress=[edge("from", [pods_labelled(HTTP_CLIENT, "true")], [names.HTTP_PORT])],
            egress=[
                edge("to", [pods_of(names.POOLER_NAME)], [names.POOLER_PORT]),
                edge("to", [pods_of(names.LLM_ORCHESTRATOR_NAME)], [names.HTTP_PORT]),
            ],
        ),
        deployment(pod, namespace, replicas=engine.replicas),
    ]


def market_feed(settings: Settings, bus_hash: object) -> list[Manifest]:
    """The market feed. One at a time: two would publish every bar twice."""
    namespace = settings.namespaces.backend
    made = python_service(
        settings,
        FEED,
        "services.market_feed",
        env=[*identity_env(), *env(**{names.ENV_MARKET_FEED_RATE: f"{settings.market_feed.rate:g}"})],
        env_from=env_from(BUS_CLIENT),
    )
    pod = Pod(
        app=FEED,
        container=made,
        service_account=FEED,
        api=True,
        labels=_ADAPTER,
        hashes={"event-bus": bus_hash},
        grace_seconds=_GRACE_SECONDS,
    )
    return [
        service_account(FEED, namespace),
        service(FEED, namespace, {"http": names.HTTP_PORT}),
        disruption_budget(FEED, namespace),
        allow(
            FEED,
            namespace,
            pods_of(FEED),
            ingress=[edge("from", [pods_labelled(HTTP_CLIENT, "true")], [names.HTTP_PORT])],
        ),
        deployment(pod, namespace, recreate=True),
    ]


class Workloads(pulumi.ComponentResource):
    """See the module. They wait for the Transition (components/event_bus.py says why) and the database."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        event_bus: EventBus,
        database: Database,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("crossover:workloads:Workloads", name, {}, opts)
        waited = [event_bus.transition.job, *database.ready]
        inside = pulumi.ResourceOptions(parent=self, depends_on=waited)
        create_all(trading_engine(settings, event_bus.client_hash, database.client_hash), inside)
        create_all(market_feed(settings, event_bus.client_hash), inside)
        self.register_outputs({"trading_engine": f"http://{ENGINE}:{names.HTTP_PORT}"})
