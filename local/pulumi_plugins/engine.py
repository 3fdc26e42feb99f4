"""Messages to the Pulumi engine: what the user sees beside a resource."""

from __future__ import annotations

import threading
from typing import Protocol

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from local.pulumi_plugins.serving import CHANNEL_OPTIONS


class Log(Protocol):
    """Where a provider writes. `status` lines are ephemeral: the next one replaces them."""

    def info(self, urn: str, message: str) -> None: ...

    def warn(self, urn: str, message: str) -> None: ...

    def error(self, urn: str, message: str) -> None: ...

    def status(self, urn: str, message: str) -> None: ...


class EngineLog:
    """Writes to the engine at the address last given; drops messages while there is none.

    A message that cannot be delivered is dropped: the engine is going away, and the
    operation's own result still reaches it or fails for the same reason.
    """

    def __init__(self, address: str | None = None) -> None:
        self._lock = threading.Lock()
        self._address: str | None = None
        self._engine: engine_pb2_grpc.EngineStub | None = None
        if address:
            self.attach(address)

    def attach(self, address: str) -> None:
        """Sends what follows to the engine at `address` (host:port)."""
        with self._lock:
            if address != self._address:
                self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address, options=CHANNEL_OPTIONS))
                self._address = address

    def info(self, urn: str, message: str) -> None:
        """A line that stays."""
        self._send(engine_pb2.INFO, urn, message)

    def warn(self, urn: str, message: str) -> None:
        """A warning that stays."""
        self._send(engine_pb2.WARNING, urn, message)

    def error(self, urn: str, message: str) -> None:
        """An error beside the resource. It does not fail the operation: the caller does."""
        self._send(engine_pb2.ERROR, urn, message)

    def status(self, urn: str, message: str) -> None:
        """Progress: shown in the resource's row until the next one; "" clears it."""
        self._send(engine_pb2.INFO, urn, message, ephemeral=True)

    def _send(
        self, severity: engine_pb2.LogSeverity.ValueType, urn: str, message: str, *, ephemeral: bool = False
    ) -> None:
        with self._lock:
            engine = self._engine
        if engine is None:
            return
        request = engine_pb2.LogRequest(severity=severity, message=message, urn=urn, ephemeral=ephemeral)
        try:
            engine.Log(request, timeout=10)
        except grpc.RpcError:
            return
