"""The provider's half that knows its configuration and its cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from local.pulumi_plugins import KUBERNETES_VERSION, wire
from local.pulumi_plugins.base import BaseProvider, reporting
from local.pulumi_plugins.failures import ProviderError
from local.pulumi_plugins.kube import configuration
from local.pulumi_plugins.kube.client import ApiError, Client, Unreachable
from local.pulumi_plugins.kube.discovery import UnknownKind
from local.pulumi_plugins.kube.kubeconfig import KubeconfigError
from local.pulumi_plugins.kube.objects import Kind, Object, urn_name
from local.pulumi_plugins.kube.operations import Operations
from local.pulumi_plugins.kube.redaction import Redactor
from local.pulumi_plugins.kube.waits.running import NotReady, Surroundings
from local.pulumi_plugins.values import Value

_WITHOUT_NAMESPACE = frozenset(
    {
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "RuntimeClass",
        "StorageClass",
    }
)
"""Kinds known to stand outside namespaces where the cluster cannot be asked."""


class ConfiguredProvider(BaseProvider):
    """Configures itself, and gives the resource calls a cluster to work on."""

    def __init__(self, engine: str | None) -> None:
        super().__init__("kubernetes", KUBERNETES_VERSION, engine)
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self.settings = configuration.Settings()
        self._cluster: Operations | None = None
        self._warned: set[str] = set()
        self._redactors: dict[str, Redactor] = {}

    @reporting
    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Refuses options that this stand-in cannot honour."""
        news = wire.decode(request.news)
        found = configuration.problems(news)
        failures = [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in found.items()]
        return provider_pb2.CheckResponse(inputs=wire.encode(configuration.with_secrets(news)), failures=failures)

    @reporting
    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Another cluster replaces the provider, and all that it made."""
        diffs, replaces = configuration.changed(
            wire.decode(request.old_inputs or request.olds), wire.decode(request.news)
        )
        changes = provider_pb2.DiffResponse.DIFF_SOME if diffs else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=diffs, replaces=replaces)

    @reporting
    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        """Keeps the settings. The cluster is first spoken to when a resource needs it."""
        values = {name.removeprefix("kubernetes:config:"): value for name, value in request.variables.items()}
        self.settings = configuration.settings(values or wire.decode(request.args))
        return super().Configure(request, context)

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Ends every wait: what exists is kept in state as not ready."""
        self.cancelled.set()
        return empty_pb2.Empty()

    @property
    def operations(self) -> Operations:
        """The cluster. Raises Unreachable where its kubeconfig cannot be used."""
        with self._lock:
            if self._cluster is None:
                try:
                    client = Client(self.settings.access(), self._pass_on)
                except (KubeconfigError, OSError) as error:
                    raise Unreachable(f"no Kubernetes cluster is configured: {error}") from error
                self._cluster = Operations(client, self.cancelled, patch_force=self.settings.patch_force)
            return self._cluster

    def _pass_on(self, text: str) -> None:
        self._warn(f"the Kubernetes API server warns: {text}")

    def remember_secrets(self, urn: str, program: dict[str, Value]) -> None:
        """Keeps what the program itself marks secret: Check's own result marks whole lists."""
        with self._lock:
            self._redactors[urn] = Redactor(program, exact=True)

    def redactor(self, urn: str, values: dict[str, Value]) -> Redactor:
        """Hides the resource's secrets; guesses them from `values` where no program ran."""
        with self._lock:
            return self._redactors.get(urn) or Redactor(values, exact=False)

    def around(self, urn: str, values: dict[str, Value]) -> Surroundings:
        """What a wait needs: where to write about the resource, and when to give up."""
        redact = self.redactor(urn, values)
        return Surroundings(
            client=self.operations.client,
            status=lambda text: self.log.status(urn, redact(text)),
            show=lambda text: self.log.info(urn, redact(text)),
            cancelled=self.cancelled,
        )

    @contextmanager
    def explained(self, urn: str, doing: str, values: dict[str, Value]) -> Iterator[None]:
        """Turns errors of the cluster into texts that name the resource and hold no secret."""
        redact = self.redactor(urn, values)
        try:
            yield
        except (ApiError, UnknownKind, Unreachable, KubeconfigError) as error:
            raise ProviderError(redact(f"{doing} {urn_name(urn)}: {error}")) from error
        except ProviderError as error:
            raise ProviderError(redact(str(error))) from error
        except NotReady as error:
            raise ProviderError(redact(f"{doing} {urn_name(urn)}: " + "; ".join(error.reasons))) from error

    def default_namespace(self, kind: Kind) -> str | None:
        """Where an object goes that names no namespace; None for kinds without one."""
        try:
            operations = self.operations
            if not operations.discovery.find(kind).namespaced:
                return None
            return self.settings.namespace or operations.client.namespace
        except (UnknownKind, ApiError, Unreachable):
            # A custom kind that is yet to be defined, or a cluster that is away during a preview.
            return None if kind.name in _WITHOUT_NAMESPACE else self.settings.namespace or self._context_namespace()

    def _context_namespace(self) -> str:
        try:
            return self.settings.access().namespace
        except (KubeconfigError, OSError):
            return "default"

    def preview(self, make: Callable[[], Object | None]) -> Object | None:
        """The result of a dry run; None where the cluster is away, which a preview may survive."""
        try:
            return make()
        except Unreachable as error:
            self._warn(f"{error} This preview shows inputs alone")
            return None

    def _warn(self, text: str) -> None:
        """Shows a warning about the cluster, once."""
        with self._lock:
            if text in self._warned:
                return
            self._warned.add(text)
        self.log.warn("", text)  # noqa: PLE1205 - not a logging.Logger: the first argument is a URN
