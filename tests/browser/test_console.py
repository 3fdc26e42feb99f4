"""`crossover console` in a real browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from contracts.audit import Kind
from contracts.routes import Fence
from contracts.stages import Stage
from tests.browser.consoles import COPYING, TOKEN, World, served
from tests.browser.histories import BUS
from tests.browser.windows import Window, let_in

Open = Callable[..., Window]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def acting(world: World) -> Iterator[str]:
    with served(world, acts=True) as address:
        yield address


def test_it_shows_the_state_and_asks_nobody_else(world: World, window: Open) -> None:
    world.output = COPYING
    with served(world) as address:
        shown = window()
        shown.page.goto(address)
        bus = shown.page.locator("#c-event-bus")
        expect(bus).to_contain_text("in step")
        expect(bus.locator(".here")).to_contain_text("scale")
        expect(bus).to_contain_text("44 events")
        expect(bus).to_contain_text("shadow → scale held traffic for 150 ms")
        database = shown.page.locator("#c-database")
        expect(database).to_contain_text("hosted to selfhosted 0.3 s behind")
        expect(database).to_contain_text("52 s left")
        expect(database.locator("progress")).to_have_attribute("value", "37")
        expect(shown.page.locator("#alerts")).to_contain_text("Database: comparison does not hold")
        expect(shown.page.locator("#log")).to_contain_text("the exchange is closed today")
        expect(shown.page.locator("#age")).to_contain_text("0 s ago")
        assert all(request.startswith(address) for request in shown.requests)
        expect(shown.page.locator("button")).to_have_count(0)
        assert shown.page.locator("dialog").count() == 0
        shown.page.close()


def test_it_follows_without_being_loaded_anew(world: World, window: Open) -> None:
    with served(world) as address:
        shown = window()
        shown.page.goto(address)
        bus = shown.page.locator("#c-event-bus")
        expect(bus).to_contain_text("in step")
        shown.page.evaluate("window.same = true")
        world.write(world.routes[BUS].model_copy(update={"fence": Fence(epoch=4, since="12:00", holder="job-7")}))
        expect(bus.locator(".state")).to_have_text("switching")
        expect(bus).to_contain_text("a fence stands since 12:00, held by job-7")
        world.write(world.routes[BUS].model_copy(update={"stage": Stage.SHADOW, "active": "redis", "epoch": 4}))
        expect(bus.locator(".here")).to_contain_text("shadow")
        expect(shown.page.locator("#alerts")).to_contain_text("Event bus: out of step")
        world.log.append(Kind.APPROVED, "database", "cleo@desk", {"asked": "Move database now?"})
        expect(shown.page.locator("#log tbody tr").first).to_contain_text("cleo@desk")
        assert shown.page.evaluate("window.same") is True
        shown.page.close()


def test_a_cluster_that_is_away_is_told_with_the_age_of_what_is_shown(world: World, window: Open) -> None:
    with served(world) as address:
        shown = window()
        shown.page.goto(address)
        bus = shown.page.locator("#c-event-bus")
        expect(bus).to_contain_text("in step")
        expect(shown.page.locator("#lost")).to_be_hidden()
        world.store.away = "the API server does not answer (ConnectTimeoutError)"
        lost = shown.page.locator("#lost")
        expect(lost).to_contain_text("The cluster cannot be read: the API server does not answer")
        expect(lost).to_contain_text("1 s old")
        expect(lost).to_contain_text("2 s old")
        expect(bus).to_contain_text("cannot be read now")
        expect(bus.locator(".here")).to_contain_text("scale")  # as it was read last, and never a blank
        expect(bus).to_contain_text("kafka")
        world.store.away = ""
        expect(lost).to_be_hidden()
        expect(bus).not_to_contain_text("cannot be read")
        shown.page.close()


def test_a_console_that_is_gone_is_told_too_and_what_was_shown_stays(world: World, window: Open) -> None:
    shown = window()
    with served(world) as address:
        shown.page.goto(address)
        expect(shown.page.locator("#c-event-bus")).to_contain_text("in step")
    expect(shown.page.locator("#lost")).to_contain_text("The console does not answer. What is shown is")
    expect(shown.page.locator("#c-event-bus")).to_contain_text("kafka")
    shown.page.close()
    assert shown.errors and all("ERR_" in error for error in shown.errors)
    shown.errors.clear()


def test_a_cluster_that_was_never_read_is_no_blank(window: Open) -> None:
    world = World()
    world.store.away = "no answer"
    with served(world) as address:
        shown = window()
        shown.page.goto(address)
        expect(shown.page.locator("#lost")).to_contain_text("The cluster cannot be read: no answer")
        expect(shown.page.locator("#c-database")).to_contain_text("never read")
        shown.page.close()


def test_without_scripts_it_is_the_same_page(world: World, window: Open) -> None:
    with served(world) as address:
        shown = window(scripts=False)
        shown.page.goto(address)
        expect(shown.page.locator("#c-event-bus")).to_contain_text("in step")
        expect(shown.page.locator("#log")).to_contain_text("the exchange is closed today")


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: away, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: away, user: {}}]
contexts: [{name: away, context: {cluster: away, user: away}}]
current-context: away
"""


