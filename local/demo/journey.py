"""The demonstration, step by step: each step is a command that a user could type."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contracts import names
from contracts.stages import Component, Stage
from local.demo import figures, load, pod, trading
from local.demo.backtests import Backtests
from local.demo.bank import Bank
from local.demo.chat import Chats
from local.demo.client import Client
from local.demo.commands import CommandFailed, Kubectl, Pulumi, load_environment, stream
from local.demo.moving import Mover
from local.setup.progress import step
from validation.backtest_load.judging import WHOLE as BACKTESTS
from validation.bank.judging import WHOLE as BANK
from validation.chat.judging import WHOLE as CHATS
from validation.load import marks
from validation.result import Report

COMPONENT: Final = Component.EVENT_BUS
REPORT: Final = Path("reports") / "demo.json"
MIN_BANK, MIN_CHATS, MIN_BACKTESTS = 0.9, 0.5, 0.9
"""Of the rate that was asked for, what must have been offered for the proof to count. A small model on a shared machine
answers when it can, and a conversation waits for its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the demonstration is to do. `around`: seconds of load before and after each switch; rates in
    events/s: offered, and what must have been offered for the proof to count; `transfers`, `chats` and `backtests` a
    second: the same of the loads on the other components, 0 for leaving one where it is."""

    around: float = 60.0
    rate: float = 1050.0
    min_rate: float = 1000.0
    transfers: float = 200.0
    chats: float = 1.5
    backtests: float = 0.5
    end: Stage = Stage.SHADOW
    report: Path = REPORT


class Journey:
    """One run of the demonstration on the repository at `root`: the event bus there and back, then the database, the
    language model, and backtests."""

    def __init__(self, root: Path, wishes: Wishes, line: Callable[[str], None]) -> None:
        self._root = root
        self._wishes = wishes
        self._line = line
        env = load_environment(root)
        self._pulumi = Pulumi(root, env, line)
        self._kubectl = Kubectl(env, names.NAMESPACE)
        self._bus = Mover(COMPONENT, self._pulumi, self._kubectl, wishes.around)
        self._database = Mover(Component.DATABASE, self._pulumi, self._kubectl, wishes.around / 2)
        self._llm = Mover(Component.LLM_SERVICE, self._pulumi, self._kubectl, wishes.around / 2)
        self._backtesting = Mover(Component.BACKTESTING, self._pulumi, self._kubectl, wishes.around / 2)
        self._load: load.Load | None = None
        self._client: Client | None = None

    def run(self) -> dict[str, Any]:
        """All of it; what stands in reports/demo.json. Raises where it could not even begin to prove."""
        self._deploy()
        trading.await_trading(self._kubectl)
        self._load = load.Load(self._kubectl, load.new_run(), self._wishes.rate)
        self._load.start()
        body = self._prove(_problem(lambda: self._bus.move(self._held(), self._wishes.end)))
        # Each part without the loads of the others: two cores are full with any of them.
        if self._wishes.transfers:
            self._remove_loads()
            bank = Bank(self._kubectl, load.new_run(), self._wishes.transfers)
            part = self._part(self._database, bank, BANK, figures.BANK_STALLS, MIN_BANK)
            body = figures.joined(body, BANK, part)
        if self._wishes.chats:
            self._remove_loads()
            chats = Chats(self._kubectl, load.new_run(), self._wishes.chats)
            part = self._part(self._llm, chats, CHATS, figures.CHAT_STALLS, MIN_CHATS)
            body = figures.joined(body, "llm", part)
        if self._wishes.backtests:
            self._remove_loads()
            runs = Backtests(self._kubectl, load.new_run(), self._wishes.backtests)
            part = self._part(self._backtesting, runs, BACKTESTS, figures.BACKTEST_TIMES, MIN_BACKTESTS)
            body = figures.joined(body, BACKTESTS, part)
        figures.write(self._root / self._wishes.report, body)
        return body

    def _held(self) -> Callable[[float, str], None]:
        if self._load is None:
            raise load.LoadFailed("there is no load")
        return self._load.hold

    def _deploy(self) -> None:
        """The stack at the stages where it was left, or at mvp where there is none yet."""
        for mover in (self._bus, self._database, self._llm, self._backtesting):
            mover.ask(mover.stage() or Stage.MVP)
        self._pulumi.up()

    def _prove(self, problem: str) -> dict[str, Any]:
        reports: dict[str, Report] = {}
        if self._load is not None:
            try:
                self._load.stop()
                reports = self._load.judge(self._bus.windows, self._wishes.min_rate)
            except (CommandFailed, load.LoadFailed) as error:
                problem = f"{problem}\n{error}".strip()
        facts = {
            "id": self._load.run if self._load else None,
            "rate": self._wishes.rate,
            "keys": marks.KEYS,
            "groups": len(pod.GROUPS),
            "seconds_around": self._wishes.around,
        }
        return figures.document(self._bus.switches, reports, facts, problem)

    def _part(self, mover: Mover, client: Client, whole: str, stalls: Sequence[str], least: float) -> dict[str, Any]:
        """A component there and back under its load, and what the load's judge says. `whole` is the name of the report
        on all of it, `least` the part of the rate that must have been offered."""
        reports: dict[str, Report] = {}
        self._client = client
        try:
            client.start()
            problem = _problem(lambda: mover.move(client.hold, self._wishes.end))
            client.stop()
            reports = client.judge(mover.windows, client.rate * least)
        except (CommandFailed, load.LoadFailed, pod.NoTemplate) as error:
            problem = str(error)
        return figures.part_document(mover.switches, reports, reports.get(whole), stalls, problem)

    def tidy(self) -> None:
        """End the load, if it runs, so that its groups are not left behind, and remove its pod."""
        if self._load is None:
            return
        running, self._load = self._load, None
        try:
            running.stop()
            running.judge({}, 0.0)
        except (CommandFailed, load.LoadFailed) as error:
            self._line(f"the load did not end in order: {error}")
        running.remove()

    def close(self) -> None:
        """Remove the loads' pods after a run that ended by itself."""
        self._remove_loads()

    def _remove_loads(self) -> None:
        if self._load is not None:
            self._load.remove()
            self._load = None
        if self._client is not None:
            self._client.remove()
            self._client = None


def _problem(act: Callable[[], None]) -> str:
    """What went wrong in `act`; empty where nothing did."""
    try:
        act()
    except (CommandFailed, load.LoadFailed) as error:
        return str(error)
    return ""


def set_up(root: Path, env: dict[str, str], line: Callable[[str], None]) -> None:
    """Tools, images, cluster and stack: what is there already is used. Raises CommandFailed."""
    with step("set-up"):
        stream([sys.executable, "-m", "local.setup"], cwd=root, env=env, line=line)
