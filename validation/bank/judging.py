"""What became of a run's transfers. Pure, but for reading the two accounts of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapters.postgres.transfers import INITIAL, Money
from validation.bank.account import Fate, Transfer
from validation.ledger import Window
from validation.result import Check, Report

WHOLE = "bank"
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What the database says: the run's transfers by id, its accounts, their total in cents, and how many have another
    balance than all transfers give them. `doubled`: ids that are there more than once, as where a key was lost."""

    transfers: Mapping[str, Money]
    accounts: int
    total: int
    wrong_balances: int
    doubled: frozenset[str] = frozenset()

    @classmethod
    def read(cls, there: Iterable[Money], balances: tuple[int, int, int]) -> Found:
        """From the rows, and accounts, total and wrong balances."""
        rows = list(there)
        copies = Counter(money.id for money in rows)
        twice = frozenset(name for name, count in copies.items() if count > 1)
        return cls({money.id: money for money in rows}, *balances, twice)


def judge(noted: Sequence[Transfer], found: Found, *, min_rate: float, max_stall_ms: float | None = None) -> Report:
    """The run as a whole: each acknowledged transfer is there once and as it was sent, and no money came or went."""
    told = {one.id for one in noted if one.fate is not Fate.FAILED}
    phantom = [name for name in found.transfers if name not in told]
    checks, figures = _checks(noted, found, min_rate, max_stall_ms)
    checks += [
        Check.none_wrong(
            "nothing made up", wrong=len(phantom), of=len(found.transfers), what="transfers that nobody was told of",
            detail=_some(phantom),
        ),
        Check.none_wrong(
            "balances", wrong=found.wrong_balances, of=found.accounts, what="accounts that differ from their transfers"
        ),
        Check.that(
            "total", found.total == found.accounts * INITIAL and found.accounts > 0,
            expected=f"{found.accounts * INITIAL} cents", found=f"{found.total} cents",
        ),
    ]  # fmt: skip
    return Report(subject=WHOLE, checks=tuple(checks), figures=figures | {"made_up": len(phantom)})


def judge_window(
    name: str, noted: Sequence[Transfer], found: Found, span: Window, *, min_rate: float,
    max_stall_ms: float | None = None,
) -> Report:  # fmt: skip
    """The same of the transfers that were due in `span`, as far as it can be said of a part."""
    inside = [one for one in noted if span.start <= one.due < span.end]
    checks, figures = _checks(inside, found, min_rate, max_stall_ms)
    return Report(subject=name, checks=tuple(checks), figures=figures)


def _checks(
    noted: Sequence[Transfer], found: Found, min_rate: float, max_stall_ms: float | None
) -> tuple[list[Check], dict[str, float]]:
    acknowledged = {one.id: one for one in noted if one.fate is Fate.ACKNOWLEDGED}
    lost = [name for name in acknowledged if name not in found.transfers]
    doubled = [name for name in acknowledged if name in found.doubled]
    changed = [name for name, one in acknowledged.items() if name in found.transfers and _differs(one, found)]
    checks = [
        Check.none_wrong(
            f"nothing {how}", wrong=len(ids), of=len(acknowledged), what=f"transfers {how}", detail=_some(ids)
        )
        for how, ids in (("lost", lost), ("changed", changed), ("doubled", doubled))
    ]
    more, figures = _service(noted, min_rate, max_stall_ms)
    return checks + more, {**figures, "lost": len(lost), "changed": len(changed), "doubled": len(doubled)}


def _service(
    noted: Sequence[Transfer], min_rate: float, max_stall_ms: float | None
) -> tuple[list[Check], dict[str, float]]:
    """Errors, rate and stall. A transfer is late from the moment at which the schedule wanted it."""
    failed = [one for one in noted if one.fate is not Fate.ACKNOWLEDGED]
    late = sorted((one.ended - one.due) / 1e6 for one in noted)
    seconds = (max(one.due for one in noted) - min(one.due for one in noted)) / 1e9 if noted else 0.0
    rate = len(noted) / seconds if seconds else 0.0
    checks = [
        Check.none_wrong(
            "no statement failed", wrong=len(failed), of=len(noted), what="failed transactions",
            detail="; ".join(sorted({one.error for one in failed})[:_EXAMPLES]),
        ),
        Check.that("load", rate >= min_rate, expected=f"at least {min_rate:g} a second", found=f"{rate:.0f} a second"),
    ]  # fmt: skip
    figures: dict[str, float] = {
        "acknowledged": len(noted) - len(failed), "caller_errors": len(failed), "rate": rate, "seconds": seconds,
    }  # fmt: skip
    if late:
        figures["stall_ms_max"] = late[-1]
        figures["stall_ms_p99"] = late[math.ceil(len(late) * 0.99) - 1]
        if max_stall_ms is not None:
            checks.append(
                Check.that("stall", late[-1] <= max_stall_ms, expected=f"at most {max_stall_ms:g} ms",
                           found=f"{late[-1]:.0f} ms")
            )  # fmt: skip
    return checks, figures


def _differs(one: Transfer, found: Found) -> bool:
    there = found.transfers[one.id]
    return (there.source, there.target, there.amount) != (one.source, one.target, one.amount)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_EXAMPLES])
