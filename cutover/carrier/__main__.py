"""`python -m cutover.carrier`: carry until told to stop, serving metrics."""

from __future__ import annotations

import logging
import os
import signal

from adapters import metrics
from adapters.event_bus.view import RouteView
from adapters.postgres.carrier import End
from adapters.postgres.driver import Address
from adapters.routes.kubernetes import KubernetesRouteStore
from contracts import names
from contracts.stages import Component, Side, backend_of
from cutover.carrier.service import CarrierService

_URLS = {Side.OLD: names.ENV_HOSTED_DATABASE_URL, Side.NEW: names.ENV_SELFHOSTED_DATABASE_URL}


def main() -> None:
    """Follow the route until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    ends = [End(backend_of(Component.DATABASE, side), Address.parse(os.environ[url])) for side, url in _URLS.items()]
    view = RouteView(KubernetesRouteStore(os.environ.get(names.ENV_NAMESPACE, names.NAMESPACE)), Component.DATABASE)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: view.stop())
    metrics.serve(names.METRICS_PORT)
    view.start()
    CarrierService(view, *ends).run()


if __name__ == "__main__":
    main()
