"""`python -m cutover.carrier`: carry until told to stop, serving metrics."""

from __future__ import annotations

import logging
import os
import signal
import socket

from adapters import metrics
from adapters.event_bus.view import RouteView
from adapters.postgres.carrier import End
from adapters.postgres.masks import Masks
from adapters.postgres.unfollowed import Scope
from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect
from contracts import names
from contracts.stages import Component
from cutover.carrier.service import CarrierService
from cutover.carrier.telling import Telling
from cutover.servers import servers


def main() -> None:
    """Follow the route until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    ends = [End(name, address) for name, address in servers(os.environ).items()]
    namespace, api = os.environ.get(names.ENV_NAMESPACE, names.NAMESPACE), connect()
    view = RouteView(KubernetesRouteStore(namespace, api), Component.DATABASE)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: view.stop())
    metrics.serve(names.METRICS_PORT)
    view.start()
    masks = Masks.parse(os.environ.get(names.ENV_DATABASE_MASK, ""))
    schemas = tuple(filter(None, os.environ.get(names.ENV_DATABASE_SCHEMAS, "").split(",")))
    scope = Scope(schemas, os.environ.get(names.ENV_DATABASE_ROLE) or None)
    service = CarrierService(view, *ends, masks=masks, scope=scope)
    name = os.environ.get(names.ENV_POD_NAME) or socket.gethostname()
    telling = Telling(KubernetesRegistry(namespace, api), name, service.standing)
    telling.start()
    service.run()
    telling.stop()


if __name__ == "__main__":
    main()