def test_the_command_serves_it_and_ends_by_a_signal(window: Open, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "cli", "console", "--port", "0", "--stack", "local", "--context", "away"]
    shown = window()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            address = running.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            shown.page.goto(address)
            expect(shown.page.locator("#lost")).to_contain_text("the API server does not answer")
            expect(shown.page.locator("#c-database")).to_contain_text("never read")
            shown.page.close()
        finally:
            running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0


def test_a_move_is_shown_confirmed_by_name_begun_and_followed(world: World, acting: str, window: Open) -> None:
    shown = window()
    page = shown.page
    page.goto(acting)
    database = page.locator("#c-database")
    expect(database.get_by_role("button")).to_have_text(["migrate", "rollback", "emergency"])
    expect(page.locator("#c-llm-service").get_by_role("button")).to_have_text(["migrate", "rollback"])
    database.get_by_role("button", name="migrate").click()
    let_in(page, TOKEN)
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("This runs: crossover migrate database")
    expect(dialog.locator("pre")).to_contain_text("shadow -> scale")
    expect(dialog.locator("pre")).to_contain_text("the pooler has paused")
    begin = dialog.get_by_role("button", name="migrate")
    expect(begin).to_be_disabled()
    name = page.get_by_label("Type database to go on")
    name.fill("databas")
    expect(begin).to_be_disabled()
    assert world.runner.begun == []
    name.fill("database")
    begin.click()
    expect(dialog).to_contain_text("begun by ann by the console of ops@bastion")
    assert world.runner.begun == [(("migrate", "database", "--stack", "live"), "ann by the console of ops@bastion")]
    assert world.runner.last is not None
    world.runner.last.write("database: shadow -> scale\n  fence   holds  <b>é</b>")
    expect(dialog.locator("pre")).to_contain_text("fence   holds  <b>é</b>")
    world.runner.last.end(1)
    expect(dialog).to_contain_text("It ended with exit status 1.")
    # The token stays: the next one asks for none.
    page.get_by_role("button", name="close").click()
    page.locator("#c-event-bus").get_by_role("button", name="emergency").click()
    expect(dialog).to_contain_text("This runs: crossover rollback event_bus --emergency")
    expect(dialog.locator("pre")).to_contain_text("flee")
    assert TOKEN not in page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    page.close()


def test_what_is_refused_is_told_and_nothing_begins(world: World, acting: str, window: Open) -> None:
    shown = window()
    page = shown.page
    page.goto(acting)
    page.locator("#c-event-bus").get_by_role("button", name="rollback").click()
    page.get_by_label("Token").fill("a-token-that-somebody-guessed")
    page.get_by_role("button", name="go on").click()
    expect(page.get_by_role("alert")).to_have_text("that is no token of this console")
    let_in(page, TOKEN)
    expect(page.locator("dialog")).to_contain_text("scale -> shadow")
    # Meanwhile somebody else moved it: what was shown holds no longer.
    world.write(world.routes[BUS].model_copy(update={"stage": Stage.SHADOW, "active": "redis", "epoch": 4}))
    page.get_by_label("Type event_bus to go on").fill("event_bus")
    page.locator("dialog").get_by_role("button", name="rollback").click()
    expect(page.get_by_role("alert")).to_contain_text("the steps are others now than those that were shown")
    assert world.runner.begun == []
    page.close()
    assert [error.partition("status of ")[2][:3] for error in shown.errors] == ["401", "409"]
    shown.errors.clear()


def test_where_it_is_closed_nothing_is_shown_before_there_is_a_token(world: World, window: Open) -> None:
    with served(world, closed=True) as address:
        shown = window()
        shown.page.goto(address)
        assert "kafka" not in shown.page.content()
        let_in(shown.page, TOKEN)
        expect(shown.page.locator("#c-event-bus")).to_contain_text("kafka")
        expect(shown.page.locator("#components button")).to_have_count(0)
        shown.page.close()
        assert shown.errors and all("401" in error for error in shown.errors)
        shown.errors.clear()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(world: World, acting: str, window: Open, dark: bool) -> None:
    world.output = COPYING
    world.write(world.routes[BUS].model_copy(update={"fence": Fence(epoch=4, since="12:00", holder="job-7")}))
    shown = window(dark=dark)
    shown.page.goto(acting)
    expect(shown.page.locator("#c-event-bus .state")).to_have_text("switching")
    assert shown.unreadable() == []
    shown.page.locator("#c-database").get_by_role("button", name="migrate").click()
    let_in(shown.page, TOKEN)
    expect(shown.page.locator("dialog pre")).to_contain_text("shadow -> scale")
    assert shown.unreadable() == []
    world.store.away = "no answer"
    expect(shown.page.locator("#lost")).to_be_visible()
    assert shown.unreadable() == []
    shown.page.close()


def test_a_phone_shows_it_without_scrolling_sideways(world: World, acting: str, window: Open) -> None:
    world.output = COPYING
    shown = window(phone=True)
    shown.page.goto(acting)
    expect(shown.page.locator("#c-database progress")).to_be_visible()
    assert shown.page.evaluate("window.innerWidth") == 390
    assert shown.overflow() <= 0
    shown.page.locator("#c-database").get_by_role("button", name="rollback").tap()
    let_in(shown.page, TOKEN)
    expect(shown.page.get_by_label("Type database to go on")).to_be_in_viewport()
    assert shown.overflow() <= 0
    shown.page.close()
