"""The `kubernetes` provider's protocol: property values in, property values out."""

from __future__ import annotations

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from local.pulumi_plugins import wire
from local.pulumi_plugins.base import reporting
from local.pulumi_plugins.failures import InitializationFailed, ProviderError
from local.pulumi_plugins.kube import diffing, replacing, state
from local.pulumi_plugins.kube.client import ApiError, Unreachable
from local.pulumi_plugins.kube.configured import ConfiguredProvider
from local.pulumi_plugins.kube.inputs import CheckError, Naming, annotated, checked, dashed, imported, underscored
from local.pulumi_plugins.kube.objects import (
    REPLACE_UNREADY,
    Object,
    identifier,
    is_annotated,
    kind_of,
    kind_of_urn,
    name_of,
    namespace_of,
    split_identifier,
    urn_name,
)
from local.pulumi_plugins.kube.operations import Request, Unready
from local.pulumi_plugins.kube.waits.jobs import is_complete
from local.pulumi_plugins.serving import engine_address, serve
from local.pulumi_plugins.values import Value, has_unknown, plain

_PropertyKind = provider_pb2.PropertyDiff.Kind
_KINDS = {
    (diffing.Change.ADD, False): _PropertyKind.ADD,
    (diffing.Change.ADD, True): _PropertyKind.ADD_REPLACE,
    (diffing.Change.DELETE, False): _PropertyKind.DELETE,
    (diffing.Change.DELETE, True): _PropertyKind.DELETE_REPLACE,
    (diffing.Change.UPDATE, False): _PropertyKind.UPDATE,
    (diffing.Change.UPDATE, True): _PropertyKind.UPDATE_REPLACE,
}


def _api_object(values: dict[str, Value]) -> Object:
    """Property values as the API takes them: plain, in its own spelling."""
    obj: Object = dashed(plain(values))
    return obj


