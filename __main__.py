"""The Pulumi program: the trading backend as stack config describes it.

A pure function of config: it never reads the cluster. What moves a component is its Transition
(components/transition.py), which works from the live route.
"""

from __future__ import annotations

import pulumi

from components.backtesting import Backtesting
from components.database import Database
from components.event_bus import EventBus
from components.foundation import Foundation
from components.kube import provider
from components.llm_service import LlmService
from components.settings import load
from components.workloads import ADAPTER_ACCOUNTS, Workloads
from contracts import names
from contracts.stages import Component, serving_backend

settings = load()
cluster = pulumi.ResourceOptions(providers=[provider(settings.kube_context)])

foundation = Foundation("foundation", settings, cluster)
event_bus = EventBus("event-bus", settings, foundation, ADAPTER_ACCOUNTS, cluster)
database = Database("database", settings, foundation, cluster)
llm_service = LlmService("llm-service", settings, foundation, cluster)
backtesting = Backtesting("backtesting", settings, foundation, cluster)
workloads = Workloads("workloads", settings, event_bus, database, cluster)

stages = {
    Component.EVENT_BUS: settings.event_bus.stage,
    Component.DATABASE: settings.database.stage,
    Component.LLM_SERVICE: settings.llm_service.stage,
    Component.BACKTESTING: settings.backtesting.stage,
}
pulumi.export("stages", {component.value: stage.value for component, stage in stages.items()})
pulumi.export("serving", {component.value: serving_backend(component, stage) for component, stage in stages.items()})
pulumi.export("namespace", settings.namespaces.backend)
pulumi.export(
    "services",
    {
        service: f"http://{service}.{settings.namespaces.backend}.svc.{settings.cluster_domain}:{names.HTTP_PORT}"
        for service in (
            names.TRADING_ENGINE_NAME,
            names.LLM_ORCHESTRATOR_NAME,
            names.BACKTESTING_NAME,
            names.MARKET_FEED_NAME,
        )
    },
)
