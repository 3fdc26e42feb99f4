"""`python -m cutover.pooler`: follow the route until SIGTERM. `--once`: write pgbouncer.ini before PgBouncer starts.

An init container runs `--once`, which fails where the route cannot be read: a guess could send writes to the side that
no longer serves. Under a fence it writes an ini that reaches no server; the agent then goes by how the fence ends.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters import metrics
from adapters.postgres.driver import Address
from adapters.postgres.errors import PostgresError
from adapters.postgres.pooler import Console
from adapters.postgres.pooler_config import PoolerSettings, rendered
from adapters.routes.base import RouteError, RouteStore
from contracts import names
from contracts.stages import Component, Side, backend_of
from cutover.pooler.acting import AgentSettings
from cutover.pooler.agent import ROLE, PoolerAgent
from cutover.pooler.desk import Desk, Memory
from cutover.pooler.sides import read_sides

_log = logging.getLogger(__name__)
_ONCE_SECONDS = 20.0
"""How long `--once` asks for the route before it fails, in seconds: an API server that restarts is back by then."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What the pod gives: see the names in contracts/names.py."""

    folder: Path
    sides: Path
    logins: str
    pause_seconds: float
    namespace: str
    pod: str

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> Environment:
        """From the environment. Raises ValueError."""
        return cls(
            Path(env.get(names.ENV_POOLER_FOLDER, "/run/pooler")),
            Path(env.get(names.ENV_POOLER_SIDES, "/etc/pooler/sides")),
            env.get(names.ENV_POOLER_LOGINS, "/etc/pgbouncer/userlist.txt"),
            float(env.get(names.ENV_POOLER_PAUSE, "3")),
            env.get(names.ENV_NAMESPACE, names.NAMESPACE),
            env.get(names.ENV_POD_NAME) or socket.gethostname(),
        )

    @property
    def settings(self) -> AgentSettings:
        """For the agent."""
        pool = PoolerSettings(folder=str(self.folder), logins=self.logins)
        return AgentSettings(pool=pool, pause_seconds=self.pause_seconds)


def write_once(
    store: RouteStore, desk: Desk, sides: Mapping[str, Address], pool: PoolerSettings, *, wait: float = _ONCE_SECONDS
) -> str:
    """Write the ini that the route asks for, and say which. Nothing is paused any more: PgBouncer has not started.

    Raises RouteError where the route cannot be read within `wait` s, PostgresError, KeyError: a side without address.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            route = store.read(Component.DATABASE).route
            break
        except RouteError as error:
            if time.monotonic() > deadline:
                raise
            _log.warning("%s; trying again", error)
            time.sleep(0.5)  # an API server that is away announces nothing
    side = route.active if route is not None else backend_of(Component.DATABASE, Side.OLD)
    fenced = route is not None and route.fence is not None
    desk.ini = rendered(pool, None if fenced else sides[side])
    desk.memory = Memory(refused=desk.memory.refused)
    return "no server, for a switch is under way" if fenced else side


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done; 1 the route or an address could not be read."""
    from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore

    parser = argparse.ArgumentParser(prog="python -m cutover.pooler", description=__doc__)
    parser.add_argument("--once", action="store_true", help="write pgbouncer.ini by the route, and end")
    once = parser.parse_args(arguments).once
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        given = Environment.read()
        sides = read_sides(given.sides)
        store = KubernetesRouteStore(given.namespace)
        desk = Desk(given.folder)
        if once:
            _log.info("pgbouncer.ini points at %s", write_once(store, desk, sides, given.settings.pool))
            return 0
        registry = KubernetesRegistry(given.namespace)
    except KeyError as missing:
        _log.error("%s serves, and %s has no file of that name with its URL: nothing was written", missing, given.sides)
        return 1
    except (RouteError, PostgresError, OSError, ValueError) as error:
        _log.error("the pooler's configuration cannot be made, and is not guessed: %s", error)
        return 1
    at = Address(str(given.folder), names.POOLER_PORT, "pgbouncer", "pgbouncer", sslmode="disable")
    agent = PoolerAgent(store, registry, f"{given.pod}.{ROLE}", Console(at), desk, sides, given.settings)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: agent.stop())
    metrics.serve(names.METRICS_PORT)
    agent.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
