"""The console over HTTP: what is there, for whom, and what a browser is kept from."""

from __future__ import annotations

import json
import re
import socket
import threading
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from cli.console import app as module
from cli.console.acts import Act
from cli.console.app import Offer, create
from cli.console.command import LOOPBACK
from cli.console.guard import host_of
from cli.console.reader import Reader
from cli.console.tokens import Door, Tokens
from tests.browser.consoles import TOKEN, World
from tests.browser.histories import BUS

ACT = {"component": "event_bus", "act": "rollback"}
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def client(world: World | None = None, *, acts: bool = False, closed: bool = False, tokens: bool = True) -> TestClient:
    world = world or World()
    reader = Reader(world.sources, "live")
    reader.look()
    door = Door(Tokens({TOKEN: "ann"})) if tokens and (acts or closed) else None
    offer = Offer(hosts=LOOPBACK, door=door, desk=world.desk() if acts else None, closed=closed)
    return TestClient(create(reader, offer), base_url="http://localhost:8321")


def test_the_picture_is_sections_of_html_with_their_age() -> None:
    told = client().get("/api/picture").json()
    assert told["lost"] == "" and 0 <= told["age"] < 60 and told["as_of"].startswith("as of 20")
    assert set(told["sections"]) == {"alerts", "components", "log"}
    assert "kafka" in told["sections"]["components"]
    world = World()
    world.store.away = "no answer"
    told = client(world).get("/api/picture").json()
    assert told["age"] is None and "no answer" in told["lost"]


@pytest.mark.parametrize("path", ["/", "/console.js", "/console.css", "/api/picture", "/nothing"])
def test_every_answer_keeps_the_browser_to_this_page(path: str) -> None:
    answer = client().get(path)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers or "uvicorn" not in answer.headers["server"]


def test_nothing_of_it_comes_from_elsewhere_or_stands_in_the_page() -> None:
    text = client(acts=True).get("/").text
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,", "/console.css", "/console.js"]
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|https?://", module.SCRIPT)
    assert not re.search(r"url\(|@import|https?:", module.CSS)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8321", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
def test_another_host_is_not_answered(host: str) -> None:
    for path in ("/", "/api/picture"):
        answer = client().get(path, headers={"Host": host})
        assert answer.status_code == 421 and "kafka" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1:8321", "[::1]:8321", "[::1]"])
def test_this_machines_names_are_answered_at_any_port(host: str) -> None:
    assert client().get("/api/picture", headers={"Host": host}).status_code == 200


def test_hosts_are_read_from_headers() -> None:
    assert [host_of(text) for text in ("a:1", "A", "[::1]:1", "::1", "[::1", " b ")] == [
        "a",
        "a",
        "::1",
        "::1",
        "::1",
        "b",
    ]


def test_two_hosts_are_none() -> None:
    made = create(Reader(World().sources, "live"), Offer(hosts=LOOPBACK))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost"), (b"host", b"evil")]}
    coroutine = made(scope, receive, send)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert sent[0]["status"] == 421


def test_a_page_of_another_site_is_not_answered() -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        assert client().get("/api/picture", headers={"Sec-Fetch-Site": site}).status_code == status


def test_without_acts_there_are_no_such_routes() -> None:
    for made in (client(), client(closed=True)):
        for method, path in (("POST", "/api/preview"), ("POST", "/api/acts"), ("GET", "/api/acts")):
            assert made.request(method, path, headers=HEADERS, json={}).status_code == 404
        assert '<button type="button" data-act' not in made.get("/").text
    assert client().post("/api/token", headers=HEADERS, json={}).status_code == 404
    assert client().get("/openapi.json").status_code == client().get("/docs").status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_nothing_is_done_or_told_of_it_without_the_token(headers: dict[str, str]) -> None:
    world = World()
    made = client(world, acts=True)
    seen = world.desk().preview(BUS, Act.ROLLBACK).digest
    asked: list[tuple[str, str, dict[str, str]]] = [
        ("POST", "/api/token", {}), ("POST", "/api/preview", ACT), ("GET", "/api/acts", {}),
        ("POST", "/api/acts", {**ACT, "typed": "event_bus", "seen": seen}),
    ]  # fmt: skip
    for method, path, body in asked:
        answer = made.request(method, path, headers=headers, json=body)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text
    assert world.runner.begun == []
    assert made.get("/api/picture").status_code == 200  # to look, none is needed here


