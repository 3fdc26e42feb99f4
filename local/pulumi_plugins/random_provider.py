"""The `random` provider: resources whose values are made once and kept in state."""

from __future__ import annotations

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from local.pulumi_plugins import RANDOM_VERSION, randomness, wire
from local.pulumi_plugins.base import BaseProvider, reporting
from local.pulumi_plugins.failures import ProviderError
from local.pulumi_plugins.randomness import MAKERS
from local.pulumi_plugins.serving import engine_address, serve
from local.pulumi_plugins.values import UNKNOWN, Secret, Value, has_secret, has_unknown, plain


def _token(urn: str) -> str:
    """The type token of a URN: urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME."""
    return urn.split("::")[2].rsplit("$", 1)[-1]


def _maker_token(urn: str) -> str:
    token = _token(urn)
    if token not in MAKERS:
        known = ", ".join(sorted(name.rsplit(":", 1)[-1] for name in MAKERS))
        raise ProviderError(f"the stand-in random provider has no {token}: it knows {known}")
    return token


def keep_secret(outputs: dict[str, Value], inputs: dict[str, Value]) -> dict[str, Value]:
    """`outputs` with each property secret whose input is, and all of them where keepers are."""
    return {
        name: Secret(plain(value)) if has_secret(inputs.get(name)) and not isinstance(value, Secret) else value
        for name, value in outputs.items()
    }


class RandomProvider(BaseProvider):
    """Makes a value on create; any changed input replaces the resource."""

    def __init__(self, engine: str | None) -> None:
        super().__init__("random", RANDOM_VERSION, engine)

    @reporting
    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Takes the inputs as they are; refuses resources that this provider does not have."""
        _maker_token(request.urn)
        return provider_pb2.CheckResponse(inputs=request.news)

    @reporting
    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Compares the inputs alone."""
        old, new = wire.decode(request.old_inputs), wire.decode(request.news)
        changed = sorted(name for name in {*old, *new} if plain(old.get(name)) != plain(new.get(name)))
        kind = provider_pb2.PropertyDiff.Kind
        detailed = {
            name: provider_pb2.PropertyDiff(
                kind=kind.ADD_REPLACE
                if name not in old
                else kind.DELETE_REPLACE
                if name not in new
                else kind.UPDATE_REPLACE,
                inputDiff=True,
            )
            for name in changed
        }
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=changes, replaces=changed, diffs=changed, detailedDiff=detailed, hasDetailedDiff=True
        )

    @reporting
    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Makes the value. In a preview the outputs that are made up are unknown."""
        make = MAKERS[_maker_token(request.urn)]
        inputs = wire.decode(request.properties)
        if request.preview:
            if has_unknown(inputs):
                return provider_pb2.CreateResponse(properties=request.properties)
            made = make(plain(inputs))
            outputs = {
                name: value if name in inputs or not _is_random(name) else _unknown_like(value)
                for name, value in made.outputs.items()
            }
            return provider_pb2.CreateResponse(properties=wire.encode(keep_secret(outputs, inputs)))
        made = make(plain(inputs))
        return provider_pb2.CreateResponse(
            id=made.identifier, properties=wire.encode(keep_secret(made.outputs, inputs))
        )

    @reporting
    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """What state says; where there is no state (an import), the resource of that value."""
        token = _maker_token(request.urn)
        if request.properties.fields:
            return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)
        made, inputs = randomness.imported(token, request.id)
        return provider_pb2.ReadResponse(
            id=made.identifier, properties=wire.encode(made.outputs), inputs=wire.encode(inputs)
        )

    @reporting
    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Keeps the value: whatever changes it replaces the resource instead."""
        return provider_pb2.UpdateResponse(properties=request.olds)

    @reporting
    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Nothing exists outside state."""
        return empty_pb2.Empty()


_RANDOM_OUTPUTS = frozenset({"result", "results", "b64Std", "b64Url", "dec", "hex", "base64", "bcryptHash"})


def _is_random(name: str) -> bool:
    return name in _RANDOM_OUTPUTS


def _unknown_like(value: Value) -> Value:
    return Secret(UNKNOWN) if isinstance(value, Secret) else UNKNOWN


def main(arguments: list[str]) -> int:
    """Serves the provider until the CLI ends it."""
    provider = RandomProvider(engine_address(arguments))
    return serve(
        lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server), lambda: None
    )
