"""`crossover report`: one page about a migration, from what the audit log, the routes and the Transitions' Jobs tell.

model.py decides what is shown, and is what the page's digest is over; page.py draws it; gathering.py asks.
"""

from cli.report.command import report

__all__ = ["report"]
