"""Create, update, read and delete in the cluster: every effect of the provider."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from local.pulumi_plugins.failures import ProviderError
from local.pulumi_plugins.kube.client import ApiError, Client, Unreachable
from local.pulumi_plugins.kube.diffing import merged_ignoring
from local.pulumi_plugins.kube.discovery import Discovery, Endpoint, UnknownKind
from local.pulumi_plugins.kube.objects import (
    DELETION_PROPAGATION,
    PATCH_FORCE,
    SKIP_AWAIT,
    WAIT_FOR,
    Kind,
    Object,
    annotation,
    dig,
    identifier,
    is_annotated,
    kind_of,
    name_of,
    namespace_of,
    timeout_seconds,
)
from local.pulumi_plugins.kube.waits import wait_for
from local.pulumi_plugins.kube.waits.base import Outcome, Wait
from local.pulumi_plugins.kube.waits.custom import custom_wait
from local.pulumi_plugins.kube.waits.logs import LAST_LINES
from local.pulumi_plugins.kube.waits.running import (
    NotReady,
    Surroundings,
    look_once,
    wait_until_gone,
    wait_until_ready,
)

DELETE_SECONDS = 600.0
APPEAR_SECONDS = 30.0
"""How long a create waits for a kind or namespace that another resource of the update makes."""
_FIRST_PAUSE_SECONDS = 0.25
_CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
_POLICIES = {"orphan": "Orphan", "background": "Background"}


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of one object."""

    body: Object
    """The inputs, plain, in the API's spelling."""
    manager: str
    seconds: float = 0.0
    """customTimeouts of the resource's options; 0 where there are none."""


