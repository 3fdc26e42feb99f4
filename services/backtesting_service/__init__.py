"""The backtesting service: submit, follow and read backtests."""
