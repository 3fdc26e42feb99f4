"""`python -m cutover.mirror`: mirror until told to stop, serving metrics."""

from __future__ import annotations

import logging
import os
import signal

from adapters import metrics
from adapters.event_bus.backends import open_log
from adapters.event_bus.factory import settings_from_env
from adapters.event_bus.view import RouteView
from adapters.routes.kubernetes import KubernetesRouteStore
from contracts import names
from contracts.stages import Component
from cutover.mirror.service import MirrorService


def main() -> None:
    """Follow the route until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = settings_from_env()
    view = RouteView(KubernetesRouteStore(os.environ.get(names.ENV_NAMESPACE, names.NAMESPACE)), Component.EVENT_BUS)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: view.stop())
    metrics.serve(names.METRICS_PORT)
    view.start()
    by = os.environ.get(names.ENV_POD_NAME, "mirror")
    MirrorService(view, lambda backend: open_log(backend, settings, os.environ), by).run()


if __name__ == "__main__":
    main()
