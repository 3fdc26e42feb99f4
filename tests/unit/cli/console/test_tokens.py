"""Who may do something by the console."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.console.tokens import WITHIN_SECONDS, WRONG_TOKENS, Denied, Door, Tokens
from cli.errors import CliError

GOOD, OTHER = "a" * 32, "b" * 32


def kept(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "tokens"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_file_has_a_token_a_line_with_or_without_a_name(tmp_path: Path) -> None:
    found = Tokens.read(kept(tmp_path, f"{GOOD}\n\n  ann.b@desk {OTHER}\n"))
    assert (found.owner(GOOD), found.owner(OTHER), found.owner(GOOD[:-1]), found.owner("")) == (
        "",
        "ann.b@desk",
        None,
        None,
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o777])
def test_a_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(CliError, match=f"mode {mode:04o}.*is not yours alone") as raised:
        Tokens.read(kept(tmp_path, GOOD, mode))
    assert raised.value.fix.startswith("chmod 600") and GOOD not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no token in it"),
        ("short", "line 1: the token has fewer than 24 characters"),
        (f"ann the boss {GOOD}", "line 1: it is neither TOKEN nor NAME TOKEN"),
        (f"{OTHER}\n<b> {GOOD}", "line 2: it is neither"),
    ],
)
def test_what_is_no_token_is_refused_and_never_shown(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(CliError, match=why) as raised:
        Tokens.read(kept(tmp_path, text))
    assert GOOD not in str(raised.value) and "secrets.token_urlsafe" in raised.value.fix


def test_only_a_regular_file_of_its_own_will_do(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(kept(tmp_path, GOOD))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (link, pipe, tmp_path, tmp_path / "none"):
        with pytest.raises(CliError, match="the token file"):
            Tokens.read(path)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_tries_too_often_waits_and_others_do_not() -> None:
    clock = Clock()
    door = Door(Tokens({GOOD: "ann"}), clock)
    assert door.admit("10.0.0.1", f"Bearer {GOOD}") == "ann"
    for _ in range(WRONG_TOKENS):
        with pytest.raises(Denied) as raised:
            door.admit("10.0.0.1", f"Bearer {OTHER}")
        assert raised.value.wait is None
        clock.now += 1
    with pytest.raises(Denied) as raised:  # even with the right one: else it could be told from the answer
        door.admit("10.0.0.1", f"Bearer {GOOD}")
    assert raised.value.wait == pytest.approx(WITHIN_SECONDS - WRONG_TOKENS)
    assert door.admit("10.0.0.2", f"bearer {GOOD}") == "ann"
    clock.now = WITHIN_SECONDS
    assert door.admit("10.0.0.1", f"Bearer {GOOD}") == "ann"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer  ", GOOD, f"Basic {GOOD}"])
def test_without_a_token_nobody_is_let_in_and_nothing_is_counted(header: str) -> None:
    door = Door(Tokens({GOOD: ""}))
    for _ in range(WRONG_TOKENS + 1):
        with pytest.raises(Denied, match="a token is needed"):
            door.admit("::1", header)
    assert door.admit("::1", f"Bearer {GOOD}") == ""


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    clock = Clock()
    door = Door(Tokens({GOOD: ""}), clock)
    for number in range(1100):
        with pytest.raises(Denied):
            door.admit(f"host-{number}", "Bearer wrong")
    assert len(door._wrong) <= 1001
    with pytest.raises(Denied, match="too many"):  # those beyond share one count
        door.admit("host-2000", f"Bearer {GOOD}")
    clock.now = WITHIN_SECONDS
    assert door.admit("host-2000", f"Bearer {GOOD}") == "" and len(door._wrong) == 1
