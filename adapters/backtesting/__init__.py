"""Backtests: strategies written once, engines behind one interface."""
