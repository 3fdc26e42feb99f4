"""A Postgres server as those see it who move it: its catalog, its rows, its stream of changes.

The store of the trading engine, which knows nothing of this, is adapters/database.
"""