class Operations:
    """What can be done to the objects of one cluster."""

    def __init__(self, client: Client, cancelled: threading.Event, *, patch_force: bool = False) -> None:
        self.client = client
        self.discovery = Discovery(client)
        self._cancelled = cancelled
        self._patch_force = patch_force

    def create(self, request: Request, around: Surroundings) -> Object:
        """Applies a new object and waits until it is ready.

        Raises Unready with the live object where it was made but is not ready.
        """
        applied = self._apply_patiently(request, around)
        if dig(applied, "metadata", "deletionTimestamp"):
            # An object of that name is on its way out: what was applied goes with it.
            collection = self._endpoint(applied).collection(namespace_of(applied))
            wait_until_gone(collection, applied, DELETE_SECONDS, around)
            applied = self._apply_patiently(request, around)
        return self._await(request, applied, around)

    def preview_create(self, request: Request) -> Object | None:
        """What create would make, by a dry run; None where that cannot be known yet.

        Raises ApiError where the API server would refuse it.
        """
        try:
            return self._apply(request, None, dry_run=True)
        except UnknownKind:
            return None
        except ApiError as error:
            if error.status in (403, 404) and not _is_admission(error):
                return None  # its namespace does not exist yet, or dry runs are not allowed
            if error.status != 422 or not self._exists(request.body):
                raise
            self._preview_replacement(request)
            return None

    def _preview_replacement(self, request: Request) -> None:
        """Tries an object under another name, for its own is taken by the one that it replaces."""
        name = name_of(request.body)
        other = f"{name[:50]}-preview"
        body = request.body | {"metadata": request.body["metadata"] | {"name": other}}
        try:
            self._apply(Request(body, request.manager), None, dry_run=True)
        except ApiError as error:
            raise ApiError(error.status, str(error).replace(other, name), error.body) from error

    def _exists(self, body: Object) -> bool:
        return self.get(kind_of(body), namespace_of(body), name_of(body)) is not None

    def update(self, request: Request, old: Object, ignored: list[str], around: Surroundings) -> Object:
        """Applies new inputs to an object and waits until it is ready; as `create` does."""
        applied = self._update(request, old, ignored, dry_run=False)
        return self._await(request, applied, around, tail=LAST_LINES)

    def preview_update(self, request: Request, old: Object, ignored: list[str]) -> Object | None:
        """What update would make; None where that cannot be known yet."""
        try:
            return self._update(request, old, ignored, dry_run=True)
        except UnknownKind:
            return None
        except ApiError as error:
            if error.status in (403, 404) and not _is_admission(error):
                return None
            raise

    def _update(self, request: Request, old: Object, ignored: list[str], *, dry_run: bool) -> Object:
        endpoint = self._endpoint(request.body)
        live = self.client.get(endpoint.item(namespace_of(request.body), name_of(old) or name_of(request.body)))
        if endpoint.kind == _CRD:
            # Replaced whole, as the official provider does: merged schemas keep removed fields.
            version = {"resourceVersion": dig(live, "metadata", "resourceVersion")}
            body = request.body | {"metadata": request.body["metadata"] | version}
            return self.client.replace(endpoint.item("", name_of(live)), body, request.manager, dry_run=dry_run)
        body = merged_ignoring(request.body, live, ignored, request.manager) if ignored else request.body
        return self._apply(Request(body, request.manager), live, dry_run=dry_run)

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The live object, or None where there is none."""
        try:
            return self.client.get(self.discovery.find(kind).item(namespace, name))
        except UnknownKind:
            return None
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def health(self, inputs: Object, live: Object) -> list[str]:
        """Why the live object is not ready now; empty where it is, or where nobody waits for it."""
        wait = self._wait(inputs, kind_of(live))
        if wait is None:
            return []
        verdict = look_once(wait, live, self.client)
        return [] if verdict.outcome is Outcome.READY else [verdict.message, *verdict.details]

    def delete(self, inputs: Object, live: Object, name: str, seconds: float, around: Surroundings) -> None:
        """Deletes an object and waits until it is gone; one that is gone already is fine."""
        try:
            endpoint = self._endpoint(live)
            namespace = namespace_of(live)
            path = endpoint.item(namespace, name)
            current = self.client.get(path)
            policy = _POLICIES.get(annotation(inputs, DELETION_PROPAGATION).lower(), "Foreground")
            self.client.delete(path, policy)
        except UnknownKind:
            return
        except ApiError as error:
            if error.status in (404, 410):
                return
            raise
        allowed = timeout_seconds(seconds, inputs, DELETE_SECONDS)
        wait_until_gone(endpoint.collection(namespace), current, allowed, around)
        if endpoint.kind == _CRD:
            self.discovery.forget(str(dig(live, "spec", "group", default="")))

    def _endpoint(self, obj: Object) -> Endpoint:
        return self.discovery.find(kind_of(obj))

    def _apply_patiently(self, request: Request, around: Surroundings) -> Object:
        """Applies, again and again while the kind or the namespace is not there yet."""
        deadline, pause = time.monotonic() + APPEAR_SECONDS, _FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._apply(request, None, dry_run=False)
            except (UnknownKind, ApiError) as error:
                missing = isinstance(error, UnknownKind) or error.status == 404
                if not missing or time.monotonic() + pause > deadline or self._cancelled.wait(pause):
                    raise
                around.status(f"not there yet: {error}")
                pause *= 2

    def _apply(self, request: Request, live: Object | None, *, dry_run: bool) -> Object:
        body = request.body
        endpoint = self._endpoint(body)
        # A preview without an old object may stand for one that will be replaced.
        force = is_annotated(body, PATCH_FORCE) or self._patch_force or (dry_run and live is None)
        path = endpoint.item(namespace_of(body), name_of(body))
        try:
            return self.client.apply(path, body, request.manager, force=force, dry_run=dry_run)
        except ApiError as error:
            if error.status == 409 and any(cause.get("reason") == "FieldManagerConflict" for cause in error.causes):
                raise ProviderError(conflict_text(error, body)) from error
            raise

    def _wait(self, inputs: Object, kind: Kind) -> Wait | None:
        if is_annotated(inputs, SKIP_AWAIT):
            return None
        wanted = annotation(inputs, WAIT_FOR)
        return custom_wait(wanted) if wanted else wait_for(kind)

    def _await(self, request: Request, applied: Object, around: Surroundings, tail: int | None = None) -> Object:
        wait = self._wait(request.body, kind_of(applied))
        endpoint = self._endpoint(applied)
        path = endpoint.item(namespace_of(applied), name_of(applied))
        if wait is not None:
            seconds = timeout_seconds(request.seconds, request.body, wait.seconds)
            try:
                wait_until_ready(wait, endpoint.collection(namespace_of(applied)), applied, seconds, around, tail=tail)
            except NotReady as error:
                raise Unready(self._latest(path, applied), error.reasons) from error
            except Exception as error:
                raise Unready(applied, [f"the wait itself failed: {error!r}"]) from error
            around.status("")
        if endpoint.kind == _CRD:
            self.discovery.forget(str(dig(applied, "spec", "group", default="")))
        return self._latest(path, applied) if wait is not None else applied

    def _latest(self, path: str, applied: Object) -> Object:
        """The live object, or what was applied: state must never miss an object that exists."""
        try:
            return self.client.get(path)
        except (ApiError, Unreachable):
            return applied


class Unready(Exception):
    """The object exists as `live`, and is not ready for these `reasons`."""

    def __init__(self, live: Object, reasons: list[str]) -> None:
        super().__init__(reasons[0])
        self.live = live
        self.reasons = reasons


def _is_admission(error: ApiError) -> bool:
    """Whether the object itself was refused (a quota, Pod Security), not the request."""
    return error.status == 403 and "cannot" not in str(error)


def conflict_text(error: ApiError, body: Object) -> str:
    """Who else manages which fields, and what can be done."""
    fields = ", ".join(str(cause.get("field", "")).removeprefix(".") for cause in error.causes)
    managers = sorted({cause.get("message", "").split('"')[1] for cause in error.causes if '"' in cause["message"]})
    return (
        f"{kind_of(body).name} {identifier(body)}: another manager ({', '.join(managers)}) owns {fields}, and wants "
        "another value there; nothing was changed. To take these fields over, set the annotation "
        'pulumi.com/patchForce: "true" on this resource; to leave them to the other, remove them from the '
        "program or name them in ignore_changes"
    )
