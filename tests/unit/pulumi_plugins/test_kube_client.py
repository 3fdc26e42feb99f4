"""The client and its watches, against a scripted API server on loopback."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local.pulumi_plugins.kube import configuration, kubeconfig
from local.pulumi_plugins.kube.client import ApiError, Client, Unreachable
from local.pulumi_plugins.kube.discovery import Discovery, UnknownKind
from local.pulumi_plugins.kube.objects import Kind
from local.pulumi_plugins.kube.waits.base import Source, View, Wait, failed, ready, waiting
from local.pulumi_plugins.kube.waits.base import Verdict as JudgeVerdict
from local.pulumi_plugins.kube.waits.running import NotReady, Surroundings, wait_until_gone, wait_until_ready
from local.pulumi_plugins.kube.waits.watching import Changed, Listed, Refused, Watches

type Reply = tuple[int, list[Any], dict[str, str]]
"""Status, lines of JSON, headers."""
type Script = Callable[[str, str, dict[str, list[str]]], Reply]

ITEM = {"metadata": {"name": "a", "uid": "u", "resourceVersion": "5"}}


class Server(ThreadingHTTPServer):
    """Answers by `script(method, path, query)`; holds a watch open until `release`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: Script = lambda *_: (404, [{}], {})
        self.requests: list[tuple[str, str, dict[str, list[str]], dict[str, str]]] = []
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.server.requests.append((self.command, parts.path, query, dict(self.headers)))
        status, lines, headers = self.server.script(self.command, parts.path, query)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "watch" not in query:
            body = "".join(json.dumps(line) for line in lines).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            text = json.dumps(line).encode() + b"\n"
            self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
        self.wfile.flush()
        if "hold" in headers:
            self.server.release.wait(10)
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_PATCH = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.release.set()
    made.shutdown()
    thread.join()
    made.server_close()


def access(url: str, **user: str) -> kubeconfig.Access:
    return kubeconfig.Access({"server": url}, dict(user), "trading", Path.cwd())


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    made = Client(access(server.url, token="t0ken"))
    yield made
    made.close()


def test_a_busy_server_is_asked_again(server: Server, client: Client) -> None:
    answers: Iterator[Reply] = iter([(429, [{"message": "slow down"}], {"Retry-After": "0"}), (200, [ITEM], {})])
    server.script = lambda *_: next(answers)
    assert client.get("/x") == ITEM
    assert len(server.requests) == 2


def test_a_refusal_carries_the_servers_words(server: Server, client: Client) -> None:
    body = {"message": "no such thing", "reason": "NotFound", "details": {"name": "a", "causes": [{"field": "f"}]}}
    server.script = lambda *_: (404, [body], {})
    with pytest.raises(ApiError, match="no such thing") as caught:
        client.get("/x")
    assert (caught.value.status, caught.value.reason, caught.value.causes) == (404, "NotFound", [{"field": "f"}])


def test_an_apply_is_strict_and_may_be_dry(server: Server) -> None:
    server.script = lambda *_: (200, [ITEM], {"Warning": '299 - "old version"'})
    warned: list[str] = []
    with contextlib.closing(Client(access(server.url, token="t0ken"), warned.append)) as client:
        client.apply("/x", {"a": 1}, "me", force=False, dry_run=True)
    method, _, query, headers = server.requests[0]
    assert method == "PATCH"
    assert query == {"fieldManager": ["me"], "force": ["false"], "fieldValidation": ["Strict"], "dryRun": ["All"]}
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert headers["Authorization"] == "Bearer t0ken"
    assert warned == ["old version"]


def test_a_cluster_that_is_away_is_named(server: Server) -> None:
    url = "http://127.0.0.1:1"
    with pytest.raises(Unreachable, match=url):
        Client(access(url)).get("/x")


def test_a_kind_that_appears_later_is_found(server: Server, client: Client) -> None:
    kind = Kind("example.com", "v1", "Thing")
    resources = {"resources": [{"name": "things", "kind": "Thing", "namespaced": True}]}
    answers: Iterator[Reply] = iter([(404, [{}], {}), (200, [resources], {})])
    server.script = lambda *_: next(answers)
    discovery = Discovery(client)
    with pytest.raises(UnknownKind, match=r"example\.com/v1"):
        discovery.find(kind)
    assert discovery.find(kind).item("ns", "x") == "/apis/example.com/v1/namespaces/ns/things/x"
    assert discovery.find(kind).item("ns", "x"), "kept: the script has no third answer"


def test_a_watch_that_is_too_old_lists_anew(server: Server, client: Client) -> None:
    watches = iter(
        [
            [{"type": "MODIFIED", "object": ITEM}, {"type": "ERROR", "object": {"code": 410}}],
            [{"type": "DELETED", "object": ITEM}],
        ]
    )

    def script(method: str, path: str, query: dict[str, list[str]]) -> Reply:
        if "watch" in query:
            lines = next(watches, [])
            return 200, lines, {} if lines else {"hold": "1"}
        return 200, [{"metadata": {"resourceVersion": "7"}, "items": [ITEM]}], {}

    server.script = script
    with Watches(client, [Source("s", "/x")]) as followed:
        seen = [followed.messages.get(timeout=10) for _ in range(4)]
    assert seen == [
        Listed("s", [ITEM]),
        Changed("s", ITEM, gone=False),
        Listed("s", [ITEM]),
        Changed("s", ITEM, gone=True),
    ]
    first_watch = next(query for _, _, query, _ in server.requests if "watch" in query)
    assert first_watch["resourceVersion"] == ["7"]


