"""`python -m cutover.carrier`: carry until told to stop, serving metrics."""

from __future__ import annotations

import logging
import os
import signal

from adapters import metrics
from adapters.event_bus.view import RouteView
from adapters.postgres.carrier import End
from adapters.postgres.masks import Masks
from adapters.routes.kubernetes import KubernetesRouteStore
from contracts import names
from contracts.stages import Component
from cutover.carrier.service import CarrierService
from cutover.servers import servers


def main() -> None:
    """Follow the route until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    ends = [End(name, address) for name, address in servers(os.environ).items()]
    view = RouteView(KubernetesRouteStore(os.environ.get(names.ENV_NAMESPACE, names.NAMESPACE)), Component.DATABASE)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: view.stop())
    metrics.serve(names.METRICS_PORT)
    view.start()
    masks = Masks.parse(os.environ.get(names.ENV_DATABASE_MASK, ""))
    CarrierService(view, *ends, masks=masks).run()


if __name__ == "__main__":
    main()
