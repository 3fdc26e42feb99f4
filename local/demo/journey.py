"""The demonstration, step by step: each step is a command that a user could type."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contracts import names
from contracts.stages import Component, Stage
from local.demo import figures, load, pod, trading
from local.demo.bank import Bank
from local.demo.commands import CommandFailed, Kubectl, Pulumi, load_environment, stream
from local.demo.moving import Mover
from local.setup.progress import step
from validation.bank.judging import WHOLE as BANK
from validation.load import marks
from validation.result import Report

COMPONENT: Final = Component.EVENT_BUS
REPORT: Final = Path("reports") / "demo.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the demonstration is to do. `around`: seconds of load before and after each switch; rates in
    events/s: offered, and what must have been offered for the proof to count; `transfers` a second: the same of the
    database's load, 0 for leaving the database where it is."""

    around: float = 60.0
    rate: float = 1050.0
    min_rate: float = 1000.0
    transfers: float = 200.0
    end: Stage = Stage.SHADOW
    report: Path = REPORT


class Journey:
    """One run of the demonstration on the repository at `root`: the event bus there and back, then the database."""

    def __init__(self, root: Path, wishes: Wishes, line: Callable[[str], None]) -> None:
        self._root = root
        self._wishes = wishes
        self._line = line
        env = load_environment(root)
        self._pulumi = Pulumi(root, env, line)
        self._kubectl = Kubectl(env, names.NAMESPACE)
        self._bus = Mover(COMPONENT, self._pulumi, self._kubectl, wishes.around)
        self._database = Mover(Component.DATABASE, self._pulumi, self._kubectl, wishes.around / 2)
        self._load: load.Load | None = None
        self._bank: Bank | None = None

    def run(self) -> dict[str, Any]:
        """All of it; what stands in reports/demo.json. Raises where it could not even begin to prove."""
        self._deploy()
        trading.await_trading(self._kubectl)
        self._load = load.Load(self._kubectl, load.new_run(), self._wishes.rate)
        self._load.start()
        body = self._prove(_problem(lambda: self._bus.move(self._held(), self._wishes.end)))
        if self._wishes.transfers:
            # Without the other load: two cores are full with either of them.
            self._remove_load()
            body = figures.joined(body, self._move_database())
        figures.write(self._root / self._wishes.report, body)
        return body

    def _held(self) -> Callable[[float, str], None]:
        if self._load is None:
            raise load.LoadFailed("there is no load")
        return self._load.hold

    def _deploy(self) -> None:
        """The stack at the stages where it was left, or at mvp where there is none yet."""
        for mover in (self._bus, self._database):
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

    def _move_database(self) -> dict[str, Any]:
        """The database there and back while the bank transfers, and what the bank's books say."""
        reports: dict[str, Report] = {}
        self._bank = Bank(self._kubectl, load.new_run(), self._wishes.transfers)
        bank = self._bank
        try:
            bank.start()
            problem = _problem(lambda: self._database.move(bank.hold, self._wishes.end))
            bank.stop()
            reports = bank.judge(self._database.windows, self._wishes.transfers * 0.9)
        except (CommandFailed, load.LoadFailed) as error:
            problem = str(error)
        return figures.bank_document(self._database.switches, reports, reports.get(BANK), problem)

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
        self._remove_load()
        if self._bank is not None:
            self._bank.remove()
            self._bank = None

    def _remove_load(self) -> None:
        if self._load is not None:
            self._load.remove()
            self._load = None


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