def test_a_source_that_may_not_be_read_says_so(server: Server, client: Client) -> None:
    server.script = lambda *_: (403, [{"message": "forbidden"}], {})
    with Watches(client, [Source("s", "/x")]) as followed:
        message = followed.messages.get(timeout=10)
    assert isinstance(message, Refused)


def around(client: Client, cancelled: threading.Event | None = None) -> Surroundings:
    return Surroundings(client, lambda _: None, lambda _: None, cancelled or threading.Event())


def held(items: list[Any], events: list[Any]) -> Script:
    """One list, then one watch that stays open."""

    def script(method: str, path: str, query: dict[str, list[str]]) -> Reply:
        if "watch" in query:
            return 200, events, {"hold": "1"}
        return 200, [{"metadata": {"resourceVersion": "1"}, "items": items}], {}

    return script


def by_label(view: View) -> JudgeVerdict:
    said = (view.subject or {})["metadata"].get("labels", {}).get("state")
    return {"good": ready("good"), "bad": failed("it is bad", ("because",))}.get(said, waiting("not yet"))


def labelled(state: str) -> dict[str, Any]:
    return {"metadata": {**ITEM["metadata"], "labels": {"state": state}}}


def test_a_wait_ends_with_the_event_that_makes_it_ready(server: Server, client: Client) -> None:
    server.script = held([ITEM], [{"type": "MODIFIED", "object": labelled("good")}])
    wait_until_ready(Wait(by_label, 1.0), "/x", ITEM, 30.0, around(client))


def test_a_wait_ends_with_the_event_that_makes_it_hopeless(server: Server, client: Client) -> None:
    server.script = held([ITEM], [{"type": "MODIFIED", "object": labelled("bad")}])
    with pytest.raises(NotReady) as caught:
        wait_until_ready(Wait(by_label, 1.0), "/x", ITEM, 30.0, around(client))
    assert caught.value.reasons == ["it is bad", "because"]


def test_a_wait_ends_by_its_time(server: Server, client: Client) -> None:
    server.script = held([ITEM], [])
    with pytest.raises(NotReady, match=r"not ready after 0 s: not yet|first answer"):
        wait_until_ready(Wait(by_label, 1.0), "/x", ITEM, 0.2, around(client))


def test_a_cancelled_wait_ends_soon(server: Server, client: Client) -> None:
    server.script = held([ITEM], [])
    cancelled = threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    with pytest.raises(NotReady, match="cancelled"):
        wait_until_ready(Wait(by_label, 1.0), "/x", ITEM, 60.0, around(client, cancelled))


def test_an_object_that_someone_deletes_ends_the_wait(server: Server, client: Client) -> None:
    server.script = held([ITEM], [{"type": "DELETED", "object": ITEM}])
    with pytest.raises(NotReady, match="deleted by someone else"):
        wait_until_ready(Wait(by_label, 1.0), "/x", ITEM, 30.0, around(client))


def test_gone_means_this_very_object(server: Server, client: Client) -> None:
    reborn = {"metadata": {"name": "a", "uid": "another", "resourceVersion": "9"}}
    server.script = held([reborn], [])
    wait_until_gone("/x", ITEM, 30.0, around(client))


def test_an_object_that_stays_names_its_finalizers(server: Server, client: Client) -> None:
    stuck = {"metadata": {**ITEM["metadata"], "finalizers": ["example.com/keep"]}}
    server.script = held([stuck], [])
    with pytest.raises(NotReady) as caught:
        wait_until_gone("/x", ITEM, 0.3, around(client))
    assert any("example.com/keep" in reason for reason in caught.value.reasons)


CONFIG = """
clusters: [{name: c, cluster: {server: "https://one:6443"}}, {name: d, cluster: {server: "https://two:6443"}}]
users: [{name: u, user: {token: abc}}]
contexts:
- {name: x, context: {cluster: c, user: u, namespace: trading}}
- {name: y, context: {cluster: d, user: u}}
current-context: x
"""


def test_a_context_names_cluster_user_and_namespace() -> None:
    current, other = kubeconfig.load(CONFIG), kubeconfig.load(CONFIG, "y")
    assert (current.server.hostname, current.namespace) == ("one", "trading")
    assert (other.server.hostname, other.namespace) == ("two", "default")
    assert "abc" not in repr(current), "credentials stay out of logs"


def test_a_missing_context_lists_those_there_are() -> None:
    with pytest.raises(kubeconfig.KubeconfigError, match="it has: x, y"):
        kubeconfig.load(CONFIG, "z")


def test_another_active_cluster_replaces_unless_it_is_said_to_be_the_same() -> None:
    old, new = {"kubeconfig": CONFIG, "context": "x"}, {"kubeconfig": CONFIG, "context": "y"}
    assert configuration.changed(old, old) == ([], [])
    assert configuration.changed(old, new) == (["context"], ["context"])
    same = {"clusterIdentifier": "home"}
    assert configuration.changed(old | same, new | same) == (["context"], [])
    assert configuration.changed(old | same, old | {"clusterIdentifier": "away"})[1] == ["clusterIdentifier"]
    other_token = {"kubeconfig": CONFIG.replace("abc", "def"), "context": "x"}
    assert configuration.changed(old, other_token) == (["kubeconfig"], [])


def test_options_come_from_the_provider_or_the_environment() -> None:
    made = configuration.settings({"enableSecretMutable": "true"}, {"PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE": "true"})
    assert (made.mutability.secrets, made.mutability.config_maps) == (True, True)
    off = configuration.settings({"enableConfigMapMutable": False}, {"PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE": "true"})
    assert not off.mutability.config_maps
    assert configuration.problems({"enableServerSideApply": False})
    assert not configuration.problems({"enableServerSideApply": "true", "namespace": "x"})
