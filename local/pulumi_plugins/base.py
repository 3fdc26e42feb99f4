"""What the two providers share: handshake, plugin info and the calls that they do not serve."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from local.pulumi_plugins.engine import EngineLog
from local.pulumi_plugins.failures import InitializationFailed, ProviderError, abort


def reporting[**P, R](method: Callable[P, R]) -> Callable[P, R]:
    """Turns what a servicer's method raises into the error that the engine shows.

    The gRPC context is the method's last positional argument. An unforeseen exception is
    shown with its traceback: it is a fault of this package.
    """

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        context: Any = args[-1]
        try:
            return method(*args, **kwargs)
        except (ProviderError, InitializationFailed) as error:
            abort(context, error)
        except Exception as error:
            abort(context, ProviderError(f"the stand-in provider failed: {error}\n{traceback.format_exc()}"))

    return call


class BaseProvider(provider_pb2_grpc.ResourceProviderServicer):
    """A provider that accepts secrets and previews. Subclasses serve the resource calls."""

    def __init__(self, name: str, version: str, engine_address: str | None) -> None:
        self.package = name
        self.version = version
        self.log = EngineLog(engine_address)

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        """Learns the engine's address; says what this provider understands."""
        self.log.attach(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True,
            accept_resources=False,
            accept_outputs=False,
            supports_autonaming_configuration=self.package == "kubernetes",
        )

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Learns the engine's address (a plugin that was started by hand)."""
        self.log.attach(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """The official version that this stand-in speaks as."""
        return plugin_pb2.PluginInfo(version=self.version)

    def GetSchema(
        self, request: provider_pb2.GetSchemaRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetSchemaResponse:
        """Name and version only: programs use the official SDKs, which carry their types."""
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": self.package, "version": self.version}))

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Takes the configuration as it is."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Never replaces the provider."""
        return provider_pb2.DiffResponse()

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        """Says what this provider understands, once more (engines read it here or above)."""
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True,
            supportsPreview=True,
            acceptResources=False,
            acceptOutputs=False,
            supports_autonaming_configuration=self.package == "kubernetes",
        )

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Nothing to interrupt, unless a subclass waits for something."""
        return empty_pb2.Empty()

    def GetMapping(
        self, request: provider_pb2.GetMappingRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetMappingResponse:
        """No mapping from Terraform."""
        return provider_pb2.GetMappingResponse()
