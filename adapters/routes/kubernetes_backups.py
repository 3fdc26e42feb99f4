"""The note on the last backup as a ConfigMap of its own: were it on the route, writing it would upset a switch."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from adapters.routes.base import BackupNotes, RouteError
from adapters.routes.kubernetes import REQUEST_SECONDS, client, connect, translated
from contracts import names
from contracts.backups import NOTE_KEY, NOTE_NAME, BackupNote


class KubernetesBackupNotes(BackupNotes):
    """In the ConfigMap NOTE_NAME of one namespace."""

    def __init__(self, namespace: str = names.NAMESPACE, api: Any = None) -> None:
        self._namespace = namespace
        self._core: Any = client.CoreV1Api(api or connect())

    def read(self) -> BackupNote | None:
        with translated(f"{self._namespace}/{NOTE_NAME}"):
            found = self._core.read_namespaced_config_map(NOTE_NAME, self._namespace, _request_timeout=REQUEST_SECONDS)
        text = (found.data or {}).get(NOTE_KEY)
        if not text:
            return None
        try:
            return BackupNote.model_validate_json(text)
        except ValidationError as error:
            raise RouteError(
                f"ConfigMap {NOTE_NAME} holds a note that this version cannot read ({error.error_count()} problems)"
            ) from error

    def write(self, note: BackupNote) -> None:
        body = {"data": {NOTE_KEY: note.model_dump_json()}}
        with translated(f"{self._namespace}/{NOTE_NAME}"):
            self._core.patch_namespaced_config_map(
                NOTE_NAME, self._namespace, body, field_manager="crossover-backup", _request_timeout=REQUEST_SECONDS
            )
