"""How far the carrier is, told where `crossover status` looks: metrics are for those who can reach its pod."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.routes.base import Bulletins, RouteError
from contracts.registry import RENEW_SECONDS, Bulletin
from contracts.stages import Component

_log = logging.getLogger(__name__)
ERROR_CHARACTERS = 300


class Carried(BaseModel):
    """One direction. `behind_seconds`: the age of the oldest commit that is not applied; None before the stream was
    opened. `lag_bytes`: WAL since what the other side confirmed, None where the slot is not known; `safe_bytes`: WAL to
    be written until the slot is lost, None where nothing limits it. `held`: transactions that the route does not let
    through; `error`: why the stream does not go on; `unfollowed`: tables of this side, which serves, whose rows are
    not carried."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    behind_seconds: float | None = None
    lag_bytes: int | None = None
    safe_bytes: int | None = None
    held: int = 0
    error: str = ""
    unfollowed: str = ""


def read(bulletins: Sequence[Bulletin]) -> dict[str, Carried]:
    """By source, what the live carrier tells. What cannot be read is left out, as what was not told."""
    found: dict[str, Carried] = {}
    for bulletin in bulletins:
        for source, text in bulletin.status.items() if bulletin.live else ():
            try:
                found[source] = Carried.model_validate_json(text)
            except ValidationError:
                _log.warning("%s tells of %s what this version cannot read", bulletin.name, source)
    return found


class Telling:
    """Tells every few seconds, on a thread of its own, what `standing` says. Nothing waits for it."""

    def __init__(self, bulletins: Bulletins, name: str, standing: Callable[[], Mapping[str, Carried]]) -> None:
        self._bulletins = bulletins
        self._name = name
        self._standing = standing
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telling", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End. What was told last goes with the pod."""
        self._stopped.set()
        self._thread.join(RENEW_SECONDS)

    def tell(self) -> None:
        """Tell once. Raises RouteError."""
        status = {source: carried.model_dump_json() for source, carried in self._standing().items()}
        self._bulletins.post(Component.DATABASE, self._name, status)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.tell()
            except RouteError as error:
                _log.warning("how far the carrier is could not be told: %s", error)
            self._stopped.wait(RENEW_SECONDS)
