"""Bars of a market that never was, as many as are wanted: the same for the same count."""

from __future__ import annotations

import numpy as np

from adapters.backtesting.bars import Bars

MINUTE_NS = 60 * 10**9


def minutes(count: int) -> Bars:
    """`count` bars of a minute each: a walk at random with a volatility of 0.05 % a bar, in cents, from 100 on."""
    chance = np.random.default_rng(7)
    steps = chance.normal(0.0, 0.0005, count)
    close = np.round(100.0 * np.exp(np.cumsum(steps) - 1.25e-7 * np.arange(count)), 2)
    opened_at = np.concatenate([[100.0], close[:-1]])
    reach = np.round(np.abs(chance.normal(0.0, 0.02, count)), 2)
    opened = np.arange(count, dtype=np.int64) * MINUTE_NS
    return Bars(
        symbol="WALK",
        opened=opened,
        closed=opened + (MINUTE_NS - 1),
        open=opened_at,
        high=np.maximum(opened_at, close) + reach,
        low=np.minimum(opened_at, close) - reach,
        close=close,
        volume=np.full(count, 1000.0),
    )