class KubernetesProvider(ConfiguredProvider):
    """Serves objects of any kind that the cluster's API has."""

    # --- planning --------------------------------------------------------------------

    @reporting
    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Names the object, gives it a namespace, and marks secrets."""
        kind = kind_of_urn(request.urn)
        if kind.name.endswith(("Patch", "List")):
            raise ProviderError(f"the stand-in kubernetes provider does not serve {kind.name}: use the plain kind")
        naming = Naming(
            urn_name(request.urn),
            request.randomSeed,
            request.autonaming.proposed_name,
            request.autonaming.mode == provider_pb2.CheckRequest.AutonamingOptions.DISABLE,
        )
        news = wire.decode(request.news)
        self.remember_secrets(request.urn, news)
        try:
            inputs = checked(news, wire.decode(request.olds), kind, naming, self.default_namespace(kind))
        except CheckError as error:
            failure = provider_pb2.CheckFailure(property=error.path, reason=error.reason)
            return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        return provider_pb2.CheckResponse(inputs=wire.encode(inputs))

    @reporting
    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """What changed, path by path, and whether that replaces the object."""
        olds, news = wire.decode(request.olds), wire.decode(request.news)
        # What was applied last: after a partial failure the engine still holds the inputs before.
        old_inputs = state.inputs_of(olds) or wire.decode(request.old_inputs)
        kind, live = kind_of_urn(request.urn), state.live_of(olds)
        ignored = [diffing.parse_property_path(text) for text in request.ignoreChanges]
        found = [
            difference
            for difference in diffing.differences(kind, plain(old_inputs), plain(news), self.settings.mutability)
            if not any(difference.path[: len(path)] == path for path in ignored)
        ]
        replaces = [difference.name for difference in found if difference.replaces]
        if self._is_unready_job(request.urn, plain(news), live):
            replaces.append(f'metadata.annotations["{REPLACE_UNREADY}"]')
        some = found or replaces
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if some else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=replaces,
            diffs=sorted({str(difference.path[0]) for difference in found}),
            deleteBeforeReplace=bool(replaces) and replacing.delete_first(live, plain(news)),
            detailedDiff={
                difference.name: provider_pb2.PropertyDiff(
                    kind=_KINDS[difference.change, difference.replaces], inputDiff=True
                )
                for difference in found
            },
            hasDetailedDiff=True,
        )

    def _is_unready_job(self, urn: str, news: Object, live: Object) -> bool:
        """Whether the annotation pulumi.com/replaceUnready asks for a new run of this Job.

        The Job's present state counts, not the recorded one. A cluster that is away, or a Job
        that is gone, replaces nothing (the official rule).
        """
        if not is_annotated(news, REPLACE_UNREADY):
            return False
        if kind_of(live).name != "Job":
            self.log.warn(urn, f"{REPLACE_UNREADY} has an effect on Jobs alone")
            return False
        try:
            job = self.operations.get(kind_of(live), namespace_of(live), name_of(live))
        except (ApiError, Unreachable):
            return False
        return job is not None and not is_complete(job)

    # --- doing -----------------------------------------------------------------------

    @reporting
    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Applies the object and waits for it; a preview is a dry run on the API server."""
        inputs = wire.decode(request.properties)
        body = _api_object(inputs)
        manager = state.field_manager(request.urn, body, {})
        wanted = Request(body, manager, request.timeout)
        with self.explained(request.urn, "creating", inputs):
            if request.preview:
                made = None if has_unknown(inputs) else self.preview(lambda: self.operations.preview_create(wanted))
                if made is None:
                    return provider_pb2.CreateResponse(properties=request.properties)
                made.pop("status", None)
                return provider_pb2.CreateResponse(properties=wire.encode(self._state(inputs, made, manager)))
            try:
                live = self.operations.create(wanted, self.around(request.urn, inputs))
            except Unready as error:
                raise self._init_failed(error, request.urn, inputs, manager) from error
        return provider_pb2.CreateResponse(
            id=identifier(live), properties=wire.encode(self._state(inputs, live, manager))
        )

    @reporting
    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Applies the new inputs and waits; a preview is a dry run on the API server."""
        olds, inputs = wire.decode(request.olds), wire.decode(request.news)
        body, old = _api_object(inputs), state.live_of(olds)
        manager = state.field_manager(request.urn, body, olds)
        wanted, ignored = Request(body, manager, request.timeout), list(request.ignoreChanges)
        with self.explained(request.urn, "updating", inputs):
            if request.preview:
                made = None
                if not has_unknown(inputs):
                    made = self.preview(lambda: self.operations.preview_update(wanted, old, ignored))
                if made is None:
                    return provider_pb2.UpdateResponse(properties=request.news)
                return provider_pb2.UpdateResponse(properties=wire.encode(self._state(inputs, made, manager, olds)))
            try:
                live = self.operations.update(wanted, old, ignored, self.around(request.urn, inputs))
            except Unready as error:
                raise self._init_failed(error, request.urn, inputs, manager, olds) from error
        return provider_pb2.UpdateResponse(properties=wire.encode(self._state(inputs, live, manager, olds)))

    def _state(
        self, inputs: dict[str, Value], live: Object, manager: str, olds: dict[str, Value] | None = None
    ) -> dict[str, Value]:
        initial = (olds or {}).get(state.INITIAL_API_VERSION) or plain(inputs).get("apiVersion", "")
        return state.checkpoint(
            inputs, live, secret_like=inputs, manager=manager, initial_api_version=str(plain(initial))
        )

    def _init_failed(
        self, error: Unready, urn: str, inputs: dict[str, Value], manager: str, olds: dict[str, Value] | None = None
    ) -> InitializationFailed:
        redact = self.redactor(urn, inputs)
        reasons = [redact(reason) for reason in error.reasons]
        return InitializationFailed(identifier(error.live), reasons, self._state(inputs, error.live, manager, olds))

    @reporting
    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """The object as it is now: for refresh, import and get. Gone: an empty answer."""
        olds, old_inputs = wire.decode(request.properties), wire.decode(request.inputs)
        kind = kind_of_urn(request.urn)
        before = state.live_of(olds)
        namespace, name = split_identifier(request.id)
        with self.explained(request.urn, "reading", old_inputs):
            operations = self.operations
            try:
                live = operations.get(kind_of(before) if before.get("kind") else kind, namespace, name)
            except Unreachable as error:
                return self._read_unreachable(error, request)
            if live is None:
                return provider_pb2.ReadResponse()
            known = bool(old_inputs)
            inputs = state.refreshed_inputs(_api_object(old_inputs), before, live) if known else imported(live)
            secret_inputs = annotated(underscored(inputs), old_inputs)
            manager = state.field_manager(request.urn, inputs, olds)
            outputs = self._state(secret_inputs, live, manager, olds)
            reasons = operations.health(inputs, live) if known else []
        if reasons:
            redact = self.redactor(request.urn, secret_inputs)
            reasons = [redact(reason) for reason in reasons]
            raise InitializationFailed(request.id, reasons, outputs, secret_inputs)
        return provider_pb2.ReadResponse(
            id=request.id, properties=wire.encode(outputs), inputs=wire.encode(secret_inputs)
        )

    def _read_unreachable(self, error: Unreachable, request: provider_pb2.ReadRequest) -> provider_pb2.ReadResponse:
        if self.settings.delete_unreachable:
            self.log.warn(request.urn, f"{error}; removed from state, for deleteUnreachable is set")
            return provider_pb2.ReadResponse()
        if self.settings.skip_update_unreachable:
            self.log.warn(request.urn, f"{error}; kept as recorded, for skipUpdateUnreachable is set")
            return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)
        raise Unreachable(
            f"{error} If the cluster is gone for good, PULUMI_K8S_DELETE_UNREACHABLE=true removes its "
            "resources from state"
        ) from error

    @reporting
    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Deletes the object and waits until it is gone."""
        olds = wire.decode(request.properties)
        live = state.live_of(olds)
        inputs = _api_object(state.inputs_of(olds) or wire.decode(request.old_inputs))
        if not live.get("kind"):
            kind = kind_of_urn(request.urn)
            live = {"apiVersion": kind.api_version, "kind": kind.name}
        namespace, name = split_identifier(request.id)
        if not namespace_of(live) and namespace:
            live = live | {"metadata": {**live.get("metadata", {}), "namespace": namespace}}
        with self.explained(request.urn, "deleting", olds):
            try:
                self.operations.delete(inputs, live, name, request.timeout, self.around(request.urn, olds))
            except Unreachable as error:
                if not self.settings.delete_unreachable:
                    raise
                self.log.warn(request.urn, f"{error}; removed from state, for deleteUnreachable is set")
        return empty_pb2.Empty()


def main(arguments: list[str]) -> int:
    """Serves the provider until the CLI ends it."""
    provider = KubernetesProvider(engine_address(arguments))
    return serve(
        lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server),
        provider.cancelled.set,
    )
