"""Checks that answer in three ways, and the ledger that proves what a switch did to the events.

Runs in Jobs beside the data and from a shell. Imports adapters and contracts, never
cutover, cli, services or components.
"""
