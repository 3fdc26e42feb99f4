"""A small API server that has ConfigMaps only, with what the real one holds them to: versions, names, immutability."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from kubernetes import client

NAMESPACE = "crossover-audit"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


class ConfigMaps(ThreadingHTTPServer):
    """Use as a context manager. While `refuses` is set every request is answered so; `asked` has verbs and names."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kept: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.lock = threading.Lock()
        self.refuses: int | None = None
        self.asked: list[tuple[str, str]] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._clients: list[client.ApiClient] = []

    def api(self) -> client.ApiClient:
        """A client of it."""
        configuration = client.Configuration()
        configuration.host = f"http://127.0.0.1:{self.server_address[1]}"
        self._clients.append(client.ApiClient(configuration))
        return self._clients[-1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for each in self._clients:
            each.rest_client.pool_manager.clear()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def put(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Keep it under a version of its own."""
        self.version += 1
        metadata = {**body["metadata"], "name": name, "resourceVersion": str(self.version)}
        self.kept[name] = {**body, "metadata": metadata}
        return self.kept[name]


class _Handler(BaseHTTPRequestHandler):
    server: ConfigMaps

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urlsplit(self.path)
        name = url.path.removeprefix(PATH).strip("/")
        with self.server.lock:
            self.server.asked.append((self.command, name))
            if not url.path.startswith(PATH):
                self._answer(404, {})
            elif self.server.refuses is not None:
                self._answer(self.server.refuses, {})
            elif self.command == "GET":
                self._get(name, parse_qs(url.query))
            elif self.command == "POST":
                self._post(body)
            else:
                self._replace(name, body)

    def _get(self, name: str, query: dict[str, list[str]]) -> None:
        kept = self.server.kept
        if name:
            self._answer(*((200, kept[name]) if name in kept else (404, {})))
            return
        start, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0])
        page = [kept[each] for each in sorted(kept)[start : start + limit]]
        onward = {"continue": str(start + limit)} if start + limit < len(kept) else {}
        self._answer(200, {"items": page, "metadata": onward})

    def _post(self, body: dict[str, Any]) -> None:
        name = body["metadata"]["name"]
        self._answer(*((409, {}) if name in self.server.kept else (201, self.server.put(name, body))))

    def _replace(self, name: str, body: dict[str, Any]) -> None:
        found = self.server.kept.get(name)
        if found is None:
            self._answer(404, {})
        elif body["metadata"].get("resourceVersion") != found["metadata"]["resourceVersion"]:
            self._answer(409, {})
        elif found.get("immutable") and (body.get("data"), body.get("immutable")) != (found["data"], True):
            self._answer(422, {})
        else:
            self._answer(200, self.server.put(name, body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
