"""`crossover console`: how it may be started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.routes.memory import MemoryRouteStore
from cli.__main__ import app
from cli.console.acts import Act, Unfit
from cli.console.command import admitted, goes_on, listen, loopback, options, planner, wanted
from cli.console.runner import ChildRunner
from cli.errors import CliError
from cli.stack import ROOT, Wish
from contracts.stages import Component, Stage
from tests.browser.consoles import World
from tests.browser.histories import BUS, DATABASE
from tests.unit.cli.console.test_runner import until_ended

TOKEN = "a-token-that-nobody-would-guess"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "tokens"
    found.write_text(f"ann {TOKEN}\n")
    found.chmod(0o600)
    return found


def test_what_only_this_machine_reaches() -> None:
    assert [loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1", "bastion", "localhost.evil", "")] == [False] * 6


def test_another_host_needs_leave_and_a_token(file: Path) -> None:
    for leave, tokens in ((False, None), (True, None), (False, file)):
        with pytest.raises(CliError, match=r"--host 0\.0\.0\.0 can be reached from other machines") as raised:
            admitted("0.0.0.0", allow_remote=leave, allow_actions=False, token_file=tokens)
        assert "ssh -L" in raised.value.fix
    found = admitted("0.0.0.0", allow_remote=True, allow_actions=False, token_file=file)
    assert found is not None and found.owner(TOKEN) == "ann"


def test_acts_need_a_token(file: Path) -> None:
    with pytest.raises(CliError, match="--allow-actions without a token"):
        admitted("127.0.0.1", allow_remote=False, allow_actions=True, token_file=None)
    assert admitted("127.0.0.1", allow_remote=False, allow_actions=True, token_file=file) is not None
    assert admitted("127.0.0.1", allow_remote=False, allow_actions=False, token_file=None) is None


def test_the_command_refuses_before_anything_is_asked() -> None:
    result = CliRunner().invoke(app, ["console", "--host", "0.0.0.0"])
    assert isinstance(result.exception, CliError) and "other machines" in str(result.exception)


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CliError, match=f"127.0.0.1:{port} cannot be listened on: Address already in use"):
            listen("127.0.0.1", port)
    with listen("127.0.0.1", 0) as found:
        assert found.getsockname()[1] > 0


def config(folder: Path, stage: str = "scale") -> Path:
    (folder / "Pulumi.x.yaml").write_text(f"config:\n  crossover:event_bus: {{stage: {stage}, verdict_hours: 2}}\n")
    (folder / "Pulumi.yaml").write_text("config: {}\n")
    return folder


def test_what_is_wanted_is_read_from_the_stacks_file(tmp_path: Path) -> None:
    found = wanted("x", config(tmp_path))
    assert found.stages[BUS] is Stage.SCALE and found.stages[Component.DATABASE] is Stage.MVP
    assert found.limits[BUS] == 2
    with pytest.raises(CliError, match="asks for stage 'sale'"):
        wanted("x", config(tmp_path, "sale"))


def test_steps_come_from_the_live_route_and_are_refused_where_they_are_not_known(tmp_path: Path) -> None:
    world = World()
    steps = planner("x", world.store, config(tmp_path))
    assert "scale -> shadow" in steps(BUS, Wish(Stage.SHADOW))
    assert steps(DATABASE, Wish(Stage.SHADOW)) == ["database is at shadow: nothing to do"]
    with pytest.raises(Unfit, match="the steps are not known"):
        planner("x", MemoryRouteStore(create=False), tmp_path)(BUS, Wish(Stage.SHADOW))
    world.store.away = "no answer"
    with pytest.raises(Unfit, match="the steps are not known: no answer"):
        steps(BUS, Wish(Stage.SHADOW))


def test_what_goes_on_is_told_at_the_end() -> None:
    world = World()
    desk = world.desk()
    assert goes_on(desk) == ""
    desk.begin(BUS, Act.ROLLBACK, typed="event_bus", seen=desk.preview(BUS, Act.ROLLBACK).digest, owner="ann")
    assert goes_on(desk).startswith("rollback of event_bus goes on: crossover status shows it")
    assert world.runner.last is not None
    world.runner.last.end(0)
    assert goes_on(desk) == ""


@pytest.mark.parametrize("act", list(Act))
def test_what_a_button_runs_is_a_command_that_there_is(act: Act) -> None:
    result = CliRunner().invoke(app, [*act.words(BUS), *options("live", "kind-x", "trading"), "--help"])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(app, [*act.words(BUS), "--no-such-option", "--help"]).exit_code == 2


def test_a_button_runs_the_command_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pulumi it is refused before anything is touched, and says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    runner = ChildRunner(ROOT, tmp_path / "runs")
    running = runner.begin([*Act.ROLLBACK.words(BUS), *options("live", None, "trading")], "ann")
    assert until_ended(running) == 2
    assert "error: there is no `pulumi` on PATH" in running.output(0).decode()
