"""`crossover replay` through an API server that is played by a real HTTP server: what reaches the service, what comes
back, and what is the API server's own word."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, override

import pytest
from kubernetes import client
from typer.testing import CliRunner

from adapters.routes.base import RouteUnavailable
from adapters.routes.services import asked
from cli import replay
from cli.__main__ import app
from cli.errors import CliError
from validation.api.exchange import read

PROXY = "/api/v1/namespaces/ns/services/engine:8000/proxy"
STATUS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "message": "no endpoints available"}


class Served:
    """What was asked, and what is answered by path: status, content type, body."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.url = ""


@pytest.fixture
def server() -> Iterator[Served]:
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            served.asked.append((self.command, self.path, dict(self.headers), body))
            path = self.path.partition("?")[0].removeprefix(PROXY)
            status, kind, content = served.answers.get(path, (404, "application/json", b'{"detail":"Not Found"}'))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer

        @override
        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        served.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield served
        http.shutdown()
        thread.join()


@pytest.fixture
def api(server: Served) -> Any:
    return client.ApiClient(client.Configuration(host=server.url))


def ask(api: Any, method: str, path: str, body: Any = None) -> Any:
    return asked(api, "ns", "engine", method, path, headers={"x-conversation": "c"}, body=body)


def test_a_request_reaches_the_service_as_it_is_and_each_answer_is_an_answer(server: Served, api: Any) -> None:
    server.answers["/runs"] = (422, "application/json", b'{"error":"no"}')
    found = ask(api, "POST", "/runs?a=1&b=x%26y&c=", {"k": [None, "ü"]})
    assert (found.status, found.content_type, found.content) == (422, "application/json", b'{"error":"no"}')
    ((method, path, headers, body),) = server.asked
    assert (method, path) == ("POST", f"{PROXY}/runs?a=1&b=x%26y&c=")
    assert {name.lower(): value for name, value in headers.items()}["x-conversation"] == "c"
    assert json.loads(body) == {"k": [None, "ü"]}
    assert ask(api, "GET", "/none").status == 404


def test_what_the_api_server_says_itself_is_no_answer_of_the_service(server: Served, api: Any) -> None:
    server.answers["/x"] = (503, "application/json", json.dumps(STATUS, separators=(",", ":")).encode())
    with pytest.raises(RouteUnavailable, match="no endpoints available"):
        ask(api, "GET", "/x")
    gone = client.ApiClient(client.Configuration(host="http://127.0.0.1:9"))
    gone.configuration.retries = False
    with pytest.raises(RouteUnavailable, match="does not answer"):
        ask(client.ApiClient(gone.configuration), "GET", "/x")


def test_what_is_recorded_is_compared(
    server: Served, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "connect", lambda context: api)
    requests, file = tmp_path / "requests.jsonl", tmp_path / "traffic.jsonl"
    requests.write_text('{"service": "engine", "request": {"path": "/x", "headers": {"authorization": "hush"}}}\n')
    server.answers["/x"] = (200, "application/json", b'{"price": 1}')
    run = CliRunner()
    record = ["replay", "record", str(file), "--requests", str(requests), "--namespace", "ns"]
    compare = ["replay", "compare", str(file), "--namespace", "ns"]
    assert run.invoke(app, record).exit_code == 0
    (one,) = read(file)
    assert one.answer is not None and one.answer.content == {"price": 1} and "hush" not in file.read_text()
    assert run.invoke(app, compare).exit_code == 0
    server.answers["/x"] = (200, "application/json", b'{"price": 2}')
    different = run.invoke(app, [*compare, "--json"])
    assert (different.exit_code, json.loads(different.output)["checks"][0]["detail"]) == (1, "price: 1 -> 2")
    server.answers["/x"] = (503, "application/json", json.dumps(STATUS, separators=(",", ":")).encode())
    assert run.invoke(app, compare).exit_code == replay.COULD_NOT_COMPARE
    assert isinstance(run.invoke(app, record).exception, CliError)
    assert read(file) == (one,)  # a recording that fails leaves what there was
