"""Benchmarks: ratios and figures taken in interleaved rounds, each with its spread. `make bench NAME=event_bus`."""
