"""A right answer to each `code` prompt that ships: what its label must accept."""

SOLUTIONS = """
def sma(closes, n):
    return sum(closes[-n:]) / n

def ema(closes, n):
    factor = 2 / (n + 1)
    value = closes[0]
    for close in closes[1:]:
        value += (close - value) * factor
    return value

def true_range(high, low, previous_close):
    return max(high - low, abs(high - previous_close), abs(low - previous_close))

def simple_return(first, last):
    return (last - first) / first

def max_drawdown(equity):
    peak, worst = equity[0], 0.0
    for value in equity:
        peak = max(peak, value)
        worst = max(worst, (peak - value) / peak)
    return worst

def position_size(risk, entry, stop):
    return int(risk // abs(entry - stop))

def vwap(prices, volumes):
    return sum(p * v for p, v in zip(prices, volumes)) / sum(volumes)

def crossed_above(fast, slow):
    return fast[-2] <= slow[-2] and fast[-1] > slow[-1]

def highest(values, n):
    return max(values[-n:])

def lowest(values, n):
    return min(values[-n:])

def is_up_bar(bar):
    return bar['close'] > bar['open']

def count_up_bars(bars):
    return sum(bar['close'] > bar['open'] for bar in bars)

def total_volume(bars):
    return sum(bar['volume'] for bar in bars)

def typical_price(high, low, close):
    return (high + low + close) / 3

import math

def log_return(first, last):
    return math.log(last / first)

def check_quantity(quantity):
    if quantity < 1:
        raise ValueError("quantity is below 1")
    return quantity

def round_to_tick(price, tick):
    return round(price / tick) * tick

def notional(quantity, price):
    return quantity * price

def pnl_long(entry, exit_price, quantity, fee):
    return (exit_price - entry) * quantity - 2 * fee

def pnl_short(entry, exit_price, quantity):
    return (entry - exit_price) * quantity

def returns(closes):
    return [b / a - 1 for a, b in zip(closes, closes[1:])]

def gap(previous_close, today_open):
    return today_open / previous_close - 1

def clamp(value, low, high):
    return max(low, min(value, high))

def win_rate(profits):
    if not profits:
        return 0.0
    return sum(profit > 0 for profit in profits) / len(profits)

def profit_factor(profits):
    gains = sum(p for p in profits if p > 0)
    losses = -sum(p for p in profits if p < 0)
    return gains / losses

def rolling_max(values):
    from itertools import accumulate
    return list(accumulate(values, max))

def parse_symbol(text):
    return text.strip().upper()

def is_valid_side(side):
    return side in ('buy', 'sell')

def opposite(side):
    if side == 'buy':
        return 'sell'
    if side == 'sell':
        return 'buy'
    raise ValueError(side)

def best_bid(bids):
    return max(price for price, _ in bids)

def spread(bid, ask):
    if bid > ask:
        raise ValueError("bid is above ask")
    return ask - bid

def average_fill(fills):
    return sum(p * q for p, q in fills) / sum(q for _, q in fills)

def exceeds_limit(quantity, price, limit):
    return quantity * price > limit

def trailing_stop(highest_price, percent):
    return highest_price * (1 - percent / 100)

def group_by_symbol(orders):
    groups = {}
    for order in orders:
        groups.setdefault(order['symbol'], []).append(order)
    return groups

def sort_by_time(trades):
    return sorted(trades, key=lambda trade: trade['time'], reverse=True)

def drawdown_now(equity):
    peak = max(equity)
    return (peak - equity[-1]) / peak

def sign(signal):
    return (signal > 0) - (signal < 0)

def safe_divide(numerator, denominator):
    if denominator == 0:
        return 0.0
    return numerator / denominator

def bars_per_day(minutes):
    return 390 // minutes
"""