def test_the_fifth_wrong_token_is_the_last() -> None:
    made = client(acts=True)
    wrong = {"Authorization": "Bearer wrong"}
    assert [made.post("/api/token", headers=wrong, json={}).status_code for _ in range(6)] == [401] * 5 + [429]
    answer = made.post("/api/token", headers=HEADERS, json={})
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 60


def test_an_act_is_previewed_begun_and_followed() -> None:
    world = World()
    made = client(world, acts=True)
    assert made.post("/api/token", headers=HEADERS, json={}).json() == {"owner": "ann"}
    assert made.get("/api/acts", headers=HEADERS).status_code == 404
    found = made.post("/api/preview", headers=HEADERS, json=ACT).json()
    assert found["command"] == "crossover rollback event_bus" and "scale -> shadow" in found["steps"]
    body = {**ACT, "typed": "event_bus", "seen": found["digest"]}
    assert made.post("/api/acts", headers=HEADERS, json={**body, "typed": "x"}).status_code == 422
    assert made.post("/api/acts", headers=HEADERS, json={**body, "seen": "x"}).status_code == 409
    assert made.post("/api/acts", headers=HEADERS, json={**body, "act": "retire"}).status_code == 422
    assert made.post("/api/acts", headers=HEADERS, json={**body, "more": 1}).status_code == 422
    assert world.runner.begun == []
    begun = made.post("/api/acts", headers=HEADERS, json=body)
    assert begun.status_code == 202 and begun.json()["actor"] == "ann by the console of ops@bastion"
    assert made.post("/api/acts", headers=HEADERS, json=body).status_code == 409
    assert len(world.runner.begun) == 1 and world.runner.last is not None
    world.runner.last.write("é")
    first = made.get("/api/acts?since=0", headers=HEADERS).json()
    assert (first["output"], first["code"], first["next"]) == ("é\n", None, 3)
    world.runner.last._written += "é".encode()[:1]  # cut within a character
    cut = made.get(f"/api/acts?since={first['next']}", headers=HEADERS).json()
    assert (cut["output"], cut["next"]) == ("", 3)
    world.runner.last._written += "é".encode()[1:]
    world.runner.last.end(0)
    last = made.get("/api/acts?since=3", headers=HEADERS).json()
    assert (last["output"], last["code"], last["more"]) == ("é", 0, False)
    assert made.get("/api/acts?since=-1", headers=HEADERS).status_code == 422


def test_steps_that_are_not_known_are_told() -> None:
    world = World()
    made = client(world, acts=True)
    answer = made.post("/api/preview", headers=HEADERS, json={"component": "llm_service", "act": "emergency"})
    assert answer.status_code == 409 and answer.json() == {"problem": "llm_service has no emergency"}
    answer = made.post("/api/preview", headers=HEADERS, json={"component": "all", "act": "migrate"})
    assert answer.status_code == 422 and "component" in answer.json()["problem"]


def test_what_is_sent_is_bounded() -> None:
    made = client(acts=True)
    large = json.dumps({**ACT, "typed": "x" * 5000, "seen": ""})
    assert made.post("/api/acts", headers=HEADERS, content=large).status_code == 413
    assert made.post("/api/acts", headers=HEADERS, content=iter([b"{}"])).status_code == 411


def test_a_closed_console_shows_nothing_without_a_token() -> None:
    made = client(closed=True)
    assert made.get("/api/picture").status_code == 401
    assert "kafka" not in made.get("/").text and "<dialog" in made.get("/").text
    assert "kafka" in made.get("/api/picture", headers=HEADERS).text


def test_viewers_are_bounded() -> None:
    """By uvicorn, on real sockets: whoever is one too many is told so, and the others stay."""
    made = create(Reader(World().sources, "live"), Offer(hosts=LOOPBACK))
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(made, log_config=None, lifespan="off", limit_concurrency=4, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    request = b"GET /console.css HTTP/1.1\r\nHost: localhost\r\n\r\n"
    open_ones = []
    try:
        codes = []
        for _ in range(6):
            one = socket.create_connection(listening.getsockname(), timeout=10)
            open_ones.append(one)
            one.sendall(request)
            codes.append(int(one.recv(20).split()[1]))
        assert codes[0] == 200 and codes[-1] == 503
    finally:
        for one in open_ones:
            one.close()
        server.should_exit = True
        thread.join(10)
        listening.close()
    assert not thread.is_alive()
