"""Trades on bars: signals, paper orders and positions, each event's effects exactly once."""
