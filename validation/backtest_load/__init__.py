"""Backtests as a load: runs that are asked for on a schedule, and the proof of what became of each."""
