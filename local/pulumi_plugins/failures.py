"""Errors as the engine reads them from gRPC: a plain message, or one with details."""

from __future__ import annotations

from typing import NoReturn

import grpc
from google.protobuf import any_pb2, message
from pulumi.runtime.proto import provider_pb2, status_pb2

from local.pulumi_plugins import wire
from local.pulumi_plugins.values import Value


class ProviderError(Exception):
    """An operation failed and nothing was made. The text is shown to the user as it is."""


class InitializationFailed(Exception):
    """The resource exists but is not ready. The engine records it with `reasons`, and the
    next update tries again. `inputs` are given by Read alone."""

    def __init__(
        self, identifier: str, reasons: list[str], state: dict[str, Value], inputs: dict[str, Value] | None = None
    ) -> None:
        super().__init__(reasons[0] if reasons else "initialization failed")
        self.identifier = identifier
        self.reasons = reasons
        self.state = state
        self.inputs = inputs


def abort(context: grpc.ServicerContext, error: ProviderError | InitializationFailed) -> NoReturn:
    """Ends the request with `error`; never returns."""
    if isinstance(error, InitializationFailed):
        detail = provider_pb2.ErrorResourceInitFailed(
            id=error.identifier, reasons=error.reasons, properties=wire.encode(error.state)
        )
        if error.inputs is not None:
            detail.inputs.CopyFrom(wire.encode(error.inputs))
        abort_with_details(context, str(error), detail)
    context.abort(grpc.StatusCode.UNKNOWN, str(error))
    raise AssertionError("abort always raises")


def abort_with_details(context: grpc.ServicerContext, text: str, detail: message.Message) -> NoReturn:
    """Ends the request with a google.rpc.Status that carries `detail`; never returns."""
    packed = any_pb2.Any()
    packed.Pack(detail)
    code = grpc.StatusCode.UNKNOWN
    status = status_pb2.Status(code=code.value[0], message=text, details=[packed])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, text)
    raise AssertionError("abort always raises")
