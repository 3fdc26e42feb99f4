"""Stack config of traces: where services send them. Without it none are made."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from components import networking
from components.pods import Manifest, env
from contracts import names

_SERVICES = (names.TRADING_ENGINE_NAME, names.LLM_ORCHESTRATOR_NAME, names.BACKTESTING_NAME, names.MARKET_FEED_NAME)
_PORTS = {"http": 80, "https": 443}


class TraceSettings(BaseModel):
    """OpenTelemetry traces of requests and events: docs/observability.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str | None = Field(default=None, pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$")
    """The collector's base URL, OTLP over HTTP: http://otel-collector.observability:4318. None: no traces are made."""
    ratio: float = Field(default=0.01, ge=0, le=1)
    """Which part of all events and requests is traced; a request that comes traced is always."""
    namespace: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """The collector's, where it runs in this cluster: services may then reach nothing else at its port. None: they
    may."""

    def environment(self) -> list[Manifest]:
        """What services are told; nothing where no traces are made."""
        if self.endpoint is None:
            return []
        told = {names.ENV_TRACES_ENDPOINT: self.endpoint, names.ENV_TRACES_RATIO: f"{self.ratio:g}"}
        return env(**told, OTEL_SEMCONV_STABILITY_OPT_IN="http")  # the names that are not to change any more

    def edges(self, backend: str) -> list[Manifest]:
        """From the services, in namespace `backend`, to the collector."""
        if self.endpoint is None:
            return []
        url = urlsplit(self.endpoint)
        peers = [networking.namespace_of(self.namespace)] if self.namespace is not None else []
        out = networking.edge("to", peers, [url.port or _PORTS[url.scheme]])
        return [
            networking.allow(f"{service}-traces", backend, networking.pods_of(service), egress=[out])
            for service in _SERVICES
        ]
