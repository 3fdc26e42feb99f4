"""Runs a service: settings, logs, HTTP server, and an end that drains what is in flight."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from services.common import logs
from services.common.settings import EnvSettings, SettingsError

GRACE_SECONDS = 20
"""How long open HTTP requests may go on after SIGTERM, in seconds, where a service says nothing else."""

_log = logging.getLogger(__name__)


class Abort:
    """Ends the process from any thread, with exit status 1, after the usual graceful stop."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._lock = threading.Lock()

    def __call__(self, reason: str) -> None:
        """Ask for the end. The first reason stands."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
        _log.critical("the service stops: %s", reason)
        os.kill(os.getpid(), signal.SIGTERM)


def _quiet(number: int, frame: FrameType | None) -> None:
    """uvicorn raises a caught signal again when it has stopped; a clean end is status 0, not 143."""
    del number, frame


def serve(app: FastAPI, port: int, abort: Abort | None = None, grace_seconds: float = GRACE_SECONDS) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. Must run in the main thread."""
    signal.signal(signal.SIGTERM, _quiet)
    signal.signal(signal.SIGINT, _quiet)
    config = uvicorn.Config(
        app,
        host="0.0.0.0",
        port=port,
        # asyncio's own loop holds 256 KiB for each connection with TLS: a thousand streams would fill a pod.
        loop="uvloop",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=math.ceil(grace_seconds),
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started and (abort is None or abort.reason is None) else 1


def main[S: EnvSettings](
    service: str,
    settings_type: type[S],
    build: Callable[[S, Abort], FastAPI],
    grace_seconds: Callable[[S], float] = lambda settings: GRACE_SECONDS,
) -> int:
    """The `__main__` of a service: read settings, build the app, serve it; the exit status."""
    try:
        settings = settings_type.from_env(service)
    except SettingsError as error:
        logs.configure(service, "info")
        _log.critical("%s", error)
        return 2
    logs.configure(service, settings.log_level)
    abort = Abort()
    try:
        app = build(settings, abort)
    except Exception:
        _log.exception("%s did not start", service)
        return 1
    return serve(app, settings.http_port, abort, grace_seconds(settings))
