"""A tiny API server for the provider's tests: it keeps objects, and does as it is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

RESOURCES: dict[str, list[tuple[str, str, bool]]] = {
    "/api/v1": [("configmaps", "ConfigMap", True), ("secrets", "Secret", True), ("namespaces", "Namespace", False)],
    "/apis/batch/v1": [("jobs", "Job", True)],
}


class Cluster(ThreadingHTTPServer):
    """Objects by path. `statuses` gives new objects of a kind a status; `refusals` answers applies to a path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self.refusals: dict[str, tuple[int, dict[str, Any]]] = {}
        self.dry_runs: list[str] = []
        self.logs: dict[str, str] = {}
        self.changed = threading.Condition()
        self.closing = False

    @property
    def kubeconfig(self) -> str:
        """What a provider needs to reach it."""
        return json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server_address[1]}"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "namespace": "trading"}}],
                "current-context": "x",
            }
        )

    def put(self, path: str, obj: dict[str, Any]) -> dict[str, Any]:
        """Stores an object, and tells those who watch."""
        with self.changed:
            metadata = obj.setdefault("metadata", {})
            metadata.setdefault("uid", f"uid-{len(self.objects)}")
            metadata["resourceVersion"] = str(int(metadata.get("resourceVersion", "0")) + 1)
            self.objects[path] = obj
            self.changed.notify_all()
        return obj

    def remove(self, path: str) -> dict[str, Any]:
        """Deletes an object."""
        with self.changed:
            gone = self.objects.pop(path)
            self.changed.notify_all()
        return gone

    def below(self, path: str) -> list[dict[str, Any]]:
        """The objects of a collection."""
        return [obj for key, obj in sorted(self.objects.items()) if key.startswith(path + "/")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Cluster

    def do_GET(self) -> None:
        path, query = self._target()
        if path in RESOURCES:
            listed = [{"name": p, "kind": k, "namespaced": n} for p, k, n in RESOURCES[path]]
            self._send(200, {"resources": listed})
        elif path.endswith("/log"):
            self._send_raw(200, self.server.logs.get(path.split("/")[-2], "").encode())
        elif "watch" in query:
            self._watch(path)
        elif path in self.server.objects:
            self._send(200, self.server.objects[path])
        elif path.rpartition("/")[2] in {"configmaps", "secrets", "jobs", "namespaces", "pods", "events"}:
            self._send(200, {"metadata": {"resourceVersion": "1"}, "items": self.server.below(path)})
        else:
            self._send(404, {"reason": "NotFound", "message": f"{path} not found"})

    def do_PATCH(self) -> None:
        body = self._body()
        path, query = self._target()
        if path in self.server.refusals:
            self._send(*self.server.refusals[path])
            return
        made = self.server.objects.get(path, {}) | body
        made["metadata"] = self.server.objects.get(path, {}).get("metadata", {}) | body["metadata"]
        if "dryRun" in query:
            self.server.dry_runs.append(path)
        else:
            if status := self.server.statuses.get(body["kind"]):
                made.setdefault("status", status)
            made = self.server.put(path, made)
        self._send(200, made)

    def do_DELETE(self) -> None:
        self._body()
        path, _ = self._target()
        self._send(200, self.server.remove(path))

    def _target(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        return parts.path, parse_qs(parts.query)

    def _body(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        return parsed

    def _send(self, status: int, body: dict[str, Any]) -> None:
        self._send_raw(status, json.dumps(body).encode())

    def _send_raw(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _watch(self, path: str) -> None:
        """Sends the whole collection after each change, as long as the reader listens."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        before: dict[str, dict[str, Any]] = {}
        while not self.server.closing:
            with self.server.changed:
                now = {obj["metadata"]["uid"]: obj for obj in self.server.below(path)}
                events = [{"type": "MODIFIED", "object": obj} for obj in now.values()]
                events += [{"type": "DELETED", "object": obj} for uid, obj in before.items() if uid not in now]
                before = now
            try:
                for event in events:
                    text = json.dumps(event).encode() + b"\n"
                    self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
                self.wfile.flush()
            except OSError:
                break
            with self.server.changed:
                self.server.changed.wait(0.05)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Silent."""
